//! Whether every way into a cache shows what was written and deleted through the alias: replicas that are cut off,
//! clients that spread keys differently, and views that fail.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::checks::{find, measure, steps};
use crate::support::{
    Authority, BlackHole, Identity, Link, Memcached, Redis, Relay, Sidecar, Twemproxy, eventually, run,
};
use cache_canary::embedded::{EmbeddedServer, InjectedFault};

const CHECK: &str = "cache.main.visibility";

/// An alias at `url`, these ways into it, and further settings of the check.
fn seen_by(url: &str, views: &[String], settings: &str) -> String {
    let mut config = format!("[caches.main]\nurl = \"{url}\"\n[caches.main.checks.visibility]\n");
    writeln!(config, "views = {views:?}\n{settings}").unwrap();
    config
}

fn redis(addr: SocketAddr) -> String {
    format!("redis://{addr}")
}

fn memcached(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
    format!("memcached://{}", servers.join(","))
}

/// Asks once, and wants the first finding to be this, and to be the worst.
fn expect(sidecar: &Sidecar, status: &str, cause: &str, view: impl Display) -> String {
    let mut found = find(sidecar, CHECK);
    assert_eq!(found[0].short, format!("{status} {cause} view {view}"), "{found:#?}");
    found.swap_remove(0).said
}

/// The lag that was measured of this kind at a view, in seconds.
fn lag(sidecar: &Sidecar, kind: &str, view: &Redis) -> f64 {
    let name = format!("cache_visibility_{kind}_lag_seconds");
    measure(&sidecar.health(), CHECK, &name, Some(("view", &view.addr().to_string()))).unwrap()
}

/// Longer than a replica on this machine takes, also when that is busy, and shorter than the check's deadline.
const PATIENT: &str = "write_within = \"250ms\"\ndelete_within = \"250ms\"";

fn replica_of(primary: u16) -> Redis {
    Redis::start(&["--replicaof", "127.0.0.1", &primary.to_string()])
}

#[test]
fn a_replica_without_its_link_goes_on_to_show_deleted_canaries() {
    let primary = Redis::start(&[]);
    let replica = replica_of(primary.port());
    replica.catch_up_with(&primary);
    let sidecar = Sidecar::start(seen_by(&redis(primary.addr()), &[redis(replica.addr())], PATIENT));
    (0..3).for_each(|_| sidecar.expect_up());
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let said = expect(&sidecar, "DOWN", "invisible_delete", replica.addr());
    let expected = format!("ms after its delete at {}", primary.addr());
    assert!(said.starts_with("still shows ") && said.contains(&expected), "{said}");
    // Whichever of the two keys it is about.
    for _ in 0..3 {
        expect(&sidecar, "DOWN", "invisible_delete", replica.addr());
    }
    // Also when it has forgotten what it missed.
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    replica.command(&["FLUSHALL"]);
    let said = expect(&sidecar, "DOWN", "invisible_delete", replica.addr());
    assert!(said.contains("has not shown every write since"), "{said}");
    assert!(lag(&sidecar, "delete", &replica) > 0.1);
    replica.become_replica_of(&primary);
    (0..3).for_each(|_| sidecar.expect_up());
}

#[test]
fn a_replica_that_lags_is_up_within_its_time_and_found_without() {
    let primary = Redis::start(&[]);
    let link = Link::start(primary.addr());
    let replica = replica_of(link.port());
    replica.catch_up_with(&primary);
    let sidecar = |settings: &str| {
        let config = seen_by(&redis(primary.addr()), &[redis(replica.addr())], settings);
        Sidecar::start_with("timeout = \"2000ms\"", config)
    };
    let patient = sidecar("write_within = \"500ms\"\ndelete_within = \"500ms\"");
    let patient_with_writes = sidecar("write_within = \"500ms\"");
    let patient_with_deletes = sidecar("delete_within = \"500ms\"");
    patient.expect_up();
    link.delay(Duration::from_millis(60));
    (0..3).for_each(|_| patient.expect_up());
    assert!(lag(&patient, "write", &replica) >= 0.05 && lag(&patient, "delete", &replica) >= 0.05);
    let said = expect(&patient_with_writes, "DOWN", "invisible_delete", replica.addr());
    assert!(said.starts_with("showed the canary for ") && said.contains("ms after its delete"), "{said}");
    let said = expect(&patient_with_deletes, "DEGRADED", "invisible_write", replica.addr());
    assert!(said.starts_with("took ") && said.contains("ms to show the canary written"), "{said}");
    link.hold();
    let said = expect(&patient, "DOWN", "invisible_delete", replica.addr());
    assert!(said.starts_with("still shows "), "{said}");
    link.release();
    link.delay(Duration::ZERO);
    replica.catch_up_with(&primary);
    patient.expect_up();
}

