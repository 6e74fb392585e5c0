//! The kind of a server, found out at each dial: a verdict does not depend on the slot that a canary's key falls into.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

use std::net::SocketAddr;

use cache_canary::checker::Checker;
use cache_canary::config::{Backend, Login, Password, RespVersion};
use cache_canary::outcome::{Cause, Status};

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::in_process::{look, one_cache, redis_at};
use crate::support::sentinel::NEVER;
use crate::support::{Cluster, Liar, Redis, RedisServer, Sidecar, Watched};

fn main_at(url: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"")
}

fn plain(addr: SocketAddr) -> Sidecar {
    Sidecar::start(main_at(&format!("redis://{addr}")))
}

/// The first two checks of many sidecars, of which each has keys of its own.
async fn expect_every_time(addr: SocketAddr, expected: (Status, Option<Cause>)) {
    for number in 0..20 {
        let mut config = one_cache(redis_at(addr));
        config.instance = format!("sidecar-{number}");
        let checker = Checker::new(&config).unwrap();
        assert_eq!(look(&checker).await, expected, "sidecar {number}");
        assert_eq!(look(&checker).await, expected, "sidecar {number}");
    }
}

#[tokio::test]
async fn a_node_of_a_cluster_is_redirected_at_every_check_whatever_the_key() {
    let mut cluster = Cluster::start(&[]);
    let without_slots = cluster.add_primary();
    // A primary, a replica, and a node without slots.
    for node in [0, 3, without_slots] {
        expect_every_time(cluster.addr(node), (Status::Down, Some(Cause::Redirected))).await;
    }
    let sidecar = plain(cluster.addr(1));
    assert_eq!(sidecar.get("/startupz").code, 503);
    let words = sidecar.expect_down("redirected");
    assert!(words.contains("a node of a cluster of 3 primaries"), "{words}");
    assert_eq!(sidecar.get("/startupz").code, 503);
    Sidecar::start(main_at(&cluster.url())).expect_up();
}

#[test]
fn a_user_with_the_printed_rights_is_redirected_too() {
    let cluster = Cluster::start_without_replicas(&[]);
    for protocol in [2, 3] {
        let url = format!("redis://canary:{PASSWORD}@{}?protocol={protocol}", cluster.addr(2));
        let [user] = printed_users(&main_at(&url));
        user.give(&cluster.nodes[2], &[]);
        for number in 0..5 {
            let sidecar = Sidecar::start_with(&format!("instance = \"{number}\""), main_at(&url));
            sidecar.expect_down("redirected");
        }
    }
}

#[tokio::test]
async fn a_node_of_a_cluster_is_redirected_even_if_its_user_may_not_ask_what_it_is() {
    let cluster = Cluster::start_without_replicas(&[]);
    for node in &cluster.nodes {
        node.set_user("canary", "on >secret ~djblets-canary:* +get +set");
        for (number, protocol) in
            [RespVersion::Resp2, RespVersion::Resp3].into_iter().cycle().take(10).enumerate()
        {
            let (username, password) = (Some("canary".to_owned()), Some(Password::Fixed("secret".into())));
            let mut config = one_cache(redis_at(node.addr()));
            if let Backend::Redis(redis) = &mut config.caches[0].backend {
                redis.login = Login { username, password, protocol, ..Login::default() };
            }
            config.instance = format!("sidecar-{number}");
            let checker = Checker::new(&config).unwrap();
            for _ in 0..2 {
                assert_eq!(look(&checker).await, (Status::Down, Some(Cause::Redirected)), "sidecar {number}");
            }
        }
    }
}

#[tokio::test]
async fn one_node_that_owns_every_slot_stays_up() {
    let redis = Redis::start_cluster();
    expect_every_time(redis.addr(), (Status::Up, None)).await;
    // Even if its user may not ask what it is.
    redis.set_user("canary", "on >secret ~djblets-canary:* +get +set");
    let sidecar = Sidecar::start(main_at(&format!("redis://canary:secret@{}", redis.addr())));
    (0..3).for_each(|_| sidecar.expect_up());
}

