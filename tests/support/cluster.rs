//! A real Redis Cluster, and the states that it can be put into.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Client, Redis, eventually};

/// The slots of the three primaries that a cluster begins with.
pub const THIRDS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// How long a node may be silent before the others take it for failed, in milliseconds: longer than a busy
/// machine makes it wait, so that only a test that is about failing nodes has any.
const NODE_TIMEOUT: &str = "3000";

/// The argument for a test that waits for a failover.
pub const SOON_FAILED: &[&str] = &["--cluster-node-timeout", "1000"];

/// A cluster: nodes 0, 1 and 2 begin as primaries with a third of the slots each, and 3, 4 and 5, where there
/// are any, as their replicas.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Redis>,
    args: Vec<String>,
}

impl Cluster {
    /// Three primaries and three replicas, each started with these arguments after the harness' own.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(3, args)
    }

    /// Three primaries alone.
    pub fn start_without_replicas(args: &[&str]) -> Self {
        Self::start_with(0, args)
    }

    fn start_with(replicas: usize, args: &[&str]) -> Self {
        // A replica copies its primary's data again at once, and takes over whatever the delay since the last
        // word from it was.
        let own = ["--cluster-node-timeout", NODE_TIMEOUT, "--cluster-replica-validity-factor", "0"];
        let args: Vec<String> = own.iter().chain(args).map(|&arg| arg.to_owned()).collect();
        let mut cluster = Self { nodes: Vec::new(), args };
        for _ in 0..3 + replicas {
            cluster.start_node();
        }
        for (node, (first, last)) in THIRDS.into_iter().enumerate() {
            let [first, last] = [first, last].map(|slot| slot.to_string());
            cluster.nodes[node].command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for node in 1..cluster.nodes.len() {
            cluster.meet(node);
        }
        cluster.wait_until_all_know(cluster.nodes.len());
        for replica in 3..cluster.nodes.len() {
            let primary = cluster.id(replica - 3);
            cluster.nodes[replica].command(&["CLUSTER", "REPLICATE", &primary]);
        }
        cluster.wait_until_whole();
        for replica in 3..cluster.nodes.len() {
            cluster.wait_until_replica(replica);
        }
        cluster
    }

    /// Starts one more node, which knows no other and owns no slots; its number.
    fn start_node(&mut self) -> usize {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let node = Redis::start_cluster_node(&args);
        // Otherwise the nodes, all of which begin with epoch 0, settle who has which when they meet.
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(self.nodes.len() + 1).to_string()]);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Starts one more primary and makes it known, without slots; its number.
    pub fn add_primary(&mut self) -> usize {
        let node = self.start_node();
        self.meet(node);
        self.wait_until_all_know(self.nodes.len());
        self.wait_until_whole();
        node
    }

    /// Makes a node known to all before it.
    fn meet(&self, node: usize) {
        let (port, bus) = (self.nodes[node].port().to_string(), self.nodes[node].bus_port().to_string());
        for other in &self.nodes[..node] {
            other.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
    }

    fn wait_until_all_know(&self, count: usize) {
        let known = format!("cluster_known_nodes:{count}\r");
        eventually("every node knows every other", || {
            self.nodes.iter().all(|node| {
                let nodes = node.command(&["CLUSTER", "NODES"]);
                node.command(&["CLUSTER", "INFO"]).contains(&known) && !nodes.contains("handshake")
            })
        });
    }

    /// Waits until every node serves, and all agree about the slots.
    pub fn wait_until_whole(&self) {
        eventually("every node serves", || self.nodes.iter().all(Self::serves));
        self.wait_until_agreed();
    }

    /// Waits until every node that answers says the same of the slots.
    pub fn wait_until_agreed(&self) {
        eventually("the nodes agree about the slots", || {
            let owners: Vec<_> = self.nodes.iter().map(owners).collect();
            owners.windows(2).all(|pair| pair[0] == pair[1])
        });
    }

    /// Whether a node says that its cluster serves.
    pub fn serves(node: &Redis) -> bool {
        node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    }

    /// Waits until a replica has its primary's data.
    pub fn wait_until_replica(&self, replica: usize) {
        let node = &self.nodes[replica];
        eventually("a replica has its link", || {
            node.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }

    /// Waits until a node is a primary with slots, by its own word.
    pub fn wait_until_primary(&self, node: usize) {
        eventually("a replica takes over", || self.is_primary(node));
    }

    fn is_primary(&self, node: usize) -> bool {
        let addr = self.addr(node).to_string();
        let node = &self.nodes[node];
        node.info("role") == "master" && owners(node).values().any(|owner| *owner == addr)
    }

    /// The address of a node.
    pub fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].addr()
    }

    /// The ID of a node in the cluster.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].command(&["CLUSTER", "MYID"])
    }

    /// A URL that names all the nodes.
    pub fn url(&self) -> String {
        self.url_of(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// A URL that names these nodes.
    pub fn url_of(&self, seeds: &[usize]) -> String {
        let seeds: Vec<_> = seeds.iter().map(|&seed| self.addr(seed).to_string()).collect();
        format!("redis+cluster://{}", seeds.join(","))
    }

    /// Lets a replica take over from its primary, which is well.
    pub fn fail_over_to(&self, replica: usize) {
        // The others may not vote for it at once, and then it gives up after a while.
        const ONCE_MORE: Duration = Duration::from_secs(3);
        let mut asked = None::<Instant>;
        eventually("a replica takes over", || {
            if asked.is_none_or(|asked| asked.elapsed() > ONCE_MORE) {
                // It is an error where it has become a primary just now.
                let _ = self.nodes[replica].try_command(&["CLUSTER", "FAILOVER"]);
                asked = Some(Instant::now());
            }
            self.is_primary(replica)
        });
    }

    /// Begins to move a slot: keys that are not there yet are asked for at `to`.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves the keys of a slot that is being moved.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                return;
            }
            for key in keys.lines() {
                let migrate = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000", "REPLACE"];
                self.nodes[from].command(&[&migrate[..], &["AUTH2", "harness", "harness"]].concat());
            }
        }
    }

    /// Hands a slot over whose keys were moved: first to the one that takes it, as the documentation of
    /// CLUSTER SETSLOT says.
    pub fn hand_over(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        let command = ["CLUSTER", "SETSLOT", &slot, "NODE", &id];
        self.nodes[to].command(&command);
        // With its last slot gone it becomes a replica as soon as it hears of that, and is told in vain.
        let told = self.nodes[from].try_command(&command);
        assert!(told.is_ok() || self.nodes[from].info("role") == "slave", "{told:?}");
    }

    /// Moves slots with their keys, one after the other.
    pub fn move_slots(&self, slots: impl IntoIterator<Item = u16>, from: usize, to: usize) {
        for slot in slots {
            self.begin_to_move(slot, from, to);
            self.move_keys(slot, from, to);
            self.hand_over(slot, from, to);
        }
    }

    /// Takes slots from their owner, the first node here, so that on these nodes nobody owns them.
    pub fn lose_slots(&self, first: u16, last: u16, nodes: &[usize]) {
        let assigned = format!("cluster_slots_assigned:{}\r", 16_384 - u32::from(last - first) - 1);
        let [first, last] = [first, last].map(|slot| slot.to_string());
        // A word from the owner that was on its way gives them back to it.
        eventually("slots have no owner", || {
            let owned = |node: &&usize| !self.nodes[**node].command(&["CLUSTER", "INFO"]).contains(&assigned);
            let owning: Vec<_> = nodes.iter().filter(owned).collect();
            for &&node in &owning {
                self.nodes[node].command(&["CLUSTER", "DELSLOTSRANGE", &first, &last]);
            }
            owning.is_empty()
        });
    }

    /// Gives slots that nobody owns to a node; all of them serve on return.
    pub fn regain_slots(&self, first: u16, last: u16, node: usize) {
        let [first, last] = [first, last].map(|slot| slot.to_string());
        self.nodes[node].command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        self.wait_until_whole();
    }

    /// Whether a client can write a key of this slot at one of these nodes by now.
    pub fn takes_writes(&self, slot: u16, nodes: &[usize]) -> bool {
        let key = format!("writer:{{{}}}", tag_of(slot));
        nodes.iter().any(|&node| {
            let answer = quick_client(self.addr(node))
                .and_then(|mut client| client.try_ask(&["SET", &key, "1", "EX", "60"]));
            matches!(answer, Ok(Ok(_)))
        })
    }
}

