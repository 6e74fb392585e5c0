//! [`CheckKind`]: the kinds of check, and the name of each entry.

use std::fmt;

use crate::alias::Alias;

named! {
    /// A kind of check.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum CheckKind {
        /// A canary is written to each server and read back.
        #[default]
        RoundTrip = "round_trip",
        /// Every way into the cache is checked to show writes and deletions through the alias.
        Visibility = "visibility",
        /// Queues are checked to drain.
        Queue = "queue",
        /// The clocks of a partitioned log are checked to be in step.
        Clock = "clock",
        /// The cache is checked to be useful.
        Efficiency = "efficiency",
        /// The servers are checked to hold the data that they held before.
        Identity = "identity",
        /// The settings of the servers are compared with the use of the cache.
        Policy = "policy",
    }
}

impl CheckKind {
    /// The name of this check of `alias` among caches: `main`, or `main.queue`.
    #[must_use]
    pub fn entry(self, alias: &Alias) -> String {
        self.entry_parts(alias).concat()
    }

    /// The same in parts.
    pub(crate) fn entry_parts(self, alias: &Alias) -> [&str; 3] {
        match self {
            Self::RoundTrip => [alias.as_str(), "", ""],
            Self::Visibility
            | Self::Queue
            | Self::Clock
            | Self::Efficiency
            | Self::Identity
            | Self::Policy => [alias.as_str(), ".", self.name()],
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_has_the_name_of_its_alias_and_another_check_its_own_behind_it() {
        let alias = Alias::try_from("main").unwrap();
        assert_eq!(CheckKind::RoundTrip.entry(&alias), "main");
        assert_eq!(CheckKind::Queue.entry(&alias), "main.queue");
    }
}
