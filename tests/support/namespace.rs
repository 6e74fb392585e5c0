//! Namespaces of a test's own (`unshare(1)`), in which it may break what the machine needs.

use std::env;
use std::process::Command;

use super::alone::is_by;

/// The reason why none can be made here, if so.
pub fn none_can_be_made(namespaces: &[&str]) -> Option<String> {
    let output = Command::new("unshare").args(namespaces).arg("true").output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("there is no unshare: {error}")),
    }
}

/// True in a process that runs this test (`module::function`) alone, in these namespaces and after this script. In any other
/// it starts that process, waits until the test has passed there, and is false.
pub fn in_namespaces(test: &str, namespaces: &[&str], script: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-ec", &format!("{script}\nexec \"$0\" \"$@\"")]);
    command.arg(env::current_exe().expect("a path"));
    is_by(command, test)
}
