//! `[caches.ALIAS]` of a Redis: its topology, its login, and the requirements on it.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::config::address::{self, RedisUrl};
use crate::config::cache::named::named_replicas;
use crate::config::cache::reader::{CacheReader, WrittenAddress};
use crate::config::cache::{shards, tls};
use crate::config::keys::RedisTopology;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind as Typed, one_of, unless};
use crate::config::{
    Address, Announce, Backend, Login, NamedServer, Password, RedisConfig, RedisServers, ReplicasConfig,
    RespVersion, Secret, Tls, WhichReplicas, keys, password,
};
use crate::outcome::LoginSource;

pub(in crate::config) const NO_USER_ALONE: &str =
    "a user is given without a password; write a password alone as redis://:password@host";

/// The topology, by the cache's own key or by the scheme of its URL.
fn topology(table: &Table, server: &WrittenAddress<'_>) -> Result<RedisTopology, ConfigProblem> {
    let by_scheme = address::topology(&server.text).map_err(|error| server.value.problem(error))?;
    let Some(value) = table.get("topology") else {
        return Ok(by_scheme.unwrap_or(RedisTopology::Standalone));
    };
    let topology = value.word("topology", &RedisTopology::ALL.map(|topology| (topology.name(), topology)))?;
    let contradicted = by_scheme.is_some_and(|by_scheme| by_scheme != topology);
    unless(contradicted, value, "the scheme of the URL gives another topology; keep one of the two")?;
    Ok(topology)
}

/// The reason why a key of some topologies is none of this one's, if it is none.
fn refuses(topology: RedisTopology, key: &str) -> Option<&'static str> {
    match (topology, key) {
        (RedisTopology::Cluster, "replicas" | "replica_within") => {
            Some("in a cluster only primaries are checked, not replicas; remove this")
        }
        (RedisTopology::Cluster, "spray") => {
            Some("in a cluster each primary is checked with its own key; remove this")
        }
        (RedisTopology::Standalone | RedisTopology::Sentinel | RedisTopology::Shards, "announce") => {
            Some("only a cluster announces addresses; begin the URL with redis+cluster://, or remove this")
        }
        (RedisTopology::Standalone | RedisTopology::Shards, "consensus") => Some(
            "only nodes of a cluster and Sentinels can contradict each other; begin the URL with redis+cluster:// or redis+sentinel://, or remove this",
        ),
        (
            RedisTopology::Standalone | RedisTopology::Cluster | RedisTopology::Shards,
            "sentinel_username" | "sentinel_password" | "sentinel_password_file",
        ) => Some("this setting requires Sentinels; begin the URL with redis+sentinel://, or remove it"),
        (RedisTopology::Standalone | RedisTopology::Cluster | RedisTopology::Sentinel, "client") => {
            Some("a client spreads keys over shards; add topology = \"shards\", or remove this")
        }
        (RedisTopology::Sentinel | RedisTopology::Shards, "auth") => Some(
            "a token of AWS is for one server or one cluster; begin the URL with rediss:// or rediss+cluster://",
        ),
        (RedisTopology::Shards, "url" | "url_file") => {
            Some("shards are several servers; list their URLs in `servers`")
        }
        (RedisTopology::Standalone | RedisTopology::Cluster | RedisTopology::Sentinel, "servers") => {
            Some("only shards are listed in `servers`; add topology = \"shards\", or write one `url`")
        }
        (RedisTopology::Standalone | RedisTopology::Cluster | RedisTopology::Sentinel, "quorum") => {
            Some("a quorum is one of shards or of memcached servers; remove this")
        }
        (
            RedisTopology::Standalone
            | RedisTopology::Cluster
            | RedisTopology::Sentinel
            | RedisTopology::Shards,
            _,
        ) => None,
    }
}

/// The schemes of its URLs, with TLS and without.
pub(super) fn schemes(topology: RedisTopology) -> (&'static str, &'static str) {
    match topology {
        RedisTopology::Standalone | RedisTopology::Shards => ("rediss://", "redis://"),
        RedisTopology::Cluster => ("rediss+cluster://", "redis+cluster://"),
        RedisTopology::Sentinel => ("rediss+sentinel://", "redis+sentinel://"),
    }
}

