//! What the sidecar costs, beside what the smallest thing of the kind costs, measured in the same run:
//! `cargo bench --bench footprint`.
//!
//! The floor is `floor.rs`, the smallest server that does the same work. Everything runs pinned to one core,
//! since on more of them the time to wake an idle core drowns what is measured.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark, for a terminal")]

#[path = "floor.rs"]
#[allow(dead_code, reason = "its main is for the program that it is by itself")]
mod floor;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache_canary::checker::Checker;
use cache_canary::config::{self, Source};
use rustix::thread::{CpuSet, sched_setaffinity};
use support::{Memcached, Port, Redis};

const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    let (binary, floor) = (build_sidecar(), compile_floor());
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).unwrap();

    let (redis, memcached) = (Redis::start(&[]), [(); 2].map(|()| Memcached::start(&[])));
    let caches = environment(&redis, &memcached);
    println!("{:<34} {:>12} {:>12} {:>12}", "", "sidecar", "floor", "bound");
    let mut held = true;

    let size = |path| as_f64(std::fs::metadata(path).unwrap().len()) / 1e6;
    held &= row("binary, MB", size(&binary), size(&floor), 4.75);

    let sidecar = |port: &Port| {
        let mut command = Command::new(&binary);
        command.args(["serve", "--listen", &port.addr().to_string()]).envs(caches.iter().cloned());
        command
    };
    let floor = |port: &Port| {
        let mut command = Command::new(&floor);
        command.args([port.addr(), redis.addr()].map(|addr| addr.to_string()));
        command
    };
    let programs: [&dyn Fn(&Port) -> Command; 2] = [&sidecar, &floor];
    let mut starts: [Vec<f64>; 2] = Default::default();
    let mut memory: [Vec<f64>; 2] = Default::default();
    for _ in 0..15 {
        for (place, program) in programs.iter().enumerate() {
            let port = Port::reserve();
            let (start, resident) = life(program(&port), &port);
            starts[place].push(start.as_secs_f64() * 1e3);
            memory[place].push(resident / MIB);
        }
    }
    let [sidecar, floor] = memory.map(median);
    held &= row("idle memory with 5 caches, MiB", sidecar, floor, 5.5);
    let [sidecar, floor] = starts.map(median);
    held &= row("start to first 200, ms", sidecar, floor, 20.0);

    let (check, bare) = round_trips(&redis, &caches[..1]);
    held &= row("a check of one Redis, us", check, bare, 1.5 * bare);
    println!("\nThe check is {:.2} times two bare round trips (bound 1.5).", check / bare);
    assert!(held, "a bound does not hold");
}

fn row(what: &str, sidecar: f64, floor: f64, bound: f64) -> bool {
    println!("{what:<34} {sidecar:>12.2} {floor:>12.2} {bound:>12.2}");
    sidecar < bound
}

/// Five caches, from the environment alone: the Redis three times over, the memcached pair, and a forwarding
/// one.
fn environment(redis: &Redis, memcached: &[Memcached; 2]) -> Vec<(String, String)> {
    let url = format!("redis://{}", redis.addr());
    let pair = format!("memcached://{},{}", memcached[0].addr(), memcached[1].addr());
    [("CACHE_URL", &url), ("CACHE_URL_TWO", &url), ("CACHE_URL_THREE", &url), ("CACHE_URL_PAIR", &pair)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .chain([("CACHE_CANARY_CACHES__FOURTH__BACKEND".to_owned(), "forwarding".to_owned())])
        .chain([("CACHE_CANARY_CACHES__FOURTH__LOCATION".to_owned(), "two".to_owned())])
        .collect()
}

/// Starts a server, asks until it answers 200, and looks at its memory.
fn life(mut server: Command, port: &Port) -> (Duration, f64) {
    let began = Instant::now();
    let server = Ended(server.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    while !answers(port.addr()) {
        assert!(began.elapsed() < support::PATIENCE, "it never answered 200");
        // On one core the server cannot start while this spins.
        std::thread::yield_now();
    }
    let took = began.elapsed();
    (took, resident(server.0.id()))
}

/// Builds the binary as whoever installs it does. The one that comes with a benchmark is linked with what the tests
/// want of its dependencies.
fn build_sidecar() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sidecar");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--quiet", "--target-dir"]).arg(&target);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "the sidecar does not build");
    target.join("release/cache-canary")
}

/// Compiles the floor by itself, as small as it gets without more than a stable compiler.
fn compile_floor() -> PathBuf {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("floor");
    let options = ["--edition=2024", "-Copt-level=s", "-Clto=fat", "-Cpanic=abort", "-Cstrip=symbols"];
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/floor.rs");
    let compiled = Command::new("rustc").args(options).arg(source).arg("-o").arg(&binary).status().unwrap();
    assert!(compiled.success(), "the floor does not compile");
    binary
}

fn answers(addr: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(addr) else { return false };
    let mut answer = Vec::new();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The medians in microseconds of a check, and of the same SET and GET written and read by hand on a blocking
/// socket, in turn.
fn round_trips(redis: &Redis, cache: &[(String, String)]) -> (f64, f64) {
    let mut environment: std::collections::BTreeMap<_, _> = cache.iter().cloned().collect();
    environment.insert("CACHE_CANARY_MAX_AGE".to_owned(), "0s".to_owned());
    let loaded = config::load(&Source { environment, ..Source::default() }).unwrap();
    let checker = Checker::new(&loaded.config).unwrap();
    let selection = checker.catalog().all();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bare = floor::Bare::connect(redis.addr());
    let (mut checks, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        runtime.block_on(async {
            for _ in 0..100 {
                let began = tokio::time::Instant::now();
                let report = checker.check(&selection, began).await;
                checks.push(began.elapsed().as_secs_f64() * 1e6);
                assert_eq!(report.status(), cache_canary::outcome::Status::Up);
            }
        });
        for _ in 0..100 {
            let began = Instant::now();
            assert!(bare.round_trip());
            floors.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    (median(checks), median(floors))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "a size in bytes, shown with two decimals")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
