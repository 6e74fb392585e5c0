//! [`Journal`]: the last changes of any entry, and who waits for news.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use super::Since;
use crate::outcome::{Cause, NodeOutcome, Outcome, Status};

/// How many changes are kept.
const KEPT: usize = 64;

/// How many nodes of the check that saw a change are kept with it: a cluster may have a thousand.
const NODES: usize = 8;

/// The last changes of any entry, and who waits for news.
#[derive(Debug)]
pub struct Journal {
    transitions: Mutex<VecDeque<Arc<Transition>>>,
    /// Counts what was written down.
    ticks: watch::Sender<u64>,
}

/// An entry is otherwise than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// When the check began that saw it.
    pub at: SystemTime,
    /// The name of the entry, such as `main` or `main.queue`.
    pub entry: String,
    /// What it was; at the first check there is nothing that it was.
    pub from: Option<Status>,
    /// What it is.
    pub to: Status,
    /// Why it is not up, if it is not.
    pub cause: Option<Cause>,
    /// How long it was what it was.
    pub lasted: Option<Duration>,
    /// How long the check took that saw it.
    pub elapsed: Duration,
    /// Some of its nodes in that check, the faulty ones first.
    pub nodes: Vec<NodeOutcome>,
}

impl Transition {
    /// The change from what was `before` to `outcome`. An entry that is up when it is looked at first is no news.
    pub(super) fn between(before: Option<Since>, outcome: &Outcome) -> Option<Self> {
        let to = outcome.status();
        if before.is_none() && to == Status::Up {
            return None;
        }
        let mut nodes: Vec<_> = outcome.nodes.iter().collect();
        nodes.sort_by_key(|node| node.fault.is_none());
        Some(Self {
            at: outcome.began_at,
            entry: outcome.entry(),
            from: before.map(|before| before.status),
            to,
            cause: outcome.cause(),
            lasted: before.map(|before| outcome.began.saturating_duration_since(before.began)),
            elapsed: outcome.elapsed,
            nodes: nodes.into_iter().take(NODES).cloned().collect(),
        })
    }

    /// One line in the log.
    fn log(&self) {
        let from = self.from.map_or("unknown", Status::as_str);
        let lasted =
            humantime::format_duration(Duration::from_secs(self.lasted.unwrap_or_default().as_secs()));
        let Self { entry, to, .. } = self;
        match (to, self.cause) {
            (Status::Up | Status::Skipped, _) => {
                info!(alias = %entry, from, to = to.as_str(), after = %lasted, "{entry} is {to}");
            }
            (Status::Degraded | Status::Down, cause) => {
                let cause = cause.map_or("", Cause::name);
                warn!(alias = %entry, from, to = to.as_str(), cause, after = %lasted, "{entry} is {to}");
            }
        }
    }
}

impl Journal {
    /// The last changes, the latest first.
    #[must_use]
    pub fn transitions(&self) -> Vec<Arc<Transition>> {
        self.lock().iter().rev().cloned().collect()
    }

    /// Sees a new value whenever a check was written down.
    #[must_use]
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Writes down that a check ended, and what changed with it.
    pub(super) fn note(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            transition.log();
            let mut transitions = self.lock();
            if transitions.len() == KEPT {
                transitions.pop_front();
            }
            transitions.push_back(Arc::new(transition));
        }
        self.ticks.send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Transition>>> {
        self.transitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self { transitions: Mutex::default(), ticks: watch::Sender::new(0) }
    }
}
