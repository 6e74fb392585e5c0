//! Real servers on the loopback address, and the means to break them.
//!
//! [`Redis`] and [`Memcached`] start a server of their own on a free port and end it when they are dropped.
//! Every state that a test needs is one method that returns when the server is in it, and mostly a second one
//! that ends it: after either, the very next request meets the new state. `tests/redis/support_works.rs` shows each by
//! the server's own words.
//!
//! Everything here blocks, and panics where a server does not do what it should. Linux only.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, of which each test file uses some"
)]

pub mod acl;
mod alone;
pub mod browser;
pub mod checks;
pub mod cluster;
pub mod docker;
mod endpoint;
pub mod flood;
pub mod https;
pub mod in_process;
mod kubelet;
mod liar;
mod link;
mod memcached;
mod names;
pub mod namespace;
mod net;
mod netns;
pub mod night;
pub mod openssl;
pub mod pages;
pub mod preload;
mod process;
mod prometheus;
mod proxy;
pub mod pty;
mod python;
mod redis;
mod relay;
mod resp;
mod run;
mod saslauthd;
pub mod sentinel;
mod server;
mod sidecar;
mod somebody;
mod tls;
pub mod tls_client;

use std::thread;
use std::time::{Duration, Instant};

pub use alone::{alone, in_a_process_of_its_own};
pub use cluster::Cluster;
pub use endpoint::Endpoint;
pub use kubelet::Kubelet;
pub use liar::Liar;
pub use link::Link;
pub use memcached::{Memcached, PASSWORD, USER};
pub use names::Names;
pub use net::{BlackHole, HeldConnections, Port};
pub use netns::Namespace;
pub use process::kib;
pub use prometheus::Prometheus;
pub use proxy::{EJECTING, Envoy, Haproxy, Twemproxy};
pub use pty::Pty;
pub use python::python;
pub use redis::Redis;
pub use relay::Relay;
pub use resp::{Answer, Client};
pub use run::run;
pub use sentinel::{Sentinel, Watched};
pub use server::RedisServer;
pub use sidecar::{Health, Sidecar};
pub use somebody::as_somebody;
pub use tls::{Authority, Identity};

/// How long anything may take before a test gives up on it; far more than any of it needs.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// A directory that other users can read too.
fn directory_of_everybody() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), permissions).expect("a directory of our own");
    dir
}

/// Waits until `happened`; `what` says in the panic's message what did not happen.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < MAX_WAIT, "waited {MAX_WAIT:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
