//! The configuration: it turns written text into a valid [`Config`], or into an error that points at the place.
//!
//! Past this module, each value is known to be valid. [`load()`] makes one in two steps. The raw text comes from
//! `source` (the file, the environment, Django's setting) as a `value`, each with its `place`. Its meaning is found by
//! `settings`, with `listeners`, `access`, `cache`, `checks`, `groups` and `fleet`, in a `reader`. A cache
//! and its servers are in `backend`. A new setting is a row of `keys`, whose tests name the other places that it needs.

mod access;
mod address;
mod backend;
mod cache;
mod check_id;
pub mod checks;
mod error;
mod fingerprint;
mod fleet;
mod groups;
#[rustfmt::skip] // A setting is a row.
mod keys;
mod listeners;
mod load;
mod password;
mod place;
mod reader;
mod secret;
mod settings;
mod shard;
mod source;
mod targets;
mod text_file;
mod value;
mod variable;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::alias::Alias;
use crate::outcome::Skipped;

pub use backend::{
    Address, Announce, Backend, BreakerConfig, CacheConfig, ClientCertificate, Login, MemcachedConfig,
    MemcachedServers, NamedServer, RedisConfig, RedisServers, ReplicasConfig, RespVersion, ShardClient,
    Sharding, Tls, Verify, WhichReplicas,
};
pub use check_id::CheckId;
pub(crate) use check_id::numbered;
pub use error::ConfigError;
pub use fingerprint::Contents;
pub(crate) use load::Draft;
pub use load::{Loaded, Source, load};
pub(crate) use load::{OwnListeners, load_listeners};
pub use password::{AwsAuth, AwsService, Minting, Password, PasswordSource};
pub(crate) use password::{MadePassword, MintFailure};
pub use place::Origin;
pub(crate) use secret::MASK;
pub use secret::Secret;
pub use shard::Shard;
pub(crate) use targets::{FetchedTargets, MAX_LIST};
pub use targets::{HttpTargets, TargetList, TargetSource};
pub(crate) use value::is_quoted;
pub(crate) use variable::is_withheld;

/// The JSON Schema of the configuration file, for editors, in draft 2020-12. It lists the keys and the values
/// that they take; [`load()`] alone knows how values go together.
pub const SCHEMA: &str = include_str!("config/schema.json");

/// Everything that the sidecar is told, valid and complete.
#[derive(Debug, Clone)]
pub struct Config {
    /// The addresses at which the server listens; at least one.
    pub listen: Vec<Listen>,
    /// The beginning of every key that is written.
    pub prefix: String,
    /// The name of this sidecar, in keys and values.
    pub instance: String,
    /// The deadline of a check of one alias, from resolving to the last byte.
    pub timeout: Duration,
    /// A round trip that passes and takes longer than this at a node is degraded, unless its cache says otherwise;
    /// `None` for never.
    pub slow: Option<Duration>,
    /// A verdict may be shared for this long after its check began.
    pub max_age: Duration,
    /// The life of a connection; after it, a check dials again.
    pub reconnect_every: Duration,
    /// A kept connection's host is resolved again after this long. If its address has changed, the connection is
    /// dropped.
    pub dns_recheck: Duration,
    /// The interval at which every cache is checked without a request; without one, requests alone start checks.
    pub interval: Option<Duration>,
    /// The time before the end of a certificate or token from which a cache is degraded; zero for never.
    pub expires_within: Duration,
    /// The time for which requests are still taken after the signal to stop, while `/readyz` reports it.
    pub drain: Duration,
    /// The callers' rights.
    pub access: Access,
    /// TLS for callers over TCP.
    pub tls: Option<ListenerTls>,
    /// The limits on callers.
    pub limits: CallerLimits,
    /// The listeners for probes, besides those for everything.
    pub probes: Probes,
    /// The listeners for metrics; if there are none, those for everything.
    pub metrics: Metrics,
    /// The groups that are written, none twice.
    pub groups: Vec<Group>,
    /// `true` if a cache of Django's setting is skipped where its backend is not known.
    pub skips_unknown: bool,
    /// Verdicts that come from other sidecars, if any do.
    pub fleet: Option<Fleet>,
    /// The list of targets that some of the caches come from, if there is one.
    pub targets: Option<TargetList>,
    /// The part of the aliases that this replica checks, if others check the rest.
    pub shard: Option<Shard>,
    /// The caches, in the order in which they were written. Without shards, at least one is checked.
    pub caches: Vec<CacheConfig>,
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The callers' rights, by their network. A caller on a unix socket is local.
#[derive(Debug, Clone)]
pub struct Access {
    /// The networks that get an answer at all; by default all.
    pub allow: Vec<IpNet>,
    /// The networks that see addresses, phases and the texts of errors; by default loopback.
    pub details: Vec<IpNet>,
    /// The names, in lower case, by which callers on loopback may ask for details besides `localhost`. A web page cannot make
    /// one of them resolve to loopback.
    pub hosts: Vec<String>,
    /// The proxies whose word on a request's origin counts; by default none.
    pub trusted_proxies: Proxies,
    /// The token that lets an allowed caller see what `details` shows.
    pub token: Option<Secret>,
}

/// Proxies whose forwarding headers are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Those at these addresses.
    pub networks: Vec<IpNet>,
    /// Those that come over a unix socket, whose callers are not local then.
    pub unix: bool,
}

