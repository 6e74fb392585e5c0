//! A Redis whose settings contradict its use: healthy before, `unfit` with the setting at the first request after, and healthy
//! again at the first request after the setting is put right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::acl::{self, printed_users};
use crate::support::checks::{expect_found, steps};
use crate::support::sentinel::{NEVER, Watched};
use crate::support::{Cluster, Redis, Sidecar, Twemproxy, eventually};

const CHECK: &str = "cache.main.policy";

fn config(url: &str, usage: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"\nuse = \"{usage}\"\n")
}

fn sidecar(server: &Redis, usage: &str) -> Sidecar {
    Sidecar::start(config(&format!("redis://{}", server.addr()), usage))
}

fn set(server: &Redis, setting: &str, value: &str) {
    assert_eq!(server.command(&["CONFIG", "SET", setting, value]), "OK", "{setting} {value}");
}

/// That the check is up, then finds only this on the server with this setting, and is up again with the old value.
fn expect_unfit(sidecar: &Sidecar, server: &Redis, [setting, good, bad]: [&str; 3], words: &str) {
    set(server, setting, good);
    expect_found(sidecar, CHECK, &[]);
    set(server, setting, bad);
    let said = expect_found(sidecar, CHECK, &[&format!("DEGRADED unfit node {}", server.addr())]);
    assert!(said[0].contains(words), "{said:?}");
    set(server, setting, good);
    expect_found(sidecar, CHECK, &[]);
}

#[test]
fn each_use_is_contradicted_by_its_own_settings() {
    let server = Redis::start(&[]);
    let keys = "maxmemory-policy allkeys-lru evicts the keys of a queue when the memory is full; set maxmemory-policy noeviction";
    let loses = "a restart loses sessions: no append-only file, no replica, and no snapshot since the start; set appendonly yes";
    let grows = "maxmemory is 0 and maxmemory-policy noeviction, so the cache grows until the machine has no memory; set maxmemory";
    let policy = "maxmemory-policy";
    expect_unfit(&sidecar(&server, "cache"), &server, ["maxmemory", "100mb", "0"], grows);
    let locks = sidecar(&server, "lock");
    for evicting in ["allkeys-random", "volatile-lru"] {
        let said = format!("maxmemory-policy {evicting} evicts locks");
        expect_unfit(&locks, &server, [policy, "noeviction", evicting], &said);
    }
    let sessions = sidecar(&server, "session");
    expect_unfit(&sessions, &server, ["appendonly", "yes", "no"], loses);
    set(&server, "appendonly", "yes");
    expect_unfit(&sessions, &server, [policy, "noeviction", "volatile-ttl"], "evicts sessions when");
    let queue = sidecar(&server, "queue");
    expect_unfit(&queue, &server, [policy, "noeviction", "allkeys-lru"], keys);
    set(&server, policy, "volatile-ttl");
    expect_found(&queue, CHECK, &[]);
    set(&server, policy, "noeviction");
    expect_unfit(&queue, &server, ["appendonly", "yes", "no"], "a restart loses the keys of a queue");
}

