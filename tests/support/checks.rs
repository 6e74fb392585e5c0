//! What the checks besides the round trip have found, and the users that they need.

use std::fs;
use std::process::Command;

use cache_canary::checker::Checker;
use cache_canary::config::{Source, load};
use serde_json::Value;
use tokio::time::Instant;

use super::{Health, Redis, Sidecar};

/// A finding: `DEGRADED clock_lag partition part-3`, and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Status, cause and what it is true of.
    pub short: String,
    /// What was seen and expected.
    pub said: String,
}

/// What a check such as `cache.main.clock` has found.
pub fn findings(health: &Health, check: &str) -> Vec<Found> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = health.body["details"][check]["findings"].as_array().cloned().unwrap_or_default();
    let found = findings.iter().map(|finding| Found {
        short: ["status", "cause", "about"].map(|key| text(&finding[key])).join(" "),
        said: text(&finding["said"]),
    });
    found.collect()
}

/// Asks once, and wants this check to have found just this, and to be the worst of it; what was said of each.
pub fn expect_found(sidecar: &Sidecar, check: &str, expected: &[&str]) -> Vec<String> {
    let health = sidecar.health();
    let found = findings(&health, check);
    let short: Vec<_> = found.iter().map(|found| &*found.short).collect();
    assert_eq!(short, expected, "{:#}", health.body);
    let status = expected.first().and_then(|first| first.split(' ').next()).unwrap_or("UP");
    assert_eq!(health.body["checks"][check], status, "{:#}", health.body);
    assert_eq!(health.code, if status == "DOWN" { 503 } else { 200 }, "{:#}", health.body);
    found.into_iter().map(|found| found.said).collect()
}

/// The figure of this name that a check has read, and of this label where it has one.
pub fn measure(health: &Health, check: &str, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let measures = health.body["details"][check]["measures"].as_array()?;
    let measure = measures.iter().find(|measure| {
        measure["name"] == name && label.is_none_or(|(label, value)| measure[label] == value)
    });
    measure?["value"].as_f64()
}

/// The user that `cache-canary acl` prints for this configuration, which may hold no other: its name and its rules.
pub fn printed_user(config: &str) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cache-canary.toml");
    fs::write(&file, config).expect("to write");
    let output = Command::new(env!("CARGO_BIN_EXE_cache-canary")).arg("acl").arg("-c").arg(&file).output();
    let text = String::from_utf8(output.expect("to run it").stdout).expect("text");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = lines.next().unwrap_or_else(|| panic!("no user: {text}"));
    assert_eq!(lines.next(), None, "{text}");
    let mut words = line.split(' ').skip(2).map(|word| word.trim_matches('"').to_owned());
    (words.next().expect("a name"), words.collect())
}

/// Makes that user on a server, with this password and without these rules, each of which it must have.
pub fn give_rights(redis: &Redis, (name, rules): &(String, Vec<String>), password: &str, without: &[&str]) {
    for rule in without {
        assert!(rules.iter().any(|other| other == rule), "{rules:?} has no {rule}");
    }
    let rules = rules.iter().map(String::as_str).filter(|rule| !without.contains(rule));
    let rules: Vec<_> = rules.collect();
    redis.set_user(name, &format!(">{password} {}", rules.join(" ")));
}

/// What the last of the configured checks does once it is connected, step by step: `COMMAND | EXPECTED | SAW`.
pub async fn explained(config: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cache-canary.toml");
    fs::write(&file, config).expect("to write");
    let source = Source { file: Some(file), listen: Vec::new(), environment: [].into() };
    let checker = Checker::explained(&load(&source).expect("a valid configuration").config).expect("checks");
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    let steps = report.outcomes.last().expect("an outcome").steps();
    let steps = steps.iter().filter(|step| !step.command.starts_with("connect to "));
    steps.map(|step| format!("{} | {} | {}", step.command, step.expected, step.saw)).collect()
}
