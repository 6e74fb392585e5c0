//! The wording of faults, by the access level of the reader, and of times.

use std::time::Duration;

use tokio::time::Instant;

use crate::http::access::AccessLevel;
use crate::outcome::{Cause, Outcome, Problem, Report, Reused};
use crate::record::{Since, Unchecked};
use crate::span::timestamp;

/// The age of the report at `now`, from the start of its first check: `checked 0.9 ms ago`.
pub(super) fn age(report: &Report, now: Instant) -> Option<String> {
    let age = report.age(now)?;
    let seconds = age.as_secs_f64();
    Some(if age < Duration::from_secs(1) {
        format!("checked {:.1} ms ago", seconds * 1e3)
    } else {
        format!("checked {seconds:.1} s ago")
    })
}

/// One line on the faults of an alias, or `None` if it is up: for each cause its stable name, a colon, and
///
/// - with access to details, the nodes with their phases and words, and the hint:
///   `refused: at mc-1:11211 in connect: Connection refused (os error 111). The server refused ...`,
/// - otherwise the hint, and the number of nodes that it is true of: `refused: The server refused ... (1 of 2 nodes)`;
///
/// before them `down, not required`, if that is so, and at the end, if nodes are counted, the number of missing nodes.
pub(super) fn error(outcome: &Outcome, view: AccessLevel) -> Option<String> {
    outcome.cause()?;
    let of_each_cause = causes(outcome).into_iter().map(|cause| of_cause(outcome, cause, view));
    let remark = outcome.not_required().map(str::to_owned);
    Some(remark.into_iter().chain(of_each_cause).chain(outcome.shortfall()).collect::<Vec<_>>().join(" | "))
}

/// The origin of a reused result, with access to details: `reused from web-2, whose check began 840 ms earlier`.
pub(super) fn reused(outcome: &Outcome, view: AccessLevel) -> Option<String> {
    match (view, outcome.reused()) {
        (AccessLevel::Details, Some(Reused { from, age })) => {
            Some(format!("reused from {from}, whose check began {} ms earlier", age.as_millis()))
        }
        (AccessLevel::Details, None) | (AccessLevel::Verdicts, _) => None,
    }
}

/// What checks saw of the start of a status: `since 2026-11-22T10:51:00Z, last seen up 2026-11-22T10:50:52Z`, or `at least
/// since 2026-11-22T10:51:00Z, the first check after this sidecar started`; and the longest time in which nobody looked.
pub(super) fn since(since: &Since) -> String {
    let began = timestamp(since.began_at);
    let start = match since.before {
        Some(before) => {
            format!("since {began}, last seen {} {}", before.status.word(), timestamp(before.at))
        }
        None => format!("at least since {began}, the first check after this sidecar started"),
    };
    match since.unchecked {
        Some(Unchecked { from, to, .. }) => {
            format!("{start}, not checked from {} to {}", timestamp(from), timestamp(to))
        }
        None => start,
    }
}

/// The causes of the problems of an alias, each once, in the order of the problems.
pub(super) fn causes(outcome: &Outcome) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for problem in outcome.problems() {
        if !causes.contains(&problem.cause()) {
            causes.push(problem.cause());
        }
    }
    causes
}

/// The hint for a cause: that of the first problem with it.
pub(super) fn hint(outcome: &Outcome, cause: Cause) -> &'static str {
    let first = outcome.problems().find(|problem| problem.cause() == cause);
    first.map_or_else(|| cause.hint(), |problem| problem.hint())
}

/// The most places of one cause that are listed; the details have all.
const LISTED: usize = 20;

fn of_cause(outcome: &Outcome, cause: Cause, view: AccessLevel) -> String {
    let hint = hint(outcome, cause);
    match view {
        AccessLevel::Details => {
            let problems: Vec<_> = outcome.problems().filter(|problem| problem.cause() == cause).collect();
            let places: Vec<_> = problems.iter().take(LISTED).map(ToString::to_string).collect();
            let places = places.join("; ");
            let places = places.trim_end_matches('.');
            match problems.len().saturating_sub(LISTED) {
                0 => format!("{cause}: {places}. {hint}"),
                more => format!("{cause}: {places}; and {more} more. {hint}"),
            }
        }
        AccessLevel::Verdicts => {
            let counts = counts(outcome, cause).map(|counts| format!(" ({counts})")).unwrap_or_default();
            format!("{cause}: {hint}{counts}")
        }
    }
}

/// The number of nodes or findings with a cause, if that is not obvious: `1 of 2 nodes`.
pub(super) fn counts(outcome: &Outcome, cause: Cause) -> Option<String> {
    let problems = || outcome.problems().filter(|problem| problem.cause() == cause);
    let nodes = problems().filter(|problem| matches!(problem, Problem::Fault(..))).count();
    let mut counts = Vec::new();
    if nodes > 0 && outcome.nodes.len() > 1 {
        counts.push(format!("{nodes} of {} nodes", outcome.nodes.len()));
    }
    match problems().count() - nodes {
        0 | 1 => {}
        findings => counts.push(format!("{findings} times")),
    }
    (!counts.is_empty()).then(|| counts.join(", "))
}
