//! Servers over which the application's client spreads the keys, each checked on its own.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::Topology;
use crate::cache::redis::Redis;
use crate::check::KeyShare;
use crate::progress::Progress;
use crate::shard_ring::ShardRing;

/// The shards, each a server that may have replicas.
pub(super) struct Shards(Vec<Arc<dyn Topology>>);

impl Shards {
    pub(super) fn new(shards: Vec<Arc<dyn Topology>>) -> Self {
        Self(shards)
    }
}

#[async_trait]
impl Topology for Shards {
    async fn check(&self, progress: &Progress) {
        join_all(self.0.iter().map(|shard| shard.check(progress))).await;
    }

    fn is_quiet(&self) -> bool {
        self.0.iter().all(|shard| shard.is_quiet())
    }
}

/// The keys that a client sends to one of the shards.
pub(super) struct ShardShare {
    /// The ring of the client, if that is known; otherwise each shard may hold every key.
    pub(super) ring: Option<Arc<ShardRing>>,
    pub(super) place: usize,
}

impl KeyShare for ShardShare {
    fn holds(&self, key: &[u8]) -> bool {
        self.ring.as_ref().is_none_or(|ring| ring.place(key) == Some(self.place))
    }

    fn is_shard(&self) -> bool {
        true
    }

    /// Shards redirect nothing.
    fn importing(&self, _: &str) -> Option<Redis> {
        None
    }
}
