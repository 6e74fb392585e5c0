//! Whether a cache is of use, by the figures of real servers: healthy before, the right cause and node at the first
//! request after what happened, and healthy again at the first request after it has ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::acl::{self, printed_users};
use crate::support::checks::{expect_found, explained, findings, measure};
use crate::support::cluster::{THIRDS, tag_of};
use crate::support::{Client, Cluster, Health, Memcached, PASSWORD, Redis, Sidecar, Twemproxy, USER};

const CHECK: &str = "cache.main.efficiency";

fn redis(redis: &Redis, limits: &str) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n[caches.main.checks.efficiency]\n{limits}", redis.addr())
}

fn memcached(memcached: &Memcached, limits: &str) -> String {
    let addr = memcached.addr();
    format!("[caches.main]\nservers = [\"{addr}\"]\n[caches.main.checks.efficiency]\n{limits}")
}

/// The figure of a node's.
fn figure(health: &Health, node: SocketAddr, name: &str) -> Option<f64> {
    measure(health, CHECK, &format!("cache_node_{name}"), Some(("node", &node.to_string())))
}

fn all_figures(health: &Health, node: SocketAddr) -> [Option<f64>; 8] {
    [
        "hits_total",
        "misses_total",
        "evictions_total",
        "expired_total",
        "memory_used_bytes",
        "memory_limit_bytes",
        "connections",
        "connections_limit",
    ]
    .map(|name| figure(health, node, name))
}

fn found(cause: &str, node: SocketAddr) -> String {
    format!("DEGRADED {cause} node {node}")
}

/// Looks so many keys up that are there, or are not.
fn look_up(client: &mut Client<TcpStream>, key: &str, times: usize) {
    for _ in 0..times {
        client.ask(&["GET", key]).unwrap();
    }
}

#[test]
fn behind_a_proxy_that_refuses_counters_the_hint_names_it_and_the_servers_themselves_are_checked() {
    let (redis_server, memcached_server) = (Redis::start(&[]), Memcached::start(&[]));
    let proxies = [
        Twemproxy::of_redis(&[redis_server.addr()], &[]),
        Twemproxy::of_memcached(&[memcached_server.addr()], &[]),
    ];
    let at = [redis(&redis_server, ""), memcached(&memcached_server, "")];
    let servers = [redis_server.addr(), memcached_server.addr()];
    for ((direct, server), proxy) in at.into_iter().zip(servers).zip(&proxies) {
        let through = direct.replace(&server.to_string(), &proxy.addr().to_string());
        let health = Sidecar::start(through).health();
        let errors = &health.body["errors"];
        assert!(errors.get("cache.main").is_none(), "{errors}");
        assert!(errors[CHECK].as_str().unwrap().contains("a proxy such as twemproxy refuses"), "{errors}");
        Sidecar::start(direct).expect_up();
    }
}

#[test]
fn without_limits_there_are_figures_as_the_server_says_them() {
    let server = Redis::start(&["--maxmemory", "100mb", "--maxclients", "50"]);
    let sidecar = Sidecar::start(redis(&server, ""));
    let mut client = server.client();
    client.ask(&["SET", "there", "1"]).unwrap();
    look_up(&mut client, "there", 30);
    look_up(&mut client, "absent", 10);
    let health = sidecar.health();
    assert_eq!((health.code, &health.body["checks"][CHECK]), (200, &"UP".into()), "{:#}", health.body);
    let [hits, misses, evictions, expired, memory, limit, connections, most] =
        all_figures(&health, server.addr());
    // The canary's among them, if it was read before.
    assert!(hits.is_some_and(|hits| (30.0..=31.0).contains(&hits)), "{hits:?}");
    assert_eq!([misses, evictions, expired], [Some(10.0), Some(0.0), Some(0.0)]);
    assert!(memory.is_some_and(|memory| memory > 500_000.0), "{memory:?}");
    assert_eq!((limit, most), (Some(104_857_600.0), Some(50.0)));
    assert!(connections.is_some_and(|connections| (2.0..=4.0).contains(&connections)), "{connections:?}");
    // There was no look before.
    assert_eq!(figure(&health, server.addr(), "hit_ratio"), None);
    look_up(&mut client, "absent", 200);
    let ratio = figure(&sidecar.health(), server.addr(), "hit_ratio");
    assert!(ratio.is_some_and(|ratio| (0.0..0.02).contains(&ratio)), "{ratio:?}");
}

