//! Checks. A check examines one node, and records its steps and results in a
//! [`NodeProgress`]. It cannot fail, and it knows no deadline: it is dropped
//! when that strikes.
//!
//! The round trip is made to every node. The other kinds are each a `Probe`: it sees the alias' servers one by
//! one, and then judges all of them together.

mod clock;
mod context;
mod efficiency;
mod identity;
mod policy;
mod queue;
pub(crate) mod round_trip;
mod visibility;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::Either;
use tokio::time::Instant;

use crate::cache::memcached::Memcached;
use crate::cache::redis::Redis;
use crate::cache::{Cache, SetupError};
use crate::config::{Backend, checks};
use crate::outcome::{Cause, Fault};
use crate::progress::{NodeProgress, Progress};
use clock::ClockProbe;
use efficiency::EfficiencyProbe;
use identity::IdentityProbe;
use policy::PolicyProbe;
use queue::QueueProbe;
use round_trip::{RoundTrips, WrittenCanary};
use visibility::VisibilityProbe;

pub(crate) use context::CheckContext;
pub(crate) use identity::MarkerMemories;

/// A kind of check other than the round trip. Its checks of an alias come one after the other.
#[async_trait]
pub(crate) trait Probe: Send + Sync {
    /// Forgets the readings of the last check, of which some may be left if its deadline struck. The check began at
    /// `began`, perhaps long before it was its turn.
    fn begin(&self, began: Instant);

    /// Probes one server of the alias. If the topology changes during a check, it may be called once more.
    async fn probe(&self, target: &ProbeTarget, progress: &NodeProgress) -> Result<(), Fault>;

    /// Reports the findings and figures of the check.
    fn judge(&self, progress: &Progress);

    /// `true` if nothing has come over the kept connections of servers that are not the alias' own.
    fn is_quiet(&self) -> bool {
        true
    }
}

/// The probe for a check of this kind, of an alias with this backend. Nothing is dialed yet.
pub(crate) fn open(
    check: &checks::CheckConfig,
    backend: &Backend,
    context: &CheckContext,
    memories: &MarkerMemories,
) -> Result<Arc<dyn Probe>, SetupError> {
    Ok(match check {
        checks::CheckConfig::Visibility(config) => Arc::new(VisibilityProbe::new(config, backend, context)?),
        checks::CheckConfig::Queue(config) => Arc::new(QueueProbe::new(config)),
        checks::CheckConfig::Clock(config) => Arc::new(ClockProbe::new(config, context)),
        checks::CheckConfig::Efficiency(config) => Arc::new(EfficiencyProbe::new(config)),
        checks::CheckConfig::Identity(config) => {
            Arc::new(IdentityProbe::new(config, context, memories.of(backend, context)))
        }
        checks::CheckConfig::Policy(config) => Arc::new(PolicyProbe::new(*config)),
    })
}

/// One server behind an alias, and its check.
pub(crate) struct Node {
    name: Arc<str>,
    task: Task,
}

enum Task {
    RoundTrips(RoundTrips),
    /// Boxed, because there may be thousands of round trips.
    Probe(Box<(Arc<dyn Probe>, ProbeTarget)>),
}

/// A server as a [`Probe`] sees it.
pub(crate) struct ProbeTarget {
    /// Its name: its address.
    pub(crate) name: Arc<str>,
    /// For commands of every kind.
    pub(crate) server: Server,
    /// The same for canaries, with the configured layers around it.
    pub(crate) cache: Box<dyn Cache>,
    /// Its share of the keys, in a Redis cluster or among shards.
    pub(crate) share: Option<Box<dyn KeyShare>>,
}

/// A server of either kind. Clones share its kept connection.
#[derive(Clone)]
pub(crate) enum Server {
    Redis(Redis),
    Memcached(Arc<Memcached>),
}

/// The keys that one of several Redis servers holds: a primary of a cluster, or a shard.
pub(crate) trait KeyShare: Send + Sync {
    /// `true` if this key is one of them.
    fn holds(&self, key: &[u8]) -> bool;

    /// `true` if a client spreads the keys, so that a key may lie on several servers.
    fn is_shard(&self) -> bool {
        false
    }

    /// The target of an ASK redirection, by the words of that error: `ASK 3999 127.0.0.1:6381`. Every command to it is
    /// preceded by ASKING.
    fn importing(&self, said: &str) -> Option<Redis>;
}

/// A node did not pass. Its progress holds the reason.
#[derive(Debug)]
pub(crate) struct Failed;

impl Server {
    /// The cache that it is.
    pub(crate) fn cache(&self) -> Box<dyn Cache> {
        match self {
            Self::Redis(redis) => Box::new(redis.clone()),
            Self::Memcached(memcached) => Box::new(memcached.clone()),
        }
    }
}

impl ProbeTarget {
    /// `true` if it is one of several servers over which a client spreads keys.
    pub(crate) fn is_shard(&self) -> bool {
        self.share.as_ref().is_some_and(|share| share.is_shard())
    }

    /// `true` if this server holds the key, or if servers do not share keys.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.share.as_ref().is_none_or(|share| share.holds(key))
    }

    /// The server to go on with if a key is on its way to it: the target of the ASK redirection.
    fn follow(&self, fault: Fault, progress: &NodeProgress) -> Result<Redis, Fault> {
        let importing = || self.share.as_ref()?.importing(&progress.redirect()?);
        let importing = if fault.cause == Cause::Redirected { importing() } else { None };
        importing.ok_or(fault)
    }
}

impl Node {
    /// A node to which round trips are made.
    pub(crate) fn round_trips(name: Arc<str>, trips: RoundTrips) -> Self {
        Self { name, task: Task::RoundTrips(trips) }
    }

    /// A node that is probed.
    pub(crate) fn probe(probe: Arc<dyn Probe>, target: ProbeTarget) -> Self {
        Self { name: target.name.clone(), task: Task::Probe(Box::new((probe, target))) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// `true` if nothing has come over its kept connection since it was checked.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.task {
            Task::RoundTrips(trips) => trips.is_quiet(),
            Task::Probe(probed) => probed.1.cache.is_quiet(),
        }
    }

    /// `true` if its check depends on the keys that it holds.
    pub(crate) fn depends_on_keys(&self) -> bool {
        matches!(self.task, Task::Probe(..))
    }

    /// Checks it, and records that in `progress`. A completed round trip returns its canary.
    pub(crate) fn check<'a>(
        &'a self,
        progress: &'a NodeProgress,
    ) -> impl Future<Output = Result<Option<WrittenCanary>, Failed>> + Send + 'a {
        match &self.task {
            Task::RoundTrips(trips) => Either::Left(trips.make(progress)),
            Task::Probe(probed) => Either::Right(async {
                let (probe, target) = &**probed;
                let verdict = probe.probe(target, progress).await;
                let passed = verdict.is_ok();
                progress.conclude(verdict);
                if passed { Ok(None) } else { Err(Failed) }
            }),
        }
    }
}
