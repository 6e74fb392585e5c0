//! The schedule of the checks: selection, sharing, deadline.
//!
//! A check is a [`tower::Service`]; the layers around it stand in `builder`, in one list.

mod builder;
mod calendar;
mod concurrency_limit;
mod deadline;
mod fleet;
mod gather;
mod recorded;
mod renewal;
mod share;
mod standing_timer;

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;
use tower::layer::util::Identity;
use tower::util::Either;
use tower::{Layer, ServiceExt as _};

use crate::alias::Alias;
use crate::cache::{Cache, Resolver};
use crate::catalog::{Catalog, Selection};
use crate::check::MarkerMemories;
use crate::config::{CheckId, Config, numbered};
use crate::outcome::{CheckKind, Outcome, Report};
use crate::progress::Progress;
use crate::record::{Journal, Record};
use crate::topology::TopologyCheck;
use builder::CheckerBuilder;
use concurrency_limit::ConcurrencyLimit;
use deadline::Deadline;
use fleet::FleetCheck;
use gather::Gatherings;
use recorded::Recorded;
use renewal::{Earlier, SharedSettings};
use share::{Quiet, SharedCheck};

pub use crate::cache::SetupError;
pub use renewal::Renewal;

/// Runs the checks that requests ask for.
pub struct Checker {
    catalog: Catalog,
    entries: Vec<CheckEntry>,
    gatherings: Gatherings,
    journal: Arc<Journal>,
    names: Arc<Resolver>,
    memories: Arc<MarkerMemories>,
    shared: SharedSettings,
}

/// One check of one alias, and the record of its outcomes.
struct CheckEntry {
    check: AliasCheck,
    record: Arc<Record>,
    /// The fingerprint of everything that the check is made from, beside the settings that all share.
    fingerprint: u64,
}

impl CheckEntry {
    /// The key that tells it from all others.
    fn key(&self) -> (&Alias, CheckKind) {
        (self.record.alias(), self.record.kind())
    }
}

/// The check of one alias with everything around it: from the arrival of a request to an outcome.
type AliasCheck = SharedCheck<Either<ConcurrencyLimit<OwnCheck>, OwnCheck>, TopologyCheck>;

/// The part of it that its callers share.
type OwnCheck = Recorded<Either<FleetCheck<TopologyCheck>, Deadline<TopologyCheck>>>;

impl Checker {
    /// Sets up a check for every alias that has one. Nothing is dialed until the first request.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        Self::layered(config, Identity::new())
    }

    /// The same, and each outcome lists the steps of the check.
    pub fn explained(config: &Config) -> Result<Self, SetupError> {
        Self::made(config, Identity::new(), Progress::begin_explained, &Earlier::default())
    }

    /// The same, with `layer` around the cache of every node.
    pub fn layered<L>(config: &Config, layer: L) -> Result<Self, SetupError>
    where
        L: Layer<Box<dyn Cache>> + Send + Sync + 'static,
        L::Service: Into<Box<dyn Cache>>,
    {
        Self::made(config, layer, Progress::begin, &Earlier::default())
    }

    /// The checks of another configuration; unchanged ones go on, and every record does.
    pub(crate) fn renewed(&self, config: &Config) -> Result<Self, SetupError> {
        Self::made(config, Identity::new(), Progress::begin, &Earlier::of(self, &SharedSettings::of(config)))
    }

    fn made<L>(
        config: &Config,
        layer: L,
        begin: fn() -> Progress,
        earlier: &Earlier<'_>,
    ) -> Result<Self, SetupError>
    where
        L: Layer<Box<dyn Cache>> + Send + Sync + 'static,
        L::Service: Into<Box<dyn Cache>>,
    {
        let entries = CheckerBuilder::new(config, layer, begin, earlier)?.entries()?;
        let ids = numbered(&config.caches).map(|(_, cache, kind)| (&cache.alias, kind));
        debug_assert!(ids.eq(entries.iter().map(CheckEntry::key)), "an entry stands at the place of its id");
        Ok(Self {
            catalog: Catalog::new(&config.caches),
            entries,
            gatherings: Gatherings::new(config.max_age),
            journal: earlier.journal().clone(),
            names: earlier.names().clone(),
            memories: earlier.memories().clone(),
            shared: SharedSettings::of(config),
        })
    }

    /// The configured aliases.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The journal of recent status changes, and of the tasks that wait for news.
    #[must_use]
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The records of the selected checks, in the order of a report's outcomes.
    pub fn records(&self, selection: &Selection) -> impl Iterator<Item = &Arc<Record>> {
        selection.checks.iter().map(|id| &self.entries[id.place()].record)
    }

    /// Runs the selected checks, all together, each under its deadline, for a request that arrived at `arrived`.
    ///
    /// The outcomes are in the configured order. None comes from a check that began more than `max_age`
    /// before `arrived`.
    pub async fn check(&self, selection: &Selection, arrived: Instant) -> Arc<Report> {
        if let ([id], 2..) = (selection.checks.as_slice(), self.entries.len()) {
            // Callers of one check of many share it as it is, and leave the room to those of several.
            let Ok(outcome) = self.entries[id.place()].check.clone().oneshot(arrived).await;
            return Arc::new(Report { outcomes: vec![outcome], skipped: selection.skipped.clone() });
        }
        let checks = selection.checks.iter().map(|id| &self.entries[id.place()].check);
        self.gatherings.join(selection, checks, arrived).report(selection).await
    }

    /// The same for one check.
    pub(crate) async fn check_one(&self, id: CheckId, arrived: Instant) -> Arc<Outcome> {
        let Ok(outcome) = self.entries[id.place()].check.clone().oneshot(arrived).await;
        outcome
    }

    /// Makes the records count the shared checks so far; from time to time they do so by themselves.
    pub(crate) fn write_down_sharing(&self) {
        self.gatherings.write_down();
    }
}

impl Quiet for TopologyCheck {
    fn is_quiet(&self) -> bool {
        Self::is_quiet(self)
    }
}

/// A Redis of this alias at this port, for tests.
#[cfg(test)]
fn redis_at(alias: &str, port: u16) -> crate::config::CacheConfig {
    use crate::config::{Address, Backend, CacheConfig, RedisConfig, RedisServers};
    let address = Address::Tcp { host: "cache".to_owned(), port };
    let backend = Backend::Redis(RedisConfig::at(RedisServers::Standalone(address)));
    CacheConfig::new(Alias::try_from(alias).unwrap(), backend)
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
