//! The last changes: the old and the new status of each check, the cause, and the nodes that the check saw. Only for
//! callers with access to details.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::json::{NodeDetail, line, milliseconds};
use crate::outcome::{Cause, Status};
use crate::record::{Past, Transition};
use crate::span::{timestamp, timestamp_millis, whole};

/// The changes as one line of JSON, the latest first.
#[must_use]
pub(crate) fn json(transitions: &[Arc<Transition>]) -> String {
    line(&transitions.iter().map(|transition| Change::of(transition)).collect::<Vec<_>>())
}

/// A line a change, the latest first, with the place of the problem, the cause that is over, and the last check before:
///
/// ```text
/// 2026-11-22T10:53:02.250Z  cache.main  DOWN -> UP    after at least 2m 2s (refused)  last seen DOWN 2026-11-22T10:52:57Z
/// 2026-11-22T10:51:00.250Z  cache.main  UP -> DOWN    after at least 3h 2m 10s  last seen UP 2026-11-22T10:50:55Z  refused at cache:6379 in connect
/// ```
#[must_use]
pub(crate) fn text(transitions: &[Arc<Transition>]) -> String {
    if transitions.is_empty() {
        return "no status has changed since the start\n".to_owned();
    }
    let names: Vec<_> = transitions.iter().map(|transition| name(transition)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let lines = transitions.iter().zip(names).map(|(transition, name)| {
        let from = transition.from().map_or("?", Status::as_str);
        let Transition { at, was, to, cause, place, .. } = &**transition;
        let was = was.as_ref().map_or_else(|| vec!["first check".to_owned()], self::was);
        let cause = cause.map(|cause| match place {
            Some(place) => format!("{cause} {place}"),
            None => cause.to_string(),
        });
        let words: Vec<_> = was.into_iter().chain(cause).collect();
        format!("{}  {name:width$}  {from} -> {to}  {}\n", timestamp_millis(*at), words.join("  "))
    });
    lines.collect()
}

/// `after at least 2m 2s (refused)`, and `last seen DOWN 2026-11-22T10:52:57Z`.
fn was(was: &Past) -> Vec<String> {
    let lasted = match (was.duration(), was.reasons(whole)) {
        (Some(duration), Some(reasons)) => Some(format!("after {duration} ({reasons})")),
        (Some(duration), None) => Some(format!("after {duration}")),
        (None, Some(reasons)) => Some(format!("({reasons})")),
        (None, None) => None,
    };
    let seen = format!("last seen {} {}", was.status, timestamp(was.last_seen));
    lasted.into_iter().chain([seen]).collect()
}

#[derive(Serialize)]
struct Change<'a> {
    at: String,
    check: String,
    /// Null at the first check: the earlier status is unknown.
    from: Option<&'static str>,
    to: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    lasted_s: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    was: Option<PastDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    elapsed_ms: f64,
    nodes: Vec<NodeDetail<'a>>,
}

/// What checks saw of the previous status.
#[derive(Serialize)]
struct PastDetail {
    /// The start of the last check that saw it.
    last_seen: String,
    /// `true` if the first check saw it: it may have begun at any time before.
    from_first_check: bool,
    /// Its causes, in the order in which they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from_causes: Vec<CauseDetail>,
}

#[derive(Serialize)]
struct CauseDetail {
    cause: &'static str,
    lasted_s: f64,
}

impl PastDetail {
    fn of(was: &Past) -> Self {
        let causes = was.causes.iter();
        Self {
            last_seen: timestamp_millis(was.last_seen),
            from_first_check: was.is_first,
            from_causes: causes
                .map(|(cause, lasted)| CauseDetail { cause: cause.name(), lasted_s: seconds(*lasted) })
                .collect(),
        }
    }
}

/// Seconds with three decimals.
fn seconds(time: Duration) -> f64 {
    milliseconds(time).round() / 1e3
}

impl<'a> Change<'a> {
    fn of(transition: &'a Transition) -> Self {
        Self {
            at: timestamp_millis(transition.at),
            check: name(transition),
            from: transition.from().map(Status::as_str),
            to: transition.to.as_str(),
            cause: transition.cause.map(Cause::name),
            lasted_s: transition.lasted().map(seconds),
            was: transition.was.as_ref().map(PastDetail::of),
            place: transition.place.as_deref(),
            elapsed_ms: milliseconds(transition.elapsed),
            nodes: transition.nodes.iter().map(NodeDetail::of).collect(),
        }
    }
}

fn name(transition: &Transition) -> String {
    format!("cache.{}", transition.entry)
}
