//! [`Tally`]: the counters of an entry, for readers that poll.

use std::time::Duration;

use crate::outcome::{Cause, Outcome, Status};

/// The number of bounds between the shortest checks and the longest.
const BOUNDS: usize = 13;

/// The results of the checks of an entry, counted since the sidecar started. A few hundred bytes, however many checks
/// there were.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// In the order of [`Self::RESULTS`].
    results: [u64; Self::RESULTS.len()],
    /// See [`Self::took`].
    took: [u64; BOUNDS + 1],
    time: Duration,
    connections: u64,
    /// Only causes that occurred, since most entries never meet most of them.
    failures: Vec<(Cause, u64)>,
}

impl Tally {
    /// The possible results of a check.
    pub(crate) const RESULTS: [Status; 3] = [Status::Up, Status::Degraded, Status::Down];

    /// The bounds by which checks are sorted. A round trip on one machine takes a tenth of a millisecond, and the
    /// deadline is usually below a second.
    pub(crate) const BOUNDS: [Duration; BOUNDS] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
    ];

    /// Counts a check; of a result from another sidecar, only the connections that a look at the nodes opened.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        self.connections += u64::from(outcome.connections);
        if outcome.reused().is_some() {
            return;
        }
        let status = outcome.status();
        let Some(result) = Self::RESULTS.iter().position(|&result| result == status) else { return };
        self.results[result] += 1;
        self.took[Self::BOUNDS.partition_point(|&bound| bound < outcome.elapsed)] += 1;
        self.time += outcome.elapsed;
        let Some(cause) = outcome.cause() else { return };
        match self.failures.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, times)) => *times += 1,
            None => self.failures.push((cause, 1)),
        }
    }

    /// The number of checks by result.
    pub fn results(&self) -> impl Iterator<Item = (Status, u64)> {
        Self::RESULTS.into_iter().zip(self.results)
    }

    /// The number of checks that were degraded or down, by main cause.
    pub fn failures(&self) -> impl Iterator<Item = (Cause, u64)> {
        self.failures.iter().copied()
    }

    /// The number of checks per histogram bucket, not cumulative, with its upper bound; the last bucket has none.
    pub fn took(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        Self::BOUNDS.into_iter().map(Some).chain([None]).zip(self.took)
    }

    /// The total duration of all checks.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The number of connections that they opened.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;
    use crate::alias::Alias;
    use crate::outcome::{CheckKind, Fault, Needs, NodeOutcome, OutcomeExtra, Phase, Phases, Reused};

    /// A check that took this many microseconds, opened one connection, and met this cause.
    fn outcome(micros: u64, cause: Option<Cause>) -> Outcome {
        let fault = cause.map(|cause| Fault::new(cause, Phase::Connect, ""));
        let nodes = vec![NodeOutcome::server("cache:6379", Phases::default(), fault)];
        let began = (Instant::now(), SystemTime::now());
        let (alias, elapsed) = (Alias::try_from("main").unwrap(), Duration::from_micros(micros));
        let outcome = Outcome::plain(alias, CheckKind::RoundTrip, began, elapsed, nodes, Needs::default());
        Outcome { connections: 1, ..outcome }
    }

    fn tally(outcomes: &[(u64, Option<Cause>)]) -> Tally {
        let mut tally = Tally::default();
        for &(micros, cause) in outcomes {
            tally.note(&outcome(micros, cause));
        }
        tally
    }

    #[test]
    fn a_check_is_counted_at_the_first_bound_that_it_kept() {
        let tally = tally(&[(100, None), (101, None), (999_999, None), (1_000_001, None), (9_000_000, None)]);
        let took: Vec<_> = tally.took().collect();
        assert_eq!(took.len(), 14);
        assert_eq!(took[0], (Some(Duration::from_micros(100)), 1));
        assert_eq!(took[1], (Some(Duration::from_micros(250)), 1));
        assert_eq!(took[11], (Some(Duration::from_millis(500)), 0));
        assert_eq!(took[12], (Some(Duration::from_secs(1)), 1));
        assert_eq!(took[13], (None, 2));
        assert_eq!(tally.time(), Duration::from_micros(11_000_201));
    }

    #[test]
    fn the_bounds_grow() {
        assert!(Tally::BOUNDS.is_sorted_by(|shorter, longer| shorter < longer));
    }

    #[test]
    fn results_and_causes_are_counted_and_missing_ones_are_not() {
        let tally = tally(&[
            (1, None),
            (1, Some(Cause::Refused)),
            (1, Some(Cause::TimedOut)),
            (1, Some(Cause::Refused)),
        ]);
        let results: Vec<_> = tally.results().collect();
        assert_eq!(results, [(Status::Up, 1), (Status::Degraded, 0), (Status::Down, 3)]);
        assert_eq!(tally.failures().collect::<Vec<_>>(), [(Cause::Refused, 2), (Cause::TimedOut, 1)]);
        assert_eq!(tally.connections(), 4);
    }

    #[test]
    fn a_verdict_of_another_sidecar_is_no_check_and_its_connections_are_counted_all_the_same() {
        let mut reused = outcome(100, None);
        let from = Reused { from: "web-2".into(), age: Duration::from_millis(840) };
        reused.extra = Some(Box::new(OutcomeExtra { reused: Some(from), ..OutcomeExtra::default() }));
        let mut tally = tally(&[(100, None)]);
        tally.note(&reused);
        assert_eq!(tally.results().next(), Some((Status::Up, 1)));
        assert_eq!((tally.time(), tally.connections()), (Duration::from_micros(100), 2));
    }

    #[test]
    fn a_tally_is_small_since_there_may_be_thousands() {
        let size = size_of::<Tally>();
        assert!(size <= 200, "{size} bytes");
        // Everything that can happen to an entry is a few hundred bytes more.
        let worst = tally(&Cause::ALL.iter().map(|&cause| (1, Some(cause))).collect::<Vec<_>>());
        assert_eq!(worst.failures().count(), Cause::ALL.len());
        assert!(worst.failures.capacity() * size_of::<(Cause, u64)>() <= 1024);
    }
}
