//! The deadline, as a layer: it begins a check's progress, and reads the outcome from it in time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use super::calendar::Calendar;
use super::standing_timer::StandingTimer;
use crate::alias::Alias;
use crate::budget;
use crate::outcome::{CheckKind, Needs, Outcome};
use crate::progress::Progress;

/// The least delay of a deadline that shows that the sidecar itself was held up: by a machine that was short of time, or
/// stood still.
const LATE: Duration = Duration::from_millis(5);

/// A check of more nodes than this is not dropped before its answer is sent.
const MANY: usize = 64;

/// Gives each check of an alias one deadline for everything: resolving, connecting, TLS, authenticating, the
/// write and the read, of all its nodes together.
#[derive(Clone)]
pub(super) struct DeadlineLayer {
    pub(super) alias: Alias,
    pub(super) kind: CheckKind,
    /// The alias' needs of its nodes.
    pub(super) needs: Needs,
    pub(super) timeout: Duration,
    /// The time above which a check that passes is degraded.
    pub(super) slow: Option<Duration>,
    /// The timer that the checks of all aliases have together.
    pub(super) standing_timer: Arc<StandingTimer>,
    /// The function that begins a check's progress.
    pub(super) begin: fn() -> Progress,
    /// The dates to add to an outcome, if there are some.
    pub(super) calendar: Option<Arc<Calendar>>,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, check: S) -> Deadline<S> {
        Deadline(Arc::new(Deadlined { check, settings: self.clone() }))
    }
}

/// A check with a deadline, counted from the arrival of the request that it is made for. Its clones are one, and small:
/// of thousands that wait for their turn each has some.
#[derive(Clone)]
pub(super) struct Deadline<S>(Arc<Deadlined<S>>);

struct Deadlined<S> {
    check: S,
    settings: DeadlineLayer,
}

impl<S: Clone> Deadline<S> {
    /// The same check with another beginning.
    pub(super) fn begun_by(&self, begin: fn() -> Progress) -> Self {
        let Deadlined { check, settings } = &*self.0;
        DeadlineLayer { begin, ..settings.clone() }.layer(check.clone())
    }
}

impl<S> Service<Instant> for Deadline<S>
where
    S: Service<Arc<Progress>, Response = (), Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Outcome, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let deadlined = self.0.clone();
        async move {
            let Deadlined { check, settings } = &*deadlined;
            let DeadlineLayer { timeout: limit, standing_timer, begin, calendar, .. } = settings;
            let progress = Arc::new(begin());
            let deadline = arrived + *limit;
            standing_timer.begin(arrived, deadline);
            // If it ended, or if the deadline struck, its progress so far is the outcome.
            let check = Box::pin(check.clone().oneshot(progress.clone()));
            if let Some(given_up) = wait(check, &progress, deadline, *limit).await
                && progress.nodes() > MANY
            {
                drop_later(given_up, *limit);
            }
            let mut outcome = progress.outcome(settings.alias.clone(), settings.kind, settings.needs);
            if let Some(slow) = settings.slow {
                outcome.judge_speed(slow);
            }
            if let Some(calendar) = calendar {
                calendar.complete(&mut outcome);
            }
            Ok(outcome)
        }
        .boxed()
    }
}

/// Waits for `check` to end. Returns it if it is given up.
async fn wait<C: Future>(
    mut check: Pin<Box<C>>,
    progress: &Progress,
    deadline: Instant,
    limit: Duration,
) -> Option<Pin<Box<C>>> {
    if timeout_at(deadline, check.as_mut()).await.is_ok() {
        return None;
    }
    let late = deadline.elapsed();
    if late < LATE {
        return Some(check);
    }
    // The system may have an answer that has not reached the runtime yet.
    yield_now().await;
    if check.as_mut().now_or_never().is_some() {
        return None;
    }
    // An answer that came meanwhile counts as in time, since nothing shows the contrary. So a check that goes on with
    // it has as much time again as the sidecar has lost, up to the grace.
    let goes_on = progress.went_on(deadline);
    if goes_on && timeout(late.min(budget::GRACE.of(limit)), check.as_mut()).await.is_ok() {
        return None;
    }
    Some(check)
}

/// Drops a check of many nodes after the answers that are due now. To close a thousand connections takes milliseconds, and
/// several such checks that are given up together must not add up, so each is dropped at a time of its own.
fn drop_later(check: impl Send + 'static, limit: Duration) {
    let pause = budget::DROP_AFTER.of(limit).mul_f64(1.0 + fastrand::f64());
    tokio::spawn(async move {
        sleep(pause).await;
        drop(check);
    });
}

