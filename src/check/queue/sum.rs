//! [`QueueSum`]: a queue, whose entries may be in several keys. No I/O.

use super::reading::{KeyUse, Oldest, QueueReading, SeenKey};
use super::shards::add_lengths;
use crate::config::checks::QueueState;

/// A queue, as it was seen. A number is `None` if no key tells it.
#[derive(Debug, Default)]
pub(super) struct QueueSum {
    /// The entries that wait, with the slowest group of its stream.
    pub(super) waiting: Option<QueueReading>,
    pub(super) oldest: Option<Oldest>,
    pub(super) taken: Option<u64>,
    pub(super) scheduled: Option<u64>,
    pub(super) failed: Option<u64>,
    pub(super) lost: Option<u64>,
}

impl QueueSum {
    /// The sum of some keys; `None` if one of them was not read, or holds something else.
    pub(super) fn of(uses: &[KeyUse], seen: &[Option<SeenKey>]) -> Option<Self> {
        let mut sum = Self::default();
        let mut unfinished = None;
        for (of, seen) in uses.iter().zip(seen) {
            let Some(SeenKey::Queue(key)) = seen else { return None };
            match of.state {
                QueueState::Waiting => {
                    sum.wait(key.length, key);
                    add(&mut sum.taken, key.pending);
                }
                QueueState::Scheduled => {
                    add(&mut sum.scheduled, Some(key.length));
                    if of.unit.is_some() {
                        sum.wait(key.due, key);
                    }
                }
                QueueState::Taken => add(&mut sum.taken, Some(key.length)),
                QueueState::Failed => add(&mut sum.failed, Some(key.length)),
                QueueState::Unfinished => add(&mut unfinished, Some(key.length)),
            }
            add(&mut sum.lost, key.lost);
        }
        // The commands are not one transaction, so that there may be fewer for a moment.
        let waiting = sum.waiting.as_ref().map_or(0, |waiting| waiting.length);
        add(&mut sum.taken, unfinished.map(|unfinished: u64| unfinished.saturating_sub(waiting)));
        Some(sum)
    }

    /// Takes in so many entries of a key, and its oldest.
    fn wait(&mut self, entries: u64, key: &QueueReading) {
        let waiting = self.waiting.get_or_insert_default();
        // A group is named if all entries are those that it has not acknowledged.
        if waiting.length == 0 {
            waiting.slowest.clone_from(&key.slowest);
        } else if entries > 0 {
            waiting.slowest = waiting.slowest.take().filter(|group| key.slowest.as_ref() == Some(group));
        }
        waiting.length = waiting.length.saturating_add(entries);
        waiting.at_most |= key.at_most;
        add_lengths(&mut waiting.shards, &key.shards);
        let dated = |oldest: &Option<Oldest>| oldest.as_ref().and_then(|oldest| oldest.since);
        if entries > 0
            && let Some(since) = dated(&key.oldest)
            && dated(&self.oldest).is_none_or(|before| since < before)
        {
            self.oldest.clone_from(&key.oldest);
        }
    }
}

fn add(total: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *total = Some(total.unwrap_or(0).saturating_add(more));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stream(group: &str, length: u64) -> QueueReading {
        let (pending, slowest) = (Some(1), Some(group.into()));
        QueueReading { length, pending, slowest, ..QueueReading::default() }
    }

    fn sum(keys: &[(QueueState, QueueReading)]) -> QueueSum {
        let uses: Vec<_> = keys.iter().map(|(state, _)| KeyUse { state: *state, ..KeyUse::PLAIN }).collect();
        let seen: Vec<_> = keys.iter().map(|(_, key)| Some(SeenKey::Queue(key.clone()))).collect();
        QueueSum::of(&uses, &seen).unwrap()
    }

    #[test]
    fn a_group_is_named_only_if_all_entries_are_its_own() {
        let waiting = |keys: &[QueueReading]| {
            let keys: Vec<_> = keys.iter().map(|key| (QueueState::Waiting, key.clone())).collect();
            let sum = sum(&keys);
            let waiting = sum.waiting.unwrap();
            (waiting.length, sum.taken.unwrap(), waiting.slowest.as_deref().map(str::to_owned))
        };
        let named = Some("mail".to_owned());
        assert_eq!(waiting(&[stream("mail", 3), stream("mail", 2)]), (5, 2, named.clone()));
        assert_eq!(waiting(&[stream("other", 0), stream("mail", 2)]), (2, 2, named.clone()));
        assert_eq!(waiting(&[stream("mail", 2), stream("other", 0)]), (2, 2, named));
        assert_eq!(waiting(&[stream("mail", 3), stream("other", 2)]), (5, 2, None));
        let list = QueueReading { length: 1, ..QueueReading::default() };
        assert_eq!(waiting(&[stream("mail", 3), list]), (4, 1, None));
    }

    #[test]
    fn the_oldest_entry_of_all_keys_counts_if_it_waits() {
        let at = |seconds| {
            let since = Some(Duration::from_secs(seconds));
            Some(Oldest { mark: 0, since, group: None })
        };
        let waiting = |seconds| {
            (QueueState::Waiting, QueueReading { length: 1, oldest: at(seconds), ..QueueReading::default() })
        };
        let scheduled = |seconds, due| {
            (QueueState::Scheduled, QueueReading { due, oldest: at(seconds), ..QueueReading::default() })
        };
        let oldest =
            |keys: &[_]| sum(keys).oldest.and_then(|oldest| oldest.since).map(|since| since.as_secs());
        assert_eq!(oldest(&[waiting(7), waiting(5), waiting(6)]), Some(5));
        assert_eq!(oldest(&[waiting(7), scheduled(4, 1)]), Some(4));
        assert_eq!(oldest(&[waiting(7), scheduled(4, 0)]), Some(7));
        assert_eq!(oldest(&[scheduled(4, 0)]), None);
    }

    #[test]
    fn fewer_unfinished_entries_than_wait_are_none_that_are_taken() {
        let key = |state, length| (state, QueueReading { length, ..QueueReading::default() });
        let taken = |waiting, unfinished| {
            sum(&[key(QueueState::Waiting, waiting), key(QueueState::Unfinished, unfinished)]).taken
        };
        assert_eq!([taken(2, 5), taken(2, 2), taken(3, 2)], [Some(3), Some(0), Some(0)]);
    }
}
