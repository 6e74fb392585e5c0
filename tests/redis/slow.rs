//! `slow`: a Redis that answers in time and late is degraded, judged by the check alone that met it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Redis, Relay, Sidecar};

/// Far above what a check takes on a busy machine, and far below the delays and the deadline. No check dials anew.
const SETTINGS: &str = "timeout = \"8000ms\"\nslow = \"700ms\"\nreconnect_every = \"1h\"";

const DELAY: Duration = Duration::from_secs(2);

/// The first finding of `main`: its cause, its subject, and the times of the phase and of the node.
fn expect_slow(sidecar: &Sidecar, place: &str) {
    let health = sidecar.health_in_time();
    assert_eq!((health.code, &health.body["status"]), (200, &"DEGRADED".into()), "{:#}", health.body);
    let finding = &health.body["details"]["cache.main"]["findings"][0];
    assert_eq!((&finding["cause"], &finding["about"]), (&"slow".into(), &place.into()), "{:#}", health.body);
    let said = finding["said"].as_str().unwrap();
    assert!(said.ends_with(" (degraded above 700ms)"), "{said}");
    let error = health.body["errors"]["cache.main"].as_str().unwrap();
    assert!(
        error.starts_with(&format!("slow: {place}: {said}. The cache responds in time, but ")),
        "{error}"
    );
}

#[test]
fn a_paused_server_that_answers_in_time_is_slow_in_its_write() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with(
        SETTINGS,
        format!(
            "[caches.main]\nurl = \"redis://{0}\"\nchecks.queue.keys = [\"q\"]\n\
             [caches.other]\nurl = \"redis://{0}\"\nslow = \"0s\"",
            redis.addr()
        ),
    );
    sidecar.expect_up();
    redis.command(&["CLIENT", "PAUSE", "2000", "ALL"]);
    expect_slow(&sidecar, &format!("{} in write", redis.addr()));
    let metrics = sidecar.raw("/metrics");
    let failures = "cache_check_failures_total{alias=\"main\",check=\"round_trip\",cause=\"slow\"} 1\n";
    assert!(metrics.contains(failures), "{metrics}");
    assert!(!metrics.contains("alias=\"other\",check=\"round_trip\",cause"), "its own 0s is for never");
    assert!(!metrics.contains("check=\"queue\",cause"), "only round trips are judged");
    sidecar.expect_up();
}

#[test]
fn a_slow_answer_to_the_read_is_slow_in_the_read_and_a_missing_one_is_down() {
    let redis = Redis::start(&[]);
    let is_late = Arc::new(AtomicBool::new(false));
    let late = is_late.clone();
    let relay = Relay::start(redis.addr(), move |piece| {
        if late.load(Ordering::SeqCst) && piece.windows(5).any(|bytes| bytes == b"\nGET\r") {
            thread::sleep(DELAY);
        }
        true
    });
    let sidecar = Sidecar::start_with(SETTINGS, format!("[caches.main]\nurl = \"redis://{}\"", relay.addr()));
    sidecar.expect_up();
    is_late.store(true, Ordering::SeqCst);
    expect_slow(&sidecar, &format!("{} in read", relay.addr()));
    is_late.store(false, Ordering::SeqCst);
    sidecar.expect_up();
    // A cache that is down is not also slow.
    redis.stop();
    sidecar.expect_down("timed_out");
    assert_eq!(sidecar.health().body["details"]["cache.main"]["findings"], serde_json::Value::Null);
    redis.cont();
    sidecar.expect_up();
}
