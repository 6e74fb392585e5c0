//! [`Hour`]: the results of an entry's checks in the last hour, by minute.

use std::collections::VecDeque;
use std::iter;
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::{Outcome, Status};

/// The number of minutes that are kept.
const MINUTES: usize = 60;

/// The results of the last hour's checks. It grows with the minutes that have a check, to half a kilobyte.
///
/// Minutes are counted from the first check, so a change of the wall clock does not matter.
#[derive(Debug, Clone, Default)]
pub struct Hour {
    /// The start of the first check.
    first: Option<Instant>,
    /// The number of the last minute in `minutes`.
    last: usize,
    minutes: VecDeque<Option<Minute>>,
}

/// The results of the checks of one minute. Thousands of entries have sixty each, so it is as small as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// The worst of their statuses.
    pub worst: Status,
    micros: u32,
}

impl Minute {
    /// The duration of the slowest of them.
    #[must_use]
    pub fn slowest(self) -> Duration {
        Duration::from_micros(self.micros.into())
    }
}

impl Hour {
    /// The minutes of the hour before `now`, the oldest first and the current one last; `None` for a minute without a
    /// check.
    pub fn minutes(&self, now: Instant) -> impl Iterator<Item = Option<Minute>> + '_ {
        let past = self.number(now).unwrap_or_default();
        // The minutes since the last check, which have none; and those before the first.
        let since = past.saturating_sub(self.last).min(MINUTES);
        let kept = self.minutes.iter().skip((self.minutes.len() + since).saturating_sub(MINUTES)).copied();
        let before = MINUTES.saturating_sub(self.minutes.len() + since);
        iter::repeat_n(None, before).chain(kept).chain(iter::repeat_n(None, since))
    }

    /// `true` if the hour has no check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }

    /// Adds a check. Those of a slow cache overlap, so it may belong to an earlier minute.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        self.first.get_or_insert(outcome.began);
        // A check that began before the first one, but ended after it, counts in the first minute.
        let number = self.number(outcome.began).unwrap_or_default();
        if number >= self.last + MINUTES {
            self.minutes.clear();
        }
        if self.minutes.is_empty() {
            self.last = number;
            self.minutes.push_back(None);
        }
        while self.last < number {
            if self.minutes.len() == MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(None);
            self.last += 1;
        }
        let place = (self.minutes.len() + number).checked_sub(self.last + 1);
        let Some(minute) = place.and_then(|place| self.minutes.get_mut(place)) else { return };
        let status = outcome.status();
        let micros = u32::try_from(outcome.elapsed.as_micros()).unwrap_or(u32::MAX);
        let before = minute.unwrap_or(Minute { worst: status, micros });
        *minute = Some(Minute { worst: before.worst.max(status), micros: before.micros.max(micros) });
    }

    /// The number of the minute of `at`.
    fn number(&self, at: Instant) -> Option<usize> {
        let since_first = at.checked_duration_since(self.first?)?;
        usize::try_from(since_first.as_secs() / 60).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{Cause, CheckKind, Fault, Needs, NodeOutcome, Phase, Phases};

    fn outcome(began: Instant, is_up: bool, millis: u64) -> Outcome {
        let fault = (!is_up).then(|| Fault::new(Cause::Refused, Phase::Connect, ""));
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
        let alias = Alias::try_from("main").unwrap();
        let began = (began, SystemTime::UNIX_EPOCH);
        Outcome::plain(
            alias,
            CheckKind::RoundTrip,
            began,
            Duration::from_millis(millis),
            nodes,
            Needs::default(),
        )
    }

    /// A letter a minute: `u`p, `D`own, or a gap.
    fn strip(hour: &Hour, now: Instant) -> String {
        let letter = |minute: Option<Minute>| match minute.map(|minute| minute.worst) {
            None => '.',
            Some(Status::Skipped) => 's',
            Some(Status::Up) => 'u',
            Some(Status::Degraded) => 'd',
            Some(Status::Down) => 'D',
        };
        hour.minutes(now).map(letter).collect()
    }

    fn minutes(number: u64) -> Duration {
        Duration::from_mins(number)
    }

    #[test]
    fn a_minute_takes_eight_bytes() {
        assert_eq!(size_of::<Option<Minute>>(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_is_as_bad_and_as_slow_as_the_worst_check_in_it() {
        let (mut hour, start) = (Hour::default(), Instant::now());
        for (second, is_up, millis) in [(0, true, 2), (20, false, 7), (40, true, 3), (70, true, 1)] {
            hour.note(&outcome(start + Duration::from_secs(second), is_up, millis));
        }
        let seen: Vec<_> = hour.minutes(start + minutes(1)).flatten().collect();
        let told: Vec<_> = seen.iter().map(|minute| (minute.worst, minute.slowest().as_millis())).collect();
        assert_eq!(told, [(Status::Down, 7), (Status::Up, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn minutes_without_a_check_are_gaps_before_between_and_after() {
        let (mut hour, start) = (Hour::default(), Instant::now());
        assert!(hour.is_empty());
        assert_eq!(strip(&hour, start), ".".repeat(60));
        for at in [0, 1, 4] {
            hour.note(&outcome(start + minutes(at), at != 1, 1));
        }
        assert_eq!(strip(&hour, start + minutes(4)), format!("{}uD..u", ".".repeat(55)));
        assert_eq!(strip(&hour, start + minutes(6)), format!("{}uD..u..", ".".repeat(53)));
        assert_eq!(strip(&hour, start + minutes(61)), format!("..u{}", ".".repeat(57)));
        assert_eq!(strip(&hour, start + minutes(500)), ".".repeat(60));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_an_hour_is_kept() {
        let (mut hour, start) = (Hour::default(), Instant::now());
        for at in 0..200 {
            hour.note(&outcome(start + minutes(at), at % 2 == 0, 1));
        }
        assert_eq!(hour.minutes.len(), 60);
        assert_eq!(strip(&hour, start + minutes(199)), "uD".repeat(30));
        // A sidecar that slept for a day.
        hour.note(&outcome(start + minutes(2000), true, 1));
        assert_eq!(hour.minutes.len(), 1);
        assert_eq!(strip(&hour, start + minutes(2000)), format!("{}u", ".".repeat(59)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_ends_late_belongs_to_the_minute_in_which_it_began() {
        let (mut hour, start) = (Hour::default(), Instant::now() + minutes(100));
        for (at, is_up) in [(0, true), (2, true), (1, false), (70, true), (0, false)] {
            hour.note(&outcome(start + minutes(at), is_up, 1));
            if at == 1 {
                assert_eq!(strip(&hour, start + minutes(2)), format!("{}uDu", ".".repeat(57)));
            }
        }
        // The hour of the last one is over, so it is nowhere.
        assert_eq!(strip(&hour, start + minutes(70)), format!("{}u", ".".repeat(59)));
        // A check from before the first minute counts in the first.
        let mut hour = Hour::default();
        hour.note(&outcome(start, true, 1));
        hour.note(&outcome(start - minutes(3), false, 1));
        assert_eq!(strip(&hour, start), format!("{}D", ".".repeat(59)));
    }
}
