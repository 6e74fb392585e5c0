//! [`NodeOutcome`]: the result of a check of one node, and the node's part in its alias ([`Role`], [`Needs`]).

use std::sync::Arc;
use std::time::Duration;

use super::{Cause, Fault, Phases, Status, Wire};

named! {
    /// The role of a node for its alias, which decides what its fault means. The order of the variants is the order in
    /// which nodes are listed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Role {
        /// It takes writes: a single server, a primary, one of a ring.
        Server = "server",
        /// It follows a primary.
        Replica = "replica",
        /// A Redis Sentinel, which tells where the primary is.
        Sentinel = "sentinel",
        /// A configuration endpoint, which lists the servers.
        Endpoint = "endpoint",
    }
}

/// The number of an alias' servers that have to be up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Quorum {
    /// All of them: if one is down, the alias is down.
    #[default]
    All,
    /// This many: with fewer the alias is down, with fewer than all it is degraded.
    AtLeast(u32),
}

/// The requirements of an alias for its nodes, and the protocol that they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// `true` if the application needs the cache; otherwise no fault of it is worse than degraded.
    pub required: bool,
    /// Of its servers.
    pub servers: Quorum,
    /// The way in which they are spoken to.
    pub wire: Wire,
    /// `true` if a faulty replica makes the alias down; otherwise it is degraded.
    pub every_replica: bool,
}

impl Default for Needs {
    /// All servers of a required cache, and no replica.
    fn default() -> Self {
        Self { required: true, servers: Quorum::All, wire: Wire::default(), every_replica: false }
    }
}

/// The result of one check of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutcome {
    /// The node's address, as configured or as discovered, without credentials.
    pub node: Arc<str>,
    /// The role of the node for the alias.
    pub role: Role,
    /// The duration of each phase.
    pub phases: Phases,
    /// The fault, if there is one.
    pub fault: Option<Fault>,
    /// The time until a replica showed the primary's canary.
    pub lag: Option<Duration>,
}

impl NodeOutcome {
    /// The outcome of a server.
    #[must_use]
    pub fn server(node: &str, phases: Phases, fault: Option<Fault>) -> Self {
        Self { node: node.into(), role: Role::Server, phases, fault, lag: None }
    }

    /// Down with a fault, up without. [`super::Outcome::status`] decides the effect on the alias.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.fault.is_some() { Status::Down } else { Status::Up }
    }

    /// `true` if it is a Sentinel that names another primary than the others.
    pub(super) fn contradicts(&self) -> bool {
        self.role == Role::Sentinel && self.fault.as_ref().is_some_and(|fault| fault.cause == Cause::Conflict)
    }
}
