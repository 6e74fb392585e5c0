//! [`Sentinels`]: the current primary, as named by Sentinels; `disagreement` has what follows if they name several, and
//! `consensus` the comparison of their states.

mod consensus;
mod disagreement;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use redis::{Value, cmd};
use tokio::time::{Instant, timeout};

use super::consensus::Consensus;
use super::replicas::{Primary, Replicas};
use super::{NodeFactory, Topology, announced};
use crate::budget;
use crate::cache::redis::{Query, Redis, Requirement};
use crate::cache::{Cache as _, SetupError};
use crate::check::Server;
use crate::config::{self, Address, Login, Tls};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase, Role, advice, majority};
use crate::progress::{NodeProgress, Progress};
use consensus::SentinelState;

/// Sentinels, and the primary that they name.
///
/// All of them are asked in every check, so that the next check sees a failover or a lost Sentinel. The primary is the
/// one that most of the answers name. A Sentinel that names another one degrades the alias, unless it has only not heard of
/// a failover yet. Without a majority, the primary is the only server with that role that is named; if there are two, the
/// alias is down.
///
/// If none answers, the last known primary is still checked, since a connected application keeps its connections and
/// works. The alias is then degraded, since no failover is possible and no new client can find the primary. If no
/// primary was ever known, nothing can be checked, and the alias is down.
pub(super) struct Sentinels {
    watchers: Vec<SentinelNode>,
    /// Their name for the primary.
    name: Arc<str>,
    factory: Arc<NodeFactory>,
    login: Arc<Login>,
    tls: Option<Tls>,
    spray: usize,
    replicas: Replicas,
    /// The primary that was named last.
    known: Mutex<Option<Arc<Primary>>>,
    /// Only if it is configured, and for round trips.
    consensus: Option<Box<Consensus<SentinelState>>>,
}

/// One Sentinel.
struct SentinelNode {
    name: Arc<str>,
    server: Redis,
    said: Mutex<Option<Vote>>,
}

/// A Sentinel's answer.
#[derive(Debug, Clone)]
struct Vote {
    address: Address,
    /// The time of its first answer with this address since it last gave another.
    since: Instant,
}

impl SentinelNode {
    fn vote(&self, address: Address) -> Vote {
        let mut said = self.said.lock();
        match &*said {
            Some(vote) if vote.address == address => vote.clone(),
            Some(_) | None => said.insert(Vote { address, since: Instant::now() }).clone(),
        }
    }
}

/// One Sentinel in a check.
struct AskedSentinel<'a> {
    watcher: &'a SentinelNode,
    progress: Arc<NodeProgress>,
    /// Its last answer in this check.
    vote: Mutex<Option<Vote>>,
}

impl AskedSentinel<'_> {
    fn vote(&self) -> Option<Vote> {
        self.vote.lock().clone()
    }
}

/// The most bytes of an answer with one address; that of a server in protected mode has over a thousand.
const ADDRESS_LIMIT: usize = 4 * 1024;

impl Sentinels {
    /// Sentinels at these addresses that watch the primary called `name`; `redis` and `login` have the settings for dialing
    /// it.
    pub(super) fn new(
        sentinels: Vec<(&Address, Redis)>,
        name: &str,
        redis: &config::RedisConfig,
        login: Arc<Login>,
        factory: Arc<NodeFactory>,
    ) -> Result<Self, SetupError> {
        let watchers = sentinels.into_iter().map(|(address, server)| SentinelNode {
            name: address.to_string().into(),
            server,
            said: Mutex::default(),
        });
        Ok(Self {
            watchers: watchers.collect(),
            name: name.into(),
            replicas: Replicas::new(&redis.replicas, &login, redis.tls.as_ref(), &factory)?,
            consensus: (redis.consensus && factory.is_for_round_trips()).then(Box::default),
            factory,
            login,
            tls: redis.tls.clone(),
            spray: redis.spray,
            known: Mutex::default(),
        })
    }

