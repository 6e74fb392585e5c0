//! [`Topology`]: the nodes of an alias, and a check of all of them. Each topology has a file.

mod announced;
mod cluster;
mod consensus;
mod few;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod node_factory;
mod replicas;
mod ring;
mod sentinel;
mod shards;
mod standalone;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Mutex;
use tower::Service;

use crate::cache::SetupError;
use crate::cache::redis::Requirement;
use crate::check::{KeyShare, Probe, Server};
use crate::config::{Address, Backend, Login, RedisServers, ReplicasConfig, Tls, WhichReplicas};
use crate::progress::Progress;
use crate::redaction::Redaction;
use crate::shard_ring::ShardRing;
use cluster::Cluster;
use replicas::{Primary, Replicas, Replicated};
use ring::Ring;
use sentinel::Sentinels;
use shards::{ShardShare, Shards};
use standalone::Standalone;

pub(crate) use node_factory::{NodeFactory, Wrap};

/// The nodes behind an alias.
#[async_trait]
pub(crate) trait Topology: Send + Sync {
    /// Finds the nodes, adds each to `progress`, and checks them all together. Like every check it cannot fail, and it
    /// is dropped when its deadline strikes.
    async fn check(&self, progress: &Progress);

    /// `true` if nothing has come over the kept connections of the nodes since the last check.
    fn is_quiet(&self) -> bool;
}

/// The round trips of an alias with this backend; `None` if it is not checked. Nothing is dialed yet.
pub(crate) fn round_trips(
    backend: &Backend,
    factory: NodeFactory,
) -> Result<Option<TopologyCheck>, SetupError> {
    let redaction = factory.redaction().clone();
    Ok(topology(backend, factory)?.map(|topology| TopologyCheck { topology, redaction }))
}

/// The checks of other kinds than the round trip.
pub(crate) fn probes(
    backend: &Backend,
    factory: NodeFactory,
    probe: Arc<dyn Probe>,
) -> Result<Option<TopologyCheck>, SetupError> {
    let redaction = factory.redaction().clone();
    let topology = topology(backend, factory.probing(probe.clone()))?;
    Ok(topology.map(|topology| {
        let topology = Arc::new(Probes { topology, probe, turn: Mutex::new(()) });
        TopologyCheck { topology, redaction }
    }))
}

fn topology(backend: &Backend, factory: NodeFactory) -> Result<Option<Arc<dyn Topology>>, SetupError> {
    let topology: Arc<dyn Topology> = match backend {
        Backend::Redis(redis) => {
            let (login, tls) = (Arc::new(redis.login.clone()), redis.tls.as_ref());
            match &redis.servers {
                RedisServers::Standalone(address) => {
                    let named = (factory.name(address), None);
                    named_server(
                        named,
                        address,
                        (&login, tls),
                        (&redis.replicas, redis.spray),
                        &Arc::new(factory),
                    )?
                }
                RedisServers::Shards { shards, sharding, .. } => {
                    let factory = Arc::new(factory);
                    let ring = sharding.as_ref().map(ShardRing::new).map(Arc::new);
                    let shards = shards.iter().enumerate().map(|(place, shard)| {
                        let (login, tls) = redis.way_to(shard);
                        let share: Box<dyn KeyShare> = Box::new(ShardShare { ring: ring.clone(), place });
                        let named = (redis.name_of(shard, shards).into(), Some(share));
                        let wants = (&*redis.replicas_of(shard), redis.spray);
                        named_server(named, &shard.address, (&Arc::new(login.clone()), tls), wants, &factory)
                    });
                    Arc::new(Shards::new(shards.collect::<Result<_, _>>()?))
                }
                RedisServers::Cluster { seeds, announce } => {
                    Arc::new(Cluster::new(seeds, *announce, redis, factory)?)
                }
                RedisServers::Sentinel { sentinels, name, login: at_sentinels } => {
                    let at_sentinels = Arc::new(at_sentinels.clone());
                    let sentinels = sentinels.iter().map(|address| {
                        let server = factory.redis(address, Requirement::Any, &at_sentinels, tls)?;
                        Ok((address, server))
                    });
                    let sentinels = sentinels.collect::<Result<_, SetupError>>()?;
                    Arc::new(Sentinels::new(sentinels, name, redis, login, Arc::new(factory))?)
                }
            }
        }
        Backend::Memcached(memcached) => Arc::new(Ring::new(factory, memcached)?),
        Backend::Unchecked(_) => return Ok(None),
    };
    Ok(Some(topology))
}

/// A server that the configuration names, with its share of the keys, and its replicas if they are looked at.
fn named_server(
    (name, share): (Arc<str>, Option<Box<dyn KeyShare>>),
    address: &Address,
    (login, tls): (&Arc<Login>, Option<&Tls>),
    (replicas, spray): (&ReplicasConfig, usize),
    factory: &Arc<NodeFactory>,
) -> Result<Arc<dyn Topology>, SetupError> {
    let server = factory.redis(address, Requirement::Keys, login, tls)?;
    let node = factory.named_node(name, Server::Redis(server.clone()), share, spray);
    if replicas.which == WhichReplicas::Named(Vec::new()) {
        return Ok(Arc::new(Standalone::new(node)));
    }
    let replicas = Replicas::new(replicas, login, tls, factory)?;
    Ok(Arc::new(Replicated::new(Primary::new(address, server, node), replicas)))
}

/// The checks of another kind than the round trip, one after the other, since each compares with the results of the
/// last one.
struct Probes {
    topology: Arc<dyn Topology>,
    probe: Arc<dyn Probe>,
    /// Held during a check.
    turn: Mutex<()>,
}

#[async_trait]
impl Topology for Probes {
    async fn check(&self, progress: &Progress) {
        let _turn = self.turn.lock().await;
        self.probe.begin(progress.began());
        self.topology.check(progress).await;
        self.probe.judge(progress);
    }

    fn is_quiet(&self) -> bool {
        self.topology.is_quiet() && self.probe.is_quiet()
    }
}

/// The check of a topology, as a service.
#[derive(Clone)]
pub(crate) struct TopologyCheck {
    topology: Arc<dyn Topology>,
    /// Hides credentials in the texts of the servers.
    redaction: Redaction,
}

impl TopologyCheck {
    /// `true` if nothing has come over the kept connections since the last check.
    pub(crate) fn is_quiet(&self) -> bool {
        self.topology.is_quiet()
    }
}

impl Service<Arc<Progress>> for TopologyCheck {
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, progress: Arc<Progress>) -> Self::Future {
        let topology = self.topology.clone();
        progress.conceal(&self.redaction);
        async move {
            topology.check(&progress).await;
            Ok(())
        }
        .boxed()
    }
}
