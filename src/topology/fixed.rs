//! Servers that the configuration names: of a Redis, one.

use async_trait::async_trait;
use futures_util::future::join_all;

use super::Topology;
use crate::check::round_trip::Node;
use crate::outcome::Role;
use crate::progress::Progress;

/// The same nodes in every round.
pub(super) struct Fixed {
    nodes: Vec<Node>,
}

impl Fixed {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }
}

#[async_trait]
impl Topology for Fixed {
    async fn round(&self, progress: &Progress) {
        join_all(self.nodes.iter().map(|node| {
            let progress = progress.node(node.name(), Role::Server);
            async move { node.check(&progress).await }
        }))
        .await;
    }
}
