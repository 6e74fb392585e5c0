//! (e) The cost of a sidecar without callers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Effort;
use super::limits;
use super::programs::{Endpoint, Five, Running, cpu, serve, serve_floor};
use super::sheet::{Sheet, figure};
use super::support::Port;

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("idle", &["idle CPU, % of a core", "cache-canary", "floor"]);
    let five = Five::start();
    let started = |start: &dyn Fn(&Port) -> Running| {
        let port = Port::reserve();
        let program = start(&port);
        Endpoint::Tcp(&port).wait_until_up();
        (program, port)
    };
    // A file is looked at, and the environment is not.
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "timeout = \"750ms\"\n").unwrap();
    let mut with_file = five.environment();
    with_file.push(("CACHE_CANARY_CONFIG".to_owned(), config.path().display().to_string()));
    let mut with_rounds = with_file.clone();
    with_rounds.push(("CACHE_CANARY_INTERVAL".to_owned(), "10s".to_owned()));
    let programs = [
        started(&|port| serve(port.addr(), &five.environment())),
        started(&|port| serve(port.addr(), &with_file)),
        started(&|port| serve(port.addr(), &with_rounds)),
        started(&|port| serve_floor(port.addr(), five.redis.addr())),
    ];
    // The rest of their start is no part of it.
    sleep(Duration::from_secs(1));
    let used = || programs.each_ref().map(|(program, _)| cpu(program.pid()).as_secs_f64());
    let (began, before) = (Instant::now(), used());
    sleep(Duration::from_secs(effort.of(60) as u64));
    let (after, took) = (used(), began.elapsed());
    let [ours, with_file, with_rounds, floor] =
        [0, 1, 2, 3].map(|place| 100.0 * (after[place] - before[place]) / took.as_secs_f64());
    for (name, ours) in [("five caches", ours), ("five caches and a file that is looked at", with_file)] {
        sheet.judged(&[name.to_owned(), figure(ours), figure(floor)], ours, limits::IDLE_CPU_PERCENT);
    }
    let name = "the same, and a round every 10 s".to_owned();
    sheet.row(&[name, figure(with_rounds), figure(floor)]);
    sheet.note(&format!("In {} s.", took.as_secs()));
    sheet
}
