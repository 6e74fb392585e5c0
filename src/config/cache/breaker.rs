//! `breaker` in `[caches.ALIAS]`: the condition for taking servers for dead, and the time without requests to them.

use std::time::Duration;

use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Value, ValueKind as Typed};
use crate::config::{Backend, BreakerConfig, keys};

/// The most checks that may be made of a dead server before the breaker opens.
const MOST: u32 = 1000;

/// The longest that a breaker is open: so much later is its recovery seen.
const LONGEST: Duration = Duration::from_hours(1);

/// The breaker around the servers of a cache.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: Value,
    backend: &Backend,
) -> Result<BreakerConfig, ConfigProblem> {
    if let Backend::Unchecked(reason) = backend {
        return Err(value.problem(refusal(reason, "has no server for a circuit breaker", "breaker")));
    }
    if !matches!(value.kind, Typed::Table(_)) {
        return Err(value.problem(match &value.place {
            Place::Variable(name) => {
                format!("this setting has two parts; set {name}__AFTER or {name}__FOR")
            }
            Place::File(..) | Place::Flag(_) => {
                "`breaker` must be a table, { after = 3, for = \"30s\" }".to_owned()
            }
        }));
    }
    reading.came_from(&["breaker"], &value.place);
    let table = value.into_table()?;
    table.only(keys::BREAKER)?;
    let mut breaker = BreakerConfig::default();
    if let Some(value) = table.get("after") {
        breaker.after = value.number_between("breaker.after", 1, MOST)?;
    }
    if let Some(value) = table.get("for") {
        // No less than the deadline, so that no server is tried twice at a time.
        breaker.open_for = value.duration("breaker.for", reading.timeout, LONGEST)?;
    }
    Ok(breaker)
}