pub(in crate::config) fn read(
    reading: &mut CacheReader,
    table: &Table,
    server: &WrittenAddress<'_>,
) -> Result<Backend, ConfigProblem> {
    let topology = topology(table, server)?;
    for entry in &table.0 {
        if let Some(why) = refuses(topology, &entry.key) {
            return Err(entry.key_place.problem(why));
        }
    }
    if topology == RedisTopology::Shards {
        return shards::read(reading, table, server);
    }
    let mut url =
        address::redis_location(&server.text, topology).map_err(|error| server.value.problem(error))?;
    if let Some(problem) = address::unknown_parameter(&url.others) {
        return Err(server.value.problem(problem));
    }
    reading.came_from(&["url"], &server.value.place);
    reading.came_from(&url.says(), &server.value.place);
    let by_scheme = url.tls;
    let login = read_login(reading, table, server, &mut url)?;
    let servers = servers(reading, table, topology, url, login.protocol)?;
    let said = tls::TlsHints {
        by_scheme,
        schemes: schemes(topology),
        socket: matches!(servers, RedisServers::Standalone(Address::Unix(_))),
        server: None,
    };
    let tls = tls::read(reading, table.get("tls"), said)?;
    if tls.is_none() && login.password.as_ref().and_then(Password::aws).is_some() {
        let note = format!("AWS takes tokens only over TLS; begin the URL with {}", schemes(topology).0);
        reading.notes.push(format!("{}: {note}", reading.alias));
    }
    let replicas = replicas(reading, table, &login, tls.as_ref(), false)?;
    let spray = reading.spray(table)?;
    let consensus = consensus(reading, table)?;
    if consensus && topology == RedisTopology::Cluster && login.username.is_some() {
        reading.notes.push(format!(
            "{}: consensus compares only nodes at which the user has the right +cluster|nodes; `cache-canary acl` prints all rights",
            reading.alias
        ));
    }
    let login_source = LoginSource::default();
    finished(reading, table, RedisConfig { servers, login, tls, replicas, spray, consensus, login_source })
}

/// The login at the servers, by the URL or by keys of its own.
pub(super) fn read_login(
    reading: &mut CacheReader,
    table: &Table,
    server: &WrittenAddress<'_>,
    url: &mut RedisUrl,
) -> Result<Login, ConfigProblem> {
    let mut password = url.password.take();
    let mut login = login(url);
    reading.credentials(table, server, &mut login.username, &mut password)?;
    login.password = password::read(reading, table)?.or(password.map(Password::Fixed));
    if let Some((aws, value)) = login.password.as_ref().and_then(Password::aws).zip(table.get("auth")) {
        unless(login.username.is_some(), value, "`auth.aws` names the user; remove the other one")?;
        login.username = Some(aws.user.clone());
    }
    if let Some(value) = table.get("database") {
        unless(url.database.is_some(), value, "the URL has a database as well; keep one of the two")?;
        login.database = value.number()?;
        reading.came_from(&["database"], &value.place);
    }
    if let Some(value) = table.get("protocol") {
        unless(url.protocol.is_some(), value, "the URL has a protocol as well; keep one of the two")?;
        login.protocol = match value.text()? {
            "resp2" => RespVersion::Resp2,
            "resp3" => RespVersion::Resp3,
            _ => return Err(value.problem("the protocol must be \"resp2\" or \"resp3\"")),
        };
        reading.came_from(&["protocol"], &value.place);
    }
    Ok(login)
}

/// The servers, or the source of their addresses.
fn servers(
    reading: &mut CacheReader,
    table: &Table,
    topology: RedisTopology,
    url: RedisUrl,
    protocol: RespVersion,
) -> Result<RedisServers, ConfigProblem> {
    let RedisUrl { addresses, name, .. } = url;
    match topology {
        RedisTopology::Standalone | RedisTopology::Shards => {
            standalone(addresses).ok_or_else(|| reading.problem(NO_SERVER))
        }
        RedisTopology::Cluster => {
            Ok(RedisServers::Cluster { seeds: addresses, announce: announce(reading, table)? })
        }
        RedisTopology::Sentinel => Ok(RedisServers::Sentinel {
            sentinels: addresses,
            name: name.ok_or_else(|| reading.problem(NO_SERVER))?,
            login: Login { protocol, ..sentinel_login(reading, table)? },
        }),
    }
}

fn announce(reading: &mut CacheReader, table: &Table) -> Result<Announce, ConfigProblem> {
    let announce = reading.said(table, "announce", |value| match value.text()? {
        "as-is" => Ok(Announce::AsIs),
        "seed-host" => Ok(Announce::SeedHost),
        _ => Err(value
            .problem("`announce` must be \"as-is\", or \"seed-host\" if the cluster's ports are forwarded")),
    })?;
    Ok(announce.unwrap_or_default())
}

fn consensus(reading: &mut CacheReader, table: &Table) -> Result<bool, ConfigProblem> {
    let consensus = reading.said(table, "consensus", |value| {
        value.boolean().ok_or_else(|| value.problem("`consensus` must be true or false"))
    })?;
    Ok(consensus.unwrap_or_default())
}

