//! What the queues that were seen mean. No I/O.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;

use super::reading::{Lock, Queued, Seen};
use crate::config::checks;
use crate::outcome::{Cause, Finding, Status};

/// The keys that are looked at, by name, and which of them are families.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) keys: Vec<Arc<str>>,
    families: Vec<Range<usize>>,
}

/// What was seen, in a round and by those before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    /// Of each key; nothing where nobody could say.
    pub(super) seen: &'a [Option<Seen>],
    pub(super) lock: Option<Lock>,
    /// How long the lock has been held while nothing was drained.
    pub(super) standstill: Option<Duration>,
    /// Counted from 1970.
    pub(super) now: Duration,
}

impl Names {
    pub(super) fn of(keys: &[checks::Keys]) -> Self {
        let mut names = Self { keys: Vec::new(), families: Vec::new() };
        for of_one in keys {
            let first = names.keys.len();
            names.keys.extend(of_one.names().map(Arc::from));
            if of_one.numbers.is_some() {
                names.families.push(first..names.keys.len());
            }
        }
        names
    }
}

impl Queued {
    /// How long its oldest entry has waited; what is dated later than now has not.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.oldest.as_ref()?.since?))
    }
}

/// Everything that is not as it should be: of each cause the worst first, since only so many are listed.
pub(super) fn findings(config: &checks::Queue, names: &Names, sight: Sight<'_>) -> Vec<Finding> {
    let locked = locked(config, sight);
    let holder = match (&config.lock, sight.lock) {
        (Some(lock), Some(Lock::Held(ttl))) if locked.is_none() => {
            format!("; the lock {lock} is held and {}", expiry(ttl))
        }
        _ => String::new(),
    };
    let queues = || {
        names.keys.iter().zip(sight.seen).filter_map(|(key, seen)| match seen {
            Some(Seen::Queue(queued)) => Some((key, queued)),
            Some(Seen::Other(_) | Seen::Lock(_)) | None => None,
        })
    };
    let about = |key: &str| format!("key {key}");

    let wrong = names.keys.iter().zip(sight.seen).filter_map(|(key, seen)| match seen {
        Some(Seen::Other(kind)) => {
            let said = format!("it holds a value of type {kind}, and no list, set, sorted set or stream");
            Some(Finding::new(Status::Down, Cause::WrongType, &about(key), &said))
        }
        Some(Seen::Queue(_) | Seen::Lock(_)) | None => None,
    });
    let mut findings: Vec<Finding> = wrong.collect();

    let mut long: Vec<_> = queues()
        .filter_map(|(key, queued)| Some((queued.length, key, queued, config.length.reached(queued.length)?)))
        .collect();
    long.sort_by(|one, other| other.0.cmp(&one.0));
    findings.extend(long.into_iter().map(|(length, key, queued, (status, limit))| {
        let most = if queued.at_most { "at most " } else { "" };
        let whose = not_acknowledged(queued.slowest.as_deref());
        let said = format!("{most}{length} entries{whose}, and from {limit} {}{holder}", it_is(status));
        Finding::new(status, Cause::TooLong, &about(key), &said)
    }));

    let mut old: Vec<_> = queues()
        .filter_map(|(key, queued)| {
            let age = queued.age(sight.now)?;
            Some((age, key, queued, config.age.reached(age)?))
        })
        .collect();
    old.sort_by(|one, other| other.0.cmp(&one.0));
    findings.extend(old.into_iter().map(|(age, key, queued, (status, limit))| {
        let whose = not_acknowledged(queued.oldest.as_ref().and_then(|oldest| oldest.group.as_deref()));
        let (age, limit) = (span(age), format_duration(limit));
        let said =
            format!("the oldest entry{whose} has waited {age}, and from {limit} {}{holder}", it_is(status));
        Finding::new(status, Cause::TooOld, &about(key), &said)
    }));

    for family in &names.families {
        findings.extend(skewed(config, names, sight.seen, family.clone()).into_iter().map(
            |Skewed { key, length, times, median, siblings, status, limit }| {
                let said = format!(
                    "{length} entries, {times:.1} times the median of its {siblings} siblings ({median}), and from \
                     {limit} times {}{holder}",
                    it_is(status)
                );
                Finding::new(status, Cause::Skewed, &about(key), &said)
            },
        ));
    }
    findings.extend(locked);
    findings
}

