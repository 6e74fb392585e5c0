//! What systemd is told, and any other supervisor that speaks as it does (`sd_notify(3)`). Without effect where nobody
//! asked for it by `NOTIFY_SOCKET`.
//!
//! Each message is one datagram into a queue that the supervisor empties. While the queue is full, as of a supervisor that
//! hangs, the message waits and the thread does not.

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

/// How long a message may wait for a place in the queue. One that the service is ready may wait for ever: the supervisor would
/// else take the service for one that does not start.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a message is tried that waits.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// It takes requests, or goes on after its configuration was read anew.
pub(super) async fn ready(app: &App) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(app))], Duration::MAX).await;
}

/// It reads its configuration anew, until it is [`ready`] again.
pub(super) async fn reloading() {
    // By the time the supervisor knows that this answers its own request to reload (Type=notify-reload).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now], PATIENCE).await,
        Err(error) => warn!("cannot notify systemd of a reload, because the clock cannot be read: {error}"),
    }
}

/// It was told to stop.
pub(super) async fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")], PATIENCE).await;
}

/// Says that it is ready when it is, and from then on, at half of the time in which the supervisor wants to hear from
/// it, that it is well. It is not where no round has ended for long: then the supervisor is to restart it.
pub(super) async fn accompany(app: &App) -> Infallible {
    let mut life = app.lead().subscribe();
    // An error would be the end of the app.
    let _ = life.wait_for(|life| *life != Life::Starting).await;
    ready(app).await;
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return pending().await;
    };
    let mut beat = time::interval(patience / 2);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let status = status(app);
        match app.overdue() {
            None => tell(&[NotifyState::Watchdog, NotifyState::Status(&status)], PATIENCE).await,
            Some(_) => tell(&[NotifyState::Status(&status)], PATIENCE).await,
        }
    }
}

/// How it is, in a sentence for `systemctl status`.
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

async fn tell(message: &[NotifyState<'_>], patience: Duration) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let began = Instant::now();
    let told = loop {
        match send(message, socket.as_ref()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < patience => {
                time::sleep(RETRY_EVERY).await;
            }
            told => break told,
        }
    };
    if let Err(error) = told {
        warn!("cannot notify systemd through NOTIFY_SOCKET: {error}");
    }
}

/// Sends a message as `sd_notify::notify` does, which would block the thread while the queue is full.
fn send(message: &[NotifyState<'_>], socket: &Path) -> io::Result<()> {
    let lines: Vec<_> = message.iter().map(ToString::to_string).collect();
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to(lines.join("\n").as_bytes(), socket).map(drop)
}
