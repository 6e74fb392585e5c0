//! The program where it answers and ends, as `check` and `acl` do.

use std::fs;
use std::process::{Command, Output};

/// Runs the program with these arguments for this configuration, which the environment adds nothing to.
pub fn run(arguments: &[&str], config: &str) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cache-canary.toml");
    fs::write(&file, config).expect("to write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CACHE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("-c").arg(file).output().expect("to run it")
}
