//! Each representation as a whole, of reports made by hand, as it stands in `snapshots`: `UPDATE=1 cargo test --test
//! http snapshots` rewrites them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cache_canary::http::access::AccessLevel;
use cache_canary::http::{djblets, health_json, kubernetes, page, text};
use cache_canary::outcome::Report;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::night;
use crate::{kinds, representations};

/// The reports that each representation is shown with, by name, as they are when a request arrives at `began`.
pub(crate) fn reports(began: Instant) -> Vec<(&'static str, Report)> {
    vec![
        ("up", representations::up(began)),
        ("degraded", representations::degraded(began)),
        ("down", representations::down(began)),
        ("skipped", representations::skipped()),
        ("kinds", kinds::report(began, None)),
        ("reused", representations::reused(began)),
    ]
}

/// Each of them with each view, and a moment at which it is 0.9 ms old.
fn each(show: impl Fn(&str, &Report, AccessLevel, Instant)) {
    let began = Instant::now();
    for (name, report) in reports(began) {
        for (view, seen) in [(AccessLevel::Verdicts, "verdicts"), (AccessLevel::Details, "details")] {
            show(&format!("{name}_{seen}"), &report, view, began + Duration::from_micros(900));
        }
    }
}

/// Holds a body against its file. The version is left open: a new one changes nothing here.
fn compare(file: &str, body: &str) {
    assert!(body.ends_with('\n'), "{file}: {body:?}");
    let body = body.replace(env!("CARGO_PKG_VERSION"), "$version");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/http/snapshots").join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &body).unwrap();
    }
    assert_eq!(body, fs::read_to_string(&path).unwrap_or_default(), "{file}");
}

/// The same document over many lines, which is how a change of it is read; its order is another test's affair.
fn spread(line: &str) -> String {
    let document: Value = serde_json::from_str(line).unwrap();
    serde_json::to_string_pretty(&document).unwrap() + "\n"
}

#[test]
fn the_snapshots_of_json_hold() {
    each(|name, report, view, now| {
        compare(&format!("json_{name}.json"), &spread(&djblets::body(report, view, now)));
    });
}

#[test]
fn the_snapshots_of_health_json_hold() {
    each(|name, report, view, _| {
        compare(&format!("health_json_{name}.json"), &spread(&health_json::body(report, view)));
    });
}

#[test]
fn the_snapshots_of_text_hold() {
    each(|name, report, view, now| compare(&format!("text_{name}.txt"), &text::body(report, view, now)));
}

/// It is the same for everyone.
#[test]
fn the_snapshots_of_kubernetes_text_hold() {
    let probe = representations::readiness(None);
    let began = Instant::now();
    for (name, report) in reports(began) {
        for (verbose, length) in [(true, "verbose"), (false, "short")] {
            let body = kubernetes::body(&probe, &report, verbose, began + Duration::from_micros(900));
            compare(&format!("kubernetes_{name}_{length}.txt"), &body);
        }
    }
}

/// The parts of the page that change, a tag a line: styles and script have tests of their own.
#[test]
fn the_snapshots_of_the_page_hold() {
    each(|name, report, view, now| {
        let entries: Vec<_> = report.outcomes.iter().map(|outcome| outcome.entry()).collect();
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        // A configuration without a cache is none.
        let app = night::app(if entries.is_empty() { &["main"] } else { &entries });
        let setup = app.setup();
        for (record, outcome) in setup.checker.records(&setup.everything).zip(&report.outcomes) {
            record.note(outcome);
        }
        let page = page::body(&setup, report, &setup.everything, view, now);
        let (from, to) = (page.find("<main").unwrap(), page.find("</main>").unwrap());
        let main = page[from..to].replace("><", ">\n<") + "\n";
        // The day is told where it is not today.
        compare(&format!("html_{name}.html"), &main.replace("2026-11-22 10:51:00 UTC", "10:51:00 UTC"));
    });
}
