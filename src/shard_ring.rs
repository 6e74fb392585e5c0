//! [`ShardRing`]: a client's choice of one of several Redis servers for a key. No I/O.

mod hash;

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;

use crate::config::{ShardClient, Sharding};
use hash::{crc32, md5, murmur64, sha256};

/// Shards in the order of a client's configuration, and the client, which decides how keys spread over them.
#[derive(Debug)]
pub(crate) struct ShardRing {
    client: ShardClient,
    shards: usize,
    /// The points of a circle in ascending order, each with the number of its shard. Rb has no circle.
    points: Vec<(u64, usize)>,
}

impl ShardRing {
    pub(crate) fn new(Sharding { client, hashed }: &Sharding) -> Self {
        // If two points are at the same place, the later one counts.
        let mut points = BTreeMap::new();
        for (number, text) in hashed.iter().enumerate() {
            let added = points_of(*client, text.expose_secret(), number, hashed.len());
            points.extend(added.into_iter().map(|point| (point, number)));
        }
        Self { client: *client, shards: hashed.len(), points: points.into_iter().collect() }
    }

    /// The number of the shard to which a key is sent; `None` if there are no shards.
    pub(crate) fn place(&self, key: &[u8]) -> Option<usize> {
        let from = |hash| self.points.partition_point(|(point, _)| *point < hash);
        let behind = |hash| self.points.partition_point(|(point, _)| *point <= hash);
        if self.shards == 0 {
            return None;
        }
        let next = match self.client {
            ShardClient::Rb => {
                // `PartitionRouter.get_host_for_key` in rb's `router.py`, and `crc32` in its `utils.py`: the hash is signed,
                // and Python's remainder is not negative.
                let hash = i64::from(crc32(key).cast_signed());
                let place = hash.checked_rem_euclid(i64::try_from(self.shards).ok()?)?;
                return usize::try_from(place).ok();
            }
            ShardClient::RbKetama => behind(ketama(&md5(key))[0]),
            ShardClient::PredisKetama => from(ketama(&md5(tag(key)))[0]),
            ShardClient::Jedis => from(signed(murmur64(key))),
            // These take the point before.
            ShardClient::Predis => behind(crc32(tag(key)).into()) + self.points.len() - 1,
            ShardClient::DjangoRedis => {
                behind(beginning(sha256(last_tag(key)).as_ref())) + self.points.len() - 1
            }
        };
        self.points.get(next % self.points.len()).map(|(_, place)| *place)
    }
}

/// The points of a shard on the circle.
fn points_of(client: ShardClient, text: &str, number: usize, shards: usize) -> Vec<u64> {
    match client {
        ShardClient::Rb => Vec::new(),
        // `Ketama._rebuild_circle` in rb's `ketama.py`.
        ShardClient::RbKetama => {
            (0..40).flat_map(|i| ketama(&md5(format!("{text}-{i}-salt").as_bytes()))).collect()
        }
        // `HashRing.add_node` in django-redis' `hash_ring.py`.
        ShardClient::DjangoRedis => {
            (0..128).map(|i| beginning(sha256(format!("{text}:{i}").as_bytes()).as_ref())).collect()
        }
        // `HashRing::addNodeToRing` in Predis' `HashRing.php`.
        ShardClient::Predis => (0..128).map(|i| crc32(format!("{text}:{i}").as_bytes()).into()).collect(),
        // `KetamaRing::addNodeToRing` in Predis' `KetamaRing.php`: with 49 shards, rounding leaves 39 of 40 points.
        ShardClient::PredisKetama => {
            let shards = u32::try_from(shards).map_or(1.0, f64::from);
            let many = if 100.0 / (100.0 * shards) * shards < 1.0 { 39 } else { 40 };
            (0..many).flat_map(|i| ketama(&md5(format!("{text}-{i}").as_bytes()))).collect()
        }
        // `ShardedConnectionProvider.initialize` in Jedis 5, `Sharded.initialize` before: shards have no names.
        ShardClient::Jedis => {
            (0..160).map(|i| signed(murmur64(format!("SHARD-{number}-NODE-{i}").as_bytes()))).collect()
        }
    }
}

/// The four points of an MD5 digest.
fn ketama(digest: &[u8; 16]) -> [u64; 4] {
    let (words, _) = digest.as_chunks::<4>();
    [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]).into())
}

/// The first 64 bits of a digest: no two points of a circle share them.
fn beginning(digest: &[u8]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// A signed number, moved so that it compares as one.
fn signed(hash: u64) -> u64 {
    hash ^ 1 << 63
}

/// The hash tag of a key: what is between the first `{` and the next `}`, if that is not empty (`extractKeyTag` in Predis'
/// `ClusterStrategy.php`).
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|byte| *byte == b'}') {
        Some(0) | None => key,
        Some(close) => &inner[..close],
    }
}

/// The hash tag of a key in django-redis, by `.*\{(.*)\}.*`: what is between the last `}` of the first line and the last `{`
/// before it, even if it is empty (`ShardClient.get_server_name` in its `sharded.py`).
fn last_tag(key: &[u8]) -> &[u8] {
    let line = key.split(|byte| *byte == b'\n').next().unwrap_or(key);
    let before = line.iter().rposition(|byte| *byte == b'}').map(|close| &line[..close]);
    let inner = before.and_then(|before| {
        let open = before.iter().rposition(|byte| *byte == b'{')?;
        Some(&before[open + 1..])
    });
    inner.unwrap_or(key)
}

#[cfg(test)]
mod tests;
