//! [`Outcome`]: the result of one check of one alias, and its parts, a file each. Pure, no I/O.

pub(crate) mod advice;
mod cause;
mod expiry;
mod fault;
mod figure;
mod finding;
mod hint;
mod kind;
mod next_step;
mod node;
mod phase;
mod problem;
mod report;
mod slow;
mod status;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::alias::Alias;

pub use cause::Cause;
pub(crate) use expiry::judge as judge_expiries;
pub use expiry::{Expiries, Expiring, Expiry};
pub use fault::Fault;
pub(crate) use fault::printable;
pub use figure::Figure;
pub use finding::{Finding, Measure};
pub(crate) use hint::hint;
pub use kind::CheckKind;
pub(crate) use next_step::next_step;
pub use next_step::{AddressSource, LoginSource, Protocol, Wire};
pub use node::{Needs, NodeOutcome, Quorum, Role};
pub use phase::{Phase, Phases};
pub(crate) use problem::Problem;
pub use report::{Forwarding, Report, SkipReason, Skipped};
pub use status::Status;

/// The result of one check of one alias.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The alias that was checked.
    pub alias: Alias,
    /// The kind of check.
    pub kind: CheckKind,
    /// The start of the check on the monotonic clock, which decides which callers may share it.
    pub began: Instant,
    /// The start of the check on the wall clock.
    pub began_at: SystemTime,
    /// The duration of the check, from its start to its result.
    pub elapsed: Duration,
    /// The number of connections that it opened, to any server.
    pub connections: u32,
    /// Each node: the servers, then the replicas, then the sentinels and endpoints that locate them.
    pub nodes: Vec<NodeOutcome>,
    /// The requirements for the nodes.
    pub needs: Needs,
    /// The results beyond those of the nodes; boxed, since thousands of round trips have none.
    pub extra: Option<Box<OutcomeExtra>>,
}

/// The results of a check beyond those of its nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutcomeExtra {
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// The figures that it was judged by.
    pub measures: Vec<Measure>,
    /// The steps of the check, if they were requested.
    pub steps: Vec<Step>,
    /// The dates at which certificates and tokens end, of each node that has some.
    pub expiries: Vec<Expiries>,
    /// The origin of the result, if another sidecar made it.
    pub reused: Option<Reused>,
}

/// A result that another sidecar made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reused {
    /// The name of the other sidecar.
    pub from: Box<str>,
    /// The age of its check when it was taken.
    pub age: Duration,
}

/// One command of a check, for a reader who wants to see each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The node that got the command.
    pub node: Arc<str>,
    /// The command, without secrets.
    pub command: String,
    /// The answer of a healthy server.
    pub expected: String,
    /// The actual answer.
    pub saw: String,
}

impl Outcome {
    /// The outcome of a check that ended without one, which only a bug or the end of this program can cause.
    #[must_use]
    pub fn lost(alias: Alias, kind: CheckKind, began: Instant) -> Self {
        let fault = Fault::new(Cause::Unreachable, Phase::Resolve, "cache-canary aborted the check");
        let node = NodeOutcome::server("cache-canary", Phases::default(), Some(fault));
        let (began_at, elapsed, needs) = (SystemTime::now(), Duration::ZERO, Needs::default());
        Self::plain(alias, kind, (began, began_at), elapsed, vec![node], needs)
    }

    /// The outcome of a check without findings beyond those of its nodes.
    #[must_use]
    pub fn plain(
        alias: Alias,
        kind: CheckKind,
        (began, began_at): (Instant, SystemTime),
        elapsed: Duration,
        nodes: Vec<NodeOutcome>,
        needs: Needs,
    ) -> Self {
        Self { alias, kind, began, began_at, elapsed, connections: 0, nodes, needs, extra: None }
    }

