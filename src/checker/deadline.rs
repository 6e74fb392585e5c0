//! The deadline, as a layer: it begins a check's progress, and reads the outcome from it in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

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
    /// Whether every step is written down.
    pub(super) explained: bool,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, check: S) -> Deadline<S> {
        Deadline { check, settings: self.clone() }
    }
}

/// A check with a deadline, counted from the arrival of the request that it is made for.
#[derive(Clone)]
pub(super) struct Deadline<S> {
    check: S,
    settings: DeadlineLayer,
}

impl<S> Service<Instant> for Deadline<S>
where
    S: Service<Arc<Progress>, Response = (), Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Outcome, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let check = self.check.clone();
        let DeadlineLayer { alias, kind, needs, timeout, explained } = self.settings.clone();
        async move {
            let progress = Arc::new(if explained { Progress::begin_explained() } else { Progress::begin() });
            // Whether it ended or the deadline struck, what it wrote down is the outcome.
            let _ = timeout_at(arrived + timeout, check.oneshot(progress.clone())).await;
            Ok(progress.outcome(alias, kind, needs))
        }
        .boxed()
    }
}
