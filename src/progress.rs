//! `Progress`: the phase of a running check, the duration of each phase, and the results so far.
//!
//! A check records its steps here as it goes. When its deadline strikes it is simply dropped, and this record is its
//! outcome: a node without a verdict timed out in the phase that it was in.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::alias::Alias;
use crate::mutex::Mutex;
use crate::outcome::{
    Cause, CheckKind, Expiries, Expiry, Fault, Finding, Measure, Needs, NodeOutcome, Outcome, OutcomeExtra,
    Phase, Phases, Role, Step, advice,
};
use crate::redaction::Redaction;

/// The state of a check of one alias while it runs.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    began_at: SystemTime,
    connections: Connections,
    depth: Depth,
    /// Hides credentials in the texts of all servers; set before a node is added.
    redaction: OnceLock<Redaction>,
    known: Mutex<KnownNodes>,
}

/// The depth of a check of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// A whole check, of any kind.
    Whole,
    /// Only a look at the canaries of an earlier round trip, which must still be there.
    Glance,
}

#[derive(Debug, Default)]
struct KnownNodes {
    nodes: Vec<Arc<NodeProgress>>,
    /// Boxed, since most round trips have none of it, and there may be thousands of them.
    more: Option<Box<More>>,
}

/// The results other than the nodes.
#[derive(Debug, Default)]
struct More {
    findings: Vec<Finding>,
    measures: Vec<Measure>,
    /// The record of every step, if requested.
    steps: Option<Steps>,
}

type Steps = Arc<Mutex<Vec<Step>>>;

/// The number of connections that a check has opened, to its nodes and to other servers.
type Connections = Arc<AtomicU32>;

/// The state of one node of the check.
#[derive(Debug)]
pub struct NodeProgress {
    name: Arc<str>,
    role: Role,
    state: Mutex<NodeState>,
    depth: Depth,
    redaction: Redaction,
    connections: Connections,
    steps: Option<Steps>,
}

#[derive(Debug)]
struct NodeState {
    phase: Option<Phase>,
    /// `true` while authenticating, which may be after the verdict.
    in_auth: bool,
    entered: Instant,
    phases: Phases,
    verdict: Option<(Result<(), Fault>, Instant)>,
    /// The fault if the deadline strikes now, if it is more precise than a timeout.
    foreseen: Option<Fault>,
    lag: Option<Duration>,
    /// The dates at which certificates and tokens end.
    dates: Vec<Arc<[Expiry]>>,
    withdrawn: bool,
    /// The server's last redirection, in its own words, which are not shown.
    redirect: Option<Box<str>>,
}

impl Progress {
    /// The progress of a check that begins now, without any known node.
    #[must_use]
    pub(crate) fn begin() -> Self {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let (connections, depth) = (Connections::default(), Depth::Whole);
        Self { began, began_at, connections, depth, redaction: OnceLock::new(), known: Mutex::default() }
    }

    /// The progress of a glance that begins now.
    #[must_use]
    pub(crate) fn begin_glance() -> Self {
        Self { depth: Depth::Glance, ..Self::begin() }
    }

    /// The progress of a check that begins now, with a record of every step.
    #[must_use]
    pub(crate) fn begin_explained() -> Self {
        let progress = Self::begin();
        progress.known.lock().more.get_or_insert_default().steps = Some(Arc::default());
        progress
    }

    /// The progress of queries outside this check, to servers that are no nodes of it.
    #[must_use]
    pub(crate) fn aside(&self) -> Self {
        let aside = Self::begin();
        aside.conceal(self.redaction());
        aside
    }

    /// Hides credentials in the texts of all servers of the check. It must be called before a node is added.
    pub(crate) fn conceal(&self, redaction: &Redaction) {
        self.redaction.get_or_init(|| redaction.clone());
    }

    /// Hides credentials in the texts of all servers.
    #[must_use]
    pub(crate) fn redaction(&self) -> &Redaction {
        self.redaction.get_or_init(Redaction::default)
    }

    /// The start of the check.
    #[must_use]
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The start of the check on the wall clock.
    #[must_use]
    pub(crate) fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// Adds a finding.
    pub(crate) fn find(&self, finding: Finding) {
        self.known.lock().more.get_or_insert_default().findings.push(finding);
    }

    /// Puts these findings, all with this cause, in the place of the earlier ones.
    pub(crate) fn replace(&self, cause: Cause, findings: &[Finding]) {
        let mut known = self.known.lock();
        if findings.is_empty() && known.more.is_none() {
            return;
        }
        let more = known.more.get_or_insert_default();
        more.findings.retain(|finding| finding.cause != cause);
        more.findings.extend_from_slice(findings);
    }

