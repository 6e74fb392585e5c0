//! The wording of times, figures and numbers on the page.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use tokio::time::Instant;

use crate::outcome::Figure;
use crate::record::{Past, Since, Unchecked};
use crate::span::timestamp;
pub(super) use crate::span::{greatest, took};

/// The most names that a list has before the rest is counted.
const NAMED: usize = 3;

/// Names as a phrase: `main`, `main and sessions`, `main, sessions, carts and 4 more`.
pub(super) fn list(names: &[String]) -> String {
    list_of(names, NAMED)
}

/// The same, with this many names before the rest is counted.
pub(super) fn list_of(names: &[String], most: usize) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] if names.len() <= most => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..most].join(", "), names.len() - most),
    }
}

/// `main is down`, `main and sessions are down`.
pub(super) fn are(names: &[String], what: &str) -> String {
    format!("{} {} {what}", list(names), if names.len() == 1 { "is" } else { "are" })
}

/// `1 more is`, `2 more are`.
pub(super) fn more(number: usize) -> String {
    format!("{number} more {}", if number == 1 { "is" } else { "are" })
}

/// The time since `then`, which the script keeps current.
pub(super) fn age(now: Instant, then: Instant) -> Markup {
    let age = now.saturating_duration_since(then);
    html! { span data-s=(age.as_secs()) { (greatest(age)) } }
}

/// A time of day, with the date if it is not today.
pub(super) fn moment(time: SystemTime) -> Markup {
    let stamp = timestamp(time);
    let today = timestamp(SystemTime::now());
    let (day, hour) = stamp.trim_end_matches('Z').split_once('T').unwrap_or_default();
    html! {
        time datetime=(stamp) {
            @if !today.starts_with(day) { (day) " " }
            (hour) " UTC"
        }
    }
}

/// What checks saw of the start of a status: `since 10:51:00 UTC, for 4 min, last seen up 10:50:52 UTC`.
pub(super) fn since(since: &Since, now: Instant) -> Markup {
    html! {
        @match since.before {
            Some(before) => {
                "since " (moment(since.began_at)) ", for " (age(now, since.began))
                ", last seen " (before.status.word()) " " (moment(before.at))
            }
            None => {
                "at least since " (moment(since.began_at)) ", the first check after this sidecar started"
            }
        }
        @if let Some(Unchecked { from, to, .. }) = since.unchecked {
            ", not checked from " (moment(from)) " to " (moment(to))
        }
    }
}

/// The status that a change has ended: `at least 3 h 2 min up, last seen 10:50:52 UTC`, `at least 5 min down (timed_out 2 min, refused 3
/// min), ...`.
pub(super) fn past(was: &Past) -> Markup {
    let reasons = was.reasons(greatest).map(|reasons| format!(" ({reasons})")).unwrap_or_default();
    html! {
        @if !was.lasted.is_zero() { "at least " (greatest(was.lasted)) " " }
        (was.status.word()) (reasons) ", last seen " (moment(was.last_seen))
    }
}

/// A text with addresses, such as `redis-0.redis.my-namespace.svc.cluster.local:6379`: a line is broken after a dot, and a
/// port stays with its host.
pub(super) fn address(text: &str) -> Markup {
    /// The most characters that fit beside a shape on the narrowest phone.
    const FITS: usize = 22;
    /// The characters of a host that stay with its port.
    const STAY: usize = 12;
    html! {
        @for (place, word) in text.split(' ').enumerate() {
            @if place > 0 { " " }
            @let end = end(word, STAY);
            @if word.len() <= FITS || end == word.len() {
                (word)
            } @else {
                @for piece in word[..end].split_inclusive('.') { (piece) wbr; }
                span .whole { (&word[end..]) }
            }
        }
    }
}

