//! The findings and steps of the checks besides the round trip.

use std::fs;

use cache_canary::checker::Checker;
use cache_canary::config::{Source, load};
use cache_canary::outcome::Step;
use serde_json::Value;
use tokio::time::Instant;

use super::{Health, Sidecar};

/// A finding: `DEGRADED clock_lag partition part-3`, and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Status, cause and what it is true of.
    pub short: String,
    /// The seen and the expected value.
    pub said: String,
}

impl Found {
    /// All of it in a line.
    pub fn line(&self) -> String {
        format!("{} {}", self.short, self.said)
    }
}

/// The findings of a check such as `cache.main.clock`.
pub fn findings(health: &Health, check: &str) -> Vec<Found> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let findings = health.body["details"][check]["findings"].as_array();
    let found = findings.into_iter().flatten().map(|finding| Found {
        short: ["status", "cause", "about"].map(|key| text(&finding[key])).join(" "),
        said: text(&finding["said"]),
    });
    found.collect()
}

/// Asks once: what this check finds, of which the worst is its own status and the page's, while the round trip
/// of its alias is up.
pub fn find(sidecar: &Sidecar, check: &str) -> Vec<Found> {
    let health = sidecar.health_in_time();
    let found = findings(&health, check);
    let is_found = |status: &&str| found.iter().any(|found| found.short.starts_with(*status));
    let status = ["DOWN", "DEGRADED"].into_iter().find(is_found).unwrap_or("UP");
    assert!(
        found.first().is_none_or(|first| first.short.starts_with(status)),
        "the worst is first: {found:#?}"
    );
    let (alias, _) = check.rsplit_once('.').expect("a kind of check");
    let checks = &health.body["checks"];
    assert_eq!(
        (health.code, &health.body["status"], &checks[alias], &checks[check]),
        (if status == "DOWN" { 503 } else { 200 }, &status.into(), &"UP".into(), &status.into()),
        "{:#}",
        health.body
    );
    found
}

/// Asks once, and wants this check to have found just this: status, cause and what it is about, the worst first.
/// The text of each is returned.
pub fn expect_found(sidecar: &Sidecar, check: &str, expected: &[&str]) -> Vec<String> {
    let found = find(sidecar, check);
    let short: Vec<_> = found.iter().map(|found| &*found.short).collect();
    assert_eq!(short, expected, "{found:#?}");
    found.into_iter().map(|found| found.said).collect()
}

/// The figure of this name that a check has read, and of this label where it has one.
pub fn measure(health: &Health, check: &str, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let measures = health.body["details"][check]["measures"].as_array().expect("measures");
    let measure = measures.iter().find(|measure| {
        measure["name"] == name && label.is_none_or(|(label, value)| measure[label] == value)
    });
    measure?["value"].as_f64()
}

/// The steps of the last of the configured checks, from the connection on.
pub async fn steps(config: &str) -> Vec<Step> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cache-canary.toml");
    fs::write(&file, config).expect("to write");
    let source = Source { file: Some(file), listen: Vec::new(), environment: [].into() };
    let checker = Checker::explained(&load(&source).expect("a valid configuration").config).expect("checks");
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    report.outcomes.last().expect("an outcome").steps().to_vec()
}

/// The same once it is connected, step by step: `COMMAND | EXPECTED | SAW`.
pub async fn explained(config: &str) -> Vec<String> {
    let steps = steps(config).await;
    let steps = steps.iter().filter(|step| !step.command.starts_with("connect to "));
    steps.map(|step| format!("{} | {} | {}", step.command, step.expected, step.saw)).collect()
}
