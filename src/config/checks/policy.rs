//! The check of a Redis' settings against its use, which `use` of `[caches.ALIAS]` tells, or else a preset of queues.

use super::{CheckConfig, PolicyConfig, Usage};
use crate::config::Backend;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind};

const OF_MEMCACHED: &str = "a memcached is always a cache, which evicts what it has no room for; remove this";

/// The check, if the use is told. `checks` are the tables of the others.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    usage: Option<&Value>,
    checks: Option<&Value>,
    backend: &Backend,
) -> Result<Option<CheckConfig>, ConfigProblem> {
    let policy = |usage, is_implied| Some(CheckConfig::Policy(PolicyConfig { usage, is_implied }));
    let Some(value) = usage else {
        if !checks.is_some_and(names_a_preset) {
            return Ok(None);
        }
        reading.notes.push(format!(
            "{}: a preset of queues implies use = \"queue\", so the check `policy` warns of a maxmemory-policy that evicts; \
             set `use` to warn of missing persistence, too",
            reading.alias
        ));
        return Ok(policy(Usage::Queue, true));
    };
    match backend {
        Backend::Redis(_) => {}
        Backend::Memcached(_) => return Err(value.problem(OF_MEMCACHED)),
        Backend::Unchecked(reason) => return Err(value.problem(refusal(reason, "is not checked", "use"))),
    }
    reading.came_from(&["use"], &value.place);
    let usage = value.word("use", &Usage::ALL.map(|usage| (usage.name(), usage)))?;
    Ok(policy(usage, false))
}

/// `true` if the check `queue` has a preset, or one of its queues.
fn names_a_preset(checks: &Value) -> bool {
    let has_preset = |table: &Table| table.get("preset").is_some();
    let queue = table_in(checks).and_then(|checks| table_in(checks.get("queue")?));
    let more = queue.and_then(|queue| table_in(queue.get("queues")?));
    let mut named = more.into_iter().flat_map(|queues| &queues.0).filter_map(|entry| table_in(&entry.value));
    queue.is_some_and(has_preset) || named.any(has_preset)
}

fn table_in(value: &Value) -> Option<&Table> {
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}
