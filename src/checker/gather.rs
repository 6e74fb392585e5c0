//! Gathering: callers that ask for the same several checks share one report of them, so that a thousand callers of a
//! thousand aliases cost little more than one.
//!
//! A gathering joins each check once, for all its callers, and each of its callers could have joined every one of those
//! checks alone: no report holds a verdict that is too old for its caller, no check is made that would not have been
//! made anyway, and each keeps the deadline of its first caller.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::AliasCheck;
use super::share::Joined;
use crate::cache::activity;
use crate::catalog::Selection;
use crate::mutex::Mutex;
use crate::outcome::Report;
use crate::record::{Lookup, Through};
use crate::sync::spawn;

/// The most selections that are shared at a time; a probe may exclude any check, so there may be any number.
const MOST: usize = 16;

/// The latest gathering of each selection.
pub(super) struct Gatherings {
    max_age: Duration,
    /// The slots, in the order of their last use.
    slots: Mutex<Vec<Slot>>,
}

struct Slot {
    selection: Selection,
    checks: Vec<AliasCheck>,
    gathering: Arc<Gathering>,
    ages: Ages,
    /// The activity counter at the time at which every verdict of the whole report was found to stand.
    stood_at: Option<u64>,
    /// The number of callers that shared it and are not written down yet.
    shared: u64,
}

/// The ages of a gathering's checks.
struct Ages {
    /// The earliest beginning of those that have begun.
    oldest: Option<Instant>,
    /// Those that had not begun at the last look. They begin no earlier than `at`, which is that look or before it.
    waiting: Vec<Joined>,
    at: Instant,
}

/// Checks that were joined together.
pub(super) struct Gathering {
    joined: Vec<Joined>,
    ended: SetOnce<()>,
    report: OnceLock<Arc<Report>>,
}

impl Gatherings {
    /// Verdicts are shared for `max_age`.
    pub(super) fn new(max_age: Duration) -> Self {
        Self { max_age, slots: Mutex::default() }
    }

    /// The gathering that a caller with this `arrived` may share; if there is none, a new one, of these `checks`.
    pub(super) fn join<'a>(
        &self,
        selection: &Selection,
        checks: impl Iterator<Item = &'a AliasCheck>,
        arrived: Instant,
    ) -> Arc<Gathering> {
        let mut slots = self.slots.lock();
        let place = if let Some(place) = slots.iter().rposition(|slot| slot.selection == *selection) {
            slots[place].serve(arrived, self.max_age);
            place
        } else {
            if slots.len() == MOST {
                slots.remove(0);
            }
            slots.push(Slot::new(selection, checks.cloned().collect(), arrived));
            slots.len() - 1
        };
        let gathering = slots[place].gathering.clone();
        slots[place..].rotate_left(1);
        gathering
    }

    /// Writes down the number of shared checks. It is not done for each caller, since each would write down all of them.
    pub(super) fn write_down(&self) {
        self.slots.lock().iter_mut().for_each(Slot::write_down);
    }
}

impl Slot {
    fn new(selection: &Selection, checks: Vec<AliasCheck>, arrived: Instant) -> Self {
        let gathering = Gathering::begin(&checks, arrived);
        let ages = Ages::of(&gathering, arrived);
        Self { selection: selection.clone(), checks, gathering, ages, stood_at: None, shared: 0 }
    }

    /// Makes a gathering ready for yet another caller.
    fn serve(&mut self, arrived: Instant, max_age: Duration) {
        if self.may_serve(arrived, max_age) {
            self.shared += 1;
            return;
        }
        self.write_down();
        self.gathering = Gathering::begin(&self.checks, arrived);
        self.ages = Ages::of(&self.gathering, arrived);
        self.stood_at = None;
    }

    /// `true` if the caller could have joined each of the checks alone.
    fn may_serve(&mut self, arrived: Instant, max_age: Duration) -> bool {
        self.ages.are_young(arrived, max_age) && self.stands()
    }

    /// `true` if every verdict that there is by now may be given to yet another caller.
    fn stands(&mut self) -> bool {
        let now = activity();
        if self.stood_at == Some(now) {
            return true;
        }
        let stands =
            self.checks.iter().zip(&self.gathering.joined).all(|(check, joined)| check.stands(joined));
        // Until the last check has ended there will be verdicts that were not looked at.
        let is_whole = self.gathering.joined.iter().all(Joined::has_ended);
        self.stood_at = (stands && is_whole).then_some(now);
        stands
    }

