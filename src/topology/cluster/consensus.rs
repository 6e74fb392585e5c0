//! [`ClusterConsensus`]: the maps of all nodes of a cluster, compared with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redis::cmd;

use super::slots::{AnnouncedHosts, SLOTS, SlotRange, list};
use super::{Cluster, KnownCluster};
use crate::budget;
use crate::cache::redis::{Query, Redis, Requirement};
use crate::config::Address;
use crate::mutex::Mutex;
use crate::outcome::Role;
use crate::progress::{NodeProgress, Progress};
use crate::topology::announced;
use crate::topology::consensus::{Account, Consensus, Difference};

/// The most bytes of an answer to `CLUSTER NODES`: some 150 for each node, and 12 for each of its ranges.
const LIMIT: usize = 4 * 1024 * 1024;

/// The most replicas that are asked; the specification recommends no more than about 1,000 nodes.
const MOST_REPLICAS: usize = 1_000;

/// The comparison of a cluster's nodes.
#[derive(Default)]
pub(super) struct ClusterConsensus {
    consensus: Consensus<NodeMap>,
    /// The replicas that the first primary lists, with their kept connections. `CLUSTER SLOTS` leaves out a replica whose
    /// offset is still 0.
    replicas: Mutex<BTreeMap<Arc<str>, (Address, Redis)>>,
}

/// A node's map of its cluster ("CLUSTER NODES", Serialization format).
#[derive(Default)]
pub(super) struct NodeMap {
    nodes: BTreeMap<Arc<str>, MappedNode>,
    /// The ID of the owner of each slot.
    owners: Vec<Option<Arc<str>>>,
    pub(super) replicas: Vec<Address>,
}

/// A node on the map.
struct MappedNode {
    /// The name under which the sidecar would list it.
    name: Arc<str>,
    /// `None` if the node that was asked does not reach it, which is its own opinion.
    is_alive: Option<bool>,
    /// The epoch of its slots, if it has any.
    epoch: Option<u64>,
}

impl ClusterConsensus {
    /// Compares the primaries that have passed, and the replicas.
    pub(super) async fn compare(&self, cluster: &Cluster, known: &KnownCluster, progress: &Progress) {
        let factory = &cluster.nodes.factory;
        let passed: BTreeSet<_> = progress.passed().into_iter().collect();
        let primaries = known.primaries.iter().filter(|primary| passed.contains(primary.node.name()));
        let primaries = primaries.map(|primary| (primary.address.clone(), primary.server.clone()));
        let replicas = self.replicas.lock().clone().into_iter().filter(|(name, _)| !passed.contains(name));
        let asked: Vec<_> = primaries.chain(replicas.map(|(_, replica)| replica)).collect();
        let names: Vec<_> = asked.iter().map(|(address, _)| factory.name(address)).collect();
        // The queries are steps of the check, and have no verdict.
        let whole = progress.node(&"consensus".into(), Role::Server);
        whole.withdraw();
        let ask = |place: usize| {
            let ((address, server), aside) = (&asked[place], whole.beside(&names[place]));
            async move {
                let map = NodeMap::ask(server, cluster, address, &aside).await?;
                if place == 0 {
                    self.learn(cluster, &map);
                }
                Some(map)
            }
        };
        let limit = budget::CONSENSUS.of(factory.timeout());
        self.consensus.compare(("node", &names), limit, progress, ask).await;
    }

    /// Takes the replicas of a map. A replica keeps its server as long as it is listed.
    fn learn(&self, cluster: &Cluster, map: &NodeMap) {
        let mut kept = self.replicas.lock();
        let replica = |address: &Address| {
            let name = cluster.nodes.factory.name(address);
            let server = kept.get(&name).map(|(_, server)| server.clone());
            let server = server.or_else(|| cluster.nodes.server(address, Requirement::Any).ok())?;
            Some((name, (address.clone(), server)))
        };
        let replicas = map.replicas.iter().take(MOST_REPLICAS).filter_map(replica).collect();
        *kept = replicas;
    }
}

impl NodeMap {
    async fn ask(server: &Redis, cluster: &Cluster, at: &Address, progress: &NodeProgress) -> Option<Self> {
        let mut command = cmd("CLUSTER");
        let (expected, part) = ("the same map as of the other nodes", "the comparison of the nodes' maps");
        let query = Query { command: command.arg("NODES"), limit: LIMIT, expected, part };
        let answer = server.ask(&query, progress).await.ok()?;
        let name = |address: &Address| cluster.nodes.factory.name(address);
        Self::parse(announced::text(&answer)?, cluster.nodes.hosts(at), name)
    }

