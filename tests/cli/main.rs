//! The commands, as the binary runs them: help, exit codes, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod completions;
mod demo;
mod embedded;
mod first_process;
mod healthcheck;
mod healthcheck_sh;
mod healthcheck_tls;
mod log;
mod man;
mod output;
mod platform;
mod secrets_in_answers;
mod serve;
mod terminal;
mod usage;
mod watch;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::OnceLock;

use socket2::{Domain, Socket, Type};

/// The binary, without what the environment of the tests may say of caches.
fn cache_canary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let begins = |prefix| name.to_string_lossy().starts_with(prefix);
        if ["CACHE_", "REDIS_", "VALKEY_", "MEMCACHE", "SPRING_DATA_"].into_iter().any(begins) {
            command.env_remove(name);
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    cache_canary().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The URL of a cache that refuses connections.
fn no_cache() -> String {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(|| {
        // Bound and never listening, it is nobody else's while the tests run.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        std::mem::forget(socket);
        port
    });
    format!("redis://127.0.0.1:{port}/0")
}