    fn write_down(&mut self) {
        let shared = std::mem::take(&mut self.shared);
        if shared > 0 {
            for check in &self.checks {
                check.record().looked_up_often(Through::Process, Lookup::Hit, shared);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.write_down();
    }
}

impl Ages {
    /// Those of checks that were joined for a request that arrived at `at`.
    fn of(gathering: &Gathering, at: Instant) -> Self {
        let mut ages = Self { oldest: None, waiting: gathering.joined.clone(), at };
        ages.look(at);
        ages
    }

    /// `true` if each check has begun no longer than `max_age` before `arrived`.
    fn are_young(&mut self, arrived: Instant, max_age: Duration) -> bool {
        let is_young = |began: Instant| arrived.saturating_duration_since(began) <= max_age;
        if !self.waiting.is_empty() && !is_young(self.at) {
            self.look(Instant::now());
        }
        self.oldest.is_none_or(is_young)
    }

    /// Finds those that have begun among those that were waiting.
    fn look(&mut self, at: Instant) {
        let oldest = &mut self.oldest;
        self.waiting.retain(|joined| match joined.began() {
            Some(began) => {
                *oldest = Some(oldest.map_or(began, |oldest| oldest.min(began)));
                false
            }
            None => true,
        });
        self.at = at;
    }
}

impl Gathering {
    fn of(joined: Vec<Joined>) -> Self {
        Self { joined, ended: SetOnce::new(), report: OnceLock::new() }
    }

    fn begin(checks: &[AliasCheck], arrived: Instant) -> Arc<Self> {
        let gathering = Arc::new(Self::of(checks.iter().map(|check| check.join(arrived)).collect()));
        if gathering.joined.len() > 1 {
            // One for all callers: as the checks end one after the other, each would be woken each time.
            let gathering = gathering.clone();
            spawn(async move {
                for joined in &gathering.joined {
                    joined.outcome().await;
                }
                let _ = gathering.ended.set(());
            });
        }
        gathering
    }

    /// The report, once all checks have ended.
    pub(super) async fn report(&self, selection: &Selection) -> Arc<Report> {
        match self.joined.as_slice() {
            [] => {}
            [only] => {
                only.outcome().await;
            }
            [_, ..] => {
                self.ended.wait().await;
            }
        }
        self.report.get_or_init(|| Arc::new(self.put_together(selection))).clone()
    }

    fn put_together(&self, selection: &Selection) -> Report {
        let outcomes = self.joined.iter().filter_map(Joined::ended).cloned().collect();
        Report { outcomes, skipped: selection.skipped.clone() }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures_util::future::join_all;
    use tokio::time::sleep;
    use tower::ServiceExt as _;
    use tower::layer::layer_fn;

    use super::*;
    use crate::cache::{Cache, SetError, note_activity};
    use crate::canary::{Canary, Key, Read, Unset};
    use crate::checker::{Checker, redis_at};
    use crate::config::Config;
    use crate::outcome::Fault;
    use crate::progress::NodeProgress;
    use crate::record::Record;

    const TIMEOUT: Duration = Duration::from_millis(750);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The script for the caches of a test, and the log of their work.
    #[derive(Default)]
    struct Script {
        /// The time that each takes to store a canary.
        times: Vec<Duration>,
        made: AtomicUsize,
        written: AtomicUsize,
        stirred: AtomicBool,
        /// The number of looks at connections.
        looked: AtomicUsize,
    }

    /// A cache that holds one canary, and takes `time` to store it.
    struct Scripted {
        script: Arc<Script>,
        time: Duration,
        held: Mutex<String>,
    }

    #[async_trait]
    impl Cache for Scripted {
        async fn set(&self, canary: &Canary, _: &NodeProgress) -> Result<(), SetError> {
            self.script.written.fetch_add(1, Ordering::SeqCst);
            sleep(self.time).await;
            canary.value().clone_into(&mut self.held.lock());
            Ok(())
        }

        async fn get(&self, _: &Key, _: Unset, _: &NodeProgress) -> Result<Read, Fault> {
            Ok(Read::Value(self.held.lock().clone().into_bytes()))
        }

        async fn delete(&self, _: &Key, _: &NodeProgress) -> Result<(), Fault> {
            Ok(())
        }

        async fn renew(&self, _: &[Key], _: Duration) {}

        async fn answers(&self, _: &NodeProgress) -> Option<&'static str> {
            None
        }

        fn is_quiet(&self) -> bool {
            self.script.looked.fetch_add(1, Ordering::SeqCst);
            !self.script.stirred.load(Ordering::SeqCst)
        }
    }

    fn checker(times: &[Duration], max_age: Duration) -> (Checker, Arc<Script>) {
        let script = Arc::new(Script { times: times.to_vec(), ..Script::default() });
        let scripts = script.clone();
        let layer = layer_fn(move |_: Box<dyn Cache>| -> Box<dyn Cache> {
            let script = scripts.clone();
            let time = script.times[script.made.fetch_add(1, Ordering::SeqCst)];
            Box::new(Scripted { script, time, held: Mutex::default() })
        });
        let caches = (0..times.len()).map(|number| redis_at(&format!("cache-{number}"), 1));
        let config = Config { max_age, timeout: TIMEOUT, caches: caches.collect(), ..Config::default() };
        (Checker::layered(&config, layer).unwrap(), script)
    }

    /// The selections of two neighbors of so many caches.
    fn pairs(checker: &Checker, caches: usize) -> Vec<Selection> {
        let names: Vec<_> = (0..caches).map(|number| format!("cache-{number}")).collect();
        let select = |pair: &[String]| checker.catalog().named(pair.iter().map(String::as_str)).unwrap();
        names.windows(2).map(select).collect()
    }

    fn lookups(checker: &Checker) -> Vec<[u64; 3]> {
        checker.write_down_sharing();
        let all = checker.catalog().all();
        let counts = |record: &Arc<Record>| {
            let sharing = record.known().sharing;
            Lookup::ALL.map(|lookup| sharing.times(Through::Process, lookup).unwrap())
        };
        checker.records(&all).map(counts).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_callers_share_one_report_and_each_counts() {
        let (checker, script) = checker(&[ms(1), ms(7), ms(3)], ms(100));
        let all = checker.catalog().all();
        let now = Instant::now();
        let reports = join_all((0..1000).map(|_| checker.check(&all, now))).await;
        assert!(reports.iter().all(|report| Arc::ptr_eq(report, &reports[0])));
        assert_eq!(script.written.load(Ordering::SeqCst), 3);
        assert_eq!(lookups(&checker), [[999, 1, 0]; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_as_old_as_the_oldest_verdict_that_it_took_over() {
        let (checker, _) = checker(&[ms(1), ms(1)], ms(100));
        let all = checker.catalog().all();
        let one = checker.catalog().named(["cache-0"]).unwrap();
        let report = |selection| checker.check(selection, Instant::now());
        let first = report(&one).await.outcomes[0].clone();
        sleep(ms(80)).await;
        let gathered = report(&all).await;
        assert!(Arc::ptr_eq(&gathered.outcomes[0], &first), "young enough to be taken over");
        sleep(ms(15)).await;
        assert!(Arc::ptr_eq(&gathered, &report(&all).await), "and still is");
        sleep(ms(15)).await;
        let later = report(&all).await;
        assert!(!Arc::ptr_eq(&later.outcomes[0], &first), "too old by now, though the gathering is not");
        assert!(Arc::ptr_eq(&later.outcomes[1], &gathered.outcomes[1]), "the other one is young still");
    }

    /// Callers of everything, of two and of one, one after the other. Returns the number of writes to the caches.
    async fn storm(times: &[Duration], max_age: Duration, alone: bool) -> usize {
        let (checker, script) = checker(times, max_age);
        let all = checker.catalog().all();
        let two = checker.catalog().named(["cache-0", "cache-2"]).unwrap();
        let one = checker.catalog().named(["cache-1"]).unwrap();
        let start = Instant::now();
        let (checker, selections) = (&checker, [&all, &two, &all, &one]);
        join_all((0..400).map(|number| async move {
            tokio::time::sleep_until(start + ms(number * 7 % 1400)).await;
            let (arrived, selection) = (Instant::now(), selections[usize::try_from(number).unwrap() % 4]);
            let outcomes = if alone {
                let checks = selection.checks.iter().map(|id| checker.entries[id.place()].check.clone());
                join_all(checks.map(|check| async move { check.oneshot(arrived).await.unwrap() })).await
            } else {
                checker.check(selection, arrived).await.outcomes.clone()
            };
            // The paused clock has a resolution of a millisecond.
            assert!(arrived.elapsed() <= TIMEOUT + ms(1), "{times:?} {max_age:?}");
            for outcome in outcomes {
                let age = arrived.saturating_duration_since(outcome.began);
                assert!(age <= max_age, "{times:?} {max_age:?} {age:?}");
            }
        }))
        .await;
        script.written.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn no_verdict_is_too_old_no_answer_late_and_no_check_made_that_would_not_be_made_alone() {
        for times in [[0, 1, 20], [1, 90, 700], [0, 5, 5000], [120, 120, 120]] {
            let times = times.map(ms);
            for max_age in [0, 1, 100, 400].map(ms) {
                let (shared, alone) =
                    (storm(&times, max_age, false).await, storm(&times, max_age, true).await);
                assert!(shared <= alone, "{shared} and {alone} checks: {times:?} {max_age:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_caller_gets_a_verdict_after_a_byte_arrived_on_its_connection() {
        let (checker, script) = checker(&[ms(1), ms(1)], ms(100));
        let all = checker.catalog().all();
        let report = || checker.check(&all, Instant::now());
        let first = report().await;
        note_activity();
        assert!(Arc::ptr_eq(&first, &report().await), "it came over another one");
        script.stirred.store(true, Ordering::SeqCst);
        note_activity();
        let second = report().await;
        script.stirred.store(false, Ordering::SeqCst);
        assert!(first.outcomes.iter().zip(&second.outcomes).all(|(one, other)| !Arc::ptr_eq(one, other)));
        assert!(Arc::ptr_eq(&second, &report().await));
        assert_eq!(lookups(&checker), [[2, 1, 1]; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_is_looked_at_once_for_all_callers_until_something_comes_over_any() {
        let (checker, script) = checker(&[ms(1), ms(1)], ms(100));
        let all = checker.catalog().all();
        for looked in [2, 4] {
            for _ in 0..5 {
                checker.check(&all, Instant::now()).await;
            }
            assert_eq!(script.looked.load(Ordering::SeqCst), looked);
            note_activity();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_that_a_later_check_finds_on_its_connection_is_known_to_the_report_before_it() {
        let (checker, script) = checker(&[ms(1), ms(1)], ms(100));
        let (all, one) = (checker.catalog().all(), checker.catalog().named(["cache-0"]).unwrap());
        let first = checker.check(&all, Instant::now()).await;
        assert!(Arc::ptr_eq(&first, &checker.check(&all, Instant::now()).await));
        sleep(ms(90)).await;
        let early = Instant::now();
        sleep(ms(30)).await;
        let later = checker.check(&one, Instant::now()).await;
        assert!(!Arc::ptr_eq(&later.outcomes[0], &first.outcomes[0]), "the first one is too old by now");
        script.stirred.store(true, Ordering::SeqCst);
        checker.check(&one, Instant::now()).await;
        let second = checker.check(&all, early).await;
        assert!(first.outcomes.iter().zip(&second.outcomes).all(|(one, other)| !Arc::ptr_eq(one, other)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_of_a_selection_that_is_kept_no_longer_are_counted() {
        let (checker, _) = checker(&[ms(0); 20], ms(100));
        for selection in pairs(&checker, 20) {
            for _ in 0..3 {
                checker.check(&selection, Instant::now()).await;
            }
        }
        // The first is in one pair, and two callers shared its check.
        assert_eq!(lookups(&checker)[0], [2, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_selections_is_kept() {
        let (checker, _) = checker(&[ms(0); 20], ms(100));
        for selection in pairs(&checker, 20) {
            assert_eq!(checker.check(&selection, Instant::now()).await.outcomes.len(), 2);
        }
        assert_eq!(checker.gatherings.slots.lock().len(), MOST);
    }
}
