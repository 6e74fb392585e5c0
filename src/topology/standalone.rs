//! One server that the configuration names.

use async_trait::async_trait;

use super::Topology;
use crate::check::Node;
use crate::outcome::Role;
use crate::progress::Progress;

/// The same node in every check.
pub(super) struct Standalone {
    node: Node,
}

impl Standalone {
    pub(super) fn new(node: Node) -> Self {
        Self { node }
    }
}

#[async_trait]
impl Topology for Standalone {
    async fn check(&self, progress: &Progress) {
        let _ = self.node.check(&progress.node(self.node.name(), Role::Server)).await;
    }

    fn is_quiet(&self) -> bool {
        self.node.is_quiet()
    }
}
