//! `[caches.ALIAS.checks]`: the raw values for the checks of a cache, turned into [`CheckConfig`]s.

use super::table::CheckTable;
use super::{CheckConfig, clock, efficiency, queue, visibility};
use crate::config::Backend;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{TableEntry, Value};
use crate::outcome::CheckKind;

/// The checks of a cache besides the round trip.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    checks: Value,
    backend: &Backend,
) -> Result<Vec<CheckConfig>, ConfigProblem> {
    if let Backend::Unchecked(reason) = backend {
        return Err(checks.problem(refusal(reason, "is not checked", "checks")));
    }
    checks.into_table()?.0.into_iter().map(|entry| check(reading, entry, backend)).collect()
}

fn check(
    reading: &mut CacheReader,
    entry: TableEntry,
    backend: &Backend,
) -> Result<CheckConfig, ConfigProblem> {
    let unknown = entry.unknown(keys::CHECKS);
    let Some(kind) = CheckKind::ALL.into_iter().find(|kind| kind.name() == entry.key) else {
        return Err(unknown);
    };
    let table = &entry.value.into_table()?;
    let section = CheckTable { kind, place: entry.key_place, path: kind.to_string(), table, reading };
    match kind {
        // The settings are judged by `use` of the cache.
        CheckKind::RoundTrip | CheckKind::Policy => Err(unknown),
        CheckKind::Identity => Err(section.place.problem(
            "`identity` is not a table of `checks`; write identity = true in the table of the cache",
        )),
        CheckKind::Visibility => visibility::read(section, backend).map(CheckConfig::Visibility),
        CheckKind::Queue => queue::read(section, backend).map(CheckConfig::Queue),
        CheckKind::Clock => clock::read(section, backend).map(CheckConfig::Clock),
        CheckKind::Efficiency => efficiency::read(section, backend).map(CheckConfig::Efficiency),
    }
}
