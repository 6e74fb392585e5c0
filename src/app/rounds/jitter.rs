//! [`Jitter`]: random delays, so that sidecars that started together, or lost the same cache together, do not all check
//! it at the same moment.

use std::time::Duration;

/// The divisor of the interval that limits a partition's delay of a round.
const SPREAD: u32 = 8;

/// The divisor of the interval that limits the delay of a check that was down.
const PUT_OFF: u32 = 2;

/// The upper limit of that delay.
const PUT_OFF_AT_MOST: Duration = Duration::from_secs(2);

/// The upper limits of the delays in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jitter {
    /// The limit of a partition's delay.
    spread: Duration,
    /// The limit of the further delay of a check that was down.
    put_off: Duration,
}

impl Jitter {
    /// The limits for rounds at the interval `every`. A delayed check of at most `timeout` still ends before the next round.
    pub(super) fn of(every: Duration, timeout: Duration) -> Self {
        let room = every.saturating_sub(timeout);
        let spread = room.min(every / SPREAD);
        Self { spread, put_off: room.saturating_sub(spread).min(every / PUT_OFF).min(PUT_OFF_AT_MOST) }
    }

    /// The upper limit of both delays together.
    pub(super) fn most(&self) -> Duration {
        self.spread + self.put_off
    }

    /// A new random delay of a partition.
    pub(super) fn spread(&self) -> Duration {
        random(self.spread)
    }

    /// A new random delay of a check that was down.
    pub(super) fn put_off(&self) -> Duration {
        random(self.put_off)
    }
}

/// A random time below `end`, uniformly distributed.
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
    fn a_late_round_is_late_by_a_part_of_the_interval_and_still_ends_before_the_next() {
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