    pub(super) fn parse(
        text: &str,
        hosts: AnnouncedHosts<'_>,
        name: impl Fn(&Address) -> Arc<str>,
    ) -> Option<Self> {
        let mut map = Self { owners: vec![None; usize::from(SLOTS)], ..Self::default() };
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [id, at, flags, _primary, _ping, _pong, epoch, _link, slots @ ..] = &*words else {
                return None;
            };
            let has = |flag| flags.split(',').any(|other| other == flag);
            // Others need not know of a node that is only now introduced, or has lost its address.
            if has("handshake") || has("noaddr") {
                continue;
            }
            let (host, port) = at.split(['@', ',']).next()?.rsplit_once(':')?;
            let address = hosts.address(Some(host), port.parse().ok()?);
            let id: Arc<str> = (*id).into();
            // A slot that migrates is in brackets, beside those of its owner.
            let owned: Vec<_> = slots.iter().filter(|range| !range.starts_with('[')).collect();
            for range in &owned {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                map.owners.get_mut(first.parse().ok()?..=last.parse().ok()?)?.fill(Some(id.clone()));
            }
            let epoch = epoch.parse().ok().filter(|_| !owned.is_empty());
            let is_alive = if has("fail?") { None } else { Some(!has("fail")) };
            let name = address.as_ref().map_or_else(|| id.clone(), &name);
            map.replicas.extend(address.filter(|_| has("slave") || has("replica")));
            map.nodes.insert(id, MappedNode { name, is_alive, epoch });
        }
        Some(map)
    }
}

