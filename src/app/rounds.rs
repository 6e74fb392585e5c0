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
    setups: watch::Receiver<Arc<Setup>>,
}

impl Watcher {
    /// Waits until a check has ended, whoever it was made for, the sidecar enters another part of its life, or the
    /// configuration was read anew. Whatever happened since the last time counts.
    pub async fn news(&mut self) {
        // None of the senders is ever dropped before its app.
        tokio::select! {
            _ = self.ticks.changed() => {}
            _ = self.life.changed() => {}
            _ = self.setups.changed() => {}
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
    pub(super) fn watch(
        &self,
        ticks: watch::Receiver<u64>,
        life: watch::Receiver<Life>,
        setups: watch::Receiver<Arc<Setup>>,
    ) -> Watcher {
        self.watchers.send_modify(|watchers| *watchers += 1);
        Watcher { watchers: self.watchers.clone(), ticks, life, setups }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::alias::Alias;
    use crate::app::App;
    use crate::config::{Address, Backend, Cache, Config, Redis, RedisServers};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A cache that is down at once, without a network that a paused clock would not wait for.
    fn config(interval: Option<Duration>) -> Config {
        let address = Address::Unix("/nonexistent/redis.sock".into());
        let redis = Backend::Redis(Redis::at(RedisServers::Standalone(address)));
        let caches = vec![Cache::new(Alias::try_from("main").unwrap(), redis)];
        Config { interval, caches, ..Config::default() }
    }

    /// How many checks are made within a time in which rounds may be made.
    async fn checks_within(app: &App, time: Duration) -> u64 {
        let ticks = app.journal().ticks();
        let before = *ticks.borrow();
        let _ = time::timeout(time, app.make_rounds()).await;
        *ticks.borrow() - before
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_interval_nothing_is_checked_when_nobody_asks() {
        let app = App::new(&config(None)).unwrap();
        assert_eq!(checks_within(&app, seconds(3600)).await, 0);
        let app = App::new(&config(Some(seconds(10)))).unwrap();
        assert_eq!(checks_within(&app, seconds(3595)).await, 360);
    }

    #[tokio::test(start_paused = true)]
    async fn while_somebody_watches_a_round_is_made_every_five_seconds() {
        let app = App::new(&config(None)).unwrap();
        let (one, other) = (app.watch(), app.watch());
        assert_eq!(checks_within(&app, seconds(59)).await, 12);
        drop(one);
        assert_eq!(checks_within(&app, seconds(59)).await, 12);
        drop(other);
        assert_eq!(checks_within(&app, seconds(59)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_to_watch_has_news_at_once_and_not_at_the_next_interval() {
        let app = Arc::new(App::new(&config(None)).unwrap());
        let rounds = app.clone();
        tokio::spawn(async move { rounds.make_rounds().await });
        time::sleep(seconds(60)).await;
        let began = Instant::now();
        app.watch().news().await;
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_do_not_end_are_overdue_after_three_intervals_and_no_more_once_one_ends() {
        let app = App::new(&config(Some(seconds(10)))).unwrap();
        // Nobody makes rounds: that is what a loop that is stuck looks like from outside.
        time::advance(seconds(30)).await;
        assert_eq!(app.overdue(), None);
        time::advance(seconds(1)).await;
        let overdue = app.overdue().unwrap().to_string();
        assert_eq!(overdue, "no round has ended for 31 s, and one is due every 10s");
        assert!(checks_within(&app, seconds(1)).await > 0);
        assert_eq!(app.overdue(), None);
        // It gets stuck while a round is under way, too.
        let mut rounds = Box::pin(app.make_rounds());
        assert!(rounds.as_mut().now_or_never().is_none());
        time::advance(seconds(31)).await;
        assert!(app.overdue().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_that_is_new_has_missed_nothing_and_is_kept_from_then_on() {
        let app = App::new(&config(None)).unwrap();
        let mut rounds = pin!(app.make_rounds());
        assert!(time::timeout(seconds(3600), rounds.as_mut()).await.is_err());
        app.renew(&config(Some(seconds(10)))).unwrap();
        assert_eq!(app.overdue(), None, "although no round has ended for an hour");
        let ticks = app.journal().ticks();
        let before = *ticks.borrow();
        assert!(time::timeout(seconds(59), rounds.as_mut()).await.is_err());
        assert_eq!(*ticks.borrow() - before, 6);
        // A stuck loop is found out after a change, too.
        app.renew(&config(Some(seconds(1)))).unwrap();
        time::advance(seconds(4)).await;
        assert!(app.overdue().is_some());
        app.renew(&config(None)).unwrap();
        assert_eq!(app.overdue(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_leaves_the_interval_alone_does_not_excuse_a_stuck_loop() {
        let app = App::new(&config(Some(seconds(10)))).unwrap();
        time::advance(seconds(29)).await;
        app.renew(&config(Some(seconds(10)))).unwrap();
        time::advance(seconds(2)).await;
        assert!(app.overdue().is_some());
    }
}
