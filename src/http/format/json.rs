//! The common parts of the representations in JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::outcome::{NodeOutcome, Wire, next_step};

/// A document as one line.
pub(super) fn line(document: &impl Serialize) -> String {
    // Every map has text for keys, and every number is finite, so JSON can express all of it.
    let mut line = serde_json::to_string(document).unwrap_or_default();
    line.push('\n');
    line
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A map that is written in its given order.
pub(super) struct Entries<K, V>(Vec<(K, V)>);

impl<K, V> Entries<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> FromIterator<(K, V)> for Entries<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K: Serialize, V: Serialize> Serialize for Entries<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// The details of a node.
#[derive(Serialize)]
pub(super) struct NodeDetail<'a> {
    node: &'a str,
    role: &'static str,
    status: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    fault: Option<FaultDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<f64>,
    phases_ms: Entries<&'static str, f64>,
}

#[derive(Serialize)]
struct FaultDetail<'a> {
    cause: &'static str,
    phase: &'static str,
    said: &'a str,
    /// A command to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<'a> NodeDetail<'a> {
    /// The details of a node with the command to run next.
    pub(super) fn with_next_step(node: &'a NodeOutcome, wire: Wire) -> Self {
        let mut detail = Self::of(node);
        if let (Some(shown), Some(fault)) = (&mut detail.fault, &node.fault) {
            shown.next = next_step(node, fault, wire);
        }
        detail
    }

    pub(super) fn of(node: &'a NodeOutcome) -> Self {
        Self {
            node: &node.node,
            role: node.role.name(),
            status: node.status().as_str(),
            fault: node.fault.as_ref().map(|fault| FaultDetail {
                cause: fault.cause.name(),
                phase: fault.phase.name(),
                said: &fault.said,
                next: None,
            }),
            lag_ms: node.lag.map(milliseconds),
            phases_ms: node.phases.iter().map(|(phase, time)| (phase.name(), milliseconds(time))).collect(),
        }
    }
}