#[test]
fn a_memcached_is_asked_in_text_and_in_binary() {
    let text = Memcached::start(&["-m", "32", "-c", "70"]);
    let binary = Memcached::start_with_sasl();
    text.command("set there 0 0 1\r\n1");
    text.command("get there");
    text.command("get absent");
    let of_binary =
        format!("{}\nhit_ratio = {{ degraded = 0.1 }}", memcached(&binary, "").trim_end().to_owned());
    let of_binary =
        of_binary.replace("servers", &format!("username = \"{USER}\"\npassword = \"{PASSWORD}\"\nservers"));
    for (sidecar, server, limit) in
        [(Sidecar::start(memcached(&text, "")), &text, 32.0), (Sidecar::start(of_binary), &binary, 64.0)]
    {
        let health = sidecar.health();
        assert_eq!(health.body["checks"][CHECK], "UP", "{:#}", health.body);
        let figures = all_figures(&health, server.addr());
        // Less what a page has behind its last chunk.
        let can_have = figures[5].unwrap() / (limit * 1_048_576.0);
        assert!((0.9..=1.0).contains(&can_have), "{:#}", health.body);
        assert!(figures.iter().all(Option::is_some), "{:#}", health.body);
        if server.addr() == text.addr() {
            assert!(figures[0].is_some_and(|hits| hits >= 1.0) && figures[1] == Some(1.0), "{figures:?}");
            let reserved: f64 = text.stat("reserved_fds").parse().unwrap();
            assert_eq!(figures[7], Some(70.0 - reserved));
        }
    }
}

