//! `[caches.ALIAS.checks.efficiency]`: the limits of a cache's use. Without any limit there are figures alone.

use std::time::Duration;

use super::table::{self, CheckTable, Worse};
use super::{EfficiencyConfig, Ttl};
use crate::config::Backend;
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, ValueKind as Typed};

/// The most entries whose time to live is looked at in a round, and the default.
const MAX_SAMPLE: u32 = 10_000;
const SAMPLE: u32 = 100;

const A_TTL: &str =
    "`ttl` must be a table such as { pattern = \"session:*\", max = \"1h\" }, with an optional `sample`";

pub(super) fn read(
    mut section: CheckTable<'_>,
    backend: &Backend,
) -> Result<EfficiencyConfig, ConfigProblem> {
    section.table.only(keys::EFFICIENCY)?;
    let hit_ratio = section.said("hit_ratio", |value| {
        let table = table::table_of_limits("hit_ratio", value)?;
        table.only(keys::LIMITS_OF_CHECKS)?;
        table::limits("hit_ratio", value, table, Worse::Less, table::ratio)
    })?;
    let evictions = section.limits("evictions_per_second", |key, value| table::above(0, key, value))?;
    let evicted_age = section.said("evicted_age", |value| {
        let table = table::table_of_limits("evicted_age", value)?;
        table.only(keys::LIMITS_OF_CHECKS)?;
        if matches!(backend, Backend::Redis(_)) {
            return Err(value.problem(
                "Redis does not tell the age of evicted entries; `evicted_age` requires memcached",
            ));
        }
        table::limits("evicted_age", value, table, Worse::Less, |key, value| {
            value.duration(key, Duration::from_secs(1), Duration::from_hours(8766))
        })
    })?;
    let ttl = section.get("ttl");
    if let Some(value) = ttl {
        table::redis_alone(backend, &value.place, "memcached cannot list its entries; `ttl` requires Redis")?;
    }
    Ok(EfficiencyConfig {
        hit_ratio: hit_ratio.unwrap_or_default(),
        evictions_per_second: evictions.unwrap_or_default(),
        evicted_age: evicted_age.unwrap_or_default(),
        memory_ratio: section.limits("memory_ratio", table::ratio)?.unwrap_or_default(),
        connections_ratio: section.limits("connections_ratio", table::ratio)?.unwrap_or_default(),
        ttl: ttl.map(read_ttl).transpose()?,
    })
}

fn read_ttl(value: &Value) -> Result<Ttl, ConfigProblem> {
    let Typed::Table(table) = &value.kind else { return Err(value.problem(A_TTL)) };
    table.only(keys::TTL)?;
    let (Some(pattern), Some(max)) = (table.get("pattern"), table.get("max")) else {
        return Err(value.problem(A_TTL));
    };
    let sample = table.get("sample").map(|value| value.number_between("ttl.sample", 1, MAX_SAMPLE));
    let text = pattern.text()?;
    if text.is_empty() {
        return Err(pattern.problem("an empty pattern matches no key; write \"*\" for all keys"));
    }
    Ok(Ttl {
        pattern: text.to_owned(),
        max: table::duration("ttl.max", max)?,
        sample: sample.transpose()?.unwrap_or(SAMPLE) as usize,
    })
}
