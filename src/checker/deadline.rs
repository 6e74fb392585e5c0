//! The deadline, as a layer: it begins a check's progress, and reads the outcome from it in time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use super::standing_timer::StandingTimer;
use crate::alias::Alias;
use crate::outcome::{Kind, Needs, Outcome};
use crate::progress::Progress;

/// A deadline that strikes so much too late says that the sidecar itself was held up: by a machine that was short of time, or
/// stood still.
const LATE: Duration = Duration::from_millis(5);

/// What came meanwhile was there in time, as far as anybody knows. So a check that goes on with it has as much time again as
/// the sidecar has lost, up to this part of its deadline.
const GRACE: u32 = 8;

/// Gives each check of an alias one deadline for everything: resolving, connecting, TLS, authenticating, the
/// write and the read, of all its nodes together.
#[derive(Clone)]
pub(super) struct DeadlineLayer {
    pub(super) alias: Alias,
    pub(super) kind: Kind,
    /// What the alias needs of its nodes.
    pub(super) needs: Needs,
    pub(super) timeout: Duration,
    /// What the checks of all aliases have together.
    pub(super) standing_timer: Arc<StandingTimer>,
    /// How a check begins.
    pub(super) begin: fn() -> Progress,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, check: S) -> Deadline<S> {
        Deadline(Arc::new(Deadlined { check, settings: self.clone() }))
    }
}

/// A check with a deadline, counted from the arrival of the request that it is made for. Its clones are one, and small:
/// of thousands that wait for their turn each has some.
pub(super) struct Deadline<S>(Arc<Deadlined<S>>);

struct Deadlined<S> {
    check: S,
    settings: DeadlineLayer,
}

impl<S> Clone for Deadline<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Clone> Deadline<S> {
    /// The same of another look, which begins so.
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
            let DeadlineLayer { timeout: limit, standing_timer, begin, .. } = settings;
            let progress = Arc::new(begin());
            let deadline = arrived + *limit;
            standing_timer.begin(arrived, deadline);
            // Whether it ended or the deadline struck, what it wrote down is the outcome.
            wait(check.clone().oneshot(progress.clone()), &progress, deadline, *limit).await;
            Ok(progress.outcome(settings.alias.clone(), settings.kind, settings.needs))
        }
        .boxed()
    }
}

/// Waits for `check` to end or to be given up, when it is dropped.
async fn wait(check: impl Future, progress: &Progress, deadline: Instant, limit: Duration) {
    let mut check = pin!(check);
    if timeout_at(deadline, check.as_mut()).await.is_ok() {
        return;
    }
    let late = deadline.elapsed();
    if late < LATE {
        return;
    }
    // The system may have an answer of which the runtime does not know yet.
    yield_now().await;
    let has_ended = check.as_mut().now_or_never().is_some();
    if !has_ended && progress.went_on(deadline) {
        let _ = timeout(late.min(limit / GRACE), check).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};
    use tower::service_fn;

    use super::*;
    use crate::outcome::{Cause, Phase, Role};

    const TIMEOUT: Duration = Duration::from_millis(800);

    /// What came of a check whose write was on its way when the sidecar stood still for so long, and whose read takes
    /// `read` after that, if it is ever answered.
    async fn stood_still(still: Duration, read: Option<Duration>) -> Outcome {
        let round = service_fn(move |progress: Arc<Progress>| {
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
        let layer = DeadlineLayer {
            alias: Alias::try_from("main").unwrap(),
            kind: Kind::RoundTrip,
            needs: Needs::default(),
            timeout: TIMEOUT,
            standing_timer: Arc::default(),
            begin: Progress::begin,
        };
        layer.layer(round).oneshot(Instant::now()).await.unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_stood_still_takes_what_came_meanwhile_and_goes_on() {
        let outcome = stood_still(TIMEOUT * 2, Some(ms(20))).await;
        assert_eq!(outcome.cause(), None, "{outcome:?}");
        // By as much as was lost, and no more than its part of the deadline.
        assert_eq!(stood_still(TIMEOUT + ms(10), Some(ms(20))).await.cause(), Some(Cause::TimedOut));
        let outcome = stood_still(TIMEOUT * 2, Some(TIMEOUT)).await;
        assert_eq!(outcome.cause(), Some(Cause::TimedOut));
        assert!(outcome.elapsed <= TIMEOUT * 2 + TIMEOUT / GRACE + ms(1), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_that_has_not_answered_meanwhile_has_no_more_time() {
        let outcome = stood_still(TIMEOUT * 2, None).await;
        assert_eq!((outcome.cause(), outcome.elapsed), (Some(Cause::TimedOut), TIMEOUT * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn in_time_the_deadline_is_what_it_is() {
        let outcome = stood_still(ms(790), Some(ms(20))).await;
        assert_eq!((outcome.cause(), outcome.elapsed), (Some(Cause::TimedOut), TIMEOUT));
        assert_eq!(stood_still(ms(770), Some(ms(20))).await.cause(), None);
    }
}
