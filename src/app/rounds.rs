//! Rounds of checks without a request: at every interval, or for as long as there is a watcher.
//!
//! Entries are spread over partitions by their names. A round is due at one time for all of them, and each makes it by
//! itself: it has its own share of the checks in flight, and its own clock. The clock is the beginning of the last round
//! all of whose checks in the partition have ended; the oldest of the clocks is the rounds' own. So a stuck partition
//! delays no other, and is reported.

mod board;
mod jitter;
mod overdue;
mod partition;
mod schedule;
mod shown;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::{Life, Setup};
use crate::config::CheckId;
use crate::mutex::Mutex;
use crate::outcome::{Outcome, Status};
use crate::record::Record;
use board::Board;
use jitter::Jitter;
use partition::PARTITIONS;
use schedule::Schedule;
use shown::ShownRounds;

pub use board::{PartitionClock, RoundClocks};
pub use overdue::{Overdue, StandsStill};

/// The interval between rounds for watchers if none is configured.
const WATCHED_EVERY: Duration = Duration::from_secs(5);

/// The most checks that rounds have in flight. Each partition has its own share, so caches that hang in one partition
/// do not delay those of another. The limit also bounds the sockets and buffers that hanging caches hold.
const IN_FLIGHT: usize = 512;

const SHARE: usize = IN_FLIGHT / PARTITIONS;

/// The state of the rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    board: Mutex<Board>,
    watchers: Arc<watch::Sender<usize>>,
    /// Counts the rounds that have ended in every partition.
    ended: watch::Sender<u64>,
}

/// A watcher. Rounds are made for as long as there is one.
#[derive(Debug)]
pub struct Watcher {
    watchers: Arc<watch::Sender<usize>>,
    ticks: watch::Receiver<u64>,
    ended: watch::Receiver<u64>,
    life: watch::Receiver<Life>,
    setups: watch::Receiver<Arc<Setup>>,
}

impl Watcher {
    /// Waits until a check or a round has ended, whichever request it was made for, the sidecar enters another state of
    /// its life cycle, or the configuration was reloaded. Events since the previous call count too.
    pub async fn news(&mut self) {
        // None of the senders is ever dropped before its app.
        tokio::select! {
            _ = self.ticks.changed() => {}
            _ = self.ended.changed() => {}
            _ = self.life.changed() => {}
            _ = self.setups.changed() => {}
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.send_modify(|watchers| *watchers -= 1);
    }
}

/// The checks to be made, and their schedule.
struct Plan {
    setup: Arc<Setup>,
    /// `None` if no round is due.
    schedule: Option<Schedule>,
    jitter: Jitter,
    /// The entries of each partition.
    partitions: Vec<Vec<RoundEntry>>,
}

/// A check of an alias, with all its nodes: they have one verdict and one deadline, so they are in one partition.
#[derive(Clone)]
struct RoundEntry {
    id: CheckId,
    record: Arc<Record>,
}

impl Plan {
    /// `true` if both have the same setup and schedule.
    fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.setup, &other.setup) && self.schedule == other.schedule
    }

    /// The delay of an entry's check within its partition's round. A cache that was down may be just recovering, and
    /// many sidecars check it at the same time.
    fn late(&self, entry: &RoundEntry) -> Duration {
        match entry.record.since().map(|since| since.status) {
            Some(Status::Down) => self.jitter.put_off(),
            Some(Status::Up | Status::Degraded | Status::Skipped) | None => Duration::ZERO,
        }
    }
}

impl Rounds {
    /// Makes rounds at every interval, or while there is a watcher. `check` makes one check of a setup.
    pub(super) async fn run<C, F>(&self, mut setups: watch::Receiver<Arc<Setup>>, check: C)
    where
        C: Fn(Arc<Setup>, CheckId) -> F + Sync,
        F: Future<Output = Arc<Outcome>> + Send,
    {
        let mut watchers = self.watchers.subscribe();
        self.reset();
        let (setup, is_watched) = (setups.borrow_and_update().clone(), *watchers.borrow_and_update() > 0);
        let plans = watch::Sender::new(Arc::new(self.plan(setup, is_watched)));
        let follow = |partition| self.follow(partition, plans.subscribe(), &check);
        let mut partitions = pin!(join_all((0..PARTITIONS).map(follow)));
        loop {
            tokio::select! {
                // A partition's loop never ends.
                _ = &mut partitions => return,
                _ = setups.changed() => {}
                _ = watchers.changed() => {}
            }
            let (setup, is_watched) = (setups.borrow_and_update().clone(), *watchers.borrow_and_update() > 0);
            let plan = Arc::new(self.plan(setup, is_watched));
            plans.send_if_modified(|before| {
                let is_another = !plan.is_as(before);
                if is_another {
                    *before = plan;
                }
                is_another
            });
        }
    }

