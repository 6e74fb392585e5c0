//! The default JSON, a superset of what Djblets' own health check answers.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::access::View;
use super::words;
use crate::outcome::{Finding, Measure, NodeOutcome, Outcome, Report, Status, Step};

/// The report as one line of JSON, as it is at `now`:
///
/// ```json
/// {"status": "DOWN", "checks": {"cache.main": "DOWN"}, "errors": {"cache.main": "masked: ..."},
///  "skipped": {"default": "forwards to main"}, "details": {"cache.main": {"elapsed_ms": 0.412, "...": "..."}}}
/// ```
///
/// `checks` and `errors` are always there, since Djblets' callers read them; `skipped` and `details` where
/// there is something to say, `details` only for one who may see them. Every map is in the configured order.
#[must_use]
pub fn body(report: &Report, view: View, now: Instant) -> String {
    let outcomes = || report.outcomes.iter().map(|outcome| (outcome.name(), outcome));
    line(&Document {
        status: report.status().as_str(),
        checks: outcomes().map(|(name, outcome)| (name, outcome.status().as_str())).collect(),
        errors: outcomes().filter_map(|(name, outcome)| Some((name, words::error(outcome, view)?))).collect(),
        skipped: report
            .skipped
            .iter()
            .map(|skipped| (skipped.alias.to_string(), skipped.reason.to_string()))
            .collect(),
        details: match view {
            View::Details => outcomes().map(|(name, outcome)| (name, Detail::of(outcome, now))).collect(),
            View::Verdicts => Entries::default(),
        },
    })
}

/// What a sidecar answers with which something is `wrong` itself.
#[must_use]
pub fn unready(name: &str, wrong: &str) -> String {
    line(&Document {
        status: Status::Down.as_str(),
        checks: Entries::default(),
        errors: [(name.to_owned(), wrong.to_owned())].into_iter().collect(),
        skipped: Entries::default(),
        details: Entries::default(),
    })
}

fn line(document: &Document) -> String {
    // Maps with text for keys, and numbers that are finite: there is nothing that JSON could not say.
    let mut line = serde_json::to_string(document).unwrap_or_default();
    line.push('\n');
    line
}

#[derive(Serialize)]
struct Document<'a> {
    status: &'static str,
    checks: Entries<String, &'static str>,
    errors: Entries<String, String>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    skipped: Entries<String, String>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    details: Entries<String, Detail<'a>>,
}

/// What only some may see of a check.
#[derive(Serialize)]
struct Detail<'a> {
    elapsed_ms: f64,
    age_ms: f64,
    began_at: String,
    nodes: Vec<NodeDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measures: Vec<MeasureDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepDetail<'a>>,
}

#[derive(Serialize)]
struct FindingDetail<'a> {
    about: &'a str,
    status: &'static str,
    cause: &'static str,
    said: &'a str,
}

#[derive(Serialize)]
struct MeasureDetail<'a> {
    name: &'static str,
    #[serde(flatten)]
    of: Entries<&'static str, &'a str>,
    value: f64,
}

#[derive(Serialize)]
struct StepDetail<'a> {
    node: &'a str,
    command: &'a str,
    expected: &'a str,
    saw: &'a str,
}

#[derive(Serialize)]
struct NodeDetail<'a> {
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
}

impl<'a> Detail<'a> {
    fn of(outcome: &'a Outcome, now: Instant) -> Self {
        Self {
            elapsed_ms: milliseconds(outcome.elapsed),
            age_ms: milliseconds(now - outcome.began),
            began_at: timestamp(outcome.began_at),
            nodes: outcome.nodes.iter().map(NodeDetail::of).collect(),
            findings: outcome.findings().iter().map(FindingDetail::of).collect(),
            measures: outcome.measures().iter().map(MeasureDetail::of).collect(),
            steps: outcome.steps().iter().map(StepDetail::of).collect(),
        }
    }
}

impl<'a> FindingDetail<'a> {
    fn of(Finding { status, cause, about, said }: &'a Finding) -> Self {
        Self { about, status: status.as_str(), cause: cause.name(), said }
    }
}

impl<'a> MeasureDetail<'a> {
    fn of(Measure { figure, of, value }: &'a Measure) -> Self {
        let of = of.iter().map(|of| (figure.label(), &**of)).collect();
        Self { name: figure.name(), of, value: *value }
    }
}

impl<'a> StepDetail<'a> {
    fn of(Step { node, command, expected, saw }: &'a Step) -> Self {
        Self { node, command, expected, saw }
    }
}

impl<'a> NodeDetail<'a> {
    fn of(node: &'a NodeOutcome) -> Self {
        Self {
            node: &node.node,
            role: node.role.name(),
            status: node.status().as_str(),
            fault: node.fault.as_ref().map(|fault| FaultDetail {
                cause: fault.cause.name(),
                phase: fault.phase.name(),
                said: &fault.said,
            }),
            lag_ms: node.lag.map(milliseconds),
            phases_ms: node.phases.iter().map(|(phase, time)| (phase.name(), milliseconds(time))).collect(),
        }
    }
}

/// A map that is written in its own order.
struct Entries<K, V>(Vec<(K, V)>);

impl<K, V> Entries<K, V> {
    fn is_empty(&self) -> bool {
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

/// Milliseconds with three decimals.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// RFC 3339 in UTC, with milliseconds.
fn timestamp(time: SystemTime) -> String {
    // A machine without a clock may be in 1969, which the format does not know.
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}