    /// The findings beyond the nodes' faults, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.extra.as_ref().map_or(&[], |extra| &extra.findings)
    }

    /// The figures that it was judged by.
    #[must_use]
    pub fn measures(&self) -> &[Measure] {
        self.extra.as_ref().map_or(&[], |extra| &extra.measures)
    }

    /// The steps of the check, if they were requested.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.extra.as_ref().map_or(&[], |extra| &extra.steps)
    }

    /// The dates at which certificates and tokens end, the nearest first, each with its node if it is that of one.
    #[must_use]
    pub fn expiries(&self) -> Vec<(Option<&str>, &Expiry)> {
        let known = self.extra.iter().flat_map(|extra| &extra.expiries);
        let mut dates: Vec<_> = known
            .flat_map(|Expiries { node, dates }| dates.iter().map(|date| (node.as_deref(), date)))
            .collect();
        dates.sort_by_key(|(_, date)| date.at);
        dates
    }

    /// The origin of the result, if another sidecar made it.
    #[must_use]
    pub fn reused(&self) -> Option<&Reused> {
        self.extra.as_ref().and_then(|extra| extra.reused.as_ref())
    }

    /// The status that follows from the nodes and the findings together; no worse than degraded if the cache is not
    /// required.
    #[must_use]
    pub fn status(&self) -> Status {
        let severity = self.severity();
        if self.needs.required { severity } else { severity.min(Status::Degraded) }
    }

    /// The status that a required cache would have.
    fn severity(&self) -> Status {
        if self.nodes.is_empty() {
            return Status::Skipped;
        }
        let found = self.findings().iter().map(|finding| finding.status).max();
        self.status_of_nodes().max(found.unwrap_or(Status::Up))
    }

    /// `down, not required` if it would be down if the cache was required.
    #[must_use]
    pub(crate) fn not_required(&self) -> Option<&'static str> {
        (self.severity() > self.status()).then_some("down, not required")
    }

    /// The status in words: `up`, `degraded`, `down`, or `down, not required`.
    #[must_use]
    pub(crate) fn words(&self) -> &'static str {
        self.not_required().unwrap_or_else(|| self.status().word())
    }

    /// The status in capitals, for a line: `DOWN`, or `DEGRADED (down, not required)`.
    #[must_use]
    pub(crate) fn capitals(&self) -> String {
        let remark = self.not_required().map(|remark| format!(" ({remark})")).unwrap_or_default();
        format!("{}{remark}", self.status())
    }

    fn status_of_nodes(&self) -> Status {
        let mut status = Status::Up;
        if self.nodes.iter().all(|node| node.fault.is_none()) {
            return status;
        }
        let (up, all) = self.tally(Role::Server);
        if up < all {
            let enough = match self.needs.servers {
                Quorum::All => false,
                Quorum::AtLeast(least) => up >= least as usize,
            };
            status = status.max(if enough { Status::Degraded } else { Status::Down });
        }
        let (up, all) = self.tally(Role::Replica);
        if up < all {
            status = status.max(if self.needs.every_replica { Status::Down } else { Status::Degraded });
        }
        let (up, all) = self.tally(Role::Sentinel);
        if up < majority(all) || self.nodes.iter().any(NodeOutcome::contradicts) {
            status = status.max(Status::Degraded);
        }
        let (up, all) = self.tally(Role::Endpoint);
        if up < all {
            status = status.max(Status::Degraded);
        }
        status
    }

    /// The number of nodes of this role that are up, and the number of all.
    #[must_use]
    pub(crate) fn tally(&self, role: Role) -> (usize, usize) {
        let of_role = || self.nodes.iter().filter(|node| node.role == role);
        (of_role().filter(|node| node.fault.is_none()).count(), of_role().count())
    }

    /// The number of nodes that are missing, for roles that are counted: `1 of 3 sentinels up, and a failover needs 2`.
    #[must_use]
    pub(crate) fn shortfall(&self) -> Option<String> {
        let mut said = Vec::new();
        if let Quorum::AtLeast(least) = self.needs.servers
            && let (up, all) = self.tally(Role::Server)
            && up < all
        {
            said.push(format!("{up} of {all} servers up, and the quorum is {least}"));
        }
        let (up, all) = self.tally(Role::Sentinel);
        if up < majority(all) {
            said.push(format!("{up} of {all} sentinels up, and a failover needs {}", majority(all)));
        }
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// The name of this check in every representation: `cache.main`, or `cache.main.queue`.
    #[must_use]
    pub fn name(&self) -> String {
        self.name_parts().concat()
    }

    /// The same in parts.
    pub(crate) fn name_parts(&self) -> [&str; 4] {
        let [alias, dot, kind] = self.kind.entry_parts(&self.alias);
        ["cache.", alias, dot, kind]
    }

    /// The same without the prefix, for a context that is only about caches: `main`, or `main.queue`.
    #[must_use]
    pub fn entry(&self) -> String {
        self.kind.entry(&self.alias)
    }

    /// The problems: faulty nodes in the order in which they are listed, then findings. An alias that is up may have
    /// some, such as one sentinel of three.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem<'_>> {
        let faults = self
            .nodes
            .iter()
            .filter_map(|node| Some(Problem::Fault(node, node.fault.as_ref()?, self.needs.wire)));
        faults.chain(self.findings().iter().map(Problem::Finding))
    }

    /// The main cause of an alias that is not up: that of its first faulty node, or of a finding if that is worse.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.problem().map(|problem| problem.cause())
    }

    /// The problem with the main cause.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<Problem<'_>> {
        let contradicts =
            |problem: &Problem<'_>| matches!(problem, Problem::Fault(node, ..) if node.contradicts());
        match self.severity() {
            // A lost Sentinel beside one that contradicts the others would not degrade the alias.
            Status::Degraded => self.standing().find(contradicts).or_else(|| self.standing().next()),
            Status::Skipped | Status::Up | Status::Down => self.standing().next(),
        }
    }

    /// `true` if one of the problems that make it what it is has this cause.
    #[must_use]
    pub(crate) fn is_due_to(&self, cause: Cause) -> bool {
        self.standing().any(|problem| problem.cause() == cause)
    }

    /// A hash of the names of the nodes whose faults give it its status, whatever their order, and of whether a required
    /// cache would be down.
    #[must_use]
    pub(crate) fn faulty_nodes(&self) -> u64 {
        let names: BTreeSet<_> = self.standing().filter_map(Problem::node).collect();
        BuildHasherDefault::<DefaultHasher>::default().hash_one((names, self.not_required()))
    }

    /// The problems that give it its status.
    fn standing(&self) -> impl Iterator<Item = Problem<'_>> {
        let status = self.severity();
        let by_nodes = self.status_of_nodes() == status;
        let is_wrong = match status {
            Status::Skipped | Status::Up => false,
            Status::Degraded | Status::Down => true,
        };
        self.problems().filter(move |problem| {
            is_wrong
                && match problem {
                    Problem::Fault(..) => by_nodes,
                    Problem::Finding(finding) => finding.status == status,
                }
        })
    }
}

