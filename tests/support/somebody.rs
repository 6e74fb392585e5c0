//! A user without rights, for limits that do not count for root.

use std::process::Command;

use rustix::process::getuid;

/// A program as a user of its own where the test may choose one.
pub fn as_somebody(program: &str) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=54321", "--regid=54321", "--clear-groups", program]);
    command
}
