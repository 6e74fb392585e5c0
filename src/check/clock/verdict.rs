//! The verdict on the clocks, without I/O: [`ClockMemory`] compares them with those of earlier looks, and [`judge`] reports
//! what is wrong.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::reading::{ClockReading, ClockReadings, Global, Partitions};
use crate::check::words;
use crate::config::checks::{self, Unit};
use crate::outcome::{Cause, Figure, Finding, Measure, Status};
use crate::redaction::Redaction;

/// The readings of one check.
#[derive(Debug, Default)]
pub(super) struct ClockSight {
    /// The global clock; `None` if none is configured, or if it was not read.
    pub(super) global: Option<Global>,
    /// The partitions' clocks.
    pub(super) partitions: Option<Partitions>,
    /// `true` if the partitions' were read after the global one. The application moves the global one last, so in the
    /// other order it would seem ahead of clocks that were read a moment before.
    pub(super) in_order: bool,
    /// The global clock, read once more a while after the partitions'.
    pub(super) later: Option<Global>,
}

impl ClockSight {
    fn clocks(&self) -> Option<&ClockReadings> {
        self.partitions.as_ref().and_then(Partitions::clocks)
    }

    /// The least of the partitions' clocks.
    fn least(&self) -> Option<&ClockReading> {
        self.clocks().and_then(ClockReadings::least)
    }

    /// The global clock that is to follow: the later one, if it was read.
    fn following(&self) -> Option<&Global> {
        self.later.as_ref().or(self.global.as_ref())
    }

    /// `true` if the global clock is so far behind the partitions' that it has to be read once more: it may be about to
    /// be moved.
    pub(super) fn is_doubtful(&self, config: &checks::ClockConfig) -> bool {
        let Some(least) = self.least() else { return false };
        match &self.global {
            Some(Global::Missing) => true,
            Some(Global::At(global)) => span(config.unit, least.clock - global) > config.resolution,
            Some(Global::NoNumber(_) | Global::OtherType) | None => false,
        }
    }
}

/// The memory of earlier looks.
#[derive(Debug, Default)]
pub(super) struct ClockMemory {
    partitions: HashMap<Box<str>, Stand>,
    /// The time of the last look at which a partition's clock had moved.
    moved: Option<Instant>,
    global: Option<f64>,
    /// The global clock, the least of the partitions' that it is behind, and the time since when it is.
    behind: Option<(f64, f64, Instant)>,
}

/// A clock as it was seen last.
#[derive(Debug, Clone, Copy)]
struct Stand {
    clock: f64,
    /// The first look at which another one had moved while this one had not. Until then they may all stand still
    /// because there is nothing to do.
    outrun: Option<Instant>,
}

/// The changes since earlier looks.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// The partitions whose clocks stood still while another moved, and for how long.
    pub(super) standing: Vec<(ClockReading, Duration)>,
    /// The partitions whose clocks went backwards, and their earlier clocks.
    pub(super) backwards: Vec<(ClockReading, f64)>,
    /// The earlier global clock, if it went backwards.
    pub(super) global_backwards: Option<f64>,
    /// The time for which the global clock has been behind the same least clock.
    pub(super) behind_for: Duration,
}

