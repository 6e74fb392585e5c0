//! `expires_within`: the time before the end of a certificate or token from which a cache is degraded.

use std::time::Duration;

use crate::config::Backend;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, unless};
use crate::outcome::{Forwarding, SkipReason};

/// The setting of one cache.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: &Value,
    backend: &Backend,
) -> Result<Duration, ConfigProblem> {
    match backend {
        Backend::Redis(_) | Backend::Memcached(_) => {}
        Backend::Unchecked(SkipReason::Forwards(Forwarding { to, .. })) => {
            let what =
                format!("a forwarding cache has no certificate; move this to [caches.{to}], its target");
            return Err(value.problem(what));
        }
        Backend::Unchecked(reason) => {
            return Err(value.problem(refusal(reason, "has no certificate", "expires_within")));
        }
    }
    reading.came_from(&["expires_within"], &value.place);
    within(value)
}

/// The time; zero for never.
pub(in crate::config) fn within(value: &Value) -> Result<Duration, ConfigProblem> {
    let within = value.duration("expires_within", Duration::ZERO, Duration::MAX)?;
    let fits = (Duration::from_mins(1)..=Duration::from_hours(365 * 24)).contains(&within);
    unless(!within.is_zero() && !fits, value, "`expires_within` must be from 1m to 365d, or 0s for never")?;
    Ok(within)
}
