//! [`Problem`]: a fault of a node or a finding, as representations list them.

use std::fmt;

use super::{Cause, Fault, Finding, NodeOutcome, Role, Wire, hint, next_step};

/// One thing that is wrong with an alias: the fault of a node, or a finding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Problem<'a> {
    /// A node failed its check.
    Fault(&'a NodeOutcome, &'a Fault, Wire),
    /// The servers answer, but their answers show a problem.
    Finding(&'a Finding),
}

impl<'a> Problem<'a> {
    /// The cause of the problem.
    #[must_use]
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Fault(_, fault, _) => fault.cause,
            Self::Finding(finding) => finding.cause,
        }
    }

    /// The name of the faulty node.
    pub(super) fn node(self) -> Option<&'a str> {
        match self {
            Self::Fault(node, ..) => Some(&node.node),
            Self::Finding(_) => None,
        }
    }

    /// One sentence that tells the operator where to look.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Fault(node, fault, wire) => hint(node, fault, *wire),
            Self::Finding(finding) => finding.cause.hint(),
        }
    }

    /// The command to run next, if one helps.
    #[must_use]
    pub(crate) fn next_step(&self) -> Option<String> {
        match self {
            Self::Fault(node, fault, wire) => next_step(node, fault, *wire),
            Self::Finding(_) => None,
        }
    }

    /// The place of the problem without its text: `at replica cache-2:6379 in read`, or `at key b:p:3`.
    #[must_use]
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Fault(node, fault, _) => {
                let role = match node.role {
                    Role::Server => String::new(),
                    role @ (Role::Replica | Role::Sentinel | Role::Endpoint) => format!("{} ", role.name()),
                };
                format!("at {role}{} in {}", node.node, fault.phase)
            }
            Self::Finding(finding) => format!("at {}", finding.about),
        }
    }
}

impl fmt::Display for Problem<'_> {
    /// The place and the text: `at mc-1:11211 in connect: Connection refused (os error 111)`, `at replica cache-2:6379
    /// in read`, or `key b:p:3: 25000 entries (down at 20000 or more)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(_, Fault { said, .. }, _) if said.is_empty() => f.write_str(&self.place()),
            Self::Fault(_, Fault { said, .. }, _) => write!(f, "{}: {said}", self.place()),
            Self::Finding(finding) => finding.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Phase, Phases, Status};

    fn fault(said: &str) -> Fault {
        Fault::new(Cause::Behind, Phase::Read, said)
    }

    fn node(name: &str, role: Role) -> NodeOutcome {
        NodeOutcome { role, ..NodeOutcome::server(name, Phases::default(), None) }
    }

    #[test]
    fn a_fault_is_shown_at_its_node_with_its_words_if_it_has_some() {
        let shown = |node: &NodeOutcome, fault: &Fault| {
            let problem = Problem::Fault(node, fault, Wire::default());
            (problem.place(), problem.to_string())
        };
        let server = node("cache-1:6379", Role::Server);
        assert_eq!(
            shown(&server, &fault("too late")),
            ("at cache-1:6379 in read".to_owned(), "at cache-1:6379 in read: too late".to_owned())
        );
        let place = "at replica cache-2:6379 in read".to_owned();
        assert_eq!(shown(&node("cache-2:6379", Role::Replica), &fault("")), (place.clone(), place));
    }

    #[test]
    fn a_fault_has_the_hint_and_the_command_of_its_node() {
        let (node, fault) = (node("cache-2:6379", Role::Replica), fault(""));
        let problem = Problem::Fault(&node, &fault, Wire::default());
        assert_eq!(problem.hint(), Cause::Behind.hint());
        let command = "redis-cli -h cache-2 -p 6379 INFO replication";
        assert_eq!(problem.next_step().as_deref(), Some(command));
    }

    #[test]
    fn a_finding_is_shown_at_its_subject_and_has_no_command() {
        let finding = Finding::new(Status::Down, Cause::TooLong, "key b:p:3", "25000 entries");
        let problem = Problem::Finding(&finding);
        assert_eq!(problem.place(), "at key b:p:3");
        assert_eq!(problem.to_string(), "key b:p:3: 25000 entries");
        assert_eq!((problem.hint(), problem.next_step()), (Cause::TooLong.hint(), None));
    }
}
