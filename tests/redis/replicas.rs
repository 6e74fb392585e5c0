//! A primary and its replicas: each must show the primary's canary in time.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::time::Duration;

use crate::support::{Link, Redis, Sidecar, eventually};
use serde_json::Value;

fn main_at(primary: &Redis, settings: &str) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n{settings}", primary.addr())
}

/// A primary and a replica of it.
fn pair() -> (Redis, Redis) {
    let primary = Redis::start(&[]);
    let replica = replica_of(&primary);
    (primary, replica)
}

fn replica_of(primary: &Redis) -> Redis {
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.catch_up_with(primary);
    replica
}

/// A sidecar that is told of this replica.
fn beside(primary: &Redis, replica: &Redis) -> Sidecar {
    Sidecar::start(main_at(primary, &format!("replicas = [\"{}\"]", replica.addr())))
}

/// A sidecar that finds the replicas itself.
fn discovering(primary: &Redis) -> Sidecar {
    Sidecar::start(main_at(primary, "replicas = \"discover\""))
}

/// The nodes of the roles and names, and the lag of each, in milliseconds.
fn lags(sidecar: &Sidecar) -> Vec<(String, Option<f64>)> {
    let health = sidecar.health();
    let nodes = health.body["details"]["cache.main"]["nodes"].as_array().unwrap();
    let lag = |node: &Value| (node["node"].as_str().unwrap().to_owned(), node["lag_ms"].as_f64());
    nodes.iter().map(lag).collect()
}

#[test]
fn a_replica_that_shows_the_canary_is_up_and_its_lag_is_reported() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    let lags = lags(&sidecar);
    assert_eq!(lags[0], (primary.addr().to_string(), None));
    assert_eq!(lags[1].0, replica.addr().to_string());
    assert!(lags[1].1.is_some_and(|lag| lag > 0.0 && lag < 750.0), "{lags:?}");
}

#[test]
fn a_replica_whose_link_is_cut_is_behind() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    // It goes on to answer from old data.
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let words = sidecar.expect_degraded("behind");
    assert!(words.starts_with(&format!("{} read the read found no value", replica.addr())), "{words}");
    let words = sidecar.expect_degraded("behind");
    assert!(words.contains(" read the read found a canary that is "), "{words}");
    replica.become_replica_of(&primary);
    sidecar.expect_up();
}

#[test]
fn a_replica_that_may_not_answer_from_old_data_says_that_its_primary_is_down() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    replica.become_orphan();
    assert!(sidecar.expect_degraded("primary_down").contains("MASTERDOWN"));
    replica.become_replica_of(&primary);
    sidecar.expect_up();
}

#[test]
fn a_stopped_replica_times_out() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    replica.stop();
    let words = sidecar.expect_degraded("timed_out");
    assert!(words.starts_with(&format!("{} read ", replica.addr())), "{words}");
    replica.cont();
    replica.catch_up_with(&primary);
    sidecar.expect_up();
}

#[test]
fn a_killed_replica_is_refused() {
    let (primary, mut replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    replica.kill();
    let words = sidecar.expect_degraded("refused");
    assert!(words.starts_with(&format!("{} connect", replica.addr())), "{words}");
    replica.restart();
    replica.catch_up_with(&primary);
    sidecar.expect_up();
}

#[test]
fn a_faulty_replica_that_is_required_is_down() {
    let (primary, mut replica) = pair();
    let named = format!("replicas = {{ servers = [\"{}\"], required = true }}", replica.addr());
    let sidecars =
        ["replicas = \"required\"", &named].map(|settings| Sidecar::start(main_at(&primary, settings)));
    sidecars.iter().for_each(Sidecar::expect_up);
    replica.kill();
    for sidecar in &sidecars {
        let words = sidecar.expect_down("refused");
        assert!(words.starts_with(&replica.addr().to_string()), "{words}");
    }
    replica.restart();
    replica.catch_up_with(&primary);
    sidecars.iter().for_each(Sidecar::expect_up);
}

#[test]
fn a_promoted_replica_is_behind() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    replica.become_primary();
    sidecar.expect_degraded("behind");
    replica.become_replica_of(&primary);
    sidecar.expect_up();
}

#[test]
fn the_faults_of_a_replica_are_those_of_any_server() {
    let (primary, replica) = pair();
    let settings = format!("replicas = [\"{}\"]", replica.addr());
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", main_at(&primary, &settings));
    sidecar.expect_up();
    replica.require_password("wanted");
    assert!(sidecar.expect_degraded("auth").contains("NOAUTH"));
    replica.require_password("");
    sidecar.expect_up();
    let unknown = Sidecar::start(main_at(&primary, "replicas = [\"replica.invalid:6379\"]"));
    unknown.expect_degraded("unresolvable");
}

