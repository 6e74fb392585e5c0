//! The idea of the product, as types.
//!
//! A [`Canary`] is a key with a value made for one check of one node. It is written, and read back with the sentinel
//! default, [`Unset`]. The result of the read is a [`Read`], and [`Canary::judge`] tells its meaning.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod series;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use series::LateWrites;
pub use series::{KeyNames, Series};

/// The default that is handed to a read.
///
/// It is a type of its own, so nothing that a cache holds can equal it, and only a check can make one: to give it back,
/// a cache, or any layer that masks one, must have been handed it for this very read.
#[derive(Debug)]
pub struct Unset {
    why: Option<Box<str>>,
}

impl Unset {
    pub(crate) fn new() -> Self {
        Self { why: None }
    }

    /// The same, with the reason for which it is given back: a layer that answers without having asked can attach one.
    #[must_use]
    pub fn because(self, why: &str) -> Self {
        Self { why: Some(why.into()) }
    }
}

/// The result of a read.
#[derive(Debug)]
pub enum Read {
    /// The cache answered with these bytes.
    Value(Vec<u8>),
    /// The cache has no such key, or the read was faked: the default came back.
    Default(Unset),
}

/// A cache's key: at most 250 bytes of printable ASCII, which no protocol can take for anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Arc<str>);

impl Key {
    /// The limit of memcached: "the key must not include control characters or whitespace" and "currently the length
    /// limit of a key is set at 250 characters" (memcached's protocol.txt, Keys).
    const MAX_LEN: usize = 250;

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `djblets-canary:web-1:main:cache:6379:9f86d081884c7d65:a`. The names are for the person who finds it; the series
    /// alone tells keys apart, so the names are cut if they would make it too long. A hash tag, which chooses the slot
    /// in a Redis cluster, stands before them: `djblets-canary:{1f3}:web-1:...`.
    fn new(names: &KeyNames<'_>, series: u64, slot: KeySlot) -> Self {
        let KeyNames { prefix, instance, alias, node, tag } = names;
        let tail = format!(":{series:016x}:{}", slot.letter());
        let tag = tag.map(|tag| format!("{{{tag}}}:")).unwrap_or_default();
        let mut key: String = format!("{prefix}canary:{tag}{instance}:{alias}:{node}")
            .chars()
            .map(|char| if char.is_ascii_graphic() { char } else { '_' })
            .take(Self::MAX_LEN - tail.len())
            .collect();
        key.push_str(&tail);
        Self(key.into())
    }

    /// The key of an identity marker: `djblets-canary:identity`. In a cluster a tag chooses its slot:
    /// `djblets-canary:{7}:identity`. It names no alias and no instance, so that all who check these data share it.
    pub(crate) fn of_marker(prefix: &str, tag: Option<u32>) -> Self {
        let tag = tag.map(|tag| format!("{{{tag}}}:")).unwrap_or_default();
        Self(format!("{prefix}canary:{tag}identity").into())
    }

    /// The key of this slot with the same name otherwise.
    fn in_slot(&self, slot: KeySlot) -> Self {
        let mut key = String::with_capacity(self.0.len());
        key.push_str(&self.0);
        key.pop();
        key.push(slot.letter());
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
enum KeySlot {
    A,
    B,
}

impl KeySlot {
    fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
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
    slot: KeySlot,
    replaces: bool,
    series: u64,
    sequence: u64,
    /// Milliseconds since 1970.
    made_at: u64,
    value: String,
    ttl: Duration,
}

/// The meaning of a read of a canary's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// It is the canary, or a later one of the same series that an overlapping check wrote since.
    Intact,
    /// The default came back: the read was faked, or the write was lost.
    Masked {
        /// The reason that came with it, if the layer that gave it back attached one.
        why: Option<Box<str>>,
    },
    /// It is an earlier canary of the same series: the write was dropped, or an earlier one has only now
    /// arrived.
    Stale {
        /// Its place in the series.
        sequence: u64,
        /// The time from the making of that canary to the making of this one.
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

    /// `true` if an earlier canary was written under its key and may still be there.
    #[must_use]
    pub(crate) fn replaces(&self) -> bool {
        self.replaces
    }

    /// Its time to live: whole seconds, longer than any check.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The meaning of `read`, a read of this canary's key after its write was acknowledged.
    #[must_use]
    pub fn judge(&self, read: &Read) -> CanaryVerdict {
        let bytes = match read {
            Read::Default(Unset { why }) => return CanaryVerdict::Masked { why: why.clone() },
            Read::Value(bytes) if bytes == self.value.as_bytes() => return CanaryVerdict::Intact,
            Read::Value(bytes) => bytes,
        };
        match std::str::from_utf8(bytes).ok().and_then(CanaryStamp::parse) {
            None => CanaryVerdict::Corrupt { len: bytes.len() },
            Some(mark) if mark.series != self.series => {
                CanaryVerdict::Foreign { instance: mark.instance.to_owned() }
            }
            // Two checks of a node overlap when a cache is slow; they share its keys, and a newer value is as
            // good a proof that writes and reads are real.
            Some(mark) if mark.sequence > self.sequence => CanaryVerdict::Intact,
            // Its own stamp in another value: a part of it was altered.
            Some(mark) if mark.sequence == self.sequence => CanaryVerdict::Corrupt { len: bytes.len() },
            Some(CanaryStamp { sequence, made_at, .. }) => {
                let age = Duration::from_millis(self.made_at.saturating_sub(made_at));
                CanaryVerdict::Stale { sequence, age }
            }
        }
    }
}

/// The stamp in a value: its instance, its series, its number, and the time at which it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CanaryStamp<'a> {
    instance: &'a str,
    series: u64,
    sequence: u64,
    /// Milliseconds since 1970. Only for people: nothing is decided by it.
    made_at: u64,
}

impl<'a> CanaryStamp<'a> {
    const MAGIC: &'static str = "cache-canary/1";