#[test]
fn a_cluster_that_serves_a_part_of_its_slots_is_down_whatever_the_key() {
    let redis = Redis::start_cluster();
    redis.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    let sidecar =
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{}", redis.addr())));
    sidecar.expect_up();
    redis.command(&["CLUSTER", "DELSLOTSRANGE", "0", "0"]);
    assert!(sidecar.expect_down("cluster_down").contains("1 of 16384 slots have no owner"));
    redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "0"]);
    sidecar.expect_up();
}

#[test]
fn a_sentinel_stores_nothing_and_the_way_to_ask_it_is_said() {
    let watched = Watched::start(NEVER, &[]);
    let addr = watched.sentinels[0].addr();
    for url in [format!("redis://{addr}"), format!("redis://{addr}?protocol=3")] {
        let sidecar = Sidecar::start(main_at(&url));
        let words = sidecar.expect_down("not_stored");
        assert!(words.contains("the server is a Sentinel"), "{words}");
    }
    Sidecar::start(main_at(&watched.url())).expect_up();
}

#[test]
fn a_server_is_asked_once_a_dial() {
    let redis = Redis::start(&[]);
    let kept = plain(redis.addr());
    (0..5).for_each(|_| kept.expect_up());
    assert!(redis.info("cmdstat_hello").starts_with("calls=1,"), "{}", redis.info("cmdstat_hello"));
    let dialing =
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{}", redis.addr())));
    (0..5).for_each(|_| dialing.expect_up());
    assert!(redis.info("cmdstat_hello").starts_with("calls=6,"), "{}", redis.info("cmdstat_hello"));
}

#[test]
fn a_server_whose_hello_was_renamed_is_up() {
    let redis = Redis::start(&["--rename-command", "HELLO", ""]);
    let sidecar =
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{}", redis.addr())));
    (0..3).for_each(|_| sidecar.expect_up());
    // It is not asked again and again.
    assert!(redis.info("errorstat_ERR").contains("count=1"), "{}", redis.info("errorstat_ERR"));
}

/// Answers of Redis 5, which no distribution has any more: it knows neither users nor HELLO.
const REDIS_5: &[(&str, &str)] = &[
    ("AUTH wrong", "-ERR invalid password\r\n"),
    ("HELLO", "-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n"),
    ("INFO server", "$45\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\n\r\n"),
];

#[test]
fn a_server_that_knows_no_users_takes_the_password_alone() {
    let redis = Liar::redis(&["AUTH default pw", "AUTH app pw", "AUTH default wrong"], REDIS_5);
    redis.lie(Some(b"-ERR wrong number of arguments for 'auth' command\r\n"));
    let sidecar = |login: &str| {
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{login}@{}", redis.addr)))
    };
    for login in ["default:pw", "app:pw", ":pw", "default:pw"] {
        (0..3).for_each(|_| sidecar(login).expect_up());
    }
    let words = sidecar("default:wrong").expect_down("auth");
    assert!(words.contains("ERR invalid password"), "{words}");
}

#[test]
fn a_node_of_a_cluster_of_redis_5_is_redirected() {
    let lines = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_size:3\r\n";
    let info = "redis_version:5.0.14\r\nredis_mode:cluster\r\n";
    let answers = vec![
        ("HELLO", "-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n".to_owned()),
        ("INFO server", format!("${}\r\n{info}\r\n", info.len())),
        ("CLUSTER INFO", format!("${}\r\n{lines}\r\n", lines.len())),
    ];
    let answers: Vec<(&'static str, &'static str)> =
        answers.into_iter().map(|(command, answer)| (command, &*answer.leak())).collect();
    let redis = Liar::redis(&[], answers.leak());
    plain(redis.addr).expect_down("redirected");
}

