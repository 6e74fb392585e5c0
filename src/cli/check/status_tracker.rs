//! [`StatusTracker`]: the status of each check from round to round, and the time since which it has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::outcome::Outcome;
use crate::record::{Past, Record, Since};

/// The time since which each check has had its status, and its last check, with `--watch`; empty for a single round.
#[derive(Debug, Default)]
pub(super) struct StatusTracker(HashMap<String, KnownStatus>);

#[derive(Debug)]
struct KnownStatus {
    since: Since,
    /// The status and its causes so far.
    past: Past,
    /// The number of changes of its causes.
    changes: usize,
}

/// A check whose status, cause or faulty nodes differ from the previous round's, or that had none.
#[derive(Debug)]
pub(super) struct StatusChange {
    pub(super) outcome: Arc<Outcome>,
    /// The status before, as far as checks saw it.
    pub(super) before: Option<Past>,
}

impl StatusTracker {
    /// Takes the results of a round from the records, and returns the changes.
    pub(super) fn take<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Arc<Record>>,
    ) -> Vec<StatusChange> {
        let mut changes = Vec::new();
        for known in records.into_iter().map(|record| record.known()) {
            let (since, so_far) = (known.since(), known.so_far());
            let (Some(outcome), Some(since), Some((past, number))) = (known.latest, since, so_far) else {
                continue;
            };
            let status = KnownStatus { since, past, changes: number };
            let before = self.0.insert(outcome.entry(), status);
            let is_same =
                |before: &KnownStatus| (before.since.began, before.changes) == (since.began, number);
            if !before.as_ref().is_some_and(is_same) {
                changes.push(StatusChange { outcome, before: before.map(|before| before.past) });
            }
        }
        changes
    }

    /// The time since which the check of this name has had its status.
    pub(super) fn since(&self, entry: &str) -> Option<SystemTime> {
        self.0.get(entry).map(|known| known.since.began_at)
    }

    /// `true` if there was no round yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{node, outcome, record};
    use super::StatusTracker;
    use crate::outcome::{Cause, Status};
    use crate::record::Past;
    use crate::span::rough;

    #[tokio::test(start_paused = true)]
    async fn another_status_or_cause_is_a_change_with_the_causes_before_and_the_time_that_was_seen() {
        let told = |past: &Past| (past.status, past.lasted, past.reasons(rough));
        let record = record("main");
        let mut tracker = StatusTracker::default();
        let mut round = async |fault| {
            tokio::time::advance(Duration::from_secs(2)).await;
            let outcome = outcome("main", 1, vec![node("cache:6379", fault)]);
            record.note(&outcome);
            let changes = tracker.take([&record]);
            let before: Vec<_> = changes.iter().map(|change| change.before.as_ref().map(told)).collect();
            (outcome.began_at, tracker.since("main"), before)
        };
        let (first, since, before) = round(None).await;
        assert_eq!((since, before), (Some(first), vec![None]));
        let (_, since, before) = round(None).await;
        assert_eq!((since, before), (Some(first), vec![]));
        let (down, since, before) = round(Some((Cause::Masked, ""))).await;
        assert_eq!((since, before), (Some(down), vec![Some((Status::Up, Duration::from_secs(2), None))]));
        let (_, since, before) = round(Some((Cause::Masked, ""))).await;
        assert_eq!((since, before), (Some(down), vec![]));
        let masked = Some((Status::Down, Duration::from_secs(2), Some("masked".to_owned())));
        let (_, since, before) = round(Some((Cause::Stale, ""))).await;
        assert_eq!((since, before), (Some(down), vec![masked]));
        let (_, _, before) = round(None).await;
        let causes = Some("masked 2s, stale".to_owned());
        assert_eq!(before, vec![Some((Status::Down, Duration::from_secs(4), causes))]);
    }
}
