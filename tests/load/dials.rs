//! Thousands of servers that do not answer: how many are dialed at a time, and whether those beside them are up; and
//! the report if no more files may be open.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::in_process::{one_cache, redis_at};
use crate::support::{BlackHole, MAX_WAIT, Redis, alone};
use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{CacheConfig, Config};
use cache_canary::outcome::{Cause, Report, Status};
use tokio::time::Instant;

/// The most connections that the product makes at a time. The list of sockets is no picture of one moment, so that one lane
/// may seem to have more than its half.
const DIALS: usize = 1024;

fn config(servers: &[(&str, usize, SocketAddr)]) -> Config {
    let mut config = one_cache(redis_at(servers[0].2));
    config.caches.clear();
    for &(name, count, addr) in servers {
        for number in 0..count {
            let alias = Alias::try_from(format!("{name}-{number}").as_str()).unwrap();
            config.caches.push(CacheConfig::new(alias, redis_at(addr)));
        }
    }
    // Of which a loaded machine needs some to begin thousands of dials.
    config.timeout = Duration::from_secs(4);
    config
}

/// How many connections to this port are being made (`SYN_SENT` in proc(5), /proc/net/tcp).
fn being_dialed(port: u16) -> usize {
    let tcp = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let remote = format!(":{port:04X} 02 ");
    tcp.lines().filter(|line| line.contains(&remote)).count()
}

/// The most of them at any time until the round is over, and what it came to.
async fn round(checker: &Checker, port: u16) -> (usize, Arc<Report>) {
    let over = Arc::new(AtomicBool::new(false));
    let most = thread::spawn({
        let over = over.clone();
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(being_dialed(port));
                thread::sleep(Duration::from_millis(2));
            }
            most
        }
    });
    let report = checker.check(&checker.catalog().all(), Instant::now()).await;
    over.store(true, Ordering::Relaxed);
    (most.join().unwrap(), report)
}

fn statuses(report: &Report, name: &str) -> Vec<(Status, Option<Cause>)> {
    let named = report.outcomes.iter().filter(|outcome| outcome.alias.as_str().starts_with(name));
    let mut statuses: Vec<_> = named.map(|outcome| (outcome.status(), outcome.cause())).collect();
    statuses.dedup();
    statuses
}

#[tokio::test]
async fn a_healthy_cache_is_up_among_thousands_of_silent_ones_and_few_are_dialed_at_a_time() {
    let _turn = alone();
    let (hole, redis) = (BlackHole::open(), Redis::start(&[]));
    // The healthy ones come last, when all places are taken.
    let checker =
        Checker::new(&config(&[("hole", 2000, hole.addr()), ("healthy", 20, redis.addr())])).unwrap();
    for again in [false, true] {
        let began = Instant::now();
        let (most, report) = round(&checker, hole.port()).await;
        assert_eq!(statuses(&report, "healthy"), [(Status::Up, None)], "again: {again}");
        assert_eq!(statuses(&report, "hole"), [(Status::Down, Some(Cause::TimedOut))]);
        assert!((1..=DIALS).contains(&most), "{most} are dialed at a time");
        assert!(began.elapsed() < MAX_WAIT, "{:?}", began.elapsed());
    }
    // The connections of the healthy ones are kept; new ones are dialed beside as many that do not answer.
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let (_, report) = round(&checker, hole.port()).await;
    assert_eq!(statuses(&report, "healthy"), [(Status::Up, None)]);
    assert!(
        report
            .outcomes
            .iter()
            .filter(|outcome| outcome.alias.as_str().starts_with("healthy"))
            .all(|outcome| outcome.connections == 1)
    );
}

/// So many aliases of one healthy Redis, in TOML.
fn aliases(count: usize, redis: &Redis) -> String {
    let mut caches = String::new();
    for number in 0..count {
        writeln!(caches, "[caches.c{number}]\nbackend = \"redis\"\nurl = \"redis://{}/0\"", redis.addr())
            .unwrap();
    }
    caches
}

