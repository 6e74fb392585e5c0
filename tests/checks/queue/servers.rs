//! Queues on more servers than one, on a server that fails, and with a user that may not do everything.

use std::time::Duration;

use super::{CHECK, NOW, beside, expect, figure, jobs, main_at, score};
use crate::support::acl::{PASSWORD, printed_users};
use crate::support::cluster::{slot_of, tag_of};
use crate::support::sentinel::NEVER;
use crate::support::{Cluster, Redis, Sidecar, Watched};

#[test]
fn the_queues_of_a_cluster_are_read_on_the_primaries_that_hold_them() {
    let mut cluster = Cluster::start_without_replicas(&[]);
    let families: Vec<_> = (0..4).map(|number| format!("jobs:{number}")).collect();
    let settings = "keys = [\"jobs:{0..3}\"]\nlength = { degraded = 3 }\nlock = \"l:jobs\"";
    let sidecar = Sidecar::start(main_at(&cluster.url(), settings));
    sidecar.expect_up();
    let owner = |key: &str| {
        let slot = slot_of(key);
        (0..3)
            .find(|&node| {
                (crate::support::cluster::THIRDS[node].0..=crate::support::cluster::THIRDS[node].1)
                    .contains(&slot)
            })
            .unwrap()
    };
    let owners: std::collections::BTreeSet<_> = families.iter().map(|key| owner(key)).collect();
    assert!(owners.len() > 1, "{owners:?}");
    for key in &families {
        let node = &cluster.nodes[owner(key)];
        node.command(&["RPUSH", key, "1", "2", "3"]);
        expect(&sidecar, &format!("DEGRADED too_long key {key} 3 entries"));
        node.command(&["LPOP", key]);
        sidecar.expect_up();
    }
    let lock = &cluster.nodes[owner("l:jobs")];
    lock.command(&["SET", "l:jobs", "holder"]);
    assert_eq!(figure(&sidecar, "cache_queue_lock_held", ("lock", "l:jobs")), Some(1.0));

    // A slot on its way: the queue and the lock's server are asked where they are by now.
    let (key, from) = (&families[0], owner(&families[0]));
    let to = (from + 1) % 3;
    cluster.nodes[from].command(&["RPUSH", key, "4", "5"]);
    expect(&sidecar, &format!("DEGRADED too_long key {key} 4 entries"));
    let slot = slot_of(key);
    cluster.begin_to_move(slot, from, to);
    expect(&sidecar, &format!("DEGRADED too_long key {key} 4 entries"));
    cluster.move_keys(slot, from, to);
    for _ in 0..3 {
        expect(&sidecar, &format!("DEGRADED too_long key {key} 4 entries"));
    }
    cluster.hand_over(slot, from, to);
    expect(&sidecar, &format!("DEGRADED too_long key {key} 4 entries"));
    cluster.nodes[to].command(&["DEL", key]);
    sidecar.expect_up();

    // A key that is not there is not there on the way either.
    cluster.begin_to_move(slot, to, from);
    sidecar.expect_up();
    cluster.hand_over(slot, to, from);
    cluster.wait_until_agreed();
    sidecar.expect_up();

    cluster.nodes[1].kill();
    let health = sidecar.health();
    assert_eq!((health.code, &health.body["checks"][CHECK]), (503, &"DOWN".into()), "{:#}", health.body);
    let (nodes, killed) = (health.nodes_of(CHECK), cluster.addr(1).to_string());
    assert!(nodes.iter().any(|(_, node, cause)| *node == killed && cause == "refused"), "{nodes:#?}");
}

#[test]
fn a_hash_tag_keeps_a_family_together() {
    let cluster = Cluster::start_without_replicas(&[]);
    let tag = tag_of(9_000);
    let settings = format!("keys = [\"{{{tag}}}:{{0..99}}\"]\nlength = {{ degraded = 3 }}");
    let sidecar = Sidecar::start(main_at(&cluster.url(), &settings));
    cluster.nodes[1].command(&["SADD", &format!("{{{tag}}}:42"), "1", "2", "3"]);
    expect(&sidecar, &format!("DEGRADED too_long key {{{tag}}}:42 3 entries"));
    cluster.begin_to_move(9_000, 1, 2);
    expect(&sidecar, &format!("DEGRADED too_long key {{{tag}}}:42 3 entries"));
    cluster.move_keys(9_000, 1, 2);
    expect(&sidecar, &format!("DEGRADED too_long key {{{tag}}}:42 3 entries"));
}

#[test]
fn the_keys_of_a_queue_are_summed_over_the_nodes_of_a_cluster() {
    let cluster = Cluster::start_without_replicas(&[]);
    let tags = [2, 8_000, 16_000].map(tag_of);
    let keys = tags.clone().map(|tag| format!("\"{{{tag}}}\"")).join(", ");
    let settings = format!("keys.waiting = [{keys}]\nlength = {{ degraded = 3 }}");
    let sidecar = Sidecar::start(main_at(&cluster.url(), &jobs(&settings)));
    let push = |node: usize| cluster.nodes[node].command(&["RPUSH", &format!("{{{}}}", tags[node]), "job"]);
    push(0);
    push(1);
    sidecar.expect_up();
    assert_eq!(figure(&sidecar, "cache_queue_length", ("key", "jobs")), Some(2.0));
    push(2);
    expect(&sidecar, "DEGRADED too_long queue jobs 3 entries (degraded at 3 or more)");
    cluster.nodes[0].command(&["DEL", &format!("{{{}}}", tags[0])]);
    sidecar.expect_up();
}

