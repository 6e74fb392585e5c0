//! `required` in `[caches.ALIAS]`: whether the application needs the cache.

use crate::config::Backend;
use crate::config::cache::reader::{CacheReader, refusal};
use crate::config::place::ConfigProblem;
use crate::config::value::Value;

/// `false` if the application works without the cache.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: &Value,
    backend: &Backend,
) -> Result<bool, ConfigProblem> {
    if let Backend::Unchecked(reason) = backend {
        return Err(value.problem(refusal(reason, "is not checked", "required")));
    }
    reading.came_from(&["required"], &value.place);
    value.boolean().ok_or_else(|| value.problem("`required` must be true or false"))
}
