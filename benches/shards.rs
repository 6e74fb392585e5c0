//! 100,000 aliases, spread over ten sidecars, and over eleven: `cargo bench --bench shards [-- ALIASES]`.
//!
//! Each sidecar has the same list of targets, checks its shard, and keeps its connections. Shard 0 is measured in turn
//! with a sidecar that has no shard and a list of as many aliases. Both are processes, on all cores, beside the other nine.
//! The Redis servers, through which all of it goes, are on the same machine. A hundred thousand connections need a limit
//! of 20,000 open files a process, and 6 GB.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark, for a terminal"
)]
#![allow(clippy::cast_precision_loss, reason = "counts and sizes, shown with few digits")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use support::flood::raise_limit_of_files;
use support::{Redis, Sidecar, eventually, kib};

const ALIASES: usize = 100_000;
const SHARDS: usize = 10;
const SERVERS: usize = 8;

/// The files that a server may open, and a tenth less for clients.
const OPEN_FILES: u64 = 20_000;
const CLIENTS: &str = "18000";

/// Rounds on kept connections, each in turn with one of the sidecar without a shard.
const PAIRS: usize = 5;

/// The most that a round, and memory after it, may be of what they are without a shard.
const ROUND_BOUND: f64 = 1.25;
const MEMORY_BOUND: f64 = 1.5;

/// How far what moves may be from one in eleven, which is random.
const MOVED_BOUNDS: std::ops::RangeInclusive<f64> = 0.9..=1.1;

fn main() {
    let aliases = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ALIASES);
    let limit = getrlimit(Resource::Nofile).maximum;
    assert!(
        limit.is_none_or(|limit| limit >= OPEN_FILES),
        "{OPEN_FILES} open files are needed, see `ulimit -Hn`"
    );
    raise_limit_of_files();

    let servers: Vec<_> = (0..SERVERS).map(|_| Redis::start(&["--maxclients", CLIENTS])).collect();
    let folder = tempfile::tempdir().unwrap();
    let (all, few) = (folder.path().join("all.json"), folder.path().join("few.json"));
    write_targets(&all, &servers, aliases);
    write_targets(&few, &servers, aliases / SHARDS);

    let start = |shard, list: &Path| {
        let began = Instant::now();
        (Sidecar::start_with(&settings(shard), targets(list)), millis(began.elapsed()))
    };
    let (first, first_ready) = start(Some((0, SHARDS)), &all);
    let mut shards = vec![first];
    shards.extend((1..SHARDS).map(|index| start(Some((index, SHARDS)), &all).0));
    let (alone, alone_ready) = start(None, &few);

    println!("{aliases} aliases, {SHARDS} shards, {SERVERS} Redis servers, on {} cores", cores());
    println!("{:<38} {:>10} {:>10} {:>8}", "", "a shard", "no shard", "ratio");
    row("start to ready, ms", [first_ready, alone_ready]);
    row("memory when ready, MiB", [&shards[0], &alone].map(|sidecar| mib(sidecar, "VmRSS")));
    row("first round, which dials, ms", [&shards[0], &alone].map(|sidecar| millis(health(sidecar).0)));
    for shard in &shards[1..] {
        health(shard);
    }
    let pairs: Vec<_> =
        (0..PAIRS).map(|_| [&shards[0], &alone].map(|sidecar| millis(health(sidecar).0))).collect();
    row("aliases", [own_aliases(&shards[0]) as f64, (aliases / SHARDS) as f64]);
    let round = row("a round, ms", [0, 1].map(|side| median(pairs.iter().map(|pair| pair[side]).collect())));
    let memory = row("memory after it, MiB", [&shards[0], &alone].map(|sidecar| mib(sidecar, "VmRSS")));
    row("at its peak, MiB", [&shards[0], &alone].map(|sidecar| mib(sidecar, "VmHWM")));

    let began = Instant::now();
    let checked: usize = thread::scope(|scope| {
        let rounds: Vec<_> = shards.iter().map(|shard| scope.spawn(|| health(shard).1)).collect();
        rounds.into_iter().map(|round| round.join().unwrap()).sum()
    });
    println!("the {SHARDS} rounds at once, on this machine: {:.0} ms", millis(began.elapsed()));
    assert_eq!(checked, aliases, "each alias is checked, and by one");
    let sizes: Vec<_> = shards.iter().map(own_aliases).collect();
    println!("aliases of a shard: {} to {}", sizes.iter().min().unwrap(), sizes.iter().max().unwrap());

    let moved = grow(&mut shards, &all);
    let expected = aliases as f64 / (SHARDS + 1) as f64;
    let share = moved as f64 / expected;
    println!(
        "from {SHARDS} to {} shards {moved} aliases move, {share:.3} of one in {}",
        SHARDS + 1,
        SHARDS + 1
    );
    let checked: usize = shards.iter().map(|shard| health(shard).1).sum();
    assert_eq!(checked, aliases, "each alias is checked, and by one");

    assert!(round <= ROUND_BOUND, "a round takes {round:.3} of one without a shard");
    assert!(memory <= MEMORY_BOUND, "memory is {memory:.3} of that without a shard");
    assert!(MOVED_BOUNDS.contains(&share), "{moved} aliases have moved");
}