    /// The depth of the check.
    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// Adds a figure.
    pub(crate) fn measure(&self, measure: Measure) {
        self.known.lock().more.get_or_insert_default().measures.push(measure);
    }

    /// The names of the nodes that have passed.
    #[must_use]
    pub(crate) fn passed(&self) -> Vec<Arc<str>> {
        let known = self.known.lock();
        let passed = known.nodes.iter().filter(|node| {
            let state = node.state.lock();
            !state.withdrawn && matches!(state.verdict, Some((Ok(()), _)))
        });
        passed.map(|node| node.name.clone()).collect()
    }

    /// `true` if a node entered its current phase at this time or later, and has no verdict.
    #[must_use]
    pub(crate) fn went_on(&self, since: Instant) -> bool {
        self.known.lock().nodes.iter().any(|node| {
            let state = node.state.lock();
            state.verdict.is_none() && state.phase.is_some() && state.entered >= since
        })
    }

    /// The number of added nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.known.lock().nodes.len()
    }

    /// Adds a node to the check. From now on it has an outcome, unless it is withdrawn.
    pub(crate) fn node(&self, name: &Arc<str>, role: Role) -> Arc<NodeProgress> {
        let mut known = self.known.lock();
        let steps = known.more.as_ref().and_then(|more| more.steps.clone());
        let (connections, redaction) = (self.connections.clone(), self.redaction().clone());
        let node =
            Arc::new(NodeProgress::new(name, role, self.depth, self.began, redaction, connections, steps));
        known.nodes.push(node.clone());
        node
    }

    /// The outcome, from the results so far. A node without a verdict has timed out, and so has a check
    /// without any known node.
    #[must_use]
    pub(crate) fn outcome(&self, alias: Alias, kind: CheckKind, needs: Needs) -> Outcome {
        let now = Instant::now();
        let mut end = self.began;
        let mut known = self.known.lock();
        let more = known.more.take();
        // An outcome is kept until the next one, so it reserves no more memory than it needs.
        let mut nodes = Vec::with_capacity(known.nodes.len());
        let mut expiries = Vec::new();
        for node in &known.nodes {
            let Some((outcome, verdict_at)) = node.outcome(now, self.began) else { continue };
            end = end.max(verdict_at);
            nodes.push(outcome);
            // The other checks of an alias go to the same servers.
            if kind == CheckKind::RoundTrip {
                let dates = std::mem::take(&mut node.state.lock().dates).into_iter();
                expiries.extend(dates.map(|dates| Expiries { node: Some(node.name.clone()), dates }));
            }
        }
        drop(known);
        if kind != CheckKind::RoundTrip {
            // Only the round trip judges replicas, Sentinels and endpoints.
            nodes.retain(|node| node.role == Role::Server);
        }
        if nodes.is_empty() {
            end = now;
            let fault = timed_out(Phase::Resolve, now - self.began);
            nodes.push(NodeOutcome::server(alias.as_str(), Phases::default(), Some(fault)));
        }
        nodes.sort_by_key(|node| node.role);
        let more = more.or_else(|| (!expiries.is_empty()).then(Box::default));
        let extra = more.map(|more| {
            let More { mut findings, measures, steps } = *more;
            findings.sort_by_key(|finding| Reverse(finding.status));
            let steps = steps.map(|steps| std::mem::take(&mut *steps.lock())).unwrap_or_default();
            Box::new(OutcomeExtra { findings, measures, steps, expiries, reused: None })
        });
        let (began, began_at) = (self.began, self.began_at);
        let connections = self.connections.load(Ordering::Relaxed);
        Outcome { alias, kind, began, began_at, elapsed: end - began, connections, nodes, needs, extra }
    }
}

impl NodeProgress {
    fn new(
        name: &Arc<str>,
        role: Role,
        depth: Depth,
        began: Instant,
        redaction: Redaction,
        connections: Connections,
        steps: Option<Steps>,
    ) -> Self {
        let state = NodeState {
            phase: None,
            in_auth: false,
            // Unused before the first phase.
            entered: began,
            phases: Phases::default(),
            verdict: None,
            foreseen: None,
            lag: None,
            dates: Vec::new(),
            withdrawn: false,
            redirect: None,
        };
        Self { name: name.clone(), role, state: Mutex::new(state), depth, redaction, connections, steps }
    }

    /// The progress of another server that is queried on behalf of this node. It has no outcome of its own, and its steps
    /// and connections count with the others.
    pub(crate) fn beside(&self, name: &Arc<str>) -> Self {
        let (redaction, connections, steps) =
            (self.redaction.clone(), self.connections.clone(), self.steps.clone());
        Self::new(name, self.role, self.depth, Instant::now(), redaction, connections, steps)
    }

