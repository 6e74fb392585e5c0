//! The idea of the product, as types.
//!
//! A [`Canary`] is a key with a value made for one check of one node. It is written, and read back with a
//! [`Sentinel`] for a default. What the read came to is a [`Read`], and [`Canary::judge`] says what it means.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::alias::Alias;

/// The default that is handed to a read.
///
/// It is a type of its own, so nothing that a cache holds can equal it, and only a check can make one: to
/// give it back, a cache, or whatever masks one, must have been handed it for this very read.
#[derive(Debug)]
pub struct Sentinel(());

impl Sentinel {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

/// What a read came to.
#[derive(Debug)]
pub enum Read {
    /// The cache answered with these bytes.
    Value(Vec<u8>),
    /// The cache has no such key, or the read was faked: the default came back.
    Default(Sentinel),
}

/// A cache's key: at most 250 bytes of printable ASCII, which no protocol can take for anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Box<str>);

impl Key {
    /// What memcached takes: "the key must not include control characters or whitespace" and "currently the
    /// length limit of a key is set at 250 characters" (memcached's protocol.txt, Keys).
    const MAX_LEN: usize = 250;

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `djblets-canary:web-1:main:cache:6379:9f86d081884c7d65:a`. The names are for the person who finds it;
    /// it is the series that tells keys apart, so the names are cut where they would make it too long.
    fn new(prefix: &str, instance: &str, alias: &Alias, node: &str, series: u64, slot: Slot) -> Self {
        let tail = format!(":{series:016x}:{}", slot.name());
        let mut key: String = format!("{prefix}canary:{instance}:{alias}:{node}")
            .chars()
            .map(|char| if char.is_ascii_graphic() { char } else { '_' })
            .take(Self::MAX_LEN - tail.len())
            .collect();
        key.push_str(&tail);
        Self(key.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The two keys of a node, used in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A key, a value and a time to live, made for one check of one node.
#[derive(Debug)]
pub struct Canary {
    key: Key,
    slot: Slot,
    replaces: bool,
    mark: Mark,
    value: String,
    ttl: Duration,
}

/// What a read of a canary's key means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the canary, or a later one of the same series that an overlapping check wrote since.
    Intact,
    /// The default came back: the read was faked, or the write was lost.
    Masked,
    /// It is an earlier canary of the same series: the write was dropped, or an earlier one has only now
    /// arrived.
    Stale {
        /// Its place in the series.
        sequence: u64,
        /// How long before this canary that one was made.
        age: Duration,
    },
    /// It is a canary, but of another series: another instance's, or another node's.
    Foreign {
        /// The instance that wrote it.
        instance: String,
    },
    /// It is no canary.
    Corrupt {
        /// Its length in bytes; the bytes themselves may be anybody's and are not kept.
        len: usize,
    },
}

impl Canary {
    /// The key to write it under.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The value to write.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether an earlier canary was written under its key, and may be there still.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// How long it may live; whole seconds, longer than any check.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Says what `read`, a read of this canary's key after its write was acknowledged, means.
    #[must_use]
    pub fn judge(&self, read: &Read) -> Verdict {
        let bytes = match read {
            Read::Default(_) => return Verdict::Masked,
            Read::Value(bytes) if bytes == self.value.as_bytes() => return Verdict::Intact,
            Read::Value(bytes) => bytes,
        };
        match std::str::from_utf8(bytes).ok().and_then(Mark::parse) {
            None => Verdict::Corrupt { len: bytes.len() },
            Some(mark) if mark.series != self.mark.series => Verdict::Foreign { instance: mark.instance },
            // Two checks of a node overlap when a cache is slow; they share its keys, and a newer value is as
            // good a proof that writes and reads are real.
            Some(mark) if mark.sequence > self.mark.sequence => Verdict::Intact,
            Some(Mark { sequence, made_at, .. }) => {
                let age = Duration::from_millis(self.mark.made_at.saturating_sub(made_at));
                Verdict::Stale { sequence, age }
            }
        }
    }
}

/// What a value says of itself: whose it is, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    instance: String,
    series: u64,
    sequence: u64,
    /// Milliseconds since 1970. Only for people: nothing is decided by it.
    made_at: u64,
}

impl Mark {
    const MAGIC: &str = "cache-canary/1";

