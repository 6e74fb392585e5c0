//! [`ClusterCheck`]: one check of a cluster, which follows the cluster while it changes.
//!
//! Every primary that is known is checked. Where one has a fault, is slow, or sees another cluster than was
//! known, the map is asked for, once for each such reason, and the checks are brought in line with it. What
//! the map does not explain stands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, FutureExt as _, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use super::redirect::Redirect;
use super::slots::list;
use super::survey::{Candidate, Groups, Told};
use super::view::{ClusterInfo, ClusterView};
use super::{Cluster, ClusterPrimary, KnownCluster};
use crate::cache::redis::Requirement;
use crate::check::{Node, Server};
use crate::config::Address;
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};
use crate::topology::few::Turns;

/// How many times a primary is checked once more within one check of the cluster, because slots move: clients give up after some 5
/// to 16 redirections.
const MOST_RESTARTS: u32 = 8;

/// How many times the map is asked for in a check.
const MOST_SURVEYS: u32 = 8;

/// How many times the map is asked for, however large it is: a failover may take two.
const LEAST_SURVEYS: u32 = 2;

/// How many entries of a cluster's maps are read in a second before a check asks no more than that. A survey of a cluster of
/// 1,000 primaries reads up to 8,000.
const MOST_ENTRIES: usize = 8 * 1024;

/// A check, while it is under way. Dropped at the deadline, it leaves in the progress what is known by then.
pub(super) struct ClusterCheck<'a> {
    cluster: &'a Cluster,
    progress: &'a Progress,
    /// What is true of the cluster, and of none of its nodes.
    whole: Arc<NodeProgress>,
    known: Option<Arc<KnownCluster>>,
    /// Whether the map was asked for because it has gaps.
    gaps_considered: bool,
    /// How many times it may yet be asked for.
    surveys: u32,
    /// Whether a primary sees another cluster than was read, and no more is read.
    unread: bool,
    /// Why it is not known what the cluster is by now, where no primary's own fault says that.
    lost: Option<Fault>,
    /// Slots that are on their way to another primary.
    avoided: BTreeSet<u16>,
    checks: Vec<PrimaryCheck>,
    /// Whether a check has ended that shows that the map has changed.
    outdated: bool,
    running: FuturesUnordered<BoxFuture<'a, Result<(usize, ClusterFound), Aborted>>>,
    turns: Turns,
}

/// The check of one primary.
struct PrimaryCheck {
    primary: Arc<ClusterPrimary>,
    progress: Arc<NodeProgress>,
    state: PrimaryCheckState,
    /// Whether the map was asked for since it is as it is.
    considered: bool,
    restarts: u32,
    /// Whether it is no primary any more.
    gone: bool,
}

enum PrimaryCheckState {
    /// It runs, and is slow from then on.
    Running { handle: AbortHandle, slow_from: Instant },
    /// It has ended; its verdict stands in the progress.
    Ended(ClusterFound),
}

/// What a check has found, apart from its verdict.
enum ClusterFound {
    /// What the primary sees; nothing where it has a fault.
    Sight(Option<ClusterInfo>),
    /// This slot is on its way, and was written where it goes.
    Follows(u16),
}

