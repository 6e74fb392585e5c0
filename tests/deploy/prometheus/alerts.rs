//! The alerts and the example of a scrape, as promtool sees them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use cache_canary::outcome::Cause;

use super::deployed;

/// The output of promtool, if it finds no fault.
fn promtool(dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("promtool").args(arguments).current_dir(dir).output();
    let output = output.expect("promtool; `tests/run` installs what the tests need");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn the_alerts_are_rules_and_each_has_a_test_that_it_passes() {
    let dir = deployed("prometheus");
    promtool(&dir, &["check", "rules", "alerts.yaml"]).unwrap();
    promtool(&dir, &["test", "rules", "alerts_test.yaml"]).unwrap();

    let after = |file: &str, key: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let names = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        names.map(|name| name.trim().to_owned()).collect()
    };
    let alerts = after("alerts.yaml", "- alert:");
    assert!(alerts.contains("CacheDown"), "{alerts:?}");
    assert_eq!(after("alerts_test.yaml", "alertname:"), alerts);
}

#[test]
fn an_alert_that_does_not_come_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let broken = fs::read_to_string(deployed("prometheus/alerts.yaml")).unwrap();
    fs::write(dir.path().join("alerts.yaml"), broken.replace("cache_up == 0\n", "cache_up == 2\n")).unwrap();
    fs::copy(deployed("prometheus/alerts_test.yaml"), dir.path().join("alerts_test.yaml")).unwrap();
    let said = promtool(dir.path(), &["test", "rules", "alerts_test.yaml"]).unwrap_err();
    assert!(said.contains("CacheDown"), "{said}");
}

#[test]
fn the_example_of_a_scrape_is_a_configuration_of_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["prometheus.yaml", "alerts.yaml"] {
        fs::copy(deployed("prometheus").join(file), dir.path().join(file)).unwrap();
    }
    let check = || promtool(dir.path(), &["check", "config", "prometheus.yaml"]);
    // The file of the token is the operator's to make.
    let said = check().unwrap_err();
    assert!(said.contains("cache-canary.token"), "{said}");
    fs::write(dir.path().join("cache-canary.token"), "secret").unwrap();
    check().unwrap();
}

/// The words of the alerts are those of the causes. `UPDATE=1` rewrites them.
#[test]
fn an_alert_has_the_next_step_in_the_words_of_the_cause() {
    let path = deployed("prometheus/alerts.yaml");
    let alerts = fs::read_to_string(&path).unwrap();
    let (from, until) = (
        "/* made from src/outcome/cause.rs by tests/deploy/prometheus/alerts.rs */}}\n",
        "/* made until here */",
    );
    let begin = alerts.find(from).unwrap() + from.len();
    let end = begin + alerts[begin..].find(until).unwrap();
    let end = alerts[..end].rfind('\n').unwrap() + 1;
    let mut lines = String::new();
    for cause in Cause::ALL {
        let (name, hint) = (cause.name(), cause.hint());
        writeln!(lines, "            {{{{- if eq $cause \"{name}\" }}}}{name}: {hint}{{{{ end }}}}").unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{}{lines}{}", &alerts[..begin], &alerts[end..])).unwrap();
        return;
    }
    assert_eq!(alerts[begin..end], lines);

    // Those that have one cause say it beside its name.
    let beside: Vec<_> = alerts
        .lines()
        .zip(alerts.lines().skip(1))
        .filter_map(|(comment, line)| {
            let name = comment.trim().strip_prefix("# ")?;
            let cause = Cause::ALL.iter().find(|cause| cause.name() == name)?;
            Some((cause, line.trim()))
        })
        .collect();
    assert!(!beside.is_empty());
    for (cause, line) in beside {
        assert_eq!(line, format!("description: \"{}\"", cause.hint()));
    }
}
