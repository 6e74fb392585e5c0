//! Queues in a real Redis that are filled, starved, skewed, locked and drained: the right cause and name at the
//! first request after, and up at the first request after they are drained.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

mod servers;
mod states;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::checks::{find, measure};
use crate::support::{Redis, Relay, Sidecar, run};
use crc::{CRC_32_ISO_HDLC, Crc};

const CHECK: &str = "cache.main.queue";
const MINUTE: Duration = Duration::from_mins(1);
const NOW: Duration = Duration::ZERO;

/// The configuration of one cache whose queues are looked at in this way.
fn main_at(url: &str, queue: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"\n\n[caches.main.checks.queue]\n{queue}")
}

fn beside(redis: &Redis, queue: &str) -> Sidecar {
    Sidecar::start(main_at(&format!("redis://{}", redis.addr()), queue))
}

/// The time so long ago, counted from 1970.
fn time(ago: Duration) -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().checked_sub(ago).unwrap()
}

fn score(ago: Duration) -> String {
    time(ago).as_secs_f64().to_string()
}

fn milliseconds(ago: Duration) -> u128 {
    time(ago).as_millis()
}

/// A producer and consumer of Sentry's kind: what is buffered is a member of one of the partitions, by its checksum,
/// and scored by the time.
struct Buffer<'a> {
    redis: &'a Redis,
    partitions: u32,
}

impl Buffer<'_> {
    const KEYS: &'static str = "keys = [\"b:p\", \"b:p:{0..15}\"]";

    fn new(redis: &Redis) -> Buffer<'_> {
        Buffer { redis, partitions: 16 }
    }

    fn partition(&self, member: &str) -> String {
        let checksum = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(member.as_bytes());
        format!("b:p:{}", checksum % self.partitions)
    }

    /// Adds so many members, each to the partition that it belongs to.
    fn fill(&self, members: usize, ago: Duration) {
        let mut client = self.redis.client();
        for member in 0..members {
            let member = format!("b:k:model:{member}");
            client.ask(&["ZADD", &self.partition(&member), &score(ago), &member]).unwrap();
        }
    }

    /// Adds so many members to one partition, as if all belonged there.
    fn fill_one(&self, partition: &str, members: usize, ago: Duration) {
        let mut client = self.redis.client();
        for member in 0..members {
            client.ask(&["ZADD", partition, &score(ago), &format!("b:k:hot:{member}")]).unwrap();
        }
    }

    /// Takes everything out, but of the partition that is starved.
    fn drain_all_but(&self, starved: &str) {
        for key in (0..self.partitions).map(|number| format!("b:p:{number}")).chain(["b:p".to_owned()]) {
            if key != starved {
                self.redis.command(&["ZREMRANGEBYRANK", &key, "0", "-1"]);
            }
        }
    }

    fn drain(&self) {
        self.drain_all_but("");
    }
}

/// Wants one finding, which begins like this.
fn expect(sidecar: &Sidecar, beginning: &str) {
    let found = find(sidecar, CHECK);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].line().starts_with(beginning), "{found:#?}");
}

/// The figure of this name and label.
fn figure(sidecar: &Sidecar, name: &str, label: (&str, &str)) -> Option<f64> {
    measure(&sidecar.health(), CHECK, name, Some(label))
}

/// Settings of the queue `jobs`.
fn jobs(settings: &str) -> String {
    format!("[caches.main.checks.queue.queues.jobs]\n{settings}")
}