#[test]
fn a_view_of_another_cache_never_shows_the_canary() {
    let [one, other] = [(); 2].map(|()| Redis::start(&[]));
    let sidecar = Sidecar::start(seen_by(&redis(one.addr()), &[redis(one.addr()), redis(other.addr())], ""));
    for _ in 0..3 {
        let said = expect(&sidecar, "DEGRADED", "invisible_write", other.addr());
        assert!(said.starts_with("does not show "), "{said}");
    }
    assert_eq!(find(&sidecar, CHECK).len(), 1);
}

#[test]
fn clients_with_another_order_of_the_servers_disagree_unless_the_order_does_not_matter() {
    let servers = [(); 2].map(|()| Memcached::start(&[]));
    let [one, other] = servers.each_ref().map(Memcached::addr);
    let view = memcached(&[other, one]);
    for (client, agree) in [
        ("pymemcache", true),
        ("python-memcached", false),
        ("libmemcached", false),
        ("libmemcached-ketama", true),
        ("libmemcached-ketama-weighted", true),
    ] {
        let client = format!("client = \"{client}\"");
        let same = Sidecar::start(seen_by(&memcached(&[one, other]), &[memcached(&[one, other])], &client));
        let turned = Sidecar::start(seen_by(&memcached(&[one, other]), from_ref(&view), &client));
        for _ in 0..4 {
            same.expect_up();
            if agree {
                turned.expect_up();
            } else {
                let said = expect(&turned, "DEGRADED", "invisible_write", format!("{other},{one}"));
                assert!(
                    said.contains(" (8 of 8 canaries)") || said.contains(" (16 of 16 canaries)"),
                    "{said}"
                );
            }
        }
    }
}

#[test]
fn each_way_may_have_another_client_and_names_count_as_they_are_written() {
    let servers = [(); 2].map(|()| Memcached::start(&[]));
    let ring = servers.each_ref().map(Memcached::addr);
    let all = memcached(&ring);
    let names = ring.map(|addr| addr.to_string()).join(",");
    for client in ["pymemcache", "python-memcached", "libmemcached", "libmemcached-ketama-weighted"] {
        let views = [format!("{all}?client=libmemcached-ketama"), format!("{all}?client={client}")];
        let settings = "client = \"libmemcached-ketama\"\ncanaries = 32";
        let found = find(&Sidecar::start(seen_by(&all, &views, settings)), CHECK);
        assert!(!found.is_empty(), "{client}");
        let other = format!("view {names}?client={client}");
        assert!(found.iter().all(|found| found.short.ends_with(&other)), "{found:#?}");
        let sidecar = Sidecar::start(seen_by(&all, &views[..1], settings));
        (0..3).for_each(|_| sidecar.expect_up());
    }
    let spelled = |one: &str| format!("memcached://{one}:{},localhost:{}", ring[0].port(), ring[1].port());
    for (client, counts) in [("pymemcache", true), ("libmemcached-ketama", true), ("libmemcached", false)] {
        let settings = format!("client = \"{client}\"\ncanaries = 32");
        let sidecar = |one: &str| Sidecar::start(seen_by(&spelled("LOCALHOST"), &[spelled(one)], &settings));
        sidecar("LOCALHOST").expect_up();
        let found = find(&sidecar("localhost"), CHECK);
        assert_eq!(!found.is_empty(), counts, "{client} {found:#?}");
    }
}

