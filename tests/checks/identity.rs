//! Whether a server still holds the data that it held before: healthy before, the right status, cause and words at the
//! first request after a server was replaced or has lost its data, and healthy again at the first request after that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::acl::{self, printed_users};
use crate::support::checks::{expect_found, explained, find};
use crate::support::cluster::{SOON_FAILED, slot_of};
use crate::support::{
    Cluster, Memcached, PASSWORD, Redis, Relay, Sidecar, USER, Watched, eventually, run, sentinel,
};

const CHECK: &str = "cache.main.identity";

/// The key of the marker of a server that is no cluster.
const KEY: &str = "djblets-canary:identity";

/// A loss is reported for longer than any test takes.
const ON: &str = "identity = true";

/// A loss is over soon.
const BRIEF: &str = "identity = { lost_for = \"1s\" }";

fn redis(addr: SocketAddr, identity: &str) -> String {
    format!("[caches.main]\nurl = \"redis://{addr}\"\n{identity}\n")
}

fn memcached(servers: &[&Memcached], identity: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| server.addr().to_string()).collect();
    format!("[caches.main]\nservers = {servers:?}\n{identity}\n")
}

/// Flushes a memcached, which keeps the entries of the current second.
fn flush(memcached: &Memcached) {
    eventually("the marker is flushed", || {
        memcached.command("flush_all");
        memcached.command(&format!("get {KEY}")) == "END"
    });
}

/// A sidecar of this name.
fn named(name: &str, caches: &str) -> Sidecar {
    Sidecar::start_with(&format!("instance = \"{name}\""), caches)
}

/// The number in the value of a marker.
fn number(marker: &str) -> String {
    marker.split(' ').nth(1).unwrap_or_else(|| panic!("no marker: {marker:?}")).to_owned()
}

fn lost(server: &str) -> String {
    format!("DEGRADED lost server {server}")
}

fn wrong(server: SocketAddr) -> String {
    format!("DOWN wrong_cache server {server}")
}

/// Asks once, and wants these servers to have lost their marker; the words of the first.
fn expect_lost(sidecar: &Sidecar, servers: &[SocketAddr]) -> String {
    let expected: Vec<_> = servers.iter().map(|server| lost(&server.to_string())).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    expect_found(sidecar, CHECK, &expected).remove(0)
}

fn over(sidecar: &Sidecar) {
    eventually("the loss is over", || find(sidecar, CHECK).is_empty());
    sidecar.expect_up();
}

#[test]
fn two_servers_that_are_swapped_behind_one_address_are_told_apart_at_the_first_check() {
    let (ours, other) = (Redis::start(&[]), Redis::start(&[]));
    let relay = Relay::start(ours.addr(), |_| true);
    let sidecar = named("web-1", &redis(relay.addr(), ON));
    sidecar.expect_up();
    named("web-2", &redis(other.addr(), ON)).expect_up();
    sidecar.expect_up();
    let numbers = [&ours, &other].map(|server| number(&server.command(&["GET", KEY])));
    assert_ne!(numbers[0], numbers[1]);

    for _ in 0..2 {
        relay.switch_to(other.addr());
        let said = expect_found(&sidecar, CHECK, &[&wrong(relay.addr())]).remove(0);
        let (found, expected) = said.split_once("; ").unwrap();
        assert!(found.starts_with(&format!("found marker {}, made by web-2 ", numbers[1])), "{said}");
        assert!(expected.starts_with(&format!("expected {}, made by web-1 ", numbers[0])), "{said}");
        assert!(expected.ends_with(" ago"), "{said}");
        // Another sidecar that starts with the number, and one without memory or number.
        let config = redis(relay.addr(), &format!("identity = \"{}\"", numbers[0]));
        let pinned = expect_found(&Sidecar::start(config), CHECK, &[&wrong(relay.addr())]).remove(0);
        assert!(pinned.ends_with(&format!("; expected {}, which is configured", numbers[0])), "{pinned}");
        named("web-3", &redis(relay.addr(), ON)).expect_up();
        relay.switch_to(ours.addr());
        sidecar.expect_up();
    }
    // A check leaves both markers as they were.
    assert_eq!(numbers, [&ours, &other].map(|server| number(&server.command(&["GET", KEY]))));
}

