//! [`Sweep`]: the sampling of the times to live of one server's entries, a few in each check, without I/O.
//!
//! SCAN goes round a server's keys with a cursor that is kept between rounds. An entry that breaks the promise is
//! remembered and checked again in each check, so its finding stands until it is resolved, and not only until the cursor
//! has moved on.

use std::collections::BTreeMap;
use std::time::Duration;

/// The most entries that are remembered by name as breaking the promise. Of others, the number is known from the cursor's
/// last round.
pub(super) const MOST_REMEMBERED: usize = 100;

/// The longest name that is remembered, in bytes.
const LONGEST_NAME: usize = 1024;

/// A key in raw bytes.
pub(super) type RawKey = Vec<u8>;

/// Entries, and their times to live.
pub(super) type KeyLives = Vec<(RawKey, TimeToLive)>;

/// PTTL's answer for an entry ("PTTL" in Redis' documentation: -1 without a time to live, -2 without an entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeToLive {
    Gone,
    Endless,
    Left(Duration),
}

/// The way in which an entry breaks the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It has no time to live.
    Endless,
    /// Its time to live is longer than promised.
    Longer,
}

/// The number of entries that break the promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BrokenTally {
    pub(super) endless: u64,
    pub(super) longer: u64,
}

/// The progress of the sampling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sweep {
    /// The cursor at which SCAN goes on; `0` is its beginning.
    pub(super) cursor: Vec<u8>,
    remembered: BTreeMap<RawKey, Broken>,
    /// The cursor's current round, and the one before.
    now: Lap,
    before: Lap,
}

/// One round of the cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lap {
    /// The number of entries that were checked.
    seen: u64,
    /// The entries that break the promise and were not remembered.
    others: BrokenTally,
}

/// The entries that one check has read on one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked {
    /// The remembered entries.
    pub(super) again: KeyLives,
    /// The entries of each step of SCAN, and the cursor after it.
    pub(super) steps: Vec<(KeyLives, Vec<u8>)>,
}

impl TimeToLive {
    /// The time to live from PTTL's answer.
    pub(super) fn of(ms: i64) -> Self {
        match ms {
            -1 => Self::Endless,
            ms => u64::try_from(ms).map_or(Self::Gone, |ms| Self::Left(Duration::from_millis(ms))),
        }
    }

    /// The way in which it breaks a promise of at most `max`.
    fn breaks(self, max: Duration) -> Option<Broken> {
        match self {
            Self::Endless => Some(Broken::Endless),
            Self::Left(left) if left > max => Some(Broken::Longer),
            Self::Gone | Self::Left(_) => None,
        }
    }
}

impl BrokenTally {
    fn add(&mut self, broken: Broken) {
        match broken {
            Broken::Endless => self.endless += 1,
            Broken::Longer => self.longer += 1,
        }
    }

    pub(super) fn all(self) -> u64 {
        self.endless + self.longer
    }

    /// The sum of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { endless: self.endless + other.endless, longer: self.longer + other.longer }
    }
}

impl Looked {
    /// The number of entries from SCAN.
    pub(super) fn seen(&self) -> usize {
        self.steps.iter().map(|(keys, _)| keys.len()).sum()
    }
}

impl Sweep {
    /// The cursor at which SCAN begins and ends.
    pub(super) const START: &[u8] = b"0";

    pub(super) fn new() -> Self {
        let cursor = Self::START.to_vec();
        Self { cursor, remembered: BTreeMap::new(), now: Lap::default(), before: Lap::default() }
    }

    /// The keys that are to be checked again.
    pub(super) fn remembered(&self) -> Vec<RawKey> {
        self.remembered.keys().cloned().collect()
    }

