//! The instructions of a request in a release, counted by valgrind: `cargo bench --bench instructions`.
//!
//! Unlike a time, a count is the same on a busy machine. It is an error if a path takes 3 % more than is recorded here, and so it is
//! if it takes 3 % less: then the lower number is to be recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]
#![allow(clippy::print_stdout, reason = "a benchmark, for a terminal")]

mod callgrind;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use callgrind::Counted;
use support::{Memcached, Redis};

/// A path that is asked for, and the instructions that a request takes.
struct Path {
    name: &'static str,
    target: &'static str,
    max_age: &'static str,
    caches: fn(&Redis, &Memcached) -> String,
    /// The number of requests that are counted.
    requests: u64,
    /// The pause before each.
    pause: Duration,
    recorded: u64,
}

const PATHS: [Path; 4] = [
    Path {
        name: "/health with a check of Redis",
        target: "/health",
        max_age: "0s",
        caches: |redis, _| redis.aliases(1),
        requests: 500,
        pause: Duration::ZERO,
        recorded: 68_900,
    },
    Path {
        name: "/health with a check of memcached",
        target: "/health",
        max_age: "0s",
        caches: |_, memcached| format!("[caches.main]\nservers = [\"{}\"]", memcached.addr()),
        requests: 500,
        pause: Duration::ZERO,
        recorded: 74_300,
    },
    Path {
        name: "/health from a shared check",
        target: "/health",
        max_age: "1m",
        caches: |redis, _| redis.aliases(1),
        requests: 100,
        // Longer than a text is shared: how many callers share one would depend on the machine.
        pause: Duration::from_millis(110),
        recorded: 51_500,
    },
    Path {
        name: "/metrics with a check of 100 caches",
        target: "/metrics",
        max_age: "0s",
        caches: |redis, _| redis.aliases(100),
        // A hundred checks at once are woken a few times more or less, as the answers come in.
        requests: 150,
        pause: Duration::ZERO,
        recorded: 10_800_000,
    },
];

/// The part of a recorded number by which a count may differ from it.
const SLACK: f64 = 0.03;

fn main() -> ExitCode {
    let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
    println!("{:<40} {:>12} {:>12} {:>8}", "instructions", "counted", "recorded", "ratio");
    let mut is_held = true;
    for path in &PATHS {
        let caches = (path.caches)(&redis, &memcached);
        let Path { target, max_age, requests, pause, .. } = *path;
        let counted = Counted { max_age, caches: &caches, target, pause };
        is_held &= path.judge(counted.in_program(env!("CARGO_BIN_EXE_cache-canary"), requests));
    }
    if is_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Path {
    /// Prints a count; `true` if it is as it was recorded.
    fn judge(&self, counted: u64) -> bool {
        let Self { name, recorded, .. } = *self;
        let ratio = share(counted, recorded);
        println!("{name:<40} {counted:>12} {recorded:>12} {ratio:>8.3}");
        // The recorded numbers are those of one architecture.
        if !cfg!(target_arch = "x86_64") || (ratio - 1.0).abs() <= SLACK {
            return true;
        }
        let said = if ratio > 1.0 {
            "more than it may take; docs/benchmarks.md tells how to see where"
        } else {
            "less: record the new number in benches/instructions.rs"
        };
        println!("  {said}");
        false
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(counted: u64, recorded: u64) -> f64 {
    counted as f64 / recorded as f64
}