/// The lock, where it is held for too long while nothing is drained.
fn locked(config: &checks::Queue, sight: Sight<'_>) -> Option<Finding> {
    let (Some(lock), Some(Lock::Held(ttl))) = (&config.lock, sight.lock) else { return None };
    let standstill = sight.standstill.filter(|&time| time >= config.lock_within)?;
    let said = format!("held for {} while nothing was drained, and {}", span(standstill), expiry(ttl));
    Some(Finding::new(Status::Degraded, Cause::Locked, &format!("lock {lock}"), &said))
}

/// A partition that is out of proportion.
struct Skewed<'a> {
    key: &'a str,
    length: u64,
    times: f64,
    median: f64,
    siblings: usize,
    status: Status,
    limit: f64,
}

/// The partitions of a family that are out of proportion, the longest first.
fn skewed<'a>(
    config: &checks::Queue,
    names: &'a Names,
    seen: &[Option<Seen>],
    family: Range<usize>,
) -> Vec<Skewed<'a>> {
    /// With fewer there is nothing that a partition is out of.
    const LEAST_MEMBERS: usize = 3;
    let mut members: Vec<_> = family
        .filter_map(|key| match seen.get(key)? {
            Some(Seen::Queue(queued)) => Some((queued.length, &*names.keys[key])),
            Some(Seen::Other(_) | Seen::Lock(_)) | None => None,
        })
        .collect();
    if members.len() < LEAST_MEMBERS {
        return Vec::new();
    }
    members.sort_by_key(|&(length, _)| length);
    let skewed = members.iter().enumerate().rev().take_while(|(_, (length, _))| *length >= config.skew_floor);
    let skewed = skewed.filter_map(|(place, &(length, key))| {
        let median = median_without(&members, place);
        // Where most partitions are empty, one entry is what the others would have.
        let times = as_f64(length) / median.max(1.0);
        let (status, limit) = config.skew.reached(times)?;
        Some(Skewed { key, length, times, median, siblings: members.len() - 1, status, limit })
    });
    skewed.collect()
}

/// The median length of all members but the one in this place; they are sorted.
fn median_without(members: &[(u64, &str)], place: usize) -> f64 {
    let other = |number: usize| as_f64(members[if number < place { number } else { number + 1 }].0);
    let others = members.len() - 1;
    if others % 2 == 1 { other(others / 2) } else { f64::midpoint(other(others / 2 - 1), other(others / 2)) }
}

#[allow(clippy::cast_precision_loss, reason = "how many entries a queue has, in proportion to others")]
pub(super) fn as_f64(length: u64) -> f64 {
    length as f64
}

fn not_acknowledged(group: Option<&str>) -> String {
    group.map_or_else(String::new, |group| format!(" that group {group} has not acknowledged"))
}

fn it_is(status: Status) -> &'static str {
    match status {
        Status::Skipped | Status::Up => "it is well",
        Status::Degraded => "it is degraded",
        Status::Down => "it is down",
    }
}

/// `expires in 48s`.
fn expiry(ttl: Option<Duration>) -> String {
    ttl.map_or_else(|| "never expires".to_owned(), |ttl| format!("expires in {}", span(ttl)))
}

/// A time that was measured, without digits that nobody wants.
fn span(time: Duration) -> impl Display {
    let whole_seconds = time >= Duration::from_secs(10);
    format_duration(if whole_seconds {
        Duration::from_secs(time.as_secs())
    } else {
        Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    })
}
