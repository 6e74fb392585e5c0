//! [`History`]: the changes of one server's counters since the last look, without I/O.

use std::time::Duration;

use tokio::time::Instant;

use super::counters::Counters;

/// The fewest lookups for a hit ratio. Fewer, among which those of this program weigh much, are added up until there are
/// this many.
const LEAST_LOOKUPS: u64 = 100;

/// The shortest time for a rate of evictions.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// The state of one server at earlier looks.
#[derive(Debug)]
pub(super) struct History {
    last: Counters,
    at: Instant,
    /// The counters at the beginning of the lookups that were not judged yet.
    lookups_from: (u64, u64),
    /// The lookups that were judged last. They stand until there are enough others.
    judged: Option<Lookups>,
    /// The counters at the beginning of the evictions that are counted now, and their time.
    evictions_from: (Counters, Instant),
    /// The evictions per second before that, and the age of the evicted.
    before: (f64, Option<Duration>),
}

/// Lookups, and the number of hits among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lookups {
    pub(super) hits: u64,
    pub(super) all: u64,
}

impl Lookups {
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub(super) fn ratio(self) -> f64 {
        self.hits as f64 / self.all as f64
    }
}

/// The events on a server since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Happened {
    /// The lookups since the last look, if there were any.
    pub(super) lookups: Option<Lookups>,
    /// The lookups that it is judged by, if there were enough.
    pub(super) judged: Option<Lookups>,
    /// The evictions per second.
    pub(super) evictions_per_second: f64,
    /// The shortest time for which an evicted entry had not been used, as far as the server tells.
    pub(super) evicted_age: Option<Duration>,
}

impl History {
    /// A history that begins with these counters.
    pub(super) fn begin(counters: &Counters, now: Instant) -> Self {
        Self {
            last: counters.clone(),
            at: now,
            lookups_from: (counters.hits, counters.misses),
            judged: None,
            evictions_from: (counters.clone(), now),
            before: (0.0, None),
        }
    }

    /// The time of the last look at the server.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// `true` if the server's counters have restarted since the last look.
    pub(super) fn is_over(&self, counters: &Counters, now: Instant) -> bool {
        let Counters { run, uptime, hits, misses, evictions, expired, classes: _, memory: _, connections: _ } =
            counters;
        let last = &self.last;
        // In a container every process may have the same number. One second is added, because seconds are cut off.
        let younger = Duration::from_secs(uptime.saturating_add(1)) < now.saturating_duration_since(self.at);
        *run != last.run
            || *uptime < last.uptime
            || younger
            || *hits < last.hits
            || *misses < last.misses
            || *evictions < last.evictions
            || *expired < last.expired
    }

    /// Returns the events since the last look, and replaces it by this one. If the server's counters have restarted, there
    /// are no events.
    pub(super) fn advance(&mut self, counters: &Counters, now: Instant) -> Happened {
        if self.is_over(counters, now) {
            *self = Self::begin(counters, now);
            return Happened::default();
        }
        let since = |(hits, misses): (u64, u64)| {
            let hits = counters.hits - hits;
            Lookups { hits, all: hits.saturating_add(counters.misses - misses) }
        };
        let lookups = Some(since((self.last.hits, self.last.misses))).filter(|lookups| lookups.all > 0);
        let unjudged = since(self.lookups_from);
        if unjudged.all >= LEAST_LOOKUPS {
            self.judged = Some(unjudged);
            self.lookups_from = (counters.hits, counters.misses);
        }
        let (begin, from) = &self.evictions_from;
        let time = now.saturating_duration_since(*from);
        let age = evicted_age(begin, counters);
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = (counters.evictions - begin.evictions) as f64 / time.max(LEAST_TIME).as_secs_f64();
        let (evictions_per_second, evicted_age) = if time >= LEAST_TIME {
            self.evictions_from = (counters.clone(), now);
            self.before = (rate, age);
            self.before
        } else {
            let (rate_before, age_before) = self.before;
            (rate.max(rate_before), age.into_iter().chain(age_before).min())
        };
        (self.last, self.at) = (counters.clone(), now);
        Happened { lookups, judged: self.judged, evictions_per_second, evicted_age }
    }
}

/// The shortest age of an entry that was evicted between two looks.
fn evicted_age(before: &Counters, now: &Counters) -> Option<Duration> {
    let count_before = |class| before.classes.get(class).map_or(0, |before| before.count);
    let evicting = now.classes.iter().filter(|(class, now)| now.count > count_before(class));
    evicting.map(|(_, now)| now.age).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(hits: u64, misses: u64, evictions: u64) -> Counters {
        Counters { uptime: 1000, hits, misses, evictions, ..Counters::default() }
    }

    #[test]
    fn few_lookups_are_added_up_until_they_are_enough() {
        let now = Instant::now();
        let mut history = History::begin(&counters(1000, 0, 0), now);
        let mut look = |hits: u64, misses| {
            let happened = history.advance(&counters(1000 + hits, misses, 0), now);
            (happened.lookups.map(|l| (l.hits, l.all)), happened.judged.map(|l| (l.hits, l.all)))
        };
        assert_eq!(look(0, 0), (None, None));
        assert_eq!(look(0, 60), (Some((0, 60)), None));
        assert_eq!(look(20, 80), (Some((20, 40)), Some((20, 100))));
        // The ratio stands until there are as many other lookups.
        assert_eq!(look(119, 80), (Some((99, 99)), Some((20, 100))));
        assert_eq!(look(120, 80), (Some((1, 1)), Some((100, 100))));
    }

    #[test]
    fn evictions_are_counted_over_a_second_at_least() {
        let began = Instant::now();
        let mut history = History::begin(&counters(0, 0, 0), began);
        let mut look = |ms, evictions| {
            let now = began + Duration::from_millis(ms);
            history.advance(&counters(0, 0, evictions), now).evictions_per_second
        };
        assert_eq!(look(10, 5).to_bits(), 5.0_f64.to_bits());
        assert_eq!(look(20, 50).to_bits(), 50.0_f64.to_bits());
        assert_eq!(look(2000, 100).to_bits(), 50.0_f64.to_bits());
        // The rate of the second before stands until another second has passed.
        assert_eq!(look(2500, 100).to_bits(), 50.0_f64.to_bits());
        assert_eq!(look(3000, 100).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_server_that_resets_its_counters_has_a_new_beginning() {
        let began = Instant::now();
        let later = began + Duration::from_mins(10);
        let before = counters(1000, 1000, 1000);
        let quiet = |after: &Counters, now| {
            let mut history = History::begin(&before, began);
            let happened = history.advance(after, now);
            let next = history.advance(&Counters { hits: after.hits + 1, ..after.clone() }, now);
            assert_eq!(next.lookups, Some(Lookups { hits: 1, all: 1 }));
            happened == Happened::default()
        };
        assert!(quiet(&Counters { run: "other".to_owned(), hits: 5000, ..before.clone() }, later));
        assert!(quiet(&Counters { uptime: 999, hits: 5000, ..before.clone() }, began));
        assert!(quiet(
            &Counters { hits: 5000, uptime: 1000, ..before.clone() },
            began + Duration::from_mins(20)
        ));
        for fewer in [counters(999, 5000, 5000), counters(5000, 999, 5000), counters(5000, 5000, 999)] {
            assert!(quiet(&fewer, later));
        }
        assert!(!quiet(&Counters { hits: 5000, ..before.clone() }, later));
    }
}
