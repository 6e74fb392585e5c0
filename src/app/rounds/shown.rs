//! [`ShownRounds`]: the outcome that a report of the last checks shows of each entry while a round is in progress.
//!
//! A report does not mix an unfinished round with a finished one: an apparent recovery may be half of a picture whose
//! other half is old. But a failure is never held back, and neither is the result of a check for a request.

use std::collections::HashMap;
use std::sync::Arc;

use crate::alias::Alias;
use crate::outcome::{CheckKind, Outcome, Status};
use crate::record::Record;

/// The result of a check of a round.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) outcome: Arc<Outcome>,
    /// The last outcome when the check began, except for outcomes of other unfinished rounds.
    pub(super) before: Option<Arc<Outcome>>,
}

/// The results by which a report shows the last checks.
#[derive(Debug, Default)]
pub(super) struct ShownRounds {
    /// The outcomes of the last round that has ended in every partition.
    finished: Arc<[Arc<Outcome>]>,
    /// The results of rounds that have not.
    unfinished: Vec<Checked>,
}

impl ShownRounds {
    pub(super) fn new(finished: Arc<[Arc<Outcome>]>, unfinished: Vec<Checked>) -> Self {
        Self { finished, unfinished }
    }

    /// The shown outcome of each entry, whichever request it was checked for; `None` if an entry was never checked.
    pub(super) fn of<'a>(&self, records: impl Iterator<Item = &'a Arc<Record>>) -> Option<Vec<Arc<Outcome>>> {
        let finished: HashMap<(&Alias, CheckKind), _> =
            self.finished.iter().map(|outcome| ((&outcome.alias, outcome.kind), outcome)).collect();
        let unfinished: HashMap<_, _> =
            self.unfinished.iter().map(|one| (Arc::as_ptr(&one.outcome), one.before.as_ref())).collect();
        let shown = records.map(|record| {
            let latest = record.latest()?;
            let Some(&before) = unfinished.get(&Arc::as_ptr(&latest)) else { return Some(latest) };
            let finished = finished.get(&(record.alias(), record.kind())).copied();
            let before = finished.into_iter().chain(before).max_by_key(|outcome| outcome.began);
            Some(before.filter(|before| waits(&latest, before)).cloned().unwrap_or(latest))
        });
        shown.collect()
    }
}

/// `true` if an unfinished round's outcome waits for the end of the round, and the earlier one is shown. It waits unless
/// it is at least as bad as the earlier one and no success.
fn waits(found: &Outcome, before: &Outcome) -> bool {
    match found.status() {
        Status::Up | Status::Skipped => true,
        Status::Degraded | Status::Down => found.status() < before.status(),
    }
}
