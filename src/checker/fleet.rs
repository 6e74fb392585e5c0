//! The fleet, as a layer: sidecars of one role share the verdicts of an alias through a Redis.
//!
//! To check once too often is fine; to reuse a verdict that should not be reused is not. So another sidecar's verdict
//! is given only if all of this is true, and in every other case the check is made:
//!
//! 1. This sidecar's own latest check of the alias, or a verdict that it reused since, was up, and took no more than
//!    half of the deadline, so that there is time for a check if this comes to nothing.
//! 2. The store answers within an eighth of the deadline, and has a verdict that is up: no other is ever published, and
//!    a sidecar that finds something else deletes it at once.
//! 3. Two clocks agree on its age, the store's and this machine's, and by both it is young enough.
//! 4. A glance at every node, over this sidecar's own connections, finds the canaries there that it wrote itself. They
//!    expire, so that a check of one's own is made every two minutes at the least.
//!
//! The sidecar with the claim ([`store`]) checks. The others wait a little for the verdict.

mod store;
mod verdict;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use crc::Crc;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use super::deadline::Deadline;
#[cfg(test)]
use super::deadline::DeadlineLayer;
use crate::budget;
use crate::cache::redis::Redis;
use crate::cache::{Dialer, SetupError};
use crate::check::CheckContext;
use crate::config::{self, CacheConfig, Config};
use crate::outcome::{CheckKind, Outcome, OutcomeExtra, Reused, Status};
use crate::progress::Progress;
use crate::record::{Lookup, Record, Through};
use crate::sync::spawn;
use store::{Claim, FleetStore, StoreReply, StoreServer};
use verdict::{SharedVerdict, Terms};

/// The first pause between two looks for the verdict of another sidecar's check; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The store of shared verdicts, and the caches that they may be of.
pub(super) struct FleetLayers<'a> {
    config: &'a Config,
    fleet: &'a config::Fleet,
    /// The cache that the store is.
    at: &'a CacheConfig,
    store: Arc<FleetStore>,
}

impl<'a> FleetLayers<'a> {
    /// The one that is configured, if there is one. Nothing is dialed yet.
    pub(super) fn new(config: &'a Config, dialer: &Arc<Dialer>) -> Result<Option<Self>, SetupError> {
        let Some(fleet) = &config.fleet else { return Ok(None) };
        let Some(at) = config.caches.iter().find(|cache| cache.alias == fleet.store) else {
            return Ok(None);
        };
        let context = CheckContext::new(config, &at.alias, dialer);
        let store = FleetStore::new(at, &config.instance, &context)?;
        Ok(store.map(|store| Self { config, fleet, at, store: Arc::new(store) }))
    }

    /// The layer around a check of `cache`, of which `record` is kept; `None` if every sidecar makes it by itself. Any
    /// kind of check but the round trip compares with its own earlier looks.
    pub(super) fn layer(&self, cache: &CacheConfig, record: &Arc<Record>) -> Option<FleetLayer> {
        let &Self { config, fleet, at, ref store } = self;
        let covered = record.kind() == CheckKind::RoundTrip && fleet.covers(cache, at);
        covered.then(|| {
            FleetLayer(Arc::new(Settings {
                store: store.clone(),
                key: key(fleet, cache, config),
                terms: Terms::new(fleet.lasts, config),
                record: record.clone(),
                timeout: config.timeout,
            }))
        })
    }
}

/// Shares the verdicts of an alias.
pub(super) struct FleetLayer<R = Redis>(Arc<Settings<R>>);

struct Settings<R = Redis> {
    store: Arc<FleetStore<R>>,
    key: String,
    terms: Terms,
    record: Arc<Record>,
    timeout: Duration,
}

/// The key of a shared verdict: the same in every process that has the same role, and means the same by the alias.
///
/// Its number is a checksum of the role, the backend and the times, as `Debug` writes them: a new setting of a backend is
/// a part of that by itself, and a secret is not in it.
fn key(fleet: &config::Fleet, cache: &CacheConfig, config: &Config) -> String {
    let (CacheConfig { alias, backend, slow, .. }, role, lasts) = (cache, &fleet.role, fleet.lasts);
    let (max_age, timeout) = (config.max_age, config.timeout);
    let all = format!("{role:?} {alias} {backend:?} {lasts:?} {max_age:?} {timeout:?} {slow:?}");
    let number = Crc::<u64>::new(&crc::CRC_64_XZ).checksum(all.as_bytes());
    format!("{}verdict:{alias}:{number:016x}", config.prefix)
}

impl<S, R> Layer<Deadline<S>> for FleetLayer<R>
where
    S: Clone,
{
    type Service = FleetCheck<S, R>;

    fn layer(&self, check: Deadline<S>) -> FleetCheck<S, R> {
        let glance = check.begun_by(Progress::begin_glance);
        FleetCheck(Arc::new(FleetCheckParts { check, glance, settings: self.0.clone() }))
    }
}

/// A check whose verdict may come from another sidecar. Its clones are one.
pub(super) struct FleetCheck<S, R = Redis>(Arc<FleetCheckParts<S, R>>);

impl<S, R> Clone for FleetCheck<S, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct FleetCheckParts<S, R> {
    check: Deadline<S>,
    /// The same nodes, of which only the canaries of an earlier check are read.
    glance: Deadline<S>,
    settings: Arc<Settings<R>>,
}

