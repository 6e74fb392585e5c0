//! The verdict on the figures of a server, without I/O.

use std::borrow::Cow;
use std::sync::Arc;

use super::counters::{Counters, Gauge};
use super::history::Happened;
use super::sweep::{BrokenTally, Sweep};
use crate::check::words;
use crate::config::checks::{self, Thresholds, Ttl};
use crate::outcome::{Cause, Figure, Finding, Measure, Status};
use crate::redaction::Redaction;

/// The findings on one server.
pub(super) fn judge(
    config: &checks::EfficiencyConfig,
    node: &str,
    counters: &Counters,
    happened: &Happened,
) -> Vec<Finding> {
    let about = format!("node {node}");
    let find = |status, cause, said: &str| Finding::new(status, cause, &about, said);
    let mut findings = Vec::new();
    if let Some(lookups) = happened.judged
        && let Some((status, limit)) = config.hit_ratio.undercut(lookups.ratio())
    {
        let (ratio, below) = (words::percent(lookups.ratio()), words::below(status, words::percent(limit)));
        let said = format!("{} of {} look-ups hit, {ratio} ({below})", lookups.hits, lookups.all);
        findings.push(find(status, Cause::LowHitRatio, &said));
    }
    let rate = happened.evictions_per_second;
    if let Some((status, limit)) = config.evictions_per_second.reached(rate).filter(|_| rate > 0.0) {
        let said = format!("{rate:.1} evictions per second ({})", words::from(status, limit));
        findings.push(find(status, Cause::Evicting, &said));
    }
    if let Some(age) = happened.evicted_age
        && let Some((status, limit)) = config.evicted_age.undercut(age)
    {
        let (age, below) = (words::time(age), words::below(status, words::time(limit)));
        let said = format!("an evicted entry was last used {age} earlier ({below})");
        findings.push(find(status, Cause::Evicting, &said));
    }
    let used = |gauge: Gauge, limits: &Thresholds<f64>, say: fn(u64) -> String, what| {
        let (ratio, most) = (gauge.ratio()?, gauge.limit?);
        let (status, limit) = limits.reached(ratio)?;
        let (ratio, from) = (words::percent(ratio), words::from(status, words::percent(limit)));
        Some((status, format!("{} of {} {what}, {ratio} ({from})", say(gauge.used), say(most))))
    };
    let memory = used(counters.memory, &config.memory_ratio, bytes, "in use");
    findings.extend(memory.map(|(status, said)| find(status, Cause::MemoryHigh, &said)));
    let plain = |number: u64| number.to_string();
    let connections = used(counters.connections, &config.connections_ratio, plain, "connections");
    findings.extend(connections.map(|(status, said)| find(status, Cause::ConnectionsHigh, &said)));
    findings
}

/// The figures of one server.
#[allow(clippy::cast_precision_loss, reason = "figures for people and their metrics")]
pub(super) fn measures(node: &Arc<str>, counters: &Counters, happened: &Happened) -> Vec<Measure> {
    let Counters { run: _, uptime: _, hits, misses, evictions, expired, classes: _, memory, connections } =
        counters;
    let counted = |number: u64| Some(number as f64);
    let limit = |gauge: &Gauge| gauge.limit.map(|limit| limit as f64);
    let figures = [
        (Figure::Hits, counted(*hits)),
        (Figure::Misses, counted(*misses)),
        (Figure::Evictions, counted(*evictions)),
        (Figure::EvictedAge, happened.evicted_age.map(|age| age.as_secs_f64())),
        (Figure::Expired, counted(*expired)),
        (Figure::MemoryUsed, counted(memory.used)),
        (Figure::MemoryLimit, limit(memory)),
        (Figure::Connections, counted(connections.used)),
        (Figure::ConnectionsLimit, limit(connections)),
        (Figure::HitRatio, happened.lookups.map(super::history::Lookups::ratio)),
    ];
    let measures = figures
        .into_iter()
        .filter_map(|(figure, value)| Some(Measure { figure, of: Some(node.clone()), value: value? }));
    measures.collect()
}

/// The finding on the times to live, over all servers.
pub(super) fn judge_ttl<'a>(
    config: &Ttl,
    sweeps: impl Iterator<Item = &'a Sweep>,
    redaction: &Redaction,
) -> Option<Finding> {
    let (mut tally, mut seen, mut example) = (BrokenTally::default(), 0, None);
    for sweep in sweeps {
        tally = tally.and(sweep.tally());
        seen += sweep.seen();
        example = example.or_else(|| sweep.example());
    }
    if tally.all() == 0 {
        return None;
    }
    let example = example.map(|key| redaction.bytes(key));
    let such_as =
        |example: Option<&Cow<'_, str>>| example.map(|key| format!(", such as {key}")).unwrap_or_default();
    let longer = format!("a TTL above {}", words::time(config.max));
    let said = match tally {
        BrokenTally { endless: 0, longer: count } => {
            format!("{count} of {seen} entries have {longer}{}", such_as(example.as_ref()))
        }
        BrokenTally { endless, longer: 0 } => {
            format!("{endless} of {seen} entries have no TTL{}", such_as(example.as_ref()))
        }
        BrokenTally { endless, longer: count } => {
            let such_as = such_as(example.as_ref());
            format!("{endless} of {seen} entries have no TTL{such_as}; {count} have {longer}")
        }
    };
    Some(Finding::new(Status::Degraded, Cause::Immortal, &format!("pattern {}", config.pattern), &said))
}