    /// The depth of the node's check.
    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// Hides credentials in the texts of the server.
    #[must_use]
    pub(crate) fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// `true` if every step is recorded.
    pub(crate) fn is_explained(&self) -> bool {
        self.steps.is_some()
    }

    /// Records a step, if requested. `step` returns the command without secrets, the expected answer, and the received
    /// one.
    pub fn step(&self, step: impl FnOnce() -> (String, String, String)) {
        if let Some(steps) = &self.steps {
            let (command, expected, saw) = step();
            steps.lock().push(Step { node: self.name.clone(), command, expected, saw });
        }
    }

    /// Counts an opened connection.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Leaves the phase it was in and enters `phase`.
    pub fn enter(&self, phase: Phase) {
        self.state.lock().enter(phase, Instant::now());
    }

    /// The current phase; before any, the first.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.lock().phase()
    }

    /// A fault in the current phase, with a text of the sidecar's own.
    #[must_use]
    pub fn fault(&self, cause: Cause, said: &str) -> Fault {
        let fault = Fault::new(cause, self.phase(), said);
        if cause == Cause::Auth && self.redaction.has_quotes() {
            fault.with_advice(advice::QUOTES)
        } else {
            fault
        }
    }

    /// A fault in the current phase, in a server's words: the line of an error, as far as it may be shown.
    #[must_use]
    pub fn told(&self, cause: Cause, line: &str) -> Fault {
        self.fault(cause, &self.words(line))
    }

    /// The line of a server's error, as far as it may be shown.
    #[must_use]
    pub(crate) fn words(&self, line: &str) -> String {
        if self.state.lock().in_auth { self.redaction.greeting(line) } else { self.redaction.line(line) }
    }

    /// A value of an answer, as far as it may be shown.
    #[must_use]
    pub(crate) fn value(&self, value: &[u8]) -> Option<String> {
        let is_shown = !self.state.lock().in_auth || self.redaction.is_empty();
        is_shown.then(|| self.redaction.bytes(value).into_owned())
    }

    /// Records the server's redirection, so that it can be followed.
    pub(crate) fn redirected(&self, words: String) {
        self.state.lock().redirect = Some(words.into());
    }

    /// The server's last redirection. It may contain anything, and must not be shown.
    pub(crate) fn redirect(&self) -> Option<Box<str>> {
        self.state.lock().redirect.clone()
    }

    /// Records the verdict. A later, more precise one replaces it, but not its time.
    pub(crate) fn conclude(&self, verdict: Result<(), Fault>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if let Some((earlier, _)) = &mut state.verdict {
            *earlier = verdict;
        } else {
            state.leave(now);
            state.verdict = Some((verdict, now));
        }
    }

    /// The verdict, if there is one by now.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<(), Fault>> {
        self.state.lock().verdict.as_ref().map(|(verdict, _)| verdict.clone())
    }

    /// Takes the verdict back, because the node is checked again, and reinstates a withdrawn node.
    pub(crate) fn reopen(&self) {
        let mut state = self.state.lock();
        state.withdrawn = false;
        state.verdict = None;
        state.phase = None;
        state.entered = Instant::now();
    }

    /// Sets the fault to report if the deadline strikes before there is a verdict, and returns the previous one.
    pub(crate) fn foresee(&self, fault: Option<Fault>) -> Option<Fault> {
        std::mem::replace(&mut self.state.lock().foreseen, fault)
    }

    /// `true` if it waits for something that the sidecar itself lacks.
    pub(crate) fn lacks_our_own(&self) -> bool {
        self.state.lock().foreseen.as_ref().is_some_and(|fault| fault.is_own)
    }

    /// Records the time that a replica took to show its primary's canary.
    pub(crate) fn lagged(&self, lag: Duration) {
        self.state.lock().lag = Some(lag);
    }

    /// Records when certificates or tokens end by which the node is reached. It replaces dates of the same kind.
    pub fn expires(&self, dates: Arc<[Expiry]>) {
        let kind = |dates: &[Expiry]| dates.first().map(|date| date.what);
        let mut state = self.state.lock();
        state.dates.retain(|known| kind(known) != kind(&dates));
        state.dates.push(dates);
    }

    /// Takes the node out of the check, because it no longer belongs to the alias.
    pub(crate) fn withdraw(&self) {
        self.state.lock().withdrawn = true;
    }

    /// `true` if the node was withdrawn. Work that is dropped then was not stopped by the deadline.
    #[must_use]
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.state.lock().withdrawn
    }

    fn outcome(&self, now: Instant, began: Instant) -> Option<(NodeOutcome, Instant)> {
        let mut state = self.state.lock();
        if state.withdrawn {
            return None;
        }
        if state.verdict.is_none() {
            state.leave(now);
            let fault = state.foreseen.take().unwrap_or_else(|| timed_out(state.phase(), now - began));
            state.verdict = Some((Err(fault), now));
        }
        let (fault, at) = match &state.verdict {
            Some((verdict, at)) => (verdict.clone().err(), *at),
            None => (None, now),
        };
        let (node, role, phases, lag) = (self.name.clone(), self.role, state.phases, state.lag);
        Some((NodeOutcome { node, role, phases, fault, lag }, at))
    }
}