/// The source of a check's outcome.
enum From {
    /// Another's verdict.
    Another(SharedVerdict),
    /// A check of one's own, whose verdict may be published if there is a claim.
    Oneself(Option<Claim>),
}

impl<S, R> Service<Instant> for FleetCheck<S, R>
where
    S: Service<Arc<Progress>, Response = (), Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    R: StoreServer,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Outcome, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Instant) -> Self::Future {
        let parts = self.0.clone();
        async move {
            let FleetCheckParts { check, glance, settings } = &*parts;
            let mut glanced = 0;
            let claim = match settings.look().await {
                From::Oneself(claim) => claim,
                From::Another(verdict) => match settings.reuse(verdict, glance.clone(), arrived).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(connections) => {
                        glanced = connections;
                        None
                    }
                },
            };
            let Ok(mut outcome) = check.clone().oneshot(arrived).await;
            outcome.connections += glanced;
            settings.tell(&outcome, claim, arrived).await;
            Ok(outcome)
        }
        .boxed()
    }
}

impl<R: StoreServer> Settings<R> {
    /// Looks for another's verdict.
    async fn look(&self) -> From {
        if !self.is_sure() {
            return From::Oneself(None);
        }
        let until = Instant::now() + budget::STORE.of(self.timeout);
        let mut pause = FIRST_PAUSE;
        let (lookup, from) = loop {
            match self.store.look(&self.key, &self.terms, until).await {
                Some(StoreReply::Busy) if Instant::now() + pause < until => sleep(pause).await,
                Some(StoreReply::Busy) | None => break (Lookup::Miss, From::Oneself(None)),
                Some(StoreReply::Claimed(claim)) => break (Lookup::Miss, From::Oneself(Some(claim))),
                Some(StoreReply::Unusable) => break (Lookup::Invalidated, From::Oneself(None)),
                // The glance shows if it may be reused.
                Some(StoreReply::Verdict(verdict)) => return From::Another(verdict),
            }
            pause *= 2;
        };
        self.record.looked_up(Through::Store, lookup);
        from
    }

    /// `true` if this sidecar has found by itself that the alias is up, and in good time.
    fn is_sure(&self) -> bool {
        let latest = self.record.latest();
        let good_time = budget::GOOD_TIME.of(self.timeout);
        latest.is_some_and(|latest| latest.status() == Status::Up && latest.elapsed <= good_time)
    }

    /// The outcome by another's verdict, if a glance at the nodes finds nothing that speaks against it; else the number
    /// of connections that the glance opened, or 0 if it was too late.
    async fn reuse<S>(
        &self,
        verdict: SharedVerdict,
        glance: Deadline<S>,
        arrived: Instant,
    ) -> Result<Outcome, u32>
    where
        Deadline<S>: Service<Instant, Response = Outcome, Error = Infallible>,
    {
        let SharedVerdict { from, age } = verdict;
        let (began, began_at) = (Instant::now().checked_sub(age), SystemTime::now().checked_sub(age));
        // A later glance leaves no time for a check.
        let glanced = timeout(budget::GLANCE.of(self.timeout), glance.oneshot(arrived)).await;
        let reused = match (glanced, began, began_at) {
            (Ok(Ok(outcome)), Some(began), Some(began_at)) if outcome.status() == Status::Up => {
                let reused = Some(Reused { from: from.into(), age });
                let glanced = outcome.extra.map(|extra| *extra).unwrap_or_default();
                let extra = Some(Box::new(OutcomeExtra { reused, ..glanced }));
                Ok(Outcome { began, began_at, extra, ..outcome })
            }
            (Ok(Ok(outcome)), ..) => Err(outcome.connections),
            (Err(_), ..) => Err(0),
        };
        let lookup = if reused.is_ok() { Lookup::Hit } else { Lookup::Invalidated };
        self.record.looked_up(Through::Store, lookup);
        reused
    }

    /// Tells the others the outcome of a check, before it is answered if there is time: a caller that hears that an
    /// alias is down may rely on it that no other caller is told otherwise.
    async fn tell(self: &Arc<Self>, outcome: &Outcome, claim: Option<Claim>, arrived: Instant) {
        let is_up = outcome.status() == Status::Up;
        if is_up && claim.is_none() {
            return;
        }
        let settings = self.clone();
        let told = spawn(async move {
            let Self { store, key, terms, timeout, .. } = &*settings;
            let until = Instant::now() + budget::STORE.of(*timeout);
            match claim {
                Some(claim) if is_up => store.publish(key, &claim, terms, until).await,
                Some(_) | None => store.remove(key, until).await,
            }
        });
        let _ = timeout_at(arrived + self.timeout, told).await;
    }
}

#[cfg(test)]
impl<S: Clone, R> FleetCheck<S, R> {
    /// The check `check` of `main` with everything around it up to the fleet, and the record, by which its own latest one was
    /// up.
    fn sure(store: FleetStore<R>, terms: Terms, timeout: Duration, check: S) -> (Self, Arc<Record>) {
        let record = Record::of("main");
        record.found((Instant::now(), SystemTime::now()), Duration::from_millis(1), None);
        let (store, key) = (Arc::new(store), "verdict".to_owned());
        let layer = FleetLayer(Arc::new(Settings { store, key, terms, record: record.clone(), timeout }));
        (layer.layer(DeadlineLayer::plain(timeout).layer(check)), record)
    }
}
