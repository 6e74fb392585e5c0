//! The clocks of a partitioned log, moved by a producer as Sentry's monitors move theirs: healthy before, the right
//! cause and name at the first request after the fault begins, and healthy again at the first request after it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::acl::{PASSWORD, printed_users};
use crate::support::checks::{expect_found, explained, findings, measure};
use crate::support::cluster::{THIRDS, tag_of};
use crate::support::{Cluster, Health, Redis, Sidecar, eventually};

const CHECK: &str = "cache.main.clock";
const PARTITIONS: u32 = 8;

/// A minute's clocks as milliseconds or seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// Moves clocks as `try_monitor_clock_tick` does (Sentry's `monitors/clock_dispatch.py`): that of a partition to the
/// minute of what was consumed from it, and then the global one to the least of all, if that is later.
struct Producer<'a> {
    /// Those that hold the partitions' clocks and the global one.
    servers: (&'a Redis, &'a Redis),
    keys: (String, String),
    unit: Unit,
    /// The time of minute 0.
    epoch: u64,
}

impl<'a> Producer<'a> {
    fn new(redis: &'a Redis, unit: Unit) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let keys = ("clocks".to_owned(), "global".to_owned());
        Self { servers: (redis, redis), keys, unit, epoch: now / 60 * 60 }
    }

    fn clock(&self, minute: i64) -> String {
        let seconds = self.epoch.strict_add_signed(minute * 60);
        match self.unit {
            Unit::Seconds => seconds,
            Unit::Milliseconds => seconds * 1000,
        }
        .to_string()
    }

    /// A partition gets to this minute.
    fn consume(&self, partition: u32, minute: i64) {
        let (clocks, global) = &self.keys;
        self.servers.0.command(&["ZADD", clocks, &self.clock(minute), &format!("part-{partition}")]);
        let least = self.servers.0.command(&["ZRANGE", clocks, "0", "0", "WITHSCORES"]);
        let least: u64 = least.lines().nth(1).unwrap().parse().unwrap();
        let before = self.servers.1.command(&["GET", global]);
        if before.parse().is_ok_and(|before: u64| before >= least) {
            return;
        }
        self.servers.1.command(&["GETSET", global, &least.to_string()]);
    }

    /// Every partition gets to this minute.
    fn consume_all(&self, minute: i64) {
        for partition in 0..PARTITIONS {
            self.consume(partition, minute);
        }
    }

    /// Sets a partition's clock, and nothing else.
    fn set(&self, partition: u32, minute: i64) {
        let part = format!("part-{partition}");
        self.servers.0.command(&["ZADD", &self.keys.0, &self.clock(minute), &part]);
    }

    /// Sets the global clock.
    fn set_global(&self, minute: i64) {
        self.servers.1.command(&["SET", &self.keys.1, &self.clock(minute)]);
    }

    /// A partition loses its clock.
    fn starve(&self, partition: u32) {
        self.servers.0.command(&["ZREM", &self.keys.0, &format!("part-{partition}")]);
    }

    fn config(&self, url: &str, more: &str) -> String {
        let unit = if self.unit == Unit::Seconds { "s" } else { "ms" };
        let (partitions, global) = &self.keys;
        format!(
            "[caches.main]\nurl = \"{url}\"\n[caches.main.checks.clock]\npartitions = \"{partitions}\"\n\
             global = \"{global}\"\nunit = \"{unit}\"\nresolution = \"1m\"\n{more}"
        )
    }
}

fn url(redis: &Redis) -> String {
    format!("redis://{}", redis.addr())
}

const LIMITS: &str = "expected = 8\nlag = { degraded = \"10m\", down = \"20m\" }\n\
                      skew = { degraded = \"5m\", down = \"30m\" }\ndrought = { degraded = 1, down = 3 }";

