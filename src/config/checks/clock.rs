//! `[caches.ALIAS.checks.clock]`: the clocks that are to be in step, and their limits.

use std::time::Duration;

use super::table::{self, CheckTable};
use super::{ClockConfig, Thresholds, Unit, presets};
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::unless;
use crate::config::{Backend, RedisConfig, RedisServers};

/// The most partitions that are looked at in a round.
const MAX_PARTITIONS: u32 = 10_000;

pub(super) fn read(mut section: CheckTable<'_>, backend: &Backend) -> Result<ClockConfig, ConfigProblem> {
    section.table.only(keys::CLOCK)?;
    table::redis_alone(backend, &section.place, "memcached has no sorted sets; `clock` requires Redis")?;
    let no_client = matches!(
        backend,
        Backend::Redis(RedisConfig { servers: RedisServers::Shards { sharding: None, .. }, .. })
    );
    if no_client {
        return Err(section.place.problem(
            "the clocks lie on the shard that the client chooses; add the `client` of the shards, such as \"rb\"",
        ));
    }
    let filled_in = ["partitions", "global", "unit", "resolution", "lag", "skew", "standstill"];
    let preset = section.preset(&filled_in, keys::CLOCK_PRESETS, presets::clock)?;
    let resolution_of_preset = preset.as_ref().map(|preset| preset.resolution);
    let partitions = section.key_name("partitions")?;
    let mut clock = match (partitions, preset) {
        (Some(partitions), preset) => {
            ClockConfig { partitions, ..preset.unwrap_or_else(|| ClockConfig::of(String::new())) }
        }
        (None, Some(preset)) => preset,
        (None, None) => {
            return Err(section.place.problem(
                "the sorted set of clocks is missing; add partitions = \"KEY\", or preset = \"sentry-monitors\"",
            ));
        }
    };
    clock.global = section.key_name("global")?.or(clock.global);
    if let Some(value) = section.get("expected") {
        clock.expected = Some(value.number_between("expected", 1, MAX_PARTITIONS)?);
    }
    clock.unit = section.unit("")?.unwrap_or(clock.unit);
    let least = Duration::from_millis(1);
    let resolution =
        section.said("resolution", |value| value.duration("resolution", least, Duration::from_hours(24)))?;
    clock.resolution = resolution.or(resolution_of_preset).unwrap_or(match clock.unit {
        Unit::Seconds => Duration::from_secs(1),
        Unit::Milliseconds => least,
    });
    clock.lag = section.durations("lag")?.unwrap_or(clock.lag);
    clock.skew = section.durations("skew")?.unwrap_or(clock.skew);
    clock.standstill = section.durations("standstill")?.unwrap_or(clock.standstill);
    let one_step = Thresholds { degraded: Some(clock.resolution), down: None };
    clock.backwards = section.durations("backwards")?.unwrap_or(one_step);
    let any = Thresholds { degraded: clock.expected.map(|_| 1), down: None };
    if let Some(value) = section.get("drought") {
        unless(
            clock.expected.is_none(),
            value,
            "`drought` requires the number of partitions; add `expected`, or remove it",
        )?;
    }
    clock.drought = section.limits("drought", table::count)?.unwrap_or(any);
    Ok(clock)
}
