//! Nodes of a cluster, and Sentinels, that contradict the others: named in the second comparison, and up again at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::time::Duration;

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::sentinel::{NAME, NEVER};
use crate::support::{Cluster, RedisServer, Sidecar, Watched, eventually, run};

/// The time in which a change of slots may be on its way to a node, so that there is nothing to wait for but the time.
const NEWS: Duration = Duration::from_secs(1);

fn main_at(url: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"\nconsensus = true")
}

/// A cluster is compared within a check, also by a machine that is busy with other tests.
const PATIENT: &str = "timeout = \"10s\"";

fn beside(url: &str) -> Sidecar {
    Sidecar::start_with(PATIENT, main_at(url))
}

/// The findings of the alias: its status, and each `ABOUT: SAID`.
fn found(sidecar: &Sidecar) -> (String, Vec<String>) {
    let health = sidecar.health();
    assert_eq!(health.code, 200, "{:#}", health.body);
    let findings = health.body["details"]["cache.main"]["findings"].as_array().cloned().unwrap_or_default();
    let text = |finding: &serde_json::Value| {
        assert_eq!((&finding["status"], &finding["cause"]), (&"DEGRADED".into(), &"split_view".into()));
        format!("{}: {}", finding["about"].as_str().unwrap(), finding["said"].as_str().unwrap())
    };
    let status = health.body["status"].as_str().unwrap().to_owned();
    (status, findings.iter().map(text).collect())
}

fn expect_degraded(sidecar: &Sidecar, words: &[String]) {
    assert_eq!(found(sidecar), ("DEGRADED".to_owned(), words.to_vec()));
}

/// Expects that a fault which is there by now is no finding of the first check, and these of the second one.
fn expect_in_the_second_check(sidecar: &Sidecar, words: &[String]) {
    sidecar.expect_up();
    std::thread::sleep(NEWS);
    expect_degraded(sidecar, words);
    expect_degraded(sidecar, words);
}

#[test]
fn a_primary_that_gave_a_slot_away_and_a_replica_that_follows_it_are_named() {
    let cluster = Cluster::start(&[]);
    for seeds in [&[0][..], &[1, 2, 3]] {
        let sidecar = beside(&cluster.url_of(seeds));
        sidecar.expect_up();
        sidecar.expect_up();
        // The others still send clients there, and it sends them to node 1.
        cluster.nodes[0].command(&["CLUSTER", "SETSLOT", "5", "NODE", &cluster.id(1)]);
        let others = format!("says {}, others say {}", cluster.addr(1), cluster.addr(0));
        let mut words = vec![format!("node {}: slots 5: {others}", cluster.addr(0))];
        // Valkey tells the replica as well.
        if cluster.nodes[3].command(&["CLUSTER", "NODES"]).contains("0-4 6-5460") {
            words.push(format!("node {}: slots 5: {others}", cluster.addr(3)));
            words.sort();
        }
        expect_in_the_second_check(&sidecar, &words);
        cluster.nodes[0].command(&["CLUSTER", "SETSLOT", "5", "NODE", &cluster.id(0)]);
        cluster.wait_until_whole();
        sidecar.expect_up();
    }
}

#[test]
fn a_replica_that_has_forgotten_nodes_is_named_with_the_slots_that_it_lacks() {
    if RedisServer::of_this_run() != RedisServer::Distribution {
        // Newer servers tell each other to forget a node, since Redis 7.2.
        return;
    }
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster.url());
    sidecar.expect_up();
    sidecar.expect_up();
    // Nobody tells it of node 2 for a minute.
    let (replica, forgotten) = (&cluster.nodes[3], cluster.addr(2));
    replica.command(&["CLUSTER", "FORGET", &cluster.id(2)]);
    let node = format!("node {}", cluster.addr(3));
    let slots = format!("{node}: slots 10923-16383: says no owner, others say {forgotten}");
    expect_in_the_second_check(&sidecar, std::slice::from_ref(&slots));
    let (state, at_last) =
        (format!("; state of {forgotten}: says gone, others say alive"), "what it has not heard of");
    eventually(at_last, || found(&sidecar).1 == [format!("{slots}{state}")]);
    let (port, bus) = (forgotten.port().to_string(), cluster.nodes[2].bus_port().to_string());
    replica.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    cluster.wait_until_whole();
    sidecar.expect_up();
}

