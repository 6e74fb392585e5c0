//! The last changes: the old and the new status of each check, the cause, and the nodes that the check saw. Only for
//! callers with access to details.

use std::sync::Arc;

use serde::Serialize;

use super::json::{NodeDetail, line, milliseconds};
use super::words::timestamp_millis;
use crate::outcome::{Cause, Status};
use crate::record::Transition;
use crate::span;

/// The changes as one line of JSON, the latest first.
#[must_use]
pub(crate) fn json(transitions: &[Arc<Transition>]) -> String {
    line(&transitions.iter().map(|transition| Change::of(transition)).collect::<Vec<_>>())
}

/// A line a change, the latest first:
///
/// ```text
/// 2026-11-22T10:51:00.250Z  cache.main  UP -> DOWN  after 3h 2m 10s  refused
/// ```
#[must_use]
pub(crate) fn text(transitions: &[Arc<Transition>]) -> String {
    if transitions.is_empty() {
        return "no status has changed since the start\n".to_owned();
    }
    let names: Vec<_> = transitions.iter().map(|transition| name(transition)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let lines = transitions.iter().zip(names).map(|(transition, name)| {
        let Transition { at, from, to, cause, lasted, .. } = &**transition;
        let change = format!("{} -> {to}", from.map_or("?", Status::as_str));
        let lasted = lasted.map(|lasted| format!("after {}", span::seconds(lasted)));
        let words = [lasted.as_deref(), cause.map(Cause::name)];
        let words: Vec<_> = words.into_iter().flatten().collect();
        let line = format!("{}  {name:width$}  {change}  {}", timestamp_millis(*at), words.join("  "));
        format!("{}\n", line.trim_end())
    });
    lines.collect()
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
    elapsed_ms: f64,
    nodes: Vec<NodeDetail<'a>>,
}

impl<'a> Change<'a> {
    fn of(transition: &'a Transition) -> Self {
        Self {
            at: timestamp_millis(transition.at),
            check: name(transition),
            from: transition.from.map(Status::as_str),
            to: transition.to.as_str(),
            cause: transition.cause.map(Cause::name),
            lasted_s: transition.lasted.map(|lasted| milliseconds(lasted).round() / 1e3),
            elapsed_ms: milliseconds(transition.elapsed),
            nodes: transition.nodes.iter().map(NodeDetail::of).collect(),
        }
    }
}

fn name(transition: &Transition) -> String {
    format!("cache.{}", transition.entry)
}
