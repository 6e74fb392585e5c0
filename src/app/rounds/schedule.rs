//! [`Schedule`]: the due times of rounds, the same for all partitions.

use std::time::Duration;

use tokio::time::Instant;

/// The due times of rounds. Rounds are numbered from one, across all schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// The first round of this schedule.
    pub(super) first: u64,
    /// The due time of the first round.
    pub(super) due: Instant,
    /// The interval between rounds.
    pub(super) every: Duration,
}

impl Schedule {
    /// The due time of a round.
    pub(super) fn due(&self, round: u64) -> Instant {
        let later = u32::try_from(round.saturating_sub(self.first)).unwrap_or(u32::MAX);
        self.due + self.every.saturating_mul(later)
    }

    /// The round after `done`, due or not.
    pub(super) fn after(&self, done: u64) -> u64 {
        (done + 1).max(self.first)
    }

    /// The round that a partition joins at `now` after it has completed `done`: the next one, or, if later ones have
    /// become due meanwhile, the last of these.
    pub(super) fn joined(&self, done: u64, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.due).as_nanos() / self.every.as_nanos().max(1);
        let due = self.first.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        self.after(done).max(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_partition_joins_the_round_that_is_due_and_a_punctual_one_the_next() {
        let (due, every) = (Instant::now(), Duration::from_secs(10));
        let schedule = Schedule { first: 7, due, every };
        let at = |seconds| due + Duration::from_secs(seconds);
        assert_eq!(schedule.due(9), at(20));
        assert_eq!(schedule.joined(0, at(0)), 7, "what was before this schedule was not missed");
        assert_eq!(schedule.joined(7, at(5)), 8);
        assert_eq!(schedule.joined(7, at(10)), 8);
        assert_eq!(schedule.joined(7, at(19)), 8, "late, and nothing is missed");
        assert_eq!(schedule.joined(7, at(20)), 9, "the eighth was");
        assert_eq!(schedule.joined(7, at(3600)), 367);
    }
}
