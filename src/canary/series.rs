//! [`Series`]: the canaries of one node, one after the other, and the writes that are in doubt.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Canary, CanaryStamp, Key, KeySlot, Read};
use crate::alias::Alias;
use crate::mutex::Mutex;

/// The canaries of one node, one after the other.
///
/// They live under two keys in turn, so that a new one is written while the one before it is still there, and
/// neither is ever removed: both expire. The keys hold a random number drawn at start, so that no two
/// sidecars, and no two runs of one, ever share a key.
#[derive(Debug)]
pub struct Series {
    instance: Arc<str>,
    id: u64,
    /// The key of the first slot.
    first: Key,
    /// The key of the second if its name differs: of thousands of series each would have two long texts.
    second: Option<Key>,
    ttl: Duration,
    state: Mutex<SeriesState>,
}

#[derive(Debug)]
struct SeriesState {
    sequence: u64,
    /// `true` for each slot under whose key a canary was written, or may have been.
    written: [bool; 2],
    /// The slot of the last canary that was read back.
    resident: Option<KeySlot>,
    /// The last canary that was read back; the first is number 1.
    settled: u64,
    /// The latest run of canaries whose writes were not answered. Any of them may arrive yet.
    in_doubt: RangeInclusive<u64>,
    /// The number of writes on their way, and the first of those that were without a pause.
    under_way: u32,
    first_under_way: u64,
}

/// The names of the keys of a series.
#[derive(Debug, Clone, Copy)]
pub struct KeyNames<'a> {
    /// The prefix of each key.
    pub prefix: &'a str,
    /// The sidecar that writes them.
    pub instance: &'a Arc<str>,
    /// The alias that is checked.
    pub alias: &'a Alias,
    /// The node of it that they are written to.
    pub node: &'a str,
    /// The hash tag, which decides the slot in a Redis cluster ("Redis cluster specification", Hash tags).
    pub tag: Option<&'a str>,
}

impl<'a> KeyNames<'a> {
    /// Names without a tag.
    #[must_use]
    pub fn new(prefix: &'a str, instance: &'a Arc<str>, alias: &'a Alias, node: &'a str) -> Self {
        Self { prefix, instance, alias, node, tag: None }
    }
}

/// The most tags that are tried for a key: in a Redis cluster, so many miss a single slot once in ten million times.
const MOST_TAGS: u32 = 1 << 18;

impl Series {
    /// A series of these names, whose canaries live for `ttl`.
    #[must_use]
    pub fn new(names: &KeyNames<'_>, ttl: Duration) -> Self {
        let id = fastrand::u64(..);
        Self::of_keys(names, id, (Key::new(names, id, KeySlot::A), None), ttl)
    }

    /// The same with keys for both of which `lands` is true, by a tag of its own for each that needs one; `None` if no
    /// such tag is found.
    pub(crate) fn placed(names: &KeyNames<'_>, ttl: Duration, lands: impl Fn(&Key) -> bool) -> Option<Self> {
        let id = fastrand::u64(..);
        let key = |slot| {
            let plain = std::iter::once_with(|| Key::new(names, id, slot));
            let tagged = (0..MOST_TAGS)
                .map(|tag| Key::new(&KeyNames { tag: Some(&format!("{tag:x}")), ..*names }, id, slot));
            plain.chain(tagged).find(|key| lands(key))
        };
        Some(Self::of_keys(names, id, (key(KeySlot::A)?, Some(key(KeySlot::B)?)), ttl))
    }

    fn of_keys(names: &KeyNames<'_>, id: u64, (first, second): (Key, Option<Key>), ttl: Duration) -> Self {
        Self {
            instance: names.instance.clone(),
            id,
            first,
            second,
            ttl,
            state: Mutex::new(SeriesState {
                sequence: 0,
                written: [false; 2],
                resident: None,
                settled: 0,
                in_doubt: RangeInclusive::new(1, 0),
                under_way: 0,
                first_under_way: 0,
            }),
        }
    }

    /// The next canary, under the key at which none is resident.
    #[must_use]
    pub fn next(&self) -> Canary {
        let mut state = self.state.lock();
        let slot = state.resident.map_or(KeySlot::A, KeySlot::other);
        self.make(&mut state, slot)
    }

    /// The next canary, under the key of the one that is resident, if there is one.
    #[must_use]
    pub(crate) fn next_over_resident(&self) -> Option<Canary> {
        let mut state = self.state.lock();
        let slot = state.resident?;
        Some(self.make(&mut state, slot))
    }

    /// Both keys.
    #[must_use]
    pub fn keys(&self) -> [Key; 2] {
        [KeySlot::A, KeySlot::B].map(|slot| self.key(slot))
    }

