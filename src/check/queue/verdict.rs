//! The verdict on the queues that were seen. No I/O.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::reading::{KeyUse, Lock, SeenKey};
use super::sum::QueueSum;
use crate::check::words;
use crate::config::checks::{self, QueueGroup};
use crate::outcome::{Cause, Finding, Status};
use crate::redaction::Redaction;

/// The names of the keys that are checked, and how they make up queues.
#[derive(Debug, Default)]
pub(super) struct QueueNames {
    pub(super) keys: Vec<Arc<str>>,
    /// The use of each key.
    pub(super) uses: Vec<KeyUse>,
    pub(super) queues: Vec<QueueName>,
    families: Vec<Range<usize>>,
}

/// A queue that is judged.
#[derive(Debug)]
pub(super) struct QueueName {
    pub(super) label: Arc<str>,
    /// The number of its group.
    group: usize,
    pub(super) keys: Range<usize>,
}

/// The readings of a check, and of earlier ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueSight<'a> {
    /// The reading of each key; `None` if there is none.
    pub(super) seen: &'a [Option<SeenKey>],
    pub(super) lock: Option<Lock>,
    /// The keys that must exist.
    pub(super) witnesses: &'a [(Arc<str>, Option<SeenKey>)],
    /// The time for which the lock has been held while nothing was drained.
    pub(super) standstill: Option<Duration>,
    /// The current time, counted from 1970.
    pub(super) now: Duration,
    /// The redaction for names from the server.
    pub(super) redaction: &'a Redaction,
}

impl QueueNames {
    pub(super) fn of(groups: &[QueueGroup]) -> Self {
        let mut names = Self::default();
        for (number, group) in groups.iter().enumerate() {
            let first = names.keys.len();
            for (state, keys) in &group.keys {
                let QueueGroup { unit, visibility_timeout, .. } = *group;
                let of = KeyUse { group: number, state: *state, unit, visibility_timeout };
                let from = names.keys.len();
                names.keys.extend(keys.names().map(Arc::from));
                names.uses.resize(names.keys.len(), of);
                if keys.numbers.is_some() && !group.summed {
                    names.families.push(from..names.keys.len());
                }
            }
            let last = names.keys.len();
            names.queues.extend(group.labels().into_iter().enumerate().map(|(place, label)| QueueName {
                label: label.into(),
                group: number,
                keys: if group.summed { first..last } else { first + place..first + place + 1 },
            }));
        }
        names
    }

    /// Each queue that was read, with its group.
    pub(super) fn sums<'a>(
        &'a self,
        config: &'a checks::QueueConfig,
        seen: &'a [Option<SeenKey>],
    ) -> impl Iterator<Item = (&'a QueueName, &'a QueueGroup, QueueSum)> {
        self.queues.iter().filter_map(move |queue| {
            let sum = QueueSum::of(self.uses.get(queue.keys.clone())?, seen.get(queue.keys.clone())?)?;
            Some((queue, config.groups.get(queue.group)?, sum))
        })
    }
}

impl QueueSum {
    /// The time for which its oldest entry has waited; zero if its date is in the future.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.oldest.as_ref()?.since?))
    }
}

/// A queue that was read, with its group.
type SeenQueue<'a> = (&'a QueueName, &'a QueueGroup, QueueSum);

