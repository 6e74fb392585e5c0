//! The fleet, as a layer: sidecars of one role share the verdicts of an alias through a Redis.
//!
//! To check once too often is fine; to reuse a verdict that should not be reused is not. So a verdict of another's is given
//! only where all of this is true, and in every other case the check is made:
//!
//! 1. This sidecar's own latest check of the alias, or what it reused since, was up, and took no more than half of the
//!    deadline, so that there is time for a check where this comes to nothing.
//! 2. The store answers within an eighth of the deadline, and has a verdict that is up: no other is ever published, and
//!    whoever finds something else deletes it at once.
//! 3. Two clocks agree on its age, the store's and this machine's, and by both it is young enough.
//! 4. A glance at every node, over this sidecar's own connections, finds the canaries there that it wrote itself. They
//!    expire, so that a check of one's own is made every two minutes at the least.
//!
//! Who checks is who has the claim ([`store`]). Who has not waits a little for the verdict.

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
use crate::budget;
use crate::cache::{Dialer, SetupError};
use crate::check::CheckContext;
use crate::config::{self, CacheConfig, Config};
use crate::outcome::{CheckKind, Outcome, OutcomeExtra, Reused, Status};
use crate::progress::Progress;
use crate::record::{Lookup, Record, Through};
use store::{Claim, FleetStore, StoreReply};
use verdict::{SharedVerdict, Terms};

/// The first pause between two looks for the verdict of a check that somebody else makes; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Where verdicts are shared, and of which caches.
pub(super) struct FleetLayers<'a> {
    config: &'a Config,
    fleet: &'a config::Fleet,
    /// The cache that the store is.
    at: &'a CacheConfig,
    store: Arc<FleetStore>,
}

impl<'a> FleetLayers<'a> {
    /// The one that is configured, if there is one. Nothing is dialled yet.
    pub(super) fn new(config: &'a Config, dialer: &Arc<Dialer>) -> Result<Option<Self>, SetupError> {
        let Some(fleet) = &config.fleet else { return Ok(None) };
        let Some(at) = config.caches.iter().find(|cache| cache.alias == fleet.store) else {
            return Ok(None);
        };
        let context = CheckContext::new(config, &at.alias, dialer);
        let store = FleetStore::new(at, &config.instance, &context)?;
        Ok(store.map(|store| Self { config, fleet, at, store: Arc::new(store) }))
    }

    /// The layer around a check of `cache`, of which `record` is kept; none where every sidecar makes it by itself. Another
    /// kind of check than the round trip compares with what it saw itself.
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
#[derive(Clone)]
pub(super) struct FleetLayer(Arc<Settings>);

struct Settings {
    store: Arc<FleetStore>,
    key: String,
    terms: Terms,
    record: Arc<Record>,
    timeout: Duration,
}

/// The key of what sidecars may share: the same in every process that has the same role, and means the same by the alias.
///
/// The number is of everything that the configuration says of it, as `Debug` writes it: a new setting is a part of that by
/// itself, and of a secret it says nothing.
fn key(fleet: &config::Fleet, cache: &CacheConfig, config: &Config) -> String {
    let (CacheConfig { alias, backend, .. }, role, lasts) = (cache, &fleet.role, fleet.lasts);
    let (max_age, timeout) = (config.max_age, config.timeout);
    let all = format!("{role:?} {alias} {backend:?} {lasts:?} {max_age:?} {timeout:?}");
    let number = Crc::<u64>::new(&crc::CRC_64_XZ).checksum(all.as_bytes());
    format!("{}verdict:{alias}:{number:016x}", config.prefix)
}

impl<S> Layer<Deadline<S>> for FleetLayer
where
    S: Clone,
{
    type Service = FleetCheck<S>;

    fn layer(&self, check: Deadline<S>) -> FleetCheck<S> {
        let glance = check.begun_by(Progress::begin_glance);
        FleetCheck(Arc::new(FleetCheckParts { check, glance, settings: self.0.clone() }))
    }
}

/// A check whose verdict may come from another sidecar. Its clones are one.
#[derive(Clone)]
pub(super) struct FleetCheck<S>(Arc<FleetCheckParts<S>>);

struct FleetCheckParts<S> {
    check: Deadline<S>,
    /// The same nodes, and only what is left of an earlier check is read.
    glance: Deadline<S>,
    settings: Arc<Settings>,
}

/// What a check is to come from.
enum From {
    /// From another's verdict.
    Another(SharedVerdict),
    /// From a check, whose verdict may be published by who has a claim.
    Oneself(Option<Claim>),
}

impl<S> Service<Instant> for FleetCheck<S>
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

impl Settings {
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
                // Whether it is one is seen at the glance.
                Some(StoreReply::Verdict(verdict)) => return From::Another(verdict),
            }
            pause *= 2;
        };
        self.record.looked_up(Through::Store, lookup);
        from
    }

    /// Whether this sidecar has found by itself that the alias is up, and in good time.
    fn is_sure(&self) -> bool {
        let latest = self.record.latest();
        let good_time = budget::GOOD_TIME.of(self.timeout);
        latest.is_some_and(|latest| latest.status() == Status::Up && latest.elapsed <= good_time)
    }

    /// The outcome that a verdict of another's is, if a glance at the nodes finds nothing that speaks against it; else how
    /// many connections that opened.
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
        // What comes later than that leaves no time for a check.
        let glanced = timeout(budget::GLANCE.of(self.timeout), glance.oneshot(arrived)).await;
        let reused = match (glanced, began, began_at) {
            (Ok(Ok(outcome)), Some(began), Some(began_at)) if outcome.status() == Status::Up => {
                let reused = Some(Reused { from: from.into(), age });
                let extra = Some(Box::new(OutcomeExtra { reused, ..OutcomeExtra::default() }));
                Ok(Outcome { began, began_at, extra, ..outcome })
            }
            (Ok(Ok(outcome)), ..) => Err(outcome.connections),
            (Err(_), ..) => Err(0),
        };
        let lookup = if reused.is_ok() { Lookup::Hit } else { Lookup::Invalidated };
        self.record.looked_up(Through::Store, lookup);
        reused
    }

    /// Tells the others what a check came to, before it is answered if there is time: who hears that an alias is down may
    /// rely on it that nobody is told otherwise.
    async fn tell(self: &Arc<Self>, outcome: &Outcome, claim: Option<Claim>, arrived: Instant) {
        let is_up = outcome.status() == Status::Up;
        if is_up && claim.is_none() {
            return;
        }
        let settings = self.clone();
        let told = tokio::spawn(async move {
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