    fn write(&self) -> String {
        let Self { instance, series, sequence, made_at } = self;
        // Room for the first hundred million canaries of a series, and for the time until the year 2286.
        let mut text = String::with_capacity(Self::MAGIC.len() + instance.len() + 41);
        // Writing to a text cannot fail.
        let _ = write!(text, "{} {instance} {series:016x} {sequence} {made_at}", Self::MAGIC);
        text
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        if next()? != Self::MAGIC {
            return None;
        }
        let mark = Self {
            instance: next()?,
            series: u64::from_str_radix(next()?, 16).ok()?,
            sequence: next()?.parse().ok()?,
            made_at: next()?.parse().ok()?,
        };
        // A text that was not written this way, to the letter, was altered.
        (mark.write() == text).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Alias;

    fn series(instance: &str) -> Series {
        let alias = Alias::try_from("main").unwrap();
        Series::new(
            &KeyNames::new("djblets-", &instance.into(), &alias, "cache:6379"),
            Duration::from_mins(1),
        )
    }

    fn read(value: &str) -> Read {
        Read::Value(value.as_bytes().to_vec())
    }

    #[test]
    fn a_canary_is_intact_only_as_it_was_written() {
        let canary = series("web-1").next();
        assert_eq!(canary.judge(&read(canary.value())), CanaryVerdict::Intact);
        let len = canary.value().len();
        for altered in [
            canary.value()[..len - 1].to_owned() + "x",
            canary.value().replace(' ', "  "),
            canary.value().to_uppercase(),
            format!("{} ", canary.value()),
            String::new(),
        ] {
            assert_eq!(
                canary.judge(&read(&altered)),
                CanaryVerdict::Corrupt { len: altered.len() },
                "{altered}"
            );
        }
        assert_eq!(canary.judge(&Read::Value(vec![0xff, 0])), CanaryVerdict::Corrupt { len: 2 });
    }

    #[test]
    fn a_canary_whose_time_or_instance_was_altered_is_corrupt_and_not_an_earlier_one() {
        let canary = series("web-1").next();
        for (instance, made_at) in [("web-1", canary.made_at + 1), ("web-2", canary.made_at)] {
            let (series, sequence) = (canary.series, canary.sequence);
            let altered = CanaryStamp { instance, series, sequence, made_at }.write();
            assert_eq!(canary.judge(&read(&altered)), CanaryVerdict::Corrupt { len: altered.len() });
        }
    }

    #[test]
    fn a_canary_lives_for_the_time_of_its_series() {
        assert_eq!(series("web-1").next().ttl(), Duration::from_mins(1));
    }

    #[test]
    fn the_sentinel_means_masked() {
        let canary = series("web-1").next();
        assert_eq!(canary.judge(&Read::Default(Unset::new())), CanaryVerdict::Masked { why: None });
        let said = Read::Default(Unset::new().because("nobody was asked"));
        assert_eq!(canary.judge(&said), CanaryVerdict::Masked { why: Some("nobody was asked".into()) });
    }

    #[test]
    fn an_earlier_canary_is_stale_and_a_later_one_is_as_good() {
        let series = series("web-1");
        let (first, second) = (series.next(), series.next());
        assert!(matches!(second.judge(&read(first.value())), CanaryVerdict::Stale { .. }));
        assert_eq!(first.judge(&read(second.value())), CanaryVerdict::Intact);
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_verdict() {
        let series = series("web-1");
        let (first, mut second) = (series.next(), series.next());
        second.made_at = 0;
        let (series, sequence) = (second.series, second.sequence);
        second.value = CanaryStamp { instance: "web-1", series, sequence, made_at: 0 }.write();
        assert_eq!(second.judge(&read(second.value())), CanaryVerdict::Intact);
        assert_eq!(
            second.judge(&read(first.value())),
            CanaryVerdict::Stale { sequence: 1, age: Duration::ZERO }
        );
        assert_eq!(first.judge(&read(second.value())), CanaryVerdict::Intact);
    }

    #[test]
    fn another_instances_canary_is_foreign_and_so_is_one_of_another_run() {
        let canary = series("web-1").next();
        for instance in ["web-2", "web-1"] {
            let other = series(instance).next();
            assert_eq!(
                canary.judge(&read(other.value())),
                CanaryVerdict::Foreign { instance: instance.into() }
            );
        }
    }
}
