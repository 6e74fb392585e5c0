//! A Redis of Django's `CACHES`: one primary with replicas, a primary that Sentinels watch, or a cluster.

use std::borrow::Cow;

use super::options::{Options, Way};
use super::{locations, no_location, one, text};
use crate::config::address::{self, RedisUrl};
use crate::config::cache::reader::CacheReader;
use crate::config::cache::redis::{finished, login};
use crate::config::keys::RedisTopology;
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Table, Value, ValueKind as Typed};
use crate::config::{
    Address, Announce, Backend, Login, RedisConfig, RedisServers, ReplicasConfig, RespVersion, Secret, Tls,
    WhichReplicas,
};

/// Reads an entry whose client may be made for any of them. Locations in one text are split at `separators`.
pub(super) fn cache(
    reading: &mut CacheReader,
    entry: &Table,
    separators: &[char],
) -> Result<Backend, ConfigProblem> {
    match Options::of(entry)?.way() {
        Way::Plain => plain(reading, entry, separators),
        Way::Sentinels { replicas } => sentinels(reading, entry, separators, replicas),
        Way::Cluster => cluster(reading, entry, separators),
        Way::UnknownCluster => Err(reading.problem(format_args!(
            "this cluster client is not supported; in the config file, add [caches.{}] with url = \
             \"redis+cluster://host:6379\"",
            reading.alias
        ))),
        Way::Shards => Err(reading.problem(format_args!(
            "its client distributes keys over several servers; in the config file, give each server an alias of \
             its own, and skip this one with backend = \"local-memory\" under [caches.{}]",
            reading.alias
        ))),
    }
}

/// A primary, and its replicas. The first location takes the writes and the others are its replicas, for
/// Django and for its relatives.
fn plain(reading: &mut CacheReader, entry: &Table, separators: &[char]) -> Result<Backend, ConfigProblem> {
    let options = Options::of(entry)?;
    let mut urls = urls(reading, entry, separators)?.into_iter();
    let Some((mut primary, place)) = urls.next() else { return Err(no_location(reading)) };
    let replicas: Vec<Address> = urls.flat_map(|(url, _)| url.addresses).collect();
    reading.came_from(&["url", "replicas"], place);
    reading.came_from(&primary.says(), place);
    let login = credentials(reading, &options, &mut primary)?;
    let tls = match primary.tls {
        Some(true) => Some(options.tls(reading, &primary.others)?),
        Some(false) | None => None,
    };
    let Some(address) = primary.addresses.into_iter().next() else { return Err(no_location(reading)) };
    let replicas = ReplicasConfig { which: WhichReplicas::Named(replicas), ..ReplicasConfig::default() };
    finished(
        reading,
        RedisConfig { login, tls, replicas, ..RedisConfig::at(RedisServers::Standalone(address)) },
    )
}

/// A cluster, of which each location is a node.
pub(super) fn cluster(
    reading: &mut CacheReader,
    entry: &Table,
    separators: &[char],
) -> Result<Backend, ConfigProblem> {
    let options = Options::of_cluster(entry)?;
    let mut urls = urls(reading, entry, separators)?.into_iter();
    let Some((mut first, place)) = urls.next() else { return Err(no_location(reading)) };
    let others: Vec<Address> = urls.flat_map(|(url, _)| url.addresses).collect();
    reading.came_from(&["url"], place);
    reading.came_from(&first.says(), place);
    let login = credentials(reading, &options, &mut first)?;
    if login.database != 0 {
        return Err(place.problem("a cluster has only database 0; remove the number"));
    }
    let seeds: Vec<_> = std::mem::take(&mut first.addresses).into_iter().chain(others).collect();
    if seeds.iter().any(|seed| matches!(seed, Address::Unix(_))) {
        return Err(place.problem("cluster nodes need addresses such as host:port, not a unix socket"));
    }
    let tls = tls(reading, &options, &first)?;
    let servers = RedisServers::Cluster { seeds, announce: Announce::default() };
    finished(reading, RedisConfig { login, tls, ..RedisConfig::at(servers) })
}

