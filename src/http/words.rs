//! What is said about a faulty alias, and to whom.

use super::access::View;
use crate::outcome::{Cause, Fault, NodeOutcome, Outcome, Role};

/// One line on what is wrong with an alias, or `None` if nothing is: for each cause its stable name, a colon,
/// and
///
/// - for one who may see details, the nodes with their phases and words, and the hint:
///   `refused: at mc-1:11211 in connect: Connection refused (os error 111). Nothing accepts ...`,
/// - for anyone else the hint, and of how many nodes it is true: `refused: Nothing accepts ... (1 of 2
///    nodes)`;
///
/// and at the end, where nodes are counted, by how many there are too few.
pub(super) fn error(outcome: &Outcome, view: View) -> Option<String> {
    outcome.cause()?;
    let mut causes: Vec<Cause> = Vec::new();
    for (_, fault) in outcome.faults() {
        if !causes.contains(&fault.cause) {
            causes.push(fault.cause);
        }
    }
    let of_each_cause = causes.into_iter().map(|cause| of_cause(outcome, cause, view));
    Some(of_each_cause.chain(outcome.shortfall()).collect::<Vec<_>>().join(" | "))
}

fn of_cause(outcome: &Outcome, cause: Cause, view: View) -> String {
    let faults = outcome.faults().filter(|(_, fault)| fault.cause == cause);
    let hint = cause.hint();
    match view {
        View::Details => {
            let places: Vec<_> = faults.map(|(node, fault)| place(node, fault)).collect();
            let places = places.join("; ");
            format!("{cause}: {}. {hint}", places.trim_end_matches('.'))
        }
        View::Verdicts if outcome.nodes.len() == 1 => format!("{cause}: {hint}"),
        View::Verdicts => format!("{cause}: {hint} ({} of {} nodes)", faults.count(), outcome.nodes.len()),
    }
}

/// Where a fault was met and what was said: `at mc-1:11211 in connect: Connection refused (os error 111)`, or `at
/// replica cache-2:6379 in read`.
pub(crate) fn place(node: &NodeOutcome, Fault { phase, said, cause: _ }: &Fault) -> String {
    let role = match node.role {
        Role::Server => String::new(),
        role @ (Role::Replica | Role::Sentinel | Role::Endpoint) => format!("{} ", role.name()),
    };
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    format!("at {role}{} in {phase}{said}", node.node)
}
