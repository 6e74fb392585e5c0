//! The cause `slow`: a node passes its check, but takes longer than configured.

use std::time::Duration;

use super::{Cause, Finding, NodeOutcome, Outcome, Phase, Role, Status};
use crate::span;

impl Outcome {
    /// Adds a finding about the slowest node that passed, if it took longer than `limit`. A cache that is down is not also
    /// slow.
    pub(crate) fn judge_speed(&mut self, limit: Duration) {
        if self.severity() == Status::Down {
            return;
        }
        let passed = self.nodes.iter().filter(|node| node.fault.is_none());
        let slowest = passed.map(|node| (judged(node).map(|(_, time)| time).sum::<Duration>(), node));
        let Some((took, node)) = slowest.max_by_key(|(took, _)| *took).filter(|(took, _)| *took > limit)
        else {
            return;
        };
        let Some((phase, longest)) = judged(node).max_by_key(|(_, time)| *time) else { return };
        let [took, longest, limit] = [took, longest, limit].map(span::fine);
        let said = format!("{longest} of {took} (degraded above {limit})");
        let finding =
            Finding::new(Status::Degraded, Cause::Slow, &format!("{} in {phase}", node.node), &said);
        self.extra.get_or_insert_default().findings.push(finding);
    }
}

/// The times that count: those of all phases, including a dial. The read of a replica is a wait for the primary's write,
/// which `replica_within` limits.
fn judged(node: &NodeOutcome) -> impl Iterator<Item = (Phase, Duration)> {
    let waits = node.role == Role::Replica;
    node.phases.iter().filter(move |(phase, _)| !(waits && *phase == Phase::Read))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Fault, Needs, Phases};

    const LIMIT: Duration = Duration::from_millis(200);

    /// A node with these times in milliseconds.
    fn node(name: &str, role: Role, times: &[(Phase, u64)]) -> NodeOutcome {
        let mut phases = Phases::default();
        for (phase, ms) in times {
            phases.add(*phase, Duration::from_millis(*ms));
        }
        NodeOutcome { role, ..NodeOutcome::server(name, phases, None) }
    }

    fn judged(nodes: Vec<NodeOutcome>) -> Outcome {
        let (alias, began) = (Alias::try_from("main").unwrap(), (Instant::now(), SystemTime::now()));
        let mut outcome =
            Outcome::plain(alias, CheckKind::RoundTrip, began, LIMIT * 2, nodes, Needs::default());
        outcome.judge_speed(LIMIT);
        outcome
    }

    fn found(nodes: Vec<NodeOutcome>) -> Vec<String> {
        judged(nodes).findings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_slowest_node_is_named_with_the_phase_that_took_most_of_its_time() {
        let slow = node("a", Role::Server, &[(Phase::Connect, 90), (Phase::Write, 120), (Phase::Read, 10)]);
        let slower = node("b", Role::Server, &[(Phase::Write, 1), (Phase::Read, 250)]);
        let outcome = judged(vec![slow.clone(), slower.clone()]);
        assert_eq!((outcome.status(), outcome.cause()), (Status::Degraded, Some(Cause::Slow)));
        assert_eq!(found(vec![slow.clone(), slower]), ["b in read: 250ms of 251ms (degraded above 200ms)"]);
        assert_eq!(found(vec![slow]), ["a in write: 120ms of 220ms (degraded above 200ms)"]);
    }

    #[test]
    fn the_limit_itself_is_not_slow_and_nodes_do_not_add_up() {
        let node = |name| node(name, Role::Server, &[(Phase::Write, 100), (Phase::Read, 100)]);
        assert_eq!(judged(vec![node("a"), node("b")]).status(), Status::Up);
    }

    #[test]
    fn the_wait_of_a_replica_for_the_write_is_not_judged_but_its_dial_is() {
        let server = node("a", Role::Server, &[(Phase::Write, 1)]);
        let late = node("b", Role::Replica, &[(Phase::Read, 900)]);
        assert_eq!(judged(vec![server.clone(), late]).status(), Status::Up);
        let far = node("b", Role::Replica, &[(Phase::Connect, 300), (Phase::Read, 900)]);
        assert_eq!(found(vec![server, far]), ["b in connect: 300ms of 300ms (degraded above 200ms)"]);
    }

    #[test]
    fn a_cache_that_is_down_is_not_also_slow() {
        let slow = node("a", Role::Server, &[(Phase::Write, 500)]);
        let fault = Some(Fault::new(Cause::Refused, Phase::Connect, ""));
        let down = NodeOutcome { fault, ..node("b", Role::Server, &[(Phase::Connect, 600)]) };
        let outcome = judged(vec![slow.clone(), down.clone()]);
        assert_eq!((outcome.cause(), outcome.findings()), (Some(Cause::Refused), &[][..]));
        // A faulty replica leaves the cache working, and slow.
        let outcome = judged(vec![slow, NodeOutcome { role: Role::Replica, ..down }]);
        assert!(outcome.is_due_to(Cause::Refused) && outcome.is_due_to(Cause::Slow));
    }
}
