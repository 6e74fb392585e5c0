//! Rounds that nobody asked for, with real servers and the real program.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Redis, Sidecar, eventually};
use cache_canary::alias::Alias;
use cache_canary::app::App;
use cache_canary::config::{self, Address, Backend, CacheConfig, Config, RedisServers};
use cache_canary::outcome::Status;
use crc::{CRC_32_ISO_HDLC, Crc};
use rustix::process::Signal;
use tokio::task::JoinSet;

/// How many canaries were written to a server.
fn written(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

fn cache(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n", redis.addr())
}

#[test]
fn an_interval_has_the_cache_checked_without_requests_and_no_interval_leaves_it_alone() {
    let (asked, left_alone) = (Redis::start(&[]), Redis::start(&[]));
    let with = Sidecar::start_with("interval = \"1s\"", cache(&asked));
    let without = Sidecar::start(cache(&left_alone));
    eventually("three rounds", || written(&asked) >= 3);
    assert_eq!(written(&left_alone), 0);
    // An outage is told of although nobody asks.
    asked.fill();
    with.wait_for_log("main is DOWN: out_of_memory", 1);
    asked.make_room();
    with.wait_for_log("main is UP; was DOWN ", 1);
    // The interval may change, and end.
    without.configure("interval = \"1s\"", cache(&left_alone));
    with.configure("", cache(&asked));
    without.signal(Signal::HUP);
    with.signal(Signal::HUP);
    with.wait_for_log("is in force", 1);
    let before = written(&asked);
    eventually("three rounds", || written(&left_alone) >= 3);
    // One may have been under way.
    assert!(written(&asked) <= before + 1);
}

#[test]
fn a_request_is_answered_by_a_check_of_its_own_and_not_from_the_last_round() {
    let redis = Redis::start(&[]);
    // The first round comes somewhere within the interval, and the second a whole one after it.
    let sidecar = Sidecar::start_with("interval = \"8s\"", cache(&redis));
    eventually("the first round", || written(&redis) == 1);
    sidecar.expect_up();
    assert_eq!(written(&redis), 2);
    redis.fill();
    sidecar.expect_down("out_of_memory");
}

#[test]
fn a_program_that_was_stopped_is_not_alive_until_a_round_has_ended_again() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("interval = \"1s\"", cache(&redis));
    // Between two rounds, so that none is under way when it stops.
    let before = written(&redis);
    eventually("another round", || written(&redis) > before + 1);
    thread::sleep(Duration::from_millis(200));
    assert!(sidecar.raw("/livez").ends_with("\r\n\r\nok\n"));
    sidecar.signal(Signal::STOP);
    // The next round takes as long as a check may.
    redis.stop();
    thread::sleep(Duration::from_millis(3500));
    let mut asked_meanwhile = TcpStream::connect(sidecar.addr()).unwrap();
    asked_meanwhile.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    sidecar.signal(Signal::CONT);
    let mut answer = String::new();
    asked_meanwhile.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("[-]rounds failed: no round has completed for "), "{answer}");
    // A cache that is down is no reason to restart the sidecar: what counts is that rounds end.
    eventually("it is alive", || sidecar.raw("/livez").starts_with("HTTP/1.1 200 "));
    sidecar.expect_down("timed_out");
    redis.cont();
    sidecar.expect_up();
}

/// The partition of an entry, as docs/operations.md says.
fn partition(entry: &str) -> u32 {
    Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(entry.as_bytes()) % 16
}

/// The value of a series.
fn value(scrape: &str, series: &str) -> Option<f64> {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn hundreds_of_caches_that_hang_are_checked_a_few_at_a_time_and_one_in_another_partition_as_often_as_ever() {
    let (healthy, hung) = (Redis::start(&[]), Redis::start(&[]));
    // More in each partition than it checks at a time, so that its rounds take longer than the interval.
    let names = (0..960).map(|number| format!("hung-{number}"));
    let names: Vec<_> = names.filter(|name| partition(name) != partition("main")).collect();
    let hanging = names.iter().map(|name| format!("[caches.{name}]\nurl = \"redis://{}\"\n", hung.addr()));
    let caches = cache(&healthy) + &hanging.collect::<String>();
    hung.stop();
    let sidecar = Sidecar::start_with("interval = \"1s\"", caches);
    eventually("the first rounds", || written(&healthy) >= 2);

    let (before, mut sockets, mut memory) = (written(&healthy), Vec::new(), Vec::new());
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(200));
        sockets.push(sidecar.open_files());
        memory.push(sidecar.own_kib());
    }
    // Those that were just given up may stand beside the next ones for a moment, so it is the median that counts.
    sockets.sort_unstable();
    assert!((100..=512 + 32).contains(&sockets[25]), "{sockets:?}");
    assert!(memory[49] < memory[10] + 2048, "it does not grow round by round: {memory:?} KiB");
    let rounds = written(&healthy) - before;
    assert!(rounds >= 5, "{rounds} rounds in ten seconds");
    assert!(sidecar.raw("/livez").ends_with("\r\n\r\nok\n"), "caches that hang are no reason to restart it");

    // A scrape asks them all, so it takes as long as a check may, and rounds go on meanwhile.
    let scrape = sidecar.raw("/metrics");
    hung.cont();
    let of =
        |family, entry| value(&scrape, &format!("{family}{{partition=\"{}\"}}", partition(entry))).unwrap();
    let missed = |entry| of("cache_rounds_missed_total", entry);
    let through = |entry| of("cache_round_partition_clock_timestamp_seconds", entry);
    assert!(missed(&names[0]) >= 3.0, "{scrape}");
    assert!(missed("main") * 2.0 < missed(&names[0]), "{scrape}");
    let least = value(&scrape, "cache_round_clock_timestamp_seconds").unwrap();
    assert!(least <= through(&names[0]) && least < through("main"), "{scrape}");
    // All are well again, and no round takes long any more.
    eventually("nothing is late", || {
        let through = value(&sidecar.raw("/metrics"), "cache_round_clock_timestamp_seconds").unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_secs_f64() - through < 2.5
    });
}

