//! What was written, turned into a valid [`Config`], or into an error that points at the place.
//!
//! Past this module, to hold a value is to know that it is valid. [`load()`] makes one in two steps. What was typed comes
//! from `source` (the file, the environment, Django's setting) as a `value`, each with its `place`. What it means is
//! found by `settings`, with `listeners`, `access`, `cache`, `checks`, `groups` and `fleet`, in a `reader`. A new
//! setting is a row of `keys`, whose tests name what else it needs.

mod access;
mod address;
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
mod place;
mod reader;
mod secret;
mod settings;
mod source;
mod text_file;
mod value;
mod variable;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::alias::Alias;
use crate::outcome::{CheckKind, Forwarding, Needs, Quorum, SkipReason, Skipped};

pub use check_id::CheckId;
pub(crate) use check_id::numbered;
pub use error::ConfigError;
pub use fingerprint::Contents;
pub use load::{Loaded, Source, load};
pub use place::Origin;
pub(crate) use secret::MASK;
pub use secret::Secret;

/// The JSON Schema of the configuration file, for editors, in draft 2020-12. It says which keys there are and what they
/// take; what values mean together, [`load()`] alone says.
pub const SCHEMA: &str = include_str!("config/schema.json");

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
    /// A kept connection's host is resolved again after this long, and the connection dropped where it is
    /// elsewhere now.
    pub dns_recheck: Duration,
    /// How often every cache is checked when nobody asks; without one, only when somebody does.
    pub interval: Option<Duration>,
    /// How long requests are still taken after the sidecar was told to stop, while `/readyz` says so.
    pub drain: Duration,
    /// Who may see what.
    pub access: Access,
    /// TLS for who comes over TCP.
    pub tls: Option<ListenerTls>,
    /// What callers may take up.
    pub limits: CallerLimits,
    /// Where probes are answered, besides where everything is.
    pub probes: Probes,
    /// Where metrics are served, if not beside everything else.
    pub metrics: Metrics,
    /// The groups that are written, none twice.
    pub groups: Vec<Group>,
    /// Verdicts that come from other sidecars, if any do.
    pub fleet: Option<Fleet>,
    /// The caches, in the order in which they were written; at least one is checked.
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

/// Who may see what, by the caller's network. A caller on a unix socket is local.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who gets an answer at all; by default everyone.
    pub allow: Vec<IpNet>,
    /// Who sees addresses, phases and the texts of errors; by default loopback.
    pub details: Vec<IpNet>,
    /// The names, in lower case, by which callers on loopback may ask for details besides `localhost`. A web page cannot make
    /// one of them resolve to loopback.
    pub hosts: Vec<String>,
    /// Whose word counts on whom a request comes from; by default nobody's.
    pub trusted_proxies: Proxies,
    /// Who shows this token sees what `details` shows, if they are allowed at all.
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

/// The sidecar's own certificate, for those who come over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Its certificate and key.
    pub identity: ClientCertificate,
    /// Who signs the certificates that callers must show, in a PEM file; without one, none is asked for.
    pub client_ca_file: Option<PathBuf>,
}

/// What callers may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimits {
    /// The most connections that are open at a time; at least 1.
    pub connections: usize,
    /// The most bytes of answers that may wait to be taken, on all connections together.
    pub unread_bytes: usize,
    /// The same on one connection.
    pub unread_bytes_per_connection: usize,
}

/// Where probes are answered.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Listeners of their own, which answer probes alone and have places of their own. Probes are answered where
    /// everything is, too.
    pub listen: Vec<Listen>,
}

/// Where metrics are served.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Listeners of their own, which serve nothing else, and nobody else serves them; none: with everything else.
    pub listen: Vec<Listen>,
}

