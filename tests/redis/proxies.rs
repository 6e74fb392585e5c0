//! Redis behind Envoy's Redis proxy, which answers in words of its own. twemproxy is in `tests/memcached/proxies.rs`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::net::SocketAddr;

use crate::support::{Client, Cluster, EJECTING, Envoy, Redis, Sidecar, Twemproxy, eventually};

fn behind(proxy: SocketAddr) -> String {
    format!("[caches.main]\nurl = \"redis://{proxy}\"")
}

/// So many canaries that one of three servers is missed by all of them once in 10^11.
fn sprayed_behind(proxy: SocketAddr) -> String {
    format!("{}\nspray = 64", behind(proxy))
}

/// Waits until the proxy has noticed that its server is back: it may fail one more command.
fn wait_until_served(sidecar: &Sidecar) {
    eventually("the proxy serves again", || sidecar.health().code == 200);
}

#[test]
fn a_redis_behind_envoy_that_dies_or_hangs_is_unreachable() {
    let mut redis = Redis::start(&[]);
    let proxy = Envoy::before(&[redis.addr()], "");
    let sidecar = Sidecar::start(behind(proxy.addr()));
    (0..3).for_each(|_| sidecar.expect_up());
    redis.kill();
    assert!(sidecar.expect_down("unreachable").contains("upstream failure"));
    redis.restart();
    wait_until_served(&sidecar);
    redis.stop();
    let words = sidecar.expect_down("unreachable");
    assert!(words.contains("upstream failure") && words.contains("answers PING"), "{words}");
    redis.cont();
    wait_until_served(&sidecar);
    redis.fill();
    sidecar.expect_down("out_of_memory");
    redis.make_room();
    sidecar.expect_up();
}

#[test]
fn a_redis_of_a_ring_behind_envoy_that_dies_or_hangs_is_seen() {
    let mut ring = [(); 3].map(|()| Redis::start(&[]));
    let proxy = Envoy::before(&ring.each_ref().map(Redis::addr), "");
    let sidecar = Sidecar::start_with("timeout = \"10s\"", sprayed_behind(proxy.addr()));
    (0..3).for_each(|_| sidecar.expect_up());
    ring[1].kill();
    let words = sidecar.health().fault_of("cache.main").unwrap();
    assert!(words.0 == "unreachable" && words.1.contains("of 64 canaries: upstream failure"), "{words:?}");
    ring[1].restart();
    wait_until_served(&sidecar);
    ring[2].stop();
    assert_eq!(sidecar.health().fault_of("cache.main").unwrap().0, "unreachable");
    ring[2].cont();
    wait_until_served(&sidecar);
}

#[test]
fn a_server_that_envoy_ejects_is_unreachable_until_its_keys_are_spread_over_the_others() {
    let mut alone = Redis::start(&[]);
    let proxy = Envoy::before(&[alone.addr()], EJECTING);
    let sidecar = Sidecar::start(behind(proxy.addr()));
    sidecar.expect_up();
    alone.kill();
    sidecar.expect_down("unreachable");
    eventually("Envoy has ejected its only server", || {
        sidecar.expect_down("unreachable").contains("no upstream host")
    });

    let mut ring = [(); 3].map(|()| Redis::start(&[]));
    let proxy = Envoy::before(&ring.each_ref().map(Redis::addr), EJECTING);
    let sidecar = Sidecar::start(sprayed_behind(proxy.addr()));
    sidecar.expect_up();
    ring[0].kill();
    sidecar.expect_down("unreachable");
    wait_until_served(&sidecar);
}

