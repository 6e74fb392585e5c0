use super::*;
use crate::outcome::{Cause, Status};

const EVERY: Duration = Duration::from_secs(10);

/// A board whose first round is due now.
fn board() -> (Board, Schedule) {
    let (mut board, now) = (Board::default(), Instant::now());
    let schedule = board.follow(Some(EVERY), || now).unwrap();
    (board, schedule)
}

/// The outcome of a check that ends now.
fn check(record: &Record, fault: Option<Cause>) -> Arc<Outcome> {
    record.found((Instant::now(), SystemTime::now()), Duration::ZERO, fault)
}

impl Board {
    /// Makes the round that is due in these partitions. `true` if it has ended in all of them by that.
    fn make(&mut self, schedule: &Schedule, partitions: std::ops::Range<usize>) -> bool {
        let mut is_finished = false;
        for partition in partitions {
            let round = self.begin(partition, schedule, Instant::now());
            is_finished = self.end(partition, round, schedule.due(round));
        }
        is_finished
    }

    /// Makes the round of one partition, which checks these entries, but does not end it. Returns its number.
    fn begin_with(&mut self, schedule: &Schedule, partition: usize, entries: &[&Arc<Record>]) -> u64 {
        let round = self.begin(partition, schedule, Instant::now());
        for record in entries {
            self.wait_for(partition, record);
            self.note(partition, record, check(record, None));
        }
        round
    }

    fn missed(&self) -> Vec<u64> {
        self.clocks().unwrap().partitions.iter().map(|one| one.missed).collect()
    }

