//! [`Replicas`]: each must show the primary's canary in time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{Value, cmd};
use tokio::time::{Instant, sleep_until};

use super::{NodeFactory, Topology, announced};
use crate::cache::redis::{Query, Redis, Requirement};
use crate::cache::{Cache as _, SetupError};
use crate::canary::{CanaryVerdict, Unset};
use crate::check::Node;
use crate::check::round_trip::{self, WrittenCanary};
use crate::config::{self, Address, Login, Tls, WhichReplicas};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};

/// A server that takes writes, and may have replicas.
pub(super) struct Primary {
    address: Address,
    server: Redis,
    node: Node,
}

impl Primary {
    /// A primary with this `node`; `server` is for commands other than those on canaries.
    pub(super) fn new(address: &Address, server: Redis, node: Node) -> Self {
        Self { address: address.clone(), server, node }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }
}

/// A primary that the configuration names, and its replicas.
pub(super) struct Replicated {
    primary: Primary,
    replicas: Replicas,
}

impl Replicated {
    pub(super) fn new(primary: Primary, replicas: Replicas) -> Self {
        Self { primary, replicas }
    }
}

#[async_trait]
impl Topology for Replicated {
    async fn check(&self, progress: &Progress) {
        let node = self.primary.node();
        // Without the canary no replica can be judged, and the primary's fault is the alias'.
        if let Ok(Some(written)) = node.check(&progress.node(node.name(), Role::Server)).await {
            self.replicas.follow(&self.primary, &written, progress).await;
        }
    }

    fn is_quiet(&self) -> bool {
        self.primary.node().is_quiet() && self.replicas.are_quiet()
    }
}

/// The replicas of a primary.
pub(super) struct Replicas {
    factory: Arc<NodeFactory>,
    login: Arc<Login>,
    tls: Option<Tls>,
    discovered: bool,
    required: bool,
    within: Duration,
    known: Mutex<Vec<KnownReplica>>,
}

/// A replica that the configuration or a primary named.
struct KnownReplica {
    replica: Arc<Replica>,
    /// The time at which it was last named.
    named: Instant,
}

struct Replica {
    name: Arc<str>,
    address: Address,
    server: Redis,
    /// `true` if its login or TLS is not the primary's. Then it is another way in, even at the primary's address.
    has_own_login: bool,
}

/// The time for which a replica is checked after the primary last named it. `ROLE` names only replicas whose link is up.
/// A replica that is no longer named may have been removed, or have died, or have lost its link, and the latter two
/// must be reported.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The most replicas that are checked, however many a server names.
const MAX_KNOWN: usize = 128;

/// The most bytes of an answer to `ROLE`: room for far more replicas than are checked.
const ROLE_LIMIT: usize = 64 * 1024;

/// The value that a replica is expected to show.
const SHOWN: &str = "the value that was written to the primary";

