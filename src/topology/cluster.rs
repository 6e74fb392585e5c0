//! A Redis cluster: each of its primaries is a node, with canaries in slots that it owns.
//!
//! `slots` has the owners of slots, `view` one node's view of them, `survey` the queries of several nodes, `check` the
//! check of the cluster, and `consensus` the comparison of its nodes' maps. Between checks nothing happens; if a check
//! needs the map again, it requests it.

mod check;
mod consensus;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod redirect;
mod slots;
mod survey;
mod view;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::{NodeFactory, Topology};
use crate::budget;
use crate::cache::SetupError;
use crate::cache::redis::{Redis, Requirement};
use crate::check::{KeyShare, Node, Server};
use crate::config::{self, Address, Announce, Login, Tls};
use crate::mutex::Mutex;
use crate::progress::Progress;
use check::ClusterCheck;
use consensus::ClusterConsensus;
use redirect::Redirect;
use slots::{AT_A_TIME, AnnouncedHosts, Shard, SlotMap, SlotRange, Tag};
use view::ClusterInfo;

/// A cluster, as the last check found it.
pub(super) struct Cluster {
    seeds: Vec<Address>,
    spray: usize,
    nodes: Arc<Nodes>,
    /// `None` until a check has found a primary.
    known: Mutex<Option<Arc<KnownCluster>>>,
    entries: Entries,
    /// Only if it is configured, and for round trips.
    consensus: Option<Box<ClusterConsensus>>,
}

/// The number of map entries that were read in the current second.
struct Entries(Mutex<(Instant, usize)>);

/// The settings with which its nodes are dialed.
struct Nodes {
    announce: Announce,
    login: Arc<Login>,
    tls: Option<Tls>,
    factory: NodeFactory,
}

/// The state of a cluster, as far as it is known.
struct KnownCluster {
    /// The summary from the node that returned the map.
    sight: ClusterInfo,
    map: Arc<SlotMap>,
    /// The slots without an owner.
    gaps: Vec<SlotRange>,
    /// The primary of each of the map's shards.
    primaries: Vec<Arc<ClusterPrimary>>,
}

/// A primary, and its node.
struct ClusterPrimary {
    address: Address,
    server: Redis,
    node: Node,
    /// The hash tags that put the canaries into its slots, one for each series.
    tags: Vec<Tag>,
    /// The slots that it owned when its node was made.
    ranges: Vec<SlotRange>,
}

impl Cluster {
    pub(super) fn new(
        seeds: &[Address],
        announce: Announce,
        redis: &config::RedisConfig,
        factory: NodeFactory,
    ) -> Result<Self, SetupError> {
        let cluster = Self {
            seeds: seeds.to_vec(),
            spray: redis.spray,
            consensus: (redis.consensus && factory.is_for_round_trips()).then(Box::default),
            nodes: Arc::new(Nodes {
                announce,
                login: Arc::new(redis.login.clone()),
                tls: redis.tls.clone(),
                factory,
            }),
            known: Mutex::default(),
            entries: Entries(Mutex::new((Instant::now(), 0))),
        };
        // An error in a seed is reported at the start.
        for seed in seeds {
            cluster.nodes.server(seed, Requirement::Any)?;
        }
        Ok(cluster)
    }

    /// Applies a map. A primary keeps its node, with its connection and its series, as long as it owns the slots of its
    /// canaries. Slots in `avoided` are not used if it has others. The task yields after every few primaries.
    async fn learn(
        &self,
        sight: ClusterInfo,
        map: Arc<SlotMap>,
        before: Option<&KnownCluster>,
        avoided: &BTreeSet<u16>,
    ) -> Result<Arc<KnownCluster>, SetupError> {
        let before: HashMap<&Address, &Arc<ClusterPrimary>> = before
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
                    primary.tags.len() >= self.spray.min(shard.len())
                        && primary.tags.iter().all(owned)
                        && !primary.has_other_keys(shard)
                })
            })
            .collect();
        let wanted: Vec<_> = stays.iter().map(|stays| if stays.is_some() { 0 } else { self.spray }).collect();
        let tags = map.tags(&wanted, avoided);
        let mut primaries = Vec::with_capacity(map.shards.len());
        for ((shard, stays), tags) in map.shards.iter().zip(stays).zip(tags) {
            primaries.push(match (stays, before.get(&shard.primary)) {
                (Some(stays), _) => Arc::clone(stays),
                // If the tags are the same, there is nothing to change.
                (None, Some(earlier)) if earlier.tags == tags && !earlier.has_other_keys(shard) => {
                    Arc::clone(earlier)
                }
                (None, earlier) => self.primary(shard, tags, earlier.map(|earlier| &earlier.server))?,
            });
            if primaries.len() % AT_A_TIME == 0 {
                yield_now().await;
            }
        }
        let known = Arc::new(KnownCluster { sight, gaps: map.gaps(), map, primaries });
        *self.known.lock() = (!known.primaries.is_empty()).then(|| known.clone());
        Ok(known)
    }

    /// Makes a primary with its node, from its earlier server if there is one.
    fn primary(
        &self,
        shard: &Shard,
        tags: Vec<Tag>,
        before: Option<&Redis>,
    ) -> Result<Arc<ClusterPrimary>, SetupError> {
        let address = shard.primary.clone();
        let server = before
            .map_or_else(|| self.nodes.server(&address, Requirement::Any), |server| Ok(server.clone()))?;
        let texts: Vec<_> = tags.iter().map(|tag| tag.text.clone()).collect();
        let keys = self.nodes.share(&address, &shard.ranges);
        let server_of_node = Server::Redis(server.clone());
        let node = self.nodes.factory.node_in_cluster(&address, server_of_node, keys, &texts);
        Ok(Arc::new(ClusterPrimary { address, server, node, tags, ranges: shard.ranges.clone() }))
    }

    /// The time after which a silent primary is suspected to be no primary any more.
    fn slow(&self) -> Duration {
        budget::SLOW_PRIMARY.of(self.nodes.factory.timeout())
    }

    /// The pause between two looks at a slot that one primary has released and another has not taken yet.
    fn pause(&self) -> Duration {
        budget::MAP_PAUSE.of(self.nodes.factory.timeout())
    }
}

