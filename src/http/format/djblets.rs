//! The default JSON, a superset of the response of Djblets' own health check.

use serde::Serialize;
use tokio::time::Instant;

use super::json::{Entries, Object, member, object};
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
    object(|json| {
        member!(json, "status").word(report.status().as_str());
        member!(json, "checks").object(|json| {
            for outcome in &report.outcomes {
                json.member(outcome.name_parts()).word(outcome.status().as_str());
            }
        });
        member!(json, "errors").object(|json| {
            for outcome in &report.outcomes {
                if let Some(error) = words::error(outcome, view) {
                    json.member(outcome.name_parts()).text(&error);
                }
            }
        });
        if !report.skipped.is_empty() {
            member!(json, "skipped").object(|json| {
                for Skipped { alias, reason } in &report.skipped {
                    json.member([alias.as_str()]).text(&reason.to_string());
                }
            });
        }
        if let Some(age) = report.age(now) {
            member!(json, "age_ms").milliseconds(age);
        }
        if view == AccessLevel::Details {
            if let Some(instance) = background.instance {
                member!(json, "instance").text(instance);
            }
            if !report.outcomes.is_empty() {
                member!(json, "details").object(|json| {
                    for (place, outcome) in report.outcomes.iter().enumerate() {
                        let since = background.since(place, outcome);
                        json.member(outcome.name_parts())
                            .object(|json| write_details(json, outcome, since.as_ref(), now));
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
        member!(json, "status").word(Status::Down.as_str());
        member!(json, "checks").object(|_| {});
        member!(json, "errors").object(|json| json.member([name]).text(wrong));
    })
}

/// Writes the details of a check.
fn write_details(json: &mut Object<'_>, outcome: &Outcome, since: Option<&Since>, now: Instant) {
    member!(json, "elapsed_ms").milliseconds(outcome.elapsed);
    member!(json, "age_ms").milliseconds(now - outcome.began);
    member!(json, "began_at").word(&timestamp_millis(outcome.began_at));
    if !outcome.needs.required {
        member!(json, "required").flag(false);
    }
    if let Some(since) = since {
        write_since(json, since);
    }
    if let Some(Reused { from, age }) = outcome.reused() {
        member!(json, "reused").object(|json| {
            member!(json, "from").text(from);
            member!(json, "age_ms").milliseconds(*age);
        });
    }
    member!(json, "nodes").objects(&outcome.nodes, |json, node| write_node(json, node, outcome.needs.wire));
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
        json.member([name]).value(&details);
    }
}

/// Writes what checks saw of the start of the status, and the longest time within it without a check.
fn write_since(json: &mut Object<'_>, since: &Since) {
    member!(json, "since").word(&timestamp_millis(since.began_at));
    // If the first check found this status, it may have begun at any time before.
    member!(json, "since_first_check").flag(since.before.is_none());
    if let Some(last_up) = since.last_up() {
        member!(json, "last_up").word(&timestamp_millis(last_up));
    }
    if let Some(Unchecked { from, to, .. }) = since.unchecked {
        member!(json, "unchecked").object(|json| {
            member!(json, "from").word(&timestamp_millis(from));
            member!(json, "to").word(&timestamp_millis(to));
        });
    }
}

fn write_node(json: &mut Object<'_>, node: &NodeOutcome, wire: Wire) {
    member!(json, "node").text(&node.node);
    member!(json, "role").word(node.role.name());
    member!(json, "status").word(node.status().as_str());
    if let Some(fault) = &node.fault {
        member!(json, "cause").word(fault.cause.name());
        member!(json, "phase").word(fault.phase.name());
        member!(json, "said").text(&fault.said);
        if let Some(next) = next_step(node, fault, wire) {
            member!(json, "next").text(&next);
        }
    }
    if let Some(lag) = node.lag {
        member!(json, "lag_ms").milliseconds(lag);
    }
    member!(json, "phases_ms").object(|json| {
        node.phases.iter().for_each(|(phase, time)| json.member([phase.name()]).milliseconds(time));
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