#[test]
fn each_fault_is_found_and_named_at_once_and_forgotten_when_it_ends() {
    for unit in [Unit::Seconds, Unit::Milliseconds] {
        let redis = Redis::start(&[]);
        let producer = Producer::new(&redis, unit);
        producer.consume_all(0);
        let sidecar = Sidecar::start(producer.config(&url(&redis), LIMITS));
        let healthy = || drop(expect_found(&sidecar, CHECK, &[]));
        let found = |expected: &[&str]| expect_found(&sidecar, CHECK, expected).join("\n");
        healthy();

        // All but one go on.
        (0..PARTITIONS)
            .filter(|&partition| partition != 3)
            .for_each(|partition| producer.consume(partition, 5));
        let said = found(&["DEGRADED clock_skew partition part-3"]);
        assert!(
            said.contains("5m behind part-7 at ") && said.ends_with("(degraded at 5m or more)"),
            "{said}"
        );
        producer.consume(3, 5);
        healthy();

        producer.set_global(7);
        let said = found(&["DOWN clock_ahead global clock"]);
        let expected = format!("at {}, 2m ahead of ", producer.clock(7));
        assert!(said.starts_with(&expected) && said.contains("part-0 at "), "{said}");
        producer.consume_all(7);
        healthy();

        // The producer of the global clock has stopped. A tick may pass before it follows.
        (0..PARTITIONS).for_each(|partition| producer.set(partition, 8));
        healthy();
        (0..PARTITIONS).for_each(|partition| producer.set(partition, 9));
        let said = found(&["DEGRADED clock_behind global clock"]);
        assert!(said.starts_with(&format!("at {}, 2m behind ", producer.clock(7))), "{said}");
        producer.consume_all(9);
        healthy();
        redis.command(&["DEL", "global"]);
        found(&["DEGRADED clock_behind global clock"]);
        producer.set_global(9);
        healthy();

        producer.starve(5);
        let said = found(&["DEGRADED drought key clocks"]);
        assert!(said.starts_with("7 of 8 partitions have a clock, missing: part-5"), "{said}");
        producer.starve(0);
        producer.starve(6);
        let said = found(&["DOWN drought key clocks"]);
        assert!(said.contains("missing: part-0, part-5, part-6 (down at 3 missing or more)"), "{said}");
        producer.consume_all(9);
        healthy();

        // A partition is replayed: the global clock is ahead of it then.
        producer.set(2, 8);
        let back = ["DOWN clock_ahead global clock", "DEGRADED clock_backwards partition part-2"];
        let said = found(&back);
        assert!(
            said.contains("moved back 1m, from ") && said.ends_with("(degraded at 1m or more)"),
            "{said}"
        );
        found(&back[..1]);
        producer.consume(2, 9);
        healthy();
        // It goes backwards by itself, and stays within a tick of the others.
        producer.set_global(8);
        found(&["DEGRADED clock_backwards global clock"]);
        healthy();
        producer.set_global(9);

        redis.command(&["DEL", "clocks"]);
        redis.command(&["SET", "clocks", "1"]);
        found(&["DOWN wrong_type key clocks"]);
        redis.command(&["DEL", "clocks"]);
        found(&["DOWN drought key clocks"]);
        producer.consume_all(9);
        redis.command(&["SET", "global", "soon"]);
        found(&["DOWN wrong_type key global"]);
        redis.command(&["DEL", "global"]);
        redis.command(&["RPUSH", "global", "1"]);
        found(&["DOWN wrong_type key global"]);
        redis.command(&["DEL", "global"]);
        producer.set_global(9);
        healthy();
    }
}

#[test]
fn clocks_that_fall_behind_the_present_are_found_and_measured() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    let sidecar = Sidecar::start(producer.config(&url(&redis), LIMITS));
    let figures = |health: &Health| {
        ["partitions", "lag_seconds", "skew_seconds", "global_offset_seconds"]
            .map(|name| measure(health, CHECK, &format!("cache_clock_{name}"), None))
    };
    for (minute, expected) in [
        (-20, Some("DOWN clock_lag partition part-0")),
        (-10, Some("DEGRADED clock_lag partition part-0")),
        (-1, None),
        (60, None),
    ] {
        producer.consume_all(minute);
        let expected: Vec<_> = expected.into_iter().collect();
        let health = sidecar.health();
        let found: Vec<_> = findings(&health, CHECK).into_iter().map(|found| found.short).collect();
        assert_eq!(found, expected, "{minute}");
        let [partitions, lag, skew, offset] = figures(&health);
        assert_eq!((partitions, skew, offset), (Some(8.0), Some(0.0), Some(0.0)));
        // The minute is at most one, and the test takes less than another.
        #[allow(clippy::cast_precision_loss, reason = "minutes")]
        let least = (-minute * 60).max(0) as f64;
        let most = if minute > 0 { 0.0 } else { least + 120.0 };
        assert!(lag.is_some_and(|lag| (least..=most).contains(&lag)), "{minute}: {lag:?}");
    }
    producer.consume(1, 62);
    producer.set_global(59);
    let health = sidecar.health();
    assert_eq!(figures(&health), [Some(8.0), Some(0.0), Some(120.0), Some(-60.0)]);
}