#[test]
fn a_partitioned_buffer_that_is_drained_is_up_and_one_that_is_not_is_named() {
    let redis = Redis::start(&[]);
    let buffer = Buffer::new(&redis);
    let settings = format!(
        "{}\nlength = {{ degraded = 100, down = 200 }}\nage = {{ degraded = \"1m\", down = \"5m\" }}",
        Buffer::KEYS
    );
    let sidecar = beside(&redis, &settings);
    sidecar.expect_up();
    buffer.fill(320, NOW);
    sidecar.expect_up();

    // Only what drains this partition has stopped.
    buffer.drain();
    buffer.fill(64, MINUTE * 2);
    let starved = buffer.partition("b:k:model:0");
    buffer.drain_all_but(&starved);
    expect(&sidecar, &format!("DEGRADED too_old key {starved} the oldest entry has waited 2m"));
    redis.command(&["ZADD", &starved, &score(MINUTE * 6), "b:k:older"]);
    expect(&sidecar, &format!("DOWN too_old key {starved} the oldest entry has waited 6m"));
    buffer.drain();
    sidecar.expect_up();

    buffer.fill_one("b:p:7", 100, NOW);
    expect(&sidecar, "DEGRADED too_long key b:p:7 100 entries (degraded at 100 or more)");
    buffer.fill_one("b:p:7", 201, NOW);
    expect(&sidecar, "DOWN too_long key b:p:7 201 entries (down at 200 or more)");
    buffer.drain();
    sidecar.expect_up();
}

#[test]
fn one_check_of_an_alias_can_be_asked_for_by_itself() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"jobs\"]\nlength = { down = 1 }");
    redis.command(&["RPUSH", "jobs", "one"]);
    for (path, code, checks) in [
        ("/health/main", 503, vec!["cache.main", "cache.main.queue"]),
        ("/health/main.queue", 503, vec!["cache.main.queue"]),
        ("/health/main.round_trip", 200, vec!["cache.main"]),
        ("/health/main.clock", 404, vec![]),
    ] {
        let health = sidecar.get(path);
        let named = health.body["checks"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        assert_eq!((health.code, named.collect::<Vec<_>>()), (code, checks), "{path}");
    }
}

#[test]
fn the_remainder_of_before_there_were_partitions_is_a_queue_too() {
    let redis = Redis::start(&[]);
    let buffer = Buffer::new(&redis);
    let sidecar = beside(&redis, &format!("{}\nage = {{ down = \"5m\" }}", Buffer::KEYS));
    buffer.fill(64, NOW);
    sidecar.expect_up();
    // Those that had not heard of partitions wrote there, and since they have nobody drains it.
    redis.command(&["ZADD", "b:p", &score(MINUTE * 6), "b:k:left"]);
    expect(&sidecar, "DOWN too_old key b:p the oldest entry has waited 6m");
    buffer.drain();
    sidecar.expect_up();
}

#[test]
fn a_partition_out_of_proportion_to_its_siblings_is_skewed() {
    let redis = Redis::start(&[]);
    let buffer = Buffer::new(&redis);
    let sidecar = beside(&redis, &format!("{}\nskew = {{ degraded = 10, floor = 50 }}", Buffer::KEYS));
    buffer.fill(160, NOW);
    sidecar.expect_up();
    // A queue without partitions has no siblings.
    buffer.fill_one("b:p", 1_000, NOW);
    sidecar.expect_up();
    buffer.fill_one("b:p:3", 1_000, NOW);
    expect(&sidecar, "DEGRADED skewed key b:p:3 10");
    buffer.drain();
    buffer.fill_one("b:p:3", 49, NOW);
    sidecar.expect_up();
    buffer.fill_one("b:p:3", 50, NOW);
    expect(&sidecar, "DEGRADED skewed key b:p:3 50 entries, 50 times the median (0) of its 15 siblings");
    buffer.drain();
    sidecar.expect_up();
}

#[test]
fn lists_as_celery_has_them_are_judged_by_length() {
    let redis = Redis::start(&[]);
    let keys = r#"keys = ["celery", "celery\u0006\u00163"]"#;
    let sidecar =
        beside(&redis, &format!("{keys}\nlength = {{ degraded = 3, down = 5 }}\nage = {{ down = \"1ms\" }}"));
    sidecar.expect_up();
    let push = |key: &str| redis.command(&["LPUSH", key, r#"{"body": "W1tdLCB7fV0="}"#]);
    push("celery");
    push("celery");
    sidecar.expect_up();
    push("celery");
    expect(&sidecar, "DEGRADED too_long key celery 3 entries");
    for _ in 0..5 {
        push("celery\x06\x163");
    }
    let found = find(&sidecar, CHECK);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].line().starts_with("DOWN too_long key celery\u{fffd}\u{fffd}3 5 entries"), "{found:?}");
    redis.command(&["DEL", "celery\x06\x163"]);
    redis.command(&["BRPOP", "celery", "1"]);
    sidecar.expect_up();
}

