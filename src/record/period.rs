//! [`Period`]: a time in which an entry had one status, with no more of it than checks saw: between two checks anything
//! may have been.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::causes::Causes;
use crate::outcome::{Cause, Outcome, Status};
use crate::span::{timestamp, whole};

/// A time without a check is told from this length on.
const LONG: Duration = Duration::from_mins(10);

/// A status, and what checks saw of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The status.
    pub status: Status,
    /// The start of the first check with this status, on the monotonic clock.
    pub began: Instant,
    /// The same, on the wall clock.
    pub began_at: SystemTime,
    /// The last check with another status. `None` if the first check of all found this status, which is then older than
    /// the record.
    pub before: Option<LastSeen>,
    /// The longest time within it without a check, if there was a long one.
    pub unchecked: Option<Unchecked>,
}

/// The last check that saw a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// The status.
    pub status: Status,
    /// The start of the check.
    pub at: SystemTime,
}

/// A long time between two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchecked {
    /// The start of the check before it.
    pub from: SystemTime,
    /// The start of the check after it.
    pub to: SystemTime,
    /// Its length.
    pub length: Duration,
}

/// A status and its causes, from the first check that saw it to the last so far.
#[derive(Debug, Clone)]
pub(super) struct Period {
    pub(super) since: Since,
    causes: Causes,
}

/// A status that a change has ended, or one of its causes, as far as checks saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The status.
    pub status: Status,
    /// Its causes, in the order in which they came, each with the time that checks saw it as the main one.
    pub causes: Vec<(Cause, Duration)>,
    /// The time from the first check that saw it to the last: it lasted at least so long.
    pub lasted: Duration,
    /// The start of the last check that saw it.
    pub last_seen: SystemTime,
    /// `true` if the first check of all saw it: it may have begun at any time before.
    pub is_first: bool,
}

impl Since {
    /// The status of `outcome`, after that of `last`.
    fn of(outcome: &Outcome, last: Option<&Outcome>) -> Self {
        Self {
            status: outcome.status(),
            began: outcome.began,
            began_at: outcome.began_at,
            before: last.map(|last| LastSeen { status: last.status(), at: last.began_at }),
            unchecked: None,
        }
    }

    /// The last check that was up, or degraded, if the status is worse than that.
    #[must_use]
    pub fn last_up(&self) -> Option<SystemTime> {
        let better = self.before.filter(|before| before.status < self.status);
        better.filter(|before| before.status >= Status::Up).map(|before| before.at)
    }
}

impl Period {
    /// The period that `outcome` begins, after `last`.
    pub(super) fn begin(outcome: &Outcome, last: Option<&Outcome>) -> Self {
        Self { since: Since::of(outcome, last), causes: Causes::begin(outcome) }
    }

    /// Adds a check with the same status after `last`; returns the previous cause, if its main cause or the faulty nodes have changed.
    pub(super) fn note(&mut self, outcome: &Outcome, last: &Outcome) -> Option<Past> {
        let length = outcome.began.saturating_duration_since(last.began);
        let longest = self.since.unchecked.map_or(LONG, |unchecked| unchecked.length);
        if length >= longest {
            self.since.unchecked = Some(Unchecked { from: last.began_at, to: outcome.began_at, length });
        }
        let is_first = self.since.before.is_none() && self.causes.changes() == 0;
        let past = self.causes.note(outcome)?;
        let (status, lasted, last_seen) = (self.since.status, past.lasted(), past.seen_at);
        Some(Past { status, causes: vec![(past.cause, lasted)], lasted, last_seen, is_first })
    }

    /// The number of changes of its cause, or of the faulty nodes, that were told.
    pub(super) fn changes(&self) -> usize {
        self.causes.changes()
    }

    /// The whole of it, if `last` is its last check.
    pub(super) fn end(&self, last: &Outcome) -> Past {
        Past {
            status: self.since.status,
            causes: self.causes.so_far(),
            lasted: last.began.saturating_duration_since(self.since.began),
            last_seen: last.began_at,
            is_first: self.since.before.is_none(),
        }
    }
}

impl Past {
    /// Its duration: `at least 3h 2m`; nothing if a single check saw it.
    #[must_use]
    pub(crate) fn duration(&self) -> Option<String> {
        (!self.lasted.is_zero()).then(|| format!("at least {}", whole(self.lasted)))
    }

    /// Its causes: `timed_out`, or `timed_out 2m, refused` if a single check saw the second; nothing if it was up. `span` writes
    /// a time.
    #[must_use]
    pub(crate) fn reasons(&self, span: fn(Duration) -> String) -> Option<String> {
        let told = self.causes.iter().map(|(cause, lasted)| match *lasted {
            lasted if self.causes.len() > 1 && !lasted.is_zero() => format!("{cause} {}", span(lasted)),
            _ => cause.to_string(),
        });
        (!self.causes.is_empty()).then(|| told.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Past {
    /// `UP for at least 3h 2m 10s, last seen 2026-11-22T10:50:52Z`, or `DOWN for at least 5m (timed_out 2m, refused 3m), last
    /// seen ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(duration) = self.duration() {
            write!(f, " for {duration}")?;
        }
        if let Some(reasons) = self.reasons(whole) {
            write!(f, " ({reasons})")?;
        }
        write!(f, ", last seen {}", timestamp(self.last_seen))
    }
}