#[test]
fn a_client_that_hashes_differently_than_twemproxy_disagrees_with_it() {
    let servers = [(); 2].map(|()| Memcached::start(&[]));
    let ring = servers.each_ref().map(Memcached::addr);
    let proxy = Twemproxy::of_memcached(&ring, &[]);
    // All agree by chance less than once in 10^9 starts.
    let sidecar = Sidecar::start(seen_by(&memcached(&[proxy.addr()]), &[memcached(&ring)], "canaries = 32"));
    let view = ring.map(|addr| addr.to_string()).join(",");
    for _ in 0..3 {
        expect(&sidecar, "DEGRADED", "invisible_write", &view);
    }
    // The other way round they disagree as well, on some keys of each server.
    let sidecar = Sidecar::start(seen_by(&memcached(&ring), &[memcached(&[proxy.addr()])], "canaries = 32"));
    expect(&sidecar, "DEGRADED", "invisible_write", proxy.addr());
    // With only one server no client can.
    let one = Twemproxy::of_memcached(&ring[..1], &[]);
    let sidecar = Sidecar::start(seen_by(&memcached(&[one.addr()]), &[memcached(&ring[..1])], ""));
    (0..10).for_each(|_| sidecar.expect_up());
    let sidecar = Sidecar::start(seen_by(&memcached(&ring[..1]), &[memcached(&[one.addr()])], ""));
    (0..10).for_each(|_| sidecar.expect_up());
}

#[test]
fn a_view_that_fails_is_down_and_does_not_hide_the_findings_of_others() {
    let primary = Redis::start(&[]);
    let mut replica = replica_of(primary.port());
    replica.catch_up_with(&primary);
    let elsewhere = Redis::start(&[]);
    let views = [&replica, &elsewhere].map(|view| redis(view.addr()));
    let url = redis(primary.addr());
    let settings = "reconnect_every = \"0s\"";
    let sidecar = Sidecar::start_with(settings, seen_by(&url, &views[..1], PATIENT));
    let sidecar_of_both = Sidecar::start_with(settings, seen_by(&url, &views, PATIENT));
    let elsewhere = elsewhere.addr();
    sidecar.expect_up();
    expect(&sidecar_of_both, "DEGRADED", "invisible_write", elsewhere);
    let also_degraded = || {
        let expected = format!("DEGRADED invisible_write view {elsewhere}");
        let found = find(&sidecar_of_both, CHECK);
        assert!(found.iter().any(|found| found.short == expected), "{found:?}");
    };

    replica.kill();
    let said = expect(&sidecar, "DOWN", "refused", replica.addr());
    assert!(said.starts_with("in connect: Connection refused"), "{said}");
    also_degraded();
    replica.restart();
    replica.catch_up_with(&primary);
    sidecar.expect_up();

    replica.stop();
    let said = expect(&sidecar, "DOWN", "timed_out", replica.addr());
    // In the read, or before it on a new connection.
    assert!(said.contains(": no answer after "), "{said}");
    also_degraded();
    replica.cont();
    replica.catch_up_with(&primary);
    sidecar.expect_up();

    replica.require_password("wanted");
    let said = expect(&sidecar, "DOWN", "auth", replica.addr());
    assert!(said.contains("NOAUTH"), "{said}");
    also_degraded();
    replica.require_password("");
    sidecar.expect_up();
}

#[test]
fn a_view_that_was_killed_is_down_at_the_next_request_however_young_the_verdict() {
    let primary = Redis::start(&[]);
    let mut replica = replica_of(primary.port());
    replica.catch_up_with(&primary);
    let config = seen_by(&redis(primary.addr()), &[redis(replica.addr())], PATIENT);
    let sidecar = Sidecar::start_with("max_age = \"60s\"", config);
    (0..3).for_each(|_| sidecar.expect_up());
    let shared = sidecar.raw("/metrics");
    let hits = "cache_shared_verdicts_total{alias=\"main\",check=\"round_trip\",through=\"process\",result=\"hit\"} ";
    assert!(shared.contains(hits) && !shared.contains(&format!("{hits}0\n")), "{shared}");
    replica.kill();
    assert_eq!(find(&sidecar, CHECK)[0].short, format!("DOWN refused view {}", replica.addr()));
}