    fn plan(&self, setup: Arc<Setup>, is_watched: bool) -> Plan {
        let every = setup.interval.or(is_watched.then_some(WATCHED_EVERY.max(setup.timeout)));
        let mut partitions = vec![Vec::new(); PARTITIONS];
        let checks = &setup.everything.checks;
        for (&id, record) in checks.iter().zip(setup.checker.records(&setup.everything)) {
            let entry = RoundEntry { id, record: record.clone() };
            partitions[partition::partition(&record.entry())].push(entry);
        }
        let jitter = Jitter::of(every.unwrap_or_default(), setup.timeout);
        let longest = std::array::from_fn(|partition| {
            let turns = partitions[partition].len().div_ceil(SHARE);
            let checks = setup.timeout.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
            // An eighth more for the scheduling; otherwise rounds that take exactly an interval would drift into being overdue.
            checks.saturating_add(jitter.most()).saturating_mul(9) / 8
        });
        let mut board = self.board.lock();
        let (now, last) = (Instant::now(), board.last_due());
        let schedule = board.follow(every, || match setup.interval {
            // The first round is random, so that sidecars which start together do not check together.
            Some(interval) => now + jitter::random(interval),
            // A new watcher gets a round at once, unless an earlier watcher's has just been made.
            None => last.map_or(now, |last| now.max(last + WATCHED_EVERY)),
        });
        board.expect(longest);
        drop(board);
        Plan { setup, schedule, jitter, partitions }
    }

    /// Makes the rounds of one partition by the current plan.
    async fn follow<C, F>(&self, partition: usize, mut plans: watch::Receiver<Arc<Plan>>, check: &C)
    where
        C: Fn(Arc<Setup>, CheckId) -> F + Sync,
        F: Future<Output = Arc<Outcome>> + Send,
    {
        loop {
            let plan = plans.borrow_and_update().clone();
            tokio::select! {
                // The plan before takes no step on a board that the new one has reset.
                biased;
                // A round in progress begins again, with the new plan.
                changed = plans.changed() => if changed.is_err() { return },
                never = self.keep(&plan, partition, check) => match never {},
            }
        }
    }

    /// Makes the rounds of one partition, each when it is due.
    async fn keep<C, F>(&self, plan: &Plan, partition: usize, check: &C) -> Infallible
    where
        C: Fn(Arc<Setup>, CheckId) -> F + Sync,
        F: Future<Output = Arc<Outcome>> + Send,
    {
        let Some(schedule) = plan.schedule else { return pending().await };
        loop {
            let next = schedule.after(self.board.lock().done(partition));
            // The first round is at a random time anyway, and an empty partition needs no jitter.
            let is_first = next == schedule.first;
            let is_spread = !is_first && !plan.partitions[partition].is_empty();
            let late = if is_spread { plan.jitter.spread() } else { Duration::ZERO };
            time::sleep_until(schedule.due(next) + late).await;
            let round = self.board.lock().begin(partition, &schedule, Instant::now());
            // Boxed, so that waiting partitions reserve no memory for it.
            Box::pin(self.make(plan, partition, check)).await;
            if self.board.lock().end(partition, round, schedule.due(round)) {
                self.ended.send_modify(|ended| *ended += 1);
            }
        }
    }

    /// Makes one round of one partition.
    async fn make<C, F>(&self, plan: &Plan, partition: usize, check: &C)
    where
        C: Fn(Arc<Setup>, CheckId) -> F + Sync,
        F: Future<Output = Arc<Outcome>> + Send,
    {
        let entries = &plan.partitions[partition];
        let mut turns: Vec<_> = entries.iter().map(|entry| (plan.late(entry), entry.clone())).collect();
        turns.sort_by_key(|(late, _)| *late);
        let began = Instant::now();
        let checks = stream::iter(turns).map(|(late, RoundEntry { id, record })| async move {
            if !late.is_zero() {
                time::sleep_until(began + late).await;
            }
            self.board.lock().wait_for(partition, &record);
            let outcome = check(plan.setup.clone(), id).await;
            self.board.lock().note(partition, &record, outcome);
        });
        checks.buffer_unordered(SHARE).for_each(ready).await;
    }

    /// Resets the schedule after a change of the interval.
    pub(super) fn reset(&self) {
        self.board.lock().reset();
    }

    /// Adds a watcher.
    pub(super) fn watch(
        &self,
        ticks: watch::Receiver<u64>,
        life: watch::Receiver<Life>,
        setups: watch::Receiver<Arc<Setup>>,
    ) -> Watcher {
        self.watchers.send_modify(|watchers| *watchers += 1);
        Watcher { watchers: self.watchers.clone(), ticks, ended: self.ended.subscribe(), life, setups }
    }

    /// The rounds that are overdue, if any.
    pub(super) fn overdue(&self, interval: Option<Duration>, now: Instant) -> Option<Overdue> {
        self.board.lock().overdue(interval, now)
    }

    /// The progress of the rounds; `None` if no rounds run.
    pub(super) fn clocks(&self) -> Option<RoundClocks> {
        self.board.lock().clocks()
    }

    /// The outcomes that a report of the last checks shows, if everything was checked. If a partition is stuck, recoveries
    /// in the others are no longer held back.
    pub(super) fn latest(&self, setup: &Setup) -> Option<Vec<Arc<Outcome>>> {
        let board = self.board.lock();
        let shown = match board.overdue(setup.interval, Instant::now()) {
            Some(_) => ShownRounds::default(),
            None => board.shown(),
        };
        drop(board);
        shown.of(setup.checker.records(&setup.everything))
    }
}
