//! [`MemcachedConfig`]: one or several memcached servers.

use std::fmt;

use super::super::Secret;
use super::{Address, Tls};
use crate::outcome::Quorum;

/// One or several memcached servers, each a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemcachedConfig {
    /// The servers, or the sources of their addresses; at least one, none twice, in the order in which they were written.
    pub servers: Vec<MemcachedServers>,
    /// The number of them that have to be up.
    pub quorum: Quorum,
    /// The user and the password, where one is wanted.
    pub login: Option<(String, Secret)>,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// The number of canaries written to each server in a round; at least 1.
    pub spray: usize,
}

impl MemcachedConfig {
    /// These servers, without credentials or TLS, all of which have to be up.
    #[must_use]
    pub fn at(servers: impl IntoIterator<Item = MemcachedServers>) -> Self {
        let servers = servers.into_iter().collect();
        Self { servers, quorum: Quorum::All, login: None, tls: None, spray: 1 }
    }
}

/// A memcached server, or where to find some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MemcachedServers {
    /// One server.
    One(Address),
    /// Every address that a name has, each a server: `dns+all:host:port`.
    EveryAddress {
        /// The name.
        host: String,
        /// The port of all of them.
        port: u16,
    },
    /// The servers that a configuration endpoint names, as those of ElastiCache and Memorystore do:
    /// `discover:host:port`.
    Endpoint(Address),
}

impl fmt::Display for MemcachedServers {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => write!(f, "{address}"),
            Self::EveryAddress { host, port } => {
                write!(f, "dns+all:{}", Address::Tcp { host: host.clone(), port: *port })
            }
            Self::Endpoint(address) => write!(f, "discover:{address}"),
        }
    }
}
