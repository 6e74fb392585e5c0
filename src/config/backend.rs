//! [`CacheConfig`]: one configured cache, and the kind of cache that it is.

mod memcached;
mod redis;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Contents;
use super::checks::CheckConfig;
use crate::alias::Alias;
use crate::outcome::{
    AddressSource, CheckKind, Forwarding, LoginSource, Needs, Protocol, Quorum, SkipReason, Wire,
};

pub use memcached::{MemcachedConfig, MemcachedServers};
pub use redis::{
    Announce, Login, NamedServer, RedisConfig, RedisServers, ReplicasConfig, RespVersion, ShardClient,
    Sharding, WhichReplicas,
};

/// One configured cache.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct CacheConfig {
    /// Its name.
    pub alias: Alias,
    /// The cache behind it.
    pub backend: Backend,
    /// The checks besides the round trip, in the order in which they were written, each kind at most once.
    pub checks: Vec<CheckConfig>,
    /// The breaker, which sends dead servers nothing for a while; without one, every check asks them.
    pub breaker: Option<BreakerConfig>,
    /// `false` if the application works without it, so that it is degraded where another is down.
    pub required: bool,
    /// A round trip that passes and takes longer than this at a node is degraded; `None` for never.
    pub slow: Option<Duration>,
    /// The time before the end of its certificates and tokens from which it is degraded, if that of all caches is not
    /// its own.
    pub expires_within: Option<Duration>,
    /// The contents of its certificates' files when it was configured, so that a certificate renewed in its place makes
    /// another cache of it.
    pub certificates: Contents,
}

impl CacheConfig {
    /// One of which only the round trip is checked.
    #[must_use]
    pub fn new(alias: Alias, backend: Backend) -> Self {
        let (checks, certificates) = (Vec::new(), Contents::default());
        Self {
            alias,
            backend,
            checks,
            breaker: None,
            required: true,
            slow: None,
            expires_within: None,
            certificates,
        }
    }

    /// Its forwarding, if it forwards.
    #[must_use]
    pub fn forwarding(&self) -> Option<&Forwarding> {
        match &self.backend {
            Backend::Unchecked(SkipReason::Forwards(forwarding)) => Some(forwarding),
            Backend::Unchecked(_) | Backend::Redis(_) | Backend::Memcached(_) => None,
        }
    }

    /// Its needs of its nodes.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs { required: self.required, ..self.backend.needs() }
    }

    /// The kinds of its checks, the round trip first; none where it is not checked.
    pub fn kinds(&self) -> impl Iterator<Item = CheckKind> {
        let is_checked = match &self.backend {
            Backend::Redis(_) | Backend::Memcached(_) => true,
            Backend::Unchecked(_) => false,
        };
        let others = self.checks.iter().map(CheckConfig::kind);
        is_checked.then_some(CheckKind::RoundTrip).into_iter().chain(others)
    }
}

/// The condition for taking a server for dead, and the time for which it is not asked then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BreakerConfig {
    /// So many checks in a row that could not reach it; at least 1.
    pub after: u32,
    /// The time for which nothing is asked of it; no less than the deadline of a check.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { after: 3, open_for: Duration::from_secs(30) }
    }
}

/// The kind of cache that an alias is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A Redis, a Valkey, or anything else that speaks RESP.
    Redis(RedisConfig),
    /// One or several memcached servers.
    Memcached(MemcachedConfig),
    /// Nothing that is checked. If it forwards, the other alias exists, and no chain is a loop.
    Unchecked(SkipReason),
}

impl Backend {
    /// It forwards to an alias that does not forward itself.
    #[must_use]
    pub fn forwarding_to(alias: Alias) -> Self {
        Self::Unchecked(SkipReason::Forwards(Forwarding { to: alias.clone(), end: alias }))
    }

    /// The TLS settings: the servers', and those of the replicas that have their own.
    #[must_use]
    pub(crate) fn tls(&self) -> Vec<&Tls> {
        match self {
            Self::Redis(redis) => {
                let own = redis.named_replicas().filter_map(|replica| replica.own.as_ref()?.1.as_ref());
                redis.ways_in().into_iter().filter_map(|(_, tls)| tls).chain(own).collect()
            }
            Self::Memcached(memcached) => memcached.tls.iter().collect(),
            Self::Unchecked(_) => Vec::new(),
        }
    }

    /// `true` if TLS is spoken without verifying a certificate.
    #[must_use]
    pub(crate) fn trusts_any_certificate(&self) -> bool {
        self.tls().iter().any(|tls| tls.verify == Verify::None)
    }

    /// The needs of a required alias of its nodes, with this backend.
    fn needs(&self) -> Needs {
        match self {
            Self::Redis(redis) => {
                let ways_in = redis.ways_in();
                let any = |is: fn(&(&Login, Option<&Tls>)) -> bool| ways_in.iter().any(is);
                Needs {
                    required: true,
                    servers: match redis.servers {
                        RedisServers::Shards { quorum, .. } => quorum,
                        _ => Quorum::All,
                    },
                    every_replica: redis.replicas.required,
                    wire: Wire {
                        protocol: Protocol::Redis,
                        tls: any(|(_, tls)| tls.is_some()),
                        login: any(|(login, _)| login.password.is_some()),
                        user: any(|(login, _)| login.username.is_some()),
                        login_source: redis.login_source,
                        source: redis.address_source(),
                    },
                }
            }
            Self::Memcached(memcached) => Needs {
                required: true,
                servers: memcached.quorum,
                every_replica: false,
                wire: Wire {
                    protocol: Protocol::Memcached,
                    tls: memcached.tls.is_some(),
                    login: memcached.login.is_some(),
                    user: memcached.login.is_some(),
                    login_source: LoginSource::Configuration,
                    source: AddressSource::Configuration,
                },
            },
            Self::Unchecked(_) => Needs::default(),
        }
    }
}

/// The TLS settings for a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates to trust instead of the system's, in a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to servers that want one.
    pub client: Option<ClientCertificate>,
    /// The name that the server's certificate must have, and that is asked for (SNI), instead of the host's.
    pub server_name: Option<String>,
    /// The verification of the server's certificate.
    pub verify: Verify,
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The file of the certificate, and of those between it and the server's trusted one.
    pub cert_file: PathBuf,
    /// The file of its private key.
    pub key_file: PathBuf,
}

/// The verification of a server's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Its issuer, its dates and its name.
    #[default]
    Full,
    /// Its issuer and its dates, as valkey-py does by default.
    Ca,
    /// None: anybody in between can read the password and answer in the server's place.
    None,
}

/// The address of a server.
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
