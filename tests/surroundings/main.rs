//! A sidecar in bad surroundings. In each, the probe is right and in time: up while the cache is up, down at the first request
//! after it has died, up again when both the cache and the surroundings are. Nothing panics, and the words name what is missing.
//!
//! | surroundings | file here | tested elsewhere |
//! | --- | --- | --- |
//! | no descriptors | `descriptors` | `load/dials`: the limit is raised, and told at the start |
//! | no threads, no processes | `threads` | `redis/names`: a limit that comes later |
//! | no memory | `memory` | `hostile/places`: the limits of `deploy/` |
//! | standard streams closed or full | `environment` | `cli/log`: standard error, in eight ways; `cli/output`: standard output of commands |
//! | a closed reader (SIGPIPE) | | `cli/output`, and `cli/log` for a pipe whose reader comes back |
//! | variables, time zone, working directory | `environment` | |
//! | a root that is only to be read | `root` | `deploy/docker`: an image with `--read-only` |
//! | a wall clock that is set | `clock` | |
//! | DNS that is silent, loses or lies | `dns` | `redis/names`: lookups that hang, by hundreds |
//! | no IPv6 | `network` | `http/server`: both families at one wildcard |
//! | the first process of a container | | `cli/first_process` |
//! | a socket file in use, or left behind | | `cli/serve`, `http/server` |
//! | a configuration that is swapped all the time | `configuration` | `sharing/reload`: single changes |
//! | a password program that hangs, forks or floods | `password` | `redis/credentials`: each wrong output |
//!
//! Surroundings that need root, or namespaces, are skipped without them, and say so.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod configuration;
mod descriptors;
mod dns;
mod environment;
mod memory;
mod network;
mod password;
mod root;
mod threads;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Port, Redis, Sidecar};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cache-canary");

/// The clock and the sockets of a process that must believe in others.
const LIBRARY: &str = "tests/surroundings/surroundings.c";

/// The time in which a request without a check is answered, and what a machine with other things to do may add.
const PROMISED: Duration = Duration::from_millis(250);
const SCHEDULING: Duration = Duration::from_secs(2);

/// A sidecar in surroundings of its own, with its log in a file.
struct Surrounded {
    sidecar: Sidecar,
    log: tempfile::NamedTempFile,
}

impl Surrounded {
    /// Starts it by a command that makes the surroundings.
    fn start(command: Command, settings: &str, caches: &str) -> Self {
        Self::start_at(&Port::reserve(), command, settings, caches)
    }

    fn start_at(port: &Port, mut command: Command, settings: &str, caches: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stderr(File::options().append(true).open(log.path()).unwrap());
        Self { sidecar: Sidecar::start_by(command, port, settings, caches), log }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// The number of lines of its log that hold these words.
    fn logged(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Goes through an outage of the only cache. Each request is answered in time, the first one after a change rightly.
    fn expect_an_outage_to_be_seen(&self, redis: &mut Redis) {
        self.expect(200, "UP");
        redis.kill();
        self.expect(503, "DOWN");
        redis.restart();
        self.expect(200, "UP");
    }

    fn expect(&self, code: u16, status: &str) {
        let health = self.sidecar.health_in_time();
        assert_eq!((health.code, &health.body["status"]), (code, &status.into()), "{:#}", health.body);
        let livez = self.sidecar.get("/livez");
        assert_eq!(livez.code, 200);
        assert!(livez.took < PROMISED + SCHEDULING, "{:?}", livez.took);
    }

    /// Stops it as Kubernetes does. It ends in time, without a panic.
    fn expect_a_clean_end(mut self) {
        let began = Instant::now();
        self.sidecar.terminate();
        assert_eq!(self.sidecar.ended(), Some(0), "{}", self.log());
        assert!(began.elapsed() < Duration::from_secs(1) + SCHEDULING, "{:?}", began.elapsed());
        assert_eq!(self.logged("panicked"), 0, "{}", self.log());
    }
}

/// A cache at this Redis.
fn cache(alias: &str, redis: &Redis) -> String {
    format!("[caches.{alias}]\nurl = \"redis://{}\"\n", redis.addr())
}

/// The program behind a shell that does this to its surroundings.
fn after(words: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{words}; exec \"$0\" \"$@\"")).arg(PROGRAM);
    command
}

/// Says that surroundings cannot be made here. Not by `println`, which a test that passes keeps to itself.
fn skipped(what: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "skipped: {what}, since {reason}");
}
