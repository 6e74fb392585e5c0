//! Every representation shows a check of another kind than the round trip, with what it found and measured.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache_canary::http::access::AccessLevel;
use cache_canary::http::kubernetes::{self, KubernetesProbe, Own};
use cache_canary::http::{djblets, text};
use cache_canary::outcome::{
    Cause, CheckKind, Fault, Figure, Finding, Measure, Needs, NodeOutcome, Outcome, OutcomeExtra, Phase,
    Phases, Report, Status,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::alias;

/// A round trip that is well, and queues of which two are too long and one is out of proportion.
pub(crate) fn report(began: Instant, fault: Option<Fault>) -> Report {
    let began_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_344_660_250);
    let (began, needs) = ((began, began_at), Needs::default());
    let outcome = |kind, fault| {
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
        Outcome::plain(alias("main"), kind, began, Duration::from_micros(400), nodes, needs)
    };
    let mut queue = outcome(CheckKind::Queue, fault);
    let findings = [
        (Status::Down, Cause::TooLong, "key b:p:1", "25000 entries (down at 20000 or more)"),
        (Status::Degraded, Cause::TooLong, "key b:p:2", "12000 entries (degraded at 10000 or more)"),
        (Status::Degraded, Cause::Skewed, "key b:p:1", "25000 entries, and the median of its siblings is 12"),
    ]
    .map(|(status, cause, about, said)| Finding::new(status, cause, about, said))
    .into();
    let measures = vec![
        Measure { figure: Figure::QueueLength, of: Some("b:p:1".into()), value: 25000.0 },
        Measure { figure: Figure::QueueLength, of: Some("a \"b\"\\".into()), value: 0.0 },
        Measure { figure: Figure::Hits, of: Some("cache:6379".into()), value: 7.0 },
    ];
    queue.extra = Some(Box::new(OutcomeExtra { findings, measures, ..OutcomeExtra::default() }));
    let outcomes = vec![Arc::new(outcome(CheckKind::RoundTrip, None)), Arc::new(queue)];
    Report { outcomes, skipped: Vec::new() }
}

#[test]
fn json_has_an_entry_for_each_kind_with_findings_and_figures_in_its_details() {
    let report = report(Instant::now(), None);
    let json =
        |view| -> Value { serde_json::from_str(&djblets::body(&report, view, Instant::now())).unwrap() };
    let body = json(AccessLevel::Details);
    assert_eq!(body["checks"], json!({"cache.main": "UP", "cache.main.queue": "DOWN"}));
    let expected = format!(
        "too_long: key b:p:1: 25000 entries (down at 20000 or more); key b:p:2: 12000 entries \
         (degraded at 10000 or more). {} | skewed: key b:p:1: 25000 entries, and the median of its siblings is 12. {}",
        Cause::TooLong.hint(),
        Cause::Skewed.hint()
    );
    assert_eq!(body["errors"], json!({"cache.main.queue": expected}));
    let details = &body["details"]["cache.main.queue"];
    assert_eq!(
        details["findings"][0],
        json!({"about": "key b:p:1", "status": "DOWN", "cause": "too_long",
               "said": "25000 entries (down at 20000 or more)"})
    );
    assert_eq!(
        details["measures"][0],
        json!({"name": "cache_queue_length", "key": "b:p:1", "value": 25000.0})
    );

    let body = json(AccessLevel::Verdicts);
    let (long, skewed) = (Cause::TooLong.hint(), Cause::Skewed.hint());
    assert_eq!(
        body["errors"],
        json!({"cache.main.queue": format!("too_long: {long} (2 times) | skewed: {skewed}")})
    );
    assert_eq!(body.get("details"), None);
}

#[test]
fn text_and_kubernetes_have_a_line_for_each_kind() {
    let report = report(Instant::now(), None);
    let lines = text::body(&report, AccessLevel::Verdicts, Instant::now());
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[..2], ["DOWN", "main        UP"]);
    assert!(lines[2].starts_with("main.queue  DOWN  too_long: "), "{lines:?}");
    let list = kubernetes::body(&probe(), &report, true, Instant::now());
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[..3], ["[+]ping ok", "[+]cache.main ok", "[-]cache.main.queue failed: too_long"]);
}

#[test]
fn a_silent_server_comes_before_the_findings() {
    let fault = Fault::new(Cause::Refused, Phase::Connect, "Connection refused");
    let report = report(Instant::now(), Some(fault));
    assert_eq!(report.outcomes[1].cause(), Some(Cause::Refused));
    let list = kubernetes::body(&probe(), &report, false, Instant::now());
    assert!(list.contains("cache.main.queue failed: refused"), "{list}");
}

fn probe() -> KubernetesProbe {
    KubernetesProbe { own: Some(Own { name: "ping", wrong: None }), ..KubernetesProbe::of_caches("livez") }
}
