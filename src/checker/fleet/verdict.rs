//! The entries in the store, and the rules for reusing a verdict of one. Pure, no I/O.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Config;

/// The bounds of a verdict's age, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The difference that the two clocks of an age may have.
    pub(super) tolerance: Duration,
    /// The life of a verdict in the store, from the beginning of its check. Each sidecar hands it on for `max_age`, and
    /// the other clock may make it older by the tolerance: together that is `for`.
    pub(super) life: Duration,
    /// The life of a claim: as long as a check may take.
    pub(super) claim: Duration,
}

/// The greatest tolerance: more than clocks that are kept by NTP ever need.
const TOLERANCE: Duration = Duration::from_millis(250);

impl Terms {
    /// Those of verdicts that are reused for `lasts`.
    pub(super) fn new(lasts: Duration, config: &Config) -> Self {
        let tolerance = TOLERANCE.min(lasts / 8);
        let life = lasts.saturating_sub(config.max_age).saturating_sub(tolerance);
        Self { tolerance, life, claim: config.timeout }
    }
}

/// The entry of a key, as its owner writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreEntry {
    /// A check is running.
    Claim {
        /// A name that no other sidecar has, and that its owner uses once.
        owner: String,
    },
    /// A check is over, and the alias was up.
    Up {
        /// The sidecar that checked.
        instance: String,
        /// The beginning of the check by the owner's clock, in milliseconds since 1970.
        began_at: u64,
    },
}

impl StoreEntry {
    const CLAIM: &'static str = "cache-canary-claim/1";
    const UP: &'static str = "cache-canary-up/1";

    pub(super) fn write(&self) -> String {
        match self {
            Self::Claim { owner } => format!("{} {owner}", Self::CLAIM),
            Self::Up { instance, began_at } => format!("{} {instance} {began_at}", Self::UP),
        }
    }

    /// Any text that was not written this way, to the letter, is nothing of ours.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let words: Vec<_> = text.split(' ').collect();
        let mark = match words.as_slice() {
            [Self::CLAIM, owner] => Self::Claim { owner: (*owner).to_owned() },
            [Self::UP, instance, began_at] => {
                Self::Up { instance: (*instance).to_owned(), began_at: began_at.parse().ok()? }
            }
            _ => return None,
        };
        // It is shown to people, and any writer to the store could write anything: a line of its own in a text.
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return None;
        }
        (mark.write() == text).then_some(mark)
    }
}

/// A verdict that may be reused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SharedVerdict {
    /// The sidecar that made it.
    pub(super) from: String,
    /// The time since its check began, at the least favorable reckoning.
    pub(super) age: Duration,
}

/// The meaning of a key's entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FoundEntry {
    /// It may be reused.
    Verdict(SharedVerdict),
    /// A check is running.
    Claimed,
    /// It is a verdict, and the clocks do not agree on its age.
    Doubtful,
    /// It is nothing that a sidecar with these terms wrote.
    Strange,
}

