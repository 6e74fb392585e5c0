//! [`Record`]: the results of one entry's checks over time. In memory, bounded.
//!
//! An entry is one check of one alias, such as `main` or `main.queue`. Everything that outlives a check is recorded
//! here, once a check and at the place that knows its outcome, however many callers share it.

mod causes;
mod hour;
mod journal;
mod period;
mod sharing;
mod tally;

use std::sync::Arc;
use std::time::SystemTime;

use crate::alias::Alias;
use crate::mutex::Mutex;
use crate::outcome::{CheckKind, Outcome, Status};
use period::Period;

pub use hour::{Hour, Minute};
pub use journal::{Journal, Transition};
pub use period::{LastSeen, Past, Since, Unchecked};
pub use sharing::{Lookup, Sharing, Through};
pub use tally::Tally;

/// The results of all checks of one entry.
#[derive(Debug)]
pub struct Record {
    alias: Alias,
    kind: CheckKind,
    journal: Arc<Journal>,
    known: Mutex<RecordSnapshot>,
}

/// A snapshot of a record.
#[derive(Debug, Clone, Default)]
pub struct RecordSnapshot {
    /// The result of the check that began last, among those that have ended.
    pub latest: Option<Arc<Outcome>>,
    /// The time of the current status.
    period: Option<Period>,
    /// The start of the last check that was up or degraded.
    pub last_up: Option<SystemTime>,
    /// The number of checks that were avoided by sharing.
    pub sharing: Sharing,
    /// The counters.
    pub tally: Tally,
    /// The last hour, shared by its readers.
    pub hour: Arc<Hour>,
}

impl Record {
    /// The record of an entry that was never checked. `journal` gets its changes.
    #[must_use]
    pub fn new(alias: &Alias, kind: CheckKind, journal: &Arc<Journal>) -> Self {
        Self { alias: alias.clone(), kind, journal: journal.clone(), known: Mutex::default() }
    }

    /// The alias that is checked.
    #[must_use]
    pub fn alias(&self) -> &Alias {
        &self.alias
    }

    /// The kind of check.
    #[must_use]
    pub fn kind(&self) -> CheckKind {
        self.kind
    }

    /// The name of the entry, such as `main` or `main.queue`.
    #[must_use]
    pub fn entry(&self) -> String {
        self.kind.entry(&self.alias)
    }

    /// The result of the check that began last, among those that have ended.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Outcome>> {
        self.known.lock().latest.clone()
    }

    /// The current status, with its start.
    #[must_use]
    pub fn since(&self) -> Option<Since> {
        self.known.lock().since()
    }

    /// The last hour.
    #[must_use]
    pub fn hour(&self) -> Arc<Hour> {
        self.known.lock().hour.clone()
    }

    /// A snapshot of the whole record.
    #[must_use]
    pub fn known(&self) -> RecordSnapshot {
        self.known.lock().clone()
    }

    /// `true` if a check has ever been up or degraded.
    #[must_use]
    pub(crate) fn has_been_up(&self) -> bool {
        self.known.lock().last_up.is_some()
    }

    /// Records the outcome of a check.
    pub fn note(&self, outcome: &Arc<Outcome>) {
        let transition = self.known.lock().note(outcome);
        self.journal.note(transition);
    }

    /// Counts a lookup of another check's result.
    pub fn looked_up(&self, through: Through, lookup: Lookup) {
        self.looked_up_often(through, lookup, 1);
    }

    /// Counts `times` lookups.
    pub(crate) fn looked_up_often(&self, through: Through, lookup: Lookup, times: u64) {
        self.known.lock().sharing.note(through, lookup, times);
    }
}

impl RecordSnapshot {
    /// The current status, with its start.
    #[must_use]
    pub fn since(&self) -> Option<Since> {
        self.period.as_ref().map(|period| period.since)
    }

    /// The current status and its causes, as far as checks saw them, and the number of changes of its causes.
    pub(crate) fn so_far(&self) -> Option<(Past, usize)> {
        let period = self.period.as_ref()?;
        Some((period.end(self.latest.as_ref()?), period.changes()))
    }

    /// Adds an outcome; returns the change, if there is one.
    fn note(&mut self, outcome: &Arc<Outcome>) -> Option<Transition> {
        self.tally.note(outcome);
        Arc::make_mut(&mut self.hour).note(outcome);
        let status = outcome.status();
        if status < Status::Down {
            self.last_up = self.last_up.max(Some(outcome.began_at));
        }
        // Checks of a slow cache overlap, and one that began earlier may end later: it is out of date.
        if self.latest.as_ref().is_some_and(|latest| latest.began > outcome.began) {
            return None;
        }
        let last = self.latest.replace(outcome.clone());
        let (Some(period), Some(last)) = (&mut self.period, last) else {
            self.period = Some(Period::begin(outcome, None));
            return Transition::first(outcome);
        };
        if period.since.status == status {
            return period.note(outcome, &last).map(|past| Transition::after(past, outcome));
        }
        let past = period.end(&last);
        *period = Period::begin(outcome, Some(&last));
        Some(Transition::after(past, outcome))
    }
}

