//! [`Causes`]: the main causes of a period, one after the other.
//!
//! An alias of many nodes may have several causes at a time, and its first faulty node may be another one at each check.
//! So its cause stands for as long as anything has it. Another set of faulty nodes is a change too, and the number of changes
//! is bounded.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::outcome::{Cause, Outcome};

/// The number of changes in a period that are told at once. After these, a cause that was there before is told only if it
/// stays: two causes may alternate at each check.
const AT_ONCE: usize = 8;

/// The time for which a cause must have come back.
const STAYS: Duration = Duration::from_mins(1);

/// The main causes of a period; empty while it is up.
#[derive(Debug, Clone, Default)]
pub(super) struct Causes {
    /// Each cause so far, with the time that it was the main one, without the current time of the current one.
    told: Vec<(Cause, Duration)>,
    current: Option<MainCause>,
    /// A cause, with its nodes, that has come instead of the current one, and is not told yet.
    next: Option<(Cause, u64, Instant)>,
    changes: usize,
}

/// A main cause, as far as checks saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MainCause {
    pub(super) cause: Cause,
    /// The faulty nodes.
    nodes: u64,
    /// The start of the check with which it became the main one.
    began: Instant,
    /// The start of the last check that had it.
    seen: Instant,
    /// The same on the wall clock.
    pub(super) seen_at: SystemTime,
}

impl MainCause {
    fn of(cause: Cause, began: Instant, outcome: &Outcome) -> Self {
        let (nodes, seen, seen_at) = (outcome.faulty_nodes(), outcome.began, outcome.began_at);
        Self { cause, nodes, began, seen, seen_at }
    }

    /// The time from the first check that had it to the last.
    pub(super) fn lasted(&self) -> Duration {
        self.seen.saturating_duration_since(self.began)
    }
}

impl Causes {
    /// The causes of a period that begins with `outcome`.
    pub(super) fn begin(outcome: &Outcome) -> Self {
        let current = outcome.cause().map(|cause| MainCause::of(cause, outcome.began, outcome));
        let told = current.map(|current| (current.cause, Duration::ZERO)).into_iter().collect();
        Self { told, current, next: None, changes: 0 }
    }

    /// The number of changes that were told.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// Adds a check; returns the previous cause, if the cause or its nodes have changed.
    pub(super) fn note(&mut self, outcome: &Outcome) -> Option<MainCause> {
        let (before, found, nodes) = (self.current?, outcome.cause()?, outcome.faulty_nodes());
        if nodes == before.nodes && outcome.is_due_to(before.cause) {
            self.current = Some(MainCause::of(before.cause, before.began, outcome));
            self.next = None;
            return None;
        }
        let came = match self.next {
            Some((next, of_nodes, came)) if (next, of_nodes) == (found, nodes) => came,
            Some(_) | None => outcome.began,
        };
        self.next = Some((found, nodes, came));
        let is_new = self.told.iter().all(|(told, _)| *told != found);
        let stays = outcome.began.saturating_duration_since(came) >= STAYS;
        if !is_new && !stays && self.changes >= AT_ONCE {
            return None;
        }
        self.told = self.so_far();
        if is_new {
            self.told.push((found, Duration::ZERO));
        }
        (self.current, self.next) = (Some(MainCause::of(found, came, outcome)), None);
        self.changes += 1;
        Some(before)
    }