impl ClockMemory {
    /// Compares the readings at `now` with earlier ones, and remembers them. A missing reading leaves the memory as it was.
    pub(super) fn compare(&mut self, sight: &ClockSight, now: Instant) -> Changes {
        let mut changes = Changes::default();
        if let Some(clocks) = sight.clocks() {
            let before = std::mem::take(&mut self.partitions);
            let earlier = |partition: &ClockReading| before.get(&partition.name).copied();
            let moves = |partition: &&ClockReading| {
                earlier(partition).is_some_and(|stand| partition.clock > stand.clock)
            };
            if clocks.ascending.iter().any(|partition| moves(&partition)) {
                self.moved = Some(now);
            }
            for partition in &clocks.ascending {
                let mut outrun = None;
                match earlier(partition) {
                    Some(stand) if partition.clock < stand.clock => {
                        changes.backwards.push((partition.clone(), stand.clock));
                    }
                    Some(stand) if partition.clock.total_cmp(&stand.clock).is_eq() => {
                        outrun = stand.outrun.or(self.moved.filter(|&moved| moved == now));
                        // While no clock moves, no clock falls behind.
                        let stood = outrun.zip(self.moved).map(|(since, moved)| moved - since);
                        if let Some(stood) = stood.filter(|stood| !stood.is_zero()) {
                            changes.standing.push((partition.clone(), stood));
                        }
                    }
                    Some(_) | None => {}
                }
                self.partitions.insert(partition.name.clone(), Stand { clock: partition.clock, outrun });
            }
        }
        if let Some(global) = sight.following().and_then(Global::at) {
            let before = self.global.replace(global);
            changes.global_backwards = before.filter(|&before| global < before);
        }
        self.behind = match (sight.following().and_then(Global::at), sight.least()) {
            (Some(global), Some(least)) if global < least.clock => match self.behind {
                Some(behind) if (behind.0, behind.1) == (global, least.clock) => {
                    changes.behind_for = now.saturating_duration_since(behind.2);
                    Some(behind)
                }
                Some(_) | None => Some((global, least.clock, now)),
            },
            _ => None,
        };
        changes
    }
}

/// The findings. Only the lag depends on the local time.
pub(super) fn judge(
    config: &checks::ClockConfig,
    sight: &ClockSight,
    changes: &Changes,
    now: SystemTime,
    redaction: &Redaction,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &sight.partitions {
        Some(Partitions::OtherType) => {
            findings.push(wrong_type(&config.partitions, "the value is not a sorted set"));
        }
        Some(Partitions::Clocks(clocks)) => {
            findings.extend(global(config, sight, changes, redaction));
            findings.extend(lag(config, clocks, now, redaction));
            findings.extend(skew(config, clocks, redaction));
            findings.extend(drought(config, clocks, redaction));
            findings.extend(standstill(config, changes, redaction));
        }
        None => {}
    }
    if let Some(key) = &config.global {
        match &sight.global {
            Some(Global::OtherType) => findings.push(wrong_type(key, "the value is not a string")),
            Some(Global::NoNumber(text)) => {
                findings.push(wrong_type(key, &format!("the value {text:?} is not a number")));
            }
            Some(Global::At(_) | Global::Missing) | None => {}
        }
    }
    findings.extend(backwards(config, sight, changes, redaction));
    findings
}

/// The figures behind the findings.
pub(super) fn measures(config: &checks::ClockConfig, sight: &ClockSight, now: SystemTime) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut measure = |figure, value: f64| {
        if value.is_finite() {
            measures.push(Measure { figure, of: None, value });
        }
    };
    let Some(clocks) = sight.clocks() else { return measures };
    #[allow(clippy::cast_precision_loss, reason = "a number of partitions")]
    measure(Figure::ClockPartitions, clocks.count as f64);
    if let (Some(least), Some(most)) = (clocks.least(), clocks.most()) {
        measure(Figure::ClockLag, behind_now(config.unit, least.clock, now).as_secs_f64());
        measure(Figure::ClockSkew, seconds(config.unit, most.clock - least.clock));
        if let Some(global) = sight.following().and_then(Global::at) {
            measure(Figure::ClockGlobalOffset, seconds(config.unit, global - least.clock));
        }
    }
    measures
}