#[test]
fn every_representation_shows_the_other_cache() {
    let (ours, other) = (Redis::start(&[]), Redis::start(&[]));
    let relay = Relay::start(ours.addr(), |_| true);
    let sidecar = Sidecar::start(redis(relay.addr(), ON));
    sidecar.expect_up();
    Sidecar::start(redis(other.addr(), ON)).expect_up();
    sidecar.expect_up();
    relay.switch_to(other.addr());
    expect_found(&sidecar, CHECK, &[&wrong(relay.addr())]);
    for (path, words) in [
        ("/readyz?verbose", "[-]cache.main.identity"),
        ("/health?format=health%2Bjson", "main:identity"),
        ("/metrics", "cache_check_failures_total{alias=\"main\",check=\"identity\",cause=\"wrong_cache\"} "),
        ("/metrics", "cache_up{alias=\"main\",check=\"identity\"} 0"),
        ("/?format=html", "wrong_cache"),
        ("/health?format=text", "wrong_cache"),
    ] {
        let body = sidecar.raw(path);
        assert!(body.contains(words), "{path}: {body}");
    }
    // A command that is run by itself compares with the number.
    let config = redis(other.addr(), &format!("identity = \"{}\"", number(&ours.command(&["GET", KEY]))));
    for (format, code) in [("table", 1), ("json", 1), ("nagios", 2)] {
        let output = run(&["check", "--format", format], &config);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("wrong_cache"), "{text}");
    }
}

#[test]
fn a_flush_after_which_a_command_was_faster_is_lost_too() {
    let server = Redis::start(&[]);
    let config = redis(server.addr(), BRIEF);
    let sidecar = named("web-1", &config);
    sidecar.expect_up();
    server.command(&["FLUSHALL"]);
    // It remembers nothing, and writes a marker as on a new server.
    assert_eq!(run(&["check"], &config).status.code(), Some(0));
    expect_lost(&sidecar, &[server.addr()]);
    expect_lost(&sidecar, &[server.addr()]);
    over(&sidecar);
    server.command(&["FLUSHALL"]);
    expect_lost(&sidecar, &[server.addr()]);
    over(&sidecar);
}

#[test]
fn a_flush_is_lost_for_every_sidecar_until_lost_for_has_passed() {
    let server = Redis::start(&[]);
    let [first, second] = ["web-1", "web-2"].map(|name| named(name, &redis(server.addr(), BRIEF)));
    let patient = named("web-3", &redis(server.addr(), ON));
    for sidecar in [&first, &second, &patient, &first] {
        sidecar.expect_up();
    }
    let before = server.command(&["GET", KEY]);
    let life: u64 = server.command(&["PTTL", KEY]).parse().unwrap();
    assert!(life > Duration::from_hours(29 * 24).as_millis().try_into().unwrap(), "{life}");
    assert!(before.contains(" web-1 ") && before.ends_with(" 0"), "{before}");

    server.command(&["FLUSHALL"]);
    // All at the first request after it, also one that starts now.
    for sidecar in [&patient, &named("web-4", &redis(server.addr(), ON)), &first, &second] {
        let said = expect_lost(sidecar, &[server.addr()]);
        assert!(said.starts_with("the marker was missing at 20"), "{said}");
        assert!(
            said.contains("Z, ") && said.contains(" ago, and was written again (degraded for "),
            "{said}"
        );
    }
    over(&first);
    over(&second);
    assert!(expect_lost(&patient, &[server.addr()]).contains("(degraded for 10m)"));
    let after = server.command(&["GET", KEY]);
    assert_eq!((number(&after), after.contains(" web-1 ")), (number(&before), true), "{after}");
    // Lost once more.
    server.command(&["DEL", KEY]);
    expect_lost(&first, &[server.addr()]);
    over(&first);
}

