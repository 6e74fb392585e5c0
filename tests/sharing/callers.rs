//! Many callers and one cache: how often it is asked, through the program and HTTP.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{CacheConfig, Config};
use cache_canary::outcome::Status;
use futures_util::future::join_all;

use crate::support::in_process::{one_cache, redis_at};
use crate::support::{Memcached, Redis, Sidecar, in_a_process_of_its_own, kib};

/// How many canaries were written to this Redis.
fn written(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

fn sidecar(redis: &Redis, settings: &str) -> Sidecar {
    Sidecar::start_with(settings, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()))
}

#[test]
fn callers_within_max_age_share_one_check() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"60s\"");
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| sidecar.expect_up());
        }
    });
    assert_eq!(written(&redis), 1);
}

#[test]
fn callers_one_after_the_other_each_have_a_check_if_none_may_be_shared() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"0s\"");
    for _ in 0..50 {
        sidecar.expect_up();
    }
    assert_eq!(written(&redis), 50);
}

#[test]
fn a_storm_of_callers_keeps_one_connection_and_is_answered_in_full() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, "max_age = \"0s\"\nreconnect_every = \"1h\"");
    let connected = || redis.info("total_connections_received").parse::<u32>().unwrap();
    sidecar.expect_up();
    let before = connected();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| (0..20).for_each(|_| sidecar.expect_up()));
        }
    });
    // The harness asks over connections of its own, one for each look. A check that a busy machine holds up
    // for an eighth of the deadline is overlapped by another, on another connection.
    let dialed = connected() - before - 1;
    assert!(dialed <= 8, "{dialed} connections");
    let written = written(&redis);
    assert!(written < 32 * 20, "{written} checks for {} callers", 32 * 20);
}

#[test]
fn an_alias_and_all_that_forward_to_it_are_checked_once() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://{}\"\n\
         [caches.default]\nbackend = \"forwarding\"\nlocation = \"main\"\n\
         [caches.again]\nbackend = \"forwarding\"\nlocation = \"default\"",
        redis.addr()
    ));
    let health = sidecar.health();
    assert_eq!(health.code, 200);
    assert_eq!(written(&redis), 1);
    let [all, one] = [&health, &sidecar.get("/health/again")].map(|health| health.body["checks"].clone());
    assert_eq!(all, serde_json::json!({ "cache.main": "UP" }));
    assert_eq!(one, all, "a forwarding alias answers with its target's outcome");
    assert_eq!(written(&redis), 2);
}

/// The default, which tests mostly do without.
const MAX_AGE: &str = "max_age = \"100ms\"";

/// How often it was looked for another caller's verdict, and that came of it.
fn looked_up(sidecar: &Sidecar, result: &str) -> u64 {
    let series = format!(
        "cache_shared_verdicts_total{{alias=\"main\",check=\"round_trip\",through=\"process\",result=\"{result}\"}} "
    );
    let metrics = sidecar.raw("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

/// Kills it 200 times with a verdict that says that it is up; the next caller must get that it is down. How often that
/// verdict could have been shared still.
fn kill_200_times<C>(cache: &mut C, sidecar: &Sidecar, kill: fn(&mut C), restart: fn(&mut C)) -> u32 {
    let mut young = 0;
    for _ in 0..200 {
        sidecar.expect_up();
        let up = Instant::now();
        kill(cache);
        let asked = up.elapsed();
        sidecar.expect_down("refused");
        // The verdict is older than its answer, by a round trip or some more on a busy machine.
        young += u32::from(asked < Duration::from_millis(50));
        restart(cache);
        // A verdict of down is shared as long as one of up.
        thread::sleep(Duration::from_millis(101));
    }
    young
}

#[test]
fn a_redis_that_was_killed_is_down_at_the_next_request_however_young_the_verdict() {
    let mut redis = Redis::start(&[]);
    let sidecar = sidecar(&redis, MAX_AGE);
    let young = kill_200_times(&mut redis, &sidecar, Redis::kill, Redis::restart);
    assert!(young > 0, "no verdict was young enough to be shared");
    assert!(looked_up(&sidecar, "invalidated") > 0);
}

#[test]
fn a_memcached_that_was_killed_is_down_at_the_next_request_however_young_the_verdict() {
    let mut memcached = Memcached::start(&[]);
    let cache = format!("[caches.main]\nurl = \"memcached://{}\"", memcached.addr());
    let sidecar = Sidecar::start_with(MAX_AGE, cache);
    let young = kill_200_times(&mut memcached, &sidecar, Memcached::kill, Memcached::restart);
    assert!(young > 0, "no verdict was young enough to be shared");
    assert!(looked_up(&sidecar, "invalidated") > 0);
}

#[test]
fn the_verdict_of_a_healthy_cache_is_shared_by_thousands_and_never_taken_back() {
    let redis = Redis::start(&[]);
    // It dials many times meanwhile.
    let sidecar = sidecar(&redis, &format!("{MAX_AGE}\nreconnect_every = \"1s\""));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| sidecar.expect_up()));
        }
    });
    let [hit, miss, invalidated] = ["hit", "miss", "invalidated"].map(|result| looked_up(&sidecar, result));
    assert_eq!(invalidated, 0);
    // The last scrape is one caller more, and the first looks came before it.
    assert!(hit + miss >= 4000, "{hit} {miss}");
    assert!(hit > miss, "{hit} {miss}");
}

#[tokio::test]
async fn a_thousand_callers_of_a_thousand_aliases_need_little_more_memory_than_one() {
    const ALIASES: usize = 1000;
    const CALLERS: usize = 1000;
    if !in_a_process_of_its_own(
        "callers::a_thousand_callers_of_a_thousand_aliases_need_little_more_memory_than_one",
    ) {
        return;
    }
    let redis = Redis::start(&[]);
    let one = one_cache(redis_at(redis.addr()));
    let caches = (0..ALIASES).map(|number| {
        let alias = Alias::try_from(format!("cache-{number}").as_str()).unwrap();
        CacheConfig::new(alias, redis_at(redis.addr()))
    });
    // On a busy machine they take their time.
    let timeout = Duration::from_secs(20);
    let config = Config { caches: caches.collect(), timeout, max_age: timeout, ..one };
    let checker = Checker::new(&config).unwrap();
    let selection = checker.catalog().all();
    let report = || checker.check(&selection, tokio::time::Instant::now());
    let first = report().await;
    assert_eq!((first.status(), first.outcomes.len()), (Status::Up, ALIASES));

    let checker = Checker::new(&config).unwrap();
    let before = peak_kib();
    let reports =
        join_all((0..CALLERS).map(|_| checker.check(&selection, tokio::time::Instant::now()))).await;
    let grown = peak_kib() - before;
    assert!(reports.iter().all(|report| Arc::ptr_eq(report, &reports[0])));
    assert_eq!(reports[0].status(), Status::Up);
    // A future for each check of each caller were 260 MB.
    assert!(grown < 48 * 1024, "{grown} KiB more");
}

/// The most memory that this process has ever had.
fn peak_kib() -> usize {
    kib("self", "status", "VmHWM")
}
