//! [`Marker`]: the value by which a server is known again, and what it means. Without I/O.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use super::super::words;
use crate::outcome::{Cause, Finding, Status};
use crate::redaction::Redaction;
use crate::span;

/// The value by which a server is known again: its number. The rest is for people, and tells other sidecars of a loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) number: u64,
    /// The sidecar that wrote it first.
    pub(super) instance: String,
    /// The time of that, in milliseconds since 1970.
    pub(super) made_at: u64,
    /// The time at which it was missing and was written again; 0 if it never was.
    pub(super) lost_at: u64,
}

impl Marker {
    const MAGIC: &'static str = "cache-canary-marker/1";

    /// Any text that was not written this way, to the letter, is no marker.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let words: Vec<_> = text.split(' ').collect();
        let [Self::MAGIC, number, instance, made_at, lost_at] = words[..] else { return None };
        let number = u64::from_str_radix(number, 16).ok()?;
        let (made_at, lost_at) = (made_at.parse().ok()?, lost_at.parse().ok()?);
        let marker = Self { number, instance: instance.to_owned(), made_at, lost_at };
        (instance.bytes().all(|byte| byte.is_ascii_graphic()) && marker.to_string() == text).then_some(marker)
    }

    /// Its number, maker and age.
    fn described(&self, now: u64, redaction: &Redaction) -> String {
        let (instance, age) = (redaction.text(&self.instance), since(self.made_at, now));
        format!("{:016x}, made by {instance} {age} ago", self.number)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, instance, made_at, lost_at } = self;
        write!(f, "{} {number:016x} {instance} {made_at} {lost_at}", Self::MAGIC)
    }
}

/// The marker that a check found on a server.
pub(super) struct Sight {
    pub(super) marker: Marker,
    /// The number that was expected, if it has another one, and the marker that is remembered with that number.
    pub(super) expected: Option<(u64, Option<Marker>)>,
    /// `true` if it was lost since this process last saw it.
    pub(super) is_news: bool,
}

/// The finding about a server, if there is one. `now` is in milliseconds since 1970.
///
/// A loss is found at least once, also by a sidecar that checks rarely. Clocks may differ.
pub(super) fn judge(
    server: &str,
    sight: &Sight,
    lost_for: Duration,
    now: u64,
    redaction: &Redaction,
) -> Option<Finding> {
    let Sight { marker, expected, is_news } = sight;
    let about = format!("server {server}");
    if let Some((number, remembered)) = expected {
        let configured = || format!("{number:016x}, which is configured");
        let expected = remembered.as_ref().map_or_else(configured, |marker| marker.described(now, redaction));
        let said = format!("found marker {}; expected {expected}", marker.described(now, redaction));
        return Some(Finding::new(Status::Down, Cause::WrongCache, &about, &said));
    }
    let is_over = Duration::from_millis(now.abs_diff(marker.lost_at)) >= lost_for;
    if marker.lost_at == 0 || is_over && !is_news {
        return None;
    }
    let at = span::timestamp(UNIX_EPOCH + Duration::from_millis(marker.lost_at));
    let (since, lost_for) = (since(marker.lost_at, now), words::time(lost_for));
    let said = format!(
        "the marker was missing at {at}, {since} ago, and was written again (degraded for {lost_for})"
    );
    Some(Finding::new(Status::Degraded, Cause::Lost, &about, &said))
}

fn since(then: u64, now: u64) -> String {
    words::time(Duration::from_millis(now.saturating_sub(then)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const LOST_FOR: Duration = Duration::from_mins(10);

    fn marker(lost_at: u64) -> Marker {
        Marker { number: 0xab, instance: "web-1".to_owned(), made_at: NOW - 90_000, lost_at }
    }

    fn judged(lost_at: u64, is_news: bool) -> Option<Status> {
        let sight = Sight { marker: marker(lost_at), expected: None, is_news };
        judge("cache:6379", &sight, LOST_FOR, NOW, &Redaction::default()).map(|finding| finding.status)
    }

    #[test]
    fn a_loss_is_over_after_lost_for_but_is_found_once() {
        let minutes = |minutes: u64| NOW - minutes * 60_000;
        assert_eq!(judged(0, false), None);
        assert_eq!([0, 9].map(|ago| judged(minutes(ago), false)), [Some(Status::Degraded); 2]);
        assert_eq!([10, 500].map(|ago| judged(minutes(ago), false)), [None; 2]);
        assert_eq!(judged(minutes(500), true), Some(Status::Degraded));
    }

    #[test]
    fn a_clock_that_is_far_ahead_makes_no_loss_that_lasts() {
        assert_eq!(judged(NOW + 60_000, false), Some(Status::Degraded));
        assert_eq!(judged(NOW + 86_400_000, false), None);
    }

    #[test]
    fn a_text_that_no_sidecar_wrote_is_no_marker() {
        let good = marker(0).to_string();
        assert_eq!(good, "cache-canary-marker/1 00000000000000ab web-1 1799999910000 0");
        assert_eq!(Marker::parse(good.as_bytes()), Some(marker(0)));
        for bad in [
            String::new(),
            good.replace("/1", "/2"),
            good.replace("00ab", "00AB"),
            good.replace(' ', "  "),
            good.replace("web-1", "web\n1"),
            good.replace("web-1", "web\u{202e}1"),
            good.replace(" 0", " +0"),
            format!("{good} "),
        ] {
            assert_eq!(Marker::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Marker::parse(&[0xff]), None);
    }

    #[test]
    fn another_number_is_another_cache_whatever_else_is_true() {
        let sight = Sight { marker: marker(NOW), expected: Some((0xcd, None)), is_news: true };
        let finding = judge("cache:6379", &sight, LOST_FOR, NOW, &Redaction::default()).unwrap();
        assert_eq!((finding.status, finding.cause), (Status::Down, Cause::WrongCache));
        let said = "found marker 00000000000000ab, made by web-1 1m 30s ago; expected 00000000000000cd, which is configured";
        assert_eq!(&*finding.said, said);
    }
}