    /// Each cause with the time that checks saw it as the main one.
    pub(super) fn so_far(&self) -> Vec<(Cause, Duration)> {
        let mut causes = self.told.clone();
        if let Some(current) = &self.current {
            for (_, time) in causes.iter_mut().filter(|(cause, _)| *cause == current.cause) {
                *time += current.lasted();
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Fault, Needs, NodeOutcome, Phase, Phases};

    const TIMED_OUT: &[Cause] = &[Cause::TimedOut];
    const REFUSED: &[Cause] = &[Cause::Refused];

    /// A check at this second whose nodes have these causes.
    fn outcome(start: Instant, second: u64, causes: &[Cause]) -> Outcome {
        let node = |&cause| {
            let fault = Fault::new(cause, Phase::Connect, "");
            NodeOutcome::server("cache:6379", Phases::default(), Some(fault))
        };
        let nodes = causes.iter().map(node).collect();
        let alias = Alias::try_from("main").unwrap();
        let began = (start + Duration::from_secs(second), SystemTime::UNIX_EPOCH);
        Outcome::plain(alias, CheckKind::RoundTrip, began, Duration::ZERO, nodes, Needs::default())
    }

    /// The seconds at which a change was told, of checks with these causes, and the causes at the end.
    fn changes(checks: &[(u64, &[Cause])]) -> (Vec<u64>, Vec<(Cause, u64)>) {
        let start = Instant::now();
        let (first, rest) = checks.split_first().unwrap();
        let mut causes = Causes::begin(&outcome(start, first.0, first.1));
        let told = rest.iter().filter(|(at, found)| causes.note(&outcome(start, *at, found)).is_some());
        let told = told.map(|(at, _)| *at).collect();
        let causes = causes.so_far();
        (told, causes.into_iter().map(|(cause, time)| (cause, time.as_secs())).collect())
    }

    #[test]
    fn another_cause_is_a_change_and_each_has_its_time() {
        let checks: [(u64, &[Cause]); 7] = [
            (0, TIMED_OUT),
            (5, TIMED_OUT),
            (10, REFUSED),
            (18, REFUSED),
            (20, &[Cause::ReadOnly]),
            (30, TIMED_OUT),
            (31, TIMED_OUT),
        ];
        // No more than from the first check that saw it to the last.
        let times = vec![(Cause::TimedOut, 6), (Cause::Refused, 8), (Cause::ReadOnly, 0)];
        assert_eq!(changes(&checks), (vec![10, 20, 30], times));
    }

    #[test]
    fn a_cause_stands_for_as_long_as_any_node_has_it() {
        let both: &[Cause] = &[Cause::Refused, Cause::TimedOut];
        let other_way_round: &[Cause] = &[Cause::TimedOut, Cause::Refused];
        let checks = [(0, TIMED_OUT), (1, both), (2, other_way_round), (3, both), (4, REFUSED)];
        assert_eq!(changes(&checks).0, [4]);
    }

    #[test]
    fn another_set_of_faulty_nodes_is_a_change_whatever_their_order() {
        let start = Instant::now();
        let at = |second, names: &[&str]| {
            let mut outcome = outcome(start, second, &vec![Cause::Refused; names.len()]);
            for (node, name) in outcome.nodes.iter_mut().zip(names) {
                node.node = (*name).into();
            }
            outcome
        };
        let mut causes = Causes::begin(&at(0, &["a"]));
        let checks: [(u64, &[&str], bool); 5] = [
            (1, &["a"], false),
            (2, &["a", "b"], true),
            (3, &["b", "a"], false),
            (4, &["b"], true),
            (6, &["b"], false),
        ];
        for (second, names, is_change) in checks {
            assert_eq!(causes.note(&at(second, names)).is_some(), is_change, "{second}");
        }
        let lasted: Vec<_> =
            causes.so_far().into_iter().map(|(cause, time)| (cause, time.as_secs())).collect();
        assert_eq!(lasted, [(Cause::Refused, 1 + 1 + 2)]);
    }

    #[test]
    fn causes_that_alternate_at_each_check_are_told_a_few_times_and_one_that_stays_is_told() {
        let alternating = |second: u64| (second, if second.is_multiple_of(2) { TIMED_OUT } else { REFUSED });
        let mut checks: Vec<_> = (0..1000).map(alternating).collect();
        assert_eq!(changes(&checks).0, [1, 2, 3, 4, 5, 6, 7, 8]);
        checks.extend((1000..1100).map(|second| (second, REFUSED)));
        assert_eq!(changes(&checks).0.last(), Some(&1059), "a minute after 999");
        checks.push((1100, &[Cause::ReadOnly]));
        assert_eq!(changes(&checks).0.last(), Some(&1100), "a new one is told at once");
    }
}
