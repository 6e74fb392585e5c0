//! [`Round`]: a round of checks over a cluster, which follows the cluster while it changes.
//!
//! Every primary that is known is checked. Where one has a fault, is slow, or sees another cluster than was
//! known, the map is asked for, once for each such reason, and the checks are brought in line with it. What
//! the map does not explain stands.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, FutureExt as _, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use super::slots::{Hosts, Range, list};
use super::view::{Sight, View};
use super::{Candidate, Cluster, Known, Primary};
use crate::check::round_trip::Node;
use crate::config::Address;
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};

/// How many times a primary is checked once more, because slots move. A client follows no more redirections
/// than about that.
const MOST_RESTARTS: u32 = 8;

/// How many times the map is asked for.
const MOST_SURVEYS: u32 = 8;

/// How many replicas of primaries that are in trouble are asked for the map.
const ASKED_REPLICAS: usize = 4;

/// How many primaries that are well are.
const ASKED_PRIMARIES: usize = 2;

pub(super) struct Round<'a> {
    cluster: &'a Cluster,
    progress: &'a Progress,
    /// What is true of the cluster, and of none of its nodes.
    whole: Arc<NodeProgress>,
    known: Option<Arc<Known>>,
    /// Whether the map was asked for because it has gaps.
    gaps_considered: bool,
    /// How many times it may yet be asked for.
    surveys: u32,
    /// Why it is not known what the cluster is by now, where no primary's own fault says that.
    lost: Option<Fault>,
    /// Slots that are on their way to another primary.
    avoided: BTreeSet<u16>,
    checks: Vec<Check>,
    running: FuturesUnordered<BoxFuture<'a, Result<(usize, Found), Aborted>>>,
}

/// The check of one primary.
struct Check {
    primary: Arc<Primary>,
    progress: Arc<NodeProgress>,
    state: State,
    /// Whether the map was asked for since it is as it is.
    considered: bool,
    restarts: u32,
    /// Whether it is no primary any more.
    gone: bool,
}

enum State {
    /// It runs, and is slow from then on.
    Running { handle: AbortHandle, slow_from: Instant },
    /// It has ended; its verdict stands in the progress.
    Ended(Found),
}

/// What a check has found, apart from its verdict.
enum Found {
    /// What the primary sees; nothing where it has a fault.
    Sight(Option<Sight>),
    /// This slot is on its way, and was written where it goes.
    Follows(u16),
}

/// Where a node sends a client ("Redis cluster specification", Redirection and resharding).
#[derive(Debug, PartialEq, Eq)]
enum Redirect {
    /// Another primary owns the slot.
    Moved,
    /// This slot is on its way to another primary, which serves the key already.
    Ask(u16, Address),
}

impl Redirect {
    /// What a fault says, in the server's words: `MOVED 3999 127.0.0.1:6381`.
    fn parse(fault: &Fault, hosts: Hosts<'_>) -> Option<Self> {
        if fault.cause != Cause::Redirected {
            return None;
        }
        let mut words = fault.said.split(' ');
        if words.next() != Some("ASK") {
            return Some(Self::Moved);
        }
        let slot = words.next()?.parse().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::Ask(slot, hosts.address(Some(host), port.parse().ok()?)?))
    }
}

impl<'a> Round<'a> {
    pub(super) fn new(cluster: &'a Cluster, progress: &'a Progress) -> Self {
        // The first of the nodes: where the cluster as a whole does not serve, that is the alias' cause.
        let whole = progress.node(&"cluster".into(), Role::Server);
        whole.withdraw();
        Self {
            cluster,
            progress,
            whole,
            known: None,
            gaps_considered: false,
            surveys: MOST_SURVEYS,
            lost: None,
            avoided: BTreeSet::new(),
            checks: Vec::new(),
            running: FuturesUnordered::new(),
        }
    }

    /// The round, from what was known before it.
    pub(super) async fn run(mut self, known: Option<Arc<Known>>) {
        match known {
            Some(known) => self.take_in(known),
            None => {
                let seeds = self.cluster.seeds(self.progress);
                let asked: Vec<_> = seeds.iter().map(|seed| seed.progress.clone()).collect();
                // Where none answers, they are what is down.
                let Ok(view) = self.cluster.survey(seeds).await else { return };
                for seed in asked {
                    seed.withdraw();
                }
                self.gaps_considered = true;
                self.learn(view);
            }
        }
        loop {
            self.drive().await;
            self.judge();
            if self.leave_slots_alone() {
                continue;
            }
            let Some(candidates) = self.candidates() else {
                if self.running.is_empty() {
                    return;
                }
                continue;
            };
            let survey = self.cluster.survey(candidates);
            match self.drive_beside(survey).await {
                Ok(view) => self.learn(view),
                Err(fault) => self.lose(fault),
            }
        }
    }

