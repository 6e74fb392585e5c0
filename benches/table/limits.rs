//! The limits of each figure, all in one place: the target, of which the table says whether it is met, and the bound,
//! a little above what is true today, without which the command fails.

/// A target and a bound of one figure.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    target: f64,
    bound: f64,
    sense: Sense,
}

#[derive(Clone, Copy)]
enum Sense {
    AtMost,
    AtLeast,
}

pub(crate) const CHECK_KEPT: Limit = Limit::at_most(1.15, 1.5);
pub(crate) const ROUND_OF_10_000: Limit = Limit::at_most(1.25, 1.4);
pub(crate) const MEMORY_A_NODE_KB: Limit = Limit::at_most(2.5, 3.25);
pub(crate) const COALESCED_THROUGHPUT: Limit = Limit::at_least(0.92, 0.5);
pub(crate) const COALESCED_BESIDE_HAPROXY: Limit = Limit::at_least(1.0, 0.5);
/// Checks that the cache saw, in those that `max_age` allows.
pub(crate) const CHECKS_SEEN: Limit = Limit::at_most(1.0, 1.0);
pub(crate) const UNCOALESCED_THROUGHPUT: Limit = Limit::at_least(0.85, 0.5);
pub(crate) const UNCOALESCED_CPU: Limit = Limit::at_most(1.35, 2.4);
pub(crate) const START_MS: Limit = Limit::at_most(10.0, 20.0);
/// All but half a MiB of it are pages of the binary and of the C library.
pub(crate) const IDLE_RSS_MIB: Limit = Limit::at_most(4.3, 5.2);
pub(crate) const BINARY_MB: Limit = Limit::at_most(5.0, 5.0);
pub(crate) const IDLE_CPU_PERCENT: Limit = Limit::at_most(0.02, 0.05);
/// Healthy answers to requests that began when the fault was in force.
pub(crate) const FALSE_UP: Limit = Limit::at_most(0.0, 0.0);

impl Limit {
    const fn at_most(target: f64, bound: f64) -> Self {
        Self { target, bound, sense: Sense::AtMost }
    }

    const fn at_least(target: f64, bound: f64) -> Self {
        Self { target, bound, sense: Sense::AtLeast }
    }

    pub(crate) fn target_is_met(self, value: f64) -> bool {
        self.sense.holds(value, self.target)
    }

    pub(crate) fn bound_holds(self, value: f64) -> bool {
        self.sense.holds(value, self.bound)
    }

    /// As the table has them: `<= 1.15`.
    pub(crate) fn target(self) -> String {
        self.sense.words(self.target)
    }

    pub(crate) fn bound(self) -> String {
        self.sense.words(self.bound)
    }
}

impl Sense {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtMost => value <= limit,
            Self::AtLeast => value >= limit,
        }
    }

    fn words(self, limit: f64) -> String {
        match self {
            Self::AtMost => format!("<= {limit}"),
            Self::AtLeast => format!(">= {limit}"),
        }
    }
}
