//! [`ClusterCheck`]: one check of a cluster, which follows the cluster while it changes.
//!
//! Every known primary is checked. If one has a fault, is slow, or reports a different cluster, the map is requested,
//! once for each such reason, and the checks are brought in line with it. A fault that the map does not explain
//! stands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, FutureExt as _, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use super::redirect::Redirect;
use super::slots::list;
use super::survey::{Candidate, Groups, SurveyResult};
use super::view::{ClusterInfo, ClusterView};
use super::{Cluster, ClusterPrimary, KnownCluster};
use crate::cache::redis::Requirement;
use crate::check::{Node, Server};
use crate::config::Address;
use crate::outcome::{Cause, Fault, Phase, Role};
use crate::progress::{NodeProgress, Progress};
use crate::topology::few::Turns;

/// The most times that a primary is checked again within one check of the cluster, because slots move. Clients give up
/// after some 5 to 16 redirections.
const MOST_RESTARTS: u32 = 8;

/// The most requests for the map in a check.
const MOST_SURVEYS: u32 = 8;

/// The number of requests for the map that are allowed however large it is, since a failover may take two.
const LEAST_SURVEYS: u32 = 2;

/// The number of map entries read in a second after which a check is limited to [`LEAST_SURVEYS`]. A survey of a cluster
/// of 1,000 primaries reads up to 8,000.
const MOST_ENTRIES: usize = 8 * 1024;

/// A check in progress. If it is dropped at the deadline, its results so far are in the progress.
pub(super) struct ClusterCheck<'a> {
    cluster: &'a Cluster,
    progress: &'a Progress,
    /// The verdict on the cluster as a whole, as opposed to its nodes.
    whole: Arc<NodeProgress>,
    known: Option<Arc<KnownCluster>>,
    /// `true` if the map was requested because it has gaps.
    gaps_considered: bool,
    /// The number of further requests for the map that are allowed.
    surveys: u32,
    /// `true` if a primary reports a different cluster, but the map is no longer read.
    unread: bool,
    /// The fault that hides the cluster's present state, if no primary has a fault of its own.
    lost: Option<Fault>,
    /// Slots that are migrating to another primary.
    avoided: BTreeSet<u16>,
    checks: Vec<PrimaryCheck>,
    /// `true` if an ended check shows that the map has changed.
    outdated: bool,
    running: FuturesUnordered<BoxFuture<'a, Result<(usize, ClusterFound), Aborted>>>,
    turns: Turns,
}

/// The check of one primary.
struct PrimaryCheck {
    primary: Arc<ClusterPrimary>,
    progress: Arc<NodeProgress>,
    state: PrimaryCheckState,
    /// `true` if the map was requested since this check became slow or ended.
    considered: bool,
    restarts: u32,
    /// `true` if it is no primary any more.
    gone: bool,
}

enum PrimaryCheckState {
    /// It runs, and counts as slow from `slow_from` on.
    Running { handle: AbortHandle, slow_from: Instant },
    /// It has ended; its verdict is in the progress.
    Ended(ClusterFound),
}

/// The findings of a check, apart from its verdict.
enum ClusterFound {
    /// The primary's view of the cluster; `None` if it has a fault.
    Sight(Option<ClusterInfo>),
    /// This slot is migrating, and the canary was written to the target.
    Follows(u16),
}

impl<'a> ClusterCheck<'a> {
    pub(super) fn new(cluster: &'a Cluster, progress: &'a Progress) -> Self {
        // The first of the nodes: if the cluster as a whole does not serve, that is the alias' cause.
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

    /// Runs the check, beginning with the state known before.
    pub(super) async fn run(mut self, known: Option<Arc<KnownCluster>>) {
        if let Some(known) = known {
            self.take_in(known);
        } else {
            let seeds = self.cluster.seeds(self.progress);
            let asked: Vec<_> = seeds.iter().map(|seed| seed.progress.clone()).collect();
            // If none answers, the seeds are reported as down.
            let Ok(result) = self.cluster.survey(seeds).await else { return };
            for seed in asked {
                seed.withdraw();
            }
            self.gaps_considered = true;
            self.learn(result).await;
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
                Ok(result) => self.learn(result).await,
                Err(fault) => self.lose(fault),
            }
        }
    }

    /// Waits until a decision is due: a check shows that the map has changed, all have ended, or one has become slow.
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

    /// Lets the checks go on while `survey` runs.
    async fn drive_beside(
        &mut self,
        survey: impl Future<Output = Result<SurveyResult, Fault>>,
    ) -> Result<SurveyResult, Fault> {
        let mut survey = std::pin::pin!(survey);
        loop {
            tokio::select! {
                result = &mut survey => return result,
                ended = self.running.next(), if !self.running.is_empty() => self.take(ended),
            }
        }
    }