#[test]
fn a_restart_without_data_is_lost_and_one_with_data_is_none() {
    for (arguments, keeps) in
        [(&[][..], false), (&["--appendonly", "yes", "--appendfsync", "always"][..], true)]
    {
        let mut server = Redis::start(arguments);
        let sidecar = Sidecar::start(redis(server.addr(), BRIEF));
        sidecar.expect_up();
        sidecar.expect_up();
        server.kill();
        assert_eq!(sidecar.health().code, 503);
        server.restart();
        if keeps {
            sidecar.expect_up();
        } else {
            expect_lost(&sidecar, &[server.addr()]);
            over(&sidecar);
        }
    }
}

#[test]
fn a_number_that_is_configured_must_be_there_and_is_written_where_there_is_none() {
    let server = Redis::start(&[]);
    let config = redis(server.addr(), "identity = { number = \"00000000000000ab\", lost_for = \"1s\" }");
    let sidecar = Sidecar::start(&config);
    expect_lost(&sidecar, &[server.addr()]);
    over(&sidecar);
    assert_eq!(number(&server.command(&["GET", KEY])), "00000000000000ab");
    Sidecar::start(redis(server.addr(), BRIEF)).expect_up();
    let other = Sidecar::start(redis(server.addr(), "identity = \"00000000000000ac\""));
    expect_found(&other, CHECK, &[&wrong(server.addr())]);
}

#[test]
fn a_reload_forgets_the_marker_only_if_the_servers_are_others() {
    let (ours, other) = (Redis::start(&[]), Redis::start(&[]));
    let relay = Relay::start(ours.addr(), |_| true);
    let sidecar = Sidecar::start(redis(relay.addr(), ON));
    sidecar.expect_up();
    Sidecar::start(redis(other.addr(), ON)).expect_up();
    sidecar.expect_up();
    relay.switch_to(other.addr());
    let reload = |settings: &str, caches: &str, times: usize| {
        sidecar.configure(settings, caches);
        sidecar.signal(Signal::HUP);
        sidecar.wait_for_log("the new configuration is in force", times);
    };
    // Everything is rebuilt.
    reload("timeout = \"800ms\"", &redis(relay.addr(), "spray = 2\nidentity = { lost_for = \"1m\" }"), 1);
    expect_found(&sidecar, CHECK, &[&wrong(relay.addr())]);
    reload("timeout = \"800ms\"", &redis(other.addr(), ON), 2);
    sidecar.expect_up();
}

#[test]
fn each_database_has_a_marker_of_its_own_and_aliases_of_one_database_share_one() {
    let server = Redis::start(&[]);
    let cache = |alias: &str, database: u8| {
        format!("[caches.{alias}]\nurl = \"redis://{}/{database}\"\nidentity = true\n", server.addr())
    };
    let sidecar = Sidecar::start(cache("main", 0) + &cache("same", 0) + &cache("sessions", 1));
    sidecar.expect_up();
    sidecar.expect_up();
    let mut client = server.client();
    let mut marker = |database: &str| {
        client.ask(&["SELECT", database]).unwrap();
        number(&client.ask(&["GET", KEY]).unwrap())
    };
    assert_ne!(marker("0"), marker("1"));
    server.command(&["FLUSHDB"]);
    let health = sidecar.health();
    let of =
        |entry: &str| health.body["checks"][format!("cache.{entry}.identity")].as_str().unwrap().to_owned();
    assert_eq!(["main", "same", "sessions"].map(of), ["DEGRADED", "DEGRADED", "UP"], "{:#}", health.body);
}

#[test]
fn a_value_that_is_no_marker_is_corrupt_and_stays() {
    let server = Redis::start(&[]);
    server.command(&["SET", KEY, "of another program"]);
    let sidecar = Sidecar::start(redis(server.addr(), ON));
    let words = sidecar.expect_down("corrupt");
    assert!(words.ends_with("18 bytes that are not a marker"), "{words}");
    assert_eq!(server.command(&["GET", KEY]), "of another program");
    server.command(&["DEL", KEY]);
    sidecar.expect_up();
}

