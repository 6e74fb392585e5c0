//! [`Board`]: the progress of each partition and the results of its rounds, without I/O.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::partition::PARTITIONS;
use super::schedule::Schedule;
use super::shown::{Checked, ShownRounds};
use super::{Overdue, StandsStill};
use crate::outcome::Outcome;
use crate::record::Record;

/// The number of intervals without the end of a round after which it is overdue.
const OVERDUE_AFTER: u32 = 3;

/// The most entries that are named of those that a partition waits for.
const NAMED: usize = 3;

/// The progress of each partition, and the results of its rounds.
#[derive(Debug)]
pub(super) struct Board {
    schedule: Option<Schedule>,
    /// The time of the schedule's last reset.
    reset_at: Instant,
    partitions: [Partition; PARTITIONS],
    /// The outcomes of the last round that has ended in every partition.
    finished: Arc<[Arc<Outcome>]>,
    /// The number of rounds that have ended in every partition.
    rounds: u64,
}

/// The progress of one partition.
#[derive(Debug, Default)]
struct Partition {
    /// The beginning of the last round all of whose checks in this partition have ended.
    clock: Option<RoundClock>,
    /// The round that it has begun last.
    begun: u64,
    /// Rounds that the partition has skipped.
    missed: u64,
    /// The longest duration of a round: every check has the largest delay and takes the whole timeout.
    longest: Duration,
    /// The checks in flight.
    waits_for: Vec<Awaited>,
    /// The results of its rounds that have not ended in every partition, in order.
    parts: Vec<Part>,
}

/// The last round that a partition has completed, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RoundClock {
    round: u64,
    /// The due time, on the monotonic clock.
    due: Instant,
    /// The due time, on the wall clock.
    due_at: SystemTime,
}

/// The results of a round in one partition, so far.
#[derive(Debug)]
struct Part {
    round: u64,
    has_ended: bool,
    checked: Vec<Checked>,
}

/// A check that has begun.
#[derive(Debug)]
struct Awaited {
    record: Arc<Record>,
    before: Option<Arc<Outcome>>,
}

/// The progress of the rounds, for monitoring of the sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundClocks {
    /// Rounds that have ended in every partition.
    pub rounds: u64,
    /// The partitions, by their number.
    pub partitions: Vec<PartitionClock>,
}

/// The progress of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionClock {
    /// The beginning of the last round all of whose checks have ended, if one has.
    pub through: Option<SystemTime>,
    /// Rounds that the partition has skipped.
    pub missed: u64,
}

impl RoundClocks {
    /// The time through which everything is checked: the oldest of the partitions' clocks.
    #[must_use]
    pub fn through(&self) -> Option<SystemTime> {
        self.partitions.iter().map(|partition| partition.through).min().flatten()
    }
}

impl Default for Board {
    fn default() -> Self {
        let partitions = Default::default();
        Self { schedule: None, reset_at: Instant::now(), partitions, finished: Arc::default(), rounds: 0 }
    }
}

impl Board {
    /// Resets the schedule: no round is due, and no result of an earlier round is kept.
    pub(super) fn reset(&mut self) {
        self.schedule = None;
        self.reset_at = Instant::now();
        self.finished = Arc::default();
        for partition in &mut self.partitions {
            partition.longest = Duration::ZERO;
            partition.parts.clear();
            partition.waits_for.clear();
        }
    }

    /// Sets the interval to `every`. If it is the current one, the schedule stays; if not, rounds are due from `due()` on.
    pub(super) fn follow(
        &mut self,
        every: Option<Duration>,
        due: impl FnOnce() -> Instant,
    ) -> Option<Schedule> {
        if self.schedule.map(|schedule| schedule.every) != every {
            self.reset();
            let first = self.partitions.iter().map(|partition| partition.begun).max().unwrap_or(0) + 1;
            self.schedule = every.map(|every| Schedule { first, due: due(), every });
        }
        self.schedule
    }

    /// Sets the longest duration of each partition's rounds.
    pub(super) fn expect(&mut self, longest: [Duration; PARTITIONS]) {
        for (partition, longest) in self.partitions.iter_mut().zip(longest) {
            partition.longest = longest;
        }
    }

    /// The due time of the last round that has ended in any partition.
    pub(super) fn last_due(&self) -> Option<Instant> {
        self.partitions.iter().filter_map(|partition| partition.clock).map(|clock| clock.due).max()
    }

    /// The number of the last round that has ended in a partition; 0 if none has.
    pub(super) fn done(&self, partition: usize) -> u64 {
        self.partitions[partition].clock.map_or(0, |clock| clock.round)
    }

    /// Begins the round that is due at `now` in a partition, and returns its number. Skipped rounds count as missed.
    pub(super) fn begin(&mut self, partition: usize, schedule: &Schedule, now: Instant) -> u64 {
        let done = self.done(partition);
        let round = schedule.joined(done, now);
        let one = &mut self.partitions[partition];
        // A reload may have begun a round again: the rounds that it skipped were counted when it first began.
        one.missed += round - schedule.after(done).max(one.begun);
        one.begun = round;
        one.waits_for.clear();
        // If a reload makes the same round begin again, its earlier part is dropped.
        one.parts.retain(|part| part.round != round);
        one.parts.push(Part { round, has_ended: false, checked: Vec::new() });
        self.forget();
        round
    }