/// Writes a list of so many caches, spread over the servers.
fn write_targets(file: &Path, servers: &[Redis], aliases: usize) {
    let target = |number: usize| {
        let address = servers[number % servers.len()].addr().to_string();
        json!({ "targets": [address], "labels": { "alias": format!("cache-{number}") } })
    };
    fs::write(file, (0..aliases).map(target).collect::<Value>().to_string()).unwrap();
}

fn settings(shard: Option<(usize, usize)>) -> String {
    let shard = shard.map(|(index, of)| format!("shard = {{ index = {index}, of = {of} }}\n"));
    format!("timeout = \"10000ms\"\nreconnect_every = \"1h\"\n{}", shard.unwrap_or_default())
}

fn targets(list: &Path) -> String {
    format!("targets = \"{}\"", list.display())
}

/// Lets an eleventh take its part, as a `StatefulSet` does: how many aliases the others lost.
fn grow(shards: &mut Vec<Sidecar>, list: &Path) -> usize {
    let before: usize = shards.iter().map(own_aliases).sum();
    let began = Instant::now();
    for (index, shard) in shards.iter().enumerate() {
        shard.configure(&settings(Some((index, SHARDS + 1))), targets(list));
    }
    for shard in &*shards {
        eventually("the new shard is in force", || shard.log().contains("the new configuration is in force"));
    }
    println!("all {SHARDS} have the new configuration in force after {:.0} ms", millis(began.elapsed()));
    let after: Vec<_> = shards.iter().map(own_aliases).collect();
    for (shard, own) in shards.iter().zip(&after) {
        assert!(
            shard.log().contains(&format!("checks kept: {own}; removed: ")),
            "a check that stays is kept"
        );
    }
    shards.push(Sidecar::start_with(&settings(Some((SHARDS, SHARDS + 1))), targets(list)));
    before - after.iter().sum::<usize>()
}

/// Asks for a round: how long it took, and of how many aliases it was.
fn health(sidecar: &Sidecar) -> (Duration, usize) {
    let health = sidecar.health();
    assert_eq!(health.code, 200, "{} is not healthy", sidecar.addr());
    (health.took, health.body["checks"].as_object().unwrap().len())
}

fn own_aliases(sidecar: &Sidecar) -> usize {
    let text = sidecar.raw("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix("cache_shard_aliases "));
    value.unwrap().parse().unwrap()
}

/// Prints a figure of both and returns their ratio.
fn row(name: &str, [shard, alone]: [f64; 2]) -> f64 {
    let ratio = shard / alone;
    println!("{name:<38} {shard:>10.1} {alone:>10.1} {ratio:>8.3}");
    ratio
}

fn mib(sidecar: &Sidecar, line: &str) -> f64 {
    kib(&sidecar.pid().to_string(), "status", line) as f64 / 1024.0
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