    fn write(&self) -> String {
        let Self { instance, series, sequence, made_at } = self;
        format!("{} {instance} {series:016x} {sequence} {made_at}", Self::MAGIC)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        if next()? != Self::MAGIC {
            return None;
        }
        let mark = Self {
            instance: next()?.to_owned(),
            series: u64::from_str_radix(next()?, 16).ok()?,
            sequence: next()?.parse().ok()?,
            made_at: next()?.parse().ok()?,
        };
        // What was not written this way, to the letter, was altered.
        (mark.write() == text).then_some(mark)
    }
}

/// The canaries of one node, one after the other.
///
/// They live under two keys in turn, so that a new one is written while the one before it is still there, and
/// neither is ever removed: both expire. The keys hold a random number drawn at start, so that no two
/// sidecars, and no two runs of one, ever share a key.
#[derive(Debug)]
pub struct Series {
    instance: String,
    id: u64,
    keys: [Key; 2],
    ttl: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sequence: u64,
    /// Under which keys a canary was written, or may have been.
    written: [bool; 2],
    /// Where the last canary that was read back stands.
    resident: Option<Slot>,
    /// The last canary that was read back; the first is number 1.
    settled: u64,
    /// The latest run of canaries whose writes were not answered. Any of them may arrive yet.
    in_doubt: RangeInclusive<u64>,
}

impl Series {
    /// The series of `node`, whose keys begin with `prefix` and whose canaries live for `ttl`.
    #[must_use]
    pub fn new(prefix: &str, instance: &str, alias: &Alias, node: &str, ttl: Duration) -> Self {
        let id = fastrand::u64(..);
        let key = |slot| Key::new(prefix, instance, alias, node, id, slot);
        Self {
            instance: instance.to_owned(),
            id,
            keys: [key(Slot::A), key(Slot::B)],
            ttl,
            state: Mutex::new(State {
                sequence: 0,
                written: [false; 2],
                resident: None,
                settled: 0,
                in_doubt: RangeInclusive::new(1, 0),
            }),
        }
    }

    /// The next canary, under the key at which none is resident.
    #[must_use]
    pub fn next(&self) -> Canary {
        let mut state = self.state();
        let slot = state.resident.map_or(Slot::A, Slot::other);
        self.make(&mut state, slot)
    }

    /// The next canary, under the key of the one that is resident, if there is one.
    #[must_use]
    pub fn next_over_resident(&self) -> Option<Canary> {
        let mut state = self.state();
        let slot = state.resident?;
        Some(self.make(&mut state, slot))
    }

    /// Both keys.
    #[must_use]
    pub fn keys(&self) -> &[Key; 2] {
        &self.keys
    }

    /// How long a canary lives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Takes note that `canary` was read back: the next one is written under the other key.
    pub fn settle(&self, canary: &Canary) {
        let mut state = self.state();
        state.resident = Some(canary.slot);
        state.settled = state.settled.max(canary.mark.sequence);
    }

    /// Takes the write of `canary` for one that is in doubt, unless what is returned is told that it was
    /// answered. A check that is dropped at its deadline leaves it so.
    #[must_use]
    pub fn doubt(&self, canary: &Canary) -> Doubt<'_> {
        Doubt { series: self, sequence: canary.mark.sequence, answered: false }
    }

    /// Whether the write of this canary was not answered, so that it may have arrived at any time since.
    #[must_use]
    pub fn is_in_doubt(&self, sequence: u64) -> bool {
        self.state().in_doubt.contains(&sequence)
    }

    fn make(&self, state: &mut State, slot: Slot) -> Canary {
        state.sequence += 1;
        let made_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mark = Mark {
            instance: self.instance.clone(),
            series: self.id,
            sequence: state.sequence,
            made_at: u64::try_from(made_at).unwrap_or(u64::MAX),
        };
        let value = mark.write();
        let replaces = std::mem::replace(&mut state.written[slot as usize], true);
        Canary { key: self.key(slot).clone(), slot, replaces, mark, value, ttl: self.ttl }
    }

