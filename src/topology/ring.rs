//! Servers of memcached, each of which is a node: those in the configuration, those at the addresses of a DNS name,
//! and those that a configuration endpoint lists.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{AbortHandle, abortable, join, join_all, join3};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::few::{self, Turns};
use super::{NodeFactory, Topology};
use crate::budget;
use crate::cache::SetupError;
use crate::cache::memcached::{Configuration, Credentials, MAX_MEMBERS, Member, Memcached, NO_MEMBER};
use crate::check::{Node, Server};
use crate::config::{self, Address, MemcachedServers, Tls};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase, Quorum, Role};
use crate::progress::{NodeProgress, Progress};

/// A ring of servers.
pub(super) struct Ring {
    servers: RingServers,
    named: Vec<Node>,
    by_name: Vec<EveryAddress>,
    by_endpoint: Vec<Endpoint>,
    quorum: Quorum,
}

/// Makes the servers of a ring.
struct RingServers {
    factory: NodeFactory,
    tls: Option<Tls>,
    credentials: Option<Arc<Credentials>>,
    spray: usize,
}

/// All addresses of a DNS name.
struct EveryAddress {
    /// The name and the port, for display.
    name: Arc<str>,
    host: Arc<str>,
    port: u16,
    found: RingNodes,
}

/// The servers that a configuration endpoint lists.
struct Endpoint {
    name: Arc<str>,
    server: Memcached,
    found: RingNodes,
    versions: Mutex<Versions>,
}

/// The versions of the configurations that an endpoint has given.
#[derive(Debug, Default)]
struct Versions {
    /// That of the known servers.
    known: Option<u64>,
    /// That of its last answer, if it is older.
    older: Option<u64>,
}

/// What the version of an answer means for its servers.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// They are the present ones.
    Present,
    /// They are of the past: an address behind the endpoint's name has not heard of a change yet.
    Past,
    /// They are of the past, as in the answer before: either this address does not hear of changes, or the endpoint was
    /// created anew.
    PastAgain,
}

impl Versions {
    fn hear(&mut self, version: u64) -> Heard {
        if self.known.is_none_or(|known| known <= version) {
            self.take(version);
            return Heard::Present;
        }
        if self.older.replace(version) == Some(version) { Heard::PastAgain } else { Heard::Past }
    }

    fn take(&mut self, version: u64) {
        *self = Self { known: Some(version), older: None };
    }
}

/// The nodes that were last found, in the order of their members. A node keeps its connection and its canaries for
/// as long as it is found again.
#[derive(Default)]
struct RingNodes(Mutex<Vec<(Member, Arc<Node>)>>);

/// The check of one ring.
struct RingCheck<'a> {
    servers: &'a RingServers,
    progress: &'a Progress,
    /// The names of the nodes in this check. A server that is found in two ways is one node.
    checked: Mutex<HashSet<Arc<str>>>,
}

impl Ring {
    /// The configured ring. Nothing is looked up yet.
    pub(super) fn new(factory: NodeFactory, memcached: &config::MemcachedConfig) -> Result<Self, SetupError> {
        let config::MemcachedConfig { servers, quorum, login, tls, spray } = memcached;
        let credentials = login.clone().map(|(username, password)| Credentials { username, password });
        let made =
            RingServers { factory, tls: tls.clone(), credentials: credentials.map(Arc::new), spray: *spray };
        let (mut named, mut by_name, mut by_endpoint) = (Vec::new(), Vec::new(), Vec::new());
        for server in servers {
            match server {
                MemcachedServers::One(address) => named.push(made.node(address, None)?),
                MemcachedServers::EveryAddress { host, port } => {
                    let name = Address::Tcp { host: host.clone(), port: *port }.to_string();
                    let (name, host) = (name.into(), host.as_str().into());
                    by_name.push(EveryAddress { name, host, port: *port, found: RingNodes::default() });
                }
                MemcachedServers::Endpoint(address) => {
                    let (name, server) = (address.to_string().into(), made.server(address, None)?);
                    by_endpoint.push(Endpoint {
                        name,
                        server,
                        found: RingNodes::default(),
                        versions: Mutex::default(),
                    });
                }
            }
        }
        Ok(Self { servers: made, named, by_name, by_endpoint, quorum: *quorum })
    }
}

