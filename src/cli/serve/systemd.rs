//! Notifications to systemd, or to any other supervisor that supports `sd_notify(3)`. They have no effect if
//! `NOTIFY_SOCKET` is not set.
//!
//! Each message is one datagram into a queue that the supervisor empties. While the queue is full, for example because
//! the supervisor hangs, the message waits without blocking the thread.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::warn;

use crate::app::{App, Life};

/// The longest wait of a message for a place in the queue. The message that the service is ready has no such limit,
/// since without it the supervisor would consider the start failed.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The interval at which a waiting message is retried.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// Notifies that the service takes requests, or goes on after a reload.
pub(super) async fn ready(app: &App) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(app))], Duration::MAX).await;
}

/// Notifies that the service reloads its configuration, until it is [`ready`] again.
pub(super) async fn reloading() {
    // The timestamp tells the supervisor that this is the response to its own reload request (Type=notify-reload).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now], MAX_WAIT).await,
        Err(error) => warn!("cannot notify systemd of a reload, because the clock cannot be read: {error}"),
    }
}

/// Notifies that the service was told to stop.
pub(super) async fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")], MAX_WAIT).await;
}

/// Notifies that the service is ready once it is, and from then on that it is alive, at half of the watchdog's interval.
/// If rounds are overdue, the watchdog gets no message, so that the supervisor restarts the service.
pub(super) async fn accompany(app: &App) -> Infallible {
    let mut life = app.lead().subscribe();
    // An error would mean that the app is gone.
    let _ = life.wait_for(|life| *life != Life::Starting).await;
    ready(app).await;
    let Some(max_wait) = sd_notify::watchdog_enabled().filter(|max_wait| !max_wait.is_zero()) else {
        return pending().await;
    };
    let mut beat = time::interval(max_wait / 2);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let status = status(app);
        match app.overdue() {
            None => tell(&[NotifyState::Watchdog, NotifyState::Status(&status)], MAX_WAIT).await,
            Some(_) => tell(&[NotifyState::Status(&status)], MAX_WAIT).await,
        }
    }
}

/// The status line for `systemctl status`.
fn status(app: &App) -> String {
    match app.life() {
        life @ (Life::Starting | Life::Draining | Life::Stopping) => return life.name().to_owned(),
        Life::Ready => {}
    }
    if let Some(overdue) = app.overdue() {
        return overdue.to_string();
    }
    let checked = app.setup().checker.catalog().checked().count();
    let refused = if app.last_reload().ok { "" } else { "; the last configuration reload failed" };
    format!("ready, caches checked: {checked}{refused}")
}

async fn tell(message: &[NotifyState<'_>], max_wait: Duration) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let began = Instant::now();
    let told = loop {
        match send(message, socket.as_ref()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < max_wait => {
                time::sleep(RETRY_EVERY).await;
            }
            told => break told,
        }
    };
    if let Err(error) = told {
        warn!("cannot notify systemd through NOTIFY_SOCKET: {error}");
    }
}

/// Sends a message as `sd_notify::notify` does, but without blocking the thread while the queue is full.
fn send(message: &[NotifyState<'_>], socket: &Path) -> io::Result<()> {
    let lines: Vec<_> = message.iter().map(ToString::to_string).collect();
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to(lines.join("\n").as_bytes(), socket).map(drop)
}