#[test]
fn one_node_of_a_cluster_behind_a_proxy_is_redirected_whatever_the_key() {
    let cluster = Cluster::start_without_replicas(&[]);
    let (node, whole) = (cluster.addr(0), Redis::start_cluster());
    let proxies = |addr| (Twemproxy::of_redis(&[addr], &[]), Envoy::before(&[addr], ""));
    let (twemproxy, envoy) = proxies(node);
    for number in 0..8 {
        let proxy = if number % 2 == 0 { twemproxy.addr() } else { envoy.addr() };
        let sidecar = Sidecar::start_with(&format!("instance = \"{number}\""), behind(proxy));
        for _ in 0..2 {
            let words = sidecar.expect_down("redirected");
            assert!(words.contains("a node of a cluster, and holds only some of the keys: MOVED"), "{words}");
        }
    }
    let (twemproxy, envoy) = proxies(whole.addr());
    for proxy in [twemproxy.addr(), envoy.addr()] {
        let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", behind(proxy));
        (0..3).for_each(|_| sidecar.expect_up());
    }
}

#[test]
fn a_server_of_a_ring_that_hangs_is_no_fault_of_keys_on_the_others() {
    let ring = [(); 2].map(|()| Redis::start(&[]));
    let addrs = ring.each_ref().map(Redis::addr);
    let (twemproxy, envoy) = (Twemproxy::of_redis(&addrs, &[]), Envoy::before(&addrs, ""));
    ring[0].stop();
    for proxy in [twemproxy.addr(), envoy.addr()] {
        // Half of the keys are on the server that hangs.
        let is_up = |number: u32| {
            let settings = format!("instance = \"{number}\"\ntimeout = \"2s\"");
            Sidecar::start_with(&settings, behind(proxy)).health().code == 200
        };
        assert!((0..16).any(is_up), "{proxy}");
    }
    ring[0].cont();
}

#[test]
fn a_breaker_opens_when_envoy_has_no_server() {
    let mut redis = Redis::start(&[]);
    let proxy = Envoy::before(&[redis.addr()], "");
    let cache = format!("{}\nbreaker = {{ after = 1, for = \"1m\" }}", behind(proxy.addr()));
    let sidecar = Sidecar::start(cache);
    sidecar.expect_up();
    redis.kill();
    sidecar.expect_down("unreachable");
    let words = sidecar.health().fault_of("cache.main").unwrap().1;
    assert!(words.contains("breaker"), "{words}");
}

#[test]
fn a_database_is_never_chosen_for_all_clients_of_envoy() {
    let redis = Redis::start(&[]);
    let proxy = Envoy::before(&[redis.addr()], "");
    let mut application = Client::connect(proxy.addr()).unwrap();
    application.ask(&["SET", "of-the-application", "1"]).unwrap();
    for protocol in [2, 3] {
        let sidecar = Sidecar::start(format!(
            "[caches.main]\nurl = \"redis://{}/1?protocol={protocol}\"",
            proxy.addr()
        ));
        if protocol == 2 {
            let words = sidecar.expect_down("database");
            assert!(words.contains("Envoy's Redis proxy would choose database 1 for all"), "{words}");
        }
        (0..3).for_each(|_| assert_eq!(sidecar.health().code, 503));
    }
    assert_eq!(application.ask(&["GET", "of-the-application"]).unwrap(), "1");
    application.ask(&["SET", "of-the-application", "2"]).unwrap();
    let keyspace = redis.command(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db0:") && !keyspace.contains("db1:"), "{keyspace}");
    Sidecar::start(behind(proxy.addr())).expect_up();
}

#[test]
fn twemproxy_which_closes_on_hello_is_up_with_and_without_a_password() {
    let redis = Redis::start(&[]);
    let proxy = Twemproxy::of_redis(&[redis.addr()], &[]);
    let sidecar = Sidecar::start_with("reconnect_every = \"0s\"", behind(proxy.addr()));
    (0..3).for_each(|_| sidecar.expect_up());
    redis.require_password("sesame");
    let proxy = Twemproxy::of_redis(&[redis.addr()], &["redis_auth: sesame"]);
    let at = |login: &str| {
        let cache = format!("[caches.main]\nurl = \"redis://{login}{}\"", proxy.addr());
        Sidecar::start_with("reconnect_every = \"0s\"", cache)
    };
    let sidecar = at(":sesame@");
    (0..3).for_each(|_| sidecar.expect_up());
    at(":wrong@").expect_down("auth");
    at("").expect_down("auth");
}
