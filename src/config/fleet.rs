//! `[fleet]`: verdicts that sidecars share through a Redis, and the caches whose verdicts they may share.

use std::net::IpAddr;
use std::time::Duration;

use super::place::{ConfigProblem, Place};
use super::reader::ConfigReader;
use super::value::{Value, nearest};
use super::{
    Address, Backend, CacheConfig, Fleet, MemcachedConfig, MemcachedServers, RedisConfig, RedisServers,
    WhichReplicas, keys,
};
use crate::alias::Alias;

/// The default time for which a verdict is reused.
pub(super) const FOR: Duration = Duration::from_secs(2);

const LEAST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_mins(1);

const NO_STORE: &str = "the store of the shared results is missing; add via = \"store\", the alias of a Redis beside the caches to be checked";
const ONE_SERVER: &str = "sharing results requires one key that all sidecars see at once; use one Redis server, \
                          not a cluster or Sentinels";
const NOT_MEMCACHED: &str = "sharing results requires SET NX PX and a Lua script, \
                             which memcached does not have; use a Redis";
const NO_SERVER: &str = "this is not a Redis server; results can be shared only through one Redis server";
const ROLE: &str = "a role must have at most 64 letters, digits, `_`, `.`, `:` or `-`";

/// `[fleet]`, through one of these `caches`.
pub(super) fn read(reader: &mut ConfigReader, caches: &[CacheConfig], max_age: Duration) -> Option<Fleet> {
    let place = reader.table.get("fleet")?.place.clone();
    // A cache that could not be read would be missed here.
    let known = reader.problems.is_empty();
    let section = reader.section("fleet", keys::FLEET);
    let lasts = reader.said(&section, "for", |value| lasts(value, max_age)).unwrap_or(FOR);
    let role = reader.said(&section, "role", role).unwrap_or_default();
    if section.table.get("via").is_none() {
        reader.problems.push(place.problem(NO_STORE));
    }
    let read = |value: &Value| if known { via(value, caches).map(Some) } else { Ok(None) };
    let (via, store) = reader.said(&section, "via", read)??;
    let fleet = Fleet { via, store, lasts, role };
    reader.notes.extend(note_nothing(&fleet, caches));
    Some(fleet)
}

fn lasts(value: &Value, max_age: Duration) -> Result<Duration, ConfigProblem> {
    let lasts = value.duration("for", LEAST, MOST)?;
    if lasts >= max_age * 2 {
        return Ok(lasts);
    }
    Err(value.problem("`for` must be at least twice `max_age`"))
}

fn role(value: &Value) -> Result<String, ConfigProblem> {
    let text = value.text()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if text.len() <= 64 && text.bytes().all(fits) { Ok(text.to_owned()) } else { Err(value.problem(ROLE)) }
}

/// The alias that is named, and the one at the end of its chain, which is a Redis server.
fn via(value: &Value, caches: &[CacheConfig]) -> Result<(Alias, Alias), ConfigProblem> {
    let find = |alias: &str| caches.iter().find(|cache| cache.alias.as_str() == alias);
    let named = value.text()?;
    let first = find(named).ok_or_else(|| unknown(named, &value.place, caches))?;
    let end = first.forwarding().and_then(|forwarding| find(forwarding.end.as_str())).unwrap_or(first);
    let wrong = match &end.backend {
        Backend::Redis(RedisConfig { servers: RedisServers::Standalone(_), .. }) => {
            return Ok((first.alias.clone(), end.alias.clone()));
        }
        Backend::Redis(_) => ONE_SERVER,
        Backend::Memcached(_) => NOT_MEMCACHED,
        Backend::Unchecked(_) => NO_SERVER,
    };
    Err(value.problem(wrong))
}

/// A note if no sidecar would ever reuse anything.
fn note_nothing(fleet: &Fleet, caches: &[CacheConfig]) -> Option<String> {
    let store = caches.iter().find(|cache| cache.alias == fleet.store)?;
    let covered = caches.iter().any(|cache| fleet.covers(cache, store));
    (!covered).then(|| {
        "fleet: no cache has results that can be shared; each sidecar always checks the store itself, Redis with \
         replicas, and servers on this host"
            .to_owned()
    })
}

fn unknown(named: &str, place: &Place, caches: &[CacheConfig]) -> ConfigProblem {
    let aliases: Vec<_> = caches.iter().map(|cache| cache.alias.as_str()).collect();
    place.problem(match nearest(named, &aliases) {
        Some(nearest) => format!("unknown cache; did you mean `{nearest}`?"),
        None => format!("unknown cache; known are {}", aliases.join(", ")),
    })
}