#[test]
fn the_printed_user_may_do_all_of_it_and_a_missing_right_is_named_at_the_first_check() {
    let server = Redis::start(&[]);
    let credentials = |name: &str| format!("username = \"{name}\"\npassword = \"{}\"\n{ON}", acl::PASSWORD);
    let config = redis(server.addr(), &credentials("canary"));
    let [user] = printed_users(&config);
    for _ in 0..2 {
        user.give(&server, &["+pexpire"]);
        let words = Sidecar::start(&config).expect_down("forbidden");
        assert!(words.contains("pexpire") && words.contains("(needed for the identity check)"), "{words}");
        user.give(&server, &[]);
        Sidecar::start(&config).expect_up();
    }
    let sidecar = Sidecar::start(&config);
    sidecar.expect_up();
    server.command(&["FLUSHALL"]);
    expect_lost(&sidecar, &[server.addr()]);
}

/// The steps that name the marker's key.
async fn of_marker(config: &str) -> Vec<String> {
    explained(config).await.into_iter().filter(|step| step.contains(KEY)).collect()
}

#[tokio::test]
async fn each_step_is_explained() {
    let server = Redis::start(&[]);
    let config = redis(server.addr(), ON).replace("[caches", "instance = \"web-1\"\n[caches");
    let steps = of_marker(&config).await;
    let life = "2592000000";
    let found = "a marker, or nothing on a new server";
    assert_eq!(steps[0], format!("PEXPIRE {KEY} {life} | 1, or 0 without a marker | 0"));
    assert_eq!(steps[1], format!("GET {KEY} | {found} | nil"));
    let marker = server.command(&["GET", KEY]);
    assert_eq!(
        steps[2],
        format!("SET {KEY} {marker} NX PX {life} | OK, or nil if another sidecar was faster | OK")
    );
    assert_eq!(steps[3], format!("PEXPIRE {KEY} {life} | 1, or 0 without a marker | 1"));
    assert_eq!(steps[4], format!("GET {KEY} | {found} | {marker}"));
    assert_eq!(steps.len(), 5, "{steps:#?}");
    let memcached_server = Memcached::start(&[]);
    let config = memcached(&[&memcached_server], ON);
    let steps = of_marker(&config).await;
    assert_eq!(steps[0], format!("get {KEY} | {found} | nothing"));
    assert!(steps[1].starts_with(&format!("add {KEY} 0 2592000 ")), "{steps:#?}");
    assert!(of_marker(&config).await[0].contains(" | cache-canary-marker/1 "));
}

/// The markers of a cluster: the slot of each, and its number.
fn of_cluster(cluster: &Cluster) -> Vec<(u16, String)> {
    let mut markers = Vec::new();
    for node in &cluster.nodes {
        if node.is_replica() {
            continue;
        }
        for key in node.command(&["KEYS", "djblets-canary:{*}:identity"]).lines() {
            let tag = key.split(['{', '}']).nth(1).unwrap();
            markers.push((slot_of(tag), number(&node.command(&["GET", key]))));
        }
    }
    markers.sort_unstable();
    markers
}

fn cluster_config(cluster: &Cluster, identity: &str) -> String {
    format!("[caches.main]\nurl = \"{}\"\n{identity}\n", cluster.url())
}

