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
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::stamps::Stamps;
use super::systemd;
use tokio_rustls::rustls::pki_types::UnixTime;

use crate::app::App;
use crate::checker::Renewal;
use crate::cli::certificates;
use crate::cli::files::{self, Room};
use crate::cli::{causes, targets};
use crate::config::{CallerLimits, Config, ConfigError, Draft, FetchedTargets, Listen, Loaded, Source};

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
    /// The next look at the files, and their stamps at the last one if they had changed. A list that is fetched every second
    /// puts off neither.
    look_at: Instant,
    changed: Option<Stamps>,
    /// The notes on the configuration in force that were logged.
    notes: Vec<String>,
    /// The message about the last configuration read, if it was refused.
    refused: Option<String>,
    list: ListInForce,
}

/// The list of targets in force, if it comes from a server. It is fetched at its interval; a failed fetch or an invalid list is
/// logged once, and the one in force stays.
#[derive(Default)]
struct ListInForce {
    fetched: Option<FetchedTargets>,
    /// The time of the next fetch.
    due: Option<Instant>,
    /// The message about the last fetch, if it failed or the list was invalid.
    failed: Option<String>,
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
    /// The list of targets is due.
    Due,
    /// A refused configuration may be valid by now, or a file may have changed between its read and the first look.
    Doubt,
}

/// The result of a reload.
struct Attempt {
    /// What was put in force; nothing if the list of targets was due and is the same, or failed.
    renewed: Result<Option<Renewed>, String>,
    /// The list of targets in force from now on.
    list: Option<FetchedTargets>,
    /// `Err` with a message if a fetch failed or its list was invalid; `None` if there was no fetch.
    fetched: Option<Result<(), String>>,
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

impl ReloadReason {
    /// `true` if somebody waits for the result, or looks for it: it was asked for, or a file has changed.
    fn is_awaited(self) -> bool {
        matches!(self, Self::Asked | Self::Changed)
    }
}

impl ReloadFlags {
    /// The source of the configuration with these flags.
    pub(super) fn source(&self) -> Source {
        Source::from_process(self.file.clone(), self.listen.clone())
    }
}

impl Reloader {
    /// A reloader of `app`, whose configuration, `loaded`, was loaded with `flags` and with this list of targets.
    pub(super) fn new(
        app: Arc<App>,
        flags: ReloadFlags,
        loaded: Loaded,
        targets: Option<FetchedTargets>,
    ) -> Self {
        app.note_targets(targets.as_ref().map(|_| true));
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
            look_at: Instant::now() + POLL_EVERY,
            changed: None,
            notes,
            refused: None,
            list: ListInForce { due: next(targets.as_ref()), fetched: targets, failed: None },
        }
    }

    /// Waits for a reason and reloads, forever.
    pub(super) async fn run(mut self, mut hangup: Signal) -> Infallible {
        loop {
            let (reason, stamps) = self.reason(&mut hangup).await;
            // The supervisor is not notified of other reloads.
            if reason.is_awaited() {
                systemd::reloading().await;
            }
            self.reload(reason, stamps).await;
            if reason.is_awaited() {
                systemd::ready(&self.app).await;
            }
        }
    }

    /// The next reason to reload, and the files' stamps.
    async fn reason(&mut self, hangup: &mut Signal) -> (ReloadReason, Stamps) {
        loop {
            let due = self.list.due;
            let reason = tokio::select! {
                // A server that takes long for a list that is always due must not keep files from being read.
                biased;
                _ = hangup.recv() => Some(ReloadReason::Asked),
                () = sleep_until(self.look_at), if !self.files.is_empty() => None,
                () = sleep_until(due.unwrap_or(self.look_at)), if due.is_some() => Some(ReloadReason::Due),
            };
            let now = self.look().await;
            if reason == Some(ReloadReason::Due) {
                return (ReloadReason::Due, now.unwrap_or_default());
            }
            let (reason, pause) = match (reason, &now) {
                (Some(asked), _) => (Some(asked), POLL_EVERY),
                (None, None) => (None, POLL_EVERY),
                (None, Some(now)) if *now == self.read => {
                    (self.refused.is_some().then_some(ReloadReason::Doubt), POLL_EVERY)
                }
                (None, Some(now)) if self.changed.as_ref() == Some(now) => {
                    let is_known = now.are_of_the_same_files_as(&self.read);
                    (Some(if is_known { ReloadReason::Changed } else { ReloadReason::Doubt }), POLL_EVERY)
                }
                (None, Some(_)) => (None, SETTLED),
            };
            self.look_at = Instant::now() + pause;
            if let Some(reason) = reason {
                self.changed = None;
                return (reason, now.unwrap_or_default());
            }
            self.changed = now.or(self.changed.take());
        }
    }

    /// The files' present stamps; `None` if no thread can be started.
    async fn look(&self) -> Option<Stamps> {
        let files = self.files.clone();
        on_a_thread(move || Stamps::of(&files)).await.ok()
    }

