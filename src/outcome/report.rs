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