#[test]
fn each_primary_of_a_cluster_has_a_marker_which_moves_with_its_slot() {
    let mut cluster = Cluster::start_without_replicas(&[]);
    let sidecar = Sidecar::start(cluster_config(&cluster, BRIEF));
    sidecar.expect_up();
    sidecar.expect_up();
    let before = of_cluster(&cluster);
    assert_eq!(before.len(), 3, "{before:?}");
    // A new primary takes the slots of all three markers: no event, and each of the others gets a new marker.
    let new = cluster.add_primary();
    for (slot, _) in &before {
        let from = usize::from(slot / 5461);
        cluster.begin_to_move(*slot, from, new);
        sidecar.expect_up();
        cluster.move_keys(*slot, from, new);
        sidecar.expect_up();
        cluster.hand_over(*slot, from, new);
        cluster.wait_until_agreed();
        sidecar.expect_up();
    }
    let after = of_cluster(&cluster);
    assert!(before.iter().all(|marker| after.contains(marker)), "{before:?} {after:?}");
    assert_eq!(after.len(), 6, "{after:?}");
    // A sidecar that starts now agrees.
    let fresh = Sidecar::start(cluster_config(&cluster, BRIEF));
    fresh.expect_up();
    cluster.nodes[1].command(&["FLUSHALL"]);
    for sidecar in [&sidecar, &fresh] {
        expect_lost(sidecar, &[cluster.addr(1)]);
    }
    over(&sidecar);
    cluster.nodes[new].command(&["FLUSHALL"]);
    expect_lost(&sidecar, &[cluster.addr(new)]);
    over(&sidecar);
}

#[test]
fn a_failover_of_a_cluster_is_no_event_and_a_primary_that_comes_back_empty_is_lost() {
    let mut cluster = Cluster::start(SOON_FAILED);
    let sidecar = Sidecar::start(cluster_config(&cluster, BRIEF));
    sidecar.expect_up();
    let before = of_cluster(&cluster);
    cluster.fail_over_to(3);
    cluster.wait_until_agreed();
    sidecar.expect_up();
    sidecar.expect_up();
    assert_eq!(of_cluster(&cluster), before);
    drop(sidecar);

    // Without a replica that could take over, a primary restarts empty, and owns its slots still.
    let sidecar = Sidecar::start(cluster_config(&cluster, BRIEF));
    sidecar.expect_up();
    cluster.nodes[4].kill();
    cluster.nodes[1].kill();
    eventually("it is missed", || sidecar.health().code == 503);
    cluster.nodes[1].restart();
    eventually("the cluster serves", || sidecar.health().body["checks"]["cache.main"] == "UP");
    expect_lost(&sidecar, &[cluster.addr(1)]);
    over(&sidecar);
}

