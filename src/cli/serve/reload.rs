//! Reloads of the configuration: on SIGHUP, and after a change of one of its files.
//!
//! Files are looked at every [`LOOK_EVERY`]. A `ConfigMap` changes atomically, but an editor may be in the middle of
//! a write, and half a file may be valid, with fewer caches. So a change counts only after it has stood for [`SETTLED`].
//!
//! An invalid configuration is refused with one message, and the one in force stays. It is read again at every look
//! until it is valid, since the fault may lie in a file that is not yet known, such as a secret that comes later.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::stamps::Stamps;
use super::systemd;
use tokio_rustls::rustls::pki_types::UnixTime;

use crate::app::App;
use crate::checker::Renewal;
use crate::cli::causes;
use crate::cli::certificates;
use crate::cli::files::{self, Room};
use crate::config::{CallerLimits, Config, ConfigError, Listen, Loaded, Source, load};

/// The interval at which files are looked at.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// The time for which a file must be unchanged before it is read. It is longer than a writer's pauses.
const SETTLED: Duration = Duration::from_millis(250);

/// Reloads the configuration on every signal and change.
pub(super) struct Reloader {
    app: Arc<App>,
    flags: ReloadFlags,
    /// The settings that only a restart changes.
    listeners: ListenerSettings,
    files: Arc<[PathBuf]>,
    /// The files' stamps from before the last read.
    read: Stamps,
    /// The notes on the configuration in force that were logged.
    notes: Vec<String>,
    /// The message about the last configuration read, if it was refused.
    refused: Option<String>,
}

/// The part of the configuration that is on the command line.
#[derive(Debug, Clone)]
pub(super) struct ReloadFlags {
    pub(super) file: Option<PathBuf>,
    pub(super) listen: Vec<String>,
}

/// The listeners and their limits, which only a restart changes.
#[derive(Debug, Clone)]
struct ListenerSettings {
    listen: Vec<Listen>,
    probes: Vec<Listen>,
    metrics: Vec<Listen>,
    limits: CallerLimits,
}

/// The reason for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReloadReason {
    /// SIGHUP.
    Asked,
    /// A file has changed.
    Changed,
    /// A refused configuration may be valid by now, or a file may have changed between its read and the first look.
    Doubt,
}

/// A configuration that was put in force.
struct Renewed {
    loaded: Loaded,
    renewal: Renewal,
    /// The limit of open files, compared with the need.
    room: Room,
    /// The names of changed settings that take effect only after a restart.
    needs_restart: Vec<String>,
}

impl ReloadFlags {
    /// Loads the configuration with these flags, and notes what its certificates tell.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = load(&Source::from_process(self.file.clone(), self.listen.clone()))?;
        loaded.notes.extend(certificates::notes(&loaded.config, UnixTime::now()));
        Ok(loaded)
    }
}

impl Reloader {
    /// A reloader of `app`, whose configuration, `loaded`, was loaded with `flags`.
    pub(super) fn new(app: Arc<App>, flags: ReloadFlags, loaded: Loaded) -> Self {
        let files = loaded.files().into();
        let Loaded { config, notes, .. } = loaded;
        Self {
            app,
            flags,
            listeners: ListenerSettings {
                listen: config.listen,
                probes: config.probes.listen,
                metrics: config.metrics.listen,
                limits: config.limits,
            },
            files,
            // No file was looked at before it was read, so the first look finds a doubt.
            read: Stamps::default(),
            notes,
            refused: None,
        }
    }

    /// Waits for a reason and reloads, forever.
    pub(super) async fn run(mut self, mut hangup: Signal) -> Infallible {
        loop {
            let (reason, stamps) = self.reason(&mut hangup).await;
            // The supervisor is not notified of a reload out of doubt.
            let is_told = reason != ReloadReason::Doubt;
            if is_told {
                systemd::reloading().await;
            }
            self.reload(reason, stamps).await;
            if is_told {
                systemd::ready(&self.app).await;
            }
        }
    }