#[test]
fn a_low_hit_ratio_is_found_after_a_hundred_lookups_and_stands_until_there_are_as_many_others() {
    let server = Redis::start(&[]);
    let mut client = server.client();
    client.ask(&["SET", "there", "1"]).unwrap();
    let sidecar = Sidecar::start(redis(&server, "hit_ratio = { degraded = 0.8 }"));
    // Events before the first check are not judged.
    look_up(&mut client, "absent", 500);
    expect_found(&sidecar, CHECK, &[]);
    look_up(&mut client, "absent", 40);
    expect_found(&sidecar, CHECK, &[]);
    look_up(&mut client, "absent", 60);
    let low = found("low_hit_ratio", server.addr());
    let said = expect_found(&sidecar, CHECK, &[&low]).join("");
    assert!(said.contains(" look-ups hit, ") && said.ends_with("(degraded below 80%)"), "{said}");
    expect_found(&sidecar, CHECK, &[&low]);
    look_up(&mut client, "there", 100);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn memcacheds_hit_ratio_is_judged_by_itself_for_each_of_a_ring() {
    let servers = [(); 2].map(|()| Memcached::start(&[]));
    let [one, other] = servers.each_ref().map(Memcached::addr);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nservers = [\"{one}\", \"{other}\"]\n\
         [caches.main.checks.efficiency]\nhit_ratio = {{ degraded = 0.5 }}"
    ));
    expect_found(&sidecar, CHECK, &[]);
    let look_up = |key: &str| drop(servers[1].command(&format!("get{}", format!(" {key}").repeat(120))));
    look_up("absent");
    expect_found(&sidecar, CHECK, &[&found("low_hit_ratio", other)]);
    servers[1].command("set there 0 0 1\r\n1");
    look_up("there");
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn evictions_are_counted_by_the_second() {
    let limit = "evictions_per_second = { degraded = 5 }";
    let redis_server = Redis::start(&["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut client = redis_server.client();
    let value = "x".repeat(20_000);
    let fill_redis = |client: &mut Client<TcpStream>, from: usize| {
        for key in from..from + 600 {
            client.ask(&["SET", &format!("fill:{key}"), &value]).unwrap();
        }
    };
    let memcached_server = Memcached::start(&["-m", "8"]);
    let fill_memcached = |from: usize| {
        for key in from..from + 600 {
            memcached_server.command(&format!("set fill:{key} 0 0 20000\r\n{value}"));
        }
    };
    let of_redis = Sidecar::start(redis(&redis_server, limit));
    let of_memcached = Sidecar::start(memcached(&memcached_server, limit));
    expect_found(&of_redis, CHECK, &[]);
    expect_found(&of_memcached, CHECK, &[]);
    fill_redis(&mut client, 0);
    let said = expect_found(&of_redis, CHECK, &[&found("evicting", redis_server.addr())]).join("");
    assert!(said.ends_with("evictions per second (degraded at 5 or more)"), "{said}");
    fill_memcached(0);
    expect_found(&of_memcached, CHECK, &[&found("evicting", memcached_server.addr())]);
    // A second without.
    for sidecar in [&of_redis, &of_memcached] {
        thread::sleep(Duration::from_millis(1100));
        sidecar.health();
    }
    thread::sleep(Duration::from_millis(1100));
    expect_found(&of_redis, CHECK, &[]);
    expect_found(&of_memcached, CHECK, &[]);
}

#[test]
fn memory_that_is_nearly_used_up_is_found_if_there_is_a_limit() {
    const MIB: usize = 1024 * 1024;
    let server = Redis::start(&[]);
    let sidecar = Sidecar::start(redis(&server, "memory_ratio = { degraded = 0.8, down = 0.97 }"));
    let node = server.addr();
    server.command(&["SETRANGE", "big", &(30 * MIB).to_string(), "x"]);
    expect_found(&sidecar, CHECK, &[]);
    let used: usize = server.info("used_memory").parse().unwrap();
    let limit = |limit: usize| server.command(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    limit(used * 10 / 9);
    let said = expect_found(&sidecar, CHECK, &[&found("memory_high", node)]).join("");
    assert!(said.contains(" MiB in use, ") && said.ends_with("(degraded at 80% or more)"), "{said}");
    limit(used * 100 / 98);
    expect_found(&sidecar, CHECK, &[&format!("DOWN memory_high node {node}")]);
    limit(used * 2);
    expect_found(&sidecar, CHECK, &[]);
    limit(0);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn the_memory_of_a_memcached_is_used_up_when_its_slabs_are_and_not_by_a_small_limit() {
    for (megabytes, size) in [(2, 10_000), (8, 100), (8, 10_000), (64, 100_000)] {
        let server = Memcached::start(&["-m", &megabytes.to_string()]);
        let sidecar = Sidecar::start(memcached(&server, "memory_ratio = { degraded = 0.6, down = 0.99 }"));
        expect_found(&sidecar, CHECK, &[]);
        let value = "x".repeat(size);
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        // A set needs an answer, so that the figures are of what was sent.
        let mut fill = |from: usize, to: usize| {
            let sets = (from..to).map(|key| format!("set k{key} 0 0 {size} noreply\r\n{value}\r\n"));
            stream.write_all((sets.collect::<String>() + "mn\r\n").as_bytes()).unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        };
        let fit = megabytes * 1_048_576 / (size + 80);
        fill(0, fit / 4);
        expect_found(&sidecar, CHECK, &[]);
        let mut keys = fit / 4;
        while server.stat("evictions") == "0" {
            fill(keys, keys + fit / 50 + 1);
            keys += fit / 50 + 1;
        }
        let node = server.addr();
        let said = expect_found(&sidecar, CHECK, &[&format!("DOWN memory_high node {node}")]).join("");
        assert!(said.contains("in use, 99.") || said.contains("in use, 100% "), "{megabytes} {size}: {said}");
        for key in 0..keys {
            stream.write_all(format!("delete k{key} noreply\r\n").as_bytes()).unwrap();
        }
        stream.write_all(b"mn\r\n").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        expect_found(&sidecar, CHECK, &[]);
    }
    // Each class of sizes has a page of its own, also beyond the limit.
    let server = Memcached::start(&["-m", "2"]);
    let sidecar = Sidecar::start(memcached(&server, "memory_ratio = { degraded = 0.9 }"));
    let sizes = std::iter::successors(Some(50_usize), |size| Some(size * 5 / 4));
    for (number, size) in sizes.take(40).enumerate() {
        for key in ["one", "other"] {
            let value = "x".repeat(size);
            server.command(&format!("set {key}:{number} 0 0 {}\r\n{value}", value.len()));
        }
    }
    let [bytes, limit] = ["bytes", "limit_maxbytes"].map(|name| server.stat(name).parse::<u64>().unwrap());
    assert!(bytes > limit, "{bytes} of {limit}");
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn entries_that_are_evicted_while_they_are_young_are_found_with_their_age() {
    let server = Memcached::start(&["-m", "8"]);
    let sidecar = |limit: &str| Sidecar::start(memcached(&server, limit));
    let young = sidecar("evicted_age = { degraded = \"1h\", down = \"1s\" }");
    let patient = sidecar("evicted_age = { degraded = \"1s\" }");
    let value = "x".repeat(20_000);
    let fill = || {
        for key in 0..600 {
            server.command(&format!("set fill:{}:{key} 0 0 20000\r\n{value}", server.stat("cmd_set")));
        }
    };
    let node = server.addr();
    expect_found(&young, CHECK, &[]);
    expect_found(&patient, CHECK, &[]);
    assert_eq!(figure(&young.health(), node, "evicted_age_seconds"), None);
    fill();
    // The second fill evicts what the first has left.
    thread::sleep(Duration::from_millis(2200));
    young.health();
    patient.health();
    thread::sleep(Duration::from_millis(1100));
    server.command(&format!("set one-more 0 0 20000\r\n{value}"));
    let said = expect_found(&young, CHECK, &[&found("evicting", node)]).join("");
    assert!(
        said.starts_with("an evicted entry was last used ") && said.ends_with("(degraded below 1h)"),
        "{said}"
    );
    expect_found(&patient, CHECK, &[]);
    assert!(figure(&young.health(), node, "evicted_age_seconds").is_some_and(|age| age >= 1.0));
    // A second without.
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(1100));
        young.health();
    }
    expect_found(&young, CHECK, &[]);
}

#[test]
fn places_for_connections_that_are_nearly_used_up_are_found() {
    let limit = "connections_ratio = { degraded = 0.8 }";
    let redis_server = Redis::start(&["--maxclients", "40"]);
    let memcached_server = Memcached::start(&["-c", "60"]);
    let reserved: u32 = memcached_server.stat("reserved_fds").parse().unwrap();
    for (sidecar, node, most) in [
        (Sidecar::start(redis(&redis_server, limit)), redis_server.addr(), 40),
        (Sidecar::start(memcached(&memcached_server, limit)), memcached_server.addr(), 60 - reserved),
    ] {
        expect_found(&sidecar, CHECK, &[]);
        let held: Vec<_> = (0..most * 4 / 5).map(|_| TcpStream::connect(node).unwrap()).collect();
        // A server takes them when it gets to it.
        crate::support::eventually("the connections are taken", || {
            figure(&sidecar.health(), node, "connections")
                .is_some_and(|connections| connections > f64::from(most * 4 / 5))
        });
        let said = expect_found(&sidecar, CHECK, &[&found("connections_high", node)]).join("");
        assert!(said.contains(&format!(" of {most} connections, ")), "{said}");
        drop(held);
        crate::support::eventually("the connections are closed", || {
            figure(&sidecar.health(), node, "connections").is_some_and(|connections| connections < 10.0)
        });
        expect_found(&sidecar, CHECK, &[]);
    }
}

#[test]
fn a_server_that_resets_its_counters_is_judged_from_then_on() {
    let limits = "hit_ratio = { degraded = 0.9 }\nevictions_per_second = { degraded = 1 }";
    let mut server = Redis::start(&[]);
    let sidecar = Sidecar::start(redis(&server, limits));
    let hits = |times| {
        let mut client = server.client();
        client.ask(&["SET", "there", "1"]).unwrap();
        look_up(&mut client, "there", times);
    };
    hits(500);
    expect_found(&sidecar, CHECK, &[]);
    server.command(&["CONFIG", "RESETSTAT"]);
    expect_found(&sidecar, CHECK, &[]);
    hits(500);
    expect_found(&sidecar, CHECK, &[]);
    server.kill();
    sidecar.expect_down("refused");
    server.restart();
    // As many as before, of which the sidecar saw none: none of them is held against the server.
    look_up(&mut server.client(), "absent", 1000);
    expect_found(&sidecar, CHECK, &[]);
    look_up(&mut server.client(), "absent", 100);
    expect_found(&sidecar, CHECK, &[&found("low_hit_ratio", server.addr())]);

    let mut server = Memcached::start(&[]);
    let sidecar = Sidecar::start(memcached(&server, limits));
    let absent = format!("get{}", " absent".repeat(30));
    expect_found(&sidecar, CHECK, &[]);
    server.kill();
    sidecar.expect_down("refused");
    server.restart();
    (0..5).for_each(|_| drop(server.command(&absent)));
    expect_found(&sidecar, CHECK, &[]);
    (0..5).for_each(|_| drop(server.command(&absent)));
    expect_found(&sidecar, CHECK, &[&found("low_hit_ratio", server.addr())]);
}

const TTL: &str = "ttl = { pattern = \"session:*\", max = \"60s\", sample = 100 }";
const IMMORTAL: &[&str] = &["DEGRADED immortal pattern session:*"];

#[test]
fn entries_that_outlive_the_promise_are_found_at_once_if_there_are_few() {
    let server = Redis::start(&[]);
    let sidecar = Sidecar::start(redis(&server, TTL));
    let set = |key: &str, ttl: &[&str]| drop(server.command(&[&["SET", key, "1"][..], ttl].concat()));
    for key in 0..50 {
        set(&format!("session:{key}"), &["EX", "60"]);
        set(&format!("other:{key}"), &[]);
    }
    expect_found(&sidecar, CHECK, &[]);
    let health = sidecar.health();
    let figure = |name| measure(&health, CHECK, name, Some(("pattern", "session:*")));
    assert_eq!((figure("cache_ttl_sampled"), figure("cache_ttl_broken")), (Some(50.0), Some(0.0)));
    server.command(&["PERSIST", "session:7"]);
    let said = expect_found(&sidecar, CHECK, IMMORTAL);
    assert_eq!(said, ["1 of 50 entries have no TTL, such as session:7"]);
    set("session:8", &["EX", "61"]);
    let said = expect_found(&sidecar, CHECK, IMMORTAL);
    let expected = "1 of 50 entries have no TTL, such as session:7; 1 have a TTL above 1m";
    assert_eq!(said, [expected]);
    server.command(&["EXPIRE", "session:7", "60"]);
    server.command(&["DEL", "session:8"]);
    expect_found(&sidecar, CHECK, &[]);
    // More than are remembered.
    for key in 0..300 {
        set(&format!("session:{key}"), &[]);
    }
    crate::support::eventually("all were looked at", || {
        let health = sidecar.health();
        findings(&health, CHECK).iter().any(|found| found.said.starts_with("300 of 300 entries"))
    });
    server.command(&["FLUSHALL"]);
    crate::support::eventually("the cursor has come round", || findings(&sidecar.health(), CHECK).is_empty());
}

#[test]
fn among_ten_thousand_a_few_steps_in_each_round_find_those_that_outlive_the_promise() {
    let server = Redis::start(&[]);
    let fill = "for i = 1, 10000 do redis.call('SET', 'session:' .. i, 1, 'EX', 60 * 60) end";
    server.command(&["EVAL", fill, "0"]);
    let sidecar = Sidecar::start(redis(&server, TTL).replace("60s", "1h"));
    for _ in 0..150 {
        expect_found(&sidecar, CHECK, &[]);
    }
    let calls = |command: &str| {
        let stats = server.command(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |calls| calls.split(',').next().unwrap().parse::<usize>().unwrap())
    };
    let (scans, ttls) = (calls("scan"), calls("pttl"));
    sidecar.health();
    let (scans, ttls) = (calls("scan") - scans, calls("pttl") - ttls);
    assert!((1..=10).contains(&scans) && (90..=220).contains(&ttls), "{scans} {ttls}");
    assert_eq!(calls("keys"), 0);

    server.command(&["PERSIST", "session:1234"]);
    server.command(&["EXPIRE", "session:77", "7200"]);
    let mut found = Vec::new();
    let mut looks = 0;
    crate::support::eventually("both are found", || {
        looks += 1;
        found = findings(&sidecar.health(), CHECK);
        found.first().is_some_and(|found| found.said.contains("1 have a TTL above"))
    });
    // A time round takes a hundred, of which each may be met at the end.
    assert!(looks <= 210, "{looks} looks");
    assert!(found[0].said.contains("such as session:1234"), "{found:?}");
    // While the cursor is elsewhere it stands.
    for _ in 0..20 {
        expect_found(&sidecar, CHECK, IMMORTAL);
    }
    server.command(&["EXPIRE", "session:77", "60"]);
    let said = expect_found(&sidecar, CHECK, IMMORTAL).join("");
    assert!(said.ends_with("have no TTL, such as session:1234"), "{said}");
    server.command(&["DEL", "session:1234"]);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn each_primary_of_a_cluster_is_read() {
    let cluster = Cluster::start_without_replicas(&[]);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"{}\"\n[caches.main.checks.efficiency]\n{TTL}",
        cluster.url()
    ));
    let key = |node: usize| format!("session:{{{}}}", tag_of(THIRDS[node].0));
    for (node, server) in cluster.nodes.iter().enumerate() {
        server.command(&["SET", &key(node), "1", "EX", "50"]);
    }
    expect_found(&sidecar, CHECK, &[]);
    let health = sidecar.health();
    for node in 0..3 {
        assert!(figure(&health, cluster.addr(node), "memory_used_bytes").is_some(), "{:#}", health.body);
    }
    cluster.nodes[1].command(&["PERSIST", &key(1)]);
    let said = expect_found(&sidecar, CHECK, IMMORTAL);
    assert_eq!(said, [format!("1 of 3 entries have no TTL, such as {}", key(1))]);
    // On its way it is still seen, and where it gets to as well.
    let slot = THIRDS[1].0;
    cluster.begin_to_move(slot, 1, 0);
    expect_found(&sidecar, CHECK, IMMORTAL);
    cluster.move_keys(slot, 1, 0);
    cluster.hand_over(slot, 1, 0);
    expect_found(&sidecar, CHECK, IMMORTAL);
    cluster.nodes[0].command(&["EXPIRE", &key(1), "60"]);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn the_printed_user_is_enough_and_with_a_right_less_it_is_not() {
    let server = Redis::start(&[]);
    server.command(&["SET", "session:1", "1"]);
    let as_canary =
        |limits| redis(&server, limits).replace("redis://", &format!("redis://canary:{}@", acl::PASSWORD));
    let config = as_canary(TTL);
    let [user] = printed_users(&config);
    user.give(&server, &[]);
    let sidecar = Sidecar::start(&config);
    expect_found(&sidecar, CHECK, IMMORTAL);
    for right in ["+info", "+scan", "+pttl", "~session:*"] {
        user.give(&server, &[right]);
        let said = sidecar.expect_down("forbidden");
        assert!(said.contains("NOPERM"), "{right}: {said}");
        user.give(&server, &[]);
        expect_found(&sidecar, CHECK, IMMORTAL);
    }
    let without_ttl = as_canary("");
    let [user] = printed_users(&without_ttl);
    user.give(&server, &[]);
    expect_found(&Sidecar::start(&without_ttl), CHECK, &[]);
}

#[test]
fn over_resp3_the_figures_are_the_same() {
    let server = Redis::start(&[]);
    server.command(&["SET", "session:1", "1"]);
    let config = redis(&server, TTL).replace("\"\n[", "?protocol=3\"\n[");
    let sidecar = Sidecar::start(config);
    expect_found(&sidecar, CHECK, IMMORTAL);
    assert!(all_figures(&sidecar.health(), server.addr())[0].is_some());
}

#[tokio::test]
async fn each_command_is_explained_with_the_expected_and_the_seen_value() {
    let server = Redis::start(&["--maxclients", "40"]);
    server.command(&["SET", "session:1", "1"]);
    let limits = format!("{TTL}\nhit_ratio = {{ degraded = 0.8 }}\nconnections_ratio = {{ down = 0.9 }}");
    let steps = explained(&redis(&server, &limits)).await;
    let begins: Vec<_> =
        steps.iter().map(|step| step.split(" | ").take(2).collect::<Vec<_>>().join(" | ")).collect();
    assert_eq!(
        begins,
        [
            "HELLO 2 | what the server is",
            "INFO server | the run_id of the last check (else counters restart)",
            "INFO clients | connections: less than 90% (down)",
            "INFO memory | no thresholds",
            "INFO stats | hit ratio since the last check: at least 80% (degraded)",
            "SCAN 0 MATCH session:* COUNT 100 | keys whose TTL is read next",
            "PTTL session:1 | at most 1m",
        ]
    );
    assert!(steps[2].ends_with(" of 40") && steps[3].ends_with(", no limit reported"), "{steps:?}");
    assert!(steps[5].ends_with(" | 1 keys, cursor 0") && steps[6].ends_with(" | no TTL"), "{steps:?}");
}
