//! Review Board's own CACHES, beside a real memcached.

use std::fs;

use crate::support::{Memcached, Sidecar};
use crate::{read, replaced};

#[test]
fn review_boards_caches_are_checked_as_they_are() {
    let mut memcached = Memcached::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let caches = dir.path().join("caches.json");
    let written = read("reviewboard/caches.json");
    fs::write(&caches, replaced(&written, "memcached:11211", &memcached.addr().to_string())).unwrap();
    let sidecar = Sidecar::start_with(&format!("django_caches = {caches:?}"), "");

    let health = sidecar.health();
    assert_eq!(health.body["checks"], serde_json::json!({ "cache.forwarded_backend": "UP" }));
    assert_eq!(health.body["skipped"]["default"], "forwards to forwarded_backend");
    assert_eq!(health.body["skipped"]["staticfiles"], "lives in the application's memory");

    memcached.kill();
    assert_eq!(sidecar.get("/health/default").code, 503);
    assert_eq!(sidecar.health().body["checks"]["cache.forwarded_backend"], "DOWN");

    memcached.restart();
    assert_eq!(sidecar.get("/health/default").code, 200);
}
