//! [`Journal`]: the last changes of any entry, and the subscribers to news.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use super::Past;
use crate::mutex::Mutex;
use crate::outcome::{Cause, NodeOutcome, Outcome, Status, printable};
use crate::span::{timestamp, whole};

/// The number of changes that are kept.
const KEPT: usize = 64;

/// The most nodes that are kept with a change, of the check that saw it: a cluster may have a thousand.
const NODES: usize = 8;

/// The last changes of any entry, and the subscribers to news.
#[derive(Debug, Default)]
pub struct Journal {
    transitions: Mutex<VecDeque<Arc<Transition>>>,
    /// Another number after each check that was recorded while somebody subscribed.
    ticks: watch::Sender<u64>,
}

/// A change of an entry's status, or of the cause for which it is not up.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The start of the check that saw the change.
    pub at: SystemTime,
    /// The name of the entry, such as `main` or `main.queue`.
    pub entry: String,
    /// The previous status, or with the same status the previous cause; `None` at the first check.
    pub was: Option<Past>,
    /// The new status.
    pub to: Status,
    /// The cause, if it is not up.
    pub cause: Option<Cause>,
    /// The first place of the cause: `at cache:6379 in connect`, or `at key b:p:3`.
    pub place: Option<Box<str>>,
    /// The duration of the check that saw the change.
    pub elapsed: Duration,
    /// Some of its nodes in that check, the faulty ones first.
    pub nodes: Vec<NodeOutcome>,
}

impl Transition {
    /// The first check of an entry, which is no change if it is up.
    pub(super) fn first(outcome: &Outcome) -> Option<Self> {
        (outcome.status() != Status::Up).then(|| Self::new(None, outcome))
    }

    /// The change from `was` to `outcome`.
    pub(super) fn after(was: Past, outcome: &Outcome) -> Self {
        Self::new(Some(was), outcome)
    }

    fn new(was: Option<Past>, outcome: &Outcome) -> Self {
        let mut nodes: Vec<_> = outcome.nodes.iter().collect();
        nodes.sort_by_key(|node| node.fault.is_none());
        let problem = outcome.problem();
        Self {
            at: outcome.began_at,
            entry: outcome.entry(),
            was,
            to: outcome.status(),
            cause: problem.map(|problem| problem.cause()),
            place: problem.map(|problem| printable(&format!("{}{}", problem.place(), others(outcome)))),
            elapsed: outcome.elapsed,
            nodes: nodes.into_iter().take(NODES).cloned().collect(),
        }
    }

    /// The previous status; `None` at the first check.
    #[must_use]
    pub fn from(&self) -> Option<Status> {
        self.was.as_ref().map(|was| was.status)
    }

    /// The time from the first check with the previous status, or the previous cause, to the last.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        self.was.as_ref().map(|was| was.lasted)
    }

    /// One line in the log, for people, with fields for programs.
    fn log(&self) {
        let from = self.from().map_or("unknown", Status::as_str);
        let (to, cause) = (self.to.as_str(), self.cause.map(Cause::name));
        let was_cause = self.was.as_ref().and_then(|was| was.reasons(whole));
        let lasted_s = self.lasted().map(|lasted| lasted.as_secs());
        match self.to {
            Status::Up | Status::Skipped => {
                info!(entry = self.entry, from, to, cause, was_cause, lasted_s, "{self}");
            }
            Status::Degraded | Status::Down => {
                warn!(entry = self.entry, from, to, cause, was_cause, lasted_s, "{self}");
            }
        }
    }
}

/// The number of faulty nodes beside the first, and whether only a required cache would be down.
fn others(outcome: &Outcome) -> String {
    let remark = outcome.not_required().map(|remark| format!(" ({remark})")).unwrap_or_default();
    match outcome.nodes.iter().filter(|node| node.fault.is_some()).count() {
        0 | 1 => remark,
        faulty => format!(" (and {} more){remark}", faulty - 1),
    }
}

impl fmt::Display for Transition {
    /// `main is DOWN: refused at cache:6379 in connect; was UP for at least 3h 2m 10s, last seen 2026-11-22T10:50:52Z`.
    /// It holds no text of a server, which may be anything: the details of an answer have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.entry, self.to)?;
        if let Some(cause) = self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " {place}")?;
        }
        if let Some(was) = &self.was {
            return write!(f, "; was {was}");
        }
        let at = timestamp(self.at);
        write!(f, "; at least since {at}, the first check after this sidecar started")
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
        // Who subscribes later looks at the records after that, and finds this check in them: both sides lock the record.
        if self.ticks.receiver_count() > 0 {
            self.ticks.send_modify(|ticks| *ticks = ticks.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(was: Option<Past>, to: Status, problem: Option<(Cause, &str)>) -> String {
        let transition = Transition {
            at: SystemTime::UNIX_EPOCH,
            entry: "main".to_owned(),
            was,
            to,
            cause: problem.map(|(cause, _)| cause),
            place: problem.map(|(_, place)| place.into()),
            elapsed: Duration::ZERO,
            nodes: Vec::new(),
        };
        transition.to_string()
    }

    fn was(status: Status, causes: &[(Cause, u64)], lasted: u64) -> Past {
        let causes = causes.iter().map(|&(cause, millis)| (cause, Duration::from_millis(millis)));
        Past {
            status,
            causes: causes.collect(),
            lasted: Duration::from_millis(lasted),
            last_seen: SystemTime::UNIX_EPOCH + Duration::from_hours(1),
            is_first: false,
        }
    }

    #[test]
    fn a_change_is_one_sentence_with_its_cause_place_and_the_duration_of_the_previous_status() {
        let refused = Some((Cause::Refused, "at cache:6379 in connect"));
        let up = was(Status::Up, &[], 3 * 3_600_000 + 2 * 60_000 + 10_123);
        assert_eq!(
            told(Some(up), Status::Down, refused),
            "main is DOWN: refused at cache:6379 in connect; was UP for at least 3h 2m 10s, last seen 1970-01-01T01:00:00Z"
        );
        let down = was(Status::Down, &[(Cause::TimedOut, 250)], 250);
        assert_eq!(
            told(Some(down.clone()), Status::Up, None),
            "main is UP; was DOWN for at least 250ms (timed_out), last seen 1970-01-01T01:00:00Z"
        );
        assert_eq!(
            told(Some(down), Status::Down, refused),
            "main is DOWN: refused at cache:6379 in connect; was DOWN for at least 250ms (timed_out), last seen 1970-01-01T01:00:00Z"
        );
        let both = was(Status::Down, &[(Cause::TimedOut, 120_000), (Cause::Refused, 2500)], 122_500);
        assert_eq!(
            told(Some(both), Status::Up, None),
            "main is UP; was DOWN for at least 2m 2s (timed_out 2m, refused 2s), last seen 1970-01-01T01:00:00Z"
        );
    }

    #[test]
    fn a_start_that_no_check_saw_is_not_claimed() {
        let refused = Some((Cause::Refused, "at cache:6379 in connect"));
        assert_eq!(
            told(None, Status::Degraded, refused),
            "main is DEGRADED: refused at cache:6379 in connect; at least since 1970-01-01T00:00:00Z, the first check after \
             this sidecar started"
        );
        let once = was(Status::Up, &[], 0);
        assert!(told(Some(once), Status::Down, None).contains("; was UP, last seen "));
    }
}
