//! Recording, as a layer: the outcome of each check is written down, once.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt as _};

use crate::outcome::Outcome;
use crate::record::Record;

/// Writes down the outcomes of an entry's checks.
#[derive(Debug, Clone)]
pub(super) struct RecordedLayer(pub(super) Arc<Record>);

impl<S> Layer<S> for RecordedLayer {
    type Service = Recorded<S>;

    fn layer(&self, check: S) -> Recorded<S> {
        Recorded { check, record: self.0.clone() }
    }
}

/// A check of which a record is kept.
#[derive(Clone)]
pub(super) struct Recorded<S> {
    check: S,
    record: Arc<Record>,
}

impl<S> Service<Instant> for Recorded<S>
where
    S: Service<Instant, Response = Outcome, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Arc<Outcome>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Arc<Outcome>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let Self { check, record } = self.clone();
        async move {
            let Ok(outcome) = check.oneshot(arrived).await;
            let outcome = Arc::new(outcome);
            record.note(&outcome);
            Ok(outcome)
        }
        .boxed()
    }
}