    /// Checks the primary that the Sentinels name, or else the last known one, and its replicas. `unknown` is the primary's
    /// node until its address is known. The result is the address of the primary that was checked.
    async fn check(
        &self,
        named: Named,
        unknown: &NodeProgress,
        asked: &[AskedSentinel<'_>],
        progress: &Progress,
    ) -> Option<Address> {
        let address = match named {
            Named::Nobody => Ok(None),
            Named::One(address) => Ok(Some(address)),
            Named::Several => self.settle(asked).await.map(Some),
        };
        let primary = address.and_then(|address| match address {
            Some(address) => self.primary(&address, unknown),
            None => self.last_known().ok_or_else(|| no_known_primary(asked)),
        });
        let mut primary = match primary {
            Ok(primary) => primary,
            Err(fault) => {
                unknown.conclude(Err(fault));
                return None;
            }
        };
        unknown.withdraw();
        let node = progress.node(primary.node().name(), Role::Server);
        let mut written = primary.node().check(&node).await;
        if written.is_err()
            && let Some(address) = self.ask_again(asked).await
            && address != *primary.address()
        {
            // A failover has come between the Sentinels' answer and the write.
            primary = match self.primary(&address, &node) {
                Ok(primary) => primary,
                Err(fault) => {
                    node.conclude(Err(fault));
                    return None;
                }
            };
            node.withdraw();
            written = primary.node().check(&progress.node(primary.node().name(), Role::Server)).await;
        }
        if let Ok(Some(written)) = written {
            self.replicas.follow(&primary, &written, progress).await;
        }
        Some(primary.address().clone())
    }

    /// Asks the Sentinels that have answered in this check again.
    async fn ask_again(&self, asked: &[AskedSentinel<'_>]) -> Option<Address> {
        let answered = asked.iter().filter(|asked| asked.progress.verdict() == Some(Ok(())));
        let mut inquiry = self.inquire(answered);
        inquiry.decide().await;
        choose(&inquiry.votes).map(|(address, _)| address.clone())
    }

    fn inquire<'a>(&'a self, asked: impl Iterator<Item = &'a AskedSentinel<'a>>) -> Inquiry<'a> {
        let pending = asked.map(|asked| -> BoxFuture<'_, _> { Box::pin(self.ask(asked)) }).collect();
        Inquiry { pending, votes: Vec::new(), enough: majority(self.watchers.len()) }
    }

    /// Asks one Sentinel for the primary's address. The wait is limited to a quarter of the deadline, since the rest is left
    /// for the primary. It is half of the deadline if no primary is known, since then there is none to check without an
    /// answer.
    async fn ask(&self, AskedSentinel { watcher, progress, vote }: &AskedSentinel<'_>) -> Option<Vote> {
        let part = if self.known.lock().is_some() { budget::SENTINEL } else { budget::SENTINEL_ALONE };
        let limit = part.of(self.factory.timeout());
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        let query = Query {
            command: &command,
            limit: ADDRESS_LIMIT,
            expected: "the primary's address",
            part: "the primary's address at the Sentinels",
        };
        let answer = watcher.server.ask(&query, progress);
        let answer = if let Ok(answer) = timeout(limit, answer).await {
            answer.map_err(of_sentinel).and_then(|answer| self.named(&answer, progress))
        } else {
            let said = format!("no answer after {} ms", limit.as_millis());
            Err(progress.fault(Cause::TimedOut, &said))
        };
        let answer = answer.map(|address| watcher.vote(address));
        progress.conclude(answer.as_ref().map(|_| ()).map_err(Clone::clone));
        vote.lock().clone_from(&answer.as_ref().ok().cloned());
        answer.ok()
    }

    /// The address in a Sentinel's answer: a host and a port, or nil if it does not know the name (Redis'
    /// documentation, "High availability with Redis Sentinel", Obtaining the address of the current master).
    fn named(&self, answer: &Value, progress: &NodeProgress) -> Result<Address, Fault> {
        let address = match answer {
            Value::Nil => {
                // It is no fault of the Sentinel if the others do not know the name either: see `no_known_primary`.
                let said = format!("the Sentinels asked know no primary named {}", self.name);
                return Err(progress.fault(Cause::Unresolvable, &said).with_advice(advice::UNKNOWN_NAME));
            }
            answer => address_in(answer),
        };
        address.ok_or_else(|| progress.fault(Cause::Protocol, "the Sentinel's answer is not an address"))
    }

    /// The primary at this address; the known one if it has this address. The server itself must report that it is a
    /// primary, since the Sentinels' answers may be old.
    fn primary(&self, address: &Address, progress: &NodeProgress) -> Result<Arc<Primary>, Fault> {
        let mut known = self.known.lock();
        if let Some(primary) = &*known
            && primary.address() == address
        {
            return Ok(primary.clone());
        }
        let server = self
            .factory
            .redis(address, Requirement::Primary, &self.login, self.tls.as_ref())
            .map_err(|error| progress.fault(Cause::Tls, &progress.redaction().host(&error.to_string())))?;
        let node = self.factory.node(address, Server::Redis(server.clone()), self.spray);
        Ok(known.insert(Arc::new(Primary::new(address, server, node))).clone())
    }

    fn last_known(&self) -> Option<Arc<Primary>> {
        self.known.lock().clone()
    }
}

#[async_trait]
impl Topology for Sentinels {
    async fn check(&self, progress: &Progress) {
        // If the deadline strikes before the address is known, the alias still has a server that is down.
        let unknown = progress.node(&self.name, Role::Server);
        let asked: Vec<_> = self
            .watchers
            .iter()
            .map(|watcher| {
                let progress = progress.node(&watcher.name, Role::Sentinel);
                AskedSentinel { watcher, progress, vote: Mutex::default() }
            })
            .collect();
        let mut inquiry = self.inquire(asked.iter());
        let named = inquiry.decide().await;
        let ((), checked) = tokio::join!(inquiry.finish(), self.check(named, &unknown, &asked, progress));
        if let Some(checked) = checked {
            self.judge_others(&checked, &asked).await;
            self.compare(&checked, &asked, progress).await;
        }
    }

