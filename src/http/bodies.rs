//! [`Bodies`]: callers who share a report also share its text, so that a thousand callers of a thousand aliases cost
//! little more than one.

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

/// The most by which a shared text may overstate the age of a result, if it is written in a fraction of that time. It
/// never understates it.
const AHEAD: Duration = Duration::from_millis(1);

/// A text that takes longer to write is shared for this many times as long, so that callers cannot keep the sidecar
/// busy with writing alone.
const SHARED_FOR: u32 = 8;

/// The longest time for which a text is shared.
const LONGEST_SHARED: Duration = Duration::from_millis(100);

/// The number of texts that are remembered. If callers ask in more ways than this at a time, they share less.
const REMEMBERED: usize = 8;

/// The kind of text that a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// The report, in this format.
    Report(Representation),
    /// The page at `/`, which has a notice.
    StartPage,
    /// The metrics that go with it.
    Metrics(metrics::MetricsFormat),
}

/// The texts that were written last. Its clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<VecDeque<WrittenBody>>>);

#[derive(Debug)]
struct WrittenBody {
    /// Weak, so that a text does not keep its report.
    report: Weak<Report>,
    writing: Writing,
    view: AccessLevel,
    /// The text, and the time as of which it is written and until which it is kept: with thousands of aliases it is
    /// long. `None` if only one caller has asked for it, as for most reports.
    shared: Option<(Bytes, Instant)>,
    /// The time that it took to write.
    cost: Duration,
}

impl WrittenBody {
    fn is_of(&self, report: &Arc<Report>, writing: Writing, view: AccessLevel) -> bool {
        std::ptr::eq(self.report.as_ptr(), Arc::as_ptr(report))
            && (self.writing, self.view) == (writing, view)
    }
}

impl Bodies {
    /// The text of `report` for a caller at `now`: a new one from `write`, as of the time that it gets, or that of
    /// another caller.
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

    /// Drops the texts written as of a time, but keeps newer ones.
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

    /// Asks for a report this often, at this interval; returns how often it was written.
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
    async fn many_callers_share_a_body_whose_age_is_no_lower_than_the_real_one() {
        let (bodies, report) = (Bodies::default(), Arc::default());
        let written = ask(&bodies, &report, AccessLevel::Details, 1000, Duration::from_micros(10)).await;
        assert!((10..=12).contains(&written), "{written} in ten milliseconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_caller_gets_the_exact_age_and_no_body_is_kept_for_long() {
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
    async fn no_caller_gets_the_body_of_another_report_or_of_a_higher_access_level() {
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