/// Some of the checks, under a name: `/health/group/NAME`. What `/livez`, `/readyz` and `/startupz` ask for are the
/// groups `liveness`, `readiness` and `startup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What belongs to it: aliases, and single checks such as `main.queue`; without a list, everything.
    pub include: Option<Vec<String>>,
    /// What of that does not, in the same words.
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
    /// What the documentation names as the defaults, with no cache.
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([0u16; 8], 8080)))],
            prefix: "djblets-".to_owned(),
            instance: "unknown".to_owned(),
            timeout: Duration::from_millis(750),
            max_age: Duration::from_millis(100),
            reconnect_every: Duration::from_secs(5),
            dns_recheck: Duration::from_secs(30),
            interval: None,
            drain: Duration::ZERO,
            access: Access::default(),
            tls: None,
            limits: CallerLimits::default(),
            probes: Probes::default(),
            metrics: Metrics::default(),
            groups: Vec::new(),
            fleet: None,
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

/// One configured cache.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct CacheConfig {
    /// Its name.
    pub alias: Alias,
    /// What is behind it.
    pub backend: Backend,
    /// What is checked of it besides the round trip, in the order in which it was written, each kind at most once.
    pub checks: Vec<checks::CheckConfig>,
    /// When its servers are taken for dead and spared the round trips for a while; without one, never.
    pub breaker: Option<BreakerConfig>,
    /// What the files of its certificates held when it was configured, so that one that is renewed in its place makes
    /// another cache of it.
    pub certificates: Contents,
}

impl CacheConfig {
    /// One of which only the round trip is checked.
    #[must_use]
    pub fn new(alias: Alias, backend: Backend) -> Self {
        let (checks, certificates) = (Vec::new(), Contents::default());
        Self { alias, backend, checks, breaker: None, certificates }
    }

    /// Where it forwards to, if it does.
    #[must_use]
    pub fn forwarding(&self) -> Option<&Forwarding> {
        match &self.backend {
            Backend::Unchecked(SkipReason::Forwards(forwarding)) => Some(forwarding),
            Backend::Unchecked(_) | Backend::Redis(_) | Backend::Memcached(_) => None,
        }
    }

    /// The kinds of its checks, the round trip first; none where it is not checked.
    pub fn kinds(&self) -> impl Iterator<Item = CheckKind> {
        let is_checked = match &self.backend {
            Backend::Redis(_) | Backend::Memcached(_) => true,
            Backend::Unchecked(_) => false,
        };
        let others = self.checks.iter().map(checks::CheckConfig::kind);
        is_checked.then_some(CheckKind::RoundTrip).into_iter().chain(others)
    }
}

/// When a server is taken for dead, and for how long it is spared then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BreakerConfig {
    /// So many checks in a row that could not reach it; at least 1.
    pub after: u32,
    /// How long nothing is asked of it; no less than the deadline of a check.
    pub open_for: Duration,
}

/// What kind of cache an alias is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A Redis, a Valkey, or anything else that speaks RESP.
    Redis(RedisConfig),
    /// One or several memcached servers.
    Memcached(MemcachedConfig),
    /// Nothing that is checked. If it forwards, the other alias exists, and no chain is a loop.
    Unchecked(SkipReason),
}

/// A Redis, however many servers it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisConfig {
    /// Where its servers are, or who knows that.
    pub servers: RedisServers,
    /// Who one is there.
    pub login: Login,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// What is wanted of its replicas. A cluster's are not looked at.
    pub replicas: ReplicasConfig,
    /// How many canaries are written to each server in a round; at least 1.
    pub spray: usize,
}

/// Where the servers of a Redis are, or who knows that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RedisServers {
    /// One server.
    Standalone(Address),
    /// A cluster, of which each primary is checked.
    Cluster {
        /// Some of its nodes, to ask for the others; at least one.
        seeds: Vec<Address>,
        /// Which addresses are dialled.
        announce: Announce,
    },
    /// The primary that Sentinels watch.
    Sentinel {
        /// The Sentinels; at least one.
        sentinels: Vec<Address>,
        /// What they call the primary.
        name: String,
        /// Who one is at the Sentinels. Its database is 0.
        login: Login,
    },
}

/// Which addresses of a cluster's nodes are dialled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Announce {
    /// Those that the cluster announces.
    #[default]
    AsIs,
    /// The ports that it announces, at the host of the seed that answered: the ports are forwarded.
    SeedHost,
}

