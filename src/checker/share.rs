//! Sharing, as a layer: callers that arrive together share a check, and none gets a verdict that is too old
//! for it.
//!
//! Four rules:
//!
//! 1. A check is shared by the callers that arrive before it has begun, or within `max_age` of its beginning.
//!    No other caller gets its verdict.
//! 2. While a check runs that a caller may not share, the next one waits until that has ended. The caches see
//!    one check after the other, on one kept connection, however many callers there are.
//! 3. It does not wait for longer than an eighth of the deadline. So at most eight checks of an alias overlap
//!    when a cache hangs, and a caller behind a check that hangs still gets its answer within its own
//!    deadline, which counts from its arrival.
//! 4. A verdict is given to no caller any more once something has come over a connection that it was made on: a cache
//!    that was killed is down at the next request, however young the verdict is. If that happens before the check has
//!    ended, it is made once more for the callers that joined it while it ran.
//!
//! Callers of several checks share them in `gather`, by the same rules.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use crate::budget;
use crate::cache::{activity, note_activity};
use crate::mutex::Mutex;
use crate::outcome::{Outcome, Status};
use crate::record::{Lookup, Record, Through};
use crate::sync::spawn;

/// A check that can be asked about its connections after it has ended.
pub(super) trait Quiet: Send + Sync {
    /// `true` if nothing has come over its kept connections since.
    fn is_quiet(&self) -> bool;
}

/// Lets callers share the checks of an alias.
#[derive(Clone)]
pub(super) struct ShareLayer<Q> {
    record: Arc<Record>,
    max_age: Duration,
    max_wait: Duration,
    connections: Q,
}

impl<Q> ShareLayer<Q> {
    /// Verdicts are shared for `max_age`, which `record` counts, while its `connections` are quiet; `timeout` is the
    /// deadline of the checks.
    pub(super) fn new(record: &Arc<Record>, max_age: Duration, timeout: Duration, connections: Q) -> Self {
        Self { record: record.clone(), max_age, max_wait: budget::SHARED_WAIT.of(timeout), connections }
    }
}

impl<S, Q: Clone> Layer<S> for ShareLayer<Q> {
    type Service = SharedCheck<S, Q>;

    fn layer(&self, check: S) -> SharedCheck<S, Q> {
        SharedCheck(Arc::new(SharedCheckParts { check, settings: self.clone(), state: Mutex::default() }))
    }
}

/// A check that its callers share. Its clones are one.
pub(super) struct SharedCheck<S, Q>(Arc<SharedCheckParts<S, Q>>);

struct SharedCheckParts<S, Q> {
    check: S,
    settings: ShareLayer<Q>,
    state: Mutex<ShareState>,
}

impl<S, Q> Clone for SharedCheck<S, Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug, Default)]
struct ShareState {
    /// The check that has begun last; it may have ended.
    latest: Option<Joined>,
    /// The check that is waiting to begin.
    next: Option<Joined>,
}

/// A check that a caller has joined. Its clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined(Arc<Course>);

/// A check from its first waiting caller until no caller needs it any more.
#[derive(Debug, Default)]
struct Course {
    began: OnceLock<Instant>,
    /// `true` if a caller joined it while it ran.
    joined_midway: AtomicBool,
    outcome: SetOnce<Arc<Outcome>>,
    /// The activity counter plus one at the time at which its connections were last found quiet; [`VOID`] once they
    /// were not.
    quiet_at: AtomicU64,
}

/// The mark of a verdict that is given to no caller any more.
const VOID: u64 = u64::MAX;

impl Joined {
    /// The time at which it began, if it has.
    pub(super) fn began(&self) -> Option<Instant> {
        self.0.began.get().copied()
    }

    /// The outcome, once it has ended.
    pub(super) async fn outcome(&self) -> &Arc<Outcome> {
        self.0.outcome.wait().await
    }

    /// The same, if it has ended by now.
    pub(super) fn ended(&self) -> Option<&Arc<Outcome>> {
        self.0.outcome.get()
    }

    /// `true` if it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.outcome.initialized()
    }

    /// `true` if a caller with this `arrived` may share it, as far as its age goes.
    fn is_young(&self, arrived: Instant, max_age: Duration) -> bool {
        self.began().is_none_or(|began| arrived.saturating_duration_since(began) <= max_age)
    }
}

/// Makes sure that a check has an outcome, even if it ends without one.
struct VerdictGuard {
    joined: Joined,
    record: Arc<Record>,
    arrived: Instant,
}

impl Drop for VerdictGuard {
    fn drop(&mut self) {
        if !self.joined.has_ended() {
            let (alias, kind) = (self.record.alias().clone(), self.record.kind());
            let _ = self.joined.0.outcome.set(Arc::new(Outcome::lost(alias, kind, self.arrived)));
        }
    }
}

