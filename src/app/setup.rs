//! [`Setup`]: the parts made from a configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

use super::tls;
use crate::alias::Alias;
use crate::catalog::{Catalog, Selection};
use crate::checker::{Checker, SetupError};
use crate::config::{Access, Config, Group, Shard};
use crate::outcome::Expiry;

/// The parts made from a configuration: checks, groups and access rules.
#[derive(Debug)]
pub struct Setup {
    /// The name of this sidecar.
    pub instance: String,
    /// The checks.
    pub checker: Checker,
    /// The selection of all checks.
    pub everything: Selection,
    /// The access rules.
    pub access: Access,
    /// The interval at which everything is checked without a request; `None` for never.
    pub interval: Option<Duration>,
    /// The deadline of one check.
    pub timeout: Duration,
    /// The aliases whose servers' certificates are not verified.
    pub unverified: Vec<Alias>,
    /// The time for which requests are accepted after a signal to stop.
    pub drain: Duration,
    /// TLS for TCP connections.
    pub tls: Option<Arc<ServerConfig>>,
    /// The end of its certificate.
    pub listener_expiry: Option<Expiry>,
    /// `true` if metrics are served only on their own listeners.
    pub metrics_elsewhere: bool,
    /// The number of targets, if caches come from a list of them.
    pub targets: Option<usize>,
    /// The part of the aliases that is checked here, if others check the rest.
    pub shard: Option<Shard>,
    /// The groups by name; the first three serve Kubernetes' probes.
    groups: Vec<(String, Selection)>,
}

/// The groups that always exist, in the order in which [`Setup`] keeps them.
const PROBES: [&str; 3] = ["liveness", "readiness", "startup"];

impl Setup {
    /// Makes the parts from `config` without dialing. Checks that are the same in an `earlier` setup go on.
    pub(super) fn new(config: &Config, earlier: Option<&Self>) -> Result<Self, SetupError> {
        let checker = match earlier {
            Some(earlier) => earlier.checker.renewed(config)?,
            None => Checker::new(config)?,
        };
        let catalog = checker.catalog();
        let everything = catalog.all();
        let groups = groups(catalog, &config.groups);
        Ok(Self {
            instance: config.instance.clone(),
            everything,
            access: config.access.clone(),
            // If a cache hangs, its check lasts until the timeout, and so does the round.
            interval: config.interval.map(|interval| interval.max(config.timeout)),
            timeout: config.timeout,
            unverified: unverified(config),
            drain: config.drain,
            tls: config.tls.as_ref().map(tls::server_config).transpose()?.map(Arc::new),
            listener_expiry: config.tls.as_ref().map(tls::expiry).transpose()?.flatten(),
            targets: config.targets.as_ref().map(|targets| targets.count),
            shard: config.shard.clone(),
            metrics_elsewhere: !config.metrics.listen.is_empty(),
            groups,
            checker,
        })
    }

    /// The checks of this group, if it exists.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Selection> {
        self.groups.iter().find_map(|(known, selection)| (known == name).then_some(selection))
    }

    /// The names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(name, _)| name.as_str())
    }

    /// The checks that `/livez` includes beside the sidecar itself.
    #[must_use]
    pub fn liveness(&self) -> &Selection {
        &self.groups[0].1
    }

    /// The checks that `/readyz` includes.
    #[must_use]
    pub fn readiness(&self) -> &Selection {
        &self.groups[1].1
    }

    /// The checks that have to be up once for `/startupz`.
    #[must_use]
    pub fn startup(&self) -> &Selection {
        &self.groups[2].1
    }
}

fn unverified(config: &Config) -> Vec<Alias> {
    let unverified = config.caches.iter().filter(|cache| cache.backend.trusts_any_certificate());
    unverified.map(|cache| cache.alias.clone()).collect()
}

fn groups(catalog: &Catalog, written: &[Group]) -> Vec<(String, Selection)> {
    let probes = PROBES.iter().map(|&name| {
        let group = |name: &str| written.iter().find(|group| group.name == name).map(Selection::from);
        let selection = match name {
            // Restarting the container beside a cache does not repair the cache.
            "liveness" => group(name).unwrap_or_default(),
            // An application that needs a cache neither to be ready nor to start would otherwise never start without it.
            "startup" => group(name).or_else(|| group("readiness")).unwrap_or_else(|| catalog.all()),
            _ => group(name).unwrap_or_else(|| catalog.all()),
        };
        (name.to_owned(), selection)
    });
    let others = written.iter().filter(|group| !PROBES.contains(&group.name.as_str()));
    probes.chain(others.map(|group| (group.name.clone(), Selection::from(group)))).collect()
}
