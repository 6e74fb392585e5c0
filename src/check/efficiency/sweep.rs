//! [`Sweep`]: how the times to live of one server's entries are looked at, a few in each check, without I/O.
//!
//! SCAN goes round a server's keys with a cursor that is kept between rounds, and whoever breaks the promise is
//! remembered and looked at again in each check: so a finding stands until it is not true any more, and not until the
//! cursor has gone on.

use std::collections::BTreeMap;
use std::time::Duration;

/// So many entries that break the promise are remembered by name. Of more it is known how many there were when the
/// cursor came by.
pub(super) const MOST_REMEMBERED: usize = 100;

/// Names that are longer are not remembered either.
const LONGEST_NAME: usize = 1024;

/// A key, as it is.
pub(super) type RawKey = Vec<u8>;

/// Entries, and how long they live.
pub(super) type KeyLives = Vec<(RawKey, TimeToLive)>;

/// What PTTL says of an entry ("PTTL" in Redis' documentation: -1 for one without a time to live, -2 for none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeToLive {
    Gone,
    Endless,
    Left(Duration),
}

/// How an entry breaks the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It has no time to live.
    Endless,
    /// It has a longer one than was promised.
    Longer,
}

/// So many entries break it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BrokenTally {
    pub(super) endless: u64,
    pub(super) longer: u64,
}

/// How far it has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Where SCAN goes on; `0` is where it begins.
    pub(super) cursor: Vec<u8>,
    remembered: BTreeMap<RawKey, Broken>,
    /// Since the cursor began to go round, and the time round before.
    now: Lap,
    before: Lap,
}

/// One time round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lap {
    /// How many entries were looked at.
    seen: u64,
    /// Those that break the promise and were not remembered.
    others: BrokenTally,
}

/// What one check has looked at on one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked {
    /// Those that were remembered.
    pub(super) again: KeyLives,
    /// What SCAN came by, and the cursor behind each step.
    pub(super) steps: Vec<(KeyLives, Vec<u8>)>,
}

impl TimeToLive {
    /// From the number that PTTL answers.
    pub(super) fn of(ms: i64) -> Self {
        match ms {
            -1 => Self::Endless,
            ms => u64::try_from(ms).map_or(Self::Gone, |ms| Self::Left(Duration::from_millis(ms))),
        }
    }

    /// How it breaks a promise of at most `max`.
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

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { endless: self.endless + other.endless, longer: self.longer + other.longer }
    }
}

impl Looked {
    /// How many entries SCAN came by.
    pub(super) fn seen(&self) -> usize {
        self.steps.iter().map(|(keys, _)| keys.len()).sum()
    }
}

impl Sweep {
    /// Where SCAN begins and ends.
    pub(super) const START: &[u8] = b"0";

    pub(super) fn new() -> Self {
        let cursor = Self::START.to_vec();
        Self { cursor, remembered: BTreeMap::new(), now: Lap::default(), before: Lap::default() }
    }

    /// The keys that are to be looked at again.
    pub(super) fn remembered(&self) -> Vec<RawKey> {
        self.remembered.keys().cloned().collect()
    }

    /// Takes in what a check has looked at; an entry may live for `max` at most.
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

    /// How many entries break the promise, as far as is known. Those that are not remembered stand for a time round.
    pub(super) fn tally(&self) -> BrokenTally {
        let mut tally = BrokenTally::default();
        self.remembered.values().for_each(|&broken| tally.add(broken));
        let others = [self.now.others, self.before.others].into_iter().max_by_key(|others| others.all());
        tally.and(others.unwrap_or_default())
    }

    /// Among how many, as far as is known.
    pub(super) fn seen(&self) -> u64 {
        self.now.seen.max(self.before.seen).max(self.tally().all())
    }

    /// One that breaks the promise: one without a time to live before one with a longer one.
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

    /// A check that begins with what is remembered, all of which has this time to live by now.
    fn check(sweep: &mut Sweep, again: i64, steps: &[(KeyLives, &str)]) -> (u64, u64) {
        let again = sweep.remembered().into_iter().map(|key| (key, TimeToLive::of(again))).collect();
        let steps = steps.iter().map(|(keys, cursor)| (keys.clone(), cursor.as_bytes().to_vec())).collect();
        sweep.take_in(Looked { again, steps }, MAX);
        (sweep.tally().all(), sweep.seen())
    }

    #[test]
    fn who_breaks_the_promise_is_remembered_while_the_cursor_goes_on() {
        let mut sweep = Sweep::new();
        assert_eq!(check(&mut sweep, -1, &[(entries(0..100, 60_000), "7")]), (0, 100));
        assert_eq!(check(&mut sweep, -1, &[(entries(100..102, -1), "8")]), (2, 102));
        assert_eq!(sweep.tally(), BrokenTally { endless: 2, longer: 0 });
        assert_eq!(sweep.example().map(Vec::as_slice), Some(&b"100"[..]));
        assert_eq!(check(&mut sweep, 60_001, &[(entries(102..200, 5), "0")]), (2, 200));
        assert_eq!(sweep.tally(), BrokenTally { endless: 0, longer: 2 });
        // The cursor is elsewhere, and they are mended or gone.
        assert_eq!(check(&mut sweep, -2, &[(entries(0..50, 5), "7")]), (0, 200));
    }

    #[test]
    fn of_more_than_are_remembered_it_is_known_for_a_time_round() {
        let mut sweep = Sweep::new();
        assert_eq!(check(&mut sweep, -1, &[(entries(0..150, -1), "0")]), (150, 150));
        assert_eq!(sweep.remembered().len(), MOST_REMEMBERED);
        // The remembered ones are gone; of the others it is not known before the cursor has come round.
        assert_eq!(check(&mut sweep, -2, &[(entries(0..10, 5), "7")]), (50, 150));
        assert_eq!(check(&mut sweep, -2, &[(entries(10..20, 5), "0")]), (0, 20));
    }
}
