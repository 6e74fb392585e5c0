//! [`Jitter`]: what is left to chance, so that sidecars that began together, or lost the same cache together, do not all
//! ask it in the same moment.

use std::time::Duration;

/// A partition begins a round late by less than this part of the interval.
const SPREAD: u32 = 8;

/// What was down is checked late by less than this part of the interval.
const PUT_OFF: u32 = 2;

/// And never later than this.
const PUT_OFF_AT_MOST: Duration = Duration::from_secs(2);

/// By how much at most the checks of a round come late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jitter {
    /// A partition's.
    spread: Duration,
    /// The check of what was down, beside that.
    put_off: Duration,
}

impl Jitter {
    /// For rounds so far apart, of checks that take `timeout` at most: what is late still ends before the next round.
    pub(super) fn of(every: Duration, timeout: Duration) -> Self {
        let room = every.saturating_sub(timeout);
        let spread = room.min(every / SPREAD);
        Self { spread, put_off: room.saturating_sub(spread).min(every / PUT_OFF).min(PUT_OFF_AT_MOST) }
    }

    /// By how much both together come late at most.
    pub(super) fn most(&self) -> Duration {
        self.spread + self.put_off
    }

    /// By how much a partition begins late, drawn anew.
    pub(super) fn spread(&self) -> Duration {
        random(self.spread)
    }

    /// By how much a check of what was down is put off, drawn anew.
    pub(super) fn put_off(&self) -> Duration {
        random(self.put_off)
    }
}

/// Any time below `end`, each as likely as the other.
pub(super) fn random(end: Duration) -> Duration {
    end.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_late_is_so_by_a_part_of_the_interval_and_still_ends_before_the_next_round() {
        let jitter = |every, timeout| Jitter::of(ms(every), ms(timeout));
        assert_eq!(jitter(10_000, 750), Jitter { spread: ms(1250), put_off: ms(2000) });
        assert_eq!(jitter(3000, 750), Jitter { spread: ms(375), put_off: ms(1500) });
        assert_eq!(jitter(1000, 750), Jitter { spread: ms(125), put_off: ms(125) });
        assert_eq!(jitter(750, 750), Jitter { spread: ms(0), put_off: ms(0) });
    }

    #[test]
    fn five_hundred_draws_cover_all_of_their_time_and_nothing_else() {
        let mut tenths = [0; 10];
        for _ in 0..500 {
            let drawn = random(ms(1000));
            assert!(drawn < ms(1000));
            tenths[usize::try_from(drawn.as_millis() / 100).unwrap()] += 1;
        }
        // 50 are expected in each, and the chance of one as far off as this is below one in a million.
        assert!(tenths.iter().all(|&times| (14..=100).contains(&times)), "{tenths:?}");
    }
}
