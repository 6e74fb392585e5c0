//! Models of the board: partitions make their rounds in any order, while the configuration is reloaded, requests are answered and
//! reports read what it shows.
//!
//! A partition goes by its board as `Rounds::keep` does. Two have an entry each, and the others, which have none, go together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex as PlainMutex;

use shuttle::future::{spawn as start, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::*;
use crate::mutex::Mutex;
use crate::outcome::{Cause, Status};
use crate::sync::model::{Switches, explore, is_at_locks, pass, tick};

const EVERY: Duration = ms(2);

/// The partitions with an entry.
const BUSY: usize = 2;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The board, its entries, and everything that happens to them.
struct World {
    board: Mutex<Board>,
    records: [Arc<Record>; BUSY],
    plans: watch::Sender<Schedule>,
    until: Instant,
    happened: PlainMutex<Happened>,
}

#[derive(Debug, Default)]
struct Happened {
    /// The partitions in which each round has ended since the last reset, and its outcomes.
    ended: BTreeMap<u64, BTreeSet<usize>>,
    outcomes: BTreeMap<u64, Vec<Arc<Outcome>>>,
    /// The round that each partition has begun last.
    begun: [u64; PARTITIONS],
    /// The rounds that each has skipped under earlier schedules.
    skipped: [u64; PARTITIONS],
    /// The first round of the schedule in force.
    first: u64,
    rounds: u64,
    finished: Vec<Arc<Outcome>>,
    /// The latest outcome of each entry that no round has made.
    requested: [Option<Arc<Outcome>>; BUSY],
    /// The due time of the last round of each partition.
    due: [Option<Instant>; PARTITIONS],
}

impl World {
    /// A board whose rounds are due from now on, for so long.
    fn new(time: Duration) -> Arc<Self> {
        let mut board = Board::default();
        let now = Instant::now();
        let schedule = board.follow(Some(EVERY), || now).unwrap();
        let record = |number: usize| Record::of(&format!("cache-{number}"));
        Arc::new(Self {
            board: Mutex::new(board),
            records: std::array::from_fn(record),
            plans: watch::Sender::new(schedule),
            until: now + time,
            happened: PlainMutex::new(Happened { first: schedule.first, ..Happened::default() }),
        })
    }

    /// Starts the partitions.
    fn start(self: &Arc<Self>) {
        for partition in 0..BUSY {
            start(self.clone().follow(partition..partition + 1));
        }
        start(self.clone().follow(BUSY..PARTITIONS));
    }

    /// Makes the rounds of some partitions by the current plan, as `Rounds::follow` does.
    async fn follow(self: Arc<Self>, partitions: std::ops::Range<usize>) {
        let mut plans = self.plans.subscribe();
        while Instant::now() < self.until {
            let schedule = *plans.borrow_and_update();
            tokio::select! {
                biased;
                _ = plans.changed() => {}
                () = self.keep(&schedule, partitions.clone()) => {}
            }
        }
    }

    /// Makes one round of some partitions, as `Rounds::keep` does.
    async fn keep(&self, schedule: &Schedule, partitions: std::ops::Range<usize>) {
        let next = schedule.after(self.board.lock().done(partitions.start));
        sleep_until(schedule.due(next)).await;
        let mut rounds = Vec::new();
        for partition in partitions.clone() {
            let mut board = self.board.lock();
            let round = board.begin(partition, schedule, Instant::now());
            self.happened(|happened| happened.begins(partition, round));
            self.judge(&board);
            rounds.push(round);
        }
        if let Some(record) = self.records.get(partitions.start) {
            self.board.lock().wait_for(partitions.start, record);
            let outcome = self.check(partitions.start).await;
            yield_now().await;
            let mut board = self.board.lock();
            board.note(partitions.start, record, outcome.clone());
            self.happened(|happened| happened.outcomes.entry(rounds[0]).or_default().push(outcome));
            self.judge(&board);
        }
        for (partition, round) in partitions.zip(rounds) {
            let mut board = self.board.lock();
            let is_finished = board.end(partition, round, schedule.due(round));
            let expected = self.happened(|happened| happened.ends(partition, round));
            assert_eq!(is_finished, expected, "a round ends once, in every partition");
            self.judge(&board);
        }
    }

    /// A check of an entry, whether for a round or for a request.
    async fn check(&self, entry: usize) -> Arc<Outcome> {
        let began = (Instant::now(), SystemTime::now());
        yield_now().await;
        let cause = thread_rng().gen_bool(0.5).then_some(Cause::Refused);
        self.records[entry].found(began, Duration::ZERO, cause)
    }

    /// Another configuration is in force, with this interval.
    fn reload(&self, every: Duration) {
        let mut board = self.board.lock();
        let schedule = board.follow(Some(every), Instant::now).unwrap();
        self.happened(|happened| {
            if happened.first != schedule.first {
                let skipped = std::array::from_fn(|partition| happened.skipped(partition));
                *happened = Happened {
                    first: schedule.first,
                    skipped,
                    rounds: happened.rounds,
                    due: happened.due,
                    requested: std::mem::take(&mut happened.requested),
                    ..Happened::default()
                };
            }
        });
        self.judge(&board);
        self.plans.send_replace(schedule);
    }

    fn happened<T>(&self, with: impl FnOnce(&mut Happened) -> T) -> T {
        with(&mut self.happened.lock().unwrap())
    }

    /// Judges the board after a step.
    fn judge(&self, board: &Board) {
        let mut happened = self.happened.lock().unwrap();
        let clocks = board.clocks().unwrap();
        assert_eq!(clocks.rounds, happened.rounds);
        let is_same =
            board.finished.iter().zip(&happened.finished).all(|(one, other)| Arc::ptr_eq(one, other));
        assert!(
            is_same && board.finished.len() == happened.finished.len(),
            "one whole round, and nothing else"
        );
        assert!(board.kept() <= 3, "a bounded number of rounds is kept");
        for (partition, before) in board.partitions.iter().zip(&mut happened.due) {
            let due = partition.clock.map(|clock| clock.due);
            assert!(due >= *before, "a clock goes back");
            *before = due;
        }
        assert_eq!(clocks.through(), clocks.partitions.iter().map(|one| one.through).min().unwrap());
        self.judge_shown(board, &happened);
    }

    /// "A report does not mix an unfinished round with a finished one ... But a failure is never held back, and neither is the result
    /// of a check for a request."
    fn judge_shown(&self, board: &Board, happened: &Happened) {
        let Some(shown) = board.shown().of(self.records.iter()) else { return };
        // Between locks a check may end meanwhile.
        if is_at_locks() {
            return;
        }
        for (entry, (record, shown)) in self.records.iter().zip(&shown).enumerate() {
            let latest = record.latest().unwrap();
            assert!(
                shown.status() >= latest.status() || latest.status() == Status::Up,
                "a failure is held back"
            );
            let is_latest = |one: &Arc<Outcome>| Arc::ptr_eq(one, &latest);
            let is_held_back = !Arc::ptr_eq(shown, &latest);
            let was_requested = happened.requested[entry].as_ref().is_some_and(is_latest);
            assert!(!(was_requested && is_held_back), "the result of a request is held back");
            let is_of_round = |one: &Checked| Arc::ptr_eq(&one.outcome, shown);
            let mut parts = board.partitions.iter().flat_map(|partition| &partition.parts);
            let shows_unfinished = parts.any(|part| part.checked.iter().any(is_of_round));
            assert!(!(is_held_back && shows_unfinished), "one unfinished round instead of another");
            let is_unfinished = happened.outcomes.values().flatten().any(is_latest);
            let was_finished = happened.finished.iter().any(|one| one.alias == latest.alias);
            let is_up = latest.status() == Status::Up;
            assert!(!is_held_back || is_unfinished, "the result of a finished round is held back");
            assert!(is_held_back || !(is_unfinished && is_up && was_finished), "half a recovery is shown");
        }
    }

    /// Waits for the end, and judges the counts.
    fn end(&self) {
        pass(ms(2));
        let clocks = self.board.lock().clocks().unwrap();
        for (number, partition) in clocks.partitions.iter().enumerate() {
            let skipped = self.happened(|happened| happened.skipped(number));
            assert_eq!(partition.missed, skipped, "partition {number}: each skipped round counts once");
        }
    }
}

impl Happened {
    /// The rounds that a partition has skipped: those that it has not ended, before the one that it has begun last.
    fn skipped(&self, partition: usize) -> u64 {
        let has_ended = |round: &u64| self.ended.get(round).is_some_and(|ended| ended.contains(&partition));
        let rounds = (self.first..self.begun[partition]).filter(|round| !has_ended(round));
        self.skipped[partition] + rounds.count() as u64
    }

    fn begins(&mut self, partition: usize, round: u64) {
        assert!(round >= self.first, "a round of an earlier schedule");
        assert!(!self.ended.get(&round).is_some_and(|ended| ended.contains(&partition)), "a round twice");
        self.begun[partition] = round;
        if partition < BUSY {
            // A round that begins again has no outcome yet.
            let entry = format!("cache-{partition}");
            self.outcomes.entry(round).or_default().retain(|outcome| outcome.alias.as_str() != entry);
        }
    }

    /// `true` if a round has now ended in every partition.
    fn ends(&mut self, partition: usize, round: u64) -> bool {
        let ended = self.ended.entry(round).or_default();
        ended.insert(partition);
        if ended.len() < PARTITIONS {
            return false;
        }
        self.rounds += 1;
        let mut finished = self.outcomes.remove(&round).unwrap_or_default();
        finished.sort_by(|one, other| one.alias.cmp(&other.alias));
        assert_eq!(finished.len(), BUSY, "each entry has an outcome");
        self.finished = finished;
        self.outcomes.retain(|&other, _| other > round);
        true
    }
}

/// "The clock is the beginning of the last round all of whose checks in the partition have ended; the oldest of the clocks is the
/// rounds' own", and of `end`: "`true` if the round has now ended in every partition".
#[test]
fn a_round_is_finished_once_and_whole_in_whatever_order_its_partitions_end() {
    explore(
        Switches::Locks,
        "Board, rounds: 2 partitions with an entry and 14 without, 3 rounds, 6 ticks",
        || {
            let world = World::new(EVERY * 3);
            world.start();
            for _ in 0..6 {
                tick(ms(1));
            }
            world.end();
        },
    );
}

/// Of `begin`: "If a reload makes the same round begin again, its earlier part is dropped", and "Skipped rounds count as missed",
/// each once.
#[test]
fn a_round_that_a_reload_interrupts_is_made_and_counted_once() {
    explore(
        Switches::Waits,
        "Board, reloads: 2 partitions with an entry and 14 without, 2 reloads, 6 ticks",
        || {
            let world = World::new(EVERY * 3);
            world.start();
            let reloading = world.clone();
            start(async move {
                for _ in 0..2 {
                    yield_now().await;
                    reloading.reload(EVERY);
                }
            });
            for _ in 0..6 {
                tick(ms(1));
            }
            world.end();
        },
    );
}

/// Of `reset`: "no result of an earlier round is kept", and no clock goes back.
#[test]
fn another_interval_begins_a_schedule_with_nothing_of_the_one_before() {
    explore(
        Switches::Waits,
        "Board, another interval: 2 partitions with an entry and 14 without, 2 intervals, 6 ticks",
        || {
            let world = World::new(EVERY * 3);
            world.start();
            let reloading = world.clone();
            start(async move {
                for every in [ms(1), ms(3)] {
                    yield_now().await;
                    reloading.reload(every);
                }
            });
            for _ in 0..6 {
                tick(ms(1));
            }
            world.end();
        },
    );
}

/// Of `shown`: "a failure is never held back, and neither is the result of a check for a request."
#[test]
fn a_report_holds_back_only_a_recovery_of_an_unfinished_round() {
    explore(
        Switches::Locks,
        "Board, what is shown: 2 partitions with an entry and 14 without, 2 requests, 6 ticks",
        || {
            let world = World::new(EVERY * 3);
            world.start();
            for entry in 0..BUSY {
                let world = world.clone();
                start(async move {
                    let outcome = world.check(entry).await;
                    let board = world.board.lock();
                    world.happened(|happened| happened.requested[entry] = Some(outcome));
                    world.judge(&board);
                });
            }
            for _ in 0..6 {
                tick(ms(1));
            }
            world.end();
        },
    );
}