#[test]
fn a_lock_that_is_held_while_nothing_waits_is_no_standstill() {
    let redis = Redis::start(&[]);
    let settings =
        "keys = { waiting = \"list\", failed = \"dead\" }\nlock = \"lock\"\nlock_within = \"100ms\"";
    let sidecar = beside(&redis, settings);
    redis.command(&["RPUSH", "dead", "job"]);
    redis.command(&["SET", "lock", "holder"]);
    sidecar.expect_up();
    std::thread::sleep(Duration::from_millis(150));
    sidecar.expect_up();
    redis.command(&["RPUSH", "list", "job"]);
    sidecar.expect_up();
    std::thread::sleep(Duration::from_millis(150));
    expect(&sidecar, "DEGRADED locked lock lock held for");
    redis.command(&["DEL", "list"]);
    sidecar.expect_up();
}

#[test]
fn the_queues_of_a_watched_primary_are_its_own() {
    let watched = Watched::start(NEVER, &[]);
    let sidecar = Sidecar::start(main_at(&watched.url(), "keys = [\"celery\"]\nlength = { down = 1 }"));
    sidecar.expect_up();
    watched.primary().command(&["LPUSH", "celery", "job"]);
    expect(&sidecar, "DOWN too_long key celery 1 entry");
    watched.primary().command(&["DEL", "celery"]);
    sidecar.expect_up();
}

#[test]
fn a_killed_server_is_refused_at_both_checks_and_recovers_at_both() {
    let mut redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"celery\"]\nlength = { down = 3 }");
    sidecar.expect_up();
    redis.kill();
    let health = sidecar.health();
    assert_eq!(health.code, 503);
    for name in ["cache.main", CHECK] {
        assert_eq!(health.body["checks"][name], "DOWN", "{:#}", health.body);
        assert_eq!(health.nodes_of(name)[0].2, "refused", "{:#}", health.body);
    }
    redis.restart();
    sidecar.expect_up();
    redis.stop();
    let health = sidecar.health();
    assert_eq!(health.nodes_of(CHECK)[0].2, "timed_out", "{:#}", health.body);
    redis.cont();
    sidecar.expect_up();
}

#[test]
fn a_user_that_may_not_read_is_forbidden() {
    let redis = Redis::start(&[]);
    redis.set_user("canary", "on >secret ~* +@all -zcard");
    redis.command(&["ZADD", "b:p", "1", "member"]);
    let url = format!("redis://canary:secret@{}", redis.addr());
    let sidecar = Sidecar::start(main_at(&url, "keys = [\"b:p\"]\nlength = { down = 3 }"));
    let health = sidecar.health();
    let checks = &health.body["checks"];
    assert_eq!((&checks["cache.main"], &checks[CHECK]), (&"UP".into(), &"DOWN".into()));
    let (cause, words) = health.fault_of(CHECK).unwrap();
    assert_eq!(cause, "forbidden", "{words}");
    assert!(words.contains("zcard"), "{words}");
    redis.set_user("canary", "on >secret ~* +@all");
    sidecar.expect_up();
}

#[test]
fn the_printed_user_is_enough_and_with_a_right_less_it_is_not() {
    const RIGHTS: [&str; 15] = [
        "+type",
        "+exists",
        "+llen",
        "+scard",
        "+hlen",
        "+zcard",
        "+zcount",
        "+zrange",
        "+xlen",
        "+xinfo|groups",
        "+xpending",
        "+xrange",
        "+pttl",
        "~lock",
        "~list",
    ];
    let redis = Redis::start(&[]);
    redis.command(&["RPUSH", "list", "job"]);
    redis.command(&["SADD", "set", "job"]);
    redis.command(&["ZADD", "sorted", &score(NOW), "job"]);
    redis.command(&["ZADD", "later", &score(NOW), "job"]);
    redis.command(&["HSET", "hash", "job", "1"]);
    redis.command(&["XADD", "stream", "*", "job", "1"]);
    redis.command(&["XGROUP", "CREATE", "stream", "mail", "0"]);
    let config = main_at(
        &format!("redis://canary:{PASSWORD}@{}", redis.addr()),
        "keys = [\"set\", \"sorted\", \"stream\", \"hash\"]\nlength = { down = 3 }\nlock = \"lock\"\n\
         witness = [\"list\"]\n\
         [caches.main.checks.queue.queues.jobs]\nkeys = { waiting = \"list\", scheduled = \"later\" }",
    );
    let [user] = printed_users(&config);
    for right in RIGHTS {
        user.give(&redis, &[]);
        Sidecar::start(&config).expect_up();
        user.give(&redis, &[right]);
        let health = Sidecar::start(&config).health();
        assert_eq!(health.body["checks"]["cache.main"], "UP", "{:#}", health.body);
        let cause = health.fault_of(CHECK).map(|(cause, _)| cause);
        assert_eq!(cause.as_deref(), Some("forbidden"), "without {right}: {:#}", health.body);
    }
}