/// More than half: the number of sentinels that must elect the one that fails over ("Redis Sentinel documentation",
/// Fundamental things to know).
pub(crate) fn majority(all: usize) -> usize {
    if all == 0 { 0 } else { all / 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of an alias with these nodes: a role, the number up, and the number down.
    fn status(nodes: &[(Role, usize, usize)], needs: Needs) -> Status {
        outcome(nodes, needs).status()
    }

    fn outcome(nodes: &[(Role, usize, usize)], needs: Needs) -> Outcome {
        let node =
            |role, fault| NodeOutcome { role, ..NodeOutcome::server("node", Phases::default(), fault) };
        let fault = || Fault::new(Cause::Refused, Phase::Connect, "");
        let nodes = nodes.iter().flat_map(|&(role, up, down)| {
            let up = (0..up).map(move |_| node(role, None));
            up.chain((0..down).map(move |_| node(role, Some(fault()))))
        });
        let (alias, began_at) = (Alias::try_from("main").unwrap(), SystemTime::now());
        let (began, elapsed) = (Instant::now(), Duration::ZERO);
        Outcome::plain(alias, CheckKind::RoundTrip, (began, began_at), elapsed, nodes.collect(), needs)
    }

    #[test]
    fn the_hint_of_a_fault_blames_no_server_that_was_not_dialed() {
        let hint = |cause, phase| Fault::new(cause, phase, "").hint();
        assert_eq!(hint(Cause::TimedOut, Phase::Write), Cause::TimedOut.hint());
        assert_eq!(hint(Cause::Unresolvable, Phase::Resolve), Cause::Unresolvable.hint());
        assert!(hint(Cause::TimedOut, Phase::Resolve).contains("DNS servers"));
        let fault = Fault::new(Cause::Unreachable, Phase::Connect, "no files").of_our_own();
        assert!(fault.hint().starts_with("cache-canary lacks a resource"));
        let reworded = fault.saying("no files at all").of_several(1, 2).although_it_answers("PING");
        assert!(reworded.is_own);
    }

    #[test]
    fn every_server_has_to_be_up_unless_there_is_a_quorum() {
        let quorum = Needs { servers: Quorum::AtLeast(2), ..Needs::default() };
        for (up, down, all, at_least_two) in [
            (3, 0, Status::Up, Status::Up),
            (2, 1, Status::Down, Status::Degraded),
            (1, 2, Status::Down, Status::Down),
            (0, 3, Status::Down, Status::Down),
        ] {
            assert_eq!(status(&[(Role::Server, up, down)], Needs::default()), all, "{up} {down}");
            assert_eq!(status(&[(Role::Server, up, down)], quorum), at_least_two, "{up} {down}");
        }
    }

    #[test]
    fn a_cache_that_is_not_required_is_degraded_where_another_is_down_and_keeps_its_cause() {
        let needs = Needs { required: false, ..Needs::default() };
        let down = outcome(&[(Role::Server, 0, 1)], needs);
        assert_eq!((down.status(), down.cause()), (Status::Degraded, Some(Cause::Refused)));
        assert_eq!(down.words(), "down, not required");
        let degraded = outcome(&[(Role::Server, 1, 0), (Role::Replica, 0, 1)], needs);
        assert_eq!((degraded.status(), degraded.words()), (Status::Degraded, "degraded"));
        assert_eq!(outcome(&[(Role::Server, 1, 0)], needs).words(), "up");
        let mut found = outcome(&[(Role::Server, 1, 0)], needs);
        let finding = |status, cause| Finding::new(status, cause, "key b:p", "");
        let findings = vec![finding(Status::Down, Cause::TooLong), finding(Status::Degraded, Cause::Skewed)];
        found.extra = Some(Box::new(OutcomeExtra { findings, ..OutcomeExtra::default() }));
        assert_eq!((found.words(), found.cause()), ("down, not required", Some(Cause::TooLong)));
        assert!(!found.is_due_to(Cause::Skewed));
    }

    #[test]
    fn a_faulty_replica_is_degraded_unless_every_one_is_needed() {
        let needed = Needs { every_replica: true, ..Needs::default() };
        let nodes = [(Role::Server, 1, 0), (Role::Replica, 1, 1)];
        assert_eq!(status(&nodes, Needs::default()), Status::Degraded);
        assert_eq!(status(&nodes, needed), Status::Down);
        assert_eq!(status(&[(Role::Server, 0, 1), (Role::Replica, 2, 0)], Needs::default()), Status::Down);
    }

    #[test]
    fn too_few_sentinels_are_those_that_elect_no_primary() {
        for (up, down, expected) in [
            (3, 0, Status::Up),
            (2, 1, Status::Up),
            (1, 2, Status::Degraded),
            (0, 3, Status::Degraded),
            (1, 1, Status::Degraded),
            (1, 0, Status::Up),
        ] {
            let nodes = [(Role::Server, 1, 0), (Role::Sentinel, up, down)];
            assert_eq!(status(&nodes, Needs::default()), expected, "{up} {down}");
        }
        let one_of_three = outcome(&[(Role::Server, 1, 0), (Role::Sentinel, 1, 2)], Needs::default());
        let shortfall = one_of_three.shortfall();
        assert_eq!(shortfall.as_deref(), Some("1 of 3 sentinels up, and a failover needs 2"));
    }

    #[test]
    fn one_sentinel_that_contradicts_the_others_is_degraded_and_its_fault_is_the_cause() {
        let mut outcome = outcome(&[(Role::Server, 1, 0), (Role::Sentinel, 3, 2)], Needs::default());
        assert_eq!((outcome.status(), outcome.cause()), (Status::Up, None));
        outcome.nodes[5].fault = Some(Fault::new(Cause::Conflict, Phase::Read, ""));
        assert_eq!((outcome.status(), outcome.cause()), (Status::Degraded, Some(Cause::Conflict)));
    }

    #[test]
    fn the_servers_that_a_quorum_misses_are_counted_beside_the_sentinels() {
        let quorum = Needs { servers: Quorum::AtLeast(2), ..Needs::default() };
        let shortfall = |nodes: &[_], needs| outcome(nodes, needs).shortfall();
        assert_eq!(shortfall(&[(Role::Server, 3, 0), (Role::Sentinel, 2, 1)], quorum), None);
        assert_eq!(shortfall(&[(Role::Server, 2, 1)], Needs::default()), None);
        let nodes = [(Role::Server, 2, 1), (Role::Sentinel, 1, 2)];
        assert_eq!(
            shortfall(&nodes, quorum).as_deref(),
            Some("2 of 3 servers up, and the quorum is 2; 1 of 3 sentinels up, and a failover needs 2")
        );
    }

    #[test]
    fn the_status_in_capitals_tells_that_a_cache_would_be_down_if_it_was_required() {
        let optional = Needs { required: false, ..Needs::default() };
        let capitals = |up, down, needs| outcome(&[(Role::Server, up, down)], needs).capitals();
        assert_eq!(capitals(1, 0, optional), "UP");
        assert_eq!(capitals(0, 1, Needs::default()), "DOWN");
        assert_eq!(capitals(0, 1, optional), "DEGRADED (down, not required)");
    }

    #[test]
    fn the_faulty_nodes_are_told_apart_by_their_names_and_by_what_a_required_cache_would_be() {
        let hash = |faulty: &[&str], required| {
            let mut outcome =
                outcome(&[(Role::Server, 1, faulty.len())], Needs { required, ..Needs::default() });
            for (node, name) in outcome.nodes[1..].iter_mut().zip(faulty) {
                node.node = (*name).into();
            }
            outcome.faulty_nodes()
        };
        assert_eq!(hash(&["a", "b"], true), hash(&["b", "a"], true));
        let all = [hash(&[], true), hash(&["a"], true), hash(&["a", "b"], true), hash(&["a"], false)];
        assert_eq!(BTreeSet::from(all).len(), all.len());
    }

    #[test]
    fn the_results_beyond_those_of_the_nodes_are_told_if_there_are_some() {
        let mut outcome = outcome(&[(Role::Server, 1, 0)], Needs::default());
        let told = |outcome: &Outcome| {
            let (findings, measures) = (outcome.findings().len(), outcome.measures().len());
            (findings, measures, outcome.steps().len(), outcome.reused().cloned())
        };
        assert_eq!(told(&outcome), (0, 0, 0, None));
        let text = String::new;
        let step = Step { node: "cache".into(), command: text(), expected: text(), saw: text() };
        let reused = Some(Reused { from: "web-2".into(), age: Duration::ZERO });
        outcome.extra = Some(Box::new(OutcomeExtra {
            findings: vec![Finding::new(Status::Degraded, Cause::Slow, "", "")],
            measures: vec![Measure { figure: Figure::Hits, of: None, value: 1.0 }; 2],
            steps: vec![step; 3],
            expiries: Vec::new(),
            reused: reused.clone(),
        }));
        assert_eq!(told(&outcome), (1, 2, 3, reused));
    }

    #[test]
    fn a_check_is_named_by_its_alias_and_its_kind() {
        let mut outcome = outcome(&[], Needs::default());
        let names = |outcome: &Outcome| (outcome.name(), outcome.entry());
        assert_eq!(names(&outcome), ("cache.main".to_owned(), "main".to_owned()));
        outcome.kind = CheckKind::Queue;
        assert_eq!(names(&outcome), ("cache.main.queue".to_owned(), "main.queue".to_owned()));
    }

    #[test]
    fn an_endpoint_without_an_answer_is_degraded() {
        let nodes = [(Role::Server, 2, 0), (Role::Endpoint, 0, 1)];
        assert_eq!(status(&nodes, Needs::default()), Status::Degraded);
    }

    #[test]
    fn an_alias_that_is_up_has_no_cause_even_if_a_sentinel_has_one() {
        let outcome = outcome(&[(Role::Server, 1, 0), (Role::Sentinel, 2, 1)], Needs::default());
        assert_eq!((outcome.cause(), outcome.problems().count()), (None, 1));
    }
}