#[test]
fn without_the_primary_no_replica_is_judged() {
    let (mut primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    primary.kill();
    let words = sidecar.expect_down("refused");
    assert!(words.starts_with(&primary.addr().to_string()), "{words}");
    assert_eq!(lags(&sidecar).len(), 1);
    primary.restart();
    replica.catch_up_with(&primary);
    sidecar.expect_up();
}

#[test]
fn the_first_check_after_a_hang_of_the_primary_is_up() {
    let (primary, replica) = pair();
    let settings = format!("replicas = [\"{}\"]", replica.addr());
    let sidecar = Sidecar::start_with("timeout = \"200ms\"", main_at(&primary, &settings));
    for _ in 0..10 {
        sidecar.expect_up();
        primary.stop();
        // Their writes arrive when it goes on.
        for _ in 0..4 {
            sidecar.expect_down("timed_out");
        }
        primary.cont();
        sidecar.expect_up();
    }
}

#[test]
fn a_connection_that_the_replica_closed_between_two_checks_is_no_fault() {
    let (primary, replica) = pair();
    let sidecar = beside(&primary, &replica);
    for _ in 0..10 {
        sidecar.expect_up();
        replica.disconnect_clients();
    }
}

#[test]
fn replicas_are_found_and_not_forgotten_when_they_die() {
    let (primary, mut replica) = pair();
    let sidecar = discovering(&primary);
    sidecar.expect_up();
    let late = replica_of(&primary);
    sidecar.expect_up();
    let mut found: Vec<_> = lags(&sidecar).into_iter().skip(1).map(|(node, _)| node).collect();
    found.sort();
    let mut all = [&replica, &late].map(|replica| replica.addr().to_string());
    all.sort();
    assert_eq!(found, all);
    replica.kill();
    eventually("a primary sees that a replica is gone", || primary.info("connected_slaves") == "1");
    for _ in 0..3 {
        let words = sidecar.expect_degraded("refused");
        assert!(words.starts_with(&replica.addr().to_string()), "{words}");
    }
    replica.restart();
    replica.catch_up_with(&primary);
    sidecar.expect_up();
}

#[test]
fn a_found_replica_whose_link_is_cut_is_behind() {
    let (primary, replica) = pair();
    let sidecar = discovering(&primary);
    sidecar.expect_up();
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    eventually("a primary sees that a replica is gone", || primary.info("connected_slaves") == "0");
    let words = sidecar.expect_degraded("behind");
    assert!(words.starts_with(&replica.addr().to_string()), "{words}");
    replica.become_replica_of(&primary);
    sidecar.expect_up();
}

#[test]
fn a_primary_without_replicas_is_up_unless_they_are_required() {
    let primary = Redis::start(&[]);
    discovering(&primary).expect_up();
    let required = Sidecar::start(main_at(&primary, "replicas = \"required\""));
    let words = required.expect_down("unreachable");
    assert!(words.starts_with("replicas ") && words.contains("has no replica"), "{words}");
    let _replica = replica_of(&primary);
    required.expect_up();
}

#[test]
fn a_user_that_may_not_ask_for_replicas_is_forbidden() {
    let (primary, replica) = pair();
    let rules = "on >secret ~djblets-* +set +get";
    for redis in [&primary, &replica] {
        redis.set_user("app", rules);
    }
    let url =
        format!("[caches.main]\nurl = \"redis://app:secret@{}\"\nreplicas = \"discover\"", primary.addr());
    let sidecar = Sidecar::start(url);
    let words = sidecar.expect_degraded("forbidden");
    assert!(words.starts_with("replicas ") && words.contains("role"), "{words}");
    primary.set_user("app", "on >secret ~djblets-* +set +get +role");
    sidecar.expect_up();
    assert_eq!(lags(&sidecar).len(), 2);
}

/// A primary and a replica of it that has its data over the link.
fn linked() -> (Redis, Link, Redis) {
    let primary = Redis::start(&[]);
    let link = Link::start(primary.addr());
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
    replica.catch_up_with(&primary);
    (primary, link, replica)
}

#[test]
fn a_replica_that_lags_is_up_within_its_time_and_behind_without() {
    let (primary, link, replica) = linked();
    let patient = beside(&primary, &replica);
    let settings = format!("replicas = [\"{}\"]\nreplica_within = \"50ms\"", replica.addr());
    let hurried = Sidecar::start(main_at(&primary, &settings));
    patient.expect_up();
    hurried.expect_up();
    link.delay(Duration::from_millis(150));
    let words = hurried.expect_degraded("behind");
    assert!(words.contains("ms after the primary's write"), "{words}");
    replica.catch_up_with(&primary);
    patient.expect_up();
    let lag = lags(&patient)[1].1.unwrap();
    assert!(lag >= 140.0, "{lag} ms");
    link.delay(Duration::ZERO);
    replica.catch_up_with(&primary);
    hurried.expect_up();
    patient.expect_up();
}

#[test]
fn a_replica_that_gets_nothing_is_behind_at_the_deadline() {
    let (primary, link, replica) = linked();
    let sidecar = beside(&primary, &replica);
    sidecar.expect_up();
    link.hold();
    sidecar.expect_degraded("behind");
    link.release();
    replica.catch_up_with(&primary);
    sidecar.expect_up();
}
