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
    /// The points on a circle that belong to the shard with this number, in ascending order. Rb has no circle.
    points: Vec<(u64, usize)>,
}

impl ShardRing {
    pub(crate) fn new(Sharding { client, hashed }: &Sharding) -> Self {
        // Of points in one place, the one that was added last is there.
        let mut points = BTreeMap::new();
        for (number, text) in hashed.iter().enumerate() {
            let text = text.expose_secret();
            let added = points_of(*client, text, number, hashed.len());
            points.extend(added.into_iter().map(|point| (point, number)));
        }
        Self { client: *client, shards: hashed.len(), points: points.into_iter().collect() }
    }

    /// The number of the shard to which a key is sent.
    pub(crate) fn place(&self, key: &[u8]) -> usize {
        let hash = self.client.hash(key);
        let next = match self.client {
            // The hash is signed, and a remainder in Python is not negative.
            ShardClient::Rb => {
                let (hash, shards) = (i64::from(hash as u32 as i32), self.shards as i64);
                return hash.rem_euclid(shards) as usize;
            }
            ShardClient::PredisKetama | ShardClient::Jedis => self.points.partition_point(|(point, _)| *point < hash),
            ShardClient::RbKetama => self.points.partition_point(|(point, _)| *point <= hash),
            ShardClient::DjangoRedis | ShardClient::Predis => {
                let next = self.points.partition_point(|(point, _)| *point <= hash);
                next.checked_sub(1).unwrap_or(self.points.len() - 1)
            }
        };
        self.points[next % self.points.len()].1
    }
}