/// The finding if the global clock is not that of the least partition.
fn global(
    config: &checks::ClockConfig,
    sight: &ClockSight,
    changes: &Changes,
    redaction: &Redaction,
) -> Option<Finding> {
    const ABOUT: &str = "global clock";
    let (global, following, ClockReading { name, clock: least }) =
        (sight.global.as_ref()?, sight.following()?, sight.least()?);
    let name = redaction.text(name);
    if let Some(global) = global.at().filter(|global| sight.in_order && global > least) {
        let ahead = words::time(span(config.unit, global - least));
        let said = format!("at {global}, {ahead} ahead of the slowest partition, {name} at {least}");
        return Some(Finding::new(Status::Down, Cause::ClockAhead, ABOUT, &said));
    }
    let said = match following {
        Global::Missing => format!("not set, while the slowest partition is {name} at {least}"),
        Global::At(global) => {
            let behind = span(config.unit, least - global);
            let lasts = changes.behind_for > config.resolution.max(super::FOLLOWS_WITHIN);
            if behind <= config.resolution && !lasts {
                return None;
            }
            let behind = words::time(behind);
            let lasting = if lasts {
                format!(", for {} so far", words::time(changes.behind_for))
            } else {
                String::new()
            };
            format!("at {global}, {behind} behind the slowest partition, {name} at {least}{lasting}")
        }
        Global::NoNumber(_) | Global::OtherType => return None,
    };
    Some(Finding::new(Status::Degraded, Cause::ClockBehind, ABOUT, &said))
}

fn lag(
    config: &checks::ClockConfig,
    clocks: &ClockReadings,
    now: SystemTime,
    redaction: &Redaction,
) -> Option<Finding> {
    let least = clocks.least()?;
    let lag = behind_now(config.unit, least.clock, now);
    let (status, limit) = config.lag.reached(lag)?;
    let (lag, from) = (words::time(lag), words::from(status, words::time(limit)));
    let said = format!("at {}, {lag} behind now ({from})", least.clock);
    Some(Finding::new(status, Cause::ClockLag, &partition(&redaction.text(&least.name)), &said))
}

fn skew(config: &checks::ClockConfig, clocks: &ClockReadings, redaction: &Redaction) -> Option<Finding> {
    let (least, most) = (clocks.least()?, clocks.most()?);
    let skew = span(config.unit, most.clock - least.clock);
    let (status, limit) = config.skew.reached(skew)?;
    let (skew, from) = (words::time(skew), words::from(status, words::time(limit)));
    let said = format!(
        "at {}, {skew} behind {} at {} ({from})",
        least.clock,
        redaction.text(&most.name),
        most.clock
    );
    Some(Finding::new(status, Cause::ClockSkew, &partition(&redaction.text(&least.name)), &said))
}

/// The finding of partitions without a clock. If no partition has one, that is always a finding.
fn drought(config: &checks::ClockConfig, clocks: &ClockReadings, redaction: &Redaction) -> Option<Finding> {
    let about = format!("key {}", config.partitions);
    let none = (clocks.count == 0).then_some((Status::Degraded, None));
    let Some(expected) = config.expected else {
        return none
            .map(|(status, _)| Finding::new(status, Cause::Drought, &about, "no partition has a clock"));
    };
    let missing = expected.saturating_sub(u32::try_from(clocks.count).unwrap_or(u32::MAX));
    let reached = config.drought.reached(missing).filter(|_| missing > 0);
    let (status, limit) = reached.map(|(status, limit)| (status, Some(limit))).or(none)?;
    let mut said = format!("{} of {expected} partitions have a clock", clocks.count);
    let unseen = unseen(expected, clocks);
    if !unseen.is_empty() {
        said = format!("{said}, missing: {}", words::names(unseen.iter().map(|name| redaction.text(name))));
    }
    if let Some(limit) = limit {
        said = format!("{said} ({})", words::from(status, format_args!("{limit} missing")));
    }
    Some(Finding::new(status, Cause::Drought, &about, &said))
}

/// The names of the missing partitions, if the others share one name with numbers from 0 on.
fn unseen(expected: u32, clocks: &ClockReadings) -> Vec<String> {
    let mut stem = None;
    let mut seen = Vec::new();
    for ClockReading { name, .. } in &clocks.ascending {
        let before = name.trim_end_matches(|char: char| char.is_ascii_digit());
        let Ok(number) = name[before.len()..].parse::<u32>() else { return Vec::new() };
        if number >= expected || *stem.get_or_insert(before) != before {
            return Vec::new();
        }
        seen.push(number);
    }
    seen.sort_unstable();
    let Some(stem) = stem else { return Vec::new() };
    let unseen = (0..expected).filter(|number| seen.binary_search(number).is_err());
    unseen.map(|number| format!("{stem}{number}")).collect()
}

