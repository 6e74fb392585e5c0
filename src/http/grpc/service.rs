//! [`Service`]: the subject of a call; [`HealthStatus`]: the response.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::Instant;

use crate::app::{App, Life, Setup};
use crate::catalog::Selection;
use crate::outcome::Status;

/// The subject of a call.
pub(super) enum Service<'a> {
    /// The probe `/livez`.
    Livez,
    /// The probe `/readyz`.
    Readyz,
    /// The probe `/startupz`.
    Startupz,
    /// Everything, an alias, one check of it, or a group.
    Checks(Cow<'a, Selection>),
}

/// The prefix of the name of a group.
const GROUP: &str = "group/";

/// The services that stand for Kubernetes' probes. An alias of such a name can be reached only through a [`GROUP`].
const PROBES: [&str; 3] = ["livez", "readyz", "startupz"];

/// A status, as gRPC has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthStatus {
    /// Up, degraded or skipped.
    Serving,
    /// Down, or on the way there.
    NotServing,
    /// There is no such service.
    Unknown,
}

/// The services that say something of the sidecar alone, which are the same while it drains.
const OWN: [&str; 4] = ["livez", "startupz", "group/liveness", "group/startup"];

/// `true` if the service of this name is out of service because the sidecar drains or stops. A balancer asks for `""`, and
/// cannot always be told another name.
pub(super) fn is_drained(name: &str, app: &App) -> bool {
    matches!(app.life(), Life::Draining | Life::Stopping) && !OWN.contains(&name)
}

impl<'a> Service<'a> {
    /// The service of this name, if there is one.
    pub(super) fn named(name: &str, setup: &'a Setup) -> Option<Self> {
        let checks = |selection| Self::Checks(Cow::Borrowed(selection));
        match (name, name.strip_prefix(GROUP)) {
            ("", _) => Some(checks(&setup.everything)),
            ("livez", _) => Some(Self::Livez),
            ("readyz", _) => Some(Self::Readyz),
            ("startupz", _) => Some(Self::Startupz),
            (_, Some(group)) => setup.group(group).map(checks),
            (alias, None) => {
                let selection = setup.checker.catalog().named([alias]).ok()?;
                Some(Self::Checks(Cow::Owned(selection)))
            }
        }
    }

    /// The result of a check, for a call that arrived at `arrived`.
    pub(super) async fn check(&self, app: &App, setup: &Setup, arrived: Instant) -> HealthStatus {
        let selection = match self {
            Self::Livez if app.overdue().is_some() => return HealthStatus::NotServing,
            Self::Readyz if app.life() != Life::Ready => return HealthStatus::NotServing,
            Self::Startupz => {
                let report = setup.checker.check(&app.awaited(setup, setup.startup()), arrived).await;
                app.note_start(setup);
                return HealthStatus::of(report.status());
            }
            Self::Livez => setup.liveness(),
            Self::Readyz => setup.readiness(),
            Self::Checks(selection) => selection,
        };
        HealthStatus::of(setup.checker.check(selection, arrived).await.status())
    }

    /// The result of the last checks, for any caller; if one is missing or may be old, a new check is made.
    pub(super) async fn latest(&self, app: &App, setup: &Setup) -> HealthStatus {
        match self.known(app, setup) {
            Some(health) => health,
            None => self.check(app, setup, Instant::now()).await,
        }
    }

    /// The result of the last checks; `None` if one of them is missing, or if rounds are stuck.
    fn known(&self, app: &App, setup: &Setup) -> Option<HealthStatus> {
        if app.overdue().is_some() {
            return None;
        }
        let selection = match self {
            Self::Readyz if app.life() != Life::Ready => return Some(HealthStatus::NotServing),
            Self::Startupz if app.awaited(setup, setup.startup()).is_empty() => {
                return Some(HealthStatus::Serving);
            }
            Self::Startupz => return Some(HealthStatus::NotServing),
            Self::Livez => setup.liveness(),
            Self::Readyz => setup.readiness(),
            Self::Checks(selection) => selection,
        };
        let mut records = setup.checker.records(selection);
        let worst =
            records.try_fold(Status::Skipped, |worst, record| Some(worst.max(record.since()?.status)));
        worst.map(HealthStatus::of)
    }
}

/// The names of all services, each once.
pub(super) fn names(setup: &Arc<Setup>) -> Vec<String> {
    let catalog = setup.checker.catalog();
    let aliases = catalog.aliases().map(|alias| alias.as_str().to_owned());
    let records = setup.checker.records(&setup.everything);
    let checks = records.map(|record| format!("{}.{}", record.alias(), record.kind()));
    let groups = setup.groups().map(|group| format!("{GROUP}{group}"));
    let probes = PROBES.map(str::to_owned).into_iter();
    let mut names: Vec<_> =
        std::iter::once(String::new()).chain(probes).chain(groups).chain(aliases).chain(checks).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl HealthStatus {
    /// The status of checks. Degraded still works, so no traffic may be moved for it.
    fn of(status: Status) -> Self {
        match status {
            Status::Skipped | Status::Up | Status::Degraded => Self::Serving,
            Status::Down => Self::NotServing,
        }
    }
}
