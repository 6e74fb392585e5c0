//! The cost of queue checks: `cargo bench --bench queue`.
//!
//! A queue with a million entries beside one with a single entry and an empty one; and a thousand partitions beside
//! the same bytes over a raw stream. Each is measured in turn with what it is compared with, pinned to one core, the
//! server included.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark, for a terminal")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cache_canary::checker::Checker;
use cache_canary::config::checks::{CheckConfig, Keys, QueueConfig, QueueGroup, QueueState, Thresholds};
use cache_canary::outcome::{CheckKind, Status};
use rustix::thread::{CpuSet, sched_setaffinity};
use support::Redis;
use support::in_process::{one_cache, redis_at};
use tokio::runtime::Runtime;

const MANY: u64 = 1_000_000;
const PAIRS: usize = 2_000;
const PARTITIONS: u32 = 1_000;
const ROUNDS: usize = 300;

/// The most that a million entries may cost, in single ones, and a thousand partitions, in raw pipelines.
const SIZE_BOUND: f64 = 1.15;
const PIPELINE_BOUND: f64 = 4.0;

fn main() {
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = Redis::start(&[]);

    println!(
        "{:<28} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "a look, us", "empty", "one", "million", "to empty", "to one"
    );
    let mut held = true;
    for kind in [
        "sorted set",
        "sorted set, scheduled",
        "sorted set, taken",
        "list",
        "set",
        "hash",
        "stream",
        "stream with a group",
    ] {
        held &= sizes(&runtime, &redis, kind);
    }
    held &= partitions(&runtime, &redis);
    assert!(held, "a bound does not hold");
}

/// Whether the same queue, as large as it gets, costs what it does with one entry and with none.
fn sizes(runtime: &Runtime, redis: &Redis, kind: &str) -> bool {
    redis.command(&["FLUSHALL"]);
    let [empty, one, many] = [("empty", 1), ("one", 1), ("many", MANY)].map(|(key, entries)| {
        fill(redis, kind, key, entries);
        let mut group = QueueGroup { length: up_to(MANY + 1), ..QueueGroup::each(vec![Keys::one(key)]) };
        group.visibility_timeout = Some(Duration::from_hours(1));
        group.keys[0].0 = match kind {
            "sorted set, scheduled" => QueueState::Scheduled,
            "sorted set, taken" => QueueState::Taken,
            _ => QueueState::Waiting,
        };
        let checker = checker(redis, group);
        // From now on its type is known.
        look(runtime, &checker);
        checker
    });
    redis.command(&["DEL", "empty"]);
    let checkers = [&empty, &one, &many];
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..PAIRS {
        for (checker, times) in checkers.iter().zip(&mut times) {
            times.push(look(runtime, checker));
        }
    }
    let ratio = |of: &[f64], to: &[f64]| median(of.iter().zip(to).map(|(of, to)| of / to).collect());
    let (to_empty, to_one) = (ratio(&times[2], &times[0]), ratio(&times[2], &times[1]));
    let [empty, one, many] = times.map(median);
    println!("{kind:<28} {empty:>10.1} {one:>10.1} {many:>10.1} {to_empty:>12.3} {to_one:>12.3}");
    // An empty stream has no group to ask for.
    to_one < SIZE_BOUND && (to_empty < SIZE_BOUND || kind == "stream with a group")
}

fn fill(redis: &Redis, kind: &str, key: &str, entries: u64) {
    let command = match kind {
        "sorted set" | "sorted set, scheduled" | "sorted set, taken" => {
            "redis.call('ZADD', KEYS[1], 1700000000 + i / 1000, 'b:k:model:' .. i)"
        }
        "list" => "redis.call('RPUSH', KEYS[1], 'job ' .. i)",
        "set" => "redis.call('SADD', KEYS[1], 'job ' .. i)",
        "hash" => "redis.call('HSET', KEYS[1], 'job ' .. i, i)",
        _ => "redis.call('XADD', KEYS[1], (1700000000000 + i) .. '-0', 'job', i)",
    };
    let script = format!("for i = 1, {entries} do {command} end");
    redis.command(&["EVAL", &script, "1", key]);
    if kind == "stream with a group" {
        redis.command(&["XGROUP", "CREATE", key, "mail", "0"]);
        redis.command(&["XREADGROUP", "GROUP", "mail", "worker", "COUNT", "1", "STREAMS", key, ">"]);
    }
}

/// Whether a thousand partitions cost little more than their bytes.
fn partitions(runtime: &Runtime, redis: &Redis) -> bool {
    redis.command(&["FLUSHALL"]);
    let mut client = redis.client();
    let mut pipeline = String::new();
    for number in 0..PARTITIONS {
        let key = format!("b:p:{number}");
        for member in 0..10 {
            client.ask(&["ZADD", &key, "1700000000.25", &format!("b:k:model:{member}")]).unwrap();
        }
        let length = key.len();
        write!(pipeline, "*2\r\n$5\r\nZCARD\r\n${length}\r\n{key}\r\n").unwrap();
        write!(
            pipeline,
            "*5\r\n$6\r\nZRANGE\r\n${length}\r\n{key}\r\n$1\r\n0\r\n$1\r\n0\r\n$10\r\nWITHSCORES\r\n"
        )
        .unwrap();
    }
    let answer = ":10\r\n*2\r\n$11\r\nb:k:model:0\r\n$13\r\n1700000000.25\r\n".repeat(PARTITIONS as usize);
    let family = Keys { before: "b:p:".to_owned(), numbers: Some(0..=PARTITIONS - 1), after: String::new() };
    let checker = checker(redis, QueueGroup { length: up_to(100), ..QueueGroup::each(vec![family]) });
    look(runtime, &checker);
    let mut raw = TcpStream::connect(redis.addr()).unwrap();
    raw.set_nodelay(true).unwrap();
    let mut answered = vec![0; answer.len()];
    let (mut looks, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let look = look(runtime, &checker);
        let began = Instant::now();
        raw.write_all(pipeline.as_bytes()).unwrap();
        raw.read_exact(&mut answered).unwrap();
        let floor = began.elapsed().as_secs_f64() * 1e6;
        assert!(answered == answer.as_bytes());
        looks.push(look);
        floors.push(floor);
        ratios.push(look / floor);
    }
    let ratio = median(ratios);
    println!(
        "\n{PARTITIONS} partitions: {:.0} us, and {:.0} us for the same bytes over a raw stream: {ratio:.2} times (bound \
         {PIPELINE_BOUND})",
        median(looks),
        median(floors)
    );
    ratio < PIPELINE_BOUND
}

fn up_to(length: u64) -> Thresholds<u64> {
    Thresholds { degraded: None, down: Some(length) }
}

fn checker(redis: &Redis, group: QueueGroup) -> Checker {
    let mut config = one_cache(redis_at(redis.addr()));
    // A connection that is replaced meanwhile has nothing to be compared with.
    config.reconnect_every = Duration::from_hours(1);
    config.caches[0].checks.push(CheckConfig::Queue(QueueConfig::of(vec![group])));
    Checker::new(&config).unwrap()
}

/// How long a check of all of it takes, in microseconds.
fn look(runtime: &Runtime, checker: &Checker) -> f64 {
    let selection = checker.catalog().all();
    let began = Instant::now();
    let report = runtime.block_on(checker.check(&selection, tokio::time::Instant::now()));
    let took = began.elapsed().as_secs_f64() * 1e6;
    assert!(report.outcomes.iter().any(|outcome| outcome.kind == CheckKind::Queue));
    assert_eq!(report.status(), Status::Up);
    took
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
