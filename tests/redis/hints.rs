//! The hint and the next command of a fault, where its words tell more than its cause.

#![allow(clippy::expect_used, reason = "in a test a panic is the message")]

use std::net::SocketAddr;

use crate::support::sentinel::{NAME, NEVER};
use crate::support::{Health, Liar, Memcached, Redis, Sentinel, Sidecar, Twemproxy};

fn at(url: &str) -> Sidecar {
    Sidecar::start_with("reconnect_every = \"0s\"", format!("[caches.main]\nurl = \"{url}\""))
}

/// The hint for `main`, and the next command for its first node of this name.
fn told(health: &Health, node: &impl ToString) -> (String, String) {
    let hint = health.body["errors"]["cache.main"].as_str().unwrap_or_default().to_owned();
    let nodes = health.body["details"]["cache.main"]["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|found| found["node"] == node.to_string()).expect("a node of this name");
    (hint, node["next"].as_str().unwrap_or_default().to_owned())
}

fn redis_cli(addr: SocketAddr, command: &str) -> String {
    format!("redis-cli -h {} -p {} {command}", addr.ip(), addr.port())
}

/// The answer of Redis 7.0 in protected mode, as long as that.
const PROTECTED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is \
     set for the default user. In this mode connections are only accepted from the loopback interface. ";

#[test]
fn protected_mode_is_named_at_a_server_and_at_a_sentinel() {
    let said = format!("{PROTECTED}{}\r\n", "One of several solutions. ".repeat(40));
    let redis = Liar::redis(&[""], &[("SENTINEL", "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n")]);
    redis.lie(Some(said.as_bytes()));
    for url in [format!("redis://{}", redis.addr), format!("redis+sentinel://{}/{NAME}", redis.addr)] {
        let sidecar = at(&url);
        let words = sidecar.expect_down("forbidden");
        assert!(words.contains("DENIED Redis is running in protected mode"), "{words}");
        let (hint, next) = told(&sidecar.health(), &redis.addr);
        assert!(hint.contains("is in protected mode"), "{url}: {hint}");
        assert_eq!(next, redis_cli(redis.addr, "PING"));
    }
}

#[test]
fn a_server_without_sentinels_commands_is_no_sentinel() {
    let redis = Redis::start(&[]);
    let sidecar = at(&format!("redis+sentinel://{}/{NAME}", redis.addr()));
    let words = sidecar.expect_down("forbidden");
    assert!(words.contains("the server is no Sentinel: ERR unknown command"), "{words}");
    let (hint, next) = told(&sidecar.health(), &redis.addr());
    assert!(hint.contains("This is no Sentinel: list Sentinels"), "{hint}");
    assert_eq!(next, redis_cli(redis.addr(), "INFO server"));
    let sentinel = Sentinel::start(redis.addr(), NEVER, &[]);
    at(&format!("redis+sentinel://{}/{NAME}", sentinel.addr())).expect_up();
    let (hint, next) = told(&at(&format!("redis://{}", sentinel.addr())).health(), &sentinel.addr());
    assert!(hint.contains("This is a Sentinel"), "{hint}");
    assert_eq!(next, redis_cli(sentinel.addr(), "SENTINEL MASTERS"));
}

#[test]
fn a_sentinel_that_refuses_the_login_has_settings_of_its_own_for_it() {
    let redis = Redis::start(&[]);
    let sentinel = Sentinel::start(redis.addr(), NEVER, &["requirepass watchers"]);
    let caches =
        |more: &str| format!("[caches.main]\nurl = \"redis+sentinel://{}/{NAME}\"\n{more}", sentinel.addr());
    for login in ["", "sentinel_password = \"wrong\""] {
        let sidecar = Sidecar::start(caches(login));
        sidecar.expect_down("auth");
        let (hint, _) = told(&sidecar.health(), &sentinel.addr());
        assert!(hint.contains("set sentinel_password"), "{hint}");
    }
    Sidecar::start(caches("sentinel_password = \"watchers\"")).expect_up();
    // At the servers themselves, other settings are wrong.
    redis.require_password("sesame");
    let sidecar = Sidecar::start(caches("sentinel_password = \"watchers\""));
    sidecar.expect_down("auth");
    let (hint, _) = told(&sidecar.health(), &redis.addr());
    assert!(!hint.contains("sentinel_password"), "{hint}");
}

#[test]
fn sentinels_that_are_all_away_are_the_fault_and_not_the_servers_that_they_name() {
    let redis = Redis::start(&[]);
    let sentinel = Sentinel::start(redis.addr(), NEVER, &[]);
    let (addr, url) = (sentinel.addr(), format!("redis+sentinel://{}/{NAME}", sentinel.addr()));
    at(&url).expect_up();
    drop(sentinel);
    let sidecar = at(&url);
    sidecar.expect_down("refused");
    let (hint, _) = told(&sidecar.health(), &NAME);
    assert!(hint.contains("No Sentinel can be reached"), "{addr}: {hint}");
    assert!(!hint.contains("announce"), "{hint}");
}

#[test]
fn a_server_behind_a_unix_socket_has_no_port_no_tls_and_no_firewall() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("redis.sock");
    let redis = Redis::start(&[]);
    let own = redis.socket().clone();
    let sidecar = at(&format!("redis+unix://{}", own.display()));
    sidecar.expect_up();
    redis.stop();
    sidecar.expect_down("timed_out");
    let silent = told(&sidecar.health(), &format!("unix:{}", own.display())).0;
    redis.cont();
    sidecar.expect_up();
    let memcached = Memcached::start_on_socket();
    let sidecar = at(&format!("redis+unix://{}", memcached.socket().display()));
    let words = sidecar.expect_down("protocol");
    assert!(words.ends_with("received `ERROR`, as from a memcached"), "{words}");
    let other = told(&sidecar.health(), &format!("unix:{}", memcached.socket().display())).0;
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let sidecar = at(&format!("redis+unix://{}", path.display()));
    sidecar.expect_down("unreachable");
    let closed = told(&sidecar.health(), &format!("unix:{}", path.display())).0;
    for (hint, words) in
        [(&silent, "hangs or is stopped"), (&other, "which program"), (&closed, "which program")]
    {
        assert!(hint.contains(words), "{hint}");
        assert!(["port", "TLS", "firewall"].iter().all(|word| !hint.contains(word)), "{hint}");
    }
}

