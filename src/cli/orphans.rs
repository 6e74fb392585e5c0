//! Processes whose parents have ended. They become children of the first process of a container, and stay as zombies until
//! that waits for them; `docker exec` and health checks with a shell leave some.

use rustix::process::{WaitOptions, getpid, wait};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::cache::redis::credentials;

/// Waits for orphans, forever, if this is the first process. A program that prints a password is waited for elsewhere, and
/// orphans wait until it has ended.
pub(super) async fn reap() {
    if !getpid().is_init() {
        return;
    }
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return warn!("ended processes of this container stay as zombies: {error}"),
    };
    loop {
        while !credentials::is_waiting()
            && let Ok(Some(_)) = wait(WaitOptions::NOHANG)
        {}
        tokio::select! {
            _ = ended.recv() => {}
            () = credentials::waited() => {}
        }
    }
}