/// The first pause between two looks at a replica; each is twice the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Replicas {
    pub(super) fn new(
        replicas: &config::ReplicasConfig,
        login: &Arc<Login>,
        tls: Option<&Tls>,
        factory: &Arc<NodeFactory>,
    ) -> Result<Self, SetupError> {
        let config::ReplicasConfig { which, required, within } = replicas;
        let (named, discovered) = match which {
            WhichReplicas::Named(named) => (named.as_slice(), false),
            WhichReplicas::Discovered => (&[][..], true),
        };
        let replicas = Self {
            factory: factory.clone(),
            login: login.clone(),
            tls: tls.cloned(),
            discovered,
            required: *required,
            within: *within,
            known: Mutex::default(),
        };
        for config::NamedServer { address, own, replicas: _ } in named {
            let known = match own.as_deref() {
                None => replicas.make(address)?,
                Some((login, tls)) => {
                    replicas.make_with(address, &Arc::new(login.clone()), tls.as_ref(), true)?
                }
            };
            replicas.known.lock().push(known);
        }
        Ok(replicas)
    }

    /// Reads each replica until it shows the primary's canary.
    pub(super) async fn follow(&self, primary: &Primary, written: &WrittenCanary, progress: &Progress) {
        if self.discovered {
            self.discover(primary, progress).await;
        }
        join_all(self.present(primary).into_iter().map(|replica| {
            let progress = progress.node(&replica.name, Role::Replica);
            async move { progress.conclude(self.look(&replica, written, &progress).await) }
        }))
        .await;
    }

    /// `true` if nothing has come over their kept connections.
    pub(super) fn are_quiet(&self) -> bool {
        self.known.lock().iter().all(|known| known.replica.server.is_quiet())
    }

    /// The replicas to check now. After a failover, the primary may be a former replica.
    fn present(&self, primary: &Primary) -> Vec<Arc<Replica>> {
        let replicas = self.known.lock();
        let replicas = replicas.iter().map(|known| &known.replica);
        let is_another =
            |replica: &&Arc<Replica>| replica.has_own_login || replica.address != *primary.address();
        replicas.filter(is_another).cloned().collect()
    }

    /// Asks the primary for its replicas. Until they are known, one node of the check stands for them.
    async fn discover(&self, primary: &Primary, progress: &Progress) {
        let all = progress.node(&format!("replicas of {}", primary.address()).into(), Role::Replica);
        let role = Query {
            command: &cmd("ROLE"),
            limit: ROLE_LIMIT,
            expected: "master, with its replicas",
            part: "the list of replicas",
        };
        let answer = match primary.server.ask(&role, &all).await {
            Ok(answer) => answer,
            Err(fault) => return all.conclude(Err(fault)),
        };
        let remembered = match named(&answer) {
            Some(addresses) => self.remember(&addresses, &all),
            None => Err(all.fault(Cause::Protocol, "the answer to ROLE does not list a primary's replicas")),
        };
        match remembered {
            Ok(()) if self.required && self.present(primary).is_empty() => {
                all.conclude(Err(all.fault(Cause::Unreachable, "the primary has no replica")));
            }
            Ok(()) => all.withdraw(),
            Err(fault) => all.conclude(Err(fault)),
        }
    }

    /// Records the replicas that the primary names, and forgets those that it has not named for long.
    fn remember(&self, addresses: &[Address], all: &NodeProgress) -> Result<(), Fault> {
        let mut replicas = self.known.lock();
        replicas.retain(|known| known.named.elapsed() < REMEMBERED);
        for address in addresses {
            if let Some(known) = replicas.iter_mut().find(|known| known.replica.address == *address) {
                known.named = Instant::now();
            } else if replicas.len() < MAX_KNOWN {
                let made = self.make(address);
                replicas.push(
                    made.map_err(|error| all.fault(Cause::Tls, &all.redaction().host(&error.to_string())))?,
                );
            } else {
                let said =
                    format!("the primary lists more than {MAX_KNOWN} replicas, the most that are checked");
                return Err(all.fault(Cause::Protocol, &said));
            }
        }
        Ok(())
    }

    fn make(&self, address: &Address) -> Result<KnownReplica, SetupError> {
        self.make_with(address, &self.login, self.tls.as_ref(), false)
    }

    fn make_with(
        &self,
        address: &Address,
        login: &Arc<Login>,
        tls: Option<&Tls>,
        has_own_login: bool,
    ) -> Result<KnownReplica, SetupError> {
        let server = self.factory.redis(address, Requirement::Any, login, tls)?;
        let (name, address) = (self.factory.name(address), address.clone());
        let replica = Replica { name, address, server, has_own_login };
        Ok(KnownReplica { replica: Arc::new(replica), named: Instant::now() })
    }

    /// Reads the canary's key until the canary is there, or until the replica's time is up.
    async fn look(
        &self,
        replica: &Replica,
        written: &WrittenCanary,
        progress: &NodeProgress,
    ) -> Result<(), Fault> {
        let WrittenCanary { canary, at } = written;
        let due = *at + self.within;
        let mut pause = FIRST_PAUSE;
        let mut asked = Instant::now();
        let mut read = replica.server.get_first(canary.key(), Unset::new(), SHOWN, progress).await?;
        loop {
            let waited = at.elapsed();
            let found = match canary.judge(&read) {
                CanaryVerdict::Intact => {
                    progress.lagged(waited);
                    return Ok(());
                }
                CanaryVerdict::Masked { .. } => "the read found no value".to_owned(),
                CanaryVerdict::Stale { age, .. } => {
                    format!("the read found a canary that is {} ms older", age.as_millis())
                }
                // These are no effects of replica lag.
                other @ (CanaryVerdict::Foreign { .. } | CanaryVerdict::Corrupt { .. }) => {
                    return Err(round_trip::fault(&other, progress));
                }
            };
            let said = format!("{found}, {} ms after the primary's write", waited.as_millis());
            let behind = Fault::new(Cause::Behind, Phase::Read, &said);
            // The last read begins once the time is up, however long the dial or the read before took.
            if asked >= due {
                return Err(behind);
            }
            progress.foresee(Some(behind));
            sleep_until(due.min(Instant::now() + pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            asked = Instant::now();
            read = replica.server.get(canary.key(), Unset::new(), progress).await?;
        }
    }
}

/// The replicas in a primary's answer to `ROLE`: `master`, an offset, and a list with host, port and offset of
/// each (Redis' commands, ROLE, "Master output"). A replica whose host and port are no address is left out: it hides none
/// of the others.
pub(super) fn named(answer: &Value) -> Option<Vec<Address>> {
    let Value::Array(elements) = answer else { return None };
    let [Value::BulkString(role), _, Value::Array(replicas)] = elements.as_slice() else { return None };
    if role != b"master" {
        return None;
    }
    let address = |replica: &Value| match replica {
        Value::Array(replica) if let [host, port, ..] = replica.as_slice() => {
            Some(announced::address(host, port))
        }
        _ => None,
    };
    let addresses: Option<Vec<_>> = replicas.iter().map(address).collect();
    Some(addresses?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Alias;
    use crate::cache::Dialer;
    use crate::check::{CheckContext, Server};
    use crate::config::{Config, RedisServers};
    use crate::redaction::Redaction;

    fn at(port: u16) -> Address {
        Address::Tcp { host: "cache".to_owned(), port }
    }

    /// The replicas that a primary at port 1 names.
    fn discovered() -> (Primary, Replicas) {
        let config = Config::default();
        let alias = Alias::try_from("main").unwrap();
        let dialer = Arc::new(Dialer::new(&config, Arc::default()));
        let factory = Arc::new(NodeFactory::new(
            &CheckContext::new(&config, &alias, &dialer),
            &(Arc::new(|cache| cache) as _),
            &Redaction::none(),
        ));
        let mut redis = config::RedisConfig::at(RedisServers::Standalone(at(1)));
        redis.replicas.which = WhichReplicas::Discovered;
        let login = Arc::new(Login::default());
        let server = factory.redis(&at(1), Requirement::Any, &login, None).unwrap();
        let node = factory.node(&at(1), Server::Redis(server.clone()), 1);
        (Primary::new(&at(1), server, node), Replicas::new(&redis.replicas, &login, None, &factory).unwrap())
    }

    fn remember(replicas: &Replicas, ports: impl IntoIterator<Item = u16>) -> Result<(), Fault> {
        let progress = Progress::begin().node(&"replicas".into(), Role::Replica);
        replicas.remember(&ports.into_iter().map(at).collect::<Vec<_>>(), &progress)
    }

    fn present(primary: &Primary, replicas: &Replicas) -> Vec<String> {
        replicas.present(primary).iter().map(|replica| replica.name.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_named_no_more_is_forgotten_in_the_end() {
        let (primary, replicas) = discovered();
        remember(&replicas, [2, 3]).unwrap();
        tokio::time::advance(REMEMBERED / 2).await;
        remember(&replicas, [3]).unwrap();
        assert_eq!(present(&primary, &replicas), ["cache:2", "cache:3"]);
        tokio::time::advance(REMEMBERED / 2).await;
        remember(&replicas, []).unwrap();
        assert_eq!(present(&primary, &replicas), ["cache:3"]);
    }

    #[tokio::test]
    async fn the_primary_is_no_replica_of_itself() {
        let (primary, replicas) = discovered();
        remember(&replicas, [1, 2]).unwrap();
        assert_eq!(present(&primary, &replicas), ["cache:2"]);
    }

    #[tokio::test]
    async fn a_bounded_number_of_replicas_is_checked() {
        let (primary, replicas) = discovered();
        let fault = remember(&replicas, 2..1000).unwrap_err();
        assert_eq!(fault.cause, Cause::Protocol);
        assert_eq!(present(&primary, &replicas).len(), MAX_KNOWN);
    }

    #[test]
    fn only_a_primary_names_replicas() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let replica = |host, port| Value::Array(vec![bulk(host), bulk(port), bulk("14")]);
        let role = |role, replicas| Value::Array(vec![bulk(role), Value::Int(14), Value::Array(replicas)]);
        assert_eq!(named(&role("master", vec![])), Some(vec![]));
        assert_eq!(named(&role("master", vec![replica("cache", "2")])), Some(vec![at(2)]));
        let unusable = [replica("", "2"), replica("cache", "0"), replica("?", "x"), replica("cache", "2")];
        assert_eq!(named(&role("master", unusable.to_vec())), Some(vec![at(2)]));
        let no_primary = Value::Array(vec![bulk("slave"), bulk("cache"), Value::Int(1), bulk("connected")]);
        let lies = [
            no_primary,
            role("slave", vec![]),
            role("master", vec![Value::Nil]),
            role("master", vec![Value::Array(vec![bulk("cache")])]),
            Value::Array(vec![bulk("master")]),
            Value::Okay,
        ];
        for lie in lies {
            assert_eq!(named(&lie), None, "{lie:?}");
        }
    }
}