    fn is_quiet(&self) -> bool {
        let known = self.known.lock().clone();
        known.is_none_or(|primary| primary.node().is_quiet())
            && self.replicas.are_quiet()
            && self.watchers.iter().all(|watcher| watcher.server.is_quiet())
    }
}

/// The address in an answer of a host and a port.
fn address_in(answer: &Value) -> Option<Address> {
    let Value::Array(elements) = answer else { return None };
    let [host, port] = elements.as_slice() else { return None };
    announced::address(host, port)
}

/// Sentinels that were asked for the primary's address, all at once.
struct Inquiry<'a> {
    pending: FuturesUnordered<BoxFuture<'a, Option<Vote>>>,
    votes: Vec<Vote>,
    /// The number of equal votes after which the others are not waited for.
    enough: usize,
}

/// The address that Sentinels name.
enum Named {
    /// No Sentinel has answered.
    Nobody,
    /// All have named it, or most.
    One(Address),
    /// No address has a majority of the answers.
    Several,
}

impl Inquiry<'_> {
    /// The address that they name, as soon as enough agree, or else once all have answered or failed to.
    async fn decide(&mut self) -> Named {
        while let Some(vote) = self.pending.next().await {
            self.votes.extend(vote);
            if choose(&self.votes).is_some_and(|(_, votes)| votes >= self.enough) {
                break;
            }
        }
        match choose(&self.votes) {
            None => Named::Nobody,
            Some((address, votes)) if votes >= majority(self.votes.len()) => Named::One(address.clone()),
            Some(_) => Named::Several,
        }
    }

    /// Waits for the remaining answers.
    async fn finish(mut self) {
        while self.pending.next().await.is_some() {}
    }
}