    fn key(&self, slot: Slot) -> &Key {
        &self.keys[slot as usize]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is in doubt until it is answered.
#[derive(Debug)]
pub struct Doubt<'a> {
    series: &'a Series,
    sequence: u64,
    answered: bool,
}

impl Doubt<'_> {
    /// The cache has answered that it is stored.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut state = self.series.state();
        let (first, last) = (*state.in_doubt.start(), *state.in_doubt.end());
        // A canary that was read back since closes the run before.
        state.in_doubt = if last > state.settled {
            first.min(self.sequence)..=last.max(self.sequence)
        } else {
            self.sequence..=self.sequence
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(instance: &str) -> Series {
        let alias = Alias::try_from("main").unwrap();
        Series::new("djblets-", instance, &alias, "cache:6379", Duration::from_mins(1))
    }

    fn read(value: &str) -> Read {
        Read::Value(value.as_bytes().to_vec())
    }

    #[test]
    fn a_canary_is_intact_only_as_it_was_written() {
        let canary = series("web-1").next();
        assert_eq!(canary.judge(&read(canary.value())), Verdict::Intact);
        let len = canary.value().len();
        for altered in [
            canary.value()[..len - 1].to_owned() + "x",
            canary.value().replace(' ', "  "),
            canary.value().to_uppercase(),
            format!("{} ", canary.value()),
            String::new(),
        ] {
            assert_eq!(canary.judge(&read(&altered)), Verdict::Corrupt { len: altered.len() }, "{altered}");
        }
        assert_eq!(canary.judge(&Read::Value(vec![0xff, 0])), Verdict::Corrupt { len: 2 });
    }

    #[test]
    fn the_sentinel_means_masked() {
        assert_eq!(series("web-1").next().judge(&Read::Default(Sentinel::new())), Verdict::Masked);
    }

    #[test]
    fn an_earlier_canary_is_stale_and_a_later_one_is_as_good() {
        let series = series("web-1");
        let (first, second) = (series.next(), series.next());
        assert!(matches!(second.judge(&read(first.value())), Verdict::Stale { .. }));
        assert_eq!(first.judge(&read(second.value())), Verdict::Intact);
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_verdict() {
        let series = series("web-1");
        let (first, mut second) = (series.next(), series.next());
        second.mark.made_at = 0;
        second.value = second.mark.write();
        assert_eq!(second.judge(&read(second.value())), Verdict::Intact);
        assert_eq!(second.judge(&read(first.value())), Verdict::Stale { sequence: 1, age: Duration::ZERO });
        assert_eq!(first.judge(&read(second.value())), Verdict::Intact);
    }

    #[test]
    fn writes_that_were_not_answered_are_in_doubt_until_there_is_a_later_run_of_them() {
        let series = series("web-1");
        let in_doubt = || (1..=9).filter(|&sequence| series.is_in_doubt(sequence)).collect::<Vec<_>>();
        let first = series.next();
        series.doubt(&first).answered();
        assert_eq!(in_doubt(), [0; 0]);
        series.settle(&first);
        let [second, third] = [series.next(), series.next()];
        // Overlapping checks give up in any order.
        drop(series.doubt(&third));
        drop(series.doubt(&second));
        assert_eq!(in_doubt(), [2, 3]);
        let fourth = series.next();
        series.doubt(&fourth).answered();
        series.settle(&fourth);
        assert_eq!(in_doubt(), [2, 3], "they may arrive yet");
        drop(series.doubt(&series.next()));
        assert_eq!(in_doubt(), [5]);
    }

    #[test]
    fn another_instances_canary_is_foreign_and_so_is_one_of_another_run() {
        let canary = series("web-1").next();
        for instance in ["web-2", "web-1"] {
            let other = series(instance).next();
            assert_eq!(canary.judge(&read(other.value())), Verdict::Foreign { instance: instance.into() });
        }
    }

    #[test]
    fn a_new_canary_stands_beside_the_one_that_was_read_back() {
        let series = series("web-1");
        let first = series.next();
        assert_eq!(series.next().key(), first.key(), "nothing was read back yet");
        series.settle(&first);
        let second = series.next();
        assert_ne!(second.key(), first.key());
        series.settle(&second);
        assert_eq!(series.next().key(), first.key());
        assert_eq!(series.next_over_resident().unwrap().key(), second.key());
    }

    #[test]
    fn a_canary_knows_whether_its_key_was_written_before() {
        let series = series("web-1");
        let first = series.next();
        assert!(!first.replaces());
        assert!(series.next().replaces(), "whether the first arrived or not");
        series.settle(&first);
        assert!(!series.next().replaces(), "under the other key");
    }

    #[test]
    fn keys_fit_memcached_whatever_the_names_are() {
        let alias = Alias::try_from("a".repeat(64).as_str()).unwrap();
        let node = "unix:/a path/\r\nflush_all\u{e9}".repeat(20);
        let long = Series::new(&"p".repeat(64), &"i".repeat(128), &alias, &node, Duration::from_mins(1));
        let short = series("web-1");
        for key in [long.key(Slot::A), long.key(Slot::B), short.key(Slot::A)] {
            assert!(key.as_str().len() <= 250, "{key}");
            assert!(key.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
        }
        assert_ne!(long.key(Slot::A), long.key(Slot::B));
        assert!(short.key(Slot::A).as_str().starts_with("djblets-canary:web-1:main:cache:6379:"));
    }

    #[test]
    fn no_two_runs_share_a_key() {
        assert_ne!(series("web-1").next().key(), series("web-1").next().key());
    }
}