#[test]
fn slots_that_move_are_no_split_view() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster.url());
    sidecar.expect_up();
    cluster.begin_to_move(100, 0, 1);
    let up = || assert_eq!(found(&sidecar), ("UP".to_owned(), vec![]));
    for _ in 0..2 {
        up();
        std::thread::sleep(NEWS);
    }
    up();
    cluster.move_keys(100, 0, 1);
    cluster.hand_over(100, 0, 1);
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            cluster.move_slots(0..=99, 0, 1);
            cluster.move_slots(5_461..=5_600, 1, 2);
        });
        while !moving.is_finished() {
            up();
        }
    });
    up();
}

#[test]
fn a_failover_is_no_split_view() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster.url());
    sidecar.expect_up();
    for replica in [3, 4, 0] {
        cluster.fail_over_to(replica);
        for _ in 0..5 {
            assert_eq!(found(&sidecar), ("UP".to_owned(), vec![]));
        }
    }
}

#[test]
fn a_replica_that_hangs_or_is_dead_delays_no_check_and_hides_no_other_node() {
    let mut cluster = Cluster::start(&[]);
    cluster.nodes[4].stop();
    cluster.nodes[5].kill();
    let sidecar = Sidecar::start_with("timeout = \"2s\"", main_at(&cluster.url()));
    for _ in 0..5 {
        let health = sidecar.health();
        assert_eq!(health.body["status"], "UP", "{:#}", health.body);
        assert!(health.took < Duration::from_secs(1), "{:?}", health.took);
    }
    cluster.nodes[2].command(&["CLUSTER", "SETSLOT", "16383", "NODE", &cluster.id(1)]);
    let named = format!("node {}: slots 16383: says {}", cluster.addr(2), cluster.addr(1));
    eventually("the node is named", || found(&sidecar).1.iter().any(|words| words.starts_with(&named)));
    cluster.nodes[4].cont();
}

#[test]
fn without_the_setting_or_the_right_nothing_is_claimed() {
    let cluster = Cluster::start(&[]);
    let url = cluster.url().replace("://", &format!("://canary:{PASSWORD}@"));
    let [user] = printed_users(&main_at(&url));
    for node in &cluster.nodes {
        user.give(node, &[]);
    }
    let without = main_at(&url).replace("true", "false");
    let (sidecar, silent) = (beside(&url), Sidecar::start_with(PATIENT, &without));
    sidecar.expect_up();
    cluster.nodes[0].command(&["CLUSTER", "SETSLOT", "5", "NODE", &cluster.id(1)]);
    sidecar.expect_up();
    std::thread::sleep(NEWS);
    assert_eq!(found(&sidecar).0, "DEGRADED");
    silent.expect_up();
    for node in &cluster.nodes {
        user.give(node, &["+cluster|nodes"]);
    }
    // A new connection has the new rights, and a kept one too.
    sidecar.expect_up();
    silent.expect_up();
    let explained = |config: &str| {
        let output = run(&["check", "--explain"], &format!("{PATIENT}\n{config}"));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explained(&main_at(&url));
    assert!(text.contains("CLUSTER NODES") && text.contains("NOPERM"), "{text}");
    assert!(!explained(&without).contains("CLUSTER NODES"));
}

#[test]
fn a_sentinel_of_another_quorum_is_named() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched.url());
    sidecar.expect_up();
    sidecar.expect_up();
    for odd in [0, 2] {
        let sentinel = &watched.sentinels[odd];
        sentinel.ask(&["SENTINEL", "SET", NAME, "QUORUM", "3"]).unwrap().unwrap();
        let words = format!("sentinel {}: quorum: says 3, others say 2", sentinel.addr());
        expect_in_the_second_check(&sidecar, &[words]);
        sentinel.ask(&["SENTINEL", "SET", NAME, "QUORUM", "2"]).unwrap().unwrap();
        sidecar.expect_up();
    }
}

#[test]
fn a_sentinel_that_is_alone_in_taking_the_primary_for_down_is_named_after_a_while() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = beside(&watched.url());
    sidecar.expect_up();
    let sentinel = &watched.sentinels[1];
    let set = |settings: &[&str]| {
        sentinel.ask(&[&["SENTINEL", "SET", NAME][..], settings].concat()).unwrap().unwrap();
    };
    // Its user may not send what it asks with.
    watched.primary().set_user("blind", "on >blind +@all -ping");
    set(&["down-after-milliseconds", "1000", "auth-user", "blind", "auth-pass", "blind"]);
    let words = format!("sentinel {}: state of the primary: says down, others say up", sentinel.addr());
    eventually("it is named", || found(&sidecar).1 == [words.clone()]);
    set(&["auth-user", "", "auth-pass", "", "down-after-milliseconds", "3600000"]);
    eventually("it takes the primary for up", || {
        !sentinel.ask(&["SENTINEL", "MASTER", NAME]).unwrap().unwrap().contains("_down")
    });
    sidecar.expect_up();
}