    /// The time at which the next running check becomes slow, of those not yet considered.
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

    /// Records the end of a check. After an ASK redirection, the check goes on at the target.
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

    /// Starts or restarts a check.
    fn start(&mut self, place: usize, look: BoxFuture<'a, ClusterFound>) {
        let check = &mut self.checks[place];
        if let PrimaryCheckState::Running { handle, .. } = &check.state {
            handle.abort();
        }
        check.progress.reopen();
        check.considered = false;
        check.gone = false;
        // After a vain restart, the next one waits, since the two primaries must learn of each other first. On a busy machine
        // that takes longer than a few short waits.
        let pause = self.cluster.pause() * check.restarts.saturating_sub(1);
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
            // The check may have had no query for this primary.
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

    /// `true` if the primary reports a cluster that differs from the known one, or that does not serve.
    fn differs(&self, check: &PrimaryCheck) -> bool {
        match (&check.state, &self.known) {
            (PrimaryCheckState::Ended(ClusterFound::Sight(Some(sight))), Some(known)) => {
                !sight.serves || !sight.agrees(&known.sight)
            }
            (PrimaryCheckState::Ended(_) | PrimaryCheckState::Running { .. }, _) => false,
        }
    }

    /// `true` if it redirected the check, and may be checked again.
    fn is_redirected(&self, check: &PrimaryCheck) -> bool {
        let may = self.surveys > 0 && check.restarts <= MOST_RESTARTS;
        may && !check.gone && check.cause() == Some(Cause::Redirected)
    }

    /// Checks primaries whose canaries met a migrating slot with other slots. `true` if there is such a primary.
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
            // It cannot fail, since these servers were set up before.
            Err(_) => return false,
        }
        true
    }

    /// Applies a node's view of the cluster.
    async fn learn(&mut self, told: SurveyResult) {
        let SurveyResult { view, entries } = told;
        self.lost = None;
        self.cluster.entries.add(entries);
        if self.known.as_ref().is_some_and(|known| view.is_outdated(&known.sight, self.sights())) {
            return self.judge();
        }
        let ClusterView { sight, map } = view;
        match self.cluster.learn(sight, Arc::new(map), self.known.as_deref(), &self.avoided).await {
            Ok(known) => self.take_in(known),
            Err(error) => {
                let said = self.progress.redaction().host(&error.to_string()).into_owned();
                self.lose(Fault::new(Cause::Protocol, Phase::Read, &said));
            }
        }
        self.judge();
    }

    /// The words of the primaries about the cluster, in this check.
    fn sights(&self) -> impl Iterator<Item = ClusterInfo> {
        self.checks.iter().filter(|check| !check.gone).filter_map(|check| match check.state {
            PrimaryCheckState::Ended(ClusterFound::Sight(sight)) => sight,
            PrimaryCheckState::Ended(ClusterFound::Follows(_)) | PrimaryCheckState::Running { .. } => None,
        })
    }

    /// Records that no node returned the map. If no primary has a fault, this is a fault of the cluster.
    fn lose(&mut self, fault: Fault) {
        self.surveys = 0;
        if self.checks.iter().all(|check| check.gone || check.is_up()) {
            self.lost = Some(fault);
            self.judge();
        }
    }

    /// Brings the checks in line with the known state.
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
                        // Keys that it has received since were not checked.
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

    /// The nodes to request the map from; `None` if there is no reason to request it.
    fn informants(&mut self) -> Option<Vec<Candidate>> {
        self.outdated = false;
        let known = self.known.clone()?;
        let now = Instant::now();
        let mut groups = Groups::default();
        // A fault stands until the map explains it; a doubt is no fault.
        let mut fault = !self.gaps_considered && !known.gaps.is_empty();
        let mut doubt = false;
        for check in self.checks.iter().filter(|check| !check.gone) {
            let primary = &*check.primary;
            match &check.state {
                PrimaryCheckState::Running { slow_from, .. } => {
                    groups.silent.push(primary);
                    if *slow_from <= now {
                        fault |= !check.considered;
                        groups.faulty.push(primary);
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
                    if tells { &mut groups.telling } else { &mut groups.faulty }.push(primary);
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
            // All known primaries are up, but the cluster is not, until a map confirms that they are all.
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

    /// Updates the verdict on the cluster as a whole from the results so far.
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
        let lost = self.known.as_ref().map(|known| known.map.lost.as_slice()).unwrap_or_default();
        if !lost.is_empty() {
            said.push(format!("the owner of {} is announced without a usable address", list(lost)));
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