#[test]
fn rounds_are_counted_only_if_they_are_made() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(cache(&redis));
    assert!(!sidecar.raw("/metrics").contains("cache_round"));
    sidecar.configure("interval = \"1s\"", cache(&redis));
    sidecar.signal(Signal::HUP);
    eventually("a round", || {
        value(&sidecar.raw("/metrics"), "cache_rounds_total").is_some_and(|rounds| rounds > 0.0)
    });
}

/// How many sidecars there are in a fleet.
const FLEET: usize = 300;

/// A sidecar that looks at this Redis every three seconds.
fn member(redis: &Redis) -> Arc<App> {
    let address = Address::Tcp { host: redis.addr().ip().to_string(), port: redis.port() };
    let servers = config::RedisConfig::at(RedisServers::Standalone(address));
    let caches = vec![CacheConfig::new(Alias::try_from("main").unwrap(), Backend::Redis(servers))];
    let (interval, reconnect_every) = (Some(Duration::from_secs(3)), Duration::from_hours(1));
    // A caller shares no check with a round.
    let max_age = Duration::ZERO;
    Arc::new(App::new(&Config { interval, reconnect_every, max_age, caches, ..Config::default() }).unwrap())
}

/// How many of a fleet know their cache to be so.
fn count(fleet: &[Arc<App>], status: Status) -> usize {
    let known = fleet.iter().filter_map(|app| app.latest(&app.setup()));
    known.filter(|report| report.status() == status).count()
}

/// How many connections a Redis has taken.
fn connections(redis: &Redis) -> f64 {
    redis.info("total_connections_received").parse().unwrap()
}

/// How many connections a Redis is asked for within a tenth of a second, at most, until all of a fleet are up.
async fn busiest(redis: &Redis, fleet: &[Arc<App>]) -> f64 {
    let (mut most, began) = (0.0_f64, Instant::now());
    let mut before = (Instant::now(), connections(redis));
    loop {
        let up = count(fleet, Status::Up);
        if up == fleet.len() {
            return most;
        }
        assert!(began.elapsed() < crate::support::MAX_WAIT, "{up} are up");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = (Instant::now(), connections(redis));
        let tenths = (now.0 - before.0).as_secs_f64() / 0.1;
        // The question is one of them.
        most = most.max((now.1 - before.1 - 1.0) / tenths.max(1.0));
        before = now;
    }
}

#[tokio::test]
async fn a_fleet_that_began_together_or_lost_its_cache_together_does_not_dial_it_in_the_same_moment() {
    let mut redis = Redis::start(&[]);
    let fleet: Vec<_> = (0..FLEET).map(|_| member(&redis)).collect();
    // A storm: all sidecars ask at once.
    let storm = async {
        let mut callers = JoinSet::new();
        for app in fleet.clone() {
            callers.spawn(async move {
                let setup = app.setup();
                setup.checker.check(&setup.everything, tokio::time::Instant::now()).await
            });
        }
        callers.join_all().await
    };
    let (dialed, _) = tokio::join!(busiest(&redis, &fleet), storm);
    assert!(dialed > 100.0, "{dialed} connections in a tenth of a second");

    let fleet: Vec<_> = (0..FLEET).map(|_| member(&redis)).collect();
    let mut rounds = JoinSet::new();
    for app in fleet.clone() {
        rounds.spawn(async move { app.make_rounds().await });
    }
    // Over three seconds ten are expected in each tenth of one.
    let dialed = busiest(&redis, &fleet).await;
    assert!((1.0..60.0).contains(&dialed), "{dialed} connections in a tenth of a second");

    redis.kill();
    let began = Instant::now();
    while count(&fleet, Status::Down) < FLEET {
        assert!(began.elapsed() < crate::support::MAX_WAIT, "{} are down", count(&fleet, Status::Down));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.restart();
    // A caller's own check waits for nobody.
    let setup = fleet[0].setup();
    let (asked, arrived) = (Instant::now(), tokio::time::Instant::now());
    let report = setup.checker.check(&setup.everything, arrived).await;
    let waited = asked.elapsed();
    assert_eq!(report.status(), Status::Up, "{report:?}");
    let dialed = busiest(&redis, &fleet).await;
    assert!((1.0..60.0).contains(&dialed), "{dialed} connections in a tenth of a second");
    assert!(waited < Duration::from_millis(750), "{waited:?}");
}
