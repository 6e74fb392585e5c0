//! What systemd is told, and any other supervisor that speaks as it does (`sd_notify(3)`). Without effect where nobody
//! asked for it by `NOTIFY_SOCKET`.
//!
//! Each message is one datagram into a queue that the supervisor empties, so that nothing waits for it.

use std::convert::Infallible;
use std::future::pending;

use sd_notify::NotifyState;
use tokio::time::{self, MissedTickBehavior};
use tracing::warn;

use crate::app::{App, Life};

/// It takes requests, or goes on after its configuration was read anew.
pub(super) fn ready(app: &App) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(app))]);
}

/// It reads its configuration anew, until it is [`ready`] again.
pub(super) fn reloading() {
    // By the time the supervisor knows that this answers its own request to reload (Type=notify-reload).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!("cannot tell systemd of a reload, since the clock cannot be read: {error}"),
    }
}

/// It was told to stop.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says that it is ready when it is, and from then on, at half of the time in which the supervisor wants to hear from
/// it, that it is well. It is not where no round has ended for long: then the supervisor is to restart it.
pub(super) async fn accompany(app: &App) -> Infallible {
    let mut life = app.lead().subscribe();
    // An error would be the end of the app.
    let _ = life.wait_for(|life| *life != Life::Starting).await;
    ready(app);
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return pending().await;
    };
    let mut beat = time::interval(patience / 2);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let status = status(app);
        match app.overdue() {
            None => tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]),
            Some(_) => tell(&[NotifyState::Status(&status)]),
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
    let refused = if app.last_reload().ok { "" } else { "; the configuration that was read last is refused" };
    format!("ready, caches checked: {checked}{refused}")
}

fn tell(message: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(message) {
        warn!("cannot tell systemd at NOTIFY_SOCKET: {error}");
    }
}