#[test]
fn a_view_without_an_answer_is_timed_out_in_the_connect() {
    let redis_server = Redis::start(&[]);
    let hole = BlackHole::open();
    let sidecar = Sidecar::start(seen_by(&redis(redis_server.addr()), &[redis(hole.addr())], ""));
    let said = expect(&sidecar, "DOWN", "timed_out", hole.addr());
    assert!(said.starts_with("in connect: no answer after "), "{said}");
}

#[test]
fn a_dead_server_of_a_view_is_named_once() {
    let servers = [(); 3].map(|()| Memcached::start(&[]));
    let ring = servers.each_ref().map(Memcached::addr);
    let [first, second, third] = ring.map(|server| Twemproxy::of_memcached(&[server], &[]));
    let proxies = [first.addr(), second.addr(), third.addr()];
    let settings = "client = \"python-memcached\"";
    let by_proxies = Sidecar::start(seen_by(&memcached(&ring), &[memcached(&proxies)], settings));
    let by_one = Sidecar::start(seen_by(&memcached(&ring[..2]), &[memcached(&proxies[1..2])], ""));
    by_proxies.expect_up();
    drop(second);
    let said = expect(&by_proxies, "DOWN", "refused", proxies.map(|addr| addr.to_string()).join(","));
    assert!(said.starts_with(&format!("at {} in connect: ", proxies[1])), "{said}");
    assert_eq!(find(&by_proxies, CHECK).len(), 1);
    let said = expect(&by_one, "DOWN", "refused", proxies[1]);
    assert!(said.starts_with("in connect: "), "{said}");
    assert_eq!(find(&by_one, CHECK).len(), 1);
}

#[test]
fn a_cache_that_forgets_deletes_is_down() {
    // EXISTS is answered as DEL is, and deletes nothing.
    let forgetful = Redis::start(&["--rename-command", "DEL", "", "--rename-command", "EXISTS", "DEL"]);
    let url = redis(forgetful.addr());
    let sidecar = Sidecar::start(seen_by(&url, from_ref(&url), ""));
    for _ in 0..3 {
        expect(&sidecar, "DOWN", "invisible_delete", forgetful.addr());
    }
}

#[test]
fn a_canary_that_the_cache_loses_is_no_fault_of_a_view() {
    let primary = Redis::start(&[]);
    let replica = replica_of(primary.port());
    replica.catch_up_with(&primary);
    let sidecar = Sidecar::start(seen_by(&redis(primary.addr()), &[redis(replica.addr())], PATIENT));
    for _ in 0..5 {
        sidecar.expect_up();
        primary.command(&["FLUSHALL"]);
    }
    for _ in 0..5 {
        sidecar.expect_up();
        primary.disconnect_clients();
        replica.catch_up_with(&primary);
    }
}

#[test]
fn a_canary_that_is_lost_between_the_write_and_the_view_is_written_once_more() {
    let server = Arc::new(Redis::start(&[]));
    let flush = Arc::new(AtomicBool::new(false));
    let (of_relay, armed) = (server.clone(), flush.clone());
    let view = Relay::start(server.addr(), move |_| {
        if armed.swap(false, Ordering::SeqCst) {
            of_relay.command(&["FLUSHALL"]);
        }
        true
    });
    let sidecar = Sidecar::start(seen_by(&redis(server.addr()), &[redis(view.addr())], ""));
    for _ in 0..10 {
        flush.store(true, Ordering::SeqCst);
        sidecar.expect_up();
        assert!(!flush.load(Ordering::SeqCst), "it was flushed");
    }
}

#[test]
fn the_first_check_after_a_hang_of_the_alias_is_up() {
    let server = Redis::start(&[]);
    let url = redis(server.addr());
    let sidecar = Sidecar::start_with("timeout = \"400ms\"", seen_by(&url, from_ref(&url), ""));
    for _ in 0..10 {
        sidecar.expect_up();
        server.stop();
        // Their writes and deletes arrive when it goes on.
        for _ in 0..3 {
            assert_eq!(sidecar.health().body["status"], "DOWN");
        }
        server.cont();
        sidecar.expect_up();
    }
}

