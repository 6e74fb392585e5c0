//! The default JSON, a superset of the response of Djblets' own health check.

use serde::Serialize;
use tokio::time::Instant;

use super::json::{Entries, Object, object};
use super::{Background, words};
use crate::http::access::AccessLevel;
use crate::outcome::{
    Expiry, Finding, Measure, NodeOutcome, Outcome, Report, Reused, Skipped, Status, Step, Wire, next_step,
};
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
    object(|json| {
        json.member("status").word(report.status().as_str());
        json.member("checks").object(|json| {
            outcomes().for_each(|(name, outcome)| json.member(name).word(outcome.status().as_str()));
        });
        json.member("errors").object(|json| {
            for (name, outcome) in outcomes() {
                if let Some(error) = words::error(outcome, view) {
                    json.member(name).text(&error);
                }
            }
        });
        if !report.skipped.is_empty() {
            json.member("skipped").object(|json| {
                for Skipped { alias, reason } in &report.skipped {
                    json.member(alias.as_str()).text(&reason.to_string());
                }
            });
        }
        if let Some(age) = report.age(now) {
            json.member("age_ms").milliseconds(age);
        }
        if view == AccessLevel::Details {
            if let Some(instance) = background.instance {
                json.member("instance").text(instance);
            }
            if !names.is_empty() {
                json.member("details").object(|json| {
                    for (place, (name, outcome)) in outcomes().enumerate() {
                        let since = background.since(place, outcome);
                        json.member(name).object(|json| write_details(json, outcome, since.as_ref(), now));
                    }
                });
            }
        }
    })
}

/// The response of a sidecar that is not ready; `wrong` gives the reason.
#[must_use]
pub fn unready(name: &str, wrong: &str) -> String {
    object(|json| {
        json.member("status").word(Status::Down.as_str());
        json.member("checks").object(|_| {});
        json.member("errors").object(|json| json.member(name).text(wrong));
    })
}

/// Writes the details of a check.
fn write_details(json: &mut Object<'_>, outcome: &Outcome, since: Option<&Since>, now: Instant) {
    json.member("elapsed_ms").milliseconds(outcome.elapsed);
    json.member("age_ms").milliseconds(now - outcome.began);
    json.member("began_at").word(&timestamp_millis(outcome.began_at));
    if !outcome.needs.required {
        json.member("required").flag(false);
    }
    if let Some(since) = since {
        write_since(json, since);
    }
    if let Some(Reused { from, age }) = outcome.reused() {
        json.member("reused").object(|json| {
            json.member("from").text(from);
            json.member("age_ms").milliseconds(*age);
        });
    }
    json.member("nodes").objects(&outcome.nodes, |json, node| write_node(json, node, outcome.needs.wire));
    if outcome.extra.is_some() {
        write_list(json, "findings", outcome.findings().iter().map(FindingDetail::of));
        write_list(json, "measures", outcome.measures().iter().map(MeasureDetail::of));
        write_list(json, "expiries", outcome.expiries().into_iter().map(ExpiryDetail::of));
        write_list(json, "steps", outcome.steps().iter().map(StepDetail::of));
    }
}

/// Writes a list that is left out if it is empty.
fn write_list(json: &mut Object<'_>, name: &str, details: impl Iterator<Item = impl Serialize>) {
    let details: Vec<_> = details.collect();
    if !details.is_empty() {
        json.member(name).value(&details);
    }
}

/// Writes what checks saw of the start of the status, and the longest time within it without a check.
fn write_since(json: &mut Object<'_>, since: &Since) {
    json.member("since").word(&timestamp_millis(since.began_at));
    // If the first check found this status, it may have begun at any time before.
    json.member("since_first_check").flag(since.before.is_none());
    if let Some(last_up) = since.last_up() {
        json.member("last_up").word(&timestamp_millis(last_up));
    }
    if let Some(Unchecked { from, to, .. }) = since.unchecked {
        json.member("unchecked").object(|json| {
            json.member("from").word(&timestamp_millis(from));
            json.member("to").word(&timestamp_millis(to));
        });
    }
}

fn write_node(json: &mut Object<'_>, node: &NodeOutcome, wire: Wire) {
    json.member("node").text(&node.node);
    json.member("role").word(node.role.name());
    json.member("status").word(node.status().as_str());
    if let Some(fault) = &node.fault {
        json.member("cause").word(fault.cause.name());
        json.member("phase").word(fault.phase.name());
        json.member("said").text(&fault.said);
        if let Some(next) = next_step(node, fault, wire) {
            json.member("next").text(&next);
        }
    }
    if let Some(lag) = node.lag {
        json.member("lag_ms").milliseconds(lag);
    }
    json.member("phases_ms").object(|json| {
        node.phases.iter().for_each(|(phase, time)| json.member(phase.name()).milliseconds(time));
    });
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
