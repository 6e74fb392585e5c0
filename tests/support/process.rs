//! A server's process: started, killed, stopped, continued, and gone when its handle is.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use super::eventually;

/// A running server with a directory of its own, both gone when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    program: String,
    child: Child,
    dir: TempDir,
}

/// A line of a file that `/proc` has of a process, in KiB.
pub fn kib(pid: &str, file: &str, line: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("its memory");
    let value = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    value.expect(line).trim().trim_end_matches(" kB").parse().expect("a number")
}

impl Process {
    /// Starts `program` in `dir`, where its output goes to the file `log`.
    pub(super) fn spawn(program: impl Into<String>, args: &[String], dir: TempDir) -> Self {
        let program = program.into();
        let child = spawn(&program, args, dir.path());
        Self { program, child, dir }
    }

    /// Starts the program again after [`Self::kill`].
    pub(super) fn respawn(&mut self, args: &[String]) {
        assert!(self.has_ended(), "{} still runs: kill it first", self.program);
        self.child = spawn(&self.program, args, self.dir.path());
    }

    /// Waits until the program answers; panics with its log when it ends instead.
    pub(super) fn wait_until(&mut self, mut answers: impl FnMut() -> bool) {
        eventually(&format!("{} answers", self.program), || {
            assert!(!self.has_ended(), "{} ended at its start:\n{}", self.program, self.log());
            answers()
        });
    }

    /// The process' id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The private directory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that the program printed.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends the process with SIGKILL; it is gone on return.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of a killed process");
    }

    /// Stops the process with SIGSTOP; none of its threads runs on return.
    pub(super) fn stop(&self) {
        kill_process(self.id(), Signal::STOP).expect("SIGSTOP");
        let (_, status) =
            waitpid(Some(self.id()), WaitOptions::UNTRACED).expect("to wait").expect("a status");
        assert!(status.stopped(), "SIGSTOP did not stop {}: {status:?}", self.program);
    }

    /// Lets a stopped process go on.
    pub(super) fn cont(&self) {
        kill_process(self.id(), Signal::CONT).expect("SIGCONT");
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("to ask for a status").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already; then both are without effect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, args: &[String], dir: &Path) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log file");
    Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; `tests/run` installs what the tests need")
        })
}