impl Entries {
    const SECOND: Duration = Duration::from_secs(1);

    fn add(&self, count: usize) {
        let mut entries = self.0.lock();
        if entries.0.elapsed() >= Self::SECOND {
            *entries = (Instant::now(), 0);
        }
        entries.1 += count;
    }

    fn of_this_second(&self) -> usize {
        let (began, count) = *self.0.lock();
        if began.elapsed() < Self::SECOND { count } else { 0 }
    }
}

impl Nodes {
    fn server(&self, address: &Address, kind: Requirement) -> Result<Redis, SetupError> {
        self.factory.redis(address, kind, &self.login, self.tls.as_ref())
    }

    /// The interpretation of addresses that a node announces.
    fn hosts<'a>(&self, asked: &'a Address) -> AnnouncedHosts<'a> {
        let asked = match asked {
            Address::Tcp { host, .. } => host.as_str(),
            Address::Unix(_) => "localhost",
        };
        AnnouncedHosts { announce: self.announce, asked }
    }

    /// The keys of a primary with these slots.
    fn share(self: &Arc<Self>, address: &Address, ranges: &[SlotRange]) -> Box<dyn KeyShare> {
        Box::new(PrimaryShare { nodes: self.clone(), address: address.clone(), ranges: ranges.to_vec() })
    }
}

impl ClusterPrimary {
    /// `true` if its slots have changed and its check depends on them.
    fn has_other_keys(&self, shard: &Shard) -> bool {
        self.node.depends_on_keys() && self.ranges != shard.ranges
    }
}

/// The keys that one primary holds.
struct PrimaryShare {
    nodes: Arc<Nodes>,
    address: Address,
    ranges: Vec<SlotRange>,
}

impl KeyShare for PrimaryShare {
    fn holds(&self, key: &[u8]) -> bool {
        let slot = slots::slot_of_key(key);
        self.ranges.iter().any(|range| range.contains(&slot))
    }

    fn importing(&self, said: &str) -> Option<Redis> {
        match Redirect::of_words(said, self.nodes.hosts(&self.address))? {
            Redirect::Moved => None,
            Redirect::Ask(_, address) => self.nodes.server(&address, Requirement::Importing).ok(),
        }
    }
}

impl KnownCluster {
    fn shard(&self, primary: &Address) -> Option<&Shard> {
        self.map.shards.iter().find(|shard| shard.primary == *primary)
    }

    fn replicas(&self, of: &Address) -> &[Address] {
        self.shard(of).map(|shard| shard.replicas.as_slice()).unwrap_or_default()
    }

    fn ranges(&self, of: &Address) -> &[SlotRange] {
        self.shard(of).map(|shard| shard.ranges.as_slice()).unwrap_or_default()
    }
}

#[async_trait]
impl Topology for Cluster {
    async fn check(&self, progress: &Progress) {
        let known = self.known.lock().clone();
        ClusterCheck::new(self, progress).run(known).await;
        if let Some(consensus) = &self.consensus {
            let known = self.known.lock().clone();
            if let Some(known) = known {
                consensus.compare(self, &known, progress).await;
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.known
            .lock()
            .as_ref()
            .is_none_or(|known| known.primaries.iter().all(|primary| primary.node.is_quiet()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_are_counted_within_a_second_and_not_by_rounds() {
        let entries = Entries(Mutex::new((Instant::now(), 0)));
        for _ in 0..3 {
            entries.add(1000);
            advance(Duration::from_millis(300)).await;
        }
        assert_eq!(entries.of_this_second(), 3000);
        advance(Duration::from_millis(100)).await;
        assert_eq!(entries.of_this_second(), 0);
        entries.add(8);
        assert_eq!(entries.of_this_second(), 8);
    }
}
