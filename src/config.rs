//! The configuration: it turns written text into a valid [`Config`], or into an error that points at the place.
//!
//! Past this module, each value is known to be valid. [`load()`] makes one in two steps. The raw text comes from
//! `source` (the file, the environment, Django's setting) as a `value`, each with its `place`. Its meaning is found by
//! `settings`, with `listeners`, `access`, `cache`, `checks`, `groups` and `fleet`, in a `reader`. A new setting is a
//! row of `keys`, whose tests name the other places that it needs.

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

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::alias::Alias;
use crate::outcome::{
    AddressSource, CheckKind, Forwarding, LoginSource, Needs, Protocol, Quorum, SkipReason, Skipped, Wire,
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

/// One configured cache.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct CacheConfig {
    /// Its name.
    pub alias: Alias,
    /// The cache behind it.
    pub backend: Backend,
    /// The checks besides the round trip, in the order in which they were written, each kind at most once.
    pub checks: Vec<checks::CheckConfig>,
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
        let others = self.checks.iter().map(checks::CheckConfig::kind);
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

/// A Redis, however many servers it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisConfig {
    /// Its servers, or the source of their addresses.
    pub servers: RedisServers,
    /// The login at these servers.
    pub login: Login,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// The requirements on its replicas. A cluster's are not looked at.
    pub replicas: ReplicasConfig,
    /// The number of canaries written to each server in a round; at least 1.
    pub spray: usize,
    /// `true` if the maps of a cluster's nodes, or the states at the Sentinels, are compared.
    pub consensus: bool,
    /// The source of the login.
    pub login_source: LoginSource,
}

/// The servers of a Redis, or the source of their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RedisServers {
    /// One server.
    Standalone(Address),
    /// A cluster, of which each primary is checked.
    Cluster {
        /// Some of its nodes, to ask for the others; at least one.
        seeds: Vec<Address>,
        /// The addresses that are dialed.
        announce: Announce,
    },
    /// The primary that Sentinels watch.
    Sentinel {
        /// The Sentinels; at least one.
        sentinels: Vec<Address>,
        /// Their name for the primary.
        name: String,
        /// The login at the Sentinels. Its database is 0.
        login: Login,
    },
    /// Servers over which the application's client spreads the keys.
    Shards {
        /// The servers in the client's order; at least one, none twice.
        shards: Vec<NamedServer>,
        /// The number of them that have to be up.
        quorum: Quorum,
        /// The client's way to spread keys over them, if it is known.
        sharding: Option<Sharding>,
    },
}

/// A client's way to spread keys over the shards of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sharding {
    /// The client.
    pub client: ShardClient,
    /// The text by which the client places each shard, in their order; it may hold a password.
    pub hashed: Vec<Secret>,
}

/// A client that spreads keys over the shards of a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShardClient {
    /// As rb's `PartitionRouter`, its default and Sentry's: a signed CRC-32, modulo the number of hosts.
    Rb,
    /// As rb's `ConsistentHashingRouter`: ketama over all that a host is configured by, password included.
    RbKetama,
    /// As django-redis' `ShardClient`: SHA-256 over the texts of the locations, password included.
    DjangoRedis,
    /// As Predis with `cluster = predis`: CRC-32 over host and port.
    Predis,
    /// As Predis with its `KetamaRing`.
    PredisKetama,
    /// As Jedis' `JedisSharding` and `ShardedJedis`, for shards without names: `MurmurHash64A` over their numbers.
    Jedis,
}

/// The addresses of a cluster's nodes that are dialed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Announce {
    /// Those that the cluster announces.
    #[default]
    AsIs,
    /// The ports that it announces, at the host of the seed that answered: the ports are forwarded.
    SeedHost,
}

/// The login at a Redis, and the protocol's version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Login {
    /// The ACL user; without one, the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Password>,
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

/// The requirements on the replicas of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicasConfig {
    /// The replicas that are looked at.
    pub which: WhichReplicas,
    /// `true` if a faulty one means that the alias is down; otherwise it is degraded.
    pub required: bool,
    /// The time within which each must show the primary's canary.
    pub within: Duration,
}

/// The replicas of a Redis that are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WhichReplicas {
    /// These; perhaps none.
    Named(Vec<NamedServer>),
    /// Those that the primary names (`ROLE`).
    Discovered,
}

/// A server that the configuration names beside others: a replica, or a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedServer {
    /// Its address.
    pub address: Address,
    /// The login and TLS there, if they are not those of the alias.
    pub own: Option<Box<(Login, Option<Tls>)>>,
    /// The replicas of a shard, if it names them in place of those of the alias.
    pub replicas: Vec<NamedServer>,
}

