//! `[caches.ALIAS]` of a sharded Redis: its shards, the number of them that have to be up, and the client that spreads keys.

use std::collections::HashSet;

use secrecy::ExposeSecret;

use crate::config::address::{self, RedisUrl};
use crate::config::cache::named::{WrittenServer, note_passwords, written};
use crate::config::cache::reader::{CacheReader, WrittenAddress};
use crate::config::cache::redis::{self, read_login, replicas};
use crate::config::cache::{memcached, tls};
use crate::config::keys::{self, Key, RedisTopology};
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, unless};
use crate::config::{
    Address, Backend, Login, MASK, NamedServer, Password, RedisConfig, RedisServers, Secret, ShardClient,
    Sharding, WhichReplicas,
};
use crate::outcome::Quorum;

/// Shards, which are reached as the keys of the alias say unless their URLs say otherwise.
pub(super) fn read(
    reading: &mut CacheReader,
    table: &Table,
    server: &WrittenAddress<'_>,
) -> Result<Backend, ConfigProblem> {
    let login = read_login(reading, table, server, &mut RedisUrl::default())?;
    let schemes = redis::schemes(RedisTopology::Shards);
    let hints = tls::TlsHints { by_scheme: None, schemes, socket: false, server: None };
    let tls = tls::read(reading, table.get("tls"), hints)?;
    reading.came_from(&["servers"], &server.value.place);
    reading.said(table, "topology", |_| Ok(()))?;
    let client = reading.said(table, "client", client)?;
    if let Some(value) = table.get("password_command").filter(|_| client == Some(ShardClient::RbKetama)) {
        return Err(value.problem("rb-ketama places keys by the password, so that must last; use `password`"));
    }
    let listed = written(server.value, keys::SHARD)?;
    let quorum = memcached::quorum(reading, table, Some(listed.len()))?;
    let of_shards = listed.iter().any(WrittenServer::has_replicas);
    let replicas = replicas(reading, table, &login, tls.as_ref(), of_shards)?;
    let named = matches!(&replicas.which, WhichReplicas::Named(named) if !named.is_empty());
    if let Some(value) = table.get("replicas").filter(|_| named) {
        return Err(value.problem(OF_SHARDS));
    }
    let spray = reading.spray(table)?;
    let servers = RedisServers::Shards { shards: Vec::new(), quorum, sharding: None };
    let mut redis = RedisConfig { login, tls, replicas, spray, ..RedisConfig::at(servers) };
    redis.servers = shards(reading, (server.value, keys::SHARD, "a shard"), &redis, client, quorum)?;
    let plain = redis.tls.is_some() && redis.ways_in().iter().all(|(_, tls)| tls.is_none());
    if let Some(value) = table.get("tls").filter(|_| plain) {
        return Err(value.problem("no URL of a shard enables TLS; begin it with rediss://, or remove this"));
    }
    redis::finished(reading, table, redis)
}

const OF_SHARDS: &str = "shards have replicas of their own; write \"discover\" or \"required\", or name them in the table of their \
                         shard, as in { url = \"redis://a/0\", replicas = [\"replica-of-a\"] }";

/// The client that spreads keys.
pub(in crate::config) fn client(value: &Value) -> Result<ShardClient, ConfigProblem> {
    value.word("client", &ShardClient::ALL.map(|client| (client.name(), client)))
}

/// The shards of a list, with the login and TLS of the `alias` where a URL leaves them open.
pub(in crate::config) fn shards(
    reading: &mut CacheReader,
    (value, known, whose): (&Value, &[Key], &str),
    alias: &RedisConfig,
    client: Option<ShardClient>,
    quorum: Quorum,
) -> Result<RedisServers, ConfigProblem> {
    let texts = written(value, known)?;
    unless(texts.is_empty(), value, "the list of shards is empty; write \"redis://host:6379/0\"")?;
    note_passwords(reading, &texts, &format!("the password of {whose}"));
    let shard = |server: &WrittenServer<'_>| {
        // django-redis hands further parameters to redis-py, and hashes them.
        let any_parameter = client == Some(ShardClient::DjangoRedis);
        server.read(reading, &alias.login, alias.tls.as_ref(), any_parameter)
    };
    let shards: Vec<_> = texts.iter().map(shard).collect::<Result<_, _>>()?;
    distinct(alias, &shards, &texts)?;
    let sharding = client.map(|client| {
        let texts = texts.iter().zip(&shards).enumerate();
        let hashed = texts.map(|(number, (server, shard))| client.hashed(server.text, number, alias, shard));
        Sharding { client, hashed: hashed.map(Secret::from).collect() }
    });
    Ok(RedisServers::Shards { shards, quorum, sharding })
}

