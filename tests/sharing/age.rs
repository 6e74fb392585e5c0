//! A verdict that is shared says how old it is, in every representation, and a list of changes who may see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::{Redis, Sidecar};
use serde_json::Value;

fn main_at(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n", redis.addr())
}

/// A header of an answer.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The age that a text gives in its line `checked 0.9 ms ago`.
fn told(text: &str) -> Duration {
    let line =
        text.lines().find_map(|line| line.strip_prefix("checked ")).unwrap_or_else(|| panic!("{text}"));
    humantime::parse_duration(&in_whole_units(line.strip_suffix(" ago").unwrap())).unwrap()
}

/// `900us` of `0.9 ms`, and `1200ms` of `1.2 s`.
fn in_whole_units(age: &str) -> String {
    let (number, unit) = age.split_once(' ').unwrap();
    let smaller = if unit == "s" { "ms" } else { "us" };
    format!("{:.0}{smaller}", number.parse::<f64>().unwrap() * 1e3)
}

#[test]
fn an_answer_that_shares_an_older_verdict_says_so_in_every_representation() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("max_age = \"1m\"", main_at(&redis));
    let first = sidecar.raw("/health");
    assert_eq!(header(&first, "age"), Some("1"), "{first}");
    let wait = Duration::from_millis(1_200);
    thread::sleep(wait);

    let old = |path: &str| {
        let answer = sidecar.raw(path);
        let seconds: u64 = header(&answer, "age").unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
        assert!(seconds >= 2, "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let json: Value = serde_json::from_str(&old("/health")).unwrap();
    let milliseconds = Duration::from_secs_f64(json["age_ms"].as_f64().unwrap() / 1e3);
    assert!(milliseconds >= wait, "{json}");
    assert_eq!(json["details"]["cache.main"]["since"], json["details"]["cache.main"]["began_at"]);
    for path in ["/health?format=text", "/readyz?verbose", "/health?format=kubernetes&verbose"] {
        // A tenth of a second is rounded away.
        assert!(told(&old(path)) + Duration::from_millis(50) >= wait, "{path}");
    }
    let health: Value = serde_json::from_str(&old("/health?format=health-json")).unwrap();
    let time = health["checks"]["main:roundTrip"][0]["time"].as_str().unwrap();
    let time = humantime::parse_rfc3339(time).unwrap();
    assert!(SystemTime::now().duration_since(time).unwrap() >= wait, "{health}");
    old("/health?format=html");
    old("/readyz");

    let unshared = Sidecar::start_with("max_age = \"0s\"", main_at(&redis));
    unshared.health();
    thread::sleep(wait);
    let answer = unshared.raw("/health?format=text");
    assert!(told(&answer) < wait, "{answer}");
}

#[test]
fn an_answer_without_a_check_has_no_age() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    for path in ["/livez", "/openapi.json", "/transitions", "/health/group/liveness"] {
        let answer = sidecar.raw(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert_eq!(header(&answer, "age"), None, "{path}: {answer}");
    }
}

#[test]
fn transitions_list_the_latest_change_first_with_the_result_of_its_check() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    sidecar.expect_up();
    assert_eq!(sidecar.get("/transitions").body, Value::Array(Vec::new()));
    let text = |sidecar: &Sidecar| {
        sidecar.raw("/transitions?format=text").split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(text(&sidecar), "no status has changed since the start\n");

    redis.kill();
    sidecar.expect_down("refused");
    redis.restart();
    sidecar.expect_up();
    let told = sidecar.get("/transitions").body;
    let change = |told: &Value| {
        ["check", "from", "to", "cause"].map(|key| told[key].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(change(&told[0]), ["cache.main", "DOWN", "UP", ""]);
    assert_eq!(change(&told[1]), ["cache.main", "UP", "DOWN", "refused"]);
    assert_eq!(told.as_array().unwrap().len(), 2, "{told:#}");
    let node = &told[1]["nodes"][0];
    assert_eq!((&node["node"], &node["phase"]), (&redis.addr().to_string().into(), &"connect".into()));
    assert!(node["phases_ms"]["connect"].is_number() && told[1]["lasted_s"].is_number(), "{told:#}");
    let lines = text(&sidecar);
    let lines: Vec<_> = lines.lines().collect();
    let has = |line: &str, parts: &[&str]| assert!(parts.iter().all(|part| line.contains(part)), "{lines:?}");
    has(lines[0], &["  cache.main  DOWN -> UP  (refused)  last seen DOWN "]);
    has(
        lines[1],
        &["  cache.main  UP -> DOWN  last seen UP ", &format!("  refused at {} in connect", redis.addr())],
    );
}

#[test]
fn transitions_need_the_access_level_of_details() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("[access]\ndetails = [\"192.0.2.0/24\"]\n", main_at(&redis));
    assert_eq!(sidecar.health().code, 200);
    for path in ["/transitions", "/transitions?format=text", "/transitions?format=nope"] {
        let answer = sidecar.raw(path);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
}
