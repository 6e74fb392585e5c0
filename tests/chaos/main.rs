//! Chaos: one sidecar with a cache of every topology, faults of all of them by a seeded plan, and every answer of every
//! representation held against independent writers.
//!
//! `plan` says which fault is made when, `topologies` starts the servers, `events` makes the faults, `writers` try what
//! an application does, `callers` ask the sidecar, `judge` decides, and `report` counts and tells.
//!
//! ```sh
//! cargo test --test chaos                                                    # the seeds of CI, about a minute
//! CHAOS_SECONDS=600 CHAOS_SEED=7 cargo test --test chaos -- --nocapture      # one longer run
//! TEST_SERVER=valkey-9 cargo test --test chaos                               # on another server than Debian's Redis
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test a panic is the message"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod callers;
mod events;
mod judge;
mod plan;
mod report;
mod routing;
mod topologies;
mod wire;
mod writers;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use crate::callers::Callers;
use crate::judge::{Node, Status, Time, Unsettled};
use crate::report::{Happened, History, Run};
use crate::support::flood::raise_limit_of_files;
use crate::support::{Sidecar, eventually};
use crate::topologies::Topology;
use crate::writers::{Log, Writers};

/// The seeds of a run without variables, and the time of each.
const SEEDS: [u64; 2] = [18, 2026];
const SECONDS: u64 = 22;

/// How long writers and callers go on before the first fault, so that the first windows have a past.
const CALM: Duration = Duration::from_millis(500);

/// How long the writers and the sidecar may see different things after an event that writers can miss.
const SETTLING: Duration = Duration::from_millis(300);

#[test]
fn every_answer_is_right_and_in_time_whatever_happens_to_the_caches() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seconds = number("CHAOS_SECONDS").unwrap_or(SECONDS);
    match number("CHAOS_SEED") {
        Some(seed) => run(seed, Duration::from_secs(seconds)),
        None => SEEDS.into_iter().for_each(|seed| run(seed, Duration::from_secs(seconds))),
    }
}

/// A run of one seed.
fn run(seed: u64, time: Duration) {
    println!("chaos: seed {seed}, {} s", time.as_secs());
    raise_limit_of_files();
    let dir = tempfile::tempdir().expect("a directory");
    let mut topologies = topologies::start(dir.path());
    let config: String = topologies.iter().map(|topology| topology.config.as_str()).collect();
    let sidecar = Sidecar::start_with("max_age = \"100ms\"", config);
    sidecar.expect_up();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (began, began_at) = (Instant::now(), SystemTime::now());
    let is_over = Arc::<AtomicBool>::default();
    let (tasks, handle) = (JoinSet::new(), runtime.handle().clone());
    let mut writers = Writers { began, is_over: is_over.clone(), runtime: handle, tasks };
    let mut start = |topology: &Topology| -> Vec<(Status, Vec<Log>)> {
        topology.nodes.iter().map(|(target, weight)| (*weight, writers.start(target))).collect()
    };
    let logs: Vec<_> = topologies.iter().map(&mut start).collect();
    let callers = Callers {
        began,
        is_over: is_over.clone(),
        addr: sidecar.addr().to_owned(),
        config_file: sidecar.config_file(),
        aliases: topologies.iter().map(|topology| topology.alias).collect(),
        lulls: plan::lulls(seed, time).into(),
        answers: Arc::default(),
    };
    let mut asking = JoinSet::new();
    callers.start(seed, &mut asking, runtime.handle());
    let is_answered = Arc::<AtomicBool>::default();
    let control = runtime.spawn(callers.control(is_answered.clone()));
    thread::sleep(CALM);

    let made = make_all_faults(seed, &mut topologies, began, time);
    thread::sleep(CALM);
    is_over.store(true, Ordering::Relaxed);
    runtime.block_on(async { (asking.join_all().await, writers.tasks.join_all().await) });
    is_answered.store(true, Ordering::Relaxed);
    runtime.block_on(control).unwrap();
    eventually("everything is up at the end", || sidecar.health().body["status"] == "UP");

    let mut events: Vec<Happened> = made.iter().flat_map(|made| made.events.clone()).collect();
    events.sort_by_key(|event| event.begin);
    let all = topologies.iter().zip(logs).zip(made);
    let histories = all.map(|((topology, logs), made)| history(topology, logs, made)).collect();
    let mut answers = std::mem::take(&mut *callers.answers.lock().unwrap());
    answers.sort_by_key(|answer| answer.answered);
    let (lasted, log) = (began.elapsed(), sidecar.log());
    Run { seed, lasted, histories, answers, events, began_at, log }.conclude();
}

/// The nodes of an alias, as the judge wants them.
fn history(topology: &Topology, logs: Vec<(Status, Vec<Log>)>, made: Made) -> History {
    let nodes = logs.into_iter().enumerate().map(|(number, (weight, logs))| Node {
        weight,
        writers: logs.iter().map(attempts).collect(),
        kills: made.kills.iter().filter(|(node, _)| *node == number).map(|(_, time)| *time).collect(),
    });
    History { alias: topology.alias, nodes: nodes.collect(), unsettled: made.unsettled }
}

/// The attempts of a writer by their start.
fn attempts(log: &Log) -> Vec<judge::Attempt> {
    let mut attempts = std::mem::take(&mut *log.lock().unwrap());
    attempts.sort_by_key(|attempt| attempt.start);
    attempts
}

/// The faults of one alias that were made.
#[derive(Default)]
struct Made {
    events: Vec<Happened>,
    kills: Vec<(usize, Time)>,
    unsettled: Vec<Unsettled>,
}

/// Makes the faults of all aliases side by side.
fn make_all_faults(seed: u64, topologies: &mut [Topology], began: Instant, time: Duration) -> Vec<Made> {
    thread::scope(|scope| {
        let numbered = topologies.iter_mut().enumerate();
        let threads: Vec<_> = numbered
            .map(|(number, topology)| scope.spawn(move || make_faults(seed, number, topology, began, time)))
            .collect();
        let made: Result<_, _> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        made.unwrap_or_else(|_| panic!("seed {seed}: a fault could not be made or ended, see above"))
    })
}

/// Makes the faults of one alias by its plan.
fn make_faults(seed: u64, number: usize, topology: &mut Topology, began: Instant, time: Duration) -> Made {
    let mut made = Made::default();
    let servers = topology.servers.as_mut();
    for event in plan::events(seed, number, topology.faults, time) {
        if began.elapsed() + event.rest + event.hold > time {
            break;
        }
        thread::sleep(event.rest);
        let from = began.elapsed();
        let killed = servers.begin(&event);
        let is_made = began.elapsed();
        made.kills.extend(killed.map(|node| (node, is_made)));
        thread::sleep(event.hold);
        let end = began.elapsed();
        servers.end(&event);
        let settled = began.elapsed();
        let mut unsettle = |begin, end, worst| {
            made.unsettled.push(Unsettled { begin, end: end + SETTLING, worst });
        };
        if event.kind.can_be_missed() {
            unsettle(from, is_made, Status::Down);
            unsettle(end, settled, Status::Down);
        }
        if event.kind.divides() {
            unsettle(from, settled, Status::Degraded);
        }
        let (alias, kind, server) = (topology.alias, event.kind, event.server);
        made.events.push(Happened { alias, kind, server, begin: from, made: is_made, end, settled });
    }
    made
}