impl<S, Q> SharedCheck<S, Q>
where
    S: Service<Instant, Response = Arc<Outcome>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    Q: Quiet + 'static,
{
    /// The check whose verdict a caller with this `arrived` may have; if there is none, a new one.
    pub(super) fn join(&self, arrived: Instant) -> Joined {
        let mut state = self.0.state.lock();
        let max_age = self.0.settings.max_age;
        let looked_up = |lookup| self.0.settings.record.looked_up(Through::Process, lookup);
        let young = state.latest.as_ref().filter(|latest| latest.is_young(arrived, max_age));
        let stands = young.filter(|latest| self.stands(latest));
        if let Some(shared) = stands.or(state.next.as_ref()) {
            looked_up(Lookup::Hit);
            if shared.began().is_some() {
                shared.0.joined_midway.store(true, Ordering::Relaxed);
            }
            return shared.clone();
        }
        looked_up(if young.is_some() { Lookup::Invalidated } else { Lookup::Miss });
        let joined = Joined::default();
        let record = self.0.settings.record.clone();
        let verdict = VerdictGuard { joined: joined.clone(), record, arrived };
        let running = state.latest.as_ref().filter(|latest| !latest.has_ended());
        match running.and_then(|running| Some((running.clone(), running.began()?))) {
            None => self.begin(&mut state, verdict),
            Some((running, began)) => {
                state.next = Some(joined.clone());
                let share = self.clone();
                spawn(async move {
                    let max_wait = began + share.0.settings.max_wait;
                    let _ = timeout_at(max_wait, running.outcome()).await;
                    let mut state = share.0.state.lock();
                    state.next = None;
                    share.begin(&mut state, verdict);
                });
            }
        }
        joined
    }

    /// Begins a check in a task of its own: a caller that goes away must not take it from the others.
    fn begin(&self, state: &mut ShareState, verdict: VerdictGuard) {
        let _ = verdict.joined.0.began.set(Instant::now());
        state.latest = Some(verdict.joined.clone());
        let share = self.clone();
        spawn(async move {
            let SharedCheckParts { check, state, .. } = &*share.0;
            let Ok(mut outcome) = check.clone().oneshot(verdict.arrived).await;
            let Course { joined_midway, outcome: published, .. } = &*verdict.joined.0;
            let publish = |outcome| {
                // Only this task sets it.
                let _ = published.set(outcome);
            };
            {
                // Nobody joins between the look and the end.
                let _state = state.lock();
                if !joined_midway.load(Ordering::Relaxed) || share.is_undisturbed(&outcome) {
                    return publish(outcome);
                }
            }
            Ok(outcome) = check.clone().oneshot(verdict.arrived).await;
            publish(outcome);
        });
    }
}

impl<S, Q: Quiet> SharedCheck<S, Q> {
    /// `true` if it is a clone of the other.
    pub(super) fn is_the_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The record that counts its callers.
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.0.settings.record
    }

    /// `true` if nothing has come over the connections since `outcome` was known. A verdict that is down stays so for its
    /// time: a closed connection is no sign that the cache is back.
    fn is_undisturbed(&self, outcome: &Outcome) -> bool {
        outcome.status() == Status::Down || self.0.settings.connections.is_quiet()
    }

    /// `true` if the outcome of `joined`, if it has ended, may be given to yet another caller by rule 4.
    ///
    /// The connections are looked at once, and then not until something has come over any.
    pub(super) fn stands(&self, joined: &Joined) -> bool {
        let Some(outcome) = joined.ended() else { return true };
        // Before the look, so that an event during the look is not missed.
        let now = activity() + 1;
        let quiet_at = joined.0.quiet_at.load(Ordering::SeqCst);
        if quiet_at == VOID {
            return false;
        }
        if quiet_at == now {
            return true;
        }
        let is_quiet = self.is_undisturbed(outcome);
        joined.0.quiet_at.store(if is_quiet { now } else { VOID }, Ordering::SeqCst);
        if !is_quiet {
            // A holder of this verdict among others has to hear of it.
            note_activity();
        }
        is_quiet
    }
}

impl<S, Q> Service<Instant> for SharedCheck<S, Q>
where
    S: Service<Instant, Response = Arc<Outcome>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    Q: Quiet + 'static,
{
    type Response = Arc<Outcome>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Arc<Outcome>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let joined = self.join(arrived);
        async move { Ok(joined.outcome().await.clone()) }.boxed()
    }
}

