//! What was written, turned into a valid [`Config`], or into an error that points at the place.
//!
//! Past this module, to hold a value is to know that it is valid. [`load`] makes one; it reads in two steps,
//! what was typed (`value`, brought there by `file`, `environment` and `django`) and then what it means
//! (`settings`, `caches`, `chains`).

mod address;
mod caches;
mod chains;
mod django;
mod environment;
mod file;
mod load;
mod place;
mod secret;
mod settings;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::alias::Alias;

pub use load::{ConfigError, Loaded, Source, load};
pub use place::Origin;
pub(crate) use secret::MASK;

/// Everything that the sidecar is told, valid and complete.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens; at least one.
    pub listen: Vec<Listen>,
    /// What every key that is written begins with.
    pub prefix: String,
    /// Which sidecar this is, in keys and values.
    pub instance: String,
    /// The deadline of a check of one alias, from resolving to the last byte.
    pub timeout: Duration,
    /// A verdict may be shared for this long after its check began.
    pub max_age: Duration,
    /// A connection serves for this long; then a check dials anew.
    pub reconnect_every: Duration,
    /// Who may see what.
    pub access: Access,
    /// The caches, in the order in which they were written; at least one is checked.
    pub caches: Vec<Cache>,
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Who may see what, by the caller's network. A caller on a unix socket is local.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who gets an answer at all; by default everyone.
    pub allow: Vec<IpNet>,
    /// Who sees addresses, phases and the texts of errors; by default loopback.
    pub details: Vec<IpNet>,
}

/// One configured cache.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Its name.
    pub alias: Alias,
    /// What is behind it.
    pub backend: Backend,
}

/// What kind of cache an alias is.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A Redis, a Valkey, or anything else that speaks RESP.
    Redis(Redis),
    /// One or several memcached servers.
    Memcached(Memcached),
    /// It lives in the application's own process; not checked.
    LocalMemory,
    /// It forwards to another alias; not checked itself.
    Forwarding {
        /// The alias that it names, itself perhaps forwarding. It exists, and no chain is a loop.
        to: Alias,
    },
    /// A backend without a server, such as Django's dummy, file and database backends; not checked.
    NoServer {
        /// What it is, for people: `a database table`.
        kind: &'static str,
    },
}

/// A Redis server, and the replicas that were named with it.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Where it is.
    pub address: Address,
    /// The ACL user; without one, the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// The database's number.
    pub database: u32,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Its replicas, as Django's several locations name them.
    pub replicas: Vec<Address>,
}

/// How TLS is spoken to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates to trust instead of the system's, in a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// One or several memcached servers, each a node.
#[derive(Debug, Clone)]
pub struct Memcached {
    /// At least one, none twice, in the order in which they were written.
    pub servers: Vec<Address>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or an IP address (IPv6 without brackets), and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// `cache:6379`, `[::1]:6379` or `unix:/run/redis.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
