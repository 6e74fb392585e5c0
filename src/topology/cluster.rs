//! A Redis cluster: each of its primaries is a node, with canaries in slots that it owns.
//!
//! `slots` is who owns which slots, `view` what one node says of that, `survey` asks some for it, and `check` is
//! the check of all of it. Between checks nothing happens; the map is asked for again in a check that needs it.

mod check;
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
use redirect::Redirect;
use slots::{AT_A_TIME, AnnouncedHosts, Shard, SlotMap, SlotRange, Tag};
use view::ClusterInfo;

/// A cluster, as it was found by the last check.
pub(super) struct Cluster {
    seeds: Vec<Address>,
    spray: usize,
    nodes: Arc<Nodes>,
    /// None until a check has found a primary.
    known: Mutex<Option<Arc<KnownCluster>>>,
    entries: Entries,
}

/// How many entries of maps were read in the second that is under way.
struct Entries(Mutex<(Instant, usize)>);

/// How its nodes are dialled.
struct Nodes {
    announce: Announce,
    login: Arc<Login>,
    tls: Option<Tls>,
    factory: NodeFactory,
}

/// What is known of a cluster.
struct KnownCluster {
    /// In short, from the node that told the map.
    sight: ClusterInfo,
    map: Arc<SlotMap>,
    /// The slots that nobody owns.
    gaps: Vec<SlotRange>,
    /// The primary of each of the map's shards.
    primaries: Vec<Arc<ClusterPrimary>>,
}

/// A primary, and the node that it is.
struct ClusterPrimary {
    address: Address,
    server: Redis,
    node: Node,
    /// What puts the canaries into its slots, one for each series.
    tags: Vec<Tag>,
    /// The slots that it owned when it was made a node.
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
            nodes: Arc::new(Nodes {
                announce,
                login: Arc::new(redis.login.clone()),
                tls: redis.tls.clone(),
                factory,
            }),
            known: Mutex::default(),
            entries: Entries(Mutex::new((Instant::now(), 0))),
        };
        // What is wrong with a seed is said at the start.
        for seed in seeds {
            cluster.nodes.server(seed, Requirement::Any)?;
        }
        Ok(cluster)
    }

    /// Takes in a map. A primary stays the node that it was, with its connection and its series, as long as it
    /// owns the slots of its canaries; slots in `avoided` are left where it has others. Others have their turn between some
    /// primaries and the next.
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
                // With tags that it has had, there is nothing to change.
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

    /// The node that a primary is, with the server that it was before.
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

    /// How long a primary is waited for before it is found out whether it still is one.
    fn slow(&self) -> Duration {
        budget::SLOW_PRIMARY.of(self.nodes.factory.timeout())
    }

    /// Between two looks at a slot that one primary has let go and another has not taken yet.
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

    /// How the addresses that a node announces are taken.
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
    /// Whether it matters for what is done to it that the slots of the shard are not those that it had.
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
    async fn entries_are_counted_within_a_second_whatever_the_rounds() {
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