#[test]
fn an_alias_that_is_dead_is_down_and_up_when_it_is_back() {
    let mut server = Redis::start(&[]);
    let url = redis(server.addr());
    let sidecar = Sidecar::start(seen_by(&url, from_ref(&url), ""));
    sidecar.expect_up();
    server.kill();
    sidecar.expect_down("refused");
    server.restart();
    sidecar.expect_up();
}

#[test]
fn thousands_of_checks_of_a_healthy_cache_are_up_and_leave_two_keys() {
    let server = Redis::start(&[]);
    let url = redis(server.addr());
    let caches = [Memcached::start(&[]), Memcached::start(&[])];
    let ring = memcached(&caches.each_ref().map(Memcached::addr));
    let sidecar = Sidecar::start(seen_by(&url, from_ref(&url), ""));
    let of_ring = Sidecar::start(seen_by(&ring, from_ref(&ring), ""));
    for _ in 0..2000 {
        sidecar.expect_up();
        of_ring.expect_up();
    }
    // Two of the round trip's, and the one that is left standing.
    assert_eq!(server.command(&["DBSIZE"]), "3");
    for cache in &caches {
        assert_eq!(cache.stat("curr_items"), "10");
    }
}

#[test]
fn a_single_check_writes_and_deletes_and_reports_its_findings() {
    let server = Redis::start(&[]);
    let url = redis(server.addr());
    let output = run(&["check", "--format", "json"], &seen_by(&url, from_ref(&url), ""));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let forgetful = Redis::start(&["--rename-command", "DEL", "", "--rename-command", "EXISTS", "DEL"]);
    let url = redis(forgetful.addr());
    let output = run(&["check", "--format", "json"], &seen_by(&url, from_ref(&url), ""));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("invisible_delete"), "{output:?}");
}

#[test]
fn the_printed_users_are_enough_and_with_a_right_less_they_are_not() {
    let primary = Redis::start(&[]);
    let replica = replica_of(primary.port());
    replica.catch_up_with(&primary);
    let at = |user: &str, server: &Redis| format!("redis://{user}:{PASSWORD}@{}/1", server.addr());
    let config = seen_by(&at("app", &primary), &[at("reader", &replica)], PATIENT);
    let [of_alias, of_view] = printed_users(&config);
    of_alias.give(&primary, &[]);
    of_view.give(&replica, &[]);
    // SELECT is asked of new connections alone.
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", config);
    (0..3).for_each(|_| sidecar.expect_up());
    // The alias is read by the round trip alone, as long as nothing is wrong.
    for right in ["+set", "+del", "+select", "~djblets-canary:*"] {
        of_alias.give(&primary, &[right]);
        let (cause, words) = sidecar.health().fault_of(CHECK).unwrap();
        assert!(cause == "forbidden" && words.contains("NOPERM"), "{right}: {cause} {words}");
        of_alias.give(&primary, &[]);
        sidecar.expect_up();
    }
    for right in ["+get", "+select", "~djblets-canary:*"] {
        of_view.give(&replica, &[right]);
        let said = expect(&sidecar, "DOWN", "forbidden", replica.addr());
        assert!(said.contains("NOPERM"), "{right}: {said}");
        of_view.give(&replica, &[]);
        sidecar.expect_up();
    }
}

