//! [`Reloads`]: whether what is written is in force.

use std::time::SystemTime;

/// Whether the configuration that was read last is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloads {
    /// Whether it is; where not, an earlier one still is.
    pub ok: bool,
    /// When the one that is in force was read.
    pub at: SystemTime,
}

impl Reloads {
    /// The one that is read now is in force.
    pub(super) fn now() -> Self {
        Self { ok: true, at: SystemTime::now() }
    }
}
