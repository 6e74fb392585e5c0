//! A thousand nodes in one process, beside the same bytes over a thousand raw streams, measured in the same
//! run: `cargo bench --bench nodes`.
//!
//! Memory is measured in processes of their own, so that neither has what the other has freed; what a process
//! with one node of each kind takes is no node's. Everything runs pinned to one core, the servers included.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark, for a terminal")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{Cache, Config};
use cache_canary::outcome::Status;
use futures_util::future::join_all;
use rustix::thread::{CpuSet, sched_setaffinity};
use support::in_process::{memcached_at, one_cache, redis_at};
use support::{Memcached, Redis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REDIS_NODES: usize = 750;
const MEMCACHED_NODES: usize = 250;
const NODES: usize = REDIS_NODES + MEMCACHED_NODES;
const ALL: Nodes = Nodes { redis: REDIS_NODES, memcached: MEMCACHED_NODES };
const ONE_EACH: Nodes = Nodes { redis: 1, memcached: 1 };
const ROUNDS: usize = 200;

/// What a node may cost in memory, in kB, and its round in time, in floors.
const MEMORY_BOUND: f64 = 4.75;
const TIME_BOUND: f64 = 1.4;

fn main() {
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    // A process that measures memory is told what of, and where the servers are.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [what, redis, memcached, redis_nodes, memcached_nodes] = args.as_slice() {
        let servers = Servers { redis: redis.parse().unwrap(), memcached: memcached.parse().unwrap() };
        let nodes =
            Nodes { redis: redis_nodes.parse().unwrap(), memcached: memcached_nodes.parse().unwrap() };
        println!("{}", runtime.block_on(memory(what, servers, nodes)));
        return;
    }

    let (redis, memcached) = (Redis::start(&["--maxclients", "4000"]), Memcached::start(&["-c", "4000"]));
    let servers = Servers { redis: redis.addr(), memcached: memcached.addr() };
    let grown = |what: &str, nodes: Nodes| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([what, &servers.redis.to_string(), &servers.memcached.to_string()]);
        let output = command.args([nodes.redis.to_string(), nodes.memcached.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap()
    };
    let kilobytes = |what| (grown(what, ALL) - grown(what, ONE_EACH)) / as_f64(NODES - 2);
    let (memory, memory_floor) = (kilobytes("checker"), kilobytes("floor"));
    let Times { first, round, floor, ratio } = runtime.block_on(times(servers));

    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{NODES} nodes: {REDIS_NODES} Redis, {MEMCACHED_NODES} memcached{:>15} {:>10} {:>10}",
        "checker", "floor", "bound"
    );
    let row = |what: &str, checker: f64, floor: Option<f64>, bound: f64| {
        let floor = floor.map_or_else(String::new, |floor| format!("{floor:.2}"));
        println!("{what:<44} {checker:>10.2} {floor:>10} {bound:>10.2}");
        checker < bound
    };
    let mut held = row("memory a node, kB", memory, Some(memory_floor), MEMORY_BOUND);
    let (round, floor) = (milliseconds(round), milliseconds(floor));
    row("a round on kept connections, ms", round, Some(floor), TIME_BOUND * floor);
    held &= row("the first round, which dials, ms", milliseconds(first), None, 750.0);
    held &= ratio < TIME_BOUND;
    println!(
        "\nThe round is {ratio:.2} times its floor (bound {TIME_BOUND}), by the median of {ROUNDS} pairs."
    );
    assert!(held, "a bound does not hold");
}

#[derive(Clone, Copy)]
struct Servers {
    redis: SocketAddr,
    memcached: SocketAddr,
}

#[derive(Clone, Copy)]
struct Nodes {
    redis: usize,
    memcached: usize,
}

/// One ring of memcached servers, and an alias for each Redis.
fn config(servers: Servers, nodes: Nodes) -> Config {
    let mut config = one_cache(memcached_at(&vec![servers.memcached; nodes.memcached]));
    for number in 0..nodes.redis {
        let alias = Alias::try_from(format!("redis-{number}").as_str()).unwrap();
        config.caches.push(Cache::new(alias, redis_at(servers.redis)));
    }
    // A connection that is replaced meanwhile has no floor.
    config.reconnect_every = Duration::from_hours(1);
    config
}