    /// Takes in the entries of a check; an entry may live for `max` at most.
    pub(super) fn take_in(&mut self, looked: Looked, max: Duration) {
        for (key, life) in looked.again {
            match life.breaks(max) {
                Some(broken) => drop(self.remembered.insert(key, broken)),
                None => drop(self.remembered.remove(&key)),
            }
        }
        for (keys, cursor) in looked.steps {
            for (key, life) in keys {
                self.now.seen += u64::from(life != TimeToLive::Gone);
                match life.breaks(max) {
                    None => drop(self.remembered.remove(&key)),
                    Some(broken) => self.remember(key, broken),
                }
            }
            self.cursor = cursor;
            if self.cursor == Self::START {
                self.before = std::mem::take(&mut self.now);
            }
        }
    }

    fn remember(&mut self, key: RawKey, broken: Broken) {
        let room = self.remembered.len() < MOST_REMEMBERED && key.len() <= LONGEST_NAME;
        if room || self.remembered.contains_key(&key) {
            self.remembered.insert(key, broken);
        } else {
            self.now.others.add(broken);
        }
    }

    /// The known number of entries that break the promise. Those that are not remembered count for a round.
    pub(super) fn tally(&self) -> BrokenTally {
        let mut tally = BrokenTally::default();
        self.remembered.values().for_each(|&broken| tally.add(broken));
        let others = [self.now.others, self.before.others].into_iter().max_by_key(|others| others.all());
        tally.and(others.unwrap_or_default())
    }

    /// The known number of all entries.
    pub(super) fn seen(&self) -> u64 {
        self.now.seen.max(self.before.seen).max(self.tally().all())
    }

    /// An entry that breaks the promise, preferably one without a time to live.
    pub(super) fn example(&self) -> Option<&RawKey> {
        let endless = self.remembered.iter().find(|(_, broken)| **broken == Broken::Endless);
        endless.or_else(|| self.remembered.iter().next()).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_mins(1);

    fn entries(range: std::ops::Range<u32>, ms: i64) -> KeyLives {
        range.map(|number| (number.to_string().into_bytes(), TimeToLive::of(ms))).collect()
    }

    /// A check that begins with the remembered entries, all of which have this time to live by now.
    fn check(sweep: &mut Sweep, again: i64, steps: &[(KeyLives, &str)]) -> (u64, u64) {
        let again = sweep.remembered().into_iter().map(|key| (key, TimeToLive::of(again))).collect();
        let steps = steps.iter().map(|(keys, cursor)| (keys.clone(), cursor.as_bytes().to_vec())).collect();
        sweep.take_in(Looked { again, steps }, MAX);
        (sweep.tally().all(), sweep.seen())
    }

    #[test]
    fn a_key_that_breaks_the_promise_is_remembered_while_the_cursor_goes_on() {
        let mut sweep = Sweep::new();
        assert_eq!(check(&mut sweep, -1, &[(entries(0..100, 60_000), "7")]), (0, 100));
        assert_eq!(check(&mut sweep, -1, &[(entries(100..102, -1), "8")]), (2, 102));
        assert_eq!(sweep.tally(), BrokenTally { endless: 2, longer: 0 });
        assert_eq!(sweep.example().map(Vec::as_slice), Some(&b"100"[..]));
        assert_eq!(check(&mut sweep, 60_001, &[(entries(102..200, 5), "0")]), (2, 200));
        assert_eq!(sweep.tally(), BrokenTally { endless: 0, longer: 2 });
        // The cursor is elsewhere, and the remembered entries are repaired or gone.
        assert_eq!(check(&mut sweep, -2, &[(entries(0..50, 5), "7")]), (0, 200));
    }

    #[test]
    fn a_list_that_is_too_long_is_known_to_be_so_until_the_sweep_has_come_round() {
        let mut sweep = Sweep::new();
        assert_eq!(check(&mut sweep, -1, &[(entries(0..150, -1), "0")]), (150, 150));
        assert_eq!(sweep.remembered().len(), MOST_REMEMBERED);
        // The remembered ones are gone; the others stand until the cursor has come round.
        assert_eq!(check(&mut sweep, -2, &[(entries(0..10, 5), "7")]), (50, 150));
        assert_eq!(check(&mut sweep, -2, &[(entries(10..20, 5), "0")]), (0, 20));
    }
}