/// The findings. Within each cause the worst comes first, because the list is cut off.
pub(super) fn findings(
    config: &checks::QueueConfig,
    names: &QueueNames,
    sight: QueueSight<'_>,
) -> Vec<Finding> {
    let locked = locked(config, sight);
    let holder = match (&config.lock, sight.lock) {
        (Some(lock), Some(Lock::Held(ttl))) if locked.is_none() => {
            format!("; the lock {lock} is held and {}", expiry(ttl))
        }
        _ => String::new(),
    };
    let queues: Vec<_> = names.sums(config, sight.seen).collect();
    let mut findings: Vec<Finding> = names.keys.iter().zip(sight.seen).filter_map(wrong(sight)).collect();
    findings.extend(missing(sight));
    findings.extend(numbers(&queues, &holder, sight));
    findings.extend(ages(&queues, &holder, sight));
    for family in &names.families {
        let Some(group) = names.uses.get(family.start).and_then(|of| config.groups.get(of.group)) else {
            continue;
        };
        findings.extend(skewed(group, names, sight.seen, family.clone()).into_iter().map(
            |Skewed { key, length, times, median, siblings, status, limit }| {
                let (length, from) =
                    (entries(length, ""), words::from(status, format_args!("{limit} times")));
                let times = words::times(times);
                let said = format!(
                    "{length}, {times} times the median ({median}) of its {siblings} siblings ({from}){holder}"
                );
                Finding::new(status, Cause::Skewed, &format!("key {key}"), &said)
            },
        ));
    }
    findings.extend(locked);
    findings
}

/// The finding on a key that holds something else.
fn wrong(sight: QueueSight<'_>) -> impl Fn((&Arc<str>, &Option<SeenKey>)) -> Option<Finding> {
    move |(key, seen)| {
        let Some(SeenKey::Other(kind)) = seen else { return None };
        let kind = sight.redaction.text(kind);
        let said = format!("the value has type {kind}, not list, set, hash, sorted set or stream");
        Some(Finding::new(Status::Down, Cause::WrongType, &format!("key {key}"), &said))
    }
}

/// The findings on witnesses that are not there.
fn missing(sight: QueueSight<'_>) -> impl Iterator<Item = Finding> {
    let missing = sight.witnesses.iter().filter(|(_, seen)| *seen == Some(SeenKey::Witness(false)));
    missing.map(|(key, _)| {
        Finding::new(Status::Down, Cause::MissingKey, &format!("key {key}"), "this witness does not exist")
    })
}