/// The address with the most votes, and their number. If two have equally many, the one with the newest vote wins, since
/// a Sentinel that has not heard of a failover yet names the old primary.
fn choose(votes: &[Vote]) -> Option<(&Address, usize)> {
    let same = |vote: &Vote| votes.iter().filter(move |other| other.address == vote.address).count();
    let chosen = votes.iter().max_by_key(|vote| (same(vote), vote.since))?;
    Some((&chosen.address, same(chosen)))
}

/// The same fault, with the hint for a Sentinel.
fn of_sentinel(fault: Fault) -> Fault {
    match fault.cause {
        Cause::Auth => fault.with_advice(advice::SENTINEL_LOGIN),
        Cause::Forbidden if fault.advice == Some(advice::UNKNOWN_COMMAND) => fault
            .saying(&format!("the server is no Sentinel: {}", fault.said))
            .with_advice(advice::NO_SENTINEL),
        _ => fault,
    }
}

/// The fault of a primary whose address no Sentinel gave: that they do not know the name, which is no fault of theirs, or
/// the first faulty Sentinel's.
fn no_known_primary(asked: &[AskedSentinel<'_>]) -> Fault {
    let is_of_name = |fault: &Fault| (fault.cause, fault.phase) == (Cause::Unresolvable, Phase::Read);
    let mut unknown = None;
    for AskedSentinel { progress, .. } in asked {
        if let Some(Err(fault)) = progress.verdict().filter(|verdict| verdict.as_ref().is_err_and(is_of_name))
        {
            progress.conclude(Ok(()));
            unknown = Some(fault);
        }
    }
    if let Some(unknown) = unknown {
        return unknown;
    }
    let said = "no Sentinel gives the primary's address";
    let faulty = asked.iter().find_map(|asked| Some((&asked.watcher.name, asked.progress.verdict()?.err()?)));
    match faulty {
        Some((name, first)) => {
            let is_away = matches!(
                first.cause,
                Cause::Refused | Cause::TimedOut | Cause::Unreachable | Cause::Unresolvable
            );
            let advice = is_away.then_some(advice::SENTINELS_AWAY);
            first.saying(&format!("{said}; {name}: {}", first.said)).with_advice(first.advice.or(advice))
        }
        None => Fault::new(Cause::Unreachable, Phase::Resolve, said).with_advice(advice::SENTINELS_AWAY),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The choice if Sentinels name these ports, each with the seconds after which it first did.
    fn chosen(votes: &[(u16, u64)]) -> Option<(u16, usize)> {
        let began = Instant::now();
        let vote = |&(port, after): &(u16, u64)| Vote {
            address: Address::Tcp { host: "cache".to_owned(), port },
            since: began + Duration::from_secs(after),
        };
        let votes: Vec<_> = votes.iter().map(vote).collect();
        let port = |address: &Address| match address {
            Address::Tcp { port, .. } => *port,
            Address::Unix(_) => 0,
        };
        choose(&votes).map(|(address, votes)| (port(address), votes))
    }

    #[test]
    fn the_primary_is_the_address_that_most_sentinels_name() {
        assert_eq!(chosen(&[(1, 0), (2, 9), (1, 0)]), Some((1, 2)));
        assert_eq!(chosen(&[(2, 9), (1, 0), (1, 0)]), Some((1, 2)));
        assert_eq!(chosen(&[(1, 0)]), Some((1, 1)));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn on_a_tie_the_primary_is_the_address_that_was_named_last() {
        assert_eq!(chosen(&[(1, 0), (2, 9)]), Some((2, 1)));
        assert_eq!(chosen(&[(2, 9), (1, 0)]), Some((2, 1)));
        assert_eq!(chosen(&[(1, 0), (1, 9), (2, 4), (2, 5), (3, 10)]), Some((1, 2)));
    }
}
