//! [`Reloads`]: what came of the configuration when it was last read.

use std::time::SystemTime;

/// What came of the configuration when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloads {
    /// Whether it was taken over. Where not, the one before is in force.
    pub ok: bool,
    /// When one was last taken over.
    pub at: SystemTime,
}

impl Reloads {
    /// The configuration that the sidecar begins with is the first that is taken over.
    pub(super) fn begin(at: SystemTime) -> Self {
        Self { ok: true, at }
    }
}