#[test]
fn a_replica_or_a_snapshot_keeps_sessions() {
    let server = Redis::start(&[]);
    let sidecar = sidecar(&server, "session");
    let unfit = format!("DEGRADED unfit node {}", server.addr());
    expect_found(&sidecar, CHECK, &[&unfit]);
    let mut replica = Redis::start(&[]);
    replica.become_replica_of(&server);
    expect_found(&sidecar, CHECK, &[]);
    replica.kill();
    // The process that made its copy may live for a moment longer.
    eventually("the replica is gone", || {
        ["connected_slaves", "rdb_bgsave_in_progress"].iter().all(|field| server.info(field) == "0")
    });
    expect_found(&sidecar, CHECK, &[&unfit]);
    server.command(&["SAVE"]);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn a_replica_that_takes_writes_is_unfit_for_every_use() {
    let (primary, server) = (Redis::start(&[]), Redis::start(&["--replica-read-only", "no"]));
    let sidecar = sidecar(&server, "lock");
    expect_found(&sidecar, CHECK, &[]);
    server.become_replica_of(&primary);
    let said = expect_found(&sidecar, CHECK, &[&format!("DEGRADED unfit node {}", server.addr())]);
    assert!(said[0].contains("set replica-read-only yes"), "{said:?}");
    server.become_primary();
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn each_primary_of_a_cluster_each_shard_and_the_primary_of_sentinels_is_judged() {
    let (cluster, watched) = (Cluster::start(&[]), Watched::start(NEVER, &[]));
    let shards = [Redis::start(&[]), Redis::start(&[])];
    let urls = shards.each_ref().map(|shard| format!("\"redis://{}\"", shard.addr())).join(", ");
    let sharded = format!("[caches.main]\ntopology = \"shards\"\nservers = [{urls}]\nuse = \"lock\"");
    for (config, server) in [
        (config(&cluster.url(), "lock"), &cluster.nodes[1]),
        (config(&watched.url(), "lock"), watched.primary()),
        (sharded, &shards[1]),
    ] {
        let policy = ["maxmemory-policy", "noeviction", "allkeys-lfu"];
        expect_unfit(&Sidecar::start(config), server, policy, "allkeys-lfu evicts locks");
    }
    // Replicas are not judged.
    set(&watched.servers[1], "maxmemory-policy", "allkeys-lfu");
    expect_found(&Sidecar::start(config(&watched.url(), "lock")), CHECK, &[]);
}

#[test]
fn a_preset_of_queues_implies_the_use_and_claims_nothing_without_the_right_to_info() {
    let server = Redis::start(&[]);
    let url = format!("redis://canary:{}@{}", acl::PASSWORD, server.addr());
    let implied =
        format!("[caches.main]\nurl = \"{url}\"\n[caches.main.checks.queue]\npreset = \"sidekiq\"\n");
    let explicit = implied.replace("\n[caches.main.checks", "\nuse = \"queue\"\n[caches.main.checks");
    let [user] = printed_users(&explicit);
    user.give(&server, &[]);
    // Missing persistence is only judged if the use is written.
    let sidecar = Sidecar::start(&implied);
    expect_unfit(&sidecar, &server, ["maxmemory-policy", "noeviction", "allkeys-lru"], "the keys of a queue");
    set(&server, "appendonly", "yes");
    expect_unfit(
        &Sidecar::start(&explicit),
        &server,
        ["maxmemory-policy", "noeviction", "allkeys-lru"],
        "the keys of a queue",
    );

    user.give(&server, &["+info"]);
    set(&server, "maxmemory-policy", "allkeys-lru");
    Sidecar::start(&implied).expect_up();
    let said = Sidecar::start(&explicit).expect_down("forbidden");
    assert!(said.contains("(needed for the check `policy`; grant +info)"), "{said}");

    // A proxy closes the connection on INFO. twemproxy takes no user.
    let open = Redis::start(&[]);
    let proxy = Twemproxy::of_redis(&[open.addr()], &[]);
    let behind = implied
        .replace(&url, &format!("redis://{}", proxy.addr()))
        .replace("preset", "names = [\"a\"]\npreset");
    let health = Sidecar::start(behind).health();
    assert_eq!(health.body["checks"][CHECK], "UP", "{:#}", health.body);
}

#[tokio::test]
async fn the_settings_are_read_once_and_explained() {
    let server = Redis::start(&[]);
    let steps = steps(&config(&format!("redis://{}", server.addr()), "cache")).await;
    let said: Vec<_> = steps.iter().map(|step| (&*step.command, &*step.expected, &*step.saw)).collect();
    let (command, expected, saw) = said.last().unwrap();
    assert_eq!(*command, "INFO memory, INFO persistence, INFO replication");
    assert_eq!(*expected, "settings for use = \"cache\"");
    assert!(saw.starts_with("maxmemory is 0"), "{saw}");
    server.command(&["CONFIG", "RESETSTAT"]);
    let sidecar = sidecar(&server, "cache");
    sidecar.health();
    let calls = server.command(&["INFO", "commandstats"]);
    let of_info = calls.lines().find(|line| line.starts_with("cmdstat_info:")).unwrap();
    assert!(of_info.contains("calls=3,"), "{of_info}");
}
