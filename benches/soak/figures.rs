//! The figures of the sidecar and of the caches that stay up, and how much each may grow.

use std::time::Duration;

/// The state at one time.
pub(crate) struct Moment {
    /// The time since the beginning.
    pub(crate) after: Duration,
    pub(crate) resident_mib: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
    /// The keys at the steady node that has most.
    pub(crate) keys: f64,
    /// The clients of the steady server that has most; one is the harness.
    pub(crate) connections: f64,
    /// The checks so far.
    pub(crate) checks: u64,
}

/// A figure that may not grow.
#[derive(Clone, Copy)]
pub(crate) enum Watched {
    Memory,
    Descriptors,
    Threads,
    Keys,
    Connections,
}

impl Watched {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Descriptors, Self::Threads, Self::Keys, Self::Connections];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "resident memory, MiB",
            Self::Descriptors => "open descriptors",
            Self::Threads => "threads",
            Self::Keys => "keys of the fullest node",
            Self::Connections => "clients of the busiest server",
        }
    }

    pub(crate) fn of(self, moment: &Moment) -> f64 {
        match self {
            Self::Memory => moment.resident_mib,
            Self::Descriptors => moment.descriptors,
            Self::Threads => moment.threads,
            Self::Keys => moment.keys,
            Self::Connections => moment.connections,
        }
    }

    /// The growth that is no growth: what callers and streams of the moment make of it.
    pub(crate) fn allowance(self) -> f64 {
        match self {
            Self::Memory => 0.5,
            Self::Descriptors => 8.0,
            Self::Threads | Self::Connections => 2.0,
            Self::Keys => 0.0,
        }
    }

    /// The median of the second tenth, the first one filling what is kept, and that of the last tenth.
    pub(crate) fn ends(self, moments: &[Moment]) -> [f64; 2] {
        let tenth = moments.len() / 10;
        [&moments[tenth..2 * tenth], &moments[moments.len() - tenth..]].map(|moments| {
            let mut values: Vec<f64> = moments.iter().map(|moment| self.of(moment)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        })
    }
}