#[test]
fn sets_are_judged_by_length() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"jobs\"]\nlength = { down = 3 }");
    redis.command(&["SADD", "jobs", "a", "b"]);
    sidecar.expect_up();
    redis.command(&["SADD", "jobs", "c"]);
    expect(&sidecar, "DOWN too_long key jobs 3 entries");
    redis.command(&["SPOP", "jobs"]);
    sidecar.expect_up();
}

#[test]
fn scores_may_be_milliseconds_or_no_times_at_all() {
    let redis = Redis::start(&[]);
    let settings = "keys = [\"scheduled\"]\nage = { down = \"5m\" }\nunit = \"ms\"";
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://{}", redis.addr());
        let cache = format!("[caches.main]\nurl = \"{url}\"\nprotocol = \"{protocol}\"\n");
        let sidecar = Sidecar::start(format!("{cache}[caches.main.checks.queue]\n{settings}"));
        redis.command(&["ZADD", "scheduled", &milliseconds(MINUTE).to_string(), "job"]);
        sidecar.expect_up();
        redis.command(&["ZADD", "scheduled", &milliseconds(MINUTE * 6).to_string(), "job"]);
        expect(&sidecar, "DOWN too_old key scheduled the oldest entry has waited 6m");
        // A priority.
        redis.command(&["ZADD", "scheduled", "5", "job"]);
        sidecar.expect_up();
        assert_eq!(figure(&sidecar, "cache_queue_length", ("key", "scheduled")), Some(1.0));
        assert_eq!(figure(&sidecar, "cache_queue_oldest_age_seconds", ("key", "scheduled")), None);
    }
}

#[test]
fn a_stream_whose_consumer_stops_is_found_by_its_group_and_acknowledged_entries_do_not_count() {
    for protocol in ["resp2", "resp3"] {
        let redis = Redis::start(&[]);
        let url = format!("redis://{}", redis.addr());
        let settings = "keys = [\"jobs\"]\nlength = { degraded = 4, down = 6 }\nage = { down = \"5m\" }";
        let cache = format!("[caches.main]\nurl = \"{url}\"\nprotocol = \"{protocol}\"\n");
        let sidecar = Sidecar::start(format!("{cache}[caches.main.checks.queue]\n{settings}"));
        sidecar.expect_up();
        let base = milliseconds(MINUTE * 6);
        let mut last = 0;
        let mut add = |entries: usize, ago: Duration| {
            for _ in 0..entries {
                last += 1;
                let id = format!("{}-{last}", milliseconds(ago));
                redis.command(&["XADD", "jobs", &id, "job", "1"]);
            }
        };
        let read = |group: &str, count: &str| {
            redis.command(&["XREADGROUP", "GROUP", group, "worker", "COUNT", count, "STREAMS", "jobs", ">"]);
        };
        let acknowledge = |group: &str| {
            let ids = redis.command(&["XRANGE", "jobs", "-", "+"]);
            let ids = ids.lines().filter(|line| line.contains('-'));
            for id in ids {
                redis.command(&["XACK", "jobs", group, id]);
            }
        };
        for group in ["mail", "search"] {
            redis.command(&["XGROUP", "CREATE", "jobs", group, "0", "MKSTREAM"]);
        }
        // Long ago, and all acknowledged.
        add(3, MINUTE * 10);
        for group in ["mail", "search"] {
            read(group, "10");
            acknowledge(group);
        }
        for _ in 0..3 {
            add(3, NOW);
            for group in ["mail", "search"] {
                read(group, "10");
                acknowledge(group);
            }
            sidecar.expect_up();
        }
        assert_eq!(figure(&sidecar, "cache_queue_length", ("key", "jobs")), Some(0.0));
        assert_eq!(figure(&sidecar, "cache_queue_oldest_age_seconds", ("key", "jobs")), None);

        // It takes two and acknowledges none, and then it takes no more.
        add(2, NOW);
        read("mail", "10");
        read("search", "1");
        acknowledge("mail");
        sidecar.expect_up();
        add(2, NOW);
        read("mail", "10");
        acknowledge("mail");
        expect(&sidecar, "DEGRADED too_long key jobs 4 entries that group search has not acknowledged");
        add(2, NOW);
        acknowledge("mail");
        expect(&sidecar, "DOWN too_long key jobs 6 entries that group search has not acknowledged");
        read("search", "10");
        read("mail", "10");
        for group in ["mail", "search"] {
            acknowledge(group);
        }
        sidecar.expect_up();

        // A new stream, of which the first is given away and then nothing happens.
        redis.command(&["DEL", "jobs"]);
        sidecar.expect_up();
        redis.command(&["XADD", "jobs", &format!("{base}-1"), "job", "1"]);
        expect(&sidecar, "DOWN too_old key jobs the oldest entry has waited 6m");
        redis.command(&["XGROUP", "CREATE", "jobs", "mail", "0"]);
        expect(&sidecar, "DOWN too_old key jobs the oldest entry that group mail has not acknowledged");
        read("mail", "10");
        expect(&sidecar, "DOWN too_old key jobs the oldest entry that group mail has not acknowledged");
        acknowledge("mail");
        sidecar.expect_up();
        redis.command(&["XGROUP", "DESTROY", "jobs", "mail"]);
        expect(&sidecar, "DOWN too_old key jobs the oldest entry has waited 6m");
    }
}

