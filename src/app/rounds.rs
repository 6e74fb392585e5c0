//! Rounds that nobody asked for: at every interval, or for as long as somebody watches.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::{Life, Setup};

/// How often everything is checked for those who watch, where there is no interval.
const WATCHED_EVERY: Duration = Duration::from_secs(5);

/// After how many intervals without the end of a round there is no news.
const OVERDUE_AFTER: u32 = 3;

/// What is known of the rounds.
#[derive(Debug)]
pub(super) struct Rounds {
    /// When the last round ended; before there is one, when it could have begun.
    ended: Mutex<Instant>,
    watchers: Arc<watch::Sender<usize>>,
}

/// No round has ended for this long, and one is due at every interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// How long.
    pub since: Duration,
    /// How often one is due.
    pub interval: Duration,
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, interval } = self;
        write!(f, "no round has ended for {} s, and one is due every {interval:?}", since.as_secs())
    }
}

/// Somebody who watches. Rounds are made for as long as there is one.
#[derive(Debug)]
pub struct Watcher {
    watchers: Arc<watch::Sender<usize>>,
    ticks: watch::Receiver<u64>,
    life: watch::Receiver<Life>,
}

impl Watcher {
    /// Waits until a check has ended, whoever it was made for, or the sidecar enters another part of its life. Whatever
    /// happened since the last time counts.
    pub async fn news(&mut self) {
        // Neither of the senders is ever dropped before its app.
        tokio::select! {
            _ = self.ticks.changed() => {}
            _ = self.life.changed() => {}
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.send_modify(|watchers| *watchers -= 1);
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Self { ended: Mutex::new(Instant::now()), watchers: Arc::new(watch::Sender::new(0)) }
    }
}

impl Rounds {
    /// Checks everything at every interval, or while somebody watches.
    pub(super) async fn run(&self, mut setups: watch::Receiver<Arc<Setup>>) {
        let mut watchers = self.watchers.subscribe();
        self.begin_anew();
        let mut began: Option<Instant> = None;
        loop {
            let setup = setups.borrow_and_update().clone();
            let is_watched = *watchers.borrow_and_update() > 0;
            let pace = setup.interval.or(is_watched.then_some(WATCHED_EVERY));
            let due = async {
                match (pace, began) {
                    (Some(pace), Some(began)) => time::sleep_until(began + pace).await,
                    (Some(_), None) => {}
                    (None, _) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    let now = Instant::now();
                    began = Some(now);
                    setup.checker.check(&setup.everything, now).await;
                    *self.ended() = Instant::now();
                }
                _ = setups.changed() => {}
                _ = watchers.changed() => {}
            }
        }
    }

    /// The interval is another one from now on, and has missed nothing yet.
    pub(super) fn begin_anew(&self) {
        *self.ended() = Instant::now();
    }

    /// Somebody watches from now on.
    pub(super) fn watch(&self, ticks: watch::Receiver<u64>, life: watch::Receiver<Life>) -> Watcher {
        self.watchers.send_modify(|watchers| *watchers += 1);
        Watcher { watchers: self.watchers.clone(), ticks, life }
    }

    /// Whether a round should have ended long ago.
    pub(super) fn overdue(&self, interval: Option<Duration>, now: Instant) -> Option<Overdue> {
        let interval = interval?;
        let since = now.saturating_duration_since(*self.ended());
        (since > interval * OVERDUE_AFTER).then_some(Overdue { since, interval })
    }

    fn ended(&self) -> MutexGuard<'_, Instant> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
