//! A million checks of healthy servers: no false alarm, and no growth in memory, connections or keys.
//! `cargo bench --bench soak [-- CHECKS]`; the default of a million takes some minutes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark, for a terminal")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use support::{Memcached, Redis, Sidecar};

/// The aliases that each request checks.
const ALIASES: usize = 2;
/// How many callers ask at the same time.
const CALLERS: usize = 4;
/// How often the state is looked at.
const LOOKS: usize = 10;

fn main() {
    let checks = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let (redis, pair) = (Redis::start(&[]), [(); 2].map(|()| Memcached::start(&[])));
    // Every request is a check of its own, or shares one that began after it arrived; and each connection is
    // replaced many times over.
    let sidecar = Sidecar::start_with(
        "max_age = \"0s\"\nreconnect_every = \"50ms\"",
        format!(
            "[caches.main]\nurl = \"redis://{}\"\n[caches.pair]\nservers = [\"{}\", \"{}\"]\nbackend = \"memcached\"",
            redis.addr(),
            pair[0].addr(),
            pair[1].addr()
        ),
    );
    let began = std::time::Instant::now();
    let mut done = 0;
    let look = |done: usize| {
        let state = State::of(&sidecar, &redis, &pair);
        println!("{done:>9} checks {:>8.1?} {state:?}", began.elapsed());
        state
    };
    // The first tenth fills what is made once and kept.
    let mut first = None;
    let mut last = None;
    while done < checks {
        done += round(&sidecar, checks / LOOKS);
        last = Some(look(done));
        first.get_or_insert(last.unwrap());
    }
    let (first, last) = (first.unwrap(), last.unwrap());
    assert!(last.resident_kib <= first.resident_kib + 512, "memory has grown");
    assert!(last.files <= first.files + 4, "open files have grown");
    assert!(last.redis_keys <= 2, "keys have grown in Redis");
    assert!(last.memcached_keys <= 4, "keys have grown in memcached");
    println!("no false alarm in {done} checks, and nothing has grown");
}

/// Asks until this many checks were made, and gives how many it were. Panics at the first that is not up.
fn round(sidecar: &Sidecar, checks: usize) -> usize {
    let requests = checks.div_ceil(ALIASES * CALLERS);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| ask(sidecar.addr(), requests));
        }
    });
    requests * CALLERS * ALIASES
}

fn ask(addr: &str, requests: usize) {
    let mut stream = BufReader::new(TcpStream::connect(addr).unwrap());
    let mut line = String::new();
    let mut body = Vec::new();
    for _ in 0..requests {
        stream.get_mut().write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        let up = line.starts_with("HTTP/1.1 200");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).unwrap();
        assert!(up, "a false alarm: {}", String::from_utf8_lossy(&body));
    }
}

#[derive(Debug, Clone, Copy)]
struct State {
    resident_kib: usize,
    files: usize,
    redis_keys: usize,
    memcached_keys: usize,
}

impl State {
    fn of(sidecar: &Sidecar, redis: &Redis, pair: &[Memcached; 2]) -> Self {
        Self {
            resident_kib: sidecar.resident_kib(),
            files: sidecar.open_files(),
            redis_keys: redis.command(&["DBSIZE"]).parse().unwrap(),
            memcached_keys: pair
                .iter()
                .map(|server| server.stat("curr_items").parse::<usize>().unwrap())
                .sum(),
        }
    }
}