/// The program in a shell in which these limits hold.
fn within(limits: &str, arguments: &str, config: &str) -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache-canary.toml");
    std::fs::write(&file, config).unwrap();
    let program = env!("CARGO_BIN_EXE_cache-canary");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec '{program}' {arguments} -c '{}'", file.display())]);
    (dir, command)
}

fn check_within(limits: &str, config: &str) -> Output {
    let (_dir, mut check) = within(limits, "check --format json", config);
    check.output().unwrap()
}

/// The log lines of `serve` about open files until it listens.
fn said_by_serve(limits: &str, config: &str) -> Vec<String> {
    let (_dir, mut serve) = within(limits, "serve", &format!("listen = \"127.0.0.1:0\"\n{config}"));
    let mut serve = serve.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(serve.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines
        .take_while(|line| !line.contains("listening on"))
        .filter(|line| line.contains("limit of open files"));
    let said = said.collect();
    serve.kill().unwrap();
    serve.wait().unwrap();
    said
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_possible_and_its_lack_is_not_blamed_on_the_cache() {
    let _turn = alone();
    let redis = Redis::start(&[]);
    let config = format!("timeout = \"5s\"\n{}", aliases(150, &redis));
    let raised = check_within("ulimit -Sn 100", &config);
    assert_eq!(raised.status.code(), Some(0), "{}", String::from_utf8_lossy(&raised.stdout));
    let small = check_within("ulimit -n 100", &config);
    let said = String::from_utf8_lossy(&small.stdout);
    assert_eq!(small.status.code(), Some(1), "{said}");
    let own = "Too many open files (os error 24): cache-canary, not the cache, is at its limit of open files";
    assert!(said.contains(own), "{said}");
}

#[test]
fn serve_logs_a_raised_limit_or_one_that_is_too_small() {
    let _turn = alone();
    let redis = Redis::start(&[]);
    let said = |limits| said_by_serve(limits, &aliases(5, &redis));
    // Two connections a cache, those of callers and one to be accepted, and what else there is.
    let need = 2 * 5 + (1024 + 1) + (1024 + 64);
    assert_eq!(said("ulimit -n 4000"), [""; 0]);
    let raised = said("ulimit -n 4000 && ulimit -Sn 300");
    assert_eq!(raised.len(), 1, "{raised:?}");
    let words =
        format!("raised the limit of open files from 300 to 4000, because up to {need} may be needed");
    assert!(raised[0].contains("INFO") && raised[0].contains(&words), "{raised:?}");
    let small = said("ulimit -n 300");
    assert_eq!(small.len(), 1, "{small:?}");
    let words = format!("the limit of open files is 300, but up to {need} may be needed: raise it");
    assert!(small[0].contains("WARN") && small[0].contains(&words), "{small:?}");
}

#[test]
fn a_reloaded_configuration_has_the_file_descriptors_that_it_needs() {
    let _turn = alone();
    let redis = Redis::start(&[]);
    let config = |count| format!("listen = \"127.0.0.1:0\"\n{}", aliases(count, &redis));
    let (dir, mut serve) = within("ulimit -n 4000 && ulimit -Sn 2500", "serve", &config(1));
    let mut serve = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines().map(Result::unwrap);
    let before: Vec<_> = lines.by_ref().take_while(|line| !line.contains("listening on")).collect();
    assert!(!before.iter().any(|line| line.contains("limit of open files")), "{before:?}");
    std::fs::write(dir.path().join("cache-canary.toml"), config(500)).unwrap();
    // The file is looked at by itself.
    let said = lines.find(|line| line.contains("limit of open files"));
    serve.kill().unwrap();
    serve.wait().unwrap();
    let said = said.unwrap();
    let need = 2 * 500 + (1024 + 1) + (1024 + 64);
    let words =
        format!("raised the limit of open files from 2500 to 4000, because up to {need} may be needed");
    assert!(said.contains("INFO") && said.contains(&words), "{said}");
}