#[async_trait]
impl Topology for Ring {
    async fn check(&self, progress: &Progress) {
        // All are added before any is begun, so that a node whose turn has not come by the deadline is down.
        let added = self.named.iter().map(|node| (node, progress.node(node.name(), Role::Server)));
        let added: Vec<_> = added.collect();
        let named = few::join_all(added.len(), self.servers.max_wait(), |number| {
            added[number].0.check(&added[number].1)
        });
        if self.by_name.is_empty() && self.by_endpoint.is_empty() {
            named.await;
            return;
        }
        let checked = Mutex::new(self.named.iter().map(|node| node.name().clone()).collect());
        let ring_check = RingCheck { servers: &self.servers, progress, checked };
        let by_name = join_all(self.by_name.iter().map(|name| name.check(&ring_check)));
        let by_endpoint = join_all(self.by_endpoint.iter().map(|endpoint| endpoint.check(&ring_check)));
        let (_, by_name, by_endpoint) = join3(named, by_name, by_endpoint).await;
        if by_name.into_iter().chain(by_endpoint).all(|found| found) {
            self.conclude_too_few(&ring_check);
        }
    }

    fn is_quiet(&self) -> bool {
        let found = self.by_name.iter().map(|name| &name.found);
        let mut found = found.chain(self.by_endpoint.iter().map(|endpoint| &endpoint.found));
        self.named.iter().all(Node::is_quiet)
            && found.all(|found| found.lock().iter().all(|(_, node)| node.is_quiet()))
    }
}

impl Ring {
    /// Adds a fault if fewer servers were found than the quorum, even if all of them are up.
    fn conclude_too_few(&self, ring_check: &RingCheck<'_>) {
        let Quorum::AtLeast(least) = self.quorum else { return };
        let all = ring_check.checked.lock().len();
        let by_name = self.by_name.iter().map(|name| &name.name);
        let by_endpoint = self.by_endpoint.iter().map(|endpoint| &endpoint.name);
        if let Some(name) = by_name.chain(by_endpoint).next().filter(|_| all < least as usize) {
            let said = format!("{all} servers found, fewer than the quorum of {least}");
            let fault = Fault::new(Cause::Unresolvable, Phase::Resolve, &said);
            ring_check.progress.node(name, Role::Server).conclude(Err(fault));
        }
    }
}

impl RingServers {
    /// The longest delay of the others by servers that hang.
    fn max_wait(&self) -> Duration {
        budget::HANGING.of(self.factory.timeout())
    }

    /// A server; `name` is the expected name in its certificate, if it is not the address' host.
    fn server(&self, address: &Address, name: Option<&str>) -> Result<Memcached, SetupError> {
        self.factory.memcached(address, name, self.tls.as_ref(), self.credentials.as_ref())
    }

    fn node(&self, address: &Address, name: Option<&str>) -> Result<Node, SetupError> {
        let server = Server::Memcached(Arc::new(self.server(address, name)?));
        Ok(self.factory.node(address, server, self.spray))
    }
}

impl EveryAddress {
    /// Checks the servers at all present addresses of the name. `false` if it has none, and the name's own node stands
    /// for them.
    async fn check(&self, ring_check: &RingCheck<'_>) -> bool {
        let name = ring_check.progress.node(&self.name, Role::Server);
        match self.nodes(ring_check.servers, &name).await {
            Err(fault) => {
                name.conclude(Err(fault));
                false
            }
            Ok(nodes) => {
                name.withdraw();
                ring_check.check(nodes).await;
                true
            }
        }
    }