fn timed_out(phase: Phase, waited: Duration) -> Fault {
    Fault::new(Cause::TimedOut, phase, &format!("no answer after {} ms", waited.as_millis()))
}

impl NodeState {
    fn phase(&self) -> Phase {
        self.phase.unwrap_or(Phase::Resolve)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.in_auth = phase == Phase::Auth;
        // Queries after the verdict, which make it more precise, do not count toward the check's time.
        if self.verdict.is_none() {
            self.leave(now);
            self.phase = Some(phase);
        }
    }

    fn leave(&mut self, now: Instant) {
        if let Some(phase) = self.phase {
            self.phases.add(phase, now - self.entered);
        }
        self.entered = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Status;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn two() -> (Progress, [Arc<NodeProgress>; 2]) {
        let progress = Progress::begin();
        let nodes = ["one", "two"].map(|name| progress.node(&name.into(), Role::Server));
        (progress, nodes)
    }

    fn outcome(progress: &Progress) -> Outcome {
        progress.outcome(Alias::try_from("main").unwrap(), CheckKind::RoundTrip, Needs::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_without_a_verdict_timed_out_in_the_phase_that_it_was_in() {
        let (progress, [one, two]) = two();
        one.enter(Phase::Connect);
        two.enter(Phase::Write);
        tokio::time::advance(ms(10)).await;
        one.enter(Phase::Write);
        tokio::time::advance(ms(5)).await;
        one.enter(Phase::Read);
        tokio::time::advance(ms(1)).await;
        one.conclude(Ok(()));
        tokio::time::advance(ms(34)).await;
        let outcome = outcome(&progress);
        let times = |node: usize| outcome.nodes[node].phases.iter().collect::<Vec<_>>();
        assert_eq!(times(0), [(Phase::Connect, ms(10)), (Phase::Write, ms(5)), (Phase::Read, ms(1))]);
        assert_eq!(outcome.nodes[0].fault, None);
        assert_eq!(times(1), [(Phase::Write, ms(50))]);
        let fault = outcome.nodes[1].fault.as_ref().unwrap();
        assert_eq!(
            (fault.cause, fault.phase, &*fault.said),
            (Cause::TimedOut, Phase::Write, "no answer after 50 ms")
        );
        assert_eq!(outcome.elapsed, ms(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_finding_after_the_verdict_adds_detail_and_takes_no_time() {
        let (progress, [one, two]) = two();
        for node in [&one, &two] {
            node.enter(Phase::Read);
            node.conclude(Err(node.fault(Cause::Masked, "")));
        }
        tokio::time::advance(ms(20)).await;
        one.enter(Phase::Write);
        one.conclude(Err(Fault::new(Cause::Stale, Phase::Read, "")));
        let outcome = outcome(&progress);
        assert_eq!(outcome.cause(), Some(Cause::Stale));
        assert_eq!(outcome.elapsed, ms(0));
        assert_eq!(outcome.nodes[0].phases.iter().collect::<Vec<_>>(), [(Phase::Read, ms(0))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_knows_no_node_in_time_is_down() {
        let progress = Progress::begin();
        progress.node(&"gone".into(), Role::Server).withdraw();
        tokio::time::advance(ms(7)).await;
        let outcome = outcome(&progress);
        assert_eq!((outcome.status(), outcome.cause()), (Status::Down, Some(Cause::TimedOut)));
        assert_eq!(outcome.elapsed, ms(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_checked_once_more_has_the_later_verdict_and_the_time_of_both() {
        let (progress, [one, two]) = two();
        two.conclude(Ok(()));
        one.enter(Phase::Write);
        tokio::time::advance(ms(3)).await;
        one.conclude(Err(one.fault(Cause::ReadOnly, "")));
        one.reopen();
        one.enter(Phase::Write);
        tokio::time::advance(ms(4)).await;
        one.conclude(Ok(()));
        let outcome = outcome(&progress);
        assert_eq!(outcome.status(), Status::Up);
        assert_eq!(outcome.nodes[0].phases.get(Phase::Write), Some(ms(7)));
        assert_eq!(outcome.elapsed, ms(7));
    }
}