fn sentinel_login(reading: &mut CacheReader, table: &Table) -> Result<Login, ConfigProblem> {
    let mut login = Login::default();
    if let Some((key, value)) = one_of(table, keys::alternatives(keys::CACHE, "sentinel_password"))? {
        login.password = Some(Password::Fixed(reading.password(key, value)?));
        reading.came_from(&["sentinel_password"], &value.place);
    }
    if let Some(value) = table.get("sentinel_username") {
        unless(
            login.password.is_none() && !reading.users_alone,
            value,
            "sentinel_password is missing for the user of the Sentinels; add it",
        )?;
        login.username = Some(value.text()?.to_owned());
        reading.came_from(&["sentinel_username"], &value.place);
    }
    Ok(login)
}

/// The requirements on the replicas, which are reached as the primary is unless their URLs say otherwise; `of_shards` if
/// shards name theirs.
pub(super) fn replicas(
    reading: &mut CacheReader,
    table: &Table,
    login: &Login,
    tls: Option<&Tls>,
    of_shards: bool,
) -> Result<ReplicasConfig, ConfigProblem> {
    let mut replicas = ReplicasConfig::default();
    if let Some(value) = table.get("replicas") {
        let named = |value: &Value| named_replicas(reading, value, login, tls);
        (replicas.which, replicas.required) = which_replicas(value, of_shards, named)?;
        reading.came_from(&["replicas"], &value.place);
    }
    if let Some(value) = table.get("replica_within") {
        let none = replicas.which == WhichReplicas::Named(Vec::new());
        unless(none && !of_shards, value, "this setting requires replicas; add `replicas`, or remove it")?;
        replicas.within = value.duration("replica_within", Duration::ZERO, Duration::from_mins(10))?;
        reading.came_from(&["replica_within"], &value.place);
    }
    Ok(replicas)
}

/// The backend, once all that is written about a Redis is known.
pub(super) fn finished(
    reading: &CacheReader,
    table: &Table,
    redis: RedisConfig,
) -> Result<Backend, ConfigProblem> {
    let is_alone =
        redis.login.username.is_some() && !redis.login.password.as_ref().is_some_and(Password::is_given);
    if is_alone && !reading.users_alone {
        return Err(reading.problem(NO_USER_ALONE));
    }
    if let Some(value) = table.get("tls").filter(|value| value.boolean() == Some(false)) {
        let mut ways = redis.ways_in();
        ways.extend(redis.named_replicas().map(|replica| redis.way_to(replica)));
        unless(ways.iter().any(|(_, tls)| tls.is_some()), value, SECURE_SERVER)?;
    }
    Ok(Backend::Redis(redis))
}

const SECURE_SERVER: &str =
    "a shard or a replica enables TLS, but `tls` is false; remove `tls`, or begin its URL with redis://";

pub(super) const NO_SERVER: &str = "no server is given; add url = \"redis://host:6379/0\"";

/// `true` if there is a password, and it is not empty.
pub(in crate::config) fn is_given(password: Option<&Secret>) -> bool {
    password.is_some_and(|password| !password.expose_secret().is_empty())
}

fn standalone(addresses: Vec<Address>) -> Option<RedisServers> {
    addresses.into_iter().next().map(RedisServers::Standalone)
}

/// The login by a URL, which gives its credentials away.
pub(in crate::config) fn login(url: &mut RedisUrl) -> Login {
    Login {
        username: url.username.take(),
        password: url.password.take().map(Password::Fixed),
        database: url.database.unwrap_or_default(),
        protocol: url.protocol.unwrap_or_default(),
    }
}

/// The replicas that are looked at, and `true` if a faulty one means that the alias is down.
fn which_replicas(
    value: &Value,
    of_shards: bool,
    named_replicas: impl FnOnce(&Value) -> Result<Vec<NamedServer>, ConfigProblem>,
) -> Result<(WhichReplicas, bool), ConfigProblem> {
    match &value.kind {
        Typed::Text(text) if text == "discover" => Ok((WhichReplicas::Discovered, false)),
        Typed::Text(text) if text == "required" => Ok((WhichReplicas::Discovered, true)),
        Typed::Table(table) => {
            table.only(keys::REPLICAS)?;
            let named = table.get("servers").map(|servers| {
                let in_short = matches!(servers.text(), Ok("discover" | "required"));
                unless(
                    in_short,
                    servers,
                    "write this value alone, as in replicas = \"discover\" or \"required\"",
                )?;
                named_replicas(servers)
            });
            let named = named.transpose()?.unwrap_or_default();
            unless(
                named.is_empty() && !of_shards,
                value,
                "the list of replicas is empty; write { servers = [\"host:6379\"], required = true }, or \"required\" for those that the primary lists",
            )?;
            let required = table
                .get("required")
                .map(|value| value.boolean().ok_or_else(|| value.problem("expected true or false")));
            Ok((WhichReplicas::Named(named), required.transpose()?.unwrap_or_default()))
        }
        _ => Ok((WhichReplicas::Named(named_replicas(value)?), false)),
    }
}
