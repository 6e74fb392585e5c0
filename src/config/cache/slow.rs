//! `slow`, at the top and in `[caches.ALIAS]`: the time above which a check that passes is degraded.

use std::time::Duration;

use humantime::format_duration;

use crate::config::Backend;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, unless};

/// The time, which is less than the deadline of a check; `0s` for never.
pub(in crate::config) fn read(value: &Value, timeout: Duration) -> Result<Option<Duration>, ConfigProblem> {
    let slow = value.duration("slow", Duration::ZERO, Duration::MAX)?;
    let [written, limit] = [slow, timeout].map(format_duration);
    unless(
        slow >= timeout,
        value,
        format_args!("`slow` ({written}) must be less than `timeout` ({limit}), after which a check is down"),
    )?;
    Ok(Some(slow).filter(|slow| !slow.is_zero()))
}

/// The same for one cache, in place of that for all.
pub(in crate::config) fn read_own(
    reading: &mut CacheReader,
    value: &Value,
    backend: &Backend,
) -> Result<Option<Duration>, ConfigProblem> {
    if let Backend::Unchecked(reason) = backend {
        return Err(value.problem(refusal(reason, "is not checked", "slow")));
    }
    reading.came_from(&["slow"], &value.place);
    read(value, reading.timeout)
}