/// A problem with a shard that is there twice. One server may be several shards, by its databases.
fn distinct(
    redis: &RedisConfig,
    shards: &[NamedServer],
    texts: &[WrittenServer<'_>],
) -> Result<(), ConfigProblem> {
    let mut seen = HashSet::new();
    for (shard, server) in shards.iter().zip(texts) {
        let database = redis.way_to(shard).0.database;
        if !seen.insert((&shard.address, database)) {
            return Err(server.value.problem(format_args!(
                "{shard}, database {database} is listed twice; list each shard once"
            )));
        }
    }
    Ok(())
}

impl Sharding {
    /// The words for the shard at this place with which the client has the same ring when they are read again, in place of
    /// `plain`, and `true` if a secret is masked in them, which gives another ring.
    pub(crate) fn shown(
        &self,
        place: usize,
        redis: &RedisConfig,
        shard: &NamedServer,
        plain: String,
    ) -> (String, bool) {
        let Some(hashed) = self.hashed.get(place).map(ExposeSecret::expose_secret) else {
            return (plain, false);
        };
        let before_host = match self.client {
            ShardClient::Rb | ShardClient::Jedis => return (plain, false),
            ShardClient::DjangoRedis => {
                let shown = masked(hashed).unwrap_or(plain);
                let is_masked = shown != hashed;
                return (shown, is_masked);
            }
            ShardClient::Predis | ShardClient::PredisKetama => "",
            ShardClient::RbKetama => "host='",
        };
        let is_masked = self.client == ShardClient::RbKetama && redis.way_to(shard).0.password.is_some();
        let Address::Tcp { host, port } = &shard.address else { return (plain, is_masked) };
        let at = hashed.to_ascii_lowercase().find(&format!("{before_host}{host}"));
        let written = at.and_then(|at| hashed.get(at + before_host.len()..)?.get(..host.len()));
        let written = Address::Tcp { host: written.unwrap_or(host).to_owned(), port: *port };
        (plain.replacen(&shard.address.to_string(), &written.to_string(), 1), is_masked)
    }
}

/// A URL with its password masked, if that leaves no secret in it.
fn masked(text: &str) -> Option<String> {
    let parsed = |text: &str| address::redis_location(text, RedisTopology::Standalone).ok();
    let url = parsed(text).filter(|url| address::may_show(&url.others))?;
    if url.password.is_none() {
        return Some(text.to_owned());
    }
    let (login, rest) = text.rsplit_once('@')?;
    let (scheme, login) = login.split_once("://")?;
    let masked = format!("{scheme}://{}:{MASK}@{rest}", login.split_once(':')?.0);
    let is_hidden = parsed(&masked)?.password.is_some_and(|password| password.expose_secret() == MASK);
    is_hidden.then_some(masked)
}

impl ShardClient {
    /// The text by which this client places a shard that is written as `text`.
    fn hashed(self, text: &str, number: usize, redis: &RedisConfig, shard: &NamedServer) -> String {
        match self {
            Self::Rb | Self::Jedis => String::new(),
            Self::DjangoRedis => text.to_owned(),
            Self::Predis | Self::PredisKetama => match &shard.address {
                Address::Tcp { port, .. } => format!("{}:{port}", host_as_written(text, shard)),
                Address::Unix(path) => path.display().to_string(),
            },
            Self::RbKetama => {
                let (login, tls) = redis.way_to(shard);
                rb_host(&host_as_written(text, shard), number, &shard.address, login, tls.is_some())
            }
        }
    }
}

/// The host of a shard with its capitals, which clients hash.
fn host_as_written(text: &str, shard: &NamedServer) -> String {
    let Address::Tcp { host, .. } = &shard.address else { return "localhost".to_owned() };
    let hosts = text.rsplit_once('@').map_or(text, |(_, hosts)| hosts);
    let at = hosts.to_ascii_lowercase().find(host.as_str());
    at.and_then(|at| hosts.get(at..at + host.len())).unwrap_or(host).to_owned()
}

/// Rb's text of a host (`HostInfo.__repr__` in its `cluster.py`, version 1.11), which its ketama hashes.
fn rb_host(host: &str, number: usize, address: &Address, login: &Login, tls: bool) -> String {
    let password = match &login.password {
        Some(Password::Fixed(password)) => python(password.expose_secret()),
        // No short-lived password is allowed with this client.
        Some(Password::ShortLived(_)) | None => none(),
    };
    let (port, socket) = match address {
        Address::Tcp { port, .. } => (*port, none()),
        Address::Unix(path) => (6379, python(&path.display().to_string())),
    };
    let (host, database, tls) = (python(host), login.database, if tls { "True" } else { "False" });
    format!(
        "<HostInfo db={database} host={host} host_id={number} password={password} port={port} ssl={tls} \
         ssl_options=None unix_socket_path={socket}>"
    )
}

fn none() -> String {
    "None".to_owned()
}

/// A text as Python's `repr` shows it, if all of it can be printed.
fn python(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for char in text.chars() {
        if char == quote || char == '\\' {
            shown.push('\\');
        }
        shown.push(char);
    }
    shown.push(quote);
    shown
}