async fn check(checker: &Checker) {
    let selection = checker.catalog().all();
    let report = checker.check(&selection, tokio::time::Instant::now()).await;
    assert_eq!(report.status(), Status::Up);
}

/// How much the process grew, in kB, by what is measured and by its rounds.
async fn memory(what: &str, servers: Servers, nodes: Nodes) -> usize {
    let before = anonymous_kib();
    match what {
        "checker" => {
            let checker = Checker::new(&config(servers, nodes)).unwrap();
            for _ in 0..3 {
                check(&checker).await;
            }
            anonymous_kib() - before
        }
        "floor" => {
            let mut streams = Raw::connect_all(servers, nodes).await;
            for _ in 0..3 {
                join_all(streams.iter_mut().map(Raw::round_trips)).await;
            }
            anonymous_kib() - before
        }
        other => panic!("{other}"),
    }
}

/// The memory that is the process' own: what else is resident is the program, of which each node needs the same.
fn anonymous_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What rounds take.
struct Times {
    first: Duration,
    /// The medians of the checker's and the floor's, in turn, and of what each pair makes.
    round: Duration,
    floor: Duration,
    ratio: f64,
}

async fn times(servers: Servers) -> Times {
    let checker = Checker::new(&config(servers, ALL)).unwrap();
    let mut streams = Raw::connect_all(servers, ALL).await;
    let began = Instant::now();
    check(&checker).await;
    let first = began.elapsed();
    let (mut rounds, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        check(&checker).await;
        let round = began.elapsed();
        let began = Instant::now();
        join_all(streams.iter_mut().map(Raw::round_trips)).await;
        let floor = began.elapsed();
        ratios.push(round.as_secs_f64() / floor.as_secs_f64());
        rounds.push(round);
        floors.push(floor);
    }
    let (round, floor) = (median(rounds, Duration::cmp), median(floors, Duration::cmp));
    Times { first, round, floor, ratio: median(ratios, f64::total_cmp) }
}

/// A raw stream, and the bytes that a check sends over one.
struct Raw {
    stream: TcpStream,
    set: String,
    get: String,
    /// How long the answers are.
    answers: [usize; 2],
}

impl Raw {
    async fn connect_all(servers: Servers, nodes: Nodes) -> Vec<Self> {
        let redis = (0..nodes.redis).map(|number| Self::connect(servers.redis, number, true));
        let memcached = (0..nodes.memcached).map(|number| Self::connect(servers.memcached, number, false));
        let mut streams = join_all(redis).await;
        streams.extend(join_all(memcached).await);
        streams
    }

    async fn connect(server: SocketAddr, number: usize, redis: bool) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // As long as a canary's.
        let key = format!("djblets-canary:test:redis-{number:03}:127.0.0.1:46379:9f86d081884c7d65:a");
        let value = "cache-canary/1 test 9f86d081884c7d65 12 1795344660250";
        let (key_len, len) = (key.len(), value.len());
        if redis {
            Self {
                stream,
                set: format!(
                    "*5\r\n$3\r\nSET\r\n${key_len}\r\n{key}\r\n${len}\r\n{value}\r\n$2\r\nPX\r\n$6\r\n120000\r\n"
                ),
                get: format!("*2\r\n$3\r\nGET\r\n${key_len}\r\n{key}\r\n"),
                answers: ["+OK\r\n".len(), format!("${len}\r\n{value}\r\n").len()],
            }
        } else {
            Self {
                stream,
                set: format!("ms {key} {len} T120\r\n{value}\r\n"),
                get: format!("mg {key} v k\r\n"),
                answers: ["HD\r\n".len(), format!("VA {len} k{key}\r\n{value}\r\n").len()],
            }
        }
    }

    async fn round_trips(&mut self) {
        let mut answer = [0; 512];
        for (command, len) in [&self.set, &self.get].into_iter().zip(self.answers) {
            self.stream.write_all(command.as_bytes()).await.unwrap();
            self.stream.read_exact(&mut answer[..len]).await.unwrap();
        }
    }
}

fn median<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> Ordering) -> T {
    values.sort_by(order);
    values[values.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "a count, shown with two decimals")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
