//! [`RedisConfig`]: a Redis, however many servers it has.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::super::{Password, Secret};
use super::{Address, Tls, Verify};
use crate::outcome::{AddressSource, LoginSource, Quorum};

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

impl RedisConfig {
    /// The source of the addresses that are dialed.
    pub(super) fn address_source(&self) -> AddressSource {
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

impl Login {
    /// `true` if there is nothing to say before the first command.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.password.is_none() && self.database == 0 && self.protocol == RespVersion::Resp2
    }
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

impl Default for ReplicasConfig {
    /// None.
    fn default() -> Self {
        let which = WhichReplicas::Named(Vec::new());
        Self { which, required: false, within: Duration::from_secs(1) }
    }
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
