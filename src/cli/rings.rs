//! The notes of `config check` on rings of the same shards that disagree.

use std::collections::{BTreeSet, HashMap};

use crate::config::checks::CheckConfig;
use crate::config::{Address, Backend, Config, RedisServers, ShardClient, Sharding};
use crate::shard_ring::ShardRing;

/// The number of keys by which rings are compared.
const KEYS: usize = 1000;

/// A shard, as every client knows it.
type Place<'a> = (&'a Address, u32);

/// The shards of an alias or a view in their order, and the client that spreads keys over them.
struct Ring<'a> {
    name: String,
    places: Vec<Place<'a>>,
    client: ShardClient,
    spread: ShardRing,
}

/// A note for each ring that spreads keys over the same shards in another way than an earlier one.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let mut first: HashMap<BTreeSet<(String, u32)>, Ring<'_>> = HashMap::new();
    let mut notes = Vec::new();
    for ring in rings(config) {
        let shards = ring.places.iter().map(|(address, database)| (address.to_string(), *database)).collect();
        match first.get(&shards) {
            Some(other) => notes.extend(note(other, &ring)),
            None => {
                first.insert(shards, ring);
            }
        }
    }
    notes
}

/// The rings of the aliases, and of their views.
fn rings(config: &Config) -> Vec<Ring<'_>> {
    let mut rings = Vec::new();
    for cache in &config.caches {
        rings.extend(ring(cache.alias.to_string(), &cache.backend));
        for check in &cache.checks {
            let CheckConfig::Visibility(visibility) = check else { continue };
            for view in &visibility.views {
                rings.extend(ring(format!("the view {} of {}", view.name, cache.alias), &view.backend));
            }
        }
    }
    rings
}

fn ring(name: String, backend: &Backend) -> Option<Ring<'_>> {
    let Backend::Redis(redis) = backend else { return None };
    let RedisServers::Shards { shards, sharding: Some(sharding), .. } = &redis.servers else { return None };
    let places = shards.iter().map(|shard| (&shard.address, redis.way_to(shard).0.database)).collect();
    let Sharding { client, .. } = sharding;
    Some(Ring { name, places, client: *client, spread: ShardRing::new(sharding) })
}

impl Ring<'_> {
    fn place(&self, key: &str) -> Option<Place<'_>> {
        self.places.get(self.spread.place(key.as_bytes())?).copied()
    }
}

/// A note if two rings of the same shards send keys to different ones.
fn note(one: &Ring<'_>, other: &Ring<'_>) -> Option<String> {
    let differs = |key: &usize| {
        let key = format!("key:{key}");
        one.place(&key) != other.place(&key)
    };
    let differing = (0..KEYS).filter(differs).count();
    let why = match other.client {
        client if client != one.client => "by other rules; set the client of both to the application's",
        ShardClient::Rb | ShardClient::Jedis => "in another order; list the servers as the client does",
        ShardClient::Predis | ShardClient::PredisKetama => {
            "under other names; write each host as the client does, with its capitals"
        }
        ShardClient::DjangoRedis => "under other texts; write each location as in CACHES, password included",
        ShardClient::RbKetama => {
            "in another order or with other settings; rb's ketama includes host, port, database and password"
        }
    };
    (differing > 0).then(|| {
        format!(
            "{}: {differing} of {KEYS} keys lie on other shards than those of {}, {why}",
            other.name, one.name
        )
    })
}
