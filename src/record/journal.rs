//! [`Journal`]: the last changes of any entry, and the subscribers to news.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use super::Since;
use crate::mutex::Mutex;
use crate::outcome::{Cause, NodeOutcome, Outcome, Status, printable};
use crate::span;

/// The number of changes that are kept.
const KEPT: usize = 64;

/// The most nodes that are kept with a change, of the check that saw it: a cluster may have a thousand.
const NODES: usize = 8;

/// The last changes of any entry, and the subscribers to news.
#[derive(Debug, Default)]
pub struct Journal {
    transitions: Mutex<VecDeque<Arc<Transition>>>,
    /// The number of recorded checks.
    ticks: watch::Sender<u64>,
}

/// A change of an entry's status.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The start of the check that saw the change.
    pub at: SystemTime,
    /// The name of the entry, such as `main` or `main.queue`.
    pub entry: String,
    /// The previous status; `None` at the first check.
    pub from: Option<Status>,
    /// The new status.
    pub to: Status,
    /// The cause, if it is not up.
    pub cause: Option<Cause>,
    /// The first place of the cause: `at cache:6379 in connect`, or `at key b:p:3`.
    pub place: Option<Box<str>>,
    /// The duration of the previous status.
    pub lasted: Option<Duration>,
    /// The duration of the check that saw the change.
    pub elapsed: Duration,
    /// Some of its nodes in that check, the faulty ones first.
    pub nodes: Vec<NodeOutcome>,
}

impl Transition {
    /// The change from `before` to `outcome`. If the first check of an entry is up, that is no change.
    pub(super) fn between(before: Option<Since>, outcome: &Outcome) -> Option<Self> {
        let to = outcome.status();
        if before.is_none() && to == Status::Up {
            return None;
        }
        let mut nodes: Vec<_> = outcome.nodes.iter().collect();
        nodes.sort_by_key(|node| node.fault.is_none());
        let problem = outcome.problem();
        Some(Self {
            at: outcome.began_at,
            entry: outcome.entry(),
            from: before.map(|before| before.status),
            to,
            cause: problem.map(|problem| problem.cause()),
            place: problem.map(|problem| printable(&problem.place())),
            lasted: before.map(|before| outcome.began.saturating_duration_since(before.began)),
            elapsed: outcome.elapsed,
            nodes: nodes.into_iter().take(NODES).cloned().collect(),
        })
    }

    /// One line in the log, for people, with fields for programs.
    fn log(&self) {
        let from = self.from.map_or("unknown", Status::as_str);
        let (to, cause) = (self.to.as_str(), self.cause.map(Cause::name));
        let lasted_s = self.lasted.map(|lasted| lasted.as_secs());
        match self.to {
            Status::Up | Status::Skipped => info!(entry = self.entry, from, to, cause, lasted_s, "{self}"),
            Status::Degraded | Status::Down => warn!(entry = self.entry, from, to, cause, lasted_s, "{self}"),
        }
    }
}

impl fmt::Display for Transition {
    /// `main is DOWN: refused at cache:6379 in connect; was UP for 3h 2m 10s`. It holds no text of a server, which may
    /// be anything: the details of an answer have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.entry, self.to)?;
        if let Some(cause) = self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " {place}")?;
        }
        if let (Some(from), Some(lasted)) = (self.from, self.lasted) {
            write!(f, "; was {from} for {}", span::whole(lasted))?;
        }
        Ok(())
    }
}

impl Journal {
    /// The last changes, the latest first.
    #[must_use]
    pub fn transitions(&self) -> Vec<Arc<Transition>> {
        self.transitions.lock().iter().rev().cloned().collect()
    }

    /// Gets a new value whenever a check is recorded.
    #[must_use]
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Records that a check ended, with its change.
    pub(super) fn note(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            transition.log();
            let mut transitions = self.transitions.lock();
            if transitions.len() == KEPT {
                transitions.pop_front();
            }
            transitions.push_back(Arc::new(transition));
        }
        self.ticks.send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: Option<(Status, u64)>, to: Status, problem: Option<(Cause, &str)>) -> String {
        let transition = Transition {
            at: SystemTime::UNIX_EPOCH,
            entry: "main".to_owned(),
            from: from.map(|(from, _)| from),
            to,
            cause: problem.map(|(cause, _)| cause),
            place: problem.map(|(_, place)| place.into()),
            lasted: from.map(|(_, lasted)| Duration::from_millis(lasted)),
            elapsed: Duration::ZERO,
            nodes: Vec::new(),
        };
        transition.to_string()
    }

    #[test]
    fn a_change_is_one_sentence_with_its_cause_place_and_the_duration_of_the_previous_status() {
        let refused = Some((Cause::Refused, "at cache:6379 in connect"));
        let three_hours = 3 * 3_600_000 + 2 * 60_000 + 10_123;
        assert_eq!(
            told(Some((Status::Up, three_hours)), Status::Down, refused),
            "main is DOWN: refused at cache:6379 in connect; was UP for 3h 2m 10s"
        );
        assert_eq!(told(Some((Status::Down, 250)), Status::Up, None), "main is UP; was DOWN for 250ms");
        assert_eq!(
            told(None, Status::Degraded, refused),
            "main is DEGRADED: refused at cache:6379 in connect"
        );
    }
}
