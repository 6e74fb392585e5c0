//! The means of tests that others would disturb.

use std::env;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Set in a process that runs one test. A sidecar that this starts must not take it for a setting.
const ITSELF: &str = "TEST_IN_A_PROCESS_OF_ITS_OWN";

/// The machine, as far as this program's tests go.
#[must_use]
pub struct Alone {
    _held: MutexGuard<'static, ()>,
}

/// Waits for the machine: tests that hold it run one after the other. One that failed lets go of it like any other.
pub fn alone() -> Alone {
    static MACHINE: Mutex<()> = Mutex::new(());
    Alone { _held: MACHINE.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// True in a process that runs this test (`module::function`) and no other, for tests that measure their own process.
/// In any other it starts that process, waits until the test has passed there, and is false.
pub fn in_a_process_of_its_own(test: &str) -> bool {
    is_by(Command::new(env::current_exe().expect("a path")), test)
}

/// The same, in a process that this command starts with the arguments of a test program.
pub(super) fn is_by(mut itself: Command, test: &str) -> bool {
    if env::var_os(ITSELF).is_some() {
        return true;
    }
    let arguments = ["--exact", test, "--nocapture"];
    let output = itself.args(arguments).env(ITSELF, "yes").output().expect("the test runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // A name that no test has would be a success, of none.
    assert!(output.status.success() && said.contains(" 1 passed;"), "{said}{errors}");
    false
}