/// The primary that Sentinels watch: its name is the host in the location. So it is in the `SentinelConnectionFactory`
/// of django-redis 7.0 and django-valkey 0.4, in small letters.
fn sentinels(
    reading: &mut CacheReader,
    entry: &Table,
    separators: &[char],
    mut replicas: bool,
) -> Result<Backend, ConfigProblem> {
    let options = Options::of(entry)?;
    let sentinels = options.sentinels().ok_or_else(|| {
        reading.problem("the Sentinels are missing; add SENTINELS to its OPTIONS, a list of [host, port]")
    })?;
    let mut urls = urls(reading, entry, separators)?.into_iter();
    let Some((mut first, place)) = urls.next() else { return Err(no_location(reading)) };
    let name = primary(&first).ok_or_else(|| place.problem(NO_NAME))?;
    for (other, place) in urls {
        if primary(&other).as_ref() != Some(&name) {
            return Err(place.problem("the locations name several primaries; give each its own alias"));
        }
        replicas = true;
    }
    reading.came_from(&["url"], &sentinels.place);
    reading.came_from(&first.says(), place);
    let login = credentials(reading, &options, &mut first)?;
    let tls = tls(reading, &options, &first)?;
    let (theirs, theirs_with_tls) = sentinel_login(reading, &options, login.protocol)?;
    if theirs_with_tls != tls.is_some() {
        return Err(sentinels.problem(
            "TLS is configured only for the Sentinels, or only for their servers (`ssl` in SENTINEL_KWARGS): \
             configure it for all of them, or for none",
        ));
    }
    let servers =
        RedisServers::Sentinel { sentinels: sentinel_addresses(reading, sentinels)?, name, login: theirs };
    let which = if replicas { WhichReplicas::Discovered } else { WhichReplicas::Named(Vec::new()) };
    if replicas {
        reading.came_from(&["replicas"], place);
    }
    let replicas = ReplicasConfig { which, ..ReplicasConfig::default() };
    finished(reading, RedisConfig { login, tls, replicas, ..RedisConfig::at(servers) })
}

const NO_NAME: &str =
    "with Sentinels, the location must be redis://mymaster/0, with the primary's name in Sentinel";

/// The Sentinels' name for the primary, by a location.
fn primary(url: &RedisUrl) -> Option<String> {
    match url.addresses.first()? {
        Address::Tcp { host, .. } => address::primary_name(host),
        Address::Unix(_) => None,
    }
}

fn sentinel_addresses(reading: &CacheReader, sentinels: &Value) -> Result<Vec<Address>, ConfigProblem> {
    let Typed::List(pairs) = &sentinels.kind else {
        return Err(
            sentinels.problem(format_args!("expected a list of [host, port], found {}", sentinels.noun()))
        );
    };
    let addresses: Vec<Address> = pairs
        .iter()
        .map(|pair| address::sentinel(&one(pair)?).map_err(|error| pair.problem(error)))
        .collect::<Result<_, ConfigProblem>>()?;
    if addresses.is_empty() { Err(no_location(reading)) } else { Ok(addresses) }
}

/// The login at the Sentinels, and `true` if TLS is spoken there.
fn sentinel_login(
    reading: &mut CacheReader,
    options: &Options<'_>,
    protocol: RespVersion,
) -> Result<(Login, bool), ConfigProblem> {
    let arguments = options.sentinel_arguments()?;
    let argument = |name| arguments.and_then(|arguments| arguments.get(name));
    let username = text(reading, argument("username"), "sentinel_username")?;
    let password = text(reading, argument("password"), "sentinel_password")?.map(Secret::from);
    if let (Some(value), None) = (argument("username").filter(|_| username.is_some()), &password) {
        return Err(value.problem("the Sentinels have a user but no password; add the password"));
    }
    let tls = argument("ssl").and_then(Value::boolean).unwrap_or_default();
    Ok((Login { username, password, protocol, database: 0 }, tls))
}

/// Each location, and its place.
fn urls<'a>(
    reading: &CacheReader,
    entry: &'a Table,
    separators: &[char],
) -> Result<Vec<(RedisUrl, &'a Place)>, ConfigProblem> {
    let url = |(text, value): (Cow<'_, str>, &'a Value)| {
        let url = address::redis_location(&text, RedisTopology::Standalone);
        Ok((url.map_err(|error| value.problem(error))?, &value.place))
    };
    locations(reading, entry, separators)?.into_iter().map(url).collect()
}

/// The login at the servers. A value in the URL wins over OPTIONS, as in redis-py's `ConnectionPool.from_url`.
fn credentials(
    reading: &mut CacheReader,
    options: &Options<'_>,
    url: &mut RedisUrl,
) -> Result<Login, ConfigProblem> {
    if url.username.is_none() {
        url.username = text(reading, options.get("username"), "username")?;
    }
    if url.password.is_none() {
        url.password = text(reading, options.get("password"), "password")?.map(Secret::from);
    }
    if let (None, Some(value)) = (url.database, options.get("db")) {
        url.database = Some(value.number()?);
        reading.came_from(&["database"], &value.place);
    }
    if url.protocol.is_none() {
        url.protocol = options.protocol(reading)?;
    }
    Ok(login(url))
}

/// TLS to servers that are found through others, by the scheme or by an option.
fn tls(
    reading: &mut CacheReader,
    options: &Options<'_>,
    url: &RedisUrl,
) -> Result<Option<Tls>, ConfigProblem> {
    if let Some(value) = options.asks_for_tls() {
        reading.came_from(&["tls"], &value.place);
    } else if url.tls != Some(true) {
        return Ok(None);
    }
    options.tls(reading, &url.others).map(Some)
}
