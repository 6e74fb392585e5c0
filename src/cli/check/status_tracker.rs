//! [`StatusTracker`]: the status of each check from round to round, and the time since which it has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::outcome::{Outcome, Status};
use crate::record::{Record, Since};

/// The time since which each check has had its status, and its last check, with `--watch`; empty for a single round.
#[derive(Debug, Default)]
pub(super) struct StatusTracker(HashMap<String, (Since, Instant)>);

/// A check whose status differs from the previous round's, or that had none.
#[derive(Debug)]
pub(super) struct StatusChange {
    pub(super) outcome: Arc<Outcome>,
    /// The previous status, and the time from the first check that saw it to the last.
    pub(super) before: Option<(Status, Duration)>,
}

impl StatusTracker {
    /// Takes the results of a round from the records, and returns the changes.
    pub(super) fn take<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Arc<Record>>,
    ) -> Vec<StatusChange> {
        let mut changes = Vec::new();
        for known in records.into_iter().map(|record| record.known()) {
            let since = known.since();
            let (Some(outcome), Some(since)) = (known.latest, since) else { continue };
            let before = self.0.insert(outcome.entry(), (since, outcome.began));
            if before.is_none_or(|(before, _)| before.status != since.status) {
                let before = before.map(|(before, last)| (before.status, last - before.began));
                changes.push(StatusChange { outcome, before });
            }
        }
        changes
    }

    /// The time since which the check of this name has had its status.
    pub(super) fn since(&self, entry: &str) -> Option<SystemTime> {
        self.0.get(entry).map(|(since, _)| since.began_at)
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

    #[tokio::test(start_paused = true)]
    async fn only_another_status_is_a_change_and_it_has_the_time_that_the_previous_one_was_seen() {
        let record = record("main");
        let mut tracker = StatusTracker::default();
        let mut round = async |fault| {
            tokio::time::advance(Duration::from_secs(2)).await;
            let outcome = outcome("main", 1, vec![node("cache:6379", fault)]);
            record.note(&outcome);
            let changes = tracker.take([&record]);
            let before: Vec<_> = changes.iter().map(|change| change.before).collect();
            (outcome.began_at, tracker.since("main"), before)
        };
        let (first, since, before) = round(None).await;
        assert_eq!((since, before), (Some(first), vec![None]));
        let (_, since, before) = round(None).await;
        assert_eq!((since, before), (Some(first), vec![]));
        let (down, since, before) = round(Some((Cause::Masked, ""))).await;
        assert_eq!((since, before), (Some(down), vec![Some((Status::Up, Duration::from_secs(2)))]));
        // A different cause is no change of status.
        let (_, since, before) = round(Some((Cause::Stale, ""))).await;
        assert_eq!((since, before), (Some(down), vec![]));
    }
}
