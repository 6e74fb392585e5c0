//! Responses in the format of the IETF draft are valid by the draft, as the published JSON Schema validator for Python
//! judges it.
//!
//! Nobody has published a validator or schema of draft-inadarei-api-health-check-06 itself: its repository has none, and
//! what can be had of it for Python (`healthpy`, `python-healthchecklib`) only makes such documents. So
//! `schemas/health-check-06.json` was written from the draft's text, and is stricter: what the draft says should be, must.

use std::io::Write as _;
use std::process::Stdio;

use cache_canary::http::access::AccessLevel;
use cache_canary::http::health_json;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::snapshots;
use crate::support::python;

/// The first thing that is wrong with each of these documents, or nothing.
fn wrongs(documents: &[String]) -> Vec<String> {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/schemas/health-check-06.json");
    let mut python = python("http/conform.py", &[schema]);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(documents.concat().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "`tests/install` installs what this needs");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn health_json_is_as_the_draft_says_in_every_status_and_view() {
    let reports = snapshots::reports(Instant::now());
    let bodies = reports.iter().flat_map(|(name, report)| {
        [AccessLevel::Verdicts, AccessLevel::Details]
            .map(|view| (format!("{name} {view:?}"), health_json::body(report, view)))
    });
    let mut bodies: Vec<_> = bodies.collect();
    bodies.push(("unready".to_owned(), health_json::unready("sidecar", "draining")));
    let (names, documents): (Vec<_>, Vec<_>) = bodies.into_iter().unzip();
    let wrongs = wrongs(&documents);
    assert_eq!(wrongs.len(), names.len());
    for (name, wrong) in names.iter().zip(wrongs) {
        assert_eq!(wrong, "", "{name}");
    }
}

#[test]
fn the_schema_of_the_draft_refuses_a_body_against_the_draft() {
    let (_, report) = &snapshots::reports(Instant::now())[0];
    let sound: Value = serde_json::from_str(&health_json::body(report, AccessLevel::Details)).unwrap();
    let broken = |path: &str, value: Value| {
        let mut document = sound.clone();
        *document.pointer_mut(path).unwrap() = value;
        format!("{document}\n")
    };
    let entry = "/checks/ant:roundTrip/0";
    let documents = [
        format!("{sound}\n"),
        broken("/status", json!("ok")),
        broken("/status", json!("fail")),
        broken("/version", json!(1)),
        broken("/checks/ant:roundTrip", json!([])),
        broken(&format!("{entry}/time"), json!("yesterday")),
        broken(&format!("{entry}/status"), json!("warn")),
        broken(&format!("{entry}/componentId"), json!("")),
        broken("/checks", json!({"a:b:c": [{"componentType": "datastore"}]})),
    ];
    let wrongs = wrongs(&documents);
    assert_eq!(wrongs[0], "");
    for (wrong, document) in wrongs.iter().zip(&documents).skip(1) {
        assert_ne!(wrong, "", "{document}");
    }
}