    /// The time to live of a canary.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Takes note that `canary` was read back: the next one is written under the other key.
    pub fn settle(&self, canary: &Canary) {
        let mut state = self.state.lock();
        state.resident = Some(canary.slot);
        state.settled = state.settled.max(canary.sequence);
    }

    /// The key of the canary that was read back last, if there is one.
    pub(crate) fn resident(&self) -> Option<Key> {
        self.state.lock().resident.map(|slot| self.key(slot))
    }

    /// `true` if `read`, a read of that key, still finds that canary, or a later one.
    pub(crate) fn is_resident(&self, read: &Read) -> bool {
        let Read::Value(bytes) = read else { return false };
        let mark = std::str::from_utf8(bytes).ok().and_then(CanaryStamp::parse);
        mark.is_some_and(|mark| mark.series == self.id && mark.sequence >= self.state.lock().settled)
    }

    /// Takes note that `canary` was removed from its key.
    pub(crate) fn removed(&self, canary: &Canary) {
        self.state.lock().written[canary.slot as usize] = false;
    }

    /// Takes the write of `canary` for one that is in doubt, until the returned [`Doubt`] is told that it was answered.
    /// A check that is dropped at its deadline leaves it so.
    ///
    /// The writes of overlapping checks that are on their way now are in doubt from here on: any of them may arrive after
    /// this one.
    #[must_use]
    pub(crate) fn doubt(&self, canary: &Canary) -> Doubt<'_> {
        let mut state = self.state.lock();
        if state.under_way == 0 {
            state.first_under_way = canary.sequence;
        } else {
            let earlier = state.first_under_way..=canary.sequence - 1;
            state.doubt(earlier);
        }
        state.under_way += 1;
        let earlier = LateWrites(state.in_doubt.clone());
        Doubt { series: self, sequence: canary.sequence, earlier, answered: false }
    }

    /// `true` if the write of this canary was not answered, so that it may have arrived at any time since.
    #[must_use]
    pub(crate) fn is_in_doubt(&self, sequence: u64) -> bool {
        self.state.lock().in_doubt.contains(&sequence)
    }

    fn make(&self, state: &mut SeriesState, slot: KeySlot) -> Canary {
        state.sequence += 1;
        let made_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let (series, sequence) = (self.id, state.sequence);
        let made_at = u64::try_from(made_at).unwrap_or(u64::MAX);
        let value = CanaryStamp { instance: &self.instance, series, sequence, made_at }.write();
        let replaces = std::mem::replace(&mut state.written[slot as usize], true);
        let (key, ttl) = (self.key(slot), self.ttl);
        Canary { key, slot, replaces, series, sequence, made_at, value, ttl }
    }

    fn key(&self, slot: KeySlot) -> Key {
        match (slot, &self.second) {
            (KeySlot::A, _) => self.first.clone(),
            (KeySlot::B, Some(second)) => second.clone(),
            (KeySlot::B, None) => self.first.in_slot(slot),
        }
    }
}

impl SeriesState {
    fn doubt(&mut self, sequences: RangeInclusive<u64>) {
        let (first, last) = (*self.in_doubt.start(), *self.in_doubt.end());
        // A canary that was read back since closes the run before.
        self.in_doubt = if last > self.settled {
            first.min(*sequences.start())..=last.max(*sequences.end())
        } else {
            sequences
        };
    }
}

/// A write that is in doubt until it is answered.
#[derive(Debug)]
pub(crate) struct Doubt<'a> {
    series: &'a Series,
    sequence: u64,
    earlier: LateWrites,
    answered: bool,
}

/// The earlier writes that may arrive after a write: those in doubt when it began. What is read back or begins later changes
/// nothing about them.
#[derive(Debug, Clone)]
pub(crate) struct LateWrites(RangeInclusive<u64>);

impl LateWrites {
    /// `true` if the canary with this number may have been written late.
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.0.contains(&sequence)
    }
}

