//! Processes whose parents have ended. They become children of the first process of a container, and stay as zombies until
//! that waits for them; `docker exec` and health checks with a shell leave some.

use rustix::process::{WaitOptions, getpid, wait};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Waits for orphans, forever, if this is the first process. This program has no child of its own that somebody else waits for.
pub(super) async fn reap() {
    if !getpid().is_init() {
        return;
    }
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return warn!("ended processes of this container stay as zombies: {error}"),
    };
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        ended.recv().await;
    }
}