    async fn reload(&mut self, reason: ReloadReason, stamps: Stamps) {
        let (app, flags, listeners) = (self.app.clone(), self.flags.clone(), self.listeners.clone());
        let known = self.list.fetched.clone();
        let attempt = on_a_thread(move || attempt(&app, &flags, &listeners, known, reason)).await;
        let attempt = attempt.unwrap_or_else(|error| {
            let renewed = Err(format!("cache-canary has no free thread: {error}"));
            Attempt { renewed, list: self.list.fetched.clone(), fetched: None }
        });
        self.take_list(reason, attempt.list, attempt.fetched);
        match attempt.renewed {
            // Files were not read.
            Ok(None) => {}
            Ok(Some(renewed)) => {
                self.read = stamps;
                self.accept(reason, renewed);
            }
            Err(message) => {
                self.read = stamps;
                self.refuse(reason, message);
            }
        }
    }

    /// Takes over the list of targets, and tells of the fetch, if there was one.
    fn take_list(
        &mut self,
        reason: ReloadReason,
        list: Option<FetchedTargets>,
        fetched: Option<Result<(), String>>,
    ) {
        // One that was due and could not be fetched, since the configuration is invalid, is due again later.
        if reason == ReloadReason::Due
            || fetched.is_some()
            || list.as_ref().map(|list| &list.from) != self.list.fetched.as_ref().map(|list| &list.from)
        {
            self.list.due = next(list.as_ref());
        }
        self.list.fetched = list;
        match fetched {
            Some(Err(message)) => {
                if self.list.failed.as_ref() != Some(&message) {
                    error!("refresh of the targets failed, the previous ones stay in force: {message}");
                }
                self.list.failed = Some(message);
                self.app.note_targets(Some(false));
            }
            Some(Ok(())) => {
                if self.list.failed.take().is_some() {
                    info!("the targets are refreshed again");
                }
                self.app.note_targets(Some(true));
            }
            None if self.list.fetched.is_none() => {
                self.list.failed = None;
                self.app.note_targets(None);
            }
            None => {}
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
        if reason.is_awaited() || self.refused.as_ref() != Some(&message) {
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

/// Makes a configuration, and notes what its certificates tell.
pub(super) fn load(draft: Draft<'_>, targets: Option<FetchedTargets>) -> Result<Loaded, ConfigError> {
    let mut loaded = draft.load(targets)?;
    loaded.notes.extend(certificates::notes(&loaded.config, UnixTime::now()));
    Ok(loaded)
}

/// The time at which this list is fetched again.
fn next(list: Option<&FetchedTargets>) -> Option<Instant> {
    list.map(|list| Instant::now() + list.every)
}

/// Reads the configuration with the list of targets, which is fetched if that is the reason, and puts both in force. If a new
/// list is invalid, the `known` one is.
fn attempt(
    app: &App,
    flags: &ReloadFlags,
    listeners: &ListenerSettings,
    known: Option<FetchedTargets>,
    reason: ReloadReason,
) -> Attempt {
    let source = flags.source();
    let draft = match Draft::read(&source) {
        Ok(draft) => draft,
        Err(error) => return Attempt { renewed: Err(causes(&error)), list: known, fetched: None },
    };
    let wanted = draft.http_targets();
    let in_force = known.clone();
    // That of another server, or with another token, is another list.
    let known = known.filter(|known| wanted.as_ref() == Some(&known.from));
    let is_due = matches!(reason, ReloadReason::Asked | ReloadReason::Due) || known.is_none();
    let fetched = wanted.filter(|_| is_due).map(|from| targets::fetch(&from).map_err(|error| causes(&error)));
    match fetched {
        None => {
            let renewed = renew(app, listeners, draft, known.clone()).map(Some);
            let list = if renewed.is_ok() { known } else { in_force };
            Attempt { renewed, list, fetched: None }
        }
        Some(Ok(new))
            if known.as_ref().is_some_and(|known| known.body == new.body) && reason == ReloadReason::Due =>
        {
            Attempt { renewed: Ok(None), list: Some(new), fetched: Some(Ok(())) }
        }
        Some(Ok(new)) => match renew(app, listeners, draft.clone(), Some(new.clone())) {
            Ok(renewed) => Attempt { renewed: Ok(Some(renewed)), list: Some(new), fetched: Some(Ok(())) },
            Err(message) => with_known(app, listeners, draft, (known, in_force), reason, message),
        },
        Some(Err(message)) => with_known(app, listeners, draft, (known, in_force), reason, message),
    }
}

/// The reload without a new list, for this reason: with the one that is `known`, if the configuration was to be read as well.
fn with_known(
    app: &App,
    listeners: &ListenerSettings,
    draft: Draft<'_>,
    (known, in_force): (Option<FetchedTargets>, Option<FetchedTargets>),
    reason: ReloadReason,
    message: String,
) -> Attempt {
    if reason == ReloadReason::Due {
        return Attempt { renewed: Ok(None), list: in_force, fetched: Some(Err(message)) };
    }
    if known.is_none() {
        return Attempt { renewed: Err(message), list: in_force, fetched: None };
    }
    let renewed = renew(app, listeners, draft, known.clone()).map(Some);
    Attempt { renewed, list: known, fetched: Some(Err(message)) }
}

/// Makes a configuration and puts it in force, except for `listeners`. The error is a message.
fn renew(
    app: &App,
    listeners: &ListenerSettings,
    draft: Draft<'_>,
    targets: Option<FetchedTargets>,
) -> Result<Renewed, String> {
    let mut loaded = load(draft, targets).map_err(|error| causes(&error))?;
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
