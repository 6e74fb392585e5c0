//! [`App`]: the state that every request is answered from.
//!
//! The [`Setup`] is made from the configuration, and a reload replaces it as a whole. Everything else outlives it: the
//! sidecar's life cycle, its rounds and their watchers.

mod denials;
mod life;
mod reload;
mod rounds;
mod setup;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;

use crate::catalog::Selection;
use crate::checker::{Renewal, SetupError};
use crate::config::Config;
use crate::outcome::Report;
use crate::record::Journal;

pub use denials::Denied;
pub use life::Life;
pub use reload::ReloadStatus;
pub use rounds::{Overdue, PartitionClock, RoundClocks, StandsStill, Watcher};
pub use setup::Setup;

use denials::Denials;
use rounds::Rounds;

/// The state that every request is answered from.
pub struct App {
    setup: watch::Sender<Arc<Setup>>,
    life: watch::Sender<Life>,
    rounds: Rounds,
    denials: Denials,
    began_at: SystemTime,
    reloads: watch::Sender<ReloadStatus>,
    /// The result of the last fetch of the targets, if a server has them.
    targets: watch::Sender<Option<ReloadStatus>>,
    /// `true` once everything that `startupz` asks for has been up.
    started: AtomicBool,
}

impl App {
    /// Creates an app that is starting. The error concerns the checks, for example a CA file that cannot be read.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        Ok(Self {
            setup: watch::Sender::new(Arc::new(Setup::new(config, None)?)),
            life: watch::Sender::new(Life::Starting),
            rounds: Rounds::default(),
            denials: Denials::default(),
            began_at: SystemTime::now(),
            reloads: watch::Sender::new(ReloadStatus::now()),
            targets: watch::Sender::new(None),
            started: AtomicBool::new(false),
        })
    }

    /// Replaces the configuration in force with `config`. Everything that is the same in both goes on: checks with their
    /// connections, records, watchers. A request in flight ends under the configuration with which it began. After an
    /// error the previous configuration stays in force.
    ///
    /// It reads certificate files, so a thread that serves requests must not call it.
    pub fn renew(&self, config: &Config) -> Result<Renewal, SetupError> {
        let before = self.setup();
        let setup = Setup::new(config, Some(&before)).inspect_err(|_| self.refuse())?;
        let renewal = Renewal::between(&before.checker, &setup.checker);
        if setup.interval != before.interval {
            self.rounds.reset();
        }
        self.setup.send_replace(Arc::new(setup));
        self.reloads.send_replace(ReloadStatus::now());
        Ok(renewal)
    }

    /// Records a failed reload: the new configuration is invalid, and the previous one stays in force.
    pub fn refuse(&self) {
        self.reloads.send_modify(|reloads| reloads.ok = false);
    }

    /// The result of the last reload, and the time since which the current configuration is in force.
    #[must_use]
    pub(crate) fn last_reload(&self) -> ReloadStatus {
        *self.reloads.borrow()
    }

    /// Records a fetch of the targets: `None` if no server has them, and `false` if it failed or the list is invalid, so
    /// that the last one stays in force.
    pub fn note_targets(&self, fetched: Option<bool>) {
        self.targets.send_modify(|status| match (fetched, &mut *status) {
            (None, status) => *status = None,
            (Some(true), status) | (Some(false), status @ None) => {
                *status = Some(ReloadStatus { ok: fetched == Some(true), ..ReloadStatus::now() });
            }
            (Some(false), Some(status)) => status.ok = false,
        });
    }

    /// The result of the last fetch of the targets, and the time since which they are in force.
    #[must_use]
    pub(crate) fn last_targets(&self) -> Option<ReloadStatus> {
        *self.targets.borrow()
    }

    /// The setup in force. A request takes it once, so that it is answered from one configuration.
    #[must_use]
    pub fn setup(&self) -> Arc<Setup> {
        self.setup.borrow().clone()
    }

    /// The TLS configuration for TCP connections, if TLS is on. A connection takes it once.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.setup.borrow().tls.clone()
    }

    /// The last changes, and the receivers that wait for news.
    #[must_use]
    pub(crate) fn journal(&self) -> Arc<Journal> {
        self.setup.borrow().checker.journal().clone()
    }

    /// The requests that were denied.
    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }

    /// The time at which the sidecar started.
    #[must_use]
    pub fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// The current state of the sidecar's life cycle.
    #[must_use]
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// The sender of the sidecar's life cycle.
    pub(crate) fn lead(&self) -> &watch::Sender<Life> {
        &self.life
    }

    /// Enters another state of the life cycle, and wakes every task that waits for it.
    pub fn enter(&self, life: Life) {
        self.life.send_replace(life);
    }

    /// Checks everything in rounds for as long as this runs: at every `interval`; without an interval, only while there
    /// is a watcher.
    pub async fn make_rounds(&self) {
        let check = async |setup: Arc<Setup>, place| setup.checker.check_one(place, Instant::now()).await;
        self.rounds.run(self.setup.subscribe(), check).await;
    }

    /// The rounds that are overdue, if any. While there are, shown results are out of date.
    #[must_use]
    pub fn overdue(&self) -> Option<Overdue> {
        self.rounds.overdue(self.setup.borrow().interval, Instant::now())
    }

    /// The progress of the rounds; `None` if no rounds run.
    #[must_use]
    pub fn clocks(&self) -> Option<RoundClocks> {
        self.rounds.clocks()
    }

    /// The results of the last checks of everything, whichever request they were made for. Results of an unfinished
    /// round are not mixed with those of a finished one, and a failure is not held back. `None` if there was no check
    /// yet.
    #[must_use]
    pub fn latest(&self, setup: &Setup) -> Option<Report> {
        let outcomes = self.rounds.latest(setup)?;
        Some(Report { outcomes, skipped: setup.everything.skipped.clone() })
    }

    /// Adds a watcher. Rounds are made until the watcher is dropped. It is woken by every check, whichever request
    /// made it, and by all other news.
    #[must_use]
    pub fn watch(&self) -> Watcher {
        self.rounds.watch(self.journal().ticks(), self.life.subscribe(), self.setup.subscribe())
    }

    /// The selected checks that have never been up. Once every check of `startupz` has been up, the selection is empty
    /// for good.
    #[must_use]
    pub(crate) fn awaited(&self, setup: &Setup, selection: &Selection) -> Selection {
        if self.started.load(Ordering::Relaxed) {
            return Selection::default();
        }
        let checks = selection.checks.iter().zip(setup.checker.records(selection));
        let checks = checks.filter(|(_, record)| !record.has_been_up()).map(|(&check, _)| check);
        Selection { checks: checks.collect(), skipped: Vec::new() }
    }

    /// Sets `started` if everything that `startupz` asks for has been up once.
    pub(crate) fn note_start(&self, setup: &Setup) {
        if self.awaited(setup, setup.startup()).checks.is_empty() {
            self.started.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("setup", &*self.setup.borrow()).finish_non_exhaustive()
    }
}