#[test]
fn the_server_is_asked_for_a_command_that_it_does_not_know() {
    let redis = Redis::start(&["--rename-command", "INFO", ""]);
    let sidecar = at(&format!("redis://{}\"\nchecks.efficiency = {{}}\nprotocol = \"resp2", redis.addr()));
    let node = &sidecar.health().body["details"]["cache.main.efficiency"]["nodes"][0];
    assert_eq!(node["cause"], "forbidden");
    assert_eq!(node["next"], redis_cli(redis.addr(), "COMMAND INFO INFO"), "{node:#}");
}

#[test]
fn a_proxy_that_closes_on_select_has_no_databases_and_on_hello_no_resp3() {
    let mut redis = Redis::start(&[]);
    let proxy = Twemproxy::of_redis(&[redis.addr()], &[]);
    let sidecar = at(&format!("redis://{}/1", proxy.addr()));
    for _ in 0..3 {
        let words = sidecar.expect_down("database");
        assert!(
            words.contains("closes the connection on SELECT") && words.contains("(database 1)"),
            "{words}"
        );
        let (hint, _) = told(&sidecar.health(), &proxy.addr());
        assert!(hint.contains("use database 0 behind a proxy") && !hint.contains("TLS"), "{hint}");
    }
    at(&format!("redis://{}", proxy.addr())).expect_up();
    let sidecar = at(&format!("redis://{}?protocol=3", proxy.addr()));
    assert!(sidecar.expect_down("forbidden").contains("closes the connection on HELLO 3"));
    let (hint, _) = told(&sidecar.health(), &proxy.addr());
    assert!(hint.contains("remove ?protocol=3 from the URL"), "{hint}");
    for path in ["/1", "?protocol=3"] {
        let sidecar = at(&format!("redis://{}{path}", redis.addr()));
        sidecar.expect_up();
        redis.kill();
        sidecar.expect_down("refused");
        redis.restart();
    }
}
