//! `/openapi.json`: it is a description in `OpenAPI`, it has every path that there is and no other, and what real servers lead to is
//! answered as it says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Memcached, Redis, Sidecar, python};

/// The router as it is written: nothing else knows all of its paths.
const ROUTER: &str = include_str!("../../src/http.rs");

fn output(python: &mut Command, stdin: &str) -> Output {
    let mut python = python
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}; `tests/install` installs what this needs"));
    python.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    python.wait_with_output().unwrap()
}

/// A sidecar of which one cache is up, another down, and a third skipped.
fn sidecar(redis: &Redis) -> Sidecar {
    let mut gone = Memcached::start(&[]);
    gone.kill();
    let caches = format!(
        "[caches.main]\nurl = \"redis://{}\"\n[caches.sessions]\nservers = [\"{}\"]\n[caches.local]\n\
         backend = \"local-memory\"\n",
        redis.addr(),
        gone.addr(),
    );
    Sidecar::start(caches)
}

#[test]
fn the_description_is_openapi_of_this_version() {
    let redis = Redis::start(&[]);
    let description = sidecar(&redis).get("/openapi.json").body;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (&description["openapi"], &description["info"]["version"]),
        (&"3.1.0".into(), &version.into())
    );
    let judged = output(&mut python("http/openapi/validate.py", &[]), &description.to_string());
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));

    let mut broken = description;
    broken["paths"]["/health"]["get"]["responses"] = Value::Null;
    let judged = output(&mut python("http/openapi/validate.py", &[]), &broken.to_string());
    assert!(!judged.status.success(), "a description without responses was taken");
}

#[test]
fn the_description_has_the_paths_that_there_are_and_a_404_names_them() {
    let described: Value = serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap();
    let described: BTreeSet<_> = described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let routed = ROUTER.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(described, routed.collect());

    let redis = Redis::start(&[]);
    let refusal = sidecar(&redis).raw("/nope");
    for path in described.into_iter().filter(|&path| path != "/healthz") {
        assert!(refusal.contains(&format!(" {path}")), "{path}: {refusal}");
    }
}

#[test]
fn every_response_matches_the_description() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    let url = format!("http://{}", sidecar.addr());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("schemathesis.toml");
    std::fs::write(&config, "").unwrap();
    let mut ask = python("http/openapi/ask.py", &[&url, config.to_str().unwrap()]);
    let asked = output(ask.current_dir(dir.path()), "");
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}\n{}", String::from_utf8_lossy(&asked.stderr));
    assert!(said.contains(" passed"), "nothing was asked:\n{said}");
    // It has asked caches that are up, and caches that are down.
    assert_eq!((sidecar.get("/health/main").code, sidecar.get("/health").code), (200, 503));
}
