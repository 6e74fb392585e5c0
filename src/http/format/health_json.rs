//! `application/health+json`, the IETF draft's (<https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06>).

use serde::Serialize;

use super::json::{Entries, line, milliseconds};
use super::words;
use crate::http::access::AccessLevel;
use crate::outcome::{
    Cause, CheckKind, Figure, Finding, Measure, NodeOutcome, Outcome, Report, Status, hint,
};
use crate::span::timestamp_millis;

/// The report as one line of JSON:
///
/// ```json
/// {"status": "fail", "version": "1", "releaseId": "1.2.3", "output": "cache.main is DOWN", "serviceId": "cache-canary",
///  "description": "...", "checks": {"main:roundTrip": [{"componentId": "cache:6379", "componentType": "datastore",
///  "observedValue": 0.412, "observedUnit": "ms", "status": "fail", "time": "2026-11-22T10:51:00.250Z",
///  "output": "masked in read. ...", "cause": "masked", "role": "server"}]}}
/// ```
///
/// With access to details, a check has one entry a node and one for its other findings, else one for all of it; its
/// figures have names of their own, such as `main:queueLength`. Skipped aliases stand in `notes`. There are no `links`:
/// those must be absolute URIs, and a server does not know the name by which it was reached.
#[must_use]
pub fn body(report: &Report, view: AccessLevel) -> String {
    let troubled = report.outcomes.iter().filter(|outcome| word(outcome.status()) != PASS);
    let output: Vec<_> = troubled.map(|outcome| said(outcome)).collect();
    let checks = report.outcomes.iter().flat_map(|outcome| checks(outcome, view));
    line(&HealthDocument {
        notes: report.skipped.iter().map(|skipped| format!("{} {}", skipped.alias, skipped.reason)).collect(),
        output: (!output.is_empty()).then(|| output.join("; ")),
        checks: checks.collect(),
        ..HealthDocument::of(report.status())
    })
}

/// `cache.main is DOWN`, and the number of missing nodes, if they are counted.
fn said(outcome: &Outcome) -> String {
    let shortfall = outcome.shortfall().map(|shortfall| format!(" ({shortfall})")).unwrap_or_default();
    format!("{} is {}{shortfall}", outcome.name(), outcome.capitals())
}

/// The response of a sidecar that is not ready; `wrong` gives the reason.
#[must_use]
pub fn unready(name: &str, wrong: &str) -> String {
    line(&HealthDocument { output: Some(format!("{name}: {wrong}")), ..HealthDocument::of(Status::Down) })
}

/// The status of a check that passes, which has no `output`.
const PASS: &str = "pass";

/// The draft's word for a status.
fn word(status: Status) -> &'static str {
    match status {
        Status::Skipped | Status::Up => PASS,
        Status::Degraded => "warn",
        Status::Down => "fail",
    }
}

/// The whole document; the names are those of the draft's section 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthDocument<'a> {
    status: &'static str,
    version: &'static str,
    release_id: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    service_id: &'static str,
    description: &'static str,
    checks: Entries<String, Vec<HealthEntry<'a>>>,
}

impl HealthDocument<'_> {
    fn of(status: Status) -> Self {
        Self {
            status: word(status),
            version: env!("CARGO_PKG_VERSION_MAJOR"),
            release_id: env!("CARGO_PKG_VERSION"),
            notes: Vec::new(),
            output: None,
            service_id: "cache-canary",
            description: "health of the configured caches: a value is written and read back",
            checks: Entries::default(),
        }
    }
}

/// An entry of a check; the names are those of the draft's section 4, but for `cause`, `role`, `required` and `reusedFrom`,
/// which are our own.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    component_id: Option<&'a str>,
    component_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `false` if the cache is not required.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused_from: Option<&'a str>,
}

impl<'a> HealthEntry<'a> {
    fn of(outcome: &Outcome) -> Self {
        Self {
            component_type: "datastore",
            time: timestamp_millis(outcome.began_at),
            required: (!outcome.needs.required).then_some(false),
            ..Self::default()
        }
    }