    /// Waits until something is to be decided: a check has met a redirection, all have ended, or one has
    /// become slow.
    async fn drive(&mut self) {
        loop {
            if self.running.is_empty() || self.checks.iter().any(|check| self.is_redirected(check)) {
                return;
            }
            match self.next_slow() {
                None => {
                    let ended = self.running.next().await;
                    self.take(ended);
                }
                Some(slow) => tokio::select! {
                    ended = self.running.next() => self.take(ended),
                    () = sleep_until(slow) => return,
                },
            }
        }
    }

    /// Lets the checks go on while `survey` is under way.
    async fn drive_beside(
        &mut self,
        survey: impl Future<Output = Result<View, Fault>>,
    ) -> Result<View, Fault> {
        let mut survey = std::pin::pin!(survey);
        loop {
            tokio::select! {
                view = &mut survey => return view,
                ended = self.running.next(), if !self.running.is_empty() => self.take(ended),
            }
        }
    }

    /// When the next running check becomes slow that is not known to be.
    fn next_slow(&self) -> Option<Instant> {
        self.checks
            .iter()
            .filter(|check| !check.considered && !check.gone)
            .filter_map(|check| match check.state {
                State::Running { slow_from, .. } => Some(slow_from),
                State::Ended(_) => None,
            })
            .min()
    }

    /// Takes note of a check that has ended; one that is sent on by ASK goes on there.
    fn take(&mut self, ended: Option<Result<(usize, Found), Aborted>>) {
        let Some(Ok((place, found))) = ended else { return };
        self.checks[place].state = State::Ended(found);
        let check = &self.checks[place];
        let hosts = self.cluster.hosts(&check.primary.address);
        let redirect = check.fault().and_then(|fault| Redirect::parse(&fault, hosts));
        if let Some(Redirect::Ask(slot, address)) = redirect
            && check.restarts < MOST_RESTARTS
            && let Some(node) = self.cluster.asking(&check.primary, slot, &address)
        {
            let progress = check.progress.clone();
            self.start(place, async move {
                node.check(&progress).await;
                match progress.verdict() {
                    Some(Err(fault)) => {
                        let said = format!("{} at {address}, to which ASK sent", fault.said);
                        progress.conclude(Err(Fault::new(fault.cause, fault.phase, &said)));
                        Found::Sight(None)
                    }
                    Some(Ok(())) | None => Found::Follows(slot),
                }
            });
        }
    }