#[test]
fn a_partition_that_stands_still_while_others_move_is_named() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    producer.consume_all(0);
    let sidecar = Sidecar::start(producer.config(&url(&redis), "standstill = { degraded = \"300ms\" }"));
    expect_found(&sidecar, CHECK, &[]);
    // While none moves, none falls back.
    thread::sleep(Duration::from_millis(400));
    expect_found(&sidecar, CHECK, &[]);
    let mut minute = 0;
    let began = Instant::now();
    let mut found = Vec::new();
    eventually("the one that stands still is found", || {
        minute += 1;
        (0..PARTITIONS).filter(|&partition| partition != 4).for_each(|one| producer.consume(one, minute));
        found = findings(&sidecar.health(), CHECK);
        !found.is_empty()
    });
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(found[0].short, "DEGRADED standstill partition part-4");
    assert!(found[0].said.ends_with("while others advance (degraded at 300ms or more)"), "{found:?}");
    producer.consume(4, 1);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn a_global_clock_a_tick_behind_is_found_when_it_lasts() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    let config = producer.config(&url(&redis), "").replace("\"1m\"", "\"1s\"");
    producer.consume_all(0);
    redis.command(&["DECR", "global"]);
    let sidecar = Sidecar::start(config);
    let began = Instant::now();
    expect_found(&sidecar, CHECK, &[]);
    eventually("it lasts too long", || !findings(&sidecar.health(), CHECK).is_empty());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let said = expect_found(&sidecar, CHECK, &["DEGRADED clock_behind global clock"]).join("");
    assert!(said.contains("1s behind the slowest partition") && said.contains(", for 1s"), "{said}");
    redis.command(&["INCR", "global"]);
    expect_found(&sidecar, CHECK, &[]);
}

/// Checks while a producer moves the clocks as fast as it can: what it is in the middle of is nobody's fault.
fn hammer(sidecar: &Sidecar, producer: &Producer<'_>) {
    const AT_LEAST: Duration = Duration::from_secs(3);
    let (done, minutes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut of_partitions, mut of_global) =
                (producer.servers.0.client(), producer.servers.1.client());
            let (clocks, global) = &producer.keys;
            let names: Vec<_> = (0..PARTITIONS).map(|partition| format!("part-{partition}")).collect();
            let mut minute = 2;
            while !done.load(Ordering::Relaxed) {
                let clock = producer.clock(minute);
                let clocks = names.iter().fold(vec!["ZADD", clocks], |mut command, name| {
                    command.extend([clock.as_str(), name]);
                    command
                });
                of_partitions.ask(&clocks).unwrap();
                of_global.ask(&["SET", global, &clock]).unwrap();
                minute += 1;
                minutes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let began = Instant::now();
        let mut checks = 0;
        let mut outage = None;
        let enough =
            |checks| checks >= 50 && began.elapsed() >= AT_LEAST && minutes.load(Ordering::Relaxed) >= 1000;
        while outage.is_none() && !enough(checks) {
            let health = sidecar.health();
            checks += 1;
            outage = (health.body["status"] != "UP").then_some(health);
        }
        done.store(true, Ordering::Relaxed);
        if let Some(health) = outage {
            panic!("after {checks} checks: {:#}", health.body);
        }
    });
}

#[test]
fn a_producer_at_full_speed_is_never_ahead() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    producer.consume_all(0);
    let sidecar = Sidecar::start(producer.config(&url(&redis), LIMITS));
    hammer(&sidecar, &producer);
}

#[test]
fn in_a_cluster_the_keys_may_be_on_two_primaries() {
    let mut cluster = Cluster::start_without_replicas(&[]);
    let key = |name: &str, node: usize| format!("{name}{{{}}}", tag_of(THIRDS[node].0));
    for (of_partitions, of_global) in [(0, 1), (2, 0), (1, 1)] {
        let servers = (&cluster.nodes[of_partitions], &cluster.nodes[of_global]);
        let keys = (key("clocks", of_partitions), key("global", of_global));
        let mut producer = Producer::new(servers.0, Unit::Seconds);
        (producer.servers, producer.keys) = (servers, keys);
        producer.consume_all(0);
        producer.set_global(0);
        let sidecar = Sidecar::start(producer.config(&cluster.url(), LIMITS));
        expect_found(&sidecar, CHECK, &[]);
        producer.set_global(1);
        expect_found(&sidecar, CHECK, &["DOWN clock_ahead global clock"]);
        producer.consume_all(1);
        expect_found(&sidecar, CHECK, &[]);
        hammer(&sidecar, &producer);
    }

    // Each key on its way to the third primary: asked where ASK sends to.
    let keys = (key("clocks", 0), key("global", 1));
    let mut producer = Producer::new(&cluster.nodes[0], Unit::Seconds);
    (producer.servers, producer.keys) = ((&cluster.nodes[0], &cluster.nodes[1]), keys.clone());
    let sidecar = Sidecar::start(producer.config(&cluster.url(), LIMITS));
    producer.consume_all(0);
    producer.set_global(0);
    expect_found(&sidecar, CHECK, &[]);
    for from in [0, 1] {
        let slot = THIRDS[from].0;
        cluster.begin_to_move(slot, from, 2);
        expect_found(&sidecar, CHECK, &[]);
        cluster.move_keys(slot, from, 2);
        expect_found(&sidecar, CHECK, &[]);
        cluster.hand_over(slot, from, 2);
        expect_found(&sidecar, CHECK, &[]);
    }
    cluster.nodes[2].command(&["SET", &keys.1, &(producer.epoch + 60).to_string()]);
    expect_found(&sidecar, CHECK, &["DOWN clock_ahead global clock"]);
    cluster.nodes[2].command(&["SET", &keys.1, &producer.epoch.to_string()]);
    expect_found(&sidecar, CHECK, &["DEGRADED clock_backwards global clock"]);
    expect_found(&sidecar, CHECK, &[]);

    // If the holder of the global clock is gone, no check waits for it.
    cluster.move_slots([THIRDS[0].0], 2, 0);
    expect_found(&sidecar, CHECK, &[]);
    let killed = cluster.addr(2).to_string();
    cluster.nodes[2].kill();
    let health = sidecar.health();
    let mut nodes = health.nodes_of(CHECK);
    nodes.retain(|(_, _, cause)| !cause.is_empty());
    let [(_, node, cause)] = &nodes[..] else { panic!("{:#}", health.body) };
    assert_eq!((node, &**cause), (&killed, "refused"));
}