impl fmt::Display for NamedServer {
    /// Its address alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
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

impl ShardClient {
    /// Every client.
    pub(crate) const ALL: [Self; 6] =
        [Self::Rb, Self::RbKetama, Self::DjangoRedis, Self::Predis, Self::PredisKetama, Self::Jedis];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rb => "rb",
            Self::RbKetama => "rb-ketama",
            Self::DjangoRedis => "django-redis",
            Self::Predis => "predis",
            Self::PredisKetama => "predis-ketama",
            Self::Jedis => "jedis",
        }
    }
}

impl Login {
    /// `true` if there is nothing to say before the first command.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.password.is_none() && self.database == 0 && self.protocol == RespVersion::Resp2
    }
}

impl RedisConfig {
    /// The source of the addresses that are dialed.
    fn address_source(&self) -> AddressSource {
        match (&self.servers, &self.replicas.which) {
            (RedisServers::Cluster { .. }, _) => AddressSource::Cluster,
            (RedisServers::Sentinel { .. }, _) => AddressSource::Sentinels,
            (RedisServers::Standalone(_) | RedisServers::Shards { .. }, WhichReplicas::Discovered) => {
                AddressSource::Primary
            }
            (RedisServers::Standalone(_) | RedisServers::Shards { .. }, WhichReplicas::Named(_)) => {
                AddressSource::Configuration
            }
        }
    }

    /// The logins at its servers that keep data, and the TLS settings there.
    pub(crate) fn ways_in(&self) -> Vec<(&Login, Option<&Tls>)> {
        match &self.servers {
            RedisServers::Shards { shards, .. } => shards.iter().map(|shard| self.way_to(shard)).collect(),
            RedisServers::Standalone(_) | RedisServers::Cluster { .. } | RedisServers::Sentinel { .. } => {
                vec![(&self.login, self.tls.as_ref())]
            }
        }
    }

    /// The replicas that the configuration names, for the alias or for a shard.
    pub(crate) fn named_replicas(&self) -> impl Iterator<Item = &NamedServer> {
        let named: &[_] = match &self.replicas.which {
            WhichReplicas::Named(replicas) => replicas,
            WhichReplicas::Discovered => &[],
        };
        let shards: &[NamedServer] = match &self.servers {
            RedisServers::Shards { shards, .. } => shards,
            RedisServers::Standalone(_) | RedisServers::Cluster { .. } | RedisServers::Sentinel { .. } => &[],
        };
        named.iter().chain(shards.iter().flat_map(|shard| &shard.replicas))
    }

    /// The requirements on the replicas of a shard.
    pub(crate) fn replicas_of(&self, shard: &NamedServer) -> Cow<'_, ReplicasConfig> {
        if shard.replicas.is_empty() {
            return Cow::Borrowed(&self.replicas);
        }
        Cow::Owned(ReplicasConfig { which: WhichReplicas::Named(shard.replicas.clone()), ..self.replicas })
    }

    /// The name of a shard: its address, and its database if another shard is at the same address.
    pub(crate) fn name_of(&self, shard: &NamedServer, all: &[NamedServer]) -> String {
        if all.iter().filter(|other| other.address == shard.address).count() == 1 {
            return shard.to_string();
        }
        format!("{shard}/{}", self.way_to(shard).0.database)
    }

    /// The TLS settings of the server with the least of them; `None` if one has none.
    pub(crate) fn least_tls(&self) -> Option<&Tls> {
        let ways_in = self.ways_in().into_iter().map(|(_, tls)| tls);
        ways_in.min_by_key(|tls| tls.map(|tls| tls.verify == Verify::Full)).flatten()
    }

    /// The login and TLS at a replica or a shard.
    pub(crate) fn way_to<'a>(&'a self, server: &'a NamedServer) -> (&'a Login, Option<&'a Tls>) {
        match server.own.as_deref() {
            Some((login, tls)) => (login, tls.as_ref()),
            None => (&self.login, self.tls.as_ref()),
        }
    }

    /// One server or several, without credentials or TLS.
    #[must_use]
    pub fn at(servers: RedisServers) -> Self {
        let (login, replicas) = (Login::default(), ReplicasConfig::default());
        let (spray, consensus, login_source) = (1, false, LoginSource::default());
        Self { servers, login, tls: None, replicas, spray, consensus, login_source }
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
