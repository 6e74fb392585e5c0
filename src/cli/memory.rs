//! The protection of this process's memory, which holds passwords and private keys.

use rustix::io;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core files, and forbids other processes of the same user to trace this one or to read its memory and its
/// environment in `/proc` (`PR_SET_DUMPABLE(2const)`).
///
/// The limit of core files is for the programs that this process starts, which inherit it. The kernel ignores it if it pipes core
/// files to a program (`core(5)`).
pub(super) fn protect() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limited
}
