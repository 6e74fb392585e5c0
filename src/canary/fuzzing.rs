//! The properties of canaries and of their values.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a property that does not hold panics"
)]

use std::time::Duration;

use super::{Canary, CanaryStamp, CanaryVerdict, KeyNames, Read, Series};
use crate::alias::Alias;

/// The place of a canary's key in an answer that was recorded, of its value, and of the number of its series.
const KEY: &[u8] = b"<key>";
const VALUE: &[u8] = b"<value>";
const SERIES: &[u8] = b"<series>";

impl Canary {
    /// An answer with this canary in its places.
    pub(crate) fn filled_in(&self, answer: &[u8]) -> Vec<u8> {
        let answer = replaced(answer, KEY, self.key().as_str().as_bytes());
        let answer = replaced(&answer, VALUE, self.value().as_bytes());
        replaced(&answer, SERIES, format!("{:016x}", self.series).as_bytes())
    }
}

/// `true` if an answer shows the canary's value, or a later one of its series.
pub(crate) fn is_proof(answer: &[u8]) -> bool {
    [VALUE, SERIES].into_iter().any(|place| answer.windows(place.len()).any(|window| window == place))
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// The first canary of a series.
pub(crate) fn first_canary() -> Canary {
    named_series(b"cache:6379").next()
}

/// A series of a node with any name.
pub(crate) fn named_series(node: &[u8]) -> Series {
    let node = String::from_utf8_lossy(node);
    series(&KeyNames::new("djblets-", &"web-1".into(), &alias(), &node))
}

fn series(names: &KeyNames<'_>) -> Series {
    Series::new(names, Duration::from_mins(1))
}

fn alias() -> Alias {
    Alias::try_from("main").expect("letters")
}

/// Values, keys and series of canaries.
///
/// A value is intact only if it is the canary's, to the letter, or is written as a later one of its series. A value is read as it was
/// written. A key has at most 250 printable characters without a space.
pub fn canary(input: &[u8]) {
    let canary = first_canary();
    judge(&canary, &canary.filled_in(input));
    // One byte that differs.
    if let &[place, byte, ..] = input {
        let mut value = canary.value().as_bytes().to_vec();
        let place = usize::from(place) % value.len();
        value[place] = byte;
        judge(&canary, &value);
    }
    write(input);
    name(input);
    follow(input);
}

fn judge(canary: &Canary, value: &[u8]) {
    let is_own = value == canary.value().as_bytes();
    let is_later = is_later(canary, value);
    match canary.judge(&Read::Value(value.into())) {
        CanaryVerdict::Intact => assert!(is_own || is_later, "{}", value.escape_ascii()),
        CanaryVerdict::Masked { .. } => panic!("{} is no default", value.escape_ascii()),
        CanaryVerdict::Corrupt { len } => assert_eq!(len, value.len()),
        CanaryVerdict::Stale { sequence, .. } => assert!(!is_own && !is_later && sequence < canary.sequence),
        CanaryVerdict::Foreign { instance } => {
            assert!(!is_own && !is_later && String::from_utf8_lossy(value).contains(&instance));
        }
    }
}

/// `true` if a value is one that the canary's series may have written later.
fn is_later(canary: &Canary, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let words: Vec<_> = text.split(' ').collect();
    let canonical = |number: &str| number.parse::<u64>().is_ok_and(|parsed| parsed.to_string() == number);
    matches!(words[..], ["cache-canary/1", _, series, sequence, made_at]
        if series == format!("{:016x}", canary.series)
            && canonical(sequence)
            && canonical(made_at)
            && sequence.parse().is_ok_and(|sequence: u64| sequence > canary.sequence))
}

/// A stamp is read as it was written.
fn write(input: &[u8]) {
    let Some((numbers, instance)) = input.split_first_chunk::<24>() else { return };
    let number =
        |at: usize| numbers[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let printable = instance.iter().filter(|byte| byte.is_ascii_graphic());
    let instance: String = printable.map(|&byte| char::from(byte)).collect();
    let stamp =
        CanaryStamp { instance: &instance, series: number(0), sequence: number(8), made_at: number(16) };
    assert_eq!(CanaryStamp::parse(&stamp.write()), Some(stamp.clone()));
}

/// Keys of any names.
fn name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    // The configuration allows a prefix only these lengths and characters.
    let prefix: String = part().chars().filter(char::is_ascii_graphic).take(64).collect();
    let (instance, node) = (part().into(), part());
    let series = [&alias(); 2].map(|alias| series(&KeyNames::new(&prefix, &instance, alias, node)));
    let keys: Vec<_> = series.iter().flat_map(Series::keys).map(|key| key.to_string()).collect();
    for (place, key) in keys.iter().enumerate() {
        assert!(key.len() <= 250 && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
        assert!(key.starts_with(&prefix) && !keys[..place].contains(key), "{key:?}");
    }
}

/// A series whose canaries are written, answered and read back in any order.
fn follow(input: &[u8]) {
    let series = named_series(b"cache:6379");
    let keys = series.keys();
    let mut canaries: Vec<Canary> = Vec::new();
    for &step in input.iter().take(64) {
        let known = canaries.get(usize::from(step >> 2) % canaries.len().max(1));
        match (step & 3, known) {
            (0, _) => {
                let next = series.next();
                assert!(keys.contains(next.key()) && series.resident().as_ref() != Some(next.key()));
                for earlier in &canaries {
                    let value = |canary: &Canary| Read::Value(canary.value().into());
                    assert_eq!(earlier.judge(&value(&next)), CanaryVerdict::Intact);
                    assert!(matches!(next.judge(&value(earlier)), CanaryVerdict::Stale { .. }));
                }
                canaries.push(next);
            }
            (1, Some(canary)) => series.settle(canary),
            (2, Some(canary)) => {
                drop(series.doubt(canary));
                assert!(series.is_in_doubt(canary.sequence));
            }
            (_, Some(canary)) => {
                series.doubt(canary).answered();
            }
            (_, None) => {}
        }
    }
}