/// The figures of the times to live: the number of entries that were sampled in this check, and the known number of
/// those that break the promise.
#[allow(clippy::cast_precision_loss, reason = "a number of entries")]
pub(super) fn measures_of_ttl<'a>(
    config: &Ttl,
    sampled: usize,
    sweeps: impl Iterator<Item = &'a Sweep>,
) -> [Measure; 2] {
    let broken: u64 = sweeps.map(|sweep| sweep.tally().all()).sum();
    let pattern: Arc<str> = config.pattern.as_str().into();
    [(Figure::TtlSampled, sampled as f64), (Figure::TtlBroken, broken as f64)]
        .map(|(figure, value)| Measure { figure, of: Some(pattern.clone()), value })
}

/// Bytes for people.
#[allow(clippy::cast_precision_loss, reason = "rounded to a decimal")]
pub(super) fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const UNITS: [(u64, &str); 3] = [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")];
    match UNITS.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Lookups;
    use super::*;
    use crate::check::efficiency::sweep::{Looked, TimeToLive};
    use std::time::Duration;

    fn degraded(at: f64) -> Thresholds<f64> {
        Thresholds { degraded: Some(at), down: None }
    }

    fn config() -> checks::EfficiencyConfig {
        checks::EfficiencyConfig {
            hit_ratio: degraded(0.8),
            evictions_per_second: degraded(100.0),
            evicted_age: Thresholds { degraded: Some(Duration::from_mins(10)), down: None },
            memory_ratio: Thresholds { degraded: Some(0.9), down: Some(0.98) },
            connections_ratio: degraded(0.8),
            ttl: None,
        }
    }

    #[test]
    fn each_limit_is_judged_by_itself_and_reported_with_its_figures() {
        let mib = 1024 * 1024;
        let counters = Counters {
            memory: Gauge { used: 99 * mib, limit: Some(100 * mib) },
            connections: Gauge { used: 80, limit: Some(100) },
            ..Counters::default()
        };
        let judged = Some(Lookups { hits: 12, all: 240 });
        let evicted_age = Some(Duration::from_secs(90));
        let happened = Happened { lookups: None, judged, evictions_per_second: 350.0, evicted_age };
        let said: Vec<_> = judge(&config(), "cache:6379", &counters, &happened)
            .into_iter()
            .map(|found| format!("{} {} {found}", found.status, found.cause))
            .collect();
        assert_eq!(
            said,
            [
                "DEGRADED low_hit_ratio node cache:6379: 12 of 240 look-ups hit, 5% (degraded below 80%)",
                "DEGRADED evicting node cache:6379: 350.0 evictions per second (degraded at 100 or more)",
                "DEGRADED evicting node cache:6379: an evicted entry was last used 1m 30s earlier (degraded below 10m)",
                "DOWN memory_high node cache:6379: 99.0 MiB of 100.0 MiB in use, 99% (down at 98% or more)",
                "DEGRADED connections_high node cache:6379: 80 of 100 connections, 80% (degraded at 80% or more)",
            ]
        );
    }

    #[test]
    fn without_a_limit_or_enough_lookups_nothing_is_judged() {
        let unlimited = Gauge { used: 1 << 40, limit: None };
        let counters = Counters { memory: unlimited, connections: unlimited, ..Counters::default() };
        let lookups = Some(Lookups { hits: 0, all: 99 });
        let happened = Happened { lookups, ..Happened::default() };
        assert_eq!(judge(&config(), "cache:6379", &counters, &happened), []);
        let nothing_thrown_out = checks::EfficiencyConfig { evictions_per_second: degraded(0.0), ..config() };
        assert_eq!(judge(&nothing_thrown_out, "cache:6379", &counters, &happened), []);
    }

    #[test]
    fn times_to_live_are_added_up_over_servers() {
        let config = Ttl { pattern: "session:*".to_owned(), max: Duration::from_mins(1), sample: 100 };
        let sweep = |lives: &[(&str, i64)]| {
            let mut sweep = Sweep::new();
            let keys = lives.iter().map(|&(key, ms)| (key.as_bytes().to_vec(), TimeToLive::of(ms))).collect();
            let steps = vec![(keys, Sweep::START.to_vec())];
            sweep.take_in(Looked { again: Vec::new(), steps }, config.max);
            sweep
        };
        let said = |sweeps: &[Sweep]| {
            judge_ttl(&config, sweeps.iter(), &Redaction::none()).map(|found| found.to_string())
        };
        let (well, endless) = (sweep(&[("a", 5), ("b", 60_000)]), sweep(&[("session:c", -1)]));
        assert_eq!(said(std::slice::from_ref(&well)), None);
        assert_eq!(
            said(&[well.clone(), endless.clone()]).as_deref(),
            Some("pattern session:*: 1 of 3 entries have no TTL, such as session:c")
        );
        let longer = sweep(&[("session:d", 60_001), ("gone", -2)]);
        assert_eq!(
            said(&[endless, longer.clone()]).as_deref(),
            Some("pattern session:*: 1 of 2 entries have no TTL, such as session:c; 1 have a TTL above 1m")
        );
        assert_eq!(
            said(&[longer]).as_deref(),
            Some("pattern session:*: 1 of 1 entries have a TTL above 1m, such as session:d")
        );
    }
}