#[test]
fn a_server_that_turns_clients_away_says_why() {
    let redis = Liar::redis(&[""], &[]);
    let sidecar =
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{}", redis.addr)));
    sidecar.expect_up();
    for (said, cause) in [
        ("DENIED Redis is running in protected mode because protected mode is enabled", "forbidden"),
        ("ERR max number of clients reached", "refused"),
        ("ERR max number of clients + cluster connections reached", "refused"),
        ("NOAUTH Authentication required.", "auth"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
    ] {
        redis.lie(Some(format!("-{said}\r\n").as_bytes()));
        assert!(sidecar.expect_down(cause).contains(said));
        redis.lie(None);
        sidecar.expect_up();
    }
}

#[test]
fn a_clusters_node_at_its_connection_limit_is_refused() {
    let redis = Redis::start_cluster();
    let dialing =
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&format!("redis://{}", redis.addr())));
    dialing.expect_up();
    let held = redis.reach_connection_limit();
    for _ in 0..4 {
        assert!(
            dialing.expect_down("refused").contains("max number of clients + cluster connections reached")
        );
    }
    drop(held);
    dialing.expect_up();
}

#[test]
fn a_command_that_was_renamed_is_forbidden_and_its_part_of_the_check_is_named() {
    let redis = Redis::start(&["--rename-command", "INFO", "", "--rename-command", "ROLE", ""]);
    let addr = redis.addr();
    let sidecar =
        Sidecar::start(format!("[caches.main]\nurl = \"redis://{addr}\"\nchecks.efficiency = {{}}"));
    let (cause, words) = sidecar.health().fault_of("cache.main.efficiency").expect("a fault");
    assert_eq!(cause, "forbidden");
    assert!(
        words.contains("unknown command") && words.contains("(needed for the efficiency check)"),
        "{words}"
    );
    let discovering =
        Sidecar::start(format!("[caches.main]\nurl = \"redis://{addr}\"\nreplicas = \"discover\""));
    let words = discovering.expect_degraded("forbidden");
    assert!(
        words.contains("unknown command") && words.contains("(needed for the list of replicas)"),
        "{words}"
    );
    plain(addr).expect_up();
    let redis = Redis::start(&["--rename-command", "TYPE", "", "--rename-command", "ZCARD", ""]);
    let checks = "checks.queue.keys = \"b:p\"\nchecks.clock.partitions = \"clocks\"";
    let sidecar = Sidecar::start(format!("{}\n{checks}", main_at(&format!("redis://{}", redis.addr()))));
    for kind in ["queue", "clock"] {
        let (cause, words) = sidecar.health().fault_of(&format!("cache.main.{kind}")).expect("a fault");
        let needed = format!("(needed for the {kind} check)");
        assert!(cause == "forbidden" && words.contains(&needed), "{cause} {words}");
    }
}

#[test]
fn a_cluster_has_numbered_databases_where_the_server_has_them() {
    if RedisServer::of_this_run() == RedisServer::Valkey9 {
        let cluster = Cluster::start_without_replicas(&["--cluster-databases", "16"]);
        let url = format!("{}/3", cluster.url()).replace("://", &format!("://canary:{PASSWORD}@"));
        let [user] = printed_users(&main_at(&url));
        cluster.nodes.iter().for_each(|node| user.give(node, &[]));
        let sidecar = Sidecar::start(main_at(&url));
        (0..3).for_each(|_| sidecar.expect_up());
        for node in &cluster.nodes {
            assert!(node.info("db3").starts_with("keys="), "each primary has its canaries in database 3");
        }
        Sidecar::start(main_at(&format!("{}/16", cluster.url()))).expect_down("database");
    } else {
        let redis = Redis::start_cluster();
        for scheme in ["redis", "redis+cluster"] {
            let words =
                Sidecar::start(main_at(&format!("{scheme}://{}/3", redis.addr()))).expect_down("database");
            assert!(words.contains("ERR SELECT is not allowed in cluster mode (database 3)"), "{words}");
        }
    }
}
