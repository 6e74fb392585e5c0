//! The means of tests that others would disturb.

use std::env;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    const ITSELF: &str = "CACHE_CANARY_TEST_IN_A_PROCESS_OF_ITS_OWN";
    if env::var_os(ITSELF).is_some() {
        return true;
    }
    let mut itself = Command::new(env::current_exe().expect("a path"));
    let output = itself.args(["--exact", test]).env(ITSELF, "yes").output().expect("the test runs");
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that no test has would be a success, of none.
    assert!(output.status.success() && said.contains(" 1 passed;"), "{said}");
    false
}
