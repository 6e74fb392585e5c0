//! [`Topology`]: which nodes an alias has, and a round of checks over them. A file a topology.

mod announced;
mod cluster;
mod few;
mod maker;
mod replicas;
mod ring;
mod sentinel;
mod standalone;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Mutex;
use tower::Service;

use crate::cache::SetupError;
use crate::cache::redis::Kind;
use crate::check::{Look, Server};
use crate::config::{Backend, RedisServers, WhichReplicas};
use crate::progress::Progress;
use crate::redaction::Redaction;
use cluster::Cluster;
use replicas::{Primary, Replicas, Replicated};
use ring::Ring;
use sentinel::Sentinels;
use standalone::Standalone;

pub(crate) use maker::{Maker, Wrap};

/// The nodes behind an alias.
#[async_trait]
pub(crate) trait Topology: Send + Sync {
    /// Finds out which nodes there are, adds each to `progress`, and checks them all together. Like every
    /// check it cannot fail, and it is dropped when its deadline strikes.
    async fn round(&self, progress: &Progress);

    /// Whether nothing has come over the kept connections of the nodes since the last round.
    fn is_quiet(&self) -> bool;
}

/// The round trips of an alias with this backend; none where it is not checked. Nothing is dialled yet.
pub(crate) fn round_trips(backend: &Backend, maker: Maker) -> Result<Option<Round>, SetupError> {
    let redaction = maker.redaction().clone();
    Ok(topology(backend, maker)?.map(|topology| Round { topology, redaction }))
}

/// The rounds of another kind of check.
pub(crate) fn looks(
    backend: &Backend,
    maker: Maker,
    look: Arc<dyn Look>,
) -> Result<Option<Round>, SetupError> {
    let redaction = maker.redaction().clone();
    let topology = topology(backend, maker.looking(look.clone()))?;
    Ok(topology.map(|topology| {
        let topology = Arc::new(Looks { topology, look, turn: Mutex::new(()) });
        Round { topology, redaction }
    }))
}

fn topology(backend: &Backend, maker: Maker) -> Result<Option<Arc<dyn Topology>>, SetupError> {
    let topology: Arc<dyn Topology> = match backend {
        Backend::Redis(redis) => {
            let (login, tls) = (Arc::new(redis.login.clone()), redis.tls.as_ref());
            match &redis.servers {
                RedisServers::Standalone(address) => {
                    let server = maker.redis(address, Kind::Any, &login, tls)?;
                    let node = maker.node(address, Server::Redis(server.clone()), redis.spray);
                    if redis.replicas.which == WhichReplicas::Named(Vec::new()) {
                        Arc::new(Standalone::new(node))
                    } else {
                        let primary = Primary::new(address, server, node);
                        let replicas = Replicas::new(redis, &login, &Arc::new(maker))?;
                        Arc::new(Replicated::new(primary, replicas))
                    }
                }
                RedisServers::Cluster { seeds, announce } => {
                    Arc::new(Cluster::new(seeds, *announce, redis, maker)?)
                }
                RedisServers::Sentinel { sentinels, name, login: at_sentinels } => {
                    let at_sentinels = Arc::new(at_sentinels.clone());
                    let sentinels = sentinels.iter().map(|address| {
                        let server = maker.redis(address, Kind::Any, &at_sentinels, tls)?;
                        Ok((address, server))
                    });
                    let sentinels = sentinels.collect::<Result<_, SetupError>>()?;
                    Arc::new(Sentinels::new(sentinels, name, redis, login, Arc::new(maker))?)
                }
            }
        }
        Backend::Memcached(memcached) => Arc::new(Ring::new(maker, memcached)?),
        Backend::LocalMemory | Backend::Forwarding { .. } | Backend::NoServer { .. } => return Ok(None),
    };
    Ok(Some(topology))
}

/// The rounds of another kind of check than the round trip, one after the other: each compares with what the last one
/// saw.
struct Looks {
    topology: Arc<dyn Topology>,
    look: Arc<dyn Look>,
    /// Held for a round.
    turn: Mutex<()>,
}

#[async_trait]
impl Topology for Looks {
    async fn round(&self, progress: &Progress) {
        let _turn = self.turn.lock().await;
        self.look.begin(progress.began());
        self.topology.round(progress).await;
        self.look.judge(progress);
    }

    fn is_quiet(&self) -> bool {
        self.topology.is_quiet() && self.look.is_quiet()
    }
}

/// A round over a topology, as a service.
#[derive(Clone)]
pub(crate) struct Round {
    topology: Arc<dyn Topology>,
    /// Hides credentials in the texts of the servers.
    redaction: Redaction,
}

impl Round {
    /// Whether nothing has come over the kept connections since the last one.
    pub(crate) fn is_quiet(&self) -> bool {
        self.topology.is_quiet()
    }
}

impl Service<Arc<Progress>> for Round {
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
            topology.round(&progress).await;
            Ok(())
        }
        .boxed()
    }
}