#[test]
fn a_stream_of_which_entries_were_deleted_has_no_more_than_are_in_it() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"jobs\"]\nlength = { down = 3 }");
    redis.command(&["XGROUP", "CREATE", "jobs", "mail", "0", "MKSTREAM"]);
    for number in 1..=6 {
        redis.command(&["XADD", "jobs", &format!("{}-{number}", milliseconds(NOW)), "job", "1"]);
    }
    let ids = redis.command(&["XRANGE", "jobs", "-", "+"]);
    let ids: Vec<_> = ids.lines().filter(|line| line.contains('-')).collect();
    redis.command(&["XDEL", "jobs", ids[1], ids[3], ids[4]]);
    let groups = redis.command(&["XINFO", "GROUPS", "jobs"]);
    assert!(groups.ends_with("(nil)"), "the lag is told: {groups}");
    expect(&sidecar, "DOWN too_long key jobs at most 3 entries that group mail has not acknowledged");
    redis.command(&["XREADGROUP", "GROUP", "mail", "worker", "NOACK", "STREAMS", "jobs", ">"]);
    sidecar.expect_up();
}

#[test]
fn a_key_of_another_type_is_named_also_when_it_becomes_that_later() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"one\", \"two\"]\nlength = { down = 3 }");
    redis.command(&["SET", "one", "value"]);
    expect(&sidecar, "DOWN wrong_type key one the value has type string");
    redis.command(&["DEL", "one"]);
    sidecar.expect_up();
    redis.command(&["RPUSH", "two", "job"]);
    sidecar.expect_up();
    redis.command(&["DEL", "two"]);
    redis.command(&["SET", "two", "value"]);
    expect(&sidecar, "DOWN wrong_type key two the value has type string");
    // From one type that is a queue to another, and the last in two steps.
    for (command, count) in [("ZADD", 3), ("RPUSH", 3), ("SADD", 3), ("HSET", 3)] {
        redis.command(&["DEL", "two"]);
        for number in ["1", "2", "3"] {
            let member = format!("job {number}");
            let words = if command == "ZADD" || command == "HSET" {
                vec![command, "two", number, &member]
            } else {
                vec![command, "two", &member]
            };
            redis.command(&words);
        }
        expect(&sidecar, &format!("DOWN too_long key two {count} entries"));
    }
    redis.command(&["DEL", "two"]);
    redis.command(&["XADD", "two", "*", "job", "1"]);
    redis.command(&["XGROUP", "CREATE", "two", "mail", "0"]);
    sidecar.expect_up();
    assert_eq!(figure(&sidecar, "cache_queue_length", ("key", "two")), Some(1.0));
}