#[test]
fn a_view_with_an_untrusted_certificate_is_down() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca_file = write("ca.pem", &authority.certificate());
    let known = authority.issue(&["localhost"]);
    let [primary, replica] = [(); 2].map(|()| Redis::start_tls(&known, None));
    replica.command(&["CONFIG", "SET", "tls-ca-cert-file", &ca_file, "tls-replication", "yes"]);
    replica.become_replica_of(&primary);
    let at = |server: &Redis| format!("rediss://localhost:{}", server.port());
    let config = seen_by(&at(&primary), &[at(&replica)], PATIENT);
    let config = format!("{config}[caches.main.tls]\nca_file = {ca_file:?}\n");
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", config);
    let show = |name: &str, identity: &Identity| {
        let certificate = write(&format!("{name}.pem"), identity.certificate());
        let key = write(&format!("{name}.key"), identity.key());
        replica.command(&["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key]);
    };
    (0..3).for_each(|_| sidecar.expect_up());
    show("unknown", &unknown.issue(&["localhost"]));
    for _ in 0..3 {
        let said = expect(&sidecar, "DOWN", "tls", format_args!("localhost:{}", replica.port()));
        assert!(said.contains("unknown issuer"), "{said}");
    }
    show("known", &known);
    sidecar.expect_up();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_loses_its_writes_is_no_fault_of_a_view() {
    let server = EmbeddedServer::memcached().await.unwrap();
    let url = memcached(&[server.addr()]);
    let sidecar = Sidecar::start(seen_by(&url, from_ref(&url), ""));
    // Each lie begins where there is a canary left standing, and where there is none.
    for (lie, cause) in [
        (InjectedFault::Masking, "masked"),
        (InjectedFault::Full, "out_of_memory"),
        (InjectedFault::Hung, "timed_out"),
        (InjectedFault::ClosesWithoutAnswer, "unreachable"),
    ] {
        for _ in 0..2 {
            sidecar.expect_up();
            server.set_fault(lie.clone()).unwrap();
            for _ in 0..2 {
                let (found, _) = sidecar.health().fault_of(CHECK).unwrap();
                assert_eq!(found, cause, "{lie:?}");
            }
            server.repair().unwrap();
            sidecar.expect_up();
        }
    }
}

#[tokio::test]
async fn every_step_is_explained_with_the_expected_and_the_seen_value() {
    let server = Redis::start(&[]);
    let url = redis(server.addr());
    let steps = steps(&seen_by(&url, from_ref(&url), "delete_within = \"20ms\"")).await;
    let commands: Vec<_> = steps.iter().map(|step| step.command.split(' ').next().unwrap()).collect();
    let expected = ["connect", "HELLO", "SET", "SET", "connect", "HELLO", "GET", "GET", "DEL", "GET"];
    assert_eq!(commands, expected, "{steps:#?}");
    let deleted = steps.last().unwrap();
    assert_eq!(deleted.expected, "nothing within 20ms of the delete");
    assert!(deleted.saw.starts_with("nothing after "), "{deleted:?}");
}

#[test]
fn a_cluster_of_one_is_seen_by_itself() {
    let cluster = Redis::start_cluster();
    let url = format!("redis+cluster://{}", cluster.addr());
    let sidecar = Sidecar::start(seen_by(&url, &[redis(cluster.addr())], "canaries = 16"));
    (0..5).for_each(|_| sidecar.expect_up());
}

#[test]
fn keys_that_migrate_to_another_primary_are_replaced_by_others() {
    let cluster = Redis::start_cluster();
    let other = Redis::start_cluster_node(&["--cluster-node-timeout", "500"]);
    other.command(&["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    let [port, bus] = [other.port(), other.bus_port()].map(|port| port.to_string());
    cluster.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    let [id, other_id] = [&cluster, &other].map(|node| node.command(&["CLUSTER", "MYID"]));
    let known = |node: &Redis| {
        let info = node.command(&["CLUSTER", "INFO"]);
        info.contains("cluster_known_nodes:2\r") && info.contains("cluster_slots_assigned:16384\r")
    };
    eventually("the two know each other", || known(&cluster) && known(&other));
    let url = format!("redis+cluster://{}", cluster.addr());
    let sidecar = || Sidecar::start(seen_by(&url, &[redis(cluster.addr())], ""));
    let before = sidecar();
    before.expect_up();
    let (mut from, mut to) = (cluster.client(), other.client());
    for slot in (0..16_384).step_by(8).map(|slot: u16| slot.to_string()) {
        to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id]).unwrap();
        from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &other_id]).unwrap();
    }
    for _ in 0..3 {
        before.expect_up();
    }
    for _ in 0..10 {
        let sidecar = sidecar();
        (0..3).for_each(|_| sidecar.expect_up());
    }
}
