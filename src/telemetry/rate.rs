//! [`Rate`]: the limit of log lines per second that callers can cause.

use std::time::{Duration, Instant};

/// The most lines in any second.
pub(super) const LINES_A_SECOND: usize = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Allows at most [`LINES_A_SECOND`] in any second, a burst included.
#[derive(Debug)]
pub(super) struct Rate {
    /// The times at which the last lines were allowed, in a ring.
    allowed: [Option<Instant>; LINES_A_SECOND],
    /// The place of the earliest of them.
    earliest: usize,
}

impl Rate {
    pub(super) const fn new() -> Self {
        Self { allowed: [None; LINES_A_SECOND], earliest: 0 }
    }

    /// `true` if one more line may be logged `now`.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let earliest = &mut self.allowed[self.earliest];
        if earliest.is_some_and(|earliest| now.saturating_duration_since(earliest) < SECOND) {
            return false;
        }
        *earliest = Some(now);
        self.earliest = (self.earliest + 1) % LINES_A_SECOND;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_second_has_at_most_as_many_lines_as_the_rate() {
        let began = Instant::now();
        let times = (0..5000_u64).map(Duration::from_millis);
        let mut rate = Rate::new();
        let allowed: Vec<_> = times.filter(|&after| rate.allows(began + after)).collect();
        assert_eq!(allowed.len(), 5 * LINES_A_SECOND);
        assert!(allowed.windows(LINES_A_SECOND + 1).all(|lines| lines[LINES_A_SECOND] >= lines[0] + SECOND));
    }

    #[test]
    fn a_slow_caller_is_never_limited() {
        let (began, mut rate) = (Instant::now(), Rate::new());
        assert!((0..100).all(|number| rate.allows(began + number * Duration::from_millis(100))));
    }
}
