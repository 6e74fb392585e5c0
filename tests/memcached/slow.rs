//! `slow`: a memcached that answers in time and late is degraded, and named among the others of its ring.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Memcached, Relay, Sidecar};

#[test]
fn a_server_behind_a_slow_network_is_slow_and_the_others_are_not_named() {
    let (near, far) = (Memcached::start(&[]), Memcached::start(&[]));
    let is_late = Arc::new(AtomicBool::new(false));
    let late = is_late.clone();
    let relay = Relay::start(far.addr(), move |_| {
        if late.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_secs(1));
        }
        true
    });
    let sidecar = Sidecar::start_with(
        "timeout = \"8000ms\"\nreconnect_every = \"1h\"",
        format!("[caches.main]\nservers = [\"{}\", \"{}\"]\nslow = \"700ms\"", near.addr(), relay.addr()),
    );
    sidecar.expect_up();
    is_late.store(true, Ordering::SeqCst);
    let health = sidecar.health_in_time();
    assert_eq!((health.code, &health.body["status"]), (200, &"DEGRADED".into()), "{:#}", health.body);
    let findings = health.body["details"]["cache.main"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{:#}", health.body);
    assert_eq!(findings[0]["cause"], "slow");
    assert!(findings[0]["about"].as_str().unwrap().starts_with(&format!("{} in ", relay.addr())));
    is_late.store(false, Ordering::SeqCst);
    sidecar.expect_up();
}
