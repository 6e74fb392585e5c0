//! [`CheckId`]: the number of a check.

use super::CacheConfig;
use crate::outcome::CheckKind;

/// A check, by its number among all checks of a configuration, in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(usize);

impl CheckId {
    /// Its place in a list of all checks.
    pub(crate) fn place(self) -> usize {
        self.0
    }
}

/// Every check of these caches with its number. Nothing else gives numbers.
pub(crate) fn numbered(caches: &[CacheConfig]) -> impl Iterator<Item = (CheckId, &CacheConfig, CheckKind)> {
    let checks = caches.iter().flat_map(|cache| cache.kinds().map(move |kind| (cache, kind)));
    checks.enumerate().map(|(place, (cache, kind))| (CheckId(place), cache, kind))
}