    /// The single entry of a whole check.
    fn of_whole(outcome: &Outcome, view: AccessLevel) -> Self {
        Self {
            status: Some(word(outcome.status())),
            output: words::error(outcome, view),
            cause: outcome.cause().map(Cause::name),
            ..Self::of(outcome)
        }
    }

    fn of_node(outcome: &'a Outcome, node: &'a NodeOutcome) -> Self {
        let fault = node.fault.as_ref();
        Self {
            component_id: Some(&node.node),
            observed_value: Some(milliseconds(node.phases.iter().map(|(_, time)| time).sum())),
            observed_unit: Some("ms"),
            status: Some(word(node.status())),
            output: fault.map(|fault| {
                let said = fault.to_string();
                format!("{}. {}", said.trim_end_matches('.'), hint(node, fault, outcome.needs.wire))
            }),
            cause: fault.map(|fault| fault.cause.name()),
            role: Some(node.role.name()),
            reused_from: outcome.reused().map(|reused| &*reused.from),
            ..Self::of(outcome)
        }
    }

    fn of_finding(outcome: &Outcome, finding: &'a Finding) -> Self {
        let Finding { status, cause, about, said } = finding;
        Self {
            component_id: Some(about),
            status: Some(word(*status)),
            output: Some(format!("{cause}: {said}. {}", cause.hint())),
            cause: Some(cause.name()),
            ..Self::of(outcome)
        }
    }

    fn of_measure(outcome: &Outcome, measure: &'a Measure) -> Self {
        Self {
            component_id: measure.of.as_deref(),
            observed_value: Some(measure.value),
            observed_unit: unit(measure.figure),
            ..Self::of(outcome)
        }
    }
}

/// The check, and with access to details its figures, by their names.
fn checks(outcome: &Outcome, view: AccessLevel) -> Vec<(String, Vec<HealthEntry<'_>>)> {
    let name = |measurement: &str| format!("{}:{measurement}", outcome.alias);
    let measurement = measurement(outcome.kind);
    // A check without nodes has no single results to list.
    if view == AccessLevel::Verdicts || outcome.nodes.is_empty() {
        return vec![(name(measurement), vec![HealthEntry::of_whole(outcome, view)])];
    }
    let nodes = outcome.nodes.iter().map(|node| HealthEntry::of_node(outcome, node));
    let findings = outcome.findings().iter().map(|finding| HealthEntry::of_finding(outcome, finding));
    let figures = Figure::ALL.iter().filter_map(|&figure| {
        let measures = outcome.measures().iter().filter(|measure| measure.figure == figure);
        let measures: Vec<_> = measures.map(|measure| HealthEntry::of_measure(outcome, measure)).collect();
        (!measures.is_empty()).then(|| (name(&camel_case(figure)), measures))
    });
    std::iter::once((name(measurement), nodes.chain(findings).collect())).chain(figures).collect()
}

/// The name of the measurement, in the draft's spelling.
fn measurement(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::RoundTrip => "roundTrip",
        CheckKind::Visibility => "visibility",
        CheckKind::Queue => "queue",
        CheckKind::Clock => "clock",
        CheckKind::Efficiency => "efficiency",
        CheckKind::Identity => "identity",
        CheckKind::Policy => "policy",
    }
}

/// Endings of figures' names that give the unit, with its symbol.
const UNITS: [(&str, &str); 2] = [("_seconds", "s"), ("_bytes", "B")];

/// The unit of a figure that has one.
fn unit(figure: Figure) -> Option<&'static str> {
    UNITS.iter().find_map(|(ending, unit)| figure.name().ends_with(ending).then_some(*unit))
}

/// `queueOldestAge` of `cache_queue_oldest_age_seconds`.
fn camel_case(figure: Figure) -> String {
    let name = figure.name().trim_start_matches("cache_").trim_end_matches("_total");
    let name = UNITS.iter().fold(name, |name, (ending, _)| name.trim_end_matches(ending));
    let mut camel = String::new();
    let mut starts_word = false;
    for char in name.chars() {
        match char {
            '_' => starts_word = true,
            char if starts_word => {
                camel.push(char.to_ascii_uppercase());
                starts_word = false;
            }
            char => camel.push(char),
        }
    }
    camel
}