fn standstill(config: &checks::ClockConfig, changes: &Changes, redaction: &Redaction) -> Option<Finding> {
    let standing = changes.standing.iter().filter_map(|(partition, stood)| {
        let (status, limit) = config.standstill.reached(*stood)?;
        Some((status, limit, partition, *stood))
    });
    let mut standing: Vec<_> = standing.collect();
    // The one that has stood longest comes first, and among equals the least.
    standing.sort_by_key(|&(_, _, _, stood)| Reverse(stood));
    let &(status, limit, ClockReading { clock, .. }, stood) = standing.first()?;
    let (stood, from) = (words::time(stood), words::from(status, words::time(limit)));
    let said = format!("stopped at {clock} for {stood} while others advance ({from})");
    let about = partitions(standing.iter().map(|(_, _, partition, _)| redaction.text(&partition.name)));
    Some(Finding::new(status, Cause::Standstill, &about, &said))
}

fn backwards(
    config: &checks::ClockConfig,
    sight: &ClockSight,
    changes: &Changes,
    redaction: &Redaction,
) -> Vec<Finding> {
    let reached = |from: f64, to: f64| config.backwards.reached(span(config.unit, from - to));
    let said = |from: f64, to: f64, status, limit| {
        let (back, limit) =
            (words::time(span(config.unit, from - to)), words::from(status, words::time(limit)));
        format!("moved back {back}, from {from} to {to} ({limit})")
    };
    let mut findings = Vec::new();
    let of_partitions = changes.backwards.iter().filter_map(|(partition, from)| {
        let (status, limit) = reached(*from, partition.clock)?;
        Some((status, limit, partition, *from))
    });
    let mut of_partitions: Vec<_> = of_partitions.collect();
    of_partitions.sort_by(|one, other| (other.3 - other.2.clock).total_cmp(&(one.3 - one.2.clock)));
    if let Some(&(status, limit, ClockReading { clock, .. }, from)) = of_partitions.first() {
        let about =
            partitions(of_partitions.iter().map(|(_, _, partition, _)| redaction.text(&partition.name)));
        let said = said(from, *clock, status, limit);
        findings.push(Finding::new(status, Cause::ClockBackwards, &about, &said));
    }
    if let (Some(from), Some(to)) = (changes.global_backwards, sight.following().and_then(Global::at))
        && let Some((status, limit)) = reached(from, to)
    {
        let said = said(from, to, status, limit);
        findings.push(Finding::new(status, Cause::ClockBackwards, "global clock", &said));
    }
    findings
}

fn wrong_type(key: &str, said: &str) -> Finding {
    Finding::new(Status::Down, Cause::WrongType, &format!("key {key}"), said)
}

fn partition(name: &str) -> String {
    format!("partition {name}")
}

fn partitions<'a>(mut names: impl Iterator<Item = Cow<'a, str>> + Clone) -> String {
    match (names.clone().count(), names.next()) {
        (1, Some(name)) => partition(&name),
        (_, first) => format!("partitions {}", words::names(first.into_iter().chain(names))),
    }
}

/// A difference of clocks in seconds.
fn seconds(unit: Unit, difference: f64) -> f64 {
    match unit {
        Unit::Seconds => difference,
        Unit::Milliseconds => difference / 1e3,
    }
}

/// The same as a time; zero if it is negative.
fn span(unit: Unit, difference: f64) -> Duration {
    if difference <= 0.0 {
        return Duration::ZERO;
    }
    unit.since_epoch(difference).unwrap_or(Duration::MAX)
}

