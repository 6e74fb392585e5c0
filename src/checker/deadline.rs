//! The deadline, as a layer: it begins a check's progress, and reads the outcome from it in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use super::standing_timer::StandingTimer;
use crate::alias::Alias;
use crate::outcome::{Kind, Needs, Outcome};
use crate::progress::Progress;

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
            let DeadlineLayer { timeout, standing_timer, begin, .. } = settings;
            let progress = Arc::new(begin());
            let deadline = arrived + *timeout;
            standing_timer.begin(arrived, deadline);
            // Whether it ended or the deadline struck, what it wrote down is the outcome.
            let _ = timeout_at(deadline, check.clone().oneshot(progress.clone())).await;
            Ok(progress.outcome(settings.alias.clone(), settings.kind, settings.needs))
        }
        .boxed()
    }
}
