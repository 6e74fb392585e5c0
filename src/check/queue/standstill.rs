//! [`Standstill`]: the time for which nothing was drained while the lock was held. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use super::reading::{Lock, QueueReading, SeenKey};

/// The memory of the queues and their draining from look to look.
#[derive(Debug)]
pub(super) struct Standstill {
    /// The last snapshot of each key.
    before: Vec<QueueSnapshot>,
    /// The time since when, in every look, the lock was held, entries waited, and nothing was drained.
    since: Option<Instant>,
}

/// A queue as it was seen last.
#[derive(Debug, Clone, Copy, Default)]
struct QueueSnapshot {
    length: u64,
    oldest: Option<u64>,
}

impl Standstill {
    pub(super) fn new(keys: usize) -> Self {
        Self { before: vec![QueueSnapshot::default(); keys], since: None }
    }

    /// Takes in the readings of a look of the keys whose entries wait, and returns the time for which nothing has been
    /// drained while the lock was held. A key without a reading counts as unchanged.
    pub(super) fn observe<'a>(
        &mut self,
        seen: impl IntoIterator<Item = &'a Option<SeenKey>>,
        lock: Option<Lock>,
        now: Instant,
    ) -> Option<Duration> {
        let mut drained = false;
        for (before, seen) in self.before.iter_mut().zip(seen) {
            let Some(SeenKey::Queue(queued)) = seen else { continue };
            let now = QueueSnapshot::of(queued);
            drained |= now.follows_a_drain_of(*before);
            *before = now;
        }
        let waiting = self.before.iter().any(|queue| queue.length > 0);
        let held = match lock {
            Some(Lock::Free) => false,
            Some(Lock::Held(_)) => true,
            None => self.since.is_some(),
        };
        self.since = match self.since {
            _ if !held || !waiting => None,
            Some(since) if !drained => Some(since),
            Some(_) | None => Some(now),
        };
        self.since.map(|since| now - since)
    }
}

impl QueueSnapshot {
    fn of(queued: &QueueReading) -> Self {
        Self { length: queued.length, oldest: queued.oldest.as_ref().map(|oldest| oldest.mark) }
    }

    /// `true` if an entry was taken out since the snapshot `before`. The entries of lists and sets are not known, so one
    /// that is filled faster than it is drained cannot be told from one that is not drained.
    fn follows_a_drain_of(self, before: Self) -> bool {
        let other_first = before.oldest.is_some() && self.oldest != before.oldest;
        self.length < before.length || other_first
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Oldest;
    use super::*;

    const HELD: Option<Lock> = Some(Lock::Held(None));

    #[allow(clippy::unnecessary_wraps, reason = "as what is seen is kept")]
    fn queue(length: u64, mark: Option<u64>) -> Option<SeenKey> {
        let oldest = mark.map(|mark| Oldest { mark, since: None, group: None });
        Some(SeenKey::Queue(QueueReading { length, oldest, ..QueueReading::default() }))
    }

    /// The seconds of standstill after each of these looks, which are ten seconds apart.
    fn standstills(looks: &[(Option<Lock>, Vec<Option<SeenKey>>)]) -> Vec<Option<u64>> {
        let began = Instant::now();
        let mut standstill = Standstill::new(looks[0].1.len());
        let look = |(number, (lock, seen)): (u64, &(Option<Lock>, Vec<Option<SeenKey>>))| {
            let now = began + Duration::from_secs(number * 10);
            standstill.observe(seen, *lock, now).map(|time| time.as_secs())
        };
        (0..).zip(looks).map(look).collect()
    }

    #[tokio::test]
    async fn a_lock_that_is_held_while_the_oldest_entry_stays_is_a_standstill() {
        let looks = [5, 6, 9].map(|length| (HELD, vec![queue(length, Some(7))]));
        assert_eq!(standstills(&looks), [Some(0), Some(10), Some(20)]);
    }

    #[tokio::test]
    async fn any_drained_entry_ends_a_standstill() {
        for drained in [queue(4, Some(7)), queue(9, Some(8)), queue(0, None)] {
            let looks = [
                (HELD, vec![queue(5, Some(7)), queue(1, None)]),
                (HELD, vec![queue(5, Some(7)), queue(1, None)]),
                (HELD, vec![drained, queue(1, None)]),
                (HELD, vec![None, queue(1, None)]),
            ];
            assert_eq!(standstills(&looks), [Some(0), Some(10), Some(0), Some(10)]);
        }
    }

    #[tokio::test]
    async fn a_list_stands_still_until_it_is_shorter() {
        let looks = [1, 1, 3, 2].map(|length| (HELD, vec![queue(length, None)]));
        assert_eq!(standstills(&looks), [Some(0), Some(10), Some(20), Some(0)]);
    }

    #[tokio::test]
    async fn nothing_to_do_or_no_lock_is_no_standstill() {
        let empty = [0, 0].map(|length| (HELD, vec![queue(length, None)]));
        assert_eq!(standstills(&empty), [None, None]);
        let released = [HELD, Some(Lock::Free), HELD, None].map(|lock| (lock, vec![queue(3, Some(7))]));
        assert_eq!(standstills(&released), [Some(0), None, Some(0), Some(10)]);
        let never_seen = [None, None].map(|lock| (lock, vec![queue(3, Some(7))]));
        assert_eq!(standstills(&never_seen), [None, None]);
    }
}