impl Doubt<'_> {
    /// The cache has answered that it is stored. Returns the earlier writes that may arrive after it.
    pub(crate) fn answered(mut self) -> LateWrites {
        self.answered = true;
        self.earlier.clone()
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let mut state = self.series.state.lock();
        state.under_way -= 1;
        if !self.answered {
            state.doubt(self.sequence..=self.sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Unset;

    fn series(instance: &str) -> Series {
        let alias = Alias::try_from("main").unwrap();
        Series::new(
            &KeyNames::new("djblets-", &instance.into(), &alias, "cache:6379"),
            Duration::from_mins(1),
        )
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
    fn the_resident_is_the_canary_that_was_read_back_last_or_a_later_one_of_its_series() {
        let series = series("web-1");
        assert_eq!(series.resident(), None);
        let [first, second, third] = [(); 3].map(|()| series.next());
        series.settle(&second);
        assert_eq!(series.resident().as_ref(), Some(second.key()));
        let is_resident = |value: &str| series.is_resident(&Read::Value(value.into()));
        let found = [&first, &second, &third].map(|canary| is_resident(canary.value()));
        assert_eq!(found, [false, true, true]);
        let other = self::series("web-1");
        let [_, same_number] = [(); 2].map(|()| other.next());
        assert!(!is_resident(same_number.value()), "of another series");
        assert!(!is_resident("no canary"));
        assert!(!series.is_resident(&Read::Default(Unset::new())));
    }

    #[test]
    fn the_time_to_live_is_that_of_every_canary() {
        let series = series("web-1");
        assert_eq!((series.ttl(), series.next().ttl()), (Duration::from_mins(1), Duration::from_mins(1)));
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
    fn keys_fit_memcached_for_any_names() {
        let alias = Alias::try_from("a".repeat(64).as_str()).unwrap();
        let node = "unix:/a path/\r\nflush_all\u{e9}".repeat(20);
        let (prefix, instance) = ("p".repeat(64), "i".repeat(128).into());
        let long = Series::new(&KeyNames::new(&prefix, &instance, &alias, &node), Duration::from_mins(1));
        let short = series("web-1");
        for key in long.keys().into_iter().chain(short.keys()) {
            assert!(key.as_str().len() <= 250, "{key}");
            assert!(key.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
        }
        assert_ne!(long.key(KeySlot::A), long.key(KeySlot::B));
        for (key, end) in short.keys().iter().zip([":a", ":b"]) {
            assert!(key.as_str().starts_with("djblets-canary:web-1:main:cache:6379:"), "{key}");
            assert!(key.as_str().ends_with(end), "{key}");
        }
    }

    #[test]
    fn a_hash_tag_stands_at_the_place_that_a_cluster_hashes() {
        let alias = Alias::try_from("main").unwrap();
        let instance = "web-1".into();
        let names =
            KeyNames { tag: Some("1f3"), ..KeyNames::new("djblets-", &instance, &alias, "cache:6379") };
        let key = Series::new(&names, Duration::from_mins(1)).key(KeySlot::A).to_string();
        assert!(key.starts_with("djblets-canary:{1f3}:web-1:main:cache:6379:"), "{key}");
    }

    #[test]
    fn both_keys_are_placed_in_the_requested_slots() {
        let alias = Alias::try_from("main").unwrap();
        let instance = "web-1".into();
        let names = KeyNames::new("djblets-", &instance, &alias, "cache:6379");
        let placed = |lands: &dyn Fn(&Key) -> bool| Series::placed(&names, Duration::from_mins(1), lands);
        let plain = placed(&|_| true).unwrap();
        assert!(plain.keys().iter().all(|key| !key.as_str().contains('{')), "{plain:?}");
        let hash = |hash: u32, byte: u8| hash.wrapping_mul(31).wrapping_add(byte.into());
        let lands = |key: &Key| key.as_str().bytes().fold(0, hash) % 50 == 0;
        let tagged = placed(&lands).unwrap();
        assert!(tagged.keys().iter().all(lands), "{tagged:?}");
        assert!(placed(&|_| false).is_none());
    }

    #[test]
    fn a_canary_that_was_removed_is_not_replaced() {
        let series = series("web-1");
        let first = series.next();
        series.removed(&first);
        assert!(!series.next().replaces());
    }

    #[test]
    fn no_two_runs_share_a_key() {
        assert_ne!(series("web-1").next().key(), series("web-1").next().key());
    }

    #[test]
    fn a_write_that_was_on_its_way_when_another_began_is_in_doubt_though_it_is_answered() {
        let series = series("web-1");
        let [before, first, second, after] = [(); 4].map(|()| series.next());
        series.doubt(&before).answered();
        let (one, two) = (series.doubt(&first), series.doubt(&second));
        two.answered();
        one.answered();
        series.doubt(&after).answered();
        let in_doubt = [&before, &first, &second, &after].map(|canary| series.is_in_doubt(canary.sequence));
        assert_eq!(in_doubt, [false, true, false, false]);
    }

    #[test]
    fn a_write_may_be_late_for_one_that_it_overlapped_whatever_is_read_back_or_begins_later() {
        let series = series("web-1");
        let [before, first, second, third, fourth] = [(); 5].map(|()| series.next());
        series.doubt(&before).answered();
        let (one, two) = (series.doubt(&first), series.doubt(&second));
        one.answered();
        let late = two.answered();
        series.settle(&first);
        let _later = [series.doubt(&third), series.doubt(&fourth)];
        assert!(!series.is_in_doubt(first.sequence), "for those that begin now");
        let late = [&before, &first, &second, &third].map(|canary| late.contains(canary.sequence));
        assert_eq!(late, [false, true, false, false]);
    }
}