#[test]
fn the_printed_user_is_enough_and_with_a_right_less_it_is_not() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    producer.consume_all(0);
    let url = format!("redis://canary:{PASSWORD}@{}", redis.addr());
    let config = producer.config(&url, LIMITS);
    let [user] = printed_users(&config);
    user.give(&redis, &[]);
    let sidecar = Sidecar::start(&config);
    expect_found(&sidecar, CHECK, &[]);
    for right in ["+zcard", "+zrange", "~clocks", "~global"] {
        user.give(&redis, &[right]);
        let said = sidecar.expect_down("forbidden");
        assert!(said.contains("NOPERM"), "{right}: {said}");
        user.give(&redis, &[]);
        expect_found(&sidecar, CHECK, &[]);
    }
}

#[test]
fn a_server_that_is_gone_or_hangs_is_its_fault_and_no_clocks() {
    let mut redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    producer.consume_all(0);
    let config = producer.config(&url(&redis), LIMITS);
    drop(producer);
    let sidecar = Sidecar::start(config);
    expect_found(&sidecar, CHECK, &[]);
    redis.stop();
    sidecar.expect_down("timed_out");
    redis.cont();
    expect_found(&sidecar, CHECK, &[]);
    redis.kill();
    sidecar.expect_down("refused");
    redis.restart();
    expect_found(&sidecar, CHECK, &["DOWN drought key clocks"]);
    Producer::new(&redis, Unit::Seconds).consume_all(0);
    expect_found(&sidecar, CHECK, &[]);
}

#[test]
fn of_very_many_partitions_the_least_and_the_most_are_read_in_either_protocol() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    let fill = "for i = 0, 10050 do redis.call('ZADD', KEYS[1], ARGV[1], 'part-' .. i) end";
    redis.command(&["EVAL", fill, "1", "clocks", &producer.clock(0)]);
    producer.consume(3, 0);
    for protocol in [2, 3] {
        let config = producer.config(&format!("{}?protocol={protocol}", url(&redis)), LIMITS);
        let sidecar = Sidecar::start(config);
        expect_found(&sidecar, CHECK, &[]);
        // It is none of the least ten thousand.
        producer.consume(7, 6);
        let said = expect_found(&sidecar, CHECK, &["DEGRADED clock_skew partition part-0"]).join("");
        assert!(said.contains("6m behind part-7"), "{said}");
        let health = sidecar.health();
        assert_eq!(measure(&health, CHECK, "cache_clock_partitions", None), Some(10_051.0));
        producer.set(7, 0);
        expect_found(&sidecar, CHECK, &["DEGRADED clock_backwards partition part-7"]);
        expect_found(&sidecar, CHECK, &[]);
    }
}

#[tokio::test]
async fn each_command_is_explained_with_the_expected_and_the_seen_value() {
    let redis = Redis::start(&[]);
    let producer = Producer::new(&redis, Unit::Seconds);
    producer.consume_all(0);
    producer.consume(3, 1);
    let (now, later) = (producer.clock(0), producer.clock(1));
    let limits = "lag: less than 10m (degraded) and 20m (down), skew: less than 5m (degraded) and 30m \
                  (down)";
    let expected = [
        "HELLO 2 | what the server is | 14 elements".to_owned(),
        format!("GET global | the slowest partition's clock | {now}"),
        "ZCARD clocks | 8 | 8".to_owned(),
        format!("ZRANGE clocks 0 9999 WITHSCORES | {limits} | part-0 at {now}"),
        format!("ZRANGE clocks -1 -1 WITHSCORES | {limits} | part-3 at {later}"),
    ];
    assert_eq!(explained(&producer.config(&url(&redis), LIMITS)).await, expected);
}