    /// The shown statuses of these entries.
    fn statuses(&self, records: &[&Arc<Record>]) -> Vec<Status> {
        let shown = self.shown().of(records.iter().copied()).unwrap();
        shown.iter().map(|outcome| outcome.status()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_is_finished_when_it_has_ended_in_every_partition() {
    let (mut board, schedule) = board();
    assert_eq!((board.last_due(), board.done(0), board.clocks().unwrap().through()), (None, 0, None));
    assert!(!board.make(&schedule, 0..PARTITIONS - 1));
    assert_eq!((board.clocks().unwrap().rounds, board.clocks().unwrap().through()), (0, None));
    assert!(board.make(&schedule, PARTITIONS - 1..PARTITIONS));
    let clocks = board.clocks().unwrap();
    assert_eq!((clocks.rounds, board.done(0), board.last_due()), (1, 1, Some(schedule.due)));
    // The wall clock is read once for all of them.
    assert!(clocks.partitions.iter().all(|one| one.through == clocks.through()), "{clocks:?}");
    tokio::time::advance(EVERY).await;
    assert!(!board.make(&schedule, 0..1));
    assert_eq!(board.last_due(), Some(schedule.due + EVERY), "the last that has ended in any");
    assert_eq!(board.clocks().unwrap().through(), clocks.through(), "the oldest clock");
    assert!(board.make(&schedule, 1..PARTITIONS));
    let later = board.clocks().unwrap();
    let between = later.through().unwrap().duration_since(clocks.through().unwrap()).unwrap();
    assert_eq!(later.rounds, 2);
    assert!(between <= EVERY * 2 && later.partitions.iter().all(|one| one.through == later.through()));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_stays_until_the_interval_is_another_one() {
    let (mut board, schedule) = board();
    board.make(&schedule, 0..PARTITIONS);
    let never = || panic!("the interval is the same");
    assert_eq!(board.follow(Some(EVERY), never), Some(schedule));
    let due = schedule.due + EVERY * 3;
    let other = board.follow(Some(EVERY * 2), || due).unwrap();
    assert_eq!(other, Schedule { first: 2, due, every: EVERY * 2 }, "rounds are numbered across schedules");
    assert!(board.finished().is_empty());
    assert_eq!(board.follow(None, never), None);
    assert_eq!(board.clocks(), None);
    assert_eq!(board.follow(Some(EVERY), || due).map(|schedule| schedule.first), Some(2));
}

#[tokio::test(start_paused = true)]
async fn skipped_rounds_are_missed_once() {
    let (mut board, schedule) = board();
    board.make(&schedule, 0..PARTITIONS);
    tokio::time::advance(EVERY * 4).await;
    assert_eq!(board.begin(3, &schedule, Instant::now()), 5);
    let mut expected = vec![0; PARTITIONS];
    expected[3] = 3;
    assert_eq!(board.missed(), expected);
    // A reload makes it begin again, once at the same round and once at a later one.
    assert_eq!(board.begin(3, &schedule, Instant::now()), 5);
    assert_eq!(board.missed(), expected);
    tokio::time::advance(EVERY * 2).await;
    assert_eq!(board.begin(3, &schedule, Instant::now()), 7);
    expected[3] = 5;
    assert_eq!(board.missed(), expected, "the fifth did not end, and the sixth did not begin");
}

#[tokio::test(start_paused = true)]
async fn a_finished_round_has_its_own_outcomes_and_drops_those_before() {
    let (mut board, schedule) = board();
    let (ahead, behind) = (Record::of("ahead"), Record::of("behind"));
    let first = board.begin_with(&schedule, 0, &[&ahead]);
    let of_first = ahead.latest().unwrap();
    board.end(0, first, schedule.due(first));
    tokio::time::advance(EVERY).await;
    let second = board.begin_with(&schedule, 0, &[&ahead]);
    board.end(0, second, schedule.due(second));
    let before = board.begin_with(&schedule, 1, &[&behind]);
    assert_eq!(before, 2, "one that is late joins the round that is due");
    assert!(!board.end(1, before, schedule.due(before)));
    assert!(board.make(&schedule, 2..PARTITIONS));
    let aliases: Vec<_> = board.finished().iter().map(|outcome| outcome.alias.to_string()).collect();
    assert_eq!(aliases, ["ahead", "behind"]);
    assert!(!board.finished().iter().any(|outcome| Arc::ptr_eq(outcome, &of_first)));
    assert_eq!(board.kept(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_round_that_is_begun_again_has_each_outcome_once() {
    let (mut board, schedule) = board();
    let main = Record::of("main");
    board.begin_with(&schedule, 0, &[&main]);
    let round = board.begin_with(&schedule, 0, &[&main]);
    assert_eq!(board.kept(), 1);
    board.end(0, round, schedule.due(round));
    assert!(board.make(&schedule, 1..PARTITIONS));
    assert_eq!(board.finished().len(), 1);
    assert!(Arc::ptr_eq(&board.finished()[0], &main.latest().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn beside_a_stuck_partition_the_others_keep_its_round_and_their_last_two() {
    let (mut board, schedule) = board();
    board.begin(0, &schedule, Instant::now());
    for turn in 0..6 {
        board.make(&schedule, 1..PARTITIONS);
        assert_eq!(board.kept(), (turn + 1).min(3), "{turn}");
        tokio::time::advance(EVERY).await;
    }
    // The stuck one ends, so its round has ended in all.
    assert!(board.end(0, 1, schedule.due));
    assert_eq!((board.clocks().unwrap().rounds, board.kept()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_is_shown_when_its_round_is_finished_and_an_outage_at_once() {
    let (mut board, schedule) = board();
    let (recovers, fails) = (Record::of("recovers"), Record::of("fails"));
    let entries = [&recovers, &fails];
    check(&recovers, Some(Cause::Refused));
    check(&fails, None);
    tokio::time::advance(Duration::from_millis(1)).await;
    let round = board.begin(0, &schedule, Instant::now());
    for (record, fault) in [(&recovers, None), (&fails, Some(Cause::Refused))] {
        board.wait_for(0, record);
        board.note(0, record, check(record, fault));
    }
    assert_eq!(board.statuses(&entries), [Status::Down, Status::Down]);
    board.end(0, round, schedule.due(round));
    // The next round of this partition finds the same, and what was before both is shown for it.
    tokio::time::advance(EVERY).await;
    let next = board.begin_with(&schedule, 0, &[&recovers]);
    assert_eq!(board.statuses(&entries), [Status::Down, Status::Down]);
    board.end(0, next, schedule.due(next));
    assert!(board.make(&schedule, 1..PARTITIONS));
    assert_eq!(board.statuses(&entries), [Status::Up, Status::Down]);
    // An outcome that the board does not wait for is no part of a round.
    tokio::time::advance(EVERY).await;
    let last = board.begin(0, &schedule, Instant::now());
    board.note(0, &recovers, check(&recovers, None));
    board.end(0, last, schedule.due(last));
    assert!(board.make(&schedule, 1..PARTITIONS));
    assert!(board.finished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reset_forgets_results_and_excuses_what_was_late_before() {
    let (mut board, schedule) = board();
    let main = Record::of("main");
    board.begin_with(&schedule, 0, &[&main]);
    tokio::time::advance(EVERY * 4).await;
    assert!(board.overdue(None, Instant::now()).is_some());
    board.reset();
    assert_eq!((board.kept(), board.finished().len()), (0, 0));
    assert_eq!(board.overdue(Some(EVERY), Instant::now()), None);
    assert_eq!(board.overdue(None, Instant::now()), None, "no round is due");
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_overdue_after_three_intervals_or_three_of_its_longest_rounds() {
    let (mut board, schedule) = board();
    let due = schedule.due;
    let entries: Vec<_> = (0..NAMED + 2).map(|number| Record::of(&format!("cache-{number}"))).collect();
    board.make(&schedule, 0..PARTITIONS);
    tokio::time::advance(EVERY).await;
    for partition in [4, 9] {
        board.begin(partition, &schedule, Instant::now());
    }
    for entry in &entries {
        board.wait_for(4, entry);
    }
    // The others go on for four rounds.
    for _ in 0..4 {
        for others in [0..4, 5..9, 10..PARTITIONS] {
            board.make(&schedule, others);
        }
        assert_eq!(board.overdue(None, due + EVERY * 3), None);
        tokio::time::advance(EVERY).await;
    }
    let late = due + EVERY * 3 + Duration::from_millis(1);
    let overdue = board.overdue(None, late).unwrap();
    assert_eq!((overdue.since, overdue.interval), (late - due, EVERY));
    let (stuck, idle) = (&overdue.still[0], &overdue.still[1]);
    assert_eq!((overdue.still.len(), stuck.partition, idle.partition), (2, 4, 9));
    assert_eq!((stuck.waits_for.len(), stuck.others, idle.others), (NAMED, 2, 0));
    // The configured interval counts, if there is one.
    assert_eq!(board.overdue(Some(EVERY * 2), late), None);
    let mut longest = [Duration::ZERO; PARTITIONS];
    longest[4] = EVERY * 2;
    board.expect(longest);
    let still = |board: &Board, now| {
        let overdue = board.overdue(None, now);
        overdue.map(|overdue| overdue.still.iter().map(|one| one.partition).collect::<Vec<_>>())
    };
    assert_eq!(still(&board, late), Some(vec![9]));
    assert_eq!(still(&board, due + EVERY * 6), Some(vec![9]));
    assert_eq!(still(&board, due + EVERY * 6 + Duration::from_millis(1)), Some(vec![4, 9]));
}