impl Fleet {
    /// `true` if verdicts of `cache` may come from other sidecars, with verdicts kept in `store`.
    ///
    /// Those of the store itself may not. Nor may those of replicas: a replica's lag is seen only by the sidecar that
    /// writes. An address that means another server on each host is shared only through a store with
    /// such an address.
    #[must_use]
    pub(crate) fn covers(&self, cache: &CacheConfig, store: &CacheConfig) -> bool {
        let alike = !is_of_this_host(&cache.backend) || is_of_this_host(&store.backend);
        let written = match &cache.backend {
            Backend::Redis(redis) => redis.replicas.which == WhichReplicas::Named(Vec::new()),
            Backend::Memcached(_) => true,
            Backend::Unchecked(_) => false,
        };
        cache.alias != self.store && alike && written
    }
}

/// `true` if some address of it means another server on another host.
fn is_of_this_host(backend: &Backend) -> bool {
    match backend {
        Backend::Redis(RedisConfig { servers, .. }) => match servers {
            RedisServers::Standalone(address) => is_here(address),
            RedisServers::Cluster { seeds: addresses, .. }
            | RedisServers::Sentinel { sentinels: addresses, .. } => addresses.iter().any(is_here),
            RedisServers::Shards { shards, .. } => shards.iter().any(|shard| is_here(&shard.address)),
        },
        Backend::Memcached(MemcachedConfig { servers, .. }) => servers.iter().any(|server| match server {
            MemcachedServers::One(address) | MemcachedServers::Endpoint(address) => is_here(address),
            MemcachedServers::EveryAddress { host, .. } => is_loopback(host),
        }),
        Backend::Unchecked(_) => false,
    }
}

fn is_here(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => is_loopback(host),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // Every name below it is loopback as well (RFC 6761, section 6.3).
    let named = host == "localhost" || host.ends_with(".localhost");
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    named || address.is_ok_and(|ip| ip.to_canonical().is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ReplicasConfig;

    fn at(host: &str) -> Address {
        Address::Tcp { host: host.to_owned(), port: 6379 }
    }

    fn cache(alias: &str, host: &str) -> CacheConfig {
        let redis = RedisConfig::at(RedisServers::Standalone(at(host)));
        CacheConfig::new(Alias::try_from(alias).unwrap(), Backend::Redis(redis))
    }

    fn fleet() -> Fleet {
        let store = Alias::try_from("store").unwrap();
        Fleet { via: store.clone(), store, lasts: FOR, role: String::new() }
    }

    #[test]
    fn the_store_itself_is_never_covered() {
        let store = cache("store", "redis");
        assert!(!fleet().covers(&store, &store));
        assert!(fleet().covers(&cache("main", "cache"), &store));
    }

    #[test]
    fn an_address_that_is_another_server_on_each_host_is_covered_only_by_a_store_like_it() {
        let (far, near) = (cache("store", "redis"), cache("store", "localhost"));
        for host in
            ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "LocalHost", "a.localhost.", "0.0.0.0"]
        {
            assert!(!fleet().covers(&cache("main", host), &far), "{host}");
            assert!(fleet().covers(&cache("main", host), &near), "{host}");
        }
        for host in ["cache", "10.0.0.1", "localhost.example.com", "2001:db8::1"] {
            assert!(fleet().covers(&cache("main", host), &far), "{host}");
        }
        let ring = |servers| {
            let ring = MemcachedConfig::at(servers);
            CacheConfig::new(Alias::try_from("ring").unwrap(), Backend::Memcached(ring))
        };
        let one = |host| MemcachedServers::One(at(host));
        assert!(!fleet().covers(&ring([one("mc-1"), one("localhost")]), &far));
        assert!(fleet().covers(&ring([one("mc-1"), one("mc-2")]), &far));
    }

    #[test]
    fn replicas_are_checked_by_every_sidecar() {
        let mut redis = RedisConfig::at(RedisServers::Standalone(at("cache")));
        redis.replicas = ReplicasConfig { which: WhichReplicas::Discovered, ..ReplicasConfig::default() };
        let main = CacheConfig::new(Alias::try_from("main").unwrap(), Backend::Redis(redis));
        assert!(!fleet().covers(&main, &cache("store", "redis")));
    }
}
