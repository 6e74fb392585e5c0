//! Queues with keys for each state: what waits, what was taken, and what is scheduled, failed or lost.

use std::time::Duration;

use super::{CHECK, MINUTE, NOW, beside, expect, figure, jobs, main_at, score, time};
use crate::support::checks::measure;
use crate::support::{Redis, Sidecar};

/// The numbers of the queue `jobs`: waiting, taken, scheduled, failed, lost.
fn numbers(sidecar: &Sidecar) -> [Option<f64>; 5] {
    let health = sidecar.health();
    ["length", "taken", "scheduled", "failed", "lost"]
        .map(|name| measure(&health, CHECK, &format!("cache_queue_{name}"), Some(("key", "jobs"))))
}

#[test]
fn the_keys_of_a_queue_are_summed_by_state() {
    let redis = Redis::start(&[]);
    let keys = r#"keys = { waiting = ["a", "b:{0..1}"], taken = ["set", "hash"], failed = "dead" }"#;
    let limits = "length = { degraded = 4 }\ntaken = { degraded = 4 }\nfailed = { degraded = 2, down = 3 }";
    let sidecar = beside(&redis, &jobs(&format!("{keys}\n{limits}")));
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(0.0), Some(0.0), None, Some(0.0), None]);
    for command in [
        ["RPUSH", "a", "1", "2"],
        ["ZADD", "b:1", "5", "3"],
        ["SADD", "set", "4", "5"],
        ["HSET", "hash", "6", "7"],
        ["SADD", "dead", "8", "8"],
    ] {
        redis.command(&command);
    }
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(3.0), Some(3.0), None, Some(1.0), None]);
    redis.command(&["RPUSH", "b:0", "9"]);
    expect(&sidecar, "DEGRADED too_long queue jobs 4 entries (degraded at 4 or more)");
    redis.command(&["LPOP", "a"]);
    redis.command(&["HSET", "hash", "10", "11"]);
    expect(&sidecar, "DEGRADED too_long queue jobs 4 taken entries (degraded at 4 or more)");
    redis.command(&["DEL", "set"]);
    redis.command(&["SADD", "dead", "12"]);
    expect(&sidecar, "DEGRADED failed_entries queue jobs 2 failed entries (degraded at 2 or more)");
    redis.command(&["SADD", "dead", "13"]);
    expect(&sidecar, "DOWN failed_entries queue jobs 3 failed entries (down at 3 or more)");
    redis.command(&["DEL", "dead"]);
    sidecar.expect_up();
    // A sum with an unknown part is none.
    redis.command(&["SET", "dead", "value"]);
    expect(&sidecar, "DOWN wrong_type key dead the value has type string");
    assert!(!sidecar.health().body.to_string().contains("cache_queue_length"));
}

#[test]
fn a_scheduled_entry_waits_from_the_time_when_it_is_due() {
    let redis = Redis::start(&[]);
    for (unit, of) in [("s", 1), ("ms", 1_000)] {
        let limits = "age = { degraded = \"5m\" }\nscheduled = { degraded = 3 }";
        let settings =
            format!("keys.scheduled = \"later\"\nkeys.waiting = \"now\"\nunit = \"{unit}\"\n{limits}");
        let sidecar = beside(&redis, &jobs(&settings));
        let add = |member: &str, time: Duration| {
            redis.command(&["ZADD", "later", &(time.as_secs() * of).to_string(), member]);
        };
        add("tomorrow", time(NOW) + Duration::from_hours(24));
        add("next", time(NOW) + MINUTE);
        // saq's mark of one that is not for later.
        redis.command(&["ZADD", "later", "0", "zero"]);
        sidecar.expect_up();
        assert_eq!(numbers(&sidecar), [Some(0.0), None, Some(2.0), None, None]);
        assert_eq!(figure(&sidecar, "cache_queue_oldest_age_seconds", ("key", "jobs")), None);
        redis.command(&["ZREM", "later", "zero"]);
        add("due", time(MINUTE));
        sidecar.expect_up();
        assert_eq!(numbers(&sidecar), [Some(1.0), None, Some(2.0), None, None]);
        add("due", time(MINUTE * 6));
        expect(&sidecar, "DEGRADED too_old queue jobs the oldest entry has waited 6m");
        add("due", time(NOW) + MINUTE);
        expect(&sidecar, "DEGRADED too_long queue jobs 3 scheduled entries");
        redis.command(&["DEL", "later"]);
        sidecar.expect_up();
    }
    let sidecar = beside(&redis, &jobs("keys.scheduled = \"later\"\nunit = \"none\""));
    redis.command(&["ZADD", "later", "1", "a", "7356372133244928", "b"]);
    assert_eq!(numbers(&sidecar), [None, None, Some(2.0), None, None]);
}