impl Account for NodeMap {
    fn differences(&self, reference: &Self) -> Vec<Difference> {
        let mut moved = BTreeMap::<_, Vec<SlotRange>>::new();
        let owners = self.owners.iter().zip(&reference.owners);
        for (slot, owners) in (0..).zip(owners).filter(|(_, (here, there))| here != there) {
            let ranges = moved.entry(owners).or_default();
            match ranges.last_mut() {
                Some(range) if *range.end() + 1 == slot => *range = *range.start()..=slot,
                Some(_) | None => ranges.push(slot..=slot),
            }
        }
        let mut differences = Vec::new();
        let mut differ = |about: String, [says, others_say]: [String; 2], is_newer, by_gossip| {
            differences.push(Difference { about, says, others_say, is_newer, by_gossip });
        };
        for ((here, there), ranges) in moved {
            // Nodes may announce several names of one node.
            let node = |id: &Arc<str>| reference.nodes.get(id).or_else(|| self.nodes.get(id));
            let owners = [here, there].map(|id| id.as_ref().and_then(node));
            let names = owners.map(|owner| owner.map_or("no owner", |owner| &owner.name).to_owned());
            let [epoch, other] = owners.map(|owner| owner.and_then(|owner| owner.epoch));
            differ(list(&ranges), names, epoch > other, false);
        }
        for id in self.nodes.keys().chain(reference.nodes.keys()).collect::<BTreeSet<_>>() {
            let sides = [self, reference].map(|map| map.nodes.get(id));
            let Some(name) = sides[1].or(sides[0]).map(|node| &node.name) else { continue };
            // A node that joins after the failure of another one may never hear of that.
            let alive = sides.map(|node| node.map_or(Some(false), |node| node.is_alive));
            if let [Some(here), Some(there)] = alive
                && here != there
            {
                let words = alive.map(|is_alive| if is_alive == Some(true) { "alive" } else { "gone" });
                differ(format!("state of {name}"), words.map(str::to_owned), false, true);
            }
            let epochs = sides.map(|node| node.and_then(|node| node.epoch));
            if let [Some(here), Some(there)] = epochs
                && here != there
            {
                let words = [here, there].map(|epoch| epoch.to_string());
                differ(format!("epoch of {name}"), words, here > there, true);
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Announce;

    const HOSTS: AnnouncedHosts<'_> = AnnouncedHosts { announce: Announce::AsIs, asked: "asked" };

    fn parse(text: &str) -> Option<NodeMap> {
        NodeMap::parse(text, HOSTS, |address| address.to_string().into())
    }

    /// Two primaries and a replica, as the first of them says.
    const MAP: &str = "a 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460 [7->-b]\n\
                       b 10.0.0.2:6379@16379 master - 0 1796012936502 2 connected 5461-16382 16383\n\
                       c 10.0.0.3:6379@16379 slave a 0 1796012936503 1 connected\n";

    /// The differences between the map with this replaced and the map.
    fn said(from: &str, to: &str) -> Vec<(String, bool)> {
        assert!(MAP.contains(from), "{from}");
        let differences = parse(&MAP.replace(from, to)).unwrap().differences(&parse(MAP).unwrap());
        differences.into_iter().map(|difference| (difference.words(), difference.by_gossip)).collect()
    }

    fn told(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    fn by_gossip(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    #[test]
    fn slots_of_other_owners_are_listed_by_both_owners() {
        assert_eq!(
            said("0-5460 [7->-b]", "0-4 6-5460"),
            [told("slots 5: says no owner, others say 10.0.0.1:6379")]
        );
        let moved = "0-4 8-5460\nb 10.0.0.2:6379@16379 master - 0 1 2 connected 5 7 5461-16383\n";
        let maps = MAP.lines().filter(|line| !line.starts_with("b ")).collect::<Vec<_>>().join("\n");
        let other = parse(&maps.replace("0-5460 [7->-b]", moved.trim_end())).unwrap();
        let differences = other.differences(&parse(MAP).unwrap());
        let said: Vec<_> = differences.iter().map(|other| (other.words(), other.is_newer)).collect();
        assert_eq!(
            said,
            [
                ("slots 6: says no owner, others say 10.0.0.1:6379".to_owned(), false),
                ("slots 5, 7: says 10.0.0.2:6379, others say 10.0.0.1:6379".to_owned(), true),
            ]
        );
    }

    #[test]
    fn a_node_that_is_not_known_loses_its_slots() {
        let b = "b 10.0.0.2:6379@16379 master - 0 1796012936502 2 connected 5461-16382 16383\n";
        let unknown = by_gossip("state of 10.0.0.2:6379: says gone, others say alive");
        let slots = told("slots 5461-16383: says no owner, others say 10.0.0.2:6379");
        assert_eq!(said(b, ""), [slots, unknown]);
    }

    #[test]
    fn a_state_differs_only_if_both_sides_are_sure() {
        let state = |to: &str| said("slave a", to);
        assert_eq!(state("slave,fail a"), [by_gossip("state of 10.0.0.3:6379: says gone, others say alive")]);
        assert_eq!(state("slave,fail? a"), []);
        let unknown = by_gossip("state of 10.0.0.3:6379: says gone, others say alive");
        for lost in ["handshake -", "slave,noaddr a"] {
            assert_eq!(state(lost), std::slice::from_ref(&unknown));
        }
        let failed = parse(&MAP.replace("slave a", "slave,fail a")).unwrap();
        let without: Vec<_> = MAP.lines().take(2).collect();
        assert_eq!(parse(&without.join("\n")).unwrap().differences(&failed), []);
        assert_eq!(failed.differences(&parse(&without.join("\n")).unwrap()), []);
        let [difference] = &parse(MAP).unwrap().differences(&failed)[..] else { panic!() };
        assert_eq!(difference.words(), "state of 10.0.0.3:6379: says alive, others say gone");
    }

    #[test]
    fn what_each_node_says_in_its_own_way_is_no_difference() {
        assert_eq!(said("0 1796012936502", "1796012936999 0"), []);
        assert_eq!(said("myself,master", "master"), []);
        assert_eq!(said("[7->-b]", "[7->-b] [8-<-b]"), []);
        assert_eq!(said("10.0.0.2:6379@16379", "10.0.0.9:6379@16379,redis-2,,tls-port=0"), []);
        assert_eq!(said("10.0.0.1:6379", ":6379"), []);
        assert_eq!(
            said("1796012936503 1 connected", "1796012936503 0 disconnected"),
            [],
            "a replica's epoch"
        );
        let epoch = [by_gossip("epoch of 10.0.0.2:6379: says 9, others say 2")];
        assert_eq!(said("1796012936502 2", "1796012936502 9"), epoch);
    }

    #[test]
    fn a_text_that_is_no_map_is_none() {
        for wrong in [
            "a",
            "a b c",
            &MAP.replace("0-5460", "0-16384"),
            &MAP.replace("0-5460", "x"),
            "a :x@1 master - 0 0 1 connected",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
