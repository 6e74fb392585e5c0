//! [`Status`]: skipped, up, degraded or down, in the order of severity.

use std::fmt;

/// The status of an alias, or of everything that was requested. The worst one wins, and skipped aliases do not count,
/// so the order of the variants is the order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing was checked: every requested alias is of a kind that is not checked.
    Skipped,
    /// Every canary was read back.
    Up,
    /// It works, but worse than required.
    Degraded,
    /// An application would meet the fault.
    Down,
}

impl Status {
    /// The status in capitals, as Djblets and Spring Boot's actuator write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "SKIPPED",
            Self::Up => "UP",
            Self::Degraded => "DEGRADED",
            Self::Down => "DOWN",
        }
    }

    /// The status as a lower-case word, for the page and the labels of metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
