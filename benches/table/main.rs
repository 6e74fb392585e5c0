//! The cost of cache-canary, each figure beside a floor that is measured in the same run, in turn with it:
//! `cargo bench --bench table [-- GROUP...] [-- --quick]`.
//!
//! Everything runs pinned to one core, client, sidecar and caches together: on more of them the time to wake an idle
//! core drowns what is measured. A group is a file; what each is to come to stands in `limits.rs`. With `UPDATE=1` the
//! tables of the groups that ran are written into `docs/benchmarks.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark, for a terminal"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and sizes, shown with few digits"
)]

#[path = "../callgrind.rs"]
mod callgrind;
#[path = "../../tests/support/mod.rs"]
mod support;

mod check;
mod fault;
mod footprint;
mod health;
mod idle;
mod limits;
mod load;
mod machine;
mod programs;
mod raw;
mod round;
mod sample;
mod sheet;
mod variants;

use std::process::ExitCode;

use rustix::thread::{CpuSet, sched_setaffinity};
use sheet::Sheet;
use support::flood::raise_limit_of_files;

/// The argument with which this program does a part of its own work, in a process of its own.
const PART: &str = "--part";

/// Measures a group.
type Group = fn(Effort) -> Sheet;

/// The groups, in the order of the page.
const GROUPS: [(&str, Group); 7] = [
    ("check", check::run),
    ("round", round::run),
    ("health", health::run),
    ("footprint", footprint::run),
    ("idle", idle::run),
    ("fault", fault::run),
    (variants::NAME, variants::run),
];

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Enough for figures.
    Full,
    /// Enough to see that everything can be measured.
    Quick,
}

impl Effort {
    /// So many times, or a twentieth of it.
    fn of(self, times: usize) -> usize {
        match self {
            Self::Full => times,
            Self::Quick => (times / 20).max(2),
        }
    }
}

fn main() -> ExitCode {
    // cargo says `--bench` to every benchmark.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    // Ten thousand connections are more files than a process has by default.
    raise_limit_of_files();
    if let Some((PART, part)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        part_of_it(part);
        return ExitCode::SUCCESS;
    }
    let (options, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with('-'));
    let known = |name: &&String| GROUPS.iter().any(|(group, _)| group == name);
    if options.iter().any(|option| *option != "--quick") || !names.iter().all(known) {
        let groups = GROUPS.map(|(group, _)| group).join(", ");
        eprintln!("usage: cargo bench --bench table [-- [--quick] [GROUP...]]; the groups are {groups}");
        return ExitCode::from(2);
    }
    let effort = if options.is_empty() { Effort::Full } else { Effort::Quick };
    let update = std::env::var_os("UPDATE").is_some();
    if update && effort == Effort::Quick {
        eprintln!("what is measured with --quick is not for the page");
        return ExitCode::from(2);
    }

    // Before it is pinned, as it takes all cores.
    programs::sidecar();
    programs::floor();
    let is_wanted =
        |group: &str| names.is_empty() && group != variants::NAME || names.iter().any(|name| *name == group);
    if is_wanted("footprint") {
        programs::static_sidecar();
    }
    if is_wanted(variants::NAME) {
        variants::programs();
    }
    let machine = machine::sentence();
    println!("{machine}");
    let mut core = CpuSet::new();
    core.set(0);
    sched_setaffinity(None, &core).unwrap();

    let mut broken = Vec::new();
    for (name, run) in GROUPS {
        if !is_wanted(name) {
            continue;
        }
        let mut sheet = run(effort);
        sheet.note(&machine::stamp());
        println!("\n{}:\n\n{}", sheet.name(), sheet.text());
        broken.extend_from_slice(sheet.broken());
        if update {
            sheet::write_into_page("machine", &format!("{machine}\n"));
            sheet::write_into_page(sheet.name(), &format!("\n{}\n", sheet.text()));
        }
    }
    for broken in &broken {
        eprintln!("a bound does not hold: {broken}");
    }
    // So few measurements judge nothing.
    if broken.is_empty() || effort == Effort::Quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn part_of_it(args: &[String]) {
    let (part, args) = args.split_first().expect("the name of a part");
    match part.as_str() {
        check::INSTRUCTIONS => check::count_instructions(args),
        health::TRIVIAL => health::serve_trivial(args),
        round::NODES => round::check_nodes(args),
        round::STREAMS => round::use_streams(args),
        other => panic!("no part is called {other}"),
    }
}
