//! [`Phase`] and [`Phases`]: the steps of a round trip, and their times.

use std::fmt;
use std::time::Duration;

named! {
    /// The steps of a round trip, in the order in which they are taken.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Phase {
        /// A name is turned into addresses.
        Resolve = "resolve",
        /// A transport connection is made.
        Connect = "connect",
        /// TLS is negotiated.
        Tls = "tls",
        /// The connection is prepared: credentials are sent, the database is chosen, and the protocol version is
        /// detected.
        Auth = "auth",
        /// The canary is written and the answer awaited.
        Write = "write",
        /// The canary is read back.
        Read = "read",
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The duration of each phase, in microseconds; a phase that was not entered has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases([u32; Phase::ALL.len()]);

impl Phases {
    /// The value for a phase that was not entered. No check takes so long: it is more than an hour.
    const NOT_ENTERED: u32 = u32::MAX;

    /// The time that `phase` took, if it was entered.
    #[must_use]
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        match self.0[phase as usize] {
            Self::NOT_ENTERED => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    /// Adds `time` to the time of `phase` so far.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        let time = self.get(phase).unwrap_or_default() + time;
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.0[phase as usize] = micros.min(Self::NOT_ENTERED - 1);
    }

    /// The phases that were entered, in order, with their times.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self([Self::NOT_ENTERED; Phase::ALL.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_phase_add_up_and_one_that_is_too_long_to_note_was_entered_nonetheless() {
        let mut phases = Phases::default();
        assert_eq!(phases.iter().count(), 0);
        phases.add(Phase::Write, Duration::from_micros(3));
        phases.add(Phase::Write, Duration::from_micros(4));
        phases.add(Phase::Read, Duration::from_hours(2));
        let longest = Duration::from_micros(u64::from(u32::MAX) - 1);
        let expected = [(Phase::Write, Duration::from_micros(7)), (Phase::Read, longest)];
        assert_eq!(phases.iter().collect::<Vec<_>>(), expected);
    }
}