    /// Drops parts that can no longer belong to a finished round. Without this, a stuck partition would have the others
    /// keep every round, although only the stuck partition's own round can still end everywhere. The last two parts of
    /// each partition are kept too, since the last checks belong to them.
    fn forget(&mut self) {
        let least = self.partitions.iter().map(|partition| partition.begun).min().unwrap_or(0);
        for partition in &mut self.partitions {
            let kept = partition.parts.len().saturating_sub(2);
            let mut place = 0;
            partition.parts.retain(|part| {
                place += 1;
                place > kept || part.round == least
            });
        }
    }

    /// Records that a partition waits for a check of its round.
    pub(super) fn wait_for(&mut self, partition: usize, record: &Arc<Record>) {
        let one = &mut self.partitions[partition];
        let latest = record.latest();
        // An entry is checked once in a round, so the last part, which is of this round, has no result of it yet.
        let earlier = one.parts.split_last().map_or(&[][..], |(_, earlier)| earlier);
        let mut earlier = earlier.iter().flat_map(|part| &part.checked);
        let unfinished =
            earlier.find(|one| latest.as_ref().is_some_and(|latest| Arc::ptr_eq(&one.outcome, latest)));
        let before = unfinished.map_or(latest.clone(), |one| one.before.clone());
        one.waits_for.push(Awaited { record: record.clone(), before });
    }

    /// Records the outcome of that check.
    pub(super) fn note(&mut self, partition: usize, record: &Arc<Record>, outcome: Arc<Outcome>) {
        let one = &mut self.partitions[partition];
        let Some(place) = one.waits_for.iter().position(|awaited| Arc::ptr_eq(&awaited.record, record))
        else {
            return;
        };
        let Awaited { before, .. } = one.waits_for.swap_remove(place);
        if let Some(part) = one.parts.last_mut() {
            part.checked.push(Checked { outcome, before });
        }
    }

    /// Records the end of a round in a partition. `true` if the round has now ended in every partition.
    pub(super) fn end(&mut self, partition: usize, round: u64, due: Instant) -> bool {
        // The wall clock time of one round is the same in all partitions.
        let known = self.partitions.iter().filter_map(|partition| partition.clock);
        let known = known.filter(|clock| clock.due == due).map(|clock| clock.due_at).next();
        let due_at = known.unwrap_or_else(|| {
            SystemTime::now().checked_sub(due.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
        });
        let one = &mut self.partitions[partition];
        one.clock = Some(RoundClock { round, due, due_at });
        if let Some(part) = one.parts.last_mut() {
            part.has_ended = true;
        }
        let has_ended = |one: &Partition| one.parts.iter().any(|part| part.round == round && part.has_ended);
        let is_finished = self.partitions.iter().all(has_ended);
        if is_finished {
            self.finish(round);
        }
        is_finished
    }

    fn finish(&mut self, round: u64) {
        let mut outcomes = Vec::new();
        for partition in &mut self.partitions {
            partition.parts.retain_mut(|part| {
                if part.round == round {
                    outcomes.extend(part.checked.drain(..).map(|one| one.outcome));
                }
                part.round > round
            });
        }
        self.finished = outcomes.into();
        self.rounds += 1;
    }

    /// The outcomes of the last round that has ended in every partition.
    #[cfg(test)]
    pub(super) fn finished(&self) -> Arc<[Arc<Outcome>]> {
        self.finished.clone()
    }

    /// The most unfinished rounds that any partition keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.partitions.iter().map(|partition| partition.parts.len()).max().unwrap_or(0)
    }

    /// The results by which a report shows the last checks.
    pub(super) fn shown(&self) -> ShownRounds {
        let parts = self.partitions.iter().flat_map(|partition| &partition.parts);
        let unfinished = parts.flat_map(|part| &part.checked).cloned().collect();
        ShownRounds::new(self.finished.clone(), unfinished)
    }

    /// The progress of the rounds; `None` if no rounds run.
    pub(super) fn clocks(&self) -> Option<RoundClocks> {
        self.schedule?;
        let clock = |one: &Partition| PartitionClock {
            through: one.clock.map(|clock| clock.due_at),
            missed: one.missed,
        };
        Some(RoundClocks { rounds: self.rounds, partitions: self.partitions.iter().map(clock).collect() })
    }

    /// The rounds that are overdue, if any. They are due at every `interval`, or by the schedule if there is none.
    pub(super) fn overdue(&self, interval: Option<Duration>, now: Instant) -> Option<Overdue> {
        let interval = interval.or(self.schedule.map(|schedule| schedule.every))?;
        let since = |one: &Partition| {
            let through = one.clock.map_or(self.reset_at, |clock| clock.due.max(self.reset_at));
            now.saturating_duration_since(through)
        };
        let numbered = self.partitions.iter().enumerate();
        let mut still: Vec<_> = numbered
            .filter(|(_, one)| since(one) > interval.max(one.longest) * OVERDUE_AFTER)
            .map(|(number, one)| {
                let mut waits_for: Vec<_> =
                    one.waits_for.iter().map(|awaited| awaited.record.entry()).collect();
                let others = waits_for.len().saturating_sub(NAMED);
                waits_for.truncate(NAMED);
                StandsStill { partition: number, since: since(one), waits_for, others }
            })
            .collect();
        // The longest stuck partition comes first.
        still.sort_by_key(|one| std::cmp::Reverse(one.since));
        let since = still.first()?.since;
        Some(Overdue { since, interval, still })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
