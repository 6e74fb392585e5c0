//! [`ShownRounds`]: what a report of the last checks shows of each entry, while a round is under way.
//!
//! A report does not mix an unfinished round with a finished one: what looks like a recovery may be half of a picture in
//! which the other half is old. But bad news is never held back, and neither is what somebody's own check has found.

use std::collections::HashMap;
use std::sync::Arc;

use crate::alias::Alias;
use crate::outcome::{CheckKind, Outcome, Status};
use crate::record::Record;

/// What a check of a round came to.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) outcome: Arc<Outcome>,
    /// What was known when it began, but for what other unfinished rounds had found.
    pub(super) before: Option<Arc<Outcome>>,
}

/// How to show what was checked last.
#[derive(Debug, Default)]
pub(super) struct ShownRounds {
    /// What the last round came to that has ended everywhere.
    finished: Arc<[Arc<Outcome>]>,
    /// What rounds came to that have not.
    unfinished: Vec<Checked>,
}

impl ShownRounds {
    pub(super) fn new(finished: Arc<[Arc<Outcome>]>, unfinished: Vec<Checked>) -> Self {
        Self { finished, unfinished }
    }

    /// What is shown of each entry, whoever it was checked for; nothing where one never was.
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

/// Whether what an unfinished round has found waits for the end of the round, and what was known before is shown: it
/// does, unless it is bad.
fn waits(found: &Outcome, before: &Outcome) -> bool {
    match found.status() {
        Status::Up | Status::Skipped => true,
        Status::Degraded | Status::Down => found.status() < before.status(),
    }
}
