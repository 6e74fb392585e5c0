//! Which checks run when: selection, sharing, deadline.
//!
//! A check is a [`tower::Service`]; what is wrapped around it stands in [`Checker::layered`] and reads as a
//! list.

mod deadline;
mod recorded;
mod renewal;
mod share;

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;
use tower::layer::util::Identity;
use tower::{Layer, ServiceBuilder, ServiceExt as _};

use crate::alias::Alias;
use crate::cache::{Cache, Dialer};
use crate::catalog::{Catalog, Selection};
use crate::check::{self, Makings};
use crate::config::{Cache as Cached, Config};
use crate::outcome::{Kind, Report};
use crate::record::{Journal, Record};
use crate::topology::{self, Maker, Round, Wrap};
use deadline::{Deadline, DeadlineLayer};
use recorded::{Recorded, RecordedLayer};
use renewal::{Earlier, Shared};
use share::{Share, ShareLayer};

pub use crate::cache::SetupError;
pub use renewal::Renewal;

/// Runs the checks that requests ask for.
pub struct Checker {
    catalog: Catalog,
    entries: Vec<Entry>,
    journal: Arc<Journal>,
    shared: Shared,
}

/// One check of one alias, and what it came to so far.
struct Entry {
    check: AliasCheck,
    record: Arc<Record>,
    /// Of everything that the check is made from, beside what all share.
    fingerprint: u64,
}

impl Entry {
    /// What tells it from all others.
    fn key(&self) -> (&Alias, Kind) {
        (self.record.alias(), self.record.kind())
    }
}

/// The check of one alias with everything around it: from the arrival of a request to an outcome.
type AliasCheck = Share<Recorded<Deadline<Round>>>;

impl Checker {
    /// Sets up a check for every alias that has one. Nothing is dialled until the first request.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        Self::layered(config, Identity::new())
    }

    /// The same, and each outcome says what was done step by step.
    pub fn explained(config: &Config) -> Result<Self, SetupError> {
        Self::made(config, Identity::new(), true, &Earlier::default())
    }

    /// The same, with `layer` around the cache of every node.
    pub fn layered<L>(config: &Config, layer: L) -> Result<Self, SetupError>
    where
        L: Layer<Box<dyn Cache>> + Send + Sync + 'static,
        L::Service: Into<Box<dyn Cache>>,
    {
        Self::made(config, layer, false, &Earlier::default())
    }

    /// The checks of another configuration; those of which everything is as before go on, and every record.
    pub(crate) fn renewed(&self, config: &Config) -> Result<Self, SetupError> {
        Self::made(config, Identity::new(), false, &Earlier::of(self, &Shared::of(config)))
    }

    fn made<L>(config: &Config, layer: L, explained: bool, earlier: &Earlier<'_>) -> Result<Self, SetupError>
    where
        L: Layer<Box<dyn Cache>> + Send + Sync + 'static,
        L::Service: Into<Box<dyn Cache>>,
    {
        let dialer = Arc::new(Dialer::new(config));
        let wrap: Wrap = Arc::new(move |cache| layer.layer(cache).into());
        let catalog = Catalog::new(&config.caches);
        let mut entries = Vec::new();
        for cache in &config.caches {
            let Cached { alias, backend, checks: others, .. } = cache;
            let makings = Makings::new(config, alias, &dialer);
            let maker = || Maker::new(&makings, &wrap);
            let mut add = |kind, checks, open: &dyn Fn() -> Result<Option<Round>, SetupError>| {
                let fingerprint = Cached { checks, ..cache.clone() }.fingerprint();
                let record = earlier.record(alias, kind);
                let check = if let Some(check) = earlier.check(alias, kind, fingerprint) {
                    check
                } else {
                    let Some(round) = open()? else { return Ok(false) };
                    let (timeout, needs) = (config.timeout, backend.needs());
                    let deadline = DeadlineLayer { alias: alias.clone(), kind, needs, timeout, explained };
                    ServiceBuilder::new()
                        .layer(ShareLayer::new(&record, config.max_age, timeout))
                        .layer(RecordedLayer(record.clone()))
                        .layer(deadline)
                        .service(round)
                };
                entries.push(Entry { check, record, fingerprint });
                Ok::<_, SetupError>(true)
            };
            if !add(Kind::RoundTrip, Vec::new(), &|| topology::round_trips(backend, maker()))? {
                continue;
            }
            for other in others {
                // Of itself alone, so that another kind of check beside it changes nothing about it.
                add(other.kind(), vec![other.clone()], &|| {
                    topology::looks(backend, maker(), check::open(other, backend, &makings)?)
                })?;
            }
        }
        let journal = earlier.journal().clone();
        Ok(Self { catalog, entries, journal, shared: Shared::of(config) })
    }

    /// The configured aliases.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What changed lately, and who waits for news.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What the checks of what is selected came to over time, in the order of a report's outcomes.
    pub fn records(&self, selection: &Selection) -> impl Iterator<Item = &Arc<Record>> {
        selection.checks.iter().map(|&place| &self.entries[place].record)
    }

    /// Checks what is selected, all together, each under its deadline, for a request that arrived at
    /// `arrived`.
    ///
    /// The outcomes are in the configured order. None comes from a check that began more than `max_age`
    /// before `arrived`.
    pub async fn check(&self, selection: &Selection, arrived: Instant) -> Report {
        let checks = selection.checks.iter().map(|&place| {
            let check = self.entries[place].check.clone();
            async move {
                let Ok(outcome) = check.oneshot(arrived).await;
                outcome
            }
        });
        Report { outcomes: join_all(checks).await, skipped: selection.skipped.clone() }
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