#[cfg(test)]
impl DeadlineLayer {
    /// That of round trips of `main`, which only have a deadline.
    pub(super) fn plain(timeout: Duration) -> Self {
        Self {
            alias: Alias::try_from("main").unwrap(),
            kind: CheckKind::RoundTrip,
            needs: Needs::default(),
            timeout,
            slow: None,
            standing_timer: Arc::default(),
            begin: Progress::begin,
            calendar: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;
    use tower::service_fn;

    use super::*;
    use crate::outcome::{Cause, Phase, Role};
    use crate::progress::Depth;

    const TIMEOUT: Duration = Duration::from_millis(800);

    /// The outcome of a check whose write was on its way when the sidecar stood still for so long, and whose read takes
    /// `read` after that, if it is ever answered.
    async fn stood_still(still: Duration, read: Option<Duration>) -> Outcome {
        let check = service_fn(move |progress: Arc<Progress>| {
            async move {
                let node = progress.node(&"cache:6379".into(), Role::Server);
                node.enter(Phase::Write);
                advance(still).await;
                if let Some(read) = read {
                    node.enter(Phase::Read);
                    sleep(read).await;
                    node.conclude(Ok(()));
                    return Ok(());
                }
                pending().await
            }
            .boxed()
        });
        DeadlineLayer::plain(TIMEOUT).layer(check).oneshot(Instant::now()).await.unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_sidecar_reads_the_responses_that_arrived_meanwhile_and_goes_on() {
        let outcome = stood_still(TIMEOUT * 2, Some(ms(20))).await;
        assert_eq!(outcome.cause(), None, "{outcome:?}");
        // By as much as was lost, and no more than its part of the deadline.
        assert_eq!(stood_still(TIMEOUT + ms(10), Some(ms(20))).await.cause(), Some(Cause::TimedOut));
        // A delay that any timer may have shows nothing.
        assert_eq!(stood_still(TIMEOUT + ms(5), Some(ms(1))).await.cause(), None);
        let unlikely = stood_still(TIMEOUT + ms(4), Some(ms(1))).await;
        assert_eq!(unlikely.cause(), Some(Cause::TimedOut));
        let outcome = stood_still(TIMEOUT * 2, Some(TIMEOUT)).await;
        assert_eq!(outcome.cause(), Some(Cause::TimedOut));
        assert!(outcome.elapsed <= TIMEOUT * 2 + TIMEOUT / 8 + ms(1), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_without_a_response_meanwhile_gets_no_more_time() {
        let outcome = stood_still(TIMEOUT * 2, None).await;
        assert_eq!((outcome.cause(), outcome.elapsed), (Some(Cause::TimedOut), TIMEOUT * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_punctual_sidecar_keeps_the_configured_deadline() {
        let outcome = stood_still(ms(790), Some(ms(20))).await;
        assert_eq!((outcome.cause(), outcome.elapsed), (Some(Cause::TimedOut), TIMEOUT));
        assert_eq!(stood_still(ms(770), Some(ms(20))).await.cause(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_of_many_nodes_is_answered_before_it_is_dropped_and_dropped_soon() {
        for (nodes, is_dropped_first) in [(MANY, true), (MANY + 1, false)] {
            let held = Arc::new(());
            let of_check = held.clone();
            let check = service_fn(move |progress: Arc<Progress>| {
                let held = of_check.clone();
                async move {
                    for _ in 0..nodes {
                        progress.node(&"cache:6379".into(), Role::Server).enter(Phase::Write);
                    }
                    let never = pending().await;
                    drop(held);
                    never
                }
                .boxed()
            });
            let outcome = DeadlineLayer::plain(TIMEOUT).layer(check).oneshot(Instant::now()).await.unwrap();
            assert_eq!((outcome.cause(), outcome.elapsed), (Some(Cause::TimedOut), TIMEOUT));
            assert_eq!(Arc::strong_count(&held) == 1, is_dropped_first, "{nodes} nodes");
            sleep(ms(99)).await;
            assert_eq!(Arc::strong_count(&held) == 1, is_dropped_first, "{nodes} nodes");
            sleep(ms(102)).await;
            assert_eq!(Arc::strong_count(&held), 1, "{nodes} nodes");
        }
    }
    #[tokio::test(start_paused = true)]
    async fn a_glance_is_the_same_check_with_another_beginning() {
        let check = service_fn(|progress: Arc<Progress>| {
            async move {
                let node = progress.node(&"cache:6379".into(), Role::Server);
                node.enter(Phase::Read);
                sleep(if progress.depth() == Depth::Glance { ms(1) } else { ms(2) }).await;
                node.conclude(Ok(()));
                Ok(())
            }
            .boxed()
        });
        let whole = DeadlineLayer::plain(TIMEOUT).layer(check);
        let glance = whole.begun_by(Progress::begin_glance);
        assert_eq!(whole.oneshot(Instant::now()).await.unwrap().elapsed, ms(2));
        assert_eq!(glance.oneshot(Instant::now()).await.unwrap().elapsed, ms(1));
    }
}