    /// Starts a check, or starts it once more.
    fn start(&mut self, place: usize, look: impl Future<Output = Found> + Send + 'a) {
        let check = &mut self.checks[place];
        if let State::Running { handle, .. } = &check.state {
            handle.abort();
        }
        check.progress.reopen();
        check.considered = false;
        check.gone = false;
        // Not at once, where it was just done in vain: the two primaries have to hear of each other.
        let pause = if check.restarts > 1 { self.cluster.pause() } else { Duration::ZERO };
        check.restarts += 1;
        let slow_from = Instant::now() + pause + self.cluster.slow();
        let (look, handle) = abortable(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            (place, look.await)
        });
        check.state = State::Running { handle, slow_from };
        self.running.push(look.boxed());
    }

    fn start_primary(&mut self, place: usize) {
        let Check { primary, progress, .. } = &self.checks[place];
        let (primary, progress) = (primary.clone(), progress.clone());
        self.start(place, async move {
            if primary.node.check(&progress).await.is_none() {
                return Found::Sight(None);
            }
            match Sight::further(&primary.server, &progress).await {
                Ok(sight) => Found::Sight(Some(sight)),
                Err(fault) => {
                    progress.conclude(Err(fault));
                    Found::Sight(None)
                }
            }
        });
    }

    /// Whether it was sent elsewhere, and may be checked once more.
    fn is_redirected(&self, check: &Check) -> bool {
        let has_moved = |fault: Fault| fault.cause == Cause::Redirected;
        let may = self.surveys > 0 && check.restarts <= MOST_RESTARTS;
        may && !check.gone && check.fault().is_some_and(has_moved)
    }

    /// Primaries whose canaries met a slot that is on its way are checked with slots that are not. True where
    /// there is one.
    fn leave_slots_alone(&mut self) -> bool {
        let before = self.avoided.len();
        for check in self.checks.iter().filter(|check| !check.gone) {
            if let State::Ended(Found::Follows(slot)) = check.state {
                self.avoided.insert(slot);
            }
        }
        let Some(known) = self.known.clone().filter(|_| self.avoided.len() > before) else { return false };
        match self.cluster.learn(known.sight, known.map.clone(), Some(&known), &self.avoided) {
            Ok(known) => self.take_in(known),
            // They are servers that were set up before.
            Err(_) => return false,
        }
        true
    }

    /// Takes in what a node says of the cluster.
    fn learn(&mut self, view: View) {
        let View { sight, map } = view;
        self.lost = None;
        match self.cluster.learn(sight, Arc::new(map), self.known.as_deref(), &self.avoided) {
            Ok(known) => self.take_in(known),
            Err(error) => self.lose(Fault::new(Cause::Protocol, Phase::Read, &error.to_string())),
        }
        self.judge();
    }

    /// Nobody could say what the cluster is by now. That is a fault of its own where no primary has one.
    fn lose(&mut self, fault: Fault) {
        self.surveys = 0;
        if self.checks.iter().all(|check| check.gone || check.is_up()) {
            self.lost = Some(fault);
            self.judge();
        }
    }

    /// Brings the checks in line with what is known now.
    fn take_in(&mut self, known: Arc<Known>) {
        for check in &mut self.checks {
            if known.primaries.iter().all(|primary| primary.address != check.primary.address) {
                check.gone = true;
                check.progress.withdraw();
                if let State::Running { handle, .. } = &check.state {
                    handle.abort();
                }
            }
        }
        let mut places: HashMap<Address, usize> = self
            .checks
            .iter()
            .enumerate()
            .map(|(place, check)| (check.primary.address.clone(), place))
            .collect();
        for primary in &known.primaries {
            if let Some(place) = places.remove(&primary.address) {
                let check = &mut self.checks[place];
                let changed = !Arc::ptr_eq(&check.primary, primary);
                check.primary = primary.clone();
                let once_more = check.gone
                    || match (&check.state, check.fault()) {
                        (State::Running { .. }, _) | (_, Some(_)) if changed => true,
                        (State::Running { .. }, _) => false,
                        (State::Ended(_), Some(fault)) => fault.cause == Cause::Redirected,
                        (State::Ended(Found::Follows(_)), None) => changed,
                        (State::Ended(Found::Sight(_)), None) => false,
                    };
                if once_more && check.restarts <= MOST_RESTARTS {
                    self.start_primary(place);
                }
            } else {
                let progress = self.progress.node(primary.node.name(), Role::Server);
                self.checks.push(Check {
                    primary: primary.clone(),
                    progress,
                    state: State::Ended(Found::Sight(None)),
                    considered: false,
                    restarts: 0,
                    gone: false,
                });
                self.start_primary(self.checks.len() - 1);
            }
        }
        self.known = Some(known);
    }

    /// Whom to ask for the map, the likeliest to know first; nobody where there is no reason to ask.
    fn candidates(&mut self) -> Option<Vec<Candidate>> {
        let known = self.known.clone()?;
        let now = Instant::now();
        let has_gaps = !self.gaps_considered && !known.map.gaps().is_empty();
        let (mut odd, mut sent_on, mut in_trouble, mut well, mut others) =
            (false, Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut reason = has_gaps;
        for check in self.checks.iter().filter(|check| !check.gone) {
            let redirected = self.is_redirected(check);
            let new = !check.considered;
            let primary = &check.primary;
            match &check.state {
                State::Running { slow_from, .. } if *slow_from <= now => {
                    reason |= new;
                    in_trouble.push(primary);
                }
                State::Running { .. } => others.push(primary),
                State::Ended(Found::Follows(_)) => well.push(primary),
                State::Ended(Found::Sight(Some(sight))) => {
                    let differs = !sight.agrees(&known.sight) || !sight.serves;
                    odd |= differs && new;
                    (if differs { &mut sent_on } else { &mut well }).push(primary);
                }
                State::Ended(Found::Sight(None)) => {
                    reason |= new || redirected;
                    let cluster_down = check.fault().is_some_and(|fault| fault.cause == Cause::ClusterDown);
                    (if redirected || cluster_down { &mut sent_on } else { &mut in_trouble }).push(primary);
                }
            }
        }
        if !(reason || odd) || self.surveys == 0 {
            return None;
        }
        self.surveys -= 1;
        if !reason {
            // All are up, and yet it is not known whether they are all: until that is told, it is not up.
            self.whole.reopen();
            self.whole.enter(Phase::Read);
        }
        // A replica that takes over is the first to know.
        let replicas = |of: &Arc<Primary>| {
            let shard = known.map.shards.iter().find(|shard| shard.primary == of.address);
            shard.map(|shard| shard.replicas.as_slice()).unwrap_or_default()
        };
        let heirs = in_trouble.iter().flat_map(|primary| replicas(primary)).take(ASKED_REPLICAS);
        let likely = sent_on.iter().chain(well.iter().take(ASKED_PRIMARIES));
        let rest = well.iter().chain(&others).chain(&in_trouble);
        let every_replica = known.map.shards.iter().flat_map(|shard| &shard.replicas);
        let with_server =
            |primary: &'_ &Arc<Primary>| (primary.address.clone(), Some(primary.server.clone()));
        let alone = |address: &Address| (address.clone(), None);
        let order: Vec<_> = heirs
            .map(alone)
            .chain(likely.map(with_server))
            .chain(self.cluster.seeds.iter().map(alone))
            .chain(rest.map(with_server))
            .chain(every_replica.map(alone))
            .collect();
        // None of them is a node of the alias for being asked.
        let aside = Progress::begin();
        let order = order.iter().map(|(address, server)| (address, server.as_ref()));
        let candidates = self.cluster.candidates(order, &aside);
        self.gaps_considered = true;
        for check in &mut self.checks {
            check.considered = match check.state {
                State::Running { slow_from, .. } => slow_from <= now,
                State::Ended(_) => true,
            };
        }
        Some(candidates)
    }

    /// Says of the cluster as a whole what is known by now.
    fn judge(&self) {
        let gaps = self.known.as_ref().map(|known| known.map.gaps()).unwrap_or_default();
        let present = || self.checks.iter().filter(|check| !check.gone);
        let refuses = |check: &Check| match (&check.state, check.fault()) {
            (State::Ended(_), Some(fault)) => fault.cause == Cause::ClusterDown,
            (State::Ended(Found::Sight(Some(sight))), None) => !sight.serves,
            (State::Ended(Found::Sight(None) | Found::Follows(_)), None) | (State::Running { .. }, _) => {
                false
            }
        };
        let mut said = Vec::new();
        if !gaps.is_empty() {
            said.push(format!("{} have no owner", list(&gaps)));
        }
        if present().any(refuses) {
            if gaps.is_empty() {
                said.push("cluster_state:fail".to_owned());
            }
            let lost = present().filter(|check| !check.is_up() && !refuses(check));
            said.extend(lost.take(2).map(|check| {
                let address = &check.primary.address;
                let ranges = self.known.as_ref().map(|known| known.ranges(address)).unwrap_or_default();
                format!("{} are lost with {address}", list(ranges))
            }));
        }
        if !said.is_empty() {
            self.whole.reopen();
            self.whole.conclude(Err(Fault::new(Cause::ClusterDown, Phase::Read, &said.join("; "))));
        } else if let Some(fault) = &self.lost {
            self.whole.reopen();
            self.whole.conclude(Err(fault.clone()));
        } else {
            self.whole.withdraw();
        }
    }
}

impl Check {
    fn fault(&self) -> Option<Fault> {
        match self.state {
            State::Running { .. } => None,
            State::Ended(_) => self.progress.verdict().and_then(Result::err),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Ended(_)) && self.progress.verdict() == Some(Ok(()))
    }
}

impl Known {
    fn ranges(&self, primary: &Address) -> &[Range] {
        let shard = self.map.shards.iter().find(|shard| shard.primary == *primary);
        shard.map(|shard| shard.ranges.as_slice()).unwrap_or_default()
    }
}

impl Cluster {
    /// The node that takes over a slot from `primary`, with a canary in that slot.
    fn asking(&self, primary: &Primary, slot: u16, address: &Address) -> Option<Node> {
        let tag = primary.tags.iter().find(|tag| tag.slot == slot)?;
        let server = self.maker.asking(address, &self.login, self.tls.as_ref()).ok()?;
        Some(self.maker.node_in_cluster(&primary.address, server, &[tag.text.clone()]))
    }
}
