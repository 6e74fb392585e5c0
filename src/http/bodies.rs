//! [`Bodies`]: callers who share a report share what it is written as, so that a thousand callers of a thousand aliases
//! cost little more than one.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use tokio::time::{Instant, sleep_until};

use super::access::AccessLevel;
use super::format::Representation;
use super::format::metrics;
use crate::mutex::Mutex;
use crate::outcome::Report;

/// By how much what callers share may say that a verdict is older than it is, if it is written in a fraction of that time.
/// It never says that one is younger.
const AHEAD: Duration = Duration::from_millis(1);

/// A text that takes longer to write is shared for so many times as long, so that no number of callers has the sidecar do
/// nothing but write.
const SHARED_FOR: u32 = 8;

/// The longest that a text is shared for.
const LONGEST_SHARED: Duration = Duration::from_millis(100);

/// How many texts are remembered. Callers who ask in more ways than this at a time share less.
const REMEMBERED: usize = 8;

/// What of a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// It, in this format.
    Report(Representation),
    /// The page at `/`, which has a notice.
    StartPage,
    /// The metrics that go with it.
    Metrics(metrics::MetricsFormat),
}

/// What was written last. Its clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<VecDeque<WrittenBody>>>);

#[derive(Debug)]
struct WrittenBody {
    /// Not kept for what was written of it.
    report: Weak<Report>,
    writing: Writing,
    view: AccessLevel,
    /// What it is written as, and the time as of which it is, until then: with thousands of aliases it is long. Nothing
    /// where only one caller has asked for it, as of most reports.
    shared: Option<(Bytes, Instant)>,
    /// How long it took to write.
    cost: Duration,
}

impl WrittenBody {
    fn is_of(&self, report: &Arc<Report>, writing: Writing, view: AccessLevel) -> bool {
        std::ptr::eq(self.report.as_ptr(), Arc::as_ptr(report))
            && (self.writing, self.view) == (writing, view)
    }
}

impl Bodies {
    /// What `report` is written as for a caller at `now`: by `write`, as of the time that it is told, or as for another
    /// caller.
    pub(super) fn of(
        &self,
        report: &Arc<Report>,
        (writing, view): (Writing, AccessLevel),
        now: Instant,
        write: impl FnOnce(Instant) -> String,
    ) -> Bytes {
        let mut last = self.0.lock();
        let Some(written) = last.iter_mut().find(|written| written.is_of(report, writing, view)) else {
            last.truncate(REMEMBERED - 1);
            let began = std::time::Instant::now();
            let body = write(now).into();
            let (report, cost) = (Arc::downgrade(report), began.elapsed());
            last.push_front(WrittenBody { report, writing, view, shared: None, cost });
            return body;
        };
        match &written.shared {
            Some((body, as_of)) if now <= *as_of => body.clone(),
            Some(_) | None => {
                let as_of = now + (written.cost * SHARED_FOR).clamp(AHEAD, LONGEST_SHARED);
                let body = Bytes::from(write(as_of));
                written.shared = Some((body.clone(), as_of));
                let bodies = self.clone();
                tokio::spawn(async move {
                    sleep_until(as_of).await;
                    bodies.forget(as_of);
                });
                body
            }
        }
    }

    /// Drops what was written as of a time, unless something else was written since.
    fn forget(&self, as_of: Instant) {
        for written in &mut *self.0.lock() {
            written.shared.take_if(|(_, later)| *later <= as_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{advance, sleep};

    use super::*;

    const JSON: Writing = Writing::Report(Representation::Json);

    /// Asks for a report so often, at times that are so far apart; how often it was written.
    async fn ask(
        bodies: &Bodies,
        report: &Arc<Report>,
        view: AccessLevel,
        times: usize,
        apart: Duration,
    ) -> usize {
        let (began, written) = (Instant::now(), Cell::new(0));
        for _ in 0..times {
            let now = Instant::now();
            let body = bodies.of(report, (JSON, view), now, |as_of| {
                written.set(written.get() + 1);
                (as_of - began).as_micros().to_string()
            });
            let told: u128 = std::str::from_utf8(&body).unwrap().parse().unwrap();
            let true_age = (now - began).as_micros();
            assert!((true_age..=true_age + 1000).contains(&told), "{told} is told of {true_age} us");
            advance(apart).await;
        }
        written.get()
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_a_body_that_says_an_age_no_lower_than_it_is() {
        let (bodies, report) = (Bodies::default(), Arc::default());
        let written = ask(&bodies, &report, AccessLevel::Details, 1000, Duration::from_micros(10)).await;
        assert!((10..=12).contains(&written), "{written} in ten milliseconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_alone_is_told_the_age_as_it_is_and_no_body_is_kept_for_long() {
        let (bodies, report) = (Bodies::default(), Arc::default());
        let now = Instant::now();
        bodies.of(&report, (JSON, AccessLevel::Details), now, |as_of| {
            assert_eq!(as_of, now);
            String::new()
        });
        let is_kept = || bodies.0.lock().iter().any(|written| written.shared.is_some());
        assert!(!is_kept());
        assert_eq!(ask(&bodies, &report, AccessLevel::Details, 1, Duration::ZERO).await, 1);
        assert!(is_kept());
        sleep(AHEAD * 2).await;
        assert!(!is_kept());
        assert_eq!(Arc::strong_count(&report), 1, "nor is the report");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_given_what_was_written_of_another_report_or_for_who_may_see_more() {
        let (bodies, one, other) = (Bodies::default(), Arc::default(), Arc::default());
        let ask = async |report, view| ask(&bodies, report, view, 2, Duration::ZERO).await;
        assert_eq!(ask(&one, AccessLevel::Details).await, 2);
        assert_eq!(ask(&one, AccessLevel::Details).await, 0);
        assert_eq!(ask(&one, AccessLevel::Verdicts).await, 2);
        assert_eq!(ask(&other, AccessLevel::Verdicts).await, 2);
        assert_eq!(ask(&one, AccessLevel::Verdicts).await, 0, "it is remembered beside the other");
        let others: [Arc<Report>; REMEMBERED] = Default::default();
        for another in &others {
            assert_eq!(ask(another, AccessLevel::Verdicts).await, 2);
        }
        assert_eq!(ask(&one, AccessLevel::Verdicts).await, 2, "it is forgotten");
        assert_eq!(bodies.0.lock().len(), REMEMBERED);
    }
}
