use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::outcome::{Outcome, Report, Status};

/// Since when each check has had its status, for those who watch; nothing for those who look once.
#[derive(Debug, Default)]
pub(super) struct Standing(HashMap<String, Since>);

#[derive(Debug)]
struct Since {
    status: Status,
    at: SystemTime,
    began: Instant,
}

/// A check that has another status than in the round before, or was not in it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) outcome: Arc<Outcome>,
    /// What it was before, and for how long.
    pub(super) before: Option<(Status, Duration)>,
}

impl Standing {
    /// Takes in a round, and says what it has changed.
    pub(super) fn take(&mut self, report: &Report) -> Vec<Change> {
        let mut changes = Vec::new();
        for outcome in &report.outcomes {
            let since = Since { status: outcome.status(), at: outcome.began_at, began: outcome.began };
            let before = self.0.get(&outcome.entry());
            if before.is_some_and(|before| before.status == since.status) {
                continue;
            }
            let before = before.map(|before| (before.status, since.began - before.began));
            changes.push(Change { outcome: outcome.clone(), before });
            self.0.insert(outcome.entry(), since);
        }
        changes
    }

    /// Since when the check of this name has been as it is.
    pub(super) fn since(&self, entry: &str) -> Option<SystemTime> {
        self.0.get(entry).map(|since| since.at)
    }

    /// Whether there was no round yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Standing;
    use crate::cli::check::tests::{node, outcome};
    use crate::outcome::{Cause, Report, Status};

    #[tokio::test(start_paused = true)]
    async fn only_another_status_is_a_change_and_it_says_how_long_the_last_one_stood() {
        let round = async |fault| {
            tokio::time::advance(Duration::from_secs(2)).await;
            let outcomes = vec![outcome("main", 1, vec![node("cache:6379", fault)])];
            Report { outcomes, skipped: Vec::new() }
        };
        let mut standing = Standing::default();
        let up = round(None).await;
        let changes = standing.take(&up);
        assert_eq!((changes.len(), changes[0].before), (1, None));
        assert!(standing.take(&round(None).await).is_empty());
        assert_eq!(standing.since("main"), Some(up.outcomes[0].began_at));

        let down = round(Some((Cause::Masked, ""))).await;
        let changes = standing.take(&down);
        assert_eq!((changes.len(), changes[0].before), (1, Some((Status::Up, Duration::from_secs(4)))));
        assert_eq!(standing.since("main"), Some(down.outcomes[0].began_at));
        assert!(standing.take(&round(Some((Cause::Stale, ""))).await).is_empty());
    }
}
