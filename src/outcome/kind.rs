//! [`CheckKind`]: the kinds of check, and the name of each entry.

use std::fmt;

use crate::alias::Alias;

/// A kind of check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A canary is written to each server and read back.
    #[default]
    RoundTrip,
    /// Whether every way into the cache shows what was written and deleted through the alias.
    Visibility,
    /// Whether queues are drained.
    Queue,
    /// Whether the clocks of a partitioned log are in step.
    Clock,
    /// Whether the cache is of use.
    Efficiency,
}

impl CheckKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::RoundTrip, Self::Visibility, Self::Queue, Self::Clock, Self::Efficiency];

    /// The stable name, as in the configuration, JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round_trip",
            Self::Visibility => "visibility",
            Self::Queue => "queue",
            Self::Clock => "clock",
            Self::Efficiency => "efficiency",
        }
    }

    /// The name of this check of `alias` among caches: `main`, or `main.queue`.
    #[must_use]
    pub fn entry(self, alias: &Alias) -> String {
        match self {
            Self::RoundTrip => alias.to_string(),
            Self::Visibility | Self::Queue | Self::Clock | Self::Efficiency => format!("{alias}.{self}"),
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