#[cfg(test)]
pub(super) mod model;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use futures_util::future::join_all;
    use tower::service_fn;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Needs};

    const MAX_AGE: Duration = Duration::from_millis(100);
    const TIMEOUT: Duration = Duration::from_millis(750);

    /// Connections over which something comes at this time, if at all.
    #[derive(Clone)]
    struct QuietUntil(Option<Instant>);

    impl Quiet for QuietUntil {
        fn is_quiet(&self) -> bool {
            self.0.is_none_or(|until| Instant::now() < until)
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A check over quiet connections.
    fn check(
        time: Duration,
        max_age: Duration,
        begun: &Arc<AtomicUsize>,
        most: &Arc<AtomicUsize>,
    ) -> impl Service<Instant, Response = Arc<Outcome>, Error = Infallible, Future: Send> + Clone + use<>
    {
        check_over(QuietUntil(None), time, max_age, begun, most)
    }

    /// A check that takes `time`, or as long as it may; counts its beginnings and the most that run at a time.
    fn check_over(
        connections: QuietUntil,
        time: Duration,
        max_age: Duration,
        begun: &Arc<AtomicUsize>,
        most: &Arc<AtomicUsize>,
    ) -> impl Service<Instant, Response = Arc<Outcome>, Error = Infallible, Future: Send> + Clone + use<>
    {
        let alias = Alias::try_from("main").unwrap();
        let record = Arc::new(Record::new(&alias, CheckKind::RoundTrip, &Arc::default()));
        let (begun, most, running) = (begun.clone(), most.clone(), Arc::new(AtomicUsize::new(0)));
        let layer = ShareLayer::new(&record, max_age, TIMEOUT, connections);
        layer.layer(service_fn(move |arrived: Instant| {
            let (begun, most, running, alias) = (begun.clone(), most.clone(), running.clone(), alias.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let start = Instant::now();
                let _ = timeout_at(arrived + TIMEOUT, tokio::time::sleep(time)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                let (began_at, elapsed) = (SystemTime::now(), start.elapsed());
                let (kind, needs) = (CheckKind::RoundTrip, Needs::default());
                Ok(Arc::new(Outcome::plain(alias, kind, (start, began_at), elapsed, Vec::new(), needs)))
            }
        }))
    }

    /// Calls at each of these times. Returns, for each, its arrival, the beginning of its check, and the time of its
    /// answer.
    async fn call_at(
        check: impl Service<Instant, Response = Arc<Outcome>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
        times: impl IntoIterator<Item = Duration>,
    ) -> Vec<(Instant, Instant, Instant)> {
        let start = Instant::now();
        join_all(times.into_iter().map(|time| {
            let check = check.clone();
            async move {
                tokio::time::sleep_until(start + time).await;
                let arrived = Instant::now();
                let Ok(outcome) = check.oneshot(arrived).await;
                (arrived, outcome.began, Instant::now())
            }
        }))
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_callers_that_arrive_together_share_one_check() {
        let (begun, most) = (Arc::default(), Arc::default());
        call_at(check(ms(5), MAX_AGE, &begun, &most), (0..1000).map(|_| Duration::ZERO)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_is_shared_for_max_age_after_its_check_began_and_no_longer() {
        let (begun, most) = (Arc::default(), Arc::default());
        let calls = call_at(check(ms(5), MAX_AGE, &begun, &most), [ms(0), ms(100), ms(101)]).await;
        assert_eq!(calls[0].1, calls[1].1, "still young enough");
        assert!(calls[2].1 >= calls[2].0, "too old, so a new check was made");
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_whose_connection_closes_before_its_end_is_made_again_for_those_that_joined_it() {
        for (times, checks) in [(vec![ms(0)], 1), (vec![ms(0), ms(40)], 2)] {
            let (begun, most) = (Arc::default(), Arc::default());
            let connections = QuietUntil(Some(Instant::now() + ms(30)));
            let check = check_over(connections, ms(50), MAX_AGE, &begun, &most);
            let calls = call_at(check, times).await;
            assert_eq!(begun.load(Ordering::SeqCst), checks);
            let (arrived, checked, _) = calls[calls.len() - 1];
            assert!(checked >= arrived, "a verdict from before the close, for a caller from after it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_verdict_is_older_than_max_age_and_no_answer_later_than_the_deadline() {
        for time in [0, 1, 20, 90, 120, 700, 5000].map(ms) {
            for max_age in [0, 1, 100, 400].map(ms) {
                let (begun, most) = (Arc::default(), Arc::default());
                let times = (0..600).map(|n| ms(n * 7 % 2000));
                for (arrived, began, answered) in call_at(check(time, max_age, &begun, &most), times).await {
                    assert!(arrived.saturating_duration_since(began) <= max_age, "{time:?} {max_age:?}");
                    // The paused clock has a resolution of a millisecond.
                    assert!(answered - arrived <= TIMEOUT + ms(1), "{time:?} {max_age:?}");
                }
                assert!(most.load(Ordering::SeqCst) <= 9, "{time:?} {max_age:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_of_a_fast_cache_run_one_after_the_other_even_if_none_may_be_shared() {
        let (begun, most) = (Arc::default(), Arc::default());
        call_at(check(ms(10), Duration::ZERO, &begun, &most), (0..100).map(ms)).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(
            begun.load(Ordering::SeqCst),
            11,
            "one every ten milliseconds, and one for the last callers"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_does_not_take_the_check_from_the_others() {
        let (begun, most) = (Arc::default(), Arc::default());
        let check = check(ms(50), MAX_AGE, &begun, &most);
        let arrived = Instant::now();
        assert!(timeout_at(arrived + ms(10), check.clone().oneshot(arrived)).await.is_err());
        let Ok(outcome) = check.oneshot(Instant::now()).await;
        assert_eq!(outcome.began, arrived);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}