#[cfg(test)]
impl Record {
    /// A record of this alias' round trips, in a journal of its own.
    pub(crate) fn of(alias: &str) -> Arc<Self> {
        Arc::new(Self::new(&Alias::try_from(alias).unwrap(), CheckKind::RoundTrip, &Arc::default()))
    }

    /// Notes that a check of one server, which began at this time and took so long, ended with this fault, and returns its
    /// outcome.
    pub(crate) fn found(
        &self,
        began: (tokio::time::Instant, SystemTime),
        took: std::time::Duration,
        cause: Option<crate::outcome::Cause>,
    ) -> Arc<Outcome> {
        use crate::outcome::{Fault, Needs, NodeOutcome, Phase, Phases};
        let fault = cause.map(|cause| Fault::new(cause, Phase::Connect, ""));
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
        let (alias, needs) = (self.alias().clone(), Needs::default());
        let outcome = Arc::new(Outcome::plain(alias, self.kind(), began, took, nodes, needs));
        self.note(&outcome);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::outcome::{Cause, Fault, Needs, NodeOutcome, Phase, Phases};

    fn outcome(began: Instant, is_up: bool) -> Arc<Outcome> {
        let fault = (!is_up).then(|| Fault::new(Cause::Refused, Phase::Connect, ""));
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
        let alias = Alias::try_from("main").unwrap();
        let began = (began, SystemTime::now());
        Arc::new(Outcome::plain(alias, CheckKind::RoundTrip, began, Duration::ZERO, nodes, Needs::default()))
    }

    fn record() -> (Arc<Journal>, Record) {
        let journal = Arc::new(Journal::default());
        let record = Record::new(&Alias::try_from("main").unwrap(), CheckKind::RoundTrip, &journal);
        (journal, record)
    }

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_change_is_reported_with_the_time_that_the_previous_status_was_seen() {
        let (journal, record) = record();
        let start = Instant::now();
        for (at, is_up) in [(0, true), (1, true), (5, false), (7, false), (9, true)] {
            record.note(&outcome(start + second(at), is_up));
        }
        let told: Vec<_> =
            journal.transitions().iter().map(|told| (told.from(), told.to, told.lasted())).collect();
        // The latest first.
        assert_eq!(
            told,
            [
                (Some(Status::Down), Status::Up, Some(second(2))),
                (Some(Status::Up), Status::Down, Some(second(1)))
            ]
        );
        assert_eq!(record.since().map(|since| start + second(10) - since.began), Some(second(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_has_the_last_check_before_it_and_the_longest_time_without_a_check() {
        let (_, record) = record();
        let start = Instant::now();
        let note = |at, is_up| {
            let outcome = outcome(start + second(at), is_up);
            record.note(&outcome);
            (outcome.began_at, record.since().unwrap())
        };
        let (_, first) = note(0, true);
        assert_eq!((first.before, first.unchecked, first.last_up()), (None, None, None));
        let (seen_up, _) = note(10_000, true);
        let (_, down) = note(20_000, false);
        assert_eq!(down.before, Some(LastSeen { status: Status::Up, at: seen_up }));
        assert_eq!(
            (down.last_up(), down.unchecked),
            (Some(seen_up), None),
            "the time before is no part of it"
        );
        for (at, longest) in [(20_100, None), (20_700, Some(600)), (21_500, Some(800)), (22_200, Some(800))] {
            let (_, since) = note(at, false);
            assert_eq!(since.unchecked.map(|unchecked| unchecked.length.as_secs()), longest, "{at}");
            assert_eq!((since.began, since.last_up()), (down.began, Some(seen_up)));
        }
        let (_, up) = note(22_300, true);
        assert_eq!((up.before.unwrap().status, up.last_up(), up.unchecked), (Status::Down, None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_verdict_is_reported_only_if_it_is_not_up() {
        let (journal, record) = record();
        record.note(&outcome(Instant::now(), true));
        assert_eq!(journal.transitions().len(), 0);
        let (journal, record) = self::record();
        record.note(&outcome(Instant::now(), false));
        let told = journal.transitions();
        assert_eq!((told[0].from(), told[0].to, told[0].cause), (None, Status::Down, Some(Cause::Refused)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_ends_after_a_later_one_is_no_news() {
        let (journal, record) = record();
        let start = Instant::now();
        record.note(&outcome(start + second(1), true));
        record.note(&outcome(start, false));
        assert_eq!(journal.transitions().len(), 0);
        assert_eq!(record.since().map(|since| since.status), Some(Status::Up));
    }

    #[tokio::test]
    async fn the_journal_keeps_the_last_64_changes_and_wakes_every_watcher() {
        let (journal, record) = record();
        let mut ticks = journal.ticks();
        for number in 0..100 {
            record.note(&outcome(Instant::now(), number % 2 == 1));
        }
        assert_eq!(journal.transitions().len(), 64);
        assert!(ticks.has_changed().unwrap());
        ticks.mark_unchanged();
        record.note(&outcome(Instant::now(), true));
        assert!(ticks.has_changed().unwrap(), "a check that changes nothing is news too");
    }
}
