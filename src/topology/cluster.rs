//! A Redis cluster: each of its primaries is a node, with canaries in slots that it owns.
//!
//! `slots` is who owns which slots, `view` what one node says of that, `survey` asks some for it, and `round` is
//! a round of checks. Between rounds nothing happens; the map is asked for again in a round that needs it.

mod redirect;
mod round;
mod slots;
mod survey;
mod view;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Maker, Topology};
use crate::cache::SetupError;
use crate::cache::redis::{Kind, Redis};
use crate::check::round_trip::Node;
use crate::config::{self, Address, Announce, Login, Tls};
use crate::progress::Progress;
use round::Round;
use slots::{Hosts, Range, Shard, SlotMap, Tag};
use view::Sight;

/// A cluster, as it was found by the last round.
pub(super) struct Cluster {
    seeds: Vec<Address>,
    announce: Announce,
    login: Arc<Login>,
    tls: Option<Tls>,
    spray: usize,
    maker: Maker,
    /// None until a round has found a primary.
    known: Mutex<Option<Arc<Known>>>,
}

/// What is known of a cluster.
struct Known {
    /// In short, from the node that told the map.
    sight: Sight,
    map: Arc<SlotMap>,
    /// The slots that nobody owns.
    gaps: Vec<Range>,
    /// The primary of each of the map's shards.
    primaries: Vec<Arc<Primary>>,
}

/// A primary, and the node that it is.
struct Primary {
    address: Address,
    server: Redis,
    node: Node,
    /// What puts the canaries into its slots, one for each series.
    tags: Vec<Tag>,
}

impl Cluster {
    pub(super) fn new(
        seeds: &[Address],
        announce: Announce,
        redis: &config::Redis,
        maker: Maker,
    ) -> Result<Self, SetupError> {
        let cluster = Self {
            seeds: seeds.to_vec(),
            announce,
            login: Arc::new(redis.login.clone()),
            tls: redis.tls.clone(),
            spray: redis.spray,
            maker,
            known: Mutex::default(),
        };
        // What is wrong with a seed is said at the start.
        for seed in seeds {
            cluster.server(seed)?;
        }
        Ok(cluster)
    }

    fn server(&self, address: &Address) -> Result<Redis, SetupError> {
        self.maker.redis(address, Kind::Any, &self.login, self.tls.as_ref())
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the addresses that a node announces are taken.
    fn hosts<'a>(&self, asked: &'a Address) -> Hosts<'a> {
        let asked = match asked {
            Address::Tcp { host, .. } => host.as_str(),
            Address::Unix(_) => "localhost",
        };
        Hosts { announce: self.announce, asked }
    }

    /// Takes in a map. A primary stays the node that it was, with its connection and its series, as long as it
    /// owns the slots of its canaries; slots in `avoided` are left where it has others.
    fn learn(
        &self,
        sight: Sight,
        map: Arc<SlotMap>,
        before: Option<&Known>,
        avoided: &BTreeSet<u16>,
    ) -> Result<Arc<Known>, SetupError> {
        let before: HashMap<&Address, &Arc<Primary>> = before
            .iter()
            .flat_map(|known| &known.primaries)
            .map(|primary| (&primary.address, primary))
            .collect();
        let stays: Vec<_> = map
            .shards
            .iter()
            .map(|shard| {
                let owned = |tag: &Tag| shard.owns(tag.slot) && !avoided.contains(&tag.slot);
                before.get(&shard.primary).filter(|primary| {
                    primary.tags.len() >= self.spray.min(shard.len()) && primary.tags.iter().all(owned)
                })
            })
            .collect();
        let wanted: Vec<_> = stays.iter().map(|stays| if stays.is_some() { 0 } else { self.spray }).collect();
        let tags = map.tags(&wanted, avoided);
        let primaries = map.shards.iter().zip(stays).zip(tags).map(|((shard, stays), tags)| {
            if let Some(stays) = stays {
                return Ok(Arc::clone(stays));
            }
            let address = shard.primary.clone();
            let server = match before.get(&address) {
                // With tags that it has had, there is nothing to change.
                Some(earlier) if earlier.tags == tags => return Ok(Arc::clone(earlier)),
                Some(earlier) => earlier.server.clone(),
                None => self.server(&address)?,
            };
            let texts: Vec<_> = tags.iter().map(|tag| tag.text.clone()).collect();
            let node = self.maker.node_in_cluster(&address, server.clone(), &texts);
            Ok(Arc::new(Primary { address, server, node, tags }))
        });
        let primaries = primaries.collect::<Result<Vec<_>, SetupError>>()?;
        let known = Arc::new(Known { sight, gaps: map.gaps(), map, primaries });
        *self.known() = (!known.primaries.is_empty()).then(|| known.clone());
        Ok(known)
    }

    /// How long a primary is waited for before it is found out whether it still is one.
    fn slow(&self) -> Duration {
        self.maker.timeout() / 4
    }

    /// Between two looks at a slot that one primary has let go and another has not taken yet.
    fn pause(&self) -> Duration {
        self.maker.timeout() / 64
    }
}

impl Known {
    fn shard(&self, primary: &Address) -> Option<&Shard> {
        self.map.shards.iter().find(|shard| shard.primary == *primary)
    }

    fn replicas(&self, of: &Address) -> &[Address] {
        self.shard(of).map(|shard| shard.replicas.as_slice()).unwrap_or_default()
    }

    fn ranges(&self, of: &Address) -> &[Range] {
        self.shard(of).map(|shard| shard.ranges.as_slice()).unwrap_or_default()
    }
}

#[async_trait]
impl Topology for Cluster {
    async fn round(&self, progress: &Progress) {
        let known = self.known().clone();
        Round::new(self, progress).run(known).await;
    }
}