#[test]
fn entries_that_were_taken_too_long_ago_are_lost() {
    let redis = Redis::start(&[]);
    let keys = "keys = { waiting = \"list\", taken = \"taken\" }";
    let sidecar = beside(
        &redis,
        &jobs(&format!("{keys}\nvisibility_timeout = \"1h\"\nlost = {{ degraded = 1, down = 2 }}")),
    );
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(0.0), Some(0.0), None, None, Some(0.0)]);
    let take = |member: &str, ago| redis.command(&["ZADD", "taken", &score(ago), member]);
    take("new", MINUTE * 59);
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(0.0), Some(1.0), None, None, Some(0.0)]);
    take("old", MINUTE * 61);
    expect(
        &sidecar,
        "DEGRADED lost_entries queue jobs 1 lost entry, taken beyond the visibility timeout (1h) (degraded at 1 or more)",
    );
    take("new", MINUTE * 61);
    expect(
        &sidecar,
        "DOWN lost_entries queue jobs 2 lost entries, taken beyond the visibility timeout (1h) (down at 2 or more)",
    );
    redis.command(&["DEL", "taken"]);
    sidecar.expect_up();
    // A list does not tell when its entries were taken.
    redis.command(&["RPUSH", "taken", "job"]);
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(0.0), Some(1.0), None, None, None]);
}

#[test]
fn pending_entries_of_a_stream_are_taken_and_lost_when_idle() {
    let redis = Redis::start(&[]);
    let settings = "keys.waiting = \"stream\"\nvisibility_timeout = \"1h\"\nlost = { degraded = 1 }";
    for protocol in ["resp2", "resp3"] {
        let cache = format!("[caches.main]\nurl = \"redis://{}\"\nprotocol = \"{protocol}\"\n", redis.addr());
        let sidecar = Sidecar::start(format!("{cache}{}", jobs(settings)));
        redis.command(&["XGROUP", "CREATE", "stream", "mail", "0", "MKSTREAM"]);
        for _ in 0..20 {
            redis.command(&["XADD", "stream", "*", "job", "1"]);
        }
        sidecar.expect_up();
        assert_eq!(numbers(&sidecar), [Some(20.0), Some(0.0), None, None, Some(0.0)]);
        redis.command(&["XREADGROUP", "GROUP", "mail", "worker", "COUNT", "15", "STREAMS", "stream", ">"]);
        sidecar.expect_up();
        assert_eq!(numbers(&sidecar), [Some(20.0), Some(15.0), None, None, Some(0.0)]);
        let ids = redis.command(&["XRANGE", "stream", "-", "+"]);
        let ids: Vec<_> = ids.lines().filter(|line| line.contains('-')).collect();
        let idle = |id: &str, time: &str| {
            redis.command(&["XCLAIM", "stream", "mail", "worker", "0", id, "IDLE", time]);
        };
        idle(ids[1], "3599000");
        sidecar.expect_up();
        idle(ids[1], "3600000");
        expect(
            &sidecar,
            "DEGRADED lost_entries queue jobs 1 lost entry, taken beyond the visibility timeout (1h)",
        );
        // As many as are looked at.
        ids.iter().take(12).for_each(|id| idle(id, "3600000"));
        assert_eq!(numbers(&sidecar), [Some(20.0), Some(15.0), None, None, Some(10.0)]);
        redis.command(&["DEL", "stream"]);
        sidecar.expect_up();
    }
}

#[test]
fn unfinished_entries_that_do_not_wait_are_taken() {
    let redis = Redis::start(&[]);
    let sidecar =
        beside(&redis, &jobs("keys = { waiting = \"list\", unfinished = \"all\" }\ntaken.degraded = 2"));
    redis.command(&["HSET", "all", "1", "a", "2", "b", "3", "c"]);
    redis.command(&["RPUSH", "list", "1", "2"]);
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(2.0), Some(1.0), None, None, None]);
    redis.command(&["LPOP", "list"]);
    expect(&sidecar, "DEGRADED too_long queue jobs 2 taken entries");
    redis.command(&["DEL", "all"]);
    sidecar.expect_up();
    assert_eq!(numbers(&sidecar), [Some(1.0), Some(0.0), None, None, None]);
}

#[test]
fn a_witness_that_is_missing_is_down_and_an_empty_queue_beside_it_is_not() {
    let redis = Redis::start(&[]);
    redis.command(&["SADD", "rq:queues", "rq:queue:default"]);
    let settings = "preset = \"rq\"\nwitness = [\"rq:queues\"]";
    let sidecar = beside(&redis, settings);
    sidecar.expect_up();
    redis.command(&["DEL", "rq:queues"]);
    expect(&sidecar, "DOWN missing_key key rq:queues this witness does not exist");
    redis.command(&["SADD", "rq:queues", "rq:queue:default"]);
    sidecar.expect_up();
    let elsewhere = Sidecar::start(main_at(&format!("redis://{}/1", redis.addr()), settings));
    expect(&elsewhere, "DOWN missing_key key rq:queues this witness does not exist");
}
