//! [`NodeFactory`]: makes an alias' nodes once they are known.

use std::ops::Deref;
use std::sync::Arc;

use crate::cache::Cache;
use crate::check::round_trip::RoundTrips;
use crate::check::{CheckContext, KeyShare, Node, Probe, ProbeTarget, Server};
use crate::config::Address;
use crate::redaction::Redaction;

/// Makes the nodes of one alias.
pub(crate) struct NodeFactory {
    context: CheckContext,
    wrap: Wrap,
    /// Hides credentials in the texts of the servers.
    redaction: Redaction,
    /// The kind of check, if it is not the round trip.
    probe: Option<Arc<dyn Probe>>,
}

/// Puts a layer around the cache of a node.
pub(crate) type Wrap = Arc<dyn Fn(Box<dyn Cache>) -> Box<dyn Cache> + Send + Sync>;

impl Deref for NodeFactory {
    type Target = CheckContext;

    fn deref(&self) -> &CheckContext {
        &self.context
    }
}

impl NodeFactory {
    /// A factory of nodes for round trips.
    pub(crate) fn new(context: &CheckContext, wrap: &Wrap, redaction: &Redaction) -> Self {
        Self { context: context.clone(), wrap: wrap.clone(), redaction: redaction.clone(), probe: None }
    }

    /// The same factory for another kind of check.
    pub(crate) fn probing(self, probe: Arc<dyn Probe>) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// `true` if its nodes are for round trips.
    pub(crate) fn is_for_round_trips(&self) -> bool {
        self.probe.is_none()
    }

    /// Hides credentials in the texts of the servers.
    pub(crate) fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// The name of a server at this address. The address may come from another server.
    pub(crate) fn name(&self, address: &Address) -> Arc<str> {
        self.redaction.host(&address.to_string()).into()
    }

    /// The node of a server, with `spray` series of canaries.
    pub(crate) fn node(&self, address: &Address, server: Server, spray: usize) -> Node {
        self.named_node(self.name(address), server, None, spray)
    }

    /// The same under this name, with its share of the keys if clients spread them.
    pub(crate) fn named_node(
        &self,
        name: Arc<str>,
        server: Server,
        share: Option<Box<dyn KeyShare>>,
        spray: usize,
    ) -> Node {
        self.make(name, server, share, std::iter::repeat_n(None, spray))
    }

    /// The node of a server in a cluster, in which hash tags choose the slots of the canaries, and each primary has its
    /// share of the keys.
    pub(crate) fn node_in_cluster(
        &self,
        address: &Address,
        server: Server,
        share: Box<dyn KeyShare>,
        tags: &[String],
    ) -> Node {
        self.make(self.name(address), server, Some(share), tags.iter().map(|tag| Some(tag.as_str())))
    }

    fn make<'a>(
        &self,
        name: Arc<str>,
        server: Server,
        share: Option<Box<dyn KeyShare>>,
        tags: impl Iterator<Item = Option<&'a str>>,
    ) -> Node {
        let cache = (self.wrap)(server.cache());
        match &self.probe {
            None => {
                let series = tags.map(|tag| self.context.series(&name, tag)).collect();
                Node::round_trips(name, RoundTrips::new(cache, series))
            }
            Some(probe) => Node::probe(probe.clone(), ProbeTarget { name, server, cache, share }),
        }
    }
}
