//! [`Board`]: how far each partition is, and what its rounds came to. Without I/O.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::partition::PARTITIONS;
use super::schedule::Schedule;
use super::shown::{Checked, ShownRounds};
use super::{Overdue, StandsStill};
use crate::outcome::Outcome;
use crate::record::Record;

/// After how many intervals without the end of a round there is no news.
const OVERDUE_AFTER: u32 = 3;

/// How many of the entries that a partition waits for are named.
const NAMED: usize = 3;

/// How far each partition is, and what its rounds came to.
#[derive(Debug)]
pub(super) struct Board {
    schedule: Option<Schedule>,
    /// When the schedule became what it is.
    anew: Instant,
    partitions: [Partition; PARTITIONS],
    /// What the last round came to that has ended in every partition.
    finished: Arc<[Arc<Outcome>]>,
    /// How many have ended so.
    rounds: u64,
}

/// The progress of one partition.
#[derive(Debug, Default)]
struct Partition {
    /// The beginning of the last round all of whose checks in it have ended.
    clock: Option<RoundClock>,
    /// The round that it has begun last.
    begun: u64,
    /// Rounds that the partition has skipped.
    missed: u64,
    /// How long a round takes in which every check is as late and takes as long as it may.
    longest: Duration,
    /// What is being checked.
    waits_for: Vec<Awaited>,
    /// What its rounds came to that have not ended in every partition; in their order.
    parts: Vec<Part>,
}

/// What has been checked through a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RoundClock {
    round: u64,
    /// The time, to count from.
    due: Instant,
    /// The same, for people.
    due_at: SystemTime,
}

/// What a round came to in one partition, so far.
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
    /// The time through which everything is checked: the least of the partitions' clocks.
    #[must_use]
    pub fn through(&self) -> Option<SystemTime> {
        self.partitions.iter().map(|partition| partition.through).min().flatten()
    }
}

impl Default for Board {
    fn default() -> Self {
        let partitions = Default::default();
        Self { schedule: None, anew: Instant::now(), partitions, finished: Arc::default(), rounds: 0 }
    }
}

impl Board {
    /// Whatever was due is so no more, and nothing was missed yet of what will be.
    pub(super) fn begin_anew(&mut self) {
        self.schedule = None;
        self.anew = Instant::now();
        self.finished = Arc::default();
        for partition in &mut self.partitions {
            partition.longest = Duration::ZERO;
            partition.parts.clear();
            partition.waits_for.clear();
        }
    }

    /// Rounds are due `every` so often from now on: as they were, if that is how often they were, or else from what `due` says on.
    pub(super) fn follow(
        &mut self,
        every: Option<Duration>,
        due: impl FnOnce() -> Instant,
    ) -> Option<Schedule> {
        if self.schedule.map(|schedule| schedule.every) != every {
            self.begin_anew();
            let first = self.partitions.iter().map(|partition| partition.begun).max().unwrap_or(0) + 1;
            self.schedule = every.map(|every| Schedule { first, due: due(), every });
        }
        self.schedule
    }

    /// How long a round of each partition takes in which every check is as late and takes as long as it may.
    pub(super) fn expect(&mut self, longest: [Duration; PARTITIONS]) {
        for (partition, longest) in self.partitions.iter_mut().zip(longest) {
            partition.longest = longest;
        }
    }

    /// When the last round was due that has ended in any partition.
    pub(super) fn last_due(&self) -> Option<Instant> {
        self.partitions.iter().filter_map(|partition| partition.clock).map(|clock| clock.due).max()
    }

    /// The last round that has ended in a partition; none is the zeroth.
    pub(super) fn done(&self, partition: usize) -> u64 {
        self.partitions[partition].clock.map_or(0, |clock| clock.round)
    }

    /// A partition begins the round that is due at `now`: its number. Those that it jumps over are missed.
    pub(super) fn begin(&mut self, partition: usize, schedule: &Schedule, now: Instant) -> u64 {
        let done = self.done(partition);
        let round = schedule.joined(done, now);
        let one = &mut self.partitions[partition];
        one.missed += round - schedule.after(done);
        one.begun = round;
        one.waits_for.clear();
        // The same round, where it begins once more because the configuration was read anew.
        one.parts.retain(|part| part.round != round);
        one.parts.push(Part { round, has_ended: false, checked: Vec::new() });
        self.forget();
        round
    }

    /// Drops what will not be a part of a finished round. A partition that stands still would else have the others keep
    /// one round after the other: only that one's own can still end everywhere. Of each partition the last two are kept
    /// besides, since what was checked last is from them.
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

    /// A partition waits for a check of its round.
    pub(super) fn wait_for(&mut self, partition: usize, record: &Arc<Record>) {
        let one = &mut self.partitions[partition];
        let latest = record.latest();
        // Each is checked once in a round, so the last part, which is of this one, has nothing of it yet.
        let earlier = one.parts.split_last().map_or(&[][..], |(_, earlier)| earlier);
        let mut earlier = earlier.iter().flat_map(|part| &part.checked);
        let unfinished =
            earlier.find(|one| latest.as_ref().is_some_and(|latest| Arc::ptr_eq(&one.outcome, latest)));
        let before = unfinished.map_or(latest.clone(), |one| one.before.clone());
        one.waits_for.push(Awaited { record: record.clone(), before });
    }

    /// That check has ended.
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

    /// All checks of its round have ended in a partition. Whether they have in every one.
    pub(super) fn end(&mut self, partition: usize, round: u64, due: Instant) -> bool {
        // All partitions say the same of one round.
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

    /// What the last round came to that has ended in every partition.
    #[cfg(test)]
    pub(super) fn finished(&self) -> Arc<[Arc<Outcome>]> {
        self.finished.clone()
    }

    /// How many rounds a partition keeps of which the others wait for the end, at most.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.partitions.iter().map(|partition| partition.parts.len()).max().unwrap_or(0)
    }

    /// How to show what was checked last.
    pub(super) fn shown(&self) -> ShownRounds {
        let parts = self.partitions.iter().flat_map(|partition| &partition.parts);
        let unfinished = parts.flat_map(|part| &part.checked).cloned().collect();
        ShownRounds::new(self.finished.clone(), unfinished)
    }

    /// How far the rounds are, where there are any.
    pub(super) fn clocks(&self) -> Option<RoundClocks> {
        self.schedule?;
        let clock = |one: &Partition| PartitionClock {
            through: one.clock.map(|clock| clock.due_at),
            missed: one.missed,
        };
        Some(RoundClocks { rounds: self.rounds, partitions: self.partitions.iter().map(clock).collect() })
    }

    /// Whether rounds should have ended long ago, which are due at every `interval` or as often as they are made.
    pub(super) fn overdue(&self, interval: Option<Duration>, now: Instant) -> Option<Overdue> {
        let interval = interval.or(self.schedule.map(|schedule| schedule.every))?;
        let since = |one: &Partition| {
            let through = one.clock.map_or(self.anew, |clock| clock.due.max(self.anew));
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
        // The one that has stood longest first.
        still.sort_by_key(|one| std::cmp::Reverse(one.since));
        let since = still.first()?.since;
        Some(Overdue { since, interval, still })
    }
}
