//! `Watch`: a status at once, and then each change of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{self, Instant};

use super::messages::HealthCheckResponse;
use super::service::{HealthStatus, Service, is_drained};
use super::wire::{CallError, Code};
use crate::app::{App, Life, Watcher};
use crate::http::access::Subscriber;

/// The time for which further checks are awaited after one has ended: a round of thousands of them is one look.
const TOGETHER: Duration = Duration::from_millis(100);

/// The time without a check after which the rounds are examined: stuck ones bring no news of it.
const EXAMINE_EVERY: Duration = Duration::from_secs(5);

/// A service that is watched.
struct Watch {
    app: Arc<App>,
    name: String,
    caller: Subscriber,
    watcher: Watcher,
    /// The status that was sent last.
    said: Option<HealthStatus>,
    /// `true` if the end was sent.
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// The statuses of the service `name` from now on, until the stop, or until `caller` is denied. A service that does not
/// exist may be added by a reload.
pub(super) fn watch(
    app: Arc<App>,
    name: String,
    caller: Subscriber,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<HealthCheckResponse, CallError>> {
    let watcher = app.watch();
    let watch = Watch { app, name, caller, watcher, said: None, ended: false, _place: place };
    stream::unfold(watch, Watch::next)
}

impl Watch {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, CallError>, Self)> {
        if self.ended {
            return None;
        }
        let status = loop {
            if self.caller.view(&self.app.setup().access).is_none() {
                return Some(self.end(Code::PermissionDenied, "the caller no longer has access"));
            }
            let status = match self.app.life() {
                Life::Stopping => return Some(self.end(Code::Unavailable, "the sidecar is shutting down")),
                Life::Starting | Life::Ready | Life::Draining => self.status().await,
            };
            if self.said != Some(status) {
                break status;
            }
            if time::timeout(EXAMINE_EVERY, self.watcher.news()).await.is_ok() {
                time::sleep(TOGETHER).await;
            }
        };
        self.said = Some(status);
        Some((Ok(status.into()), self))
    }

    /// The end of the stream, with its reason.
    fn end(mut self, code: Code, said: &'static str) -> (Result<HealthCheckResponse, CallError>, Self) {
        self.ended = true;
        (Err(CallError::new(code, said)), self)
    }

    /// The status by the last checks. At first there is none, so a check is made.
    async fn status(&self) -> HealthStatus {
        let setup = self.app.setup();
        match (Service::named(&self.name, &setup), self.said) {
            (None, _) => HealthStatus::Unknown,
            (Some(_), _) if is_drained(&self.name, &self.app) => HealthStatus::NotServing,
            (Some(service), None | Some(HealthStatus::Unknown)) => {
                service.check(&self.app, &setup, Instant::now()).await
            }
            (Some(service), Some(HealthStatus::Serving | HealthStatus::NotServing)) => {
                service.latest(&self.app, &setup).await
            }
        }
    }
}
