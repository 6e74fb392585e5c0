//! Many callers and one cache: how often it is asked, through the program and HTTP.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod support;

use std::thread;

use support::{Redis, Sidecar};

/// How many canaries were written to this Redis.
fn written(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

fn sidecar(redis: &Redis, settings: &str) -> Sidecar {
    Sidecar::start_with(settings, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()))
}

#[test]
fn callers_within_max_age_share_one_check() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"60s\"");
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| sidecar.expect_up());
        }
    });
    assert_eq!(written(&redis), 1);
}

#[test]
fn callers_one_after_the_other_each_have_a_check_where_none_may_be_shared() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"0s\"");
    for _ in 0..50 {
        sidecar.expect_up();
    }
    assert_eq!(written(&redis), 50);
}

#[test]
fn a_storm_of_callers_keeps_one_connection_and_is_answered_in_full() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"0s\"\nreconnect_every = \"1h\"");
    let connected = || redis.info("total_connections_received").parse::<u32>().unwrap();
    sidecar.expect_up();
    let before = connected();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| (0..20).for_each(|_| sidecar.expect_up()));
        }
    });
    // The harness asks over connections of its own, one for each look. A check that a busy machine holds up
    // for an eighth of the deadline is overlapped by another, on another connection.
    let dialled = connected() - before - 1;
    assert!(dialled <= 8, "{dialled} connections");
    let written = written(&redis);
    assert!(written < 32 * 20, "{written} checks for {} callers", 32 * 20);
}

#[test]
fn an_alias_and_all_that_forward_to_it_are_checked_once() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://{}\"\n\
         [caches.default]\nbackend = \"forwarding\"\nlocation = \"main\"\n\
         [caches.again]\nbackend = \"forwarding\"\nlocation = \"default\"",
        redis.addr()
    ));
    let health = sidecar.health();
    assert_eq!(health.code, 200);
    assert_eq!(written(&redis), 1);
    let [all, one] = [&health, &sidecar.get("/health/again")].map(|health| health.body["checks"].clone());
    assert_eq!(all, serde_json::json!({ "cache.main": "UP" }));
    assert_eq!(one, all, "a forwarding alias answers with its target's outcome");
    assert_eq!(written(&redis), 2);
}
