//! [`Overdue`]: a message about overdue rounds.

use std::fmt;
use std::time::Duration;

use super::partition::PARTITIONS;

/// The most partitions that are named.
const NAMED: usize = 3;

/// Overdue rounds: in one partition or more, no round has ended for several intervals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The time that the oldest of them has been stuck.
    pub since: Duration,
    /// The configured interval between rounds.
    pub interval: Duration,
    /// The stuck partitions, longest first.
    pub still: Vec<StandsStill>,
}

/// A stuck partition; others may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandsStill {
    /// The partition's number.
    pub partition: usize,
    /// The time for which it has been stuck.
    pub since: Duration,
    /// Some of the entries that it waits for.
    pub waits_for: Vec<String>,
    /// The number of further checks that it waits for.
    pub others: usize,
}

impl fmt::Display for Overdue {
    /// `no round has completed for 31 s (interval 10s): partition 4 has been stuck for 31 s, waiting for main`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, interval, still } = self;
        write!(f, "no round has completed for {} s (interval {interval:?})", since.as_secs())?;
        // If all partitions are stuck and none waits for a check, the program itself is stuck.
        if still.len() == PARTITIONS && still.iter().all(|one| one.waits_for.is_empty()) {
            return Ok(());
        }
        // Partitions that wait for a check say more.
        let (waiting, idle): (Vec<_>, Vec<_>) = still.iter().partition(|one| !one.waits_for.is_empty());
        let named = waiting.into_iter().chain(idle).take(NAMED);
        for (place, one) in named.enumerate() {
            write!(f, "{} {one}", if place == 0 { ":" } else { ";" })?;
        }
        match still.len().saturating_sub(NAMED) {
            0 => Ok(()),
            others => write!(f, "; and {others} more"),
        }
    }
}

impl fmt::Display for StandsStill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, since, waits_for, others } = self;
        write!(f, "partition {partition} has been stuck for {} s", since.as_secs())?;
        if !waits_for.is_empty() {
            write!(f, ", waiting for {}", waits_for.join(", "))?;
        }
        if *others > 0 {
            write!(f, " and {others} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(still: &[(usize, &[&str], usize)]) -> String {
        let since = Duration::from_secs(31);
        let still = still.iter().map(|&(partition, waits_for, others)| StandsStill {
            partition,
            since,
            waits_for: waits_for.iter().map(|&name| name.to_owned()).collect(),
            others,
        });
        Overdue { since, interval: Duration::from_secs(10), still: still.collect() }.to_string()
    }

    #[test]
    fn a_stuck_partition_is_named_with_its_pending_checks_in_a_sentence_of_bounded_length() {
        let start = "no round has completed for 31 s (interval 10s)";
        let all: Vec<_> = (0..PARTITIONS).map(|number| (number, &[] as &[&str], 0)).collect();
        assert_eq!(told(&all), start, "the program itself stands still");
        assert_eq!(
            told(&[(3, &[], 0), (4, &["main", "jobs"], 2)]),
            format!(
                "{start}: partition 4 has been stuck for 31 s, waiting for main, jobs and 2 more; \
                 partition 3 has been stuck for 31 s"
            )
        );
        assert!(told(&all[..9]).ends_with("partition 2 has been stuck for 31 s; and 6 more"));
    }
}