/// The meaning of `value`, for which the store gave a time to live of `ttl` milliseconds (as `PTTL` answers); `asked`
/// is the time since the store was asked, and `now` the time of the clock here.
pub(super) fn judge(value: &[u8], ttl: i64, asked: Duration, now: SystemTime, terms: &Terms) -> FoundEntry {
    // Below zero there is no time to live at all.
    let Ok(ttl) = u64::try_from(ttl).map(Duration::from_millis) else { return FoundEntry::Strange };
    match StoreEntry::parse(value) {
        Some(StoreEntry::Claim { .. }) if ttl <= terms.claim => FoundEntry::Claimed,
        Some(StoreEntry::Up { instance, began_at }) if ttl <= terms.life => {
            let by_store = terms.life.saturating_sub(ttl) + asked;
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            let by_clock = now.checked_sub(Duration::from_millis(began_at));
            match by_clock {
                Some(by_clock) if by_clock.abs_diff(by_store) <= terms.tolerance => {
                    FoundEntry::Verdict(SharedVerdict { from: instance, age: by_store.max(by_clock) })
                }
                Some(_) | None => FoundEntry::Doubtful,
            }
        }
        Some(StoreEntry::Claim { .. } | StoreEntry::Up { .. }) | None => FoundEntry::Strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn terms() -> Terms {
        Terms::new(Duration::from_secs(2), &Config::default())
    }

    fn found(value: &str, ttl: i64, asked: u64) -> FoundEntry {
        judge(value.as_bytes(), ttl, ms(asked), UNIX_EPOCH + ms(NOW), &terms())
    }

    fn up(began_at: u64) -> String {
        StoreEntry::Up { instance: "web-2".to_owned(), began_at }.write()
    }

    fn verdict(age: u64) -> FoundEntry {
        FoundEntry::Verdict(SharedVerdict { from: "web-2".to_owned(), age: ms(age) })
    }

    #[test]
    fn the_lifetime_of_a_verdict_is_divided_into_its_terms() {
        let Terms { tolerance, life, claim } = terms();
        assert_eq!((tolerance, life, claim), (ms(250), ms(1650), ms(750)));
        let short = Terms::new(ms(250), &Config::default());
        assert_eq!(
            (short.tolerance, short.life),
            (Duration::from_micros(31_250), Duration::from_micros(118_750))
        );
    }

    #[test]
    fn the_older_of_two_ages_counts_and_the_time_that_the_answer_took() {
        assert_eq!(found(&up(NOW - 650), 1000, 0), verdict(650));
        assert_eq!(found(&up(NOW - 700), 1000, 0), verdict(700));
        assert_eq!(found(&up(NOW - 600), 1000, 0), verdict(650));
        assert_eq!(found(&up(NOW - 650), 1000, 90), verdict(740));
    }

    #[test]
    fn no_verdict_is_reused_that_is_older_than_for_when_it_was_handed_on_for_max_age() {
        let oldest = ms(2000).saturating_sub(Config::default().max_age);
        for ttl in 0..=1650 {
            for by_clock in (0..2500).step_by(10) {
                if let FoundEntry::Verdict(SharedVerdict { age, .. }) = found(&up(NOW - by_clock), ttl, 0) {
                    assert!(age <= oldest, "{ttl} {by_clock}: {age:?}");
                }
            }
        }
    }

    #[test]
    fn clocks_that_disagree_are_not_believed() {
        for began_at in [NOW - 3_600_000, NOW + 3_600_000, NOW - 901, NOW - 399, NOW + 1] {
            assert_eq!(found(&up(began_at), 1000, 0), FoundEntry::Doubtful, "{began_at}");
        }
        assert_eq!(found(&up(NOW - 900), 1000, 0), verdict(900));
        // A verdict that is as young as can be, by a clock that is a little ahead.
        assert_eq!(found(&up(NOW + 1), 1650, 0), FoundEntry::Doubtful);
    }

    #[test]
    fn a_value_that_no_sidecar_wrote_is_strange() {
        let good = up(NOW - 650);
        for (value, ttl) in [
            (good.as_str(), -1),
            (good.as_str(), 1651),
            (good.as_str(), i64::MAX),
            (&good.replace("/1", "/2"), 1000),
            (&good.replace(' ', "  "), 1000),
            (&format!("{good} "), 1000),
            (&good.replace(" 1", " +1"), 1000),
            (&good.replace("web-2", "web-2\ncache.main"), 1000),
            (&good.replace("web-2", "web-2\u{202e}"), 1000),
            ("", 1000),
            ("UP", 1000),
            ("cache-canary-claim/1 web-2:0", 751),
            ("cache-canary-claim/1 web-2:0", -1),
        ] {
            assert_eq!(found(value, ttl, 0), FoundEntry::Strange, "{value} {ttl}");
        }
        assert_eq!(judge(&[0xff], 1000, ms(0), UNIX_EPOCH, &terms()), FoundEntry::Strange);
        assert_eq!(found("cache-canary-claim/1 web-2:0", 750, 0), FoundEntry::Claimed);
    }
}