#[test]
fn each_family_has_a_unit_and_limits_of_its_own() {
    let redis = Redis::start(&[]);
    let settings = "keys = [\"plain\"]\nlength = { down = 2 }\nage = { down = \"5m\" }\n\
                    [caches.main.checks.queue.queues.more]\nkeys = [\"fine:{0..1}\"]\nunit = \"ms\"\n\
                    length = { degraded = 3 }\nage = { degraded = \"1m\" }";
    let sidecar = beside(&redis, settings);
    sidecar.expect_up();
    redis.command(&["ZADD", "plain", &score(MINUTE * 2), "a"]);
    redis.command(&[
        "ZADD",
        "fine:0",
        &milliseconds(NOW).to_string(),
        "a",
        &milliseconds(NOW).to_string(),
        "b",
    ]);
    sidecar.expect_up();
    redis.command(&["ZADD", "fine:1", &milliseconds(MINUTE * 2).to_string(), "a"]);
    expect(&sidecar, "DEGRADED too_old key fine:1 the oldest entry has waited 2m");
    redis.command(&["DEL", "fine:1"]);
    redis.command(&["ZADD", "plain", &score(NOW), "b"]);
    expect(&sidecar, "DOWN too_long key plain 2 entries (down at 2 or more)");
    redis.command(&["DEL", "plain"]);
    sidecar.expect_up();
}

#[test]
fn a_lock_that_is_held_while_nothing_is_drained_is_reported() {
    let redis = Redis::start(&[]);
    let buffer = Buffer::new(&redis);
    let within = Duration::from_millis(300);
    let settings = format!("{}\nlock = \"l:b:p\"\nlock_within = \"300ms\"", Buffer::KEYS);
    let sidecar = beside(&redis, &settings);
    buffer.fill(64, NOW);
    sidecar.expect_up();
    assert_eq!(figure(&sidecar, "cache_queue_lock_held", ("lock", "l:b:p")), Some(0.0));
    redis.command(&["SET", "l:b:p", "holder", "EX", "599"]);
    sidecar.expect_up();
    assert_eq!(figure(&sidecar, "cache_queue_lock_held", ("lock", "l:b:p")), Some(1.0));
    // Its holder drains.
    for partition in 0..3 {
        std::thread::sleep(within);
        redis.command(&["ZPOPMIN", &format!("b:p:{partition}")]);
        sidecar.expect_up();
    }
    // And now it hangs, while others go on to fill.
    std::thread::sleep(within);
    buffer.fill_one("b:p:3", 1, NOW);
    let found = find(&sidecar, CHECK);
    assert!(found[0].line().starts_with("DEGRADED locked lock l:b:p held for "), "{found:?}");
    assert!(found[0].said.contains(" while nothing was drained; expires in 9m "), "{found:?}");
    redis.command(&["PERSIST", "l:b:p"]);
    let found = find(&sidecar, CHECK);
    assert!(found[0].said.ends_with("; never expires"), "{found:?}");
    // Another takes over.
    redis.command(&["DEL", "l:b:p"]);
    sidecar.expect_up();
    redis.command(&["SET", "l:b:p", "holder"]);
    sidecar.expect_up();
    buffer.drain();
    sidecar.expect_up();
    // With nothing to do it may be held for ever.
    std::thread::sleep(within);
    sidecar.expect_up();
}

#[test]
fn every_other_finding_mentions_the_held_lock() {
    let redis = Redis::start(&[]);
    let buffer = Buffer::new(&redis);
    let settings = format!("{}\nlock = \"l:b:p\"\nage = {{ degraded = \"1m\" }}", Buffer::KEYS);
    let sidecar = beside(&redis, &settings);
    buffer.fill_one("b:p:5", 3, MINUTE * 2);
    assert!(!find(&sidecar, CHECK)[0].line().contains("lock"));
    redis.command(&["SET", "l:b:p", "holder", "EX", "599"]);
    let found = find(&sidecar, CHECK);
    assert!(found[0].said.contains(" or more); the lock l:b:p is held and expires in 9m "), "{found:?}");
}

#[test]
fn a_large_entry_at_the_head_is_no_fault() {
    let redis = Redis::start(&[]);
    let sidecar = beside(&redis, "keys = [\"jobs\", \"scheduled\"]\nlength = { down = 3 }");
    let large = "x".repeat(400_000);
    redis.command(&["XADD", "jobs", "*", "job", &large]);
    redis.command(&["ZADD", "scheduled", "1", &large]);
    for _ in 0..2 {
        sidecar.expect_up();
    }
}

