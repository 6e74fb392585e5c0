//! A key that lies on several shards: its readings, added up. No I/O.

use std::sync::Arc;

use super::reading::{Lock, Oldest, QueueReading, SeenKey};

impl SeenKey {
    /// The reading of a key on this shard, with its length there.
    pub(super) fn on(mut self, shard: &Arc<str>) -> Self {
        if let Self::Queue(queue) = &mut self {
            queue.shards = vec![(shard.clone(), queue.length)];
        }
        self
    }

    /// The reading of a key together with that of the same key on another shard.
    pub(super) fn beside(self, other: Self) -> Self {
        match (self, other) {
            (Self::Queue(one), Self::Queue(other)) => Self::Queue(one.beside(other)),
            (Self::Witness(one), Self::Witness(other)) => Self::Witness(one || other),
            // A lock is held if one shard holds it, and a value that is no queue is reported from any shard.
            (Self::Queue(_) | Self::Lock(Lock::Free), other) => other,
            (one, _) => one,
        }
    }
}

impl QueueReading {
    fn beside(mut self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| {
            one.zip(other).map(|(one, other)| one.saturating_add(other)).or(one).or(other)
        };
        if other.length > self.length {
            self.slowest = other.slowest.or(self.slowest);
        }
        add_lengths(&mut self.shards, &other.shards);
        Self {
            length: self.length.saturating_add(other.length),
            at_most: self.at_most || other.at_most,
            due: self.due.saturating_add(other.due),
            pending: sum(self.pending, other.pending),
            lost: sum(self.lost, other.lost),
            oldest: older(self.oldest, other.oldest),
            ..self
        }
    }

    /// The shard with most entries, and their number, if there is more than one shard.
    pub(super) fn largest_shard(&self) -> Option<&(Arc<str>, u64)> {
        self.shards.iter().max_by_key(|(_, length)| *length).filter(|_| self.shards.len() > 1)
    }
}

/// Adds the lengths of another key on the same shards.
pub(super) fn add_lengths(lengths: &mut Vec<(Arc<str>, u64)>, more: &[(Arc<str>, u64)]) {
    for (shard, length) in more {
        match lengths.iter_mut().find(|(known, _)| known == shard) {
            Some((_, total)) => *total = total.saturating_add(*length),
            None => lengths.push((shard.clone(), *length)),
        }
    }
}

/// The older of two entries; one whose time is not known is as good as none.
fn older(one: Option<Oldest>, other: Option<Oldest>) -> Option<Oldest> {
    match (&one, &other) {
        (Some(one_entry), Some(other_entry)) => match (one_entry.since, other_entry.since) {
            (Some(since), Some(other_since)) if other_since < since => other,
            (None, Some(_)) => other,
            _ => one,
        },
        (Some(_), None) => one,
        (None, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn queue(shard: &str, length: u64, since: Option<u64>) -> SeenKey {
        let oldest =
            since.map(|since| Oldest { mark: since, since: Some(Duration::from_secs(since)), group: None });
        SeenKey::Queue(QueueReading { length, oldest, ..QueueReading::default() }).on(&shard.into())
    }

    #[test]
    fn lengths_add_up_and_the_oldest_entry_of_all_shards_counts() {
        let shards = [queue("a", 2, Some(70)), queue("b", 5, Some(60)), queue("c", 0, None)];
        let Some(SeenKey::Queue(sum)) = shards.into_iter().reduce(SeenKey::beside) else { panic!() };
        assert_eq!((sum.length, sum.oldest.as_ref().map(|oldest| oldest.mark)), (7, Some(60)));
        assert_eq!(sum.largest_shard(), Some(&("b".into(), 5)));
        let Some(SeenKey::Queue(one)) = Some(queue("a", 2, None)) else { panic!() };
        assert_eq!(one.largest_shard(), None);
    }

    #[test]
    fn a_lock_on_any_shard_is_held_and_another_type_on_any_shard_is_told() {
        let held = SeenKey::Lock(Lock::Held(None));
        assert_eq!(SeenKey::Lock(Lock::Free).beside(held.clone()), held);
        assert_eq!(held.clone().beside(SeenKey::Lock(Lock::Free)), held);
        let other = SeenKey::Other("string".into());
        assert_eq!(queue("a", 1, None).beside(other.clone()), other);
        assert_eq!(other.clone().beside(queue("a", 1, None)), other);
        assert_eq!(SeenKey::Witness(false).beside(SeenKey::Witness(true)), SeenKey::Witness(true));
    }
}