/// The findings on the numbers of entries.
fn numbers(queues: &[SeenQueue<'_>], holder: &str, sight: QueueSight<'_>) -> Vec<Finding> {
    let mut reached = Vec::new();
    for (queue, group, sum) in queues {
        let numbers = [
            (Cause::TooLong, "", sum.waiting.as_ref().map(|waiting| waiting.length), group.length),
            (Cause::TooLong, "taken ", sum.taken, group.taken),
            (Cause::TooLong, "scheduled ", sum.scheduled, group.scheduled),
            (Cause::FailedEntries, "failed ", sum.failed, group.failed),
            (Cause::LostEntries, "lost ", sum.lost, group.lost),
        ];
        for (place, (cause, state, number, limits)) in numbers.into_iter().enumerate() {
            let Some(number) = number else { continue };
            let Some((status, limit)) = limits.reached(number) else { continue };
            let entries = entries(number, state);
            let entries = match (state, &sum.waiting, group.visibility_timeout) {
                ("", Some(waiting), _) => {
                    let most = if waiting.at_most { "at most " } else { "" };
                    let whose = not_acknowledged(waiting.slowest.as_deref(), sight.redaction);
                    let largest =
                        waiting.largest_shard().map(|(shard, most)| format!(", {most} of them on {shard}"));
                    format!("{most}{entries}{whose}{}", largest.unwrap_or_default())
                }
                ("lost ", _, Some(timeout)) => {
                    format!("{entries}, taken beyond the visibility timeout ({})", words::time(timeout))
                }
                _ => entries,
            };
            let said = format!("{entries} ({}){holder}", words::from(status, limit));
            let finding = Finding::new(status, cause, &about(queue, group), &said);
            reached.push((place, Reverse(number), finding));
        }
    }
    reached.sort_by_key(|&(place, number, _)| (place, number));
    reached.into_iter().map(|(.., finding)| finding).collect()
}

/// The findings on the ages of the oldest entries.
fn ages(queues: &[SeenQueue<'_>], holder: &str, sight: QueueSight<'_>) -> Vec<Finding> {
    let mut old: Vec<_> = queues
        .iter()
        .filter_map(|(queue, group, sum)| {
            let age = sum.age(sight.now)?;
            Some((age, about(queue, group), sum, group.age.reached(age)?))
        })
        .collect();
    old.sort_by_key(|&(age, ..)| Reverse(age));
    let finding = |(age, about, sum, (status, limit)): (_, String, &QueueSum, _)| {
        let whose = sum.oldest.as_ref().and_then(|oldest| oldest.group.as_deref());
        let whose = not_acknowledged(whose, sight.redaction);
        let (age, from) = (words::time(age), words::from(status, words::time(limit)));
        let said = format!("the oldest entry{whose} has waited {age} ({from}){holder}");
        Finding::new(status, Cause::TooOld, &about, &said)
    };
    old.into_iter().map(finding).collect()
}

/// `key b:p:3`, or `queue mail` if it has several keys.
fn about(queue: &QueueName, group: &QueueGroup) -> String {
    format!("{} {}", if group.summed { "queue" } else { "key" }, queue.label)
}

/// The finding on the lock, if it is held for too long while nothing is drained.
fn locked(config: &checks::QueueConfig, sight: QueueSight<'_>) -> Option<Finding> {
    let (Some(lock), Some(Lock::Held(ttl))) = (&config.lock, sight.lock) else { return None };
    let standstill = sight.standstill.filter(|&time| time >= config.lock_within)?;
    let said = format!("held for {} while nothing was drained; {}", words::time(standstill), expiry(ttl));
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
    group: &QueueGroup,
    names: &'a QueueNames,
    seen: &[Option<SeenKey>],
    family: Range<usize>,
) -> Vec<Skewed<'a>> {
    /// The fewest members of a family for which a proportion makes sense.
    const LEAST_MEMBERS: usize = 3;
    let mut members: Vec<_> = family
        .filter_map(|key| match seen.get(key)? {
            Some(SeenKey::Queue(queued)) => Some((queued.length, &*names.keys[key])),
            Some(SeenKey::Other(_) | SeenKey::Lock(_) | SeenKey::Witness(_)) | None => None,
        })
        .collect();
    if members.len() < LEAST_MEMBERS {
        return Vec::new();
    }
    members.sort_by_key(|&(length, _)| length);
    let skewed = members.iter().enumerate().rev().take_while(|(_, (length, _))| *length >= group.skew_floor);
    let skewed = skewed.filter_map(|(place, &(length, key))| {
        let median = median_without(&members, place);
        // If most partitions are empty, the median counts as one entry.
        let times = as_f64(length) / median.max(1.0);
        let (status, limit) = group.skew.reached(times)?;
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

/// `3 taken entries`.
fn entries(many: u64, state: &str) -> String {
    format!("{many} {state}{}", if many == 1 { "entry" } else { "entries" })
}

fn not_acknowledged(group: Option<&str>, redaction: &Redaction) -> String {
    let said = |group| format!(" that group {} has not acknowledged", redaction.text(group));
    group.map_or_else(String::new, said)
}

/// `expires in 48s`.
fn expiry(ttl: Option<Duration>) -> String {
    ttl.map_or_else(|| "never expires".to_owned(), |ttl| format!("expires in {}", words::time(ttl)))
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Oldest, QueueReading};
    use super::*;
    use crate::config::checks::{Keys, Thresholds};

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    /// `b:p` beside its partitions.
    fn group(partitions: u32) -> QueueGroup {
        let family =
            Keys { before: "b:p:".to_owned(), numbers: Some(0..=partitions - 1), after: String::new() };
        QueueGroup { skew_floor: 10, ..QueueGroup::each(vec![Keys::one("b:p"), family]) }
    }

    fn each(keys: &[&str]) -> QueueGroup {
        QueueGroup::each(keys.iter().copied().map(Keys::one).collect())
    }

    #[allow(clippy::unnecessary_wraps, reason = "as what is seen is kept")]
    fn queue(length: u64, age: Option<Duration>) -> Option<SeenKey> {
        let oldest = age.map(|age| Oldest { mark: 0, since: NOW.checked_sub(age), group: None });
        Some(SeenKey::Queue(QueueReading { length, oldest, ..QueueReading::default() }))
    }

    fn lengths(lengths: &[u64]) -> Vec<Option<SeenKey>> {
        lengths.iter().map(|&length| queue(length, None)).collect()
    }

    fn sight(seen: &[Option<SeenKey>]) -> QueueSight<'_> {
        const OPEN: &Redaction = &Redaction::none();
        QueueSight { seen, lock: None, witnesses: &[], standstill: None, now: NOW, redaction: OPEN }
    }

    /// Each finding: `degraded too_long key b:p:3: 25000 entries, ...`.
    fn said(group: &QueueGroup, sight: QueueSight<'_>) -> Vec<String> {
        of_check(&checks::QueueConfig::of(vec![group.clone()]), sight)
    }

    fn of_check(config: &checks::QueueConfig, sight: QueueSight<'_>) -> Vec<String> {
        let line = |finding: &Finding| format!("{} {} {finding}", finding.status.word(), finding.cause);
        findings(config, &QueueNames::of(&config.groups), sight).iter().map(line).collect()
    }

    #[test]
    fn a_queue_without_limits_is_not_judged() {
        let seen = [queue(1_000_000, Some(Duration::from_hours(24))), queue(0, None), None];
        assert_eq!(said(&group(2), sight(&seen)), [""; 0]);
    }

    #[test]
    fn the_longest_comes_first() {
        let mut config = group(3);
        config.length = Thresholds { degraded: Some(10_000), down: Some(20_000) };
        assert_eq!(
            said(&config, sight(&lengths(&[9_999, 10_000, 25_000, 20_000]))),
            [
                "down too_long key b:p:1: 25000 entries (down at 20000 or more)",
                "down too_long key b:p:2: 20000 entries (down at 20000 or more)",
                "degraded too_long key b:p:0: 10000 entries (degraded at 10000 or more)",
            ]
        );
    }

    #[test]
    fn the_oldest_entry_is_judged_and_an_entry_of_a_later_date_is_new() {
        let mut config = each(&["one", "two", "three"]);
        config.age =
            Thresholds { degraded: Some(Duration::from_mins(1)), down: Some(Duration::from_mins(5)) };
        let mut seen = [59, 60, 372].map(|age| queue(1, Some(Duration::from_secs(age))));
        assert_eq!(
            said(&config, sight(&seen)),
            [
                "down too_old key three: the oldest entry has waited 6m 12s (down at 5m or more)",
                "degraded too_old key two: the oldest entry has waited 1m (degraded at 1m or more)",
            ]
        );
        let later = Oldest { mark: 0, since: Some(NOW + Duration::from_hours(1)), group: None };
        seen = [
            later.clone(),
            Oldest { since: None, ..later }.clone(),
            Oldest { since: None, mark: 1, group: None },
        ]
        .map(|oldest| {
            Some(SeenKey::Queue(QueueReading { length: 1, oldest: Some(oldest), ..QueueReading::default() }))
        });
        config.age.degraded = Some(Duration::from_nanos(1));
        assert_eq!(said(&config, sight(&seen)), [""; 0]);
    }

    #[test]
    fn the_group_that_has_not_acknowledged_is_named() {
        let mut config = each(&["jobs"]);
        config.length.down = Some(10);
        config.age.down = Some(Duration::from_secs(1));
        let group = || Some("mail".into());
        let oldest =
            Some(Oldest { mark: 0, since: NOW.checked_sub(Duration::from_millis(1_500)), group: group() });
        let queued =
            QueueReading { length: 10, at_most: true, slowest: group(), oldest, ..QueueReading::default() };
        assert_eq!(
            said(&config, sight(&[Some(SeenKey::Queue(queued))])),
            [
                "down too_long key jobs: at most 10 entries that group mail has not acknowledged (down at 10 or more)",
                "down too_old key jobs: the oldest entry that group mail has not acknowledged has waited 1s 500ms \
(down at 1s or more)",
            ]
        );
    }

    #[test]
    fn a_partition_is_out_of_proportion_to_the_median_of_the_others() {
        let mut config = group(4);
        config.skew = Thresholds { degraded: Some(10.0), down: Some(100.0) };
        let said = |seen: &[u64]| said(&config, sight(&lengths(seen)));
        // A key outside of any family has no siblings, and is no sibling.
        assert_eq!(said(&[5_000, 20, 20, 20, 20]), [""; 0]);
        assert_eq!(said(&[0, 20, 20, 199, 20]), [""; 0]);
        assert_eq!(
            said(&[0, 20, 30, 250, 20]),
            [
                "degraded skewed key b:p:2: 250 entries, 12.5 times the median (20) of its 3 siblings (degraded at 10 \
                 times or more)"
            ]
        );
        // Up to half of them may be skewed; if most are long, they are in proportion.
        assert_eq!(said(&[0, 1_000, 20, 20, 1_000]).len(), 2);
        assert_eq!(said(&[0, 1_000, 20, 1_000, 1_000]).len(), 0);
        assert_eq!(said(&[0, 3_000, 20, 20, 20])[0].split(':').next(), Some("down skewed key b"));
    }

    #[test]
    fn a_partition_beside_empty_ones_is_out_of_proportion_from_the_floor_on() {
        let mut config = group(3);
        config.skew.degraded = Some(5.0);
        assert_eq!(said(&config, sight(&lengths(&[0, 0, 9, 0]))), [""; 0]);
        assert_eq!(
            said(&config, sight(&lengths(&[0, 0, 10, 0]))),
            [
                "degraded skewed key b:p:1: 10 entries, 10 times the median (0) of its 2 siblings (degraded at 5 \
                 times or more)"
            ]
        );
    }

    #[test]
    fn two_partitions_are_not_compared_and_an_unseen_partition_is_no_sibling() {
        let mut config = group(2);
        config.skew.degraded = Some(5.0);
        assert_eq!(said(&config, sight(&lengths(&[0, 1_000, 1]))), [""; 0]);
        config.keys[1].1.numbers = Some(0..=2);
        let mut seen = lengths(&[0, 1_000, 1, 1]);
        assert_eq!(said(&config, sight(&seen)).len(), 1);
        seen[3] = None;
        assert_eq!(said(&config, sight(&seen)), [""; 0]);
    }

    #[test]
    fn a_lock_is_a_finding_only_when_it_has_been_held_for_too_long() {
        let lengths_of = Thresholds { degraded: Some(10), down: None };
        let mut config = checks::QueueConfig::of(vec![QueueGroup { length: lengths_of, ..group(1) }]);
        config.lock = Some("l:b:p".to_owned());
        let seen = lengths(&[10, 3]);
        let standing = |lock, seconds: Option<u64>| {
            let standstill = seconds.map(Duration::from_secs);
            of_check(&config, QueueSight { lock: Some(lock), standstill, ..sight(&seen) })
        };
        let held = |seconds| Lock::Held(Some(Duration::from_secs(seconds)));
        let long = "degraded too_long key b:p: 10 entries (degraded at 10 or more)";
        assert_eq!(standing(Lock::Free, None), [long]);
        assert_eq!(
            standing(held(48), Some(59)),
            [format!("{long}; the lock l:b:p is held and expires in 48s")]
        );
        let locked = "degraded locked lock l:b:p: held for 1m 12s while nothing was drained;";
        assert_eq!(standing(held(48), Some(72)), [long, &format!("{locked} expires in 48s")]);
        assert_eq!(standing(Lock::Held(None), Some(72)), [long, &format!("{locked} never expires")]);
    }

    #[test]
    fn another_kind_of_value_is_down() {
        let seen = [Some(SeenKey::Other("string".into())), queue(0, None)];
        assert_eq!(
            said(&group(1), sight(&seen)),
            ["down wrong_type key b:p: the value has type string, not list, set, hash, sorted set or stream"]
        );
    }
}
