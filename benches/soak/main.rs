//! Hours of a sidecar's life in minutes: `cargo bench --bench soak [-- SECONDS]`, two minutes without a number.
//!
//! Callers of every representation ask without a pause, clients of the feed and of gRPC's `Watch` come and go, caches
//! break and recover, certificates are replaced, and the configuration is reloaded. The soak fails at the first false
//! alarm, at the first fault that is not seen, and if memory, descriptors, threads, keys or connections have grown. With
//! `UPDATE=1` it draws them into `docs/soak.svg`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark, for a terminal"
)]
#![allow(clippy::cast_precision_loss, reason = "counts and sizes, shown with few digits")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod callers;
mod figures;
mod picture;
mod scene;
mod watchers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use figures::{Moment, Watched};
use scene::Scene;

/// The callers that ask without a pause.
const CALLERS: usize = 4;

/// How often the state is measured.
const MOMENTS: u32 = 240;

/// The checks of an alias in an hour, by the kubelet's default period of 10 s.
const AN_HOUR: u64 = 360;

/// The end of the soak, which every part of it looks for.
#[derive(Clone, Copy)]
struct Until<'a> {
    end: Instant,
    /// Whether a part has failed.
    failed: &'a AtomicBool,
}

impl Until<'_> {
    fn is_reached(self) -> bool {
        Instant::now() >= self.end || self.failed.load(Ordering::Relaxed)
    }

    /// Does a part of the soak, and ends the other parts if it panics.
    fn part<T>(self, part: impl FnOnce(Self) -> T) -> T {
        struct Failing<'a>(&'a AtomicBool);
        impl Drop for Failing<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
            }
        }
        let _failing = Failing(self.failed);
        part(self)
    }
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(120);
    let took = Duration::from_secs(seconds);
    let (scene, mut weather) = Scene::start();
    println!("callers, faults and reloads for {seconds} s");
    let began = Instant::now();
    let failed = AtomicBool::new(false);
    let until = Until { end: began + took, failed: &failed };
    let (moments, faults, reloads, asked, streams) = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| scope.spawn(|| until.part(|until| callers::ask(scene.addr(), until))))
            .collect();
        let streams = scope.spawn(|| until.part(|until| watchers::come_and_go(scene.addr(), until)));
        let faults = scope.spawn(|| until.part(|until| weather.rage(&scene, until)));
        let reloads = scope.spawn(|| until.part(|until| scene.reload(until)));
        let moments = until.part(|until| watch(&scene, began, took / MOMENTS, until));
        let asked: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        (moments, faults.join().unwrap(), reloads.join().unwrap(), asked, streams.join().unwrap())
    });
    let checks = moments.last().unwrap().checks;
    let summary = format!(
        "{checks} checks in {seconds} s, {asked} answers, {streams} streams, {} faults, {reloads} reloads: no false alarm, no \
         fault missed",
        faults.len()
    );
    println!("{summary}");
    println!(
        "as many checks of an alias as in {} hours of a kubelet's probe",
        checks / scene::ALIASES / AN_HOUR
    );
    for watched in Watched::ALL {
        let [first, last] = watched.ends(&moments);
        println!("{:<32} {first:>8.1} at first, {last:>8.1} at the end", watched.name());
        assert!(last <= first + watched.allowance(), "{} has grown", watched.name());
    }
    if std::env::var_os("UPDATE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/soak.svg");
        std::fs::write(file, picture::draw(began, &moments, &faults)).unwrap();
    }
}

/// Measures the state `every` so often.
fn watch(scene: &Scene, began: Instant, every: Duration, until: Until) -> Vec<Moment> {
    let mut moments = Vec::new();
    while !until.is_reached() {
        moments.push(scene.measure(began.elapsed()));
        thread::sleep(every.min(until.end.saturating_duration_since(Instant::now())));
    }
    moments
}