/// The sidecar's own certificate, for callers over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Its certificate and key.
    pub identity: ClientCertificate,
    /// The CA certificates for those that callers must show, in a PEM file; without one, none is asked for.
    pub client_ca_file: Option<PathBuf>,
}

/// The limits on callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimits {
    /// The most connections that are open at a time; at least 1.
    pub connections: usize,
    /// The most bytes of answers that may wait to be taken, on all connections together.
    pub unread_bytes: usize,
    /// The same on one connection.
    pub unread_bytes_per_connection: usize,
}

/// The listeners for probes.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Listeners of their own, which answer probes alone and have places of their own. Probes are answered where
    /// everything is, too.
    pub listen: Vec<Listen>,
}

/// The listeners for metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Listeners of their own, which serve metrics alone and alone serve them; if there are none, all listeners serve them.
    pub listen: Vec<Listen>,
}

/// Some of the checks, under a name: `/health/group/NAME`. The groups `liveness`, `readiness` and `startup` are those
/// of `/livez`, `/readyz` and `/startupz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The members: aliases, and single checks such as `main.queue`; without a list, everything.
    pub include: Option<Vec<String>>,
    /// The exceptions from these, in the same words.
    pub exclude: Vec<String>,
    /// The checks that these words stand for, in the configured order.
    pub checks: Vec<CheckId>,
    /// The aliases that they stand for and that are not checked, in the configured order.
    pub skipped: Vec<Skipped>,
}

/// Verdicts that sidecars share through a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The alias that is named, which may forward.
    pub via: Alias,
    /// The alias at the end of its chain: one Redis server.
    pub store: Alias,
    /// No verdict is reused that is older.
    pub lasts: Duration,
    /// Only sidecars of one role share verdicts.
    pub role: String,
}

impl Default for Config {
    /// The defaults in the documentation, with no cache.
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([0u16; 8], 8080)))],
            prefix: "djblets-".to_owned(),
            instance: "unknown".to_owned(),
            timeout: Duration::from_millis(750),
            slow: None,
            max_age: Duration::from_millis(100),
            reconnect_every: Duration::from_secs(5),
            dns_recheck: Duration::from_secs(30),
            interval: None,
            expires_within: Duration::ZERO,
            drain: Duration::ZERO,
            access: Access::default(),
            tls: None,
            limits: CallerLimits::default(),
            probes: Probes::default(),
            metrics: Metrics::default(),
            groups: Vec::new(),
            skips_unknown: true,
            fleet: None,
            targets: None,
            shard: None,
            caches: Vec::new(),
        }
    }
}

impl Default for Access {
    /// Everyone gets verdicts, and loopback the details.
    fn default() -> Self {
        Self {
            allow: vec![EVERYONE_V4.into(), EVERYONE_V6.into()],
            details: vec![LOOPBACK_V4.into(), LOOPBACK_V6.into()],
            hosts: Vec::new(),
            trusted_proxies: Proxies::default(),
            token: None,
        }
    }
}

impl Default for CallerLimits {
    /// Enough for every caller that a sidecar has, and little enough for 32 MiB.
    fn default() -> Self {
        Self { connections: 1024, unread_bytes: 8 << 20, unread_bytes_per_connection: 1 << 20 }
    }
}

const EVERYONE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
const EVERYONE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);
const LOOPBACK_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
