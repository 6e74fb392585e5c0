//! The default JSON, a superset of the response of Djblets' own health check.

use serde::Serialize;
use tokio::time::Instant;

use super::json::{Entries, NodeDetail, line, milliseconds};
use super::{Background, words};
use crate::http::access::AccessLevel;
use crate::outcome::{Expiry, Finding, Measure, Outcome, Report, Reused, Status, Step};
use crate::record::{Since, Unchecked};
use crate::span::{timestamp, timestamp_millis};

/// The report as one line of JSON, as it is at `now`:
///
/// ```json
/// {"status": "DOWN", "checks": {"cache.main": "DOWN"}, "errors": {"cache.main": "masked: ..."},
///  "skipped": {"default": "forwards to main"}, "age_ms": 0.631,
///  "details": {"cache.main": {"elapsed_ms": 0.412, "...": "..."}}}
/// ```
///
/// `checks` and `errors` are always there, since Djblets' callers read them; `skipped`, `age_ms` and `details` only if
/// they are not empty, and `details` only with access to details. Every map is in the configured order.
#[must_use]
pub fn body(report: &Report, view: AccessLevel, now: Instant) -> String {
    body_before(report, &Background::default(), view, now)
}

/// The same before a `background`: with access to details, the sidecar's name, and the start of each status.
#[must_use]
pub fn body_before(report: &Report, background: &Background<'_>, view: AccessLevel, now: Instant) -> String {
    let names: Vec<_> = report.outcomes.iter().map(|outcome| outcome.name()).collect();
    let outcomes = || names.iter().map(String::as_str).zip(report.outcomes.iter().map(|outcome| &**outcome));
    line(&DjbletsDocument {
        status: report.status().as_str(),
        checks: outcomes().map(|(name, outcome)| (name, outcome.status().as_str())).collect(),
        errors: outcomes().filter_map(|(name, outcome)| Some((name, words::error(outcome, view)?))).collect(),
        skipped: report
            .skipped
            .iter()
            .map(|skipped| (skipped.alias.as_str(), skipped.reason.to_string()))
            .collect(),
        age_ms: report.age(now).map(milliseconds),
        instance: match view {
            AccessLevel::Details => background.instance,
            AccessLevel::Verdicts => None,
        },
        details: match view {
            AccessLevel::Details => outcomes()
                .enumerate()
                .map(|(place, (name, outcome))| {
                    (name, Detail::of(outcome, background.since(place, outcome), now))
                })
                .collect(),
            AccessLevel::Verdicts => Entries::default(),
        },
    })
}

/// The response of a sidecar that is not ready; `wrong` gives the reason.
#[must_use]
pub fn unready(name: &str, wrong: &str) -> String {
    line(&DjbletsDocument {
        status: Status::Down.as_str(),
        checks: Entries::default(),
        errors: [(name, wrong.to_owned())].into_iter().collect(),
        skipped: Entries::default(),
        age_ms: None,
        instance: None,
        details: Entries::default(),
    })
}

#[derive(Serialize)]
struct DjbletsDocument<'a> {
    status: &'static str,
    checks: Entries<&'a str, &'static str>,
    errors: Entries<&'a str, String>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    skipped: Entries<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    details: Entries<&'a str, Detail<'a>>,
}

/// The details of a check.
#[derive(Serialize)]
struct Detail<'a> {
    elapsed_ms: f64,
    age_ms: f64,
    began_at: String,
    /// `false` if the cache is not required.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<bool>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    since: Option<SinceDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<ReusedDetail<'a>>,
    nodes: Vec<NodeDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measures: Vec<MeasureDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expiries: Vec<ExpiryDetail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepDetail<'a>>,
}

/// What checks saw of the start of the status.
#[derive(Serialize)]
struct SinceDetail {
    since: String,
    /// `true` if the first check found this status, which may have begun at any time before.
    since_first_check: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchecked: Option<UncheckedDetail>,
}

/// The longest time within the status without a check.
#[derive(Serialize)]
struct UncheckedDetail {
    from: String,
    to: String,
}

/// The sidecar that ran the check, and the age of the result when it was taken.
#[derive(Serialize)]
struct ReusedDetail<'a> {
    from: &'a str,
    age_ms: f64,
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

/// A date at which something ends.
#[derive(Serialize)]
struct ExpiryDetail<'a> {
    at: String,
    what: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

#[derive(Serialize)]
struct StepDetail<'a> {
    node: &'a str,
    command: &'a str,
    expected: &'a str,
    saw: &'a str,
}

impl<'a> Detail<'a> {
    fn of(outcome: &'a Outcome, since: Option<Since>, now: Instant) -> Self {
        Self {
            elapsed_ms: milliseconds(outcome.elapsed),
            age_ms: milliseconds(now - outcome.began),
            began_at: timestamp_millis(outcome.began_at),
            required: (!outcome.needs.required).then_some(false),
            since: since.as_ref().map(SinceDetail::of),
            reused: outcome
                .reused()
                .map(|Reused { from, age }| ReusedDetail { from, age_ms: milliseconds(*age) }),
            nodes: outcome
                .nodes
                .iter()
                .map(|node| NodeDetail::with_next_step(node, outcome.needs.wire))
                .collect(),
            findings: outcome.findings().iter().map(FindingDetail::of).collect(),
            measures: outcome.measures().iter().map(MeasureDetail::of).collect(),
            expiries: outcome.expiries().into_iter().map(ExpiryDetail::of).collect(),
            steps: outcome.steps().iter().map(StepDetail::of).collect(),
        }
    }
}

impl SinceDetail {
    fn of(since: &Since) -> Self {
        Self {
            since: timestamp_millis(since.began_at),
            since_first_check: since.before.is_none(),
            last_up: since.last_up().map(timestamp_millis),
            unchecked: since.unchecked.map(|Unchecked { from, to, .. }| UncheckedDetail {
                from: timestamp_millis(from),
                to: timestamp_millis(to),
            }),
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

impl<'a> ExpiryDetail<'a> {
    fn of((node, Expiry { what, name, at }): (Option<&'a str>, &'a Expiry)) -> Self {
        Self { at: timestamp(*at), what: what.name(), name, node }
    }
}

impl<'a> StepDetail<'a> {
    fn of(Step { node, command, expected, saw }: &'a Step) -> Self {
        Self { node, command, expected, saw }
    }
}
