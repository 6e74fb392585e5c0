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
        waiting.length = waiting.length.saturating_add(entries);
        waiting.at_most |= key.at_most;
        add_lengths(&mut waiting.shards, &key.shards);
        waiting.slowest = waiting.slowest.take().or_else(|| key.slowest.clone());
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