/// Who one is at a Redis, and how one speaks there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Login {
    /// The ACL user; without one, the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database's number.
    pub database: u32,
    /// The protocol's version.
    pub protocol: RespVersion,
}

/// The versions of Redis' protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RespVersion {
    /// RESP2, which every server speaks.
    #[default]
    Resp2,
    /// RESP3, which begins with HELLO and needs Redis 6.
    Resp3,
}

/// What is wanted of the replicas of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicasConfig {
    /// Which they are.
    pub which: WhichReplicas,
    /// Whether a faulty one is the alias down, and not degraded.
    pub required: bool,
    /// How soon each must show the primary's canary.
    pub within: Duration,
}

/// Which replicas of a Redis are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WhichReplicas {
    /// These; perhaps none.
    Named(Vec<Address>),
    /// Those that the primary names (`ROLE`).
    Discovered,
}

/// How TLS is spoken to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates to trust instead of the system's, in a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to servers that want one.
    pub client: Option<ClientCertificate>,
    /// The name that the server's certificate must have, and that is asked for (SNI), instead of the host's.
    pub server_name: Option<String>,
    /// Whether the server's certificate is verified.
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

/// Whether a server's certificate is verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Its issuer, its dates and its name.
    #[default]
    Full,
    /// Not at all: anybody in between can read the password and answer in the server's place.
    None,
}

/// One or several memcached servers, each a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemcachedConfig {
    /// Where they are, or who knows that; at least one, none twice, in the order in which they were written.
    pub servers: Vec<MemcachedServers>,
    /// How many of them have to be up.
    pub quorum: Quorum,
    /// The user and the password, where one is wanted.
    pub login: Option<(String, Secret)>,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// How many canaries are written to each server in a round; at least 1.
    pub spray: usize,
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

impl Login {
    /// Whether there is nothing to say before the first command.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.password.is_none() && self.database == 0 && self.protocol == RespVersion::Resp2
    }
}

impl RedisConfig {
    /// One server or several, without credentials or TLS.
    #[must_use]
    pub fn at(servers: RedisServers) -> Self {
        Self { servers, login: Login::default(), tls: None, replicas: ReplicasConfig::default(), spray: 1 }
    }
}

impl MemcachedConfig {
    /// These servers, without credentials or TLS, all of which have to be up.
    #[must_use]
    pub fn at(servers: impl IntoIterator<Item = MemcachedServers>) -> Self {
        let servers = servers.into_iter().collect();
        Self { servers, quorum: Quorum::All, login: None, tls: None, spray: 1 }
    }
}

impl Backend {
    /// It forwards to an alias that does not forward itself.
    #[must_use]
    pub fn forwarding_to(alias: Alias) -> Self {
        Self::Unchecked(SkipReason::Forwards(Forwarding { to: alias.clone(), end: alias }))
    }

    /// Whether TLS is spoken and nobody's certificate is verified.
    #[must_use]
    pub(crate) fn trusts_anybody(&self) -> bool {
        let tls = match self {
            Self::Redis(redis) => redis.tls.as_ref(),
            Self::Memcached(memcached) => memcached.tls.as_ref(),
            Self::Unchecked(_) => None,
        };
        tls.is_some_and(|tls| tls.verify == Verify::None)
    }

    /// What an alias with this backend needs of its nodes.
    #[must_use]
    pub fn needs(&self) -> Needs {
        match self {
            Self::Redis(redis) => Needs { every_replica: redis.replicas.required, ..Needs::default() },
            Self::Memcached(memcached) => Needs { servers: memcached.quorum, ..Needs::default() },
            Self::Unchecked(_) => Needs::default(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { after: 3, open_for: Duration::from_secs(30) }
    }
}

impl Default for ReplicasConfig {
    /// None.
    fn default() -> Self {
        let which = WhichReplicas::Named(Vec::new());
        Self { which, required: false, within: Duration::from_secs(1) }
    }
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
