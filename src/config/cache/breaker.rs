//! `breaker` in `[caches.ALIAS]`: when its servers are taken for dead, and for how long they are spared then.

use std::time::Duration;

use crate::config::cache::reader::CacheReader;
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Value, ValueKind as Typed};
use crate::config::{Backend, BreakerConfig, keys};

/// The most checks that may be made of a dead server before it is spared any.
const MOST: u32 = 1000;

/// The longest that a server is spared: so much later is its recovery seen.
const LONGEST: Duration = Duration::from_hours(1);

/// The breaker around the servers of a cache.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: Value,
    backend: &Backend,
) -> Result<BreakerConfig, ConfigProblem> {
    if let Some(why) = nothing_to_spare(backend) {
        return Err(value.problem(why));
    }
    if !matches!(value.kind, Typed::Table(_)) {
        return Err(value.problem(match &value.place {
            Place::Variable(name) => format!("this has two parts; write {name}__AFTER or {name}__FOR"),
            Place::File(..) | Place::Flag(_) => {
                "`breaker` is a table, { after = 3, for = \"30s\" }".to_owned()
            }
        }));
    }
    reading.came_from(&["breaker"], &value.place);
    let table = value.into_table()?;
    if let Some(problem) = table.unknown(keys::BREAKER).next() {
        return Err(problem);
    }
    let mut breaker = BreakerConfig::default();
    if let Some(value) = table.get("after") {
        breaker.after = value.number_between("breaker.after", 1, MOST)?;
    }
    if let Some(value) = table.get("for") {
        // A server that is tried once in that time would otherwise be tried twice at a time.
        breaker.open_for = value.duration("breaker.for", reading.timeout, LONGEST)?;
    }
    Ok(breaker)
}

/// Why there is no server to be spared, if that is so.
fn nothing_to_spare(backend: &Backend) -> Option<String> {
    match backend {
        Backend::Redis(_) | Backend::Memcached(_) => None,
        Backend::Forwarding { to } => Some(format!(
            "a cache that forwards has no server of its own; write this under [caches.{to}], where it forwards to"
        )),
        Backend::LocalMemory => Some(
            "a cache in the application's own memory has no server that could be dead; write this under the Redis \
             or memcached that is meant, or remove it"
                .to_owned(),
        ),
        Backend::NoServer { kind } => Some(format!(
            "a cache that is {kind} has no server that could be dead; write this under the Redis or memcached that \
             is meant, or remove it"
        )),
    }
}