    async fn nodes(&self, servers: &RingServers, progress: &NodeProgress) -> Result<Vec<Arc<Node>>, Fault> {
        let addresses = servers.factory.dialer().resolve(&self.host, self.port, progress).await?;
        let member = |ip| Member { host: self.host.clone(), ip: Some(ip), port: self.port };
        let mut members: Vec<_> = addresses.iter().map(|address| member(address.ip())).collect();
        // A resolver may return them in another order each time, and some twice.
        members.sort_unstable();
        members.dedup();
        if members.len() > MAX_MEMBERS {
            return Err(progress.fault(Cause::Unresolvable, "the name has more than 1000 addresses"));
        }
        self.found.follow(members, servers, progress).await
    }
}

impl Endpoint {
    /// Checks the known servers while the endpoint is asked for its present ones. Without an answer, or with one of the
    /// past, only the known ones are checked. `false` if none is known either, and the endpoint's own node stands for them.
    async fn check(&self, ring_check: &RingCheck<'_>) -> bool {
        let known = self.found.lock().clone();
        if known.is_empty() {
            let server = ring_check.progress.node(&self.name, Role::Server);
            let asked = self.server.configuration(&server).await;
            return match self.follow(asked, ring_check.servers, &server).await {
                Err(fault) => {
                    server.conclude(Err(fault));
                    false
                }
                Ok((nodes, verdict)) => {
                    server.withdraw();
                    ring_check.progress.node(&self.name, Role::Endpoint).conclude(verdict);
                    ring_check.check(nodes).await;
                    true
                }
            };
        }
        let endpoint = ring_check.progress.node(&self.name, Role::Endpoint);
        let turns = Turns::of(known.len());
        let (checks, running): (Vec<_>, Vec<_>) = known
            .iter()
            .filter_map(|(member, node)| Running::begin(member, node.clone(), ring_check, &turns))
            .unzip();
        let checks = join_all(checks).map(drop).shared();
        let follow = async {
            let asked = self.server.configuration(&endpoint).await;
            if let Ok(told) = &asked
                && !self.is_present(told, &running, checks.clone(), ring_check.servers).await
            {
                return endpoint.conclude(verdict(told, &endpoint));
            }
            match self.follow(asked, ring_check.servers, &endpoint).await {
                Err(fault) => endpoint.conclude(Err(fault)),
                Ok((nodes, verdict)) => {
                    endpoint.conclude(verdict);
                    let there: HashSet<_> = nodes.iter().map(|node| Arc::as_ptr(node).addr()).collect();
                    let gone = |known: &&Running| !there.contains(&Arc::as_ptr(&known.node).addr());
                    running.iter().filter(gone).for_each(|known| known.end(ring_check));
                    ring_check.check(nodes).await;
                }
            }
        };
        join(checks.clone(), follow).await;
        true
    }

    /// `true` if the servers of this answer are to be followed: those of an older version only if it stays, and if a known
    /// server that it does not list fails.
    async fn is_present(
        &self,
        told: &Configuration,
        running: &[Running],
        checks: impl Future<Output = ()>,
        servers: &RingServers,
    ) -> bool {
        let heard = self.versions.lock().hear(told.version);
        match heard {
            Heard::Present => true,
            Heard::Past => false,
            Heard::PastAgain => {
                // A server that was removed may be silent for ever.
                let _ = timeout(budget::REMOVED.of(servers.factory.timeout()), checks).await;
                let fails = |known: &&Running| known.progress.verdict() != Some(Ok(()));
                let mut failing = running.iter().filter(fails);
                failing.any(|known| !told.members.contains(&known.member))
            }
        }
    }

    /// Takes over the servers of an answer: their nodes, and the verdict on the endpoint.
    async fn follow(
        &self,
        asked: Result<Configuration, Fault>,
        servers: &RingServers,
        progress: &NodeProgress,
    ) -> Result<(Vec<Arc<Node>>, Result<(), Fault>), Fault> {
        let told = asked?;
        self.versions.lock().take(told.version);
        let verdict = verdict(&told, progress);
        let mut members = told.members;
        members.sort_unstable();
        members.dedup();
        Ok((self.found.follow(members, servers, progress).await?, verdict))
    }
}

/// The verdict on an endpoint that has answered.
fn verdict(told: &Configuration, progress: &NodeProgress) -> Result<(), Fault> {
    if told.unusable == 0 {
        return Ok(());
    }
    let all = told.unusable + told.members.len();
    Err(progress.fault(Cause::Protocol, &format!("{NO_MEMBER}: {} of {all}", told.unusable)))
}

