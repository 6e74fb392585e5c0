//! Django's `CACHES` of memcached servers, by the libraries themselves: pymemcache 4.0 and bmemcached 0.33.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Memcached, Sidecar, python};

const PYMEMCACHE: &str = "django.core.cache.backends.memcached.PyMemcacheCache";
const BMEMCACHED: &str = "django_bmemcached.memcached.BMemcached";

/// A file with this backend at these servers, as the alias `main`.
fn caches(folder: &TempDir, backend: &str, servers: &[&Memcached]) -> PathBuf {
    let path = folder.path().join("caches.json");
    let servers = servers.iter().map(|server| server.addr().to_string()).collect::<Vec<_>>().join(",");
    let caches = format!("{{\"main\": {{\"BACKEND\": \"{backend}\", \"LOCATION\": \"{servers}\"}}}}");
    fs::write(&path, caches).unwrap();
    path
}

/// What becomes of the cache in an application: `works`, `lost`, or an exception.
fn used_by_the_application(caches: &str) -> String {
    let output = python("redis/django_caches.py", &[caches]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let word = said.trim().strip_prefix("main ");
    assert!(word.is_some(), "{}", String::from_utf8_lossy(&output.stderr));
    word.unwrap().to_owned()
}

#[test]
fn bmemcached_needs_any_one_of_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Memcached::start(&[]), Memcached::start(&[]));
    let path = caches(&folder, BMEMCACHED, &[&first, &second]);
    let sidecar = Sidecar::start_with(&format!("django_caches = \"{}\"", path.display()), "");
    let application = || used_by_the_application(path.to_str().unwrap());
    sidecar.expect_up();
    assert_eq!(application(), "works");
    first.kill();
    sidecar.expect_degraded("refused");
    assert_eq!(application(), "works");
    second.kill();
    sidecar.expect_down("refused");
    assert_eq!(application(), "lost");
    first.restart();
    sidecar.expect_degraded("refused");
    second.restart();
    sidecar.expect_up();
}

#[test]
fn a_server_that_is_listed_twice_is_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Memcached::start(&[]);
    for backend in [PYMEMCACHE, BMEMCACHED] {
        let path = caches(&folder, backend, &[&server, &server]);
        let sidecar = Sidecar::start_with(&format!("django_caches = \"{}\"", path.display()), "");
        sidecar.expect_up();
        assert_eq!(sidecar.health().nodes().len(), 1, "{backend}");
        assert_eq!(used_by_the_application(path.to_str().unwrap()), "works", "{backend}");
        server.kill();
        sidecar.expect_down("refused");
        server.restart();
        sidecar.expect_up();
    }
}
