//! [`Denials`]: the number of requests that `[access]` has denied.

use std::sync::atomic::{AtomicU64, Ordering};

named! {
    /// The reason why a request is denied. A closed list: the names are labels of a metric.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Denied {
        /// The caller is not allowed.
        Caller = "caller",
        /// The caller is allowed, but its bearer token is not the configured one.
        Token = "token",
    }
}

/// The number of denied requests by reason, in the order of [`Denied::ALL`].
#[derive(Debug, Default)]
pub(crate) struct Denials([AtomicU64; Denied::ALL.len()]);

impl Denials {
    /// Counts a denied request.
    pub(crate) fn count(&self, denied: Denied) {
        self.0[denied as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers so far.
    pub(crate) fn counts(&self) -> [u64; Denied::ALL.len()] {
        Denied::ALL.map(|denied| self.0[denied as usize].load(Ordering::Relaxed))
    }
}
