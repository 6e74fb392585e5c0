//! [`Report`]: the outcomes of one request, with the aliases that are not checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, Status};
use crate::alias::Alias;

/// The reason why an alias is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It lives in the application's own process, which no sidecar can reach.
    LocalMemory,
    /// It forwards to another alias, which is checked in its place.
    Forwards(Forwarding),
    /// A backend that is no cache server, such as Django's dummy, file and database backends.
    NoServer {
        /// The kind of backend, for people: `a database table`.
        kind: &'static str,
    },
    /// An application's own class, of which nothing is known, or one that is not supported.
    Unknown {
        /// The unknown part, for people: `backend`.
        what: &'static str,
    },
}

impl SkipReason {
    /// A stable name, for labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LocalMemory => "local_memory",
            Self::Forwards(_) => "forwards",
            Self::NoServer { .. } => "no_server",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalMemory => write!(f, "lives in the application's memory"),
            Self::Forwards(Forwarding { end, .. }) => write!(f, "forwards to {end}"),
            Self::NoServer { kind } => write!(f, "is {kind}, not a cache server"),
            Self::Unknown { what } => write!(f, "has a {what} that cache-canary does not know"),
        }
    }
}

/// The target to which an alias forwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forwarding {
    /// The alias that it names, which may forward too.
    pub to: Alias,
    /// The alias at the end of the chain.
    pub end: Alias,
}

/// A requested alias that is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The alias.
    pub alias: Alias,
    /// The reason why it is not checked.
    pub reason: SkipReason,
}

/// Every outcome of one request, in the configured order, and the skipped aliases.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The results of the checks.
    pub outcomes: Vec<Arc<Outcome>>,
    /// The aliases that were not checked.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// The worst status of the outcomes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcomes.iter().map(|outcome| outcome.status()).max().unwrap_or(Status::Skipped)
    }

    /// The age at `now`: the time since the first of its checks began. `None` if nothing was checked.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let began = self.outcomes.iter().map(|outcome| outcome.began).min()?;
        Some(now.saturating_duration_since(began))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::outcome::{Cause, CheckKind, Fault, Needs, NodeOutcome, Phase, Phases};

    fn report(outcomes: &[(Instant, Option<Cause>)]) -> Report {
        let outcome = |&(began, cause): &(Instant, Option<Cause>)| {
            let fault = cause.map(|cause| Fault::new(cause, Phase::Read, ""));
            let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
            let (alias, kind) = (Alias::try_from("main").unwrap(), CheckKind::RoundTrip);
            let began = (began, SystemTime::now());
            Arc::new(Outcome::plain(alias, kind, began, Duration::ZERO, nodes, Needs::default()))
        };
        Report { outcomes: outcomes.iter().map(outcome).collect(), skipped: Vec::new() }
    }

    #[test]
    fn the_worst_status_counts_and_without_a_check_there_is_none() {
        let now = Instant::now();
        assert_eq!(report(&[]).status(), Status::Skipped);
        assert_eq!(report(&[(now, None)]).status(), Status::Up);
        assert_eq!(report(&[(now, None), (now, Some(Cause::Masked)), (now, None)]).status(), Status::Down);
    }

    #[test]
    fn a_report_is_as_old_as_the_first_of_its_checks() {
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        let report = |outcomes| report(outcomes).age(first + Duration::from_secs(3));
        assert_eq!(report(&[]), None);
        assert_eq!(report(&[(second, None), (first, None)]), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_reason_why_an_alias_is_not_checked_has_a_name_and_words() {
        let [to, end] = ["sessions", "main"].map(|alias| Alias::try_from(alias).unwrap());
        for (reason, name, words) in [
            (SkipReason::LocalMemory, "local_memory", "lives in the application's memory"),
            (SkipReason::Forwards(Forwarding { to, end }), "forwards", "forwards to main"),
            (
                SkipReason::NoServer { kind: "a database table" },
                "no_server",
                "is a database table, not a cache server",
            ),
            (
                SkipReason::Unknown { what: "backend" },
                "unknown",
                "has a backend that cache-canary does not know",
            ),
        ] {
            assert_eq!((reason.name(), reason.to_string().as_str()), (name, words));
        }
    }
}