/// The check of a node that may turn out to be gone.
struct Running {
    member: Member,
    node: Arc<Node>,
    progress: Arc<NodeProgress>,
    check: AbortHandle,
}

impl Running {
    /// The check, and the means to end it; `None` if the node is being checked already.
    fn begin(
        member: &Member,
        node: Arc<Node>,
        ring_check: &RingCheck<'_>,
        turns: &Turns,
    ) -> Option<(impl Future<Output = ()> + use<>, Self)> {
        let progress = ring_check.claim(&node)?;
        let (check, handle) = abortable({
            let (node, progress) = (node.clone(), progress.clone());
            turns.clone().wait_for(async move { node.check(&progress).await })
        });
        let check = async {
            // The progress shows if the check was ended early.
            let _ = check.await;
        };
        Some((check, Self { member: member.clone(), node, progress, check: handle }))
    }

    /// Ends it, so that the ring's check does not wait for a removed server.
    fn end(&self, ring_check: &RingCheck<'_>) {
        ring_check.checked.lock().remove(self.node.name());
        self.progress.withdraw();
        self.check.abort();
    }
}

impl RingNodes {
    fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock().iter().map(|(_, node)| node.clone()).collect()
    }

    /// Keeps the nodes that are among `members`, drops the others and makes the missing ones. The members must be sorted
    /// and without duplicates. The task yields after every few members.
    async fn follow(
        &self,
        members: Vec<Member>,
        servers: &RingServers,
        progress: &NodeProgress,
    ) -> Result<Vec<Arc<Node>>, Fault> {
        /// The number of nodes that are processed before the task yields.
        const AT_A_TIME: usize = 64;
        let found = self.lock().clone();
        if found.iter().map(|(member, _)| member).eq(&members) {
            return Ok(self.nodes());
        }
        let mut nodes = Vec::with_capacity(members.len());
        for member in members {
            let node = match found.binary_search_by(|(known, _)| known.cmp(&member)) {
                Ok(place) => found[place].1.clone(),
                Err(_) => {
                    servers.node(&member.address(), Some(&member.host)).map(Arc::new).map_err(|error| {
                        progress.fault(Cause::Protocol, &progress.redaction().host(&error.to_string()))
                    })?
                }
            };
            nodes.push((member, node));
            if nodes.len() % AT_A_TIME == 0 {
                yield_now().await;
            }
        }
        *self.lock() = nodes;
        Ok(self.nodes())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Member, Arc<Node>)>> {
        self.0.lock()
    }
}

impl RingCheck<'_> {
    /// Adds a node to the check, unless it is in it already.
    fn claim(&self, node: &Node) -> Option<Arc<NodeProgress>> {
        let new = self.checked.lock().insert(node.name().clone());
        new.then(|| self.progress.node(node.name(), Role::Server))
    }

    /// Checks the nodes that are not in the check yet.
    async fn check(&self, nodes: Vec<Arc<Node>>) {
        let claim = |node: Arc<Node>| self.claim(&node).map(|progress| (node, progress));
        let claimed: Vec<_> = nodes.into_iter().filter_map(claim).collect();
        few::join_all(claimed.len(), self.servers.max_wait(), |number| {
            claimed[number].0.check(&claimed[number].1)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_of_the_past_until_it_is_given_twice_in_a_row() {
        let mut versions = Versions::default();
        let mut hear = |version| versions.hear(version);
        assert_eq!([12, 13, 13].map(&mut hear), [Heard::Present, Heard::Present, Heard::Present]);
        assert_eq!([12, 13, 12].map(&mut hear), [Heard::Past, Heard::Present, Heard::Past]);
        assert_eq!([12, 11, 11].map(&mut hear), [Heard::PastAgain, Heard::Past, Heard::PastAgain]);
        versions.take(11);
        assert_eq!(versions.hear(11), Heard::Present);
        assert_eq!(versions.hear(13), Heard::Present);
    }
}