/// The place in an address at which the part begins that stays with its port: the last label of the host, if it has at
/// most `stay` characters. It is the end if there is no port.
fn end(address: &str, stay: usize) -> usize {
    let port = address.rfind(':').filter(|&at| {
        let port = &address[at + 1..];
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some(port) = port else { return address.len() };
    let label = address[..port].rfind('.').map_or(0, |dot| dot + 1);
    let (least, _) = address[..port].char_indices().rev().nth(stay - 1).unwrap_or_default();
    label.max(least)
}

/// The short name of a figure: its stable name without the common prefixes and the unit.
pub(super) fn name(figure: Figure) -> String {
    let name = figure.name();
    let name = name.strip_prefix("cache_").unwrap_or(name);
    let name = name.strip_prefix("node_").unwrap_or(name);
    let name =
        ["_seconds", "_bytes", "_total"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    name.replace('_', " ")
}

/// A figure's value in its unit.
pub(super) fn value(figure: Figure, value: f64) -> String {
    let name = figure.name();
    if name.ends_with("_seconds") {
        return match Duration::try_from_secs_f64(value) {
            Ok(time) if time < Duration::from_mins(1) => took(time),
            Ok(time) => greatest(time),
            // A clock that is ahead has a negative lag.
            Err(_) => format!("{value:.1} s"),
        };
    }
    if name.ends_with("_bytes") {
        return bytes(value);
    }
    if name.ends_with("_ratio") {
        return format!("{:.1} %", value * 100.0);
    }
    grouped(value)
}

fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", units[unit])
}

/// A whole number in groups of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0
            && (digits.len() - place).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !grouped.ends_with('-')
        {
            // A narrow space at which no line is broken.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_for_people() {
        let names = ["main", "sessions", "carts", "more"].map(str::to_owned);
        let said: Vec<_> = (0..=4).map(|number| list(&names[..number])).collect();
        assert_eq!(
            said,
            ["", "main", "main and sessions", "main, sessions and carts", "main, sessions, carts and 1 more"]
        );
        assert_eq!(are(&names[..1], "down"), "main is down");
        assert_eq!(are(&names[..2], "down"), "main and sessions are down");
    }

    #[test]
    fn a_long_address_is_broken_after_a_dot_and_never_before_its_port() {
        let said =
            |text| address(text).into_string().replace("<wbr>", "|").replace("<span class=\"whole\">", "[");
        let said = |text| said(text).replace("</span>", "]");
        assert_eq!(said("cache:6379"), "cache:6379");
        assert_eq!(
            said("redis-0.redis.my-namespace.svc.cluster.local:6379"),
            "redis-0.|redis.|my-namespace.|svc.|cluster.|[local:6379]"
        );
        assert_eq!(said("a-single-label-that-is-long:6379"), "a-single-label-|[that-is-long:6379]");
        assert_eq!(
            said("at [2001:db8:0:1::1234:5678]:6379 in read"),
            "at [2001:db8:0:1|[::1234:5678]:6379] in read"
        );
        assert_eq!(said("/run/user/1000/redis/redis.sock"), "/run/user/1000/redis/redis.sock");
        assert_eq!(said("ключ-с-очень-длинным-именем:6379"), "ключ-с-очень-дл|[инным-именем:6379]");
    }

    #[test]
    fn figures_have_their_units() {
        let said = [
            (Figure::QueueLength, 1_234_567.0),
            (Figure::QueueOldestAge, 200.0),
            (Figure::ClockGlobalOffset, -3.0),
            (Figure::MemoryUsed, 12_582_912.0),
            (Figure::HitRatio, 0.912),
        ];
        let said = said.map(|(figure, number)| format!("{}: {}", name(figure), value(figure, number)));
        assert_eq!(
            said,
            [
                "queue length: 1\u{202f}234\u{202f}567",
                "queue oldest age: 3 min",
                "clock global offset: -3.0 s",
                "memory used: 12.0 MiB",
                "hit ratio: 91.2 %",
            ]
        );
    }
}
