//! (g) What a release would be if it were compiled otherwise.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::Effort;
use super::callgrind::Counted;
use super::footprint::Life;
use super::health::{one_redis, owned};
use super::load::Callers;
use super::programs::{Endpoint, Five, cpu, serve_by, variant};
use super::raw::runtime;
use super::sample::{median, micros};
use super::sheet::{Sheet, figure};
use super::support::{Port, Redis};

/// The name of this group, which is measured only by name: it builds for ten minutes.
pub(crate) const NAME: &str = "variants";

/// The variants, the release as it is first.
const VARIANTS: [(&str, &[&str]); 5] = [
    ("as it is", &[]),
    (
        "tokio, hyper and what they need for size",
        &[
            "profile.release.package.tokio.opt-level=\"z\"",
            "profile.release.package.bytes.opt-level=\"z\"",
            "profile.release.package.fnv.opt-level=\"z\"",
            "profile.release.package.httparse.opt-level=\"z\"",
            "profile.release.package.http.opt-level=\"z\"",
            "profile.release.package.hyper.opt-level=\"z\"",
            "profile.release.package.matchit.opt-level=\"z\"",
        ],
    ),
    ("`opt-level = \"s\"`", &["profile.release.opt-level=\"s\""]),
    ("`opt-level = 3`", &["profile.release.opt-level=3"]),
    // `build.rs` leaves a program with debug information alone.
    ("without `build.ld`", &["profile.release.debug=1"]),
];

/// The programs of the variants.
pub(crate) fn programs() -> &'static [PathBuf] {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let variants = VARIANTS.iter().enumerate();
        variants.map(|(number, (_, config))| variant(number, config)).collect()
    })
}

pub(crate) fn run(effort: Effort) -> Sheet {
    let heads = ["", "binary, MB", "instructions a request", "CPU a request, us", "of as it is"];
    let heads = [&heads[..], &["RSS, MiB; five caches", "PSS, MiB", "start to first 200, ms"]].concat();
    let mut sheet = Sheet::new(NAME, &heads);
    let lives = lives(effort);
    let costs = costs(effort);
    for (place, ((name, _), program)) in VARIANTS.iter().zip(programs()).enumerate() {
        let of_lives = |what: fn(&Life) -> f64| median(lives[place].iter().map(what).collect());
        let cost = median(costs[place].clone());
        sheet.row(&[
            (*name).to_owned(),
            figure(fs::metadata(program).unwrap().len() as f64 / 1e6),
            instructions(program.to_str().unwrap()).to_string(),
            figure(cost),
            figure(cost / median(costs[0].clone())),
            figure(of_lives(|life| life.memory[0])),
            figure(of_lives(|life| life.memory[1])),
            figure(of_lives(|life| life.start)),
        ]);
    }
    sheet.note(
        "`/health` with a check of Redis each, on a kept connection. The CPU time has the kernel's in it.",
    );
    sheet
}

/// Starts of each variant, in turn.
fn lives(effort: Effort) -> Vec<Vec<Life>> {
    let five = Five::start();
    let mut all: Vec<Vec<Life>> = programs().iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.of(20) {
        for (lives, program) in all.iter_mut().zip(programs()) {
            let port = Port::reserve();
            let start = || serve_by(program, port.addr(), &five.environment());
            lives.push(Life::of(&Endpoint::Tcp(&port), start));
        }
    }
    all
}

/// The microseconds of CPU time that a request takes, by each variant in turn.
fn costs(effort: Effort) -> Vec<Vec<f64>> {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let mut environment = one_redis(&redis);
    environment.push(owned(("CACHE_CANARY_MAX_AGE", "0s")));
    let mut servers: Vec<_> = programs()
        .iter()
        .map(|program| {
            let port = Port::reserve();
            let running = serve_by(program, port.addr(), &environment);
            Endpoint::Tcp(&port).wait_until_up();
            let callers = Callers::connect(&runtime, port.addr(), 1);
            (running, port, callers, Vec::new())
        })
        .collect();
    for _ in 0..effort.of(40) {
        for (running, _, callers, costs) in &mut servers {
            let before = cpu(running.pid());
            let turn = callers.ask(&runtime, Duration::from_millis(200));
            costs.push(micros(cpu(running.pid()).saturating_sub(before)) / turn.latencies.len() as f64);
        }
    }
    servers.into_iter().map(|(.., costs)| costs).collect()
}

fn instructions(program: &str) -> u64 {
    let redis = Redis::start(&[]);
    let caches = redis.aliases(1);
    let counted = Counted { max_age: "0s", caches: &caches, target: "/health", pause: Duration::ZERO };
    counted.in_program(program, 500)
}