/// Calls of each command, by the server's own count.
fn calls(redis: &Redis) -> Vec<(String, u64)> {
    let stats = redis.command(&["INFO", "commandstats"]);
    let call = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().unwrap()))
    };
    stats.lines().filter_map(call).collect()
}

#[test]
fn a_thousand_partitions_are_asked_in_one_round_trip() {
    const PARTITIONS: u32 = 1_000;
    let redis = Redis::start(&[]);
    let buffer = Buffer { redis: &redis, partitions: PARTITIONS };
    buffer.fill(10_000, NOW);
    // Once it is set, no answer is let through before so many bytes were asked.
    let (asked, wanted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asking, waiting) = (asked.clone(), (asked.clone(), wanted.clone()));
    let relay = Relay::start_lying(
        redis.addr(),
        move |piece| {
            asking.fetch_add(piece.len(), Ordering::SeqCst);
            true
        },
        move |answer| {
            let (asked, wanted) = &waiting;
            while asked.load(Ordering::SeqCst) < wanted.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Some(answer.to_vec())
        },
    );
    let config = format!(
        "[caches.main]\nurl = \"redis://{}\"\n[caches.main.checks.queue]\nkeys = [\"b:p:{{0..{}}}\"]\n\
         length = {{ down = 1000 }}\nlock = \"l:b:p\"",
        relay.addr(),
        PARTITIONS - 1
    );
    let sidecar = Sidecar::start_with("reconnect_every = \"1h\"", config);
    sidecar.expect_up();
    sidecar.expect_up();
    let before = asked.load(Ordering::SeqCst);
    redis.command(&["CONFIG", "RESETSTAT"]);
    sidecar.expect_up();
    let mut of_a_look = calls(&redis);
    of_a_look.retain(|(name, _)| !["auth", "config|resetstat", "info"].contains(&name.as_str()));
    of_a_look.sort();
    let own = [("get", 1), ("pttl", 1), ("set", 1), ("zcard", 1_000), ("zrange", 1_000)];
    assert_eq!(of_a_look, own.map(|(name, calls)| (name.to_owned(), calls)));
    let bytes = asked.load(Ordering::SeqCst) - before;
    // The canary's read waits for its write to be answered, but its bytes are few beside those of the queue.
    wanted.store(before + bytes + bytes * 9 / 10, Ordering::SeqCst);
    sidecar.expect_up();
    assert!(bytes > 1_000 * "ZCARDb:p:1".len(), "{bytes}");
}

#[test]
fn a_queue_check_is_an_entry_of_its_own_in_every_format() {
    let redis = Redis::start(&[]);
    let config = main_at(&format!("redis://{}", redis.addr()), "keys = [\"celery\"]\nlength = { down = 1 }");
    let sidecar = Sidecar::start(&config);
    let up = sidecar.raw("/health/main");
    assert!(up.contains(r#""cache.main":"UP""#) && up.contains(r#""cache.main.queue":"UP""#), "{up}");
    redis.command(&["LPUSH", "celery", "job"]);
    let json = sidecar.get("/health/main").body;
    assert_eq!(json["checks"]["cache.main"], "UP");
    assert_eq!(json["checks"][CHECK], "DOWN");
    let error = json["errors"][CHECK].as_str().unwrap();
    assert!(error.starts_with("too_long: key celery: 1 entry"), "{error}");
    let text = sidecar.raw("/health?format=text");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("main")).collect();
    assert!(
        lines[0].contains("UP") && lines[1].starts_with("main.queue") && lines[1].contains("DOWN"),
        "{text}"
    );
    let ready = sidecar.raw("/readyz?verbose");
    assert!(ready.contains("[+]cache.main ok\n") && ready.contains("[-]cache.main.queue failed"), "{ready}");

    let output = run(&["check"], &config);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{table}");
    let line = table.lines().find(|line| line.starts_with("main.queue")).unwrap();
    assert!(line.contains("too_long key celery"), "{table}");
}