impl<'a> ClusterCheck<'a> {
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
            unread: false,
            lost: None,
            avoided: BTreeSet::new(),
            checks: Vec::new(),
            outdated: false,
            running: FuturesUnordered::new(),
            turns: Turns::of(0),
        }
    }

    /// The check, from what was known before it.
    pub(super) async fn run(mut self, known: Option<Arc<KnownCluster>>) {
        if let Some(known) = known {
            self.take_in(known);
        } else {
            let seeds = self.cluster.seeds(self.progress);
            let asked: Vec<_> = seeds.iter().map(|seed| seed.progress.clone()).collect();
            // Where none answers, they are what is down.
            let Ok(told) = self.cluster.survey(seeds).await else { return };
            for seed in asked {
                seed.withdraw();
            }
            self.gaps_considered = true;
            self.learn(told).await;
        }
        loop {
            self.drive().await;
            self.judge();
            if self.leave_slots_alone().await {
                continue;
            }
            let Some(informants) = self.informants() else {
                if self.running.is_empty() {
                    return;
                }
                continue;
            };
            let survey = self.cluster.survey(informants);
            match self.drive_beside(survey).await {
                Ok(told) => self.learn(told).await,
                Err(fault) => self.lose(fault),
            }
        }
    }

    /// Waits until something is to be decided: a check shows that the map has changed, all have ended, or one
    /// has become slow.
    async fn drive(&mut self) {
        while !self.running.is_empty() && !self.outdated {
            if let Some(ended) = self.running.next().now_or_never() {
                self.take(ended);
                continue;
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
        survey: impl Future<Output = Result<Told, Fault>>,
    ) -> Result<Told, Fault> {
        let mut survey = std::pin::pin!(survey);
        loop {
            tokio::select! {
                told = &mut survey => return told,
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
                PrimaryCheckState::Running { slow_from, .. } => Some(slow_from),
                PrimaryCheckState::Ended(_) => None,
            })
            .min()
    }

    /// Takes note of a check that has ended; one that is sent on by ASK goes on there.
    fn take(&mut self, ended: Option<Result<(usize, ClusterFound), Aborted>>) {
        let Some(Ok((place, found))) = ended else { return };
        self.checks[place].state = PrimaryCheckState::Ended(found);
        let check = &self.checks[place];
        let hosts = self.cluster.nodes.hosts(&check.primary.address);
        let redirect = check.fault().and_then(|fault| Redirect::met(&fault, &check.progress, hosts));
        self.outdated |= self.is_redirected(check) || self.differs(check);
        if let Some(Redirect::Ask(slot, address)) = redirect
            && check.restarts < MOST_RESTARTS
            && let Some(node) = self.cluster.asking(&check.primary, slot, &address)
        {
            let progress = check.progress.clone();
            let look = async move {
                let _ = node.check(&progress).await;
                match progress.verdict() {
                    Some(Err(fault)) => {
                        let address = progress.redaction().host(&address.to_string()).into_owned();
                        let said = format!("{} at {address}, the target of an ASK redirect", fault.said);
                        progress.conclude(Err(fault.saying(&said)));
                        ClusterFound::Sight(None)
                    }
                    Some(Ok(())) | None => ClusterFound::Follows(slot),
                }
            };
            self.start(place, look.boxed());
        }
    }

    /// Starts a check, or starts it once more.
    fn start(&mut self, place: usize, look: BoxFuture<'a, ClusterFound>) {
        let check = &mut self.checks[place];
        if let PrimaryCheckState::Running { handle, .. } = &check.state {
            handle.abort();
        }
        check.progress.reopen();
        check.considered = false;
        check.gone = false;
        // Not at once, where it was just done in vain: the two primaries have to hear of each other.
        let pause = if check.restarts > 1 { self.cluster.pause() } else { Duration::ZERO };
        check.restarts += 1;
        let slow_from = Instant::now() + pause + self.cluster.slow();
        let turns = self.turns.clone();
        let (look, handle) = abortable(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            (place, turns.wait_for(look).await)
        });
        check.state = PrimaryCheckState::Running { handle, slow_from };
        self.running.push(look.boxed());
    }

    fn start_primary(&mut self, place: usize) {
        let PrimaryCheck { primary, progress, .. } = &self.checks[place];
        let (primary, progress) = (primary.clone(), progress.clone());
        let look = async move {
            if primary.node.check(&progress).await.is_err() {
                return ClusterFound::Sight(None);
            }
            // A look may have had nothing to ask this primary.
            let sight = if primary.node.depends_on_keys() {
                ClusterInfo::first(&primary.server, &progress).await
            } else {
                ClusterInfo::further(&primary.server, &progress).await
            };
            match sight {
                Ok(sight) => ClusterFound::Sight(Some(sight)),
                Err(fault) => {
                    progress.conclude(Err(fault));
                    ClusterFound::Sight(None)
                }
            }
        };
        self.start(place, look.boxed());
    }

    /// Whether the primary sees another cluster than is known, or one that does not serve.
    fn differs(&self, check: &PrimaryCheck) -> bool {
        match (&check.state, &self.known) {
            (PrimaryCheckState::Ended(ClusterFound::Sight(Some(sight))), Some(known)) => {
                !sight.serves || !sight.agrees(&known.sight)
            }
            (PrimaryCheckState::Ended(_) | PrimaryCheckState::Running { .. }, _) => false,
        }
    }

    /// Whether it was sent elsewhere, and may be checked once more.
    fn is_redirected(&self, check: &PrimaryCheck) -> bool {
        let may = self.surveys > 0 && check.restarts <= MOST_RESTARTS;
        may && !check.gone && check.cause() == Some(Cause::Redirected)
    }

    /// Primaries whose canaries met a slot that is on its way are checked with slots that are not. True where
    /// there is one.
    async fn leave_slots_alone(&mut self) -> bool {
        let before = self.avoided.len();
        for check in self.checks.iter().filter(|check| !check.gone) {
            if let PrimaryCheckState::Ended(ClusterFound::Follows(slot)) = check.state {
                self.avoided.insert(slot);
            }
        }
        let Some(known) = self.known.clone().filter(|_| self.avoided.len() > before) else { return false };
        match self.cluster.learn(known.sight, known.map.clone(), Some(&known), &self.avoided).await {
            Ok(known) => self.take_in(known),
            // They are servers that were set up before.
            Err(_) => return false,
        }
        true
    }

    /// Takes in what a node says of the cluster.
    async fn learn(&mut self, told: Told) {
        let Told { view: ClusterView { sight, map }, entries } = told;
        self.lost = None;
        self.cluster.entries.add(entries);
        match self.cluster.learn(sight, Arc::new(map), self.known.as_deref(), &self.avoided).await {
            Ok(known) => self.take_in(known),
            Err(error) => {
                let said = self.progress.redaction().host(&error.to_string()).into_owned();
                self.lose(Fault::new(Cause::Protocol, Phase::Read, &said));
            }
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
    fn take_in(&mut self, known: Arc<KnownCluster>) {
        self.turns = Turns::of(known.primaries.len());
        let present: HashSet<_> = known.primaries.iter().map(|primary| &primary.address).collect();
        for check in &mut self.checks {
            if !present.contains(&check.primary.address) {
                check.gone = true;
                check.progress.withdraw();
                if let PrimaryCheckState::Running { handle, .. } = &check.state {
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
                let once_more = changed || check.gone;
                let once_more = match &check.state {
                    PrimaryCheckState::Running { .. }
                    | PrimaryCheckState::Ended(ClusterFound::Follows(_)) => once_more,
                    PrimaryCheckState::Ended(ClusterFound::Sight(_)) => match check.cause() {
                        Some(cause) => once_more || cause == Cause::Redirected,
                        // Keys that it has got since were not looked at.
                        None => check.gone || changed && primary.node.depends_on_keys(),
                    },
                };
                if once_more && check.restarts <= MOST_RESTARTS {
                    self.start_primary(place);
                }
            } else {
                let progress = self.progress.node(primary.node.name(), Role::Server);
                self.checks.push(PrimaryCheck {
                    primary: primary.clone(),
                    progress,
                    state: PrimaryCheckState::Ended(ClusterFound::Sight(None)),
                    considered: false,
                    restarts: 0,
                    gone: false,
                });
                self.start_primary(self.checks.len() - 1);
            }
        }
        self.known = Some(known);
    }

    /// Whom to ask for the map; nobody where there is no reason to ask.
    fn informants(&mut self) -> Option<Vec<Candidate>> {
        self.outdated = false;
        let known = self.known.clone()?;
        let now = Instant::now();
        let mut groups = Groups::default();
        // A reason that is a fault stands until it is explained; a doubt is none.
        let mut fault = !self.gaps_considered && !known.gaps.is_empty();
        let mut doubt = false;
        for check in self.checks.iter().filter(|check| !check.gone) {
            let primary = &*check.primary;
            match &check.state {
                PrimaryCheckState::Running { slow_from, .. } => {
                    groups.silent.push(primary);
                    if *slow_from <= now {
                        fault |= !check.considered;
                        groups.in_trouble.push(primary);
                    }
                }
                PrimaryCheckState::Ended(ClusterFound::Sight(Some(_))) if self.differs(check) => {
                    doubt |= !check.considered;
                    groups.telling.push(primary);
                }
                PrimaryCheckState::Ended(ClusterFound::Sight(Some(_)) | ClusterFound::Follows(_)) => {
                    groups.well.push(primary);
                }
                PrimaryCheckState::Ended(ClusterFound::Sight(None)) => {
                    let redirected = self.is_redirected(check);
                    fault |= redirected || !check.considered;
                    let tells = redirected || check.cause() == Some(Cause::ClusterDown);
                    if tells { &mut groups.telling } else { &mut groups.in_trouble }.push(primary);
                }
            }
        }
        if !(fault || doubt) || self.surveys == 0 {
            return None;
        }
        if self.cluster.entries.of_this_second() >= MOST_ENTRIES
            && self.surveys <= MOST_SURVEYS - LEAST_SURVEYS
        {
            self.surveys = 0;
            self.unread = doubt;
            self.judge();
            return None;
        }
        if !fault {
            // All that are known are up, and until it is told whether they are all, the cluster is not.
            self.whole.reopen();
            self.whole.enter(Phase::Read);
        }
        let informants = self.cluster.informants(&known, &groups, self.progress);
        self.surveys -= 1;
        self.gaps_considered = true;
        for check in &mut self.checks {
            check.considered = match check.state {
                PrimaryCheckState::Running { slow_from, .. } => slow_from <= now,
                PrimaryCheckState::Ended(_) => true,
            };
        }
        Some(informants)
    }

    /// Says of the cluster as a whole what is known by now.
    fn judge(&self) {
        let gaps = self.known.as_ref().map(|known| known.gaps.as_slice()).unwrap_or_default();
        let present = || self.checks.iter().filter(|check| !check.gone);
        let refuses = |check: &PrimaryCheck| match &check.state {
            PrimaryCheckState::Running { .. } | PrimaryCheckState::Ended(ClusterFound::Follows(_)) => false,
            PrimaryCheckState::Ended(ClusterFound::Sight(Some(sight))) => !sight.serves,
            PrimaryCheckState::Ended(ClusterFound::Sight(None)) => check.cause() == Some(Cause::ClusterDown),
        };
        let mut said = Vec::new();
        if !gaps.is_empty() {
            said.push(format!("{} have no owner", list(gaps)));
        }
        if present().any(refuses) {
            if gaps.is_empty() {
                said.push("cluster_state:fail".to_owned());
            }
            let lost = present().filter(|check| !check.is_up() && !refuses(check));
            said.extend(lost.take(2).map(|check| {
                let address = &check.primary.address;
                let ranges = self.known.as_ref().map(|known| known.ranges(address)).unwrap_or_default();
                format!("{} are lost with {}", list(ranges), check.progress.name())
            }));
        }
        if self.unread && said.is_empty() {
            said.push(format!(
                "the slot map keeps changing: reading stopped after {} entries within a second",
                self.cluster.entries.of_this_second()
            ));
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

impl PrimaryCheck {
    fn fault(&self) -> Option<Fault> {
        match self.state {
            PrimaryCheckState::Running { .. } => None,
            PrimaryCheckState::Ended(_) => self.progress.verdict().and_then(Result::err),
        }
    }

    fn cause(&self) -> Option<Cause> {
        self.fault().map(|fault| fault.cause)
    }

    fn is_up(&self) -> bool {
        matches!(self.state, PrimaryCheckState::Ended(_)) && self.progress.verdict() == Some(Ok(()))
    }
}

impl Cluster {
    /// The node that takes over a slot from `primary`, with a canary in that slot.
    fn asking(&self, primary: &ClusterPrimary, slot: u16, address: &Address) -> Option<Node> {
        let tag = primary.tags.iter().find(|tag| tag.slot == slot)?;
        let server = Server::Redis(self.nodes.server(address, Requirement::Importing).ok()?);
        let share = self.nodes.share(&primary.address, &primary.ranges);
        let tags = std::slice::from_ref(&tag.text);
        Some(self.nodes.factory.node_in_cluster(&primary.address, server, share, tags))
    }
}
