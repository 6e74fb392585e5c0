//! [`CheckerBuilder`]: opens the checks of a configuration, and puts the layers around each.

use std::sync::Arc;

use tower::util::option_layer;
use tower::{Layer, ServiceBuilder};

use super::calendar::Calendar;
use super::concurrency_limit::ConcurrencyLimitLayer;
use super::deadline::DeadlineLayer;
use super::fleet::FleetLayers;
use super::recorded::RecordedLayer;
use super::renewal::Earlier;
use super::share::ShareLayer;
use super::standing_timer::StandingTimer;
use super::{AliasCheck, CheckEntry};
use crate::cache::{BreakerLayer, Cache, Dialer, SetupError};
use crate::check::{self, CheckContext};
use crate::config::checks::CheckConfig;
use crate::config::{BreakerConfig, CacheConfig, Config};
use crate::outcome::CheckKind;
use crate::progress::Progress;
use crate::record::Record;
use crate::redaction::Redaction;
use crate::topology::{self, NodeFactory, TopologyCheck, Wrap};

/// The parts that the checks of one configuration have in common.
pub(super) struct CheckerBuilder<'a> {
    config: &'a Config,
    /// The checks and records that may go on.
    earlier: &'a Earlier<'a>,
    dialer: Arc<Dialer>,
    /// The layers around the cache of each node.
    wrap: Wrap,
    begin: fn() -> Progress,
    standing_timer: Arc<StandingTimer>,
    fleet: Option<FleetLayers<'a>>,
    limit: Option<ConcurrencyLimitLayer>,
}

impl<'a> CheckerBuilder<'a> {
    /// A builder whose checks begin with `begin` and have `layer` around the cache of every node.
    pub(super) fn new<L>(
        config: &'a Config,
        layer: L,
        begin: fn() -> Progress,
        earlier: &'a Earlier<'a>,
    ) -> Result<Self, SetupError>
    where
        L: Layer<Box<dyn Cache>> + Send + Sync + 'static,
        L::Service: Into<Box<dyn Cache>>,
    {
        let dialer = Arc::new(Dialer::new(config, earlier.names().clone()));
        let checks = config.caches.iter().map(|cache| 1 + cache.checks.len()).sum();
        Ok(Self {
            config,
            earlier,
            wrap: Arc::new(move |cache| layer.layer(cache).into()),
            begin,
            standing_timer: Arc::default(),
            fleet: FleetLayers::new(config, &dialer)?,
            limit: ConcurrencyLimitLayer::of(checks, config.timeout),
            dialer,
        })
    }

    /// The entries of all caches, in the configured order.
    pub(super) fn entries(&self) -> Result<Vec<CheckEntry>, SetupError> {
        let mut entries = Vec::new();
        for cache in &self.config.caches {
            let one = CacheBuilder {
                all: self,
                cache,
                context: CheckContext::new(self.config, &cache.alias, &self.dialer),
                redaction: Redaction::of(&cache.backend, &cache.checks),
            };
            let of_cache =
                |source| SetupError::Cache { alias: cache.alias.clone(), source: Box::new(source) };
            entries.extend(one.entries().map_err(of_cache)?);
        }
        Ok(entries)
    }
}

/// The same for one cache.
struct CacheBuilder<'a> {
    all: &'a CheckerBuilder<'a>,
    cache: &'a CacheConfig,
    context: CheckContext,
    redaction: Redaction,
}

impl CacheBuilder<'_> {
    /// All its entries; none for a backend that is not checked.
    fn entries(&self) -> Result<Vec<CheckEntry>, SetupError> {
        let mut entries = Vec::new();
        if let Some(round_trip) = self.round_trip()? {
            entries.push(round_trip);
            for other in &self.cache.checks {
                entries.extend(self.probe(other)?);
            }
        }
        Ok(entries)
    }

    /// The entry of the round trip; none for a backend that is not checked.
    fn round_trip(&self) -> Result<Option<CheckEntry>, SetupError> {
        let CacheConfig { backend, breaker, .. } = self.cache;
        self.entry(CheckKind::RoundTrip, Vec::new(), *breaker, || {
            topology::round_trips(backend, self.nodes(*breaker))
        })
    }

    /// The entry of another kind of check, made of its own settings alone: another kind beside it changes nothing about
    /// it.
    fn probe(&self, config: &CheckConfig) -> Result<Option<CheckEntry>, SetupError> {
        let backend = &self.cache.backend;
        self.entry(config.kind(), vec![config.clone()], None, || {
            topology::probes(
                backend,
                self.nodes(None),
                check::open(config, backend, &self.context, self.all.earlier.memories())?,
            )
        })
    }

    fn nodes(&self, breaker: Option<BreakerConfig>) -> NodeFactory {
        NodeFactory::new(&self.context, &around(breaker, &self.all.wrap), &self.redaction)
    }

    /// The entry of a check that `open` opens, unless an earlier one with these settings goes on.
    fn entry(
        &self,
        kind: CheckKind,
        checks: Vec<CheckConfig>,
        breaker: Option<BreakerConfig>,
        open: impl FnOnce() -> Result<Option<TopologyCheck>, SetupError>,
    ) -> Result<Option<CheckEntry>, SetupError> {
        let (earlier, alias) = (self.all.earlier, &self.cache.alias);
        let is_round_trip = kind == CheckKind::RoundTrip;
        let slow = self.cache.slow.filter(|_| is_round_trip);
        let expires_within = self.cache.expires_within.filter(|_| is_round_trip);
        let fingerprint =
            CacheConfig { checks, breaker, slow, expires_within, ..self.cache.clone() }.fingerprint();
        let record = earlier.record(alias, kind);
        let check = match earlier.check(alias, kind, fingerprint) {
            Some(check) => Some(check),
            None => open()?.map(|check| self.layered(check, &record)).transpose()?,
        };
        Ok(check.map(|check| CheckEntry { check, record, fingerprint }))
    }

    /// A check with everything around it: from the arrival of a request (above) to the nodes (below).
    fn layered(&self, check: TopologyCheck, record: &Arc<Record>) -> Result<AliasCheck, SetupError> {
        let CheckerBuilder { config, begin, standing_timer, fleet, limit, dialer, .. } = self.all;
        let is_round_trip = record.kind() == CheckKind::RoundTrip;
        let calendar =
            if is_round_trip { Calendar::of(self.cache, config, dialer, &self.redaction)? } else { None };
        let deadline = DeadlineLayer {
            alias: self.cache.alias.clone(),
            kind: record.kind(),
            needs: self.cache.needs(),
            timeout: config.timeout,
            slow: self.cache.slow.filter(|_| is_round_trip),
            standing_timer: standing_timer.clone(),
            begin: *begin,
            calendar,
        };
        let check = ServiceBuilder::new()
            .layer(ShareLayer::new(record, config.max_age, config.timeout, check.clone()))
            .layer(option_layer(limit.clone()))
            .layer(RecordedLayer(record.clone()))
            .layer(option_layer(fleet.as_ref().and_then(|fleet| fleet.layer(self.cache, record))))
            .layer(deadline)
            .service(check);
        Ok(check)
    }
}

/// The layers around the cache of a node to which round trips are made.
fn around(breaker: Option<BreakerConfig>, layers: &Wrap) -> Wrap {
    let Some(breaker) = breaker.map(BreakerLayer::new) else { return layers.clone() };
    let layers = layers.clone();
    Arc::new(move |cache| breaker.layer(layers(cache)))
}
