//! The machine and the programs of the figures.

use std::fs;
use std::process::Command;

/// The machine and the versions, in one sentence.
pub(crate) fn sentence() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = said("uname", &["-sr"]);
    let rustc = said("rustc", &["--version"]);
    // `Redis server v=7.0.15 sha=...`.
    let redis = said("redis-server", &["--version"]);
    let redis = redis.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned();
    let memcached = said("memcached", &["--version"]);
    let rustc = rustc.split(' ').nth(1).unwrap_or("?");
    format!("{model}, one core of {cores}, {kernel}, Rust {rustc}, Redis {redis}, {memcached}.")
}

/// Which commit and when.
pub(crate) fn stamp() -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let commit = said("git", &["-C", root, "rev-parse", "--short", "HEAD"]);
    let changed = !said("git", &["-C", root, "status", "--porcelain", "--", "src", "Cargo.toml"]).is_empty();
    let with = if changed { " with changes" } else { "" };
    format!("Measured at commit {commit}{with}, {}.", said("date", &["-u", "+%Y-%m-%d"]))
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok();
    output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