/// The time by which a clock is behind now; zero if it is ahead.
fn behind_now(unit: Unit, clock: f64, now: SystemTime) -> Duration {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(span(unit, clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checks::Thresholds;

    /// Minutes are cut off, as by Sentry's monitors.
    const MINUTE: Duration = Duration::from_mins(1);
    const NOON: f64 = 1_700_000_040.0;

    fn judge(
        config: &checks::ClockConfig,
        sight: &ClockSight,
        changes: &Changes,
        now: SystemTime,
    ) -> Vec<Finding> {
        super::judge(config, sight, changes, now, &Redaction::none())
    }

    fn config() -> checks::ClockConfig {
        let after = |degraded, down| Thresholds {
            degraded: Some(Duration::from_mins(degraded)),
            down: Some(Duration::from_mins(down)),
        };
        checks::ClockConfig {
            partitions: "clocks".to_owned(),
            global: Some("global".to_owned()),
            expected: Some(3),
            unit: Unit::Seconds,
            resolution: MINUTE,
            lag: after(2, 5),
            skew: after(2, 10),
            drought: Thresholds { degraded: Some(1), down: Some(2) },
            standstill: after(5, 60),
            backwards: Thresholds { degraded: Some(MINUTE), down: None },
        }
    }

    /// A clock so many minutes before or after noon.
    fn at(minutes: f64) -> f64 {
        NOON + minutes * 60.0
    }

    fn sight(global: Option<f64>, clocks: &[(&str, f64)]) -> ClockSight {
        let mut ascending: Vec<_> = clocks
            .iter()
            .map(|&(name, minutes)| ClockReading { name: name.into(), clock: at(minutes) })
            .collect();
        ascending.sort_by(|one, other| one.clock.total_cmp(&other.clock));
        let clocks = ClockReadings { count: ascending.len(), ascending };
        ClockSight {
            global: Some(global.map_or(Global::Missing, |minutes| Global::At(at(minutes)))),
            partitions: Some(Partitions::Clocks(clocks)),
            in_order: true,
            later: None,
        }
    }

    fn now(minutes: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at(minutes))
    }

    /// The cause, the status and the subject of each finding.
    fn short(findings: &[Finding]) -> Vec<(Cause, Status, &str)> {
        findings.iter().map(|finding| (finding.cause, finding.status, &*finding.about)).collect()
    }

    fn judged(sight: &ClockSight) -> Vec<Finding> {
        judge(&config(), sight, &Changes::default(), now(1.0))
    }

    #[test]
    fn clocks_in_step_are_well() {
        let three = [("part-0", 0.0), ("part-1", 0.0), ("part-2", 1.0)];
        assert_eq!(judged(&sight(Some(0.0), &three)), []);
        // A tick behind may be about to follow.
        assert_eq!(judged(&sight(Some(-1.0), &three)), []);
    }

    #[test]
    fn a_global_clock_ahead_is_down_if_it_was_read_first() {
        let three = [("part-0", 0.0), ("part-1", 1.0), ("part-2", 1.0)];
        let mut ahead = sight(Some(1.0), &three);
        let findings = judged(&ahead);
        assert_eq!(short(&findings), [(Cause::ClockAhead, Status::Down, "global clock")]);
        assert_eq!(
            &*findings[0].said,
            "at 1700000100, 1m ahead of the slowest partition, part-0 at 1700000040"
        );
        ahead.in_order = false;
        assert_eq!(judged(&ahead), []);
    }

    #[test]
    fn a_global_clock_that_does_not_follow_is_behind() {
        let three = [("part-0", 0.0), ("part-1", 1.0), ("part-2", 1.0)];
        let behind = [(Cause::ClockBehind, Status::Degraded, "global clock")];
        let mut two_ticks = sight(Some(-2.0), &three);
        assert!(two_ticks.is_doubtful(&config()));
        assert_eq!(short(&judged(&two_ticks)), behind);
        two_ticks.later = Some(Global::At(at(0.0)));
        assert_eq!(judged(&two_ticks), []);
        let missing = sight(None, &three);
        assert!(missing.is_doubtful(&config()));
        assert_eq!(short(&judged(&missing)), behind);
        let one_tick = sight(Some(-1.0), &three);
        assert!(!one_tick.is_doubtful(&config()));
        let lasting = |secs| Changes { behind_for: Duration::from_secs(secs), ..Changes::default() };
        assert_eq!(judge(&config(), &one_tick, &lasting(60), now(0.0)), []);
        assert_eq!(short(&judge(&config(), &one_tick, &lasting(61), now(0.0))), behind);
    }

    #[test]
    fn lag_and_skew_are_judged_by_their_limits() {
        for (least, expected) in [
            (-0.9, vec![]),
            (-1.0, vec![(Cause::ClockLag, Status::Degraded, "partition part-0")]),
            (
                -4.0,
                vec![
                    (Cause::ClockLag, Status::Down, "partition part-0"),
                    (Cause::ClockSkew, Status::Degraded, "partition part-0"),
                ],
            ),
        ] {
            let sight = sight(Some(least), &[("part-0", least), ("part-1", 0.0), ("part-2", 0.0)]);
            assert_eq!(short(&judged(&sight)), expected, "{least}");
        }
    }

    #[test]
    fn a_clock_of_the_sidecar_that_is_set_back_matters_to_nothing_but_the_lag() {
        let ahead = sight(Some(0.0), &[("part-0", -4.0), ("part-1", 0.0), ("part-2", 0.0)]);
        let short = |findings: Vec<Finding>| findings.iter().map(|f| f.cause).collect::<Vec<_>>();
        let on_time = short(judge(&config(), &ahead, &Changes::default(), now(1.0)));
        assert_eq!(on_time, [Cause::ClockAhead, Cause::ClockLag, Cause::ClockSkew]);
        for now in [now(-600.0), SystemTime::UNIX_EPOCH - MINUTE] {
            let set_back = short(judge(&config(), &ahead, &Changes::default(), now));
            assert_eq!(set_back, [Cause::ClockAhead, Cause::ClockSkew]);
        }
    }

    #[test]
    fn missing_partitions_are_named_if_the_others_are_numbered() {
        let two = sight(Some(0.0), &[("part-0", 0.0), ("part-2", 0.0)]);
        let findings = judged(&two);
        assert_eq!(short(&findings), [(Cause::Drought, Status::Degraded, "key clocks")]);
        assert_eq!(
            &*findings[0].said,
            "2 of 3 partitions have a clock, missing: part-1 (degraded at 1 missing or more)"
        );
        let others = sight(Some(0.0), &[("east", 0.0)]);
        assert_eq!(&*judged(&others)[0].said, "1 of 3 partitions have a clock (down at 2 missing or more)");
        let unlimited = checks::ClockConfig { drought: Thresholds::default(), ..config() };
        assert_eq!(judge(&unlimited, &others, &Changes::default(), now(0.0)), []);
    }

    #[test]
    fn partitions_without_any_clock_are_a_drought_for_any_expected_number() {
        for (expected, drought) in [(None, Thresholds::default()), (Some(3), Thresholds::default())] {
            let config = checks::ClockConfig { expected, drought, ..config() };
            let findings = judge(&config, &sight(None, &[]), &Changes::default(), now(0.0));
            assert_eq!(short(&findings), [(Cause::Drought, Status::Degraded, "key clocks")]);
        }
    }

    #[test]
    fn keys_of_another_type_are_down() {
        let mut sight = sight(Some(0.0), &[("part-0", 0.0)]);
        sight.global = Some(Global::NoNumber("soon".into()));
        sight.partitions = Some(Partitions::OtherType);
        let findings = judged(&sight);
        let down = |about| (Cause::WrongType, Status::Down, about);
        assert_eq!(short(&findings), [down("key clocks"), down("key global")]);
        assert_eq!(&*findings[1].said, "the value \"soon\" is not a number");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_stands_still_only_while_another_moves() {
        let mut memory = ClockMemory::default();
        let mut look = |one: f64, two: f64| {
            let sight = sight(Some(0.0), &[("one", one), ("two", two)]);
            let changes = memory.compare(&sight, Instant::now());
            judge(&config(), &sight, &changes, now(0.0)).into_iter().find(|f| f.cause == Cause::Standstill)
        };
        assert_eq!(look(0.0, 0.0), None);
        // If all stand still, there is no standstill, for any time.
        tokio::time::advance(MINUTE * 10).await;
        assert_eq!(look(0.0, 0.0), None);
        let mut found = None;
        for minute in 1..=6 {
            assert_eq!(found, None);
            tokio::time::advance(MINUTE).await;
            found = look(0.0, f64::from(minute));
        }
        let found = found.unwrap();
        assert_eq!((&*found.about, found.status), ("partition one", Status::Degraded));
        // A standstill does not become longer while nothing moves.
        tokio::time::advance(MINUTE * 60).await;
        assert_eq!(look(0.0, 6.0).map(|found| found.status), Some(Status::Degraded));
        assert_eq!(look(1.0, 6.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_backwards_is_found_once() {
        let mut memory = ClockMemory::default();
        let mut look = |global: f64, one: f64| {
            let sight = sight(Some(global), &[("one", one), ("two", 9.0)]);
            let changes = memory.compare(&sight, Instant::now());
            let found = judge(&config(), &sight, &changes, now(9.0));
            let found = found.into_iter().filter(|found| found.cause == Cause::ClockBackwards);
            found.map(|found| found.about.to_string()).collect::<Vec<_>>()
        };
        assert!(look(8.0, 8.0).is_empty());
        assert_eq!(look(8.0, 7.0), ["partition one"]);
        assert!(look(8.0, 7.0).is_empty());
        assert_eq!(look(6.0, 7.0), ["global clock"]);
        // Less than a tick.
        assert!(look(6.0, 6.5).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_global_clock_is_behind_counts_for_one_least_clock() {
        let mut memory = ClockMemory::default();
        let mut look = |global, least| {
            let sight = sight(Some(global), &[("one", least)]);
            memory.compare(&sight, Instant::now()).behind_for
        };
        assert_eq!(look(0.0, 1.0), Duration::ZERO);
        tokio::time::advance(MINUTE).await;
        assert_eq!(look(0.0, 1.0), MINUTE);
        assert_eq!(look(1.0, 2.0), Duration::ZERO);
        tokio::time::advance(MINUTE).await;
        assert_eq!(look(2.0, 2.0), Duration::ZERO);
        assert_eq!(look(2.0, 3.0), Duration::ZERO);
    }

    #[test]
    fn milliseconds_are_a_thousandth() {
        let config = checks::ClockConfig {
            unit: Unit::Milliseconds,
            resolution: Duration::from_millis(1),
            ..config()
        };
        let mut sight = sight(None, &[]);
        let clock = NOON * 1e3;
        let ascending = vec![
            ClockReading { name: "one".into(), clock: clock - 121_500.0 },
            ClockReading { name: "two".into(), clock },
        ];
        sight.global = Some(Global::At(clock - 121_500.0));
        sight.partitions = Some(Partitions::Clocks(ClockReadings { count: 3, ascending }));
        let findings = judge(&config, &sight, &Changes::default(), now(0.0));
        assert_eq!(findings.iter().map(|f| f.cause).collect::<Vec<_>>(), [Cause::ClockLag, Cause::ClockSkew]);
        assert!(findings[0].said.contains(", 2m 1s behind now"), "{}", findings[0].said);
        let measures = measures(&config, &sight, now(0.0));
        let values: Vec<_> = measures.iter().map(|measure| (measure.figure, measure.value)).collect();
        assert_eq!(
            values,
            [
                (Figure::ClockPartitions, 3.0),
                (Figure::ClockLag, 121.5),
                (Figure::ClockSkew, 121.5),
                (Figure::ClockGlobalOffset, 0.0)
            ]
        );
    }
}
