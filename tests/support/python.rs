//! Programs in Python, with the packages that `tests/requirements.txt` names.

use std::process::Command;

/// The folder of the packages.
pub(super) const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python");

/// Python, to run this script, a path under `tests`, with these arguments.
pub fn python(script: &str, arguments: &[&str]) -> Command {
    let script = format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).env("PYTHONPATH", PACKAGES);
    command
}