#[test]
fn two_clusters_that_are_merged_are_found() {
    let (ours, other) = (Cluster::start_without_replicas(&[]), Cluster::start_without_replicas(&[]));
    let url = ours.url();
    let sidecar = named("web-1", &cluster_config(&ours, ON));
    sidecar.expect_up();
    named("web-2", &cluster_config(&other, ON)).expect_up();
    // A node of the other cluster claims all slots of the first of ours, with a higher epoch.
    other.nodes[0].command(&["CLUSTER", "BUMPEPOCH"]);
    let (port, bus) = (other.nodes[0].port().to_string(), other.nodes[0].bus_port().to_string());
    for node in &ours.nodes {
        node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }
    eventually(&format!("the clusters of {url} are one"), || {
        let health = sidecar.health();
        let findings = health.body["details"][CHECK]["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().any(|finding| finding["cause"] == "wrong_cache")
    });
}

#[test]
fn a_failover_by_sentinels_is_no_event_and_a_flush_after_it_is_lost() {
    let watched = Watched::start(Duration::from_secs(10), &[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"{}\"\n{BRIEF}\n", watched.url()));
    sidecar.expect_up();
    let before = watched.primary().command(&["GET", KEY]);
    for replica in &watched.servers[1..] {
        eventually("a replica has the marker", || replica.command(&["GET", KEY]) == before);
    }
    watched.sentinels[0].ask(&["SENTINEL", "FAILOVER", sentinel::NAME]).unwrap().unwrap();
    eventually("the old primary becomes a replica", || watched.primary().is_replica());
    sidecar.expect_up();
    let new = watched.servers[1..].iter().find(|server| !server.is_replica()).unwrap();
    assert_eq!(new.command(&["GET", KEY]), before);
    assert_eq!(sidecar.health().nodes_of(CHECK)[0].1, new.addr().to_string());
    new.command(&["FLUSHALL"]);
    expect_lost(&sidecar, &[new.addr()]);
    over(&sidecar);
}

#[test]
fn each_shard_has_a_marker() {
    let servers = [(); 3].map(|()| Redis::start(&[]));
    let urls: Vec<_> = servers.iter().map(|server| format!("redis://{}", server.addr())).collect();
    let config =
        format!("[caches.main]\ntopology = \"shards\"\nservers = {urls:?}\nclient = \"rb\"\n{BRIEF}\n");
    let sidecar = Sidecar::start(config);
    sidecar.expect_up();
    servers[2].command(&["FLUSHALL"]);
    expect_found(&sidecar, CHECK, &[&lost(&sidecar.health().nodes_of(CHECK)[2].1)]);
    over(&sidecar);
}

#[test]
fn each_server_of_a_ring_that_is_flushed_or_restarts_empty_is_lost() {
    let mut servers = [(); 2].map(|()| Memcached::start(&[]));
    let [one, two] = [servers[0].addr(), servers[1].addr()];
    let config = memcached(&[&servers[0], &servers[1]], BRIEF);
    let sidecar = Sidecar::start(&config);
    sidecar.expect_up();
    sidecar.expect_up();
    let number_of =
        |server: &Memcached| number(server.command(&format!("get {KEY}")).lines().nth(1).unwrap());
    let before = number_of(&servers[1]);
    flush(&servers[1]);
    expect_lost(&sidecar, &[two]);
    expect_lost(&Sidecar::start(&config), &[two]);
    over(&sidecar);
    servers[0].kill();
    servers[0].restart();
    expect_lost(&sidecar, &[one]);
    over(&sidecar);
    servers.iter().for_each(flush);
    let mut both = [one, two];
    both.sort_by_key(SocketAddr::to_string);
    expect_lost(&sidecar, &both);
    over(&sidecar);
    assert_eq!(number_of(&servers[1]), before);
}

#[test]
fn two_memcacheds_that_are_swapped_are_told_apart_also_in_binary() {
    for binary in [false, true] {
        let start = || if binary { Memcached::start_with_sasl() } else { Memcached::start(&[]) };
        let (ours, other) = (start(), start());
        let login = if binary {
            format!("username = \"{USER}\"\npassword = \"{PASSWORD}\"\n")
        } else {
            String::new()
        };
        let at = |addr: SocketAddr| format!("[caches.main]\nservers = [\"{addr}\"]\n{login}{BRIEF}\n");
        let relay = Relay::start(ours.addr(), |_| true);
        let sidecar = Sidecar::start(at(relay.addr()));
        sidecar.expect_up();
        Sidecar::start(at(other.addr())).expect_up();
        sidecar.expect_up();
        relay.switch_to(other.addr());
        expect_found(&sidecar, CHECK, &[&wrong(relay.addr())]);
        relay.switch_to(ours.addr());
        sidecar.expect_up();
    }
}

#[test]
fn a_marker_keeps_its_maker_and_its_time_over_a_loss() {
    let server = Redis::start(&[]);
    let marker = "cache-canary-marker/1 00000000000000ab web-9 1700000000000 ";
    server.command(&["SET", KEY, &format!("{marker}0")]);
    let sidecar = Sidecar::start(redis(server.addr(), ON));
    sidecar.expect_up();
    assert_ne!(server.command(&["PTTL", KEY]), "-1");
    server.command(&["FLUSHALL"]);
    expect_lost(&sidecar, &[server.addr()]);
    let after = server.command(&["GET", KEY]);
    assert!(after.starts_with(marker) && !after.ends_with(" 0"), "{after}");
}

#[test]
fn nothing_is_left_where_it_is_off() {
    let server = Redis::start(&[]);
    let sidecar = Sidecar::start(redis(server.addr(), "identity = false"));
    sidecar.expect_up();
    assert_eq!(server.command(&["EXISTS", KEY]), "0");
    assert!(sidecar.health().body["checks"].get(CHECK).is_none());
}
