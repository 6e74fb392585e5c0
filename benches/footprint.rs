//! What the sidecar costs, beside what the smallest thing of the kind costs, measured in the same run:
//! `cargo bench --bench footprint`.
//!
//! The floor is this program itself in another role: a blocking server without a library, which for each HTTP request does
//! one SET and one GET on a kept connection to Redis. Everything runs pinned to one core, since on more of them the time
//! to wake an idle core drowns what is measured.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark, for a terminal")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache_canary::checker::Checker;
use cache_canary::config::{self, Source};
use rustix::thread::{CpuSet, sched_setaffinity};
use support::{Memcached, Port, Redis};

const BINARY: &str = env!("CARGO_BIN_EXE_cache-canary");
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, role, listen, redis] = &args[..]
        && role == "floor"
    {
        floor(listen, redis.parse().unwrap());
    }
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).unwrap();

    let (redis, memcached) = (Redis::start(&[]), [(); 2].map(|()| Memcached::start(&[])));
    let caches = environment(&redis, &memcached);
    println!("{:<34} {:>12} {:>12} {:>12}", "", "sidecar", "floor", "bound");
    let mut held = true;

    let size = as_f64(std::fs::metadata(BINARY).unwrap().len()) / 1e6;
    held &= row("binary, MB", size, None, 4.0);

    let mut starts: [Vec<f64>; 2] = Default::default();
    let mut memory: [Vec<f64>; 2] = Default::default();
    for _ in 0..15 {
        for role in [Role::Sidecar, Role::Floor] {
            let (start, resident) = life(role, redis.addr(), &caches);
            starts[role as usize].push(start.as_secs_f64() * 1e3);
            memory[role as usize].push(resident / MIB);
        }
    }
    let [sidecar, floor] = memory.map(median);
    held &= row("idle memory with 5 caches, MiB", sidecar, Some(floor), 5.0);
    let [sidecar, floor] = starts.map(median);
    held &= row("start to first 200, ms", sidecar, Some(floor), 20.0);

    let (check, bare) = round_trips(&redis, &caches[..1]);
    held &= row("a check of one Redis, us", check, Some(bare), 1.5 * bare);
    println!("\nThe check is {:.2} times two bare round trips (bound 1.5).", check / bare);
    assert!(held, "a bound does not hold");
}

fn row(what: &str, sidecar: f64, floor: Option<f64>, bound: f64) -> bool {
    let floor = floor.map_or_else(|| "-".to_owned(), |floor| format!("{floor:.2}"));
    println!("{what:<34} {sidecar:>12.2} {floor:>12} {bound:>12.2}");
    sidecar < bound
}

/// Five caches, from the environment alone: the Redis three times over, the memcached pair, and a forwarding one.
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

#[derive(Clone, Copy)]
enum Role {
    Sidecar,
    Floor,
}

/// Starts one, asks until it answers 200, and looks at its memory.
fn life(role: Role, redis: SocketAddr, caches: &[(String, String)]) -> (Duration, f64) {
    let port = Port::reserve();
    let mut command = match role {
        Role::Sidecar => Command::new(BINARY),
        Role::Floor => Command::new(std::env::current_exe().unwrap()),
    };
    match role {
        Role::Sidecar => {
            command.args(["serve", "--listen", &port.addr().to_string()]).envs(caches.iter().cloned())
        }
        Role::Floor => command.args(["floor", &port.addr().to_string(), &redis.to_string()]),
    };
    command.stderr(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let server = Ended(command.spawn().unwrap());
    while !answers(port.addr()) {
        assert!(began.elapsed() < support::PATIENCE, "it never answered 200");
        // On one core the server cannot start while this spins.
        std::thread::yield_now();
    }
    let took = began.elapsed();
    (took, resident(server.0.id()))
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

/// The medians in microseconds of a check, and of the same SET and GET written and read by hand on a blocking socket, in
/// turn.
fn round_trips(redis: &Redis, cache: &[(String, String)]) -> (f64, f64) {
    let mut environment: std::collections::BTreeMap<_, _> = cache.iter().cloned().collect();
    environment.insert("CACHE_CANARY_MAX_AGE".to_owned(), "0s".to_owned());
    let loaded = config::load(&Source { environment, ..Source::default() }).unwrap();
    let checker = Checker::new(&loaded.config).unwrap();
    let selection = checker.catalog().all();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bare = Bare::connect(redis.addr());
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
            bare.round_trip();
            floors.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    (median(checks), median(floors))
}

/// SET and GET, by hand.
struct Bare {
    redis: TcpStream,
    number: u64,
}

impl Bare {
    fn connect(redis: SocketAddr) -> Self {
        let redis = TcpStream::connect(redis).unwrap();
        redis.set_nodelay(true).unwrap();
        Self { redis, number: 0 }
    }

    fn round_trip(&mut self) -> bool {
        self.number += 1;
        let value = format!("{:020}", self.number);
        let set = format!(
            "*5\r\n$3\r\nSET\r\n$12\r\nbench-canary\r\n$20\r\n{value}\r\n$2\r\nPX\r\n$6\r\n120000\r\n"
        );
        self.ask(&set) == b"+OK\r\n"
            && self.ask("*2\r\n$3\r\nGET\r\n$12\r\nbench-canary\r\n")
                == format!("$20\r\n{value}\r\n").as_bytes()
    }

    fn ask(&mut self, command: &str) -> Vec<u8> {
        self.redis.write_all(command.as_bytes()).unwrap();
        let mut answer = vec![0; 128];
        let length = self.redis.read(&mut answer).unwrap();
        answer.truncate(length);
        answer
    }
}

/// The smallest server that does the same.
fn floor(listen: &str, redis: SocketAddr) -> ! {
    let listener = TcpListener::bind(listen).unwrap();
    let mut bare = Bare::connect(redis);
    loop {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        if client.read(&mut request).unwrap_or(0) > 0 {
            let code = if bare.round_trip() { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(client, "HTTP/1.1 {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "a size in bytes, shown with two decimals")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