    /// The next reason to reload, and the files' stamps.
    async fn reason(&self, hangup: &mut Signal) -> (ReloadReason, Stamps) {
        let mut last = None;
        let mut pause = POLL_EVERY;
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                () = sleep(pause), if !self.files.is_empty() => false,
            };
            let now = self.look().await;
            if is_asked {
                return (ReloadReason::Asked, now.unwrap_or_default());
            }
            let Some(now) = now else { continue };
            pause = if now == self.read {
                if self.refused.is_some() {
                    return (ReloadReason::Doubt, now);
                }
                POLL_EVERY
            } else if last.as_ref() == Some(&now) {
                let is_known = now.are_of_the_same_files_as(&self.read);
                return (if is_known { ReloadReason::Changed } else { ReloadReason::Doubt }, now);
            } else {
                SETTLED
            };
            last = Some(now);
        }
    }

    /// The files' present stamps; `None` if no thread can be started.
    async fn look(&self) -> Option<Stamps> {
        let files = self.files.clone();
        on_a_thread(move || Stamps::of(&files)).await.ok()
    }

    async fn reload(&mut self, reason: ReloadReason, stamps: Stamps) {
        let (app, flags, listeners) = (self.app.clone(), self.flags.clone(), self.listeners.clone());
        let renewed = on_a_thread(move || renew(&app, &flags, &listeners)).await;
        self.read = stamps;
        match renewed.unwrap_or_else(|error| Err(format!("cache-canary has no free thread: {error}"))) {
            Ok(renewed) => self.accept(reason, renewed),
            Err(message) => self.refuse(reason, message),
        }
    }

    fn accept(&mut self, reason: ReloadReason, Renewed { loaded, renewal, room, needs_restart }: Renewed) {
        self.files = loaded.files().into();
        let was_refused = self.refused.take().is_some();
        if reason == ReloadReason::Doubt && !was_refused && renewal.is_nothing() {
            debug!("configuration reloaded, nothing has changed");
            return;
        }
        info!("the new configuration is in force; {renewal}");
        room.tell();
        for setting in needs_restart {
            warn!("{setting} has changed; restart to apply it, until then the old value stays in force");
        }
        for note in &loaded.notes {
            if !self.notes.contains(note) {
                warn!("{note}");
            }
        }
        self.notes = loaded.notes;
    }

    fn refuse(&mut self, reason: ReloadReason, message: String) {
        self.app.refuse();
        if reason != ReloadReason::Doubt || self.refused.as_ref() != Some(&message) {
            error!("configuration reload failed, the previous configuration stays in force: {message}");
        }
        self.refused = Some(message);
    }
}

/// Does `work` on a thread of its own, since a file system that hangs must not delay requests. tokio's threads for blocking
/// work are no alternative: where none can be started, tokio panics.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        let _runtime = runtime.enter();
        // The receiver is gone only at the end of the program.
        let _ = sender.send(work());
    };
    thread::Builder::new().name("files".to_owned()).spawn(work)?;
    done.await.map_err(io::Error::other)
}

/// Reads the configuration and puts it in force, except for `listeners`. The error is a message.
fn renew(app: &App, flags: &ReloadFlags, listeners: &ListenerSettings) -> Result<Renewed, String> {
    let mut loaded = flags.load().map_err(|error| causes(&error))?;
    let needs_restart = listeners.keep(&mut loaded.config);
    let spoke_tls = app.tls().is_some();
    // A limit that sufficed for fewer caches may be too low now.
    let room = files::make_room(&loaded.config, files::callers(&loaded.config));
    let renewal = app.renew(&loaded.config).map_err(|error| causes(&error))?;
    match (spoke_tls, app.tls().is_some()) {
        (true, false) => warn!("TLS is now off: new connections are served in plain text"),
        (false, true) => warn!("TLS is now on: new plain-text connections are closed"),
        (true, true) | (false, false) => {}
    }
    Ok(Renewed { loaded, renewal, room, needs_restart })
}

impl ListenerSettings {
    /// Keeps these settings in `config`, and returns the names of those that differ there.
    fn keep(&self, config: &mut Config) -> Vec<String> {
        let settings = [
            ("listen", &self.listen, &mut config.listen),
            ("probes.listen", &self.probes, &mut config.probes.listen),
            ("metrics.listen", &self.metrics, &mut config.metrics.listen),
        ];
        let mut otherwise = Vec::new();
        if config.limits != self.limits {
            otherwise.push("limits".to_owned());
            config.limits = self.limits;
        }
        for (name, kept, written) in settings {
            if kept != written {
                otherwise.push(name.to_owned());
                written.clone_from(kept);
            }
        }
        otherwise
    }
}