/// Which primary a node takes for the owner of which slots: by the first and last of them.
fn owners(node: &Redis) -> HashMap<String, String> {
    let nodes = node.command(&["CLUSTER", "NODES"]);
    let mut owners = HashMap::new();
    for line in nodes.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let addr = words[1].split('@').next().unwrap_or_default();
        for slots in words.iter().skip(8).filter(|word| !word.starts_with('[')) {
            owners.insert((*slots).to_owned(), addr.to_owned());
        }
    }
    owners
}

/// A client that gives up soon.
fn quick_client(addr: SocketAddr) -> std::io::Result<Client<std::net::TcpStream>> {
    const MAX_WAIT: Duration = Duration::from_millis(200);
    let stream = std::net::TcpStream::connect_timeout(&addr, MAX_WAIT)?;
    stream.set_read_timeout(Some(MAX_WAIT))?;
    Ok(Client::over(stream))
}

/// A hash tag that puts a key into this slot.
pub fn tag_of(slot: u16) -> String {
    let tags = (0..1_000_000).map(|number: u32| number.to_string());
    tags.into_iter().find(|tag| slot_of(tag) == slot).expect("a tag for every slot")
}

/// The slot of what a hash tag holds: its CRC16 as of XMODEM, modulo 16384.
pub fn slot_of(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}
