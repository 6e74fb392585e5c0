//! [`LineQueue`]: log lines on their way to the thread that writes them.

use std::collections::VecDeque;
use std::mem::{self, size_of};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::journal;
use super::rate::{LINES_A_SECOND, Rate};

/// The most memory of waiting lines, in bytes: the lines of a thousand caches that go down at once.
const MAX_SIZE: usize = 256 * 1024;

/// The time for which lines beyond the rate are counted before the log tells their number.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Log lines that wait to be written, bounded in bytes. A line is taken or dropped at once, however slow the reader.
#[derive(Debug)]
pub(super) struct LineQueue {
    state: Mutex<LineQueueState>,
    /// Notified when the writer has something to do, and when it has nothing more to do.
    changed: Condvar,
}

/// A line for the writer.
#[derive(Debug)]
pub(super) struct Line {
    /// The line with its end. It is empty if there is only a loss to report.
    pub(super) text: Box<[u8]>,
    /// The number of lines lost before this one, since the start.
    pub(super) lost_before: u64,
}

/// The number of log lines that were not written, since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwritten {
    /// Lines that stderr did not take: it could not be written, or its reader was too slow.
    pub lost: u64,
    /// Lines of callers beyond the rate.
    pub limited: u64,
}

#[derive(Debug)]
struct LineQueueState {
    lines: VecDeque<Line>,
    /// The memory of the lines, in bytes.
    size: usize,
    /// `true` if lines are dropped until half of the queue is written: a slow reader then gets a few gaps, and not one
    /// between any two lines.
    is_full: bool,
    /// Lines that found the queue full.
    dropped: u64,
    /// The number of them that the writer knows of.
    seen: u64,
    /// Lines that the writer could not write.
    failed: u64,
    /// The rate of warnings and worse, then that of everything else: chatter must not hide a warning.
    rates: [Rate; 2],
    /// Lines beyond the rate.
    limited: u64,
    /// The number of them that the log has reported.
    limited_told: u64,
    /// The time at which the log reports the others.
    tell_limited: Option<Instant>,
    /// `true` if the writer has nothing to do.
    is_idle: bool,
}

impl LineQueue {
    pub(super) const fn new() -> Self {
        let state = LineQueueState {
            lines: VecDeque::new(),
            size: 0,
            is_full: false,
            dropped: 0,
            seen: 0,
            failed: 0,
            rates: [const { Rate::new() }; 2],
            limited: 0,
            limited_told: 0,
            tell_limited: None,
            is_idle: true,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a line, or drops and counts it if the queue is full.
    pub(super) fn push(&self, text: &[u8]) {
        self.lock().push(text);
        self.changed.notify_all();
    }

    /// `true` if a line of this level that a caller has caused may be logged now; otherwise it is counted.
    pub(super) fn admits(&self, level: Level) -> bool {
        let (mut state, now) = (self.lock(), Instant::now());
        if state.rates[usize::from(level > Level::WARN)].allows(now) {
            return true;
        }
        state.limited += 1;
        if state.tell_limited.is_none() {
            state.tell_limited = Some(now + TELL_EVERY);
            state.is_idle = false;
            self.changed.notify_all();
        }
        false
    }

    /// The next line to write; waits until there is one.
    pub(super) fn next(&self) -> Line {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(line) = state.next(now) {
                return line;
            }
            state.is_idle = true;
            self.changed.notify_all();
            state = match state.tell_limited {
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Counts a line that the writer could not write.
    pub(super) fn lose(&self) {
        self.lock().failed += 1;
    }

    /// Waits until everything is written, for at most `max_wait`; `true` if it is.
    pub(super) fn drain(&self, max_wait: Duration) -> bool {
        let mut state = self.lock();
        if state.tell_limited.is_some() {
            state.tell_limited = Some(Instant::now());
            state.is_idle = false;
            self.changed.notify_all();
        }
        let waited = self.changed.wait_timeout_while(state, max_wait, |state| !state.is_idle);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn unwritten(&self) -> Unwritten {
        let state = self.lock();
        Unwritten { lost: state.dropped + state.failed, limited: state.limited }
    }

    fn lock(&self) -> MutexGuard<'_, LineQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineQueueState {
    fn push(&mut self, text: &[u8]) {
        self.is_idle = false;
        let size = text.len() + size_of::<Line>();
        // A line that is longer than the whole queue, such as one with the names of ten thousand caches, passes alone.
        let has_room = self.lines.is_empty() || !self.is_full && self.size + size <= MAX_SIZE;
        self.is_full = !has_room;
        if has_room {
            self.size += size;
            self.lines.push_back(Line { text: text.into(), lost_before: self.dropped });
        } else {
            self.dropped += 1;
        }
    }

    /// The line to write `now`. The number of the lines beyond the rate comes first, since a flood of other lines must
    /// not delay it.
    fn next(&mut self, now: Instant) -> Option<Line> {
        if self.tell_limited.is_some_and(|at| at <= now) {
            self.tell_limited = None;
            let number = self.limited - mem::replace(&mut self.limited_told, self.limited);
            let words = format!(
                "{} suppressed: lines caused by callers are limited to {LINES_A_SECOND} per second",
                lines_were(number)
            );
            return Some(self.line(warning(&words).into_bytes().into(), self.seen));
        }
        if let Some(Line { text, lost_before }) = self.lines.pop_front() {
            self.size -= text.len() + size_of::<Line>();
            self.is_full &= self.size > MAX_SIZE / 2;
            if self.lines.is_empty() {
                // The memory of a burst is given back.
                self.lines = VecDeque::new();
            }
            return Some(self.line(text, lost_before));
        }
        (self.dropped > self.seen).then(|| self.line(Box::default(), self.dropped))
    }

    /// A line with the number of lines dropped before it.
    fn line(&mut self, text: Box<[u8]>, dropped: u64) -> Line {
        self.seen = dropped;
        Line { text, lost_before: dropped + self.failed }
    }
}

/// The start of a sentence about `number` lines.
pub(super) fn lines_were(number: u64) -> String {
    if number == 1 { "1 log line was".to_owned() } else { format!("{number} log lines were") }
}

/// A line of the log about the log itself.
pub(super) fn warning(words: &str) -> String {
    match journal::prefix(Level::WARN) {
        "" => format!("{}  WARN {words}\n", humantime::format_rfc3339_micros(SystemTime::now())),
        prefix => format!("{prefix}WARN {words}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that the writer would write now.
    fn written(queue: &LineQueue) -> Vec<Line> {
        let mut state = queue.lock();
        std::iter::from_fn(|| state.next(Instant::now())).collect()
    }

    #[test]
    fn lines_come_out_in_order_and_none_is_lost_in_a_burst() {
        let queue = LineQueue::new();
        for number in 0..1000 {
            queue.push(format!("{number} {}\n", "x".repeat(200)).as_bytes());
        }
        let lines = written(&queue);
        assert_eq!(lines.len(), 1000);
        for (number, line) in lines.iter().enumerate() {
            assert!(line.text.starts_with(format!("{number} ").as_bytes()));
        }
        assert_eq!(queue.unwritten().lost, 0);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_takes_lines_again_when_half_of_it_is_written() {
        let queue = LineQueue::new();
        let line = [b'x'; 1000];
        for _ in 0..1000 {
            queue.push(&line);
        }
        let dropped = queue.unwritten().lost;
        assert!((700..800).contains(&dropped), "{dropped}");
        assert!(queue.lock().size <= MAX_SIZE);

        queue.lock().next(Instant::now()).unwrap();
        queue.push(&line);
        assert_eq!(queue.unwritten().lost, dropped + 1, "less than half is written");
        for _ in 0..128 {
            queue.lock().next(Instant::now()).unwrap();
        }
        queue.push(&line);
        assert_eq!(queue.unwritten().lost, dropped + 1);

        let rest = written(&queue);
        let (last, before) = rest.split_last().unwrap();
        assert!(before.iter().all(|line| line.lost_before == 0), "nothing was lost before them");
        assert_eq!(last.lost_before, dropped + 1, "the gap is told where it is");
    }

    #[test]
    fn a_loss_is_reported_even_if_no_line_follows() {
        let queue = LineQueue::new();
        queue.push(&vec![b'x'; 2 * MAX_SIZE]);
        queue.push(b"dropped");
        let lines = written(&queue);
        let lines: Vec<_> = lines.iter().map(|line| (line.text.len(), line.lost_before)).collect();
        assert_eq!(lines, [(2 * MAX_SIZE, 0), (0, 1)]);
        assert!(written(&queue).is_empty(), "and once");
    }

    #[test]
    fn callers_cause_no_more_lines_than_the_rate_and_one_line_counts_the_others() {
        let queue = LineQueue::new();
        let admitted = (0..1000).filter(|_| queue.admits(Level::DEBUG)).count();
        assert!((LINES_A_SECOND..2 * LINES_A_SECOND).contains(&admitted), "{admitted}");
        assert!(queue.admits(Level::WARN), "chatter hides no warning");
        assert!(written(&queue).is_empty());

        queue.lock().tell_limited = Some(Instant::now());
        let told = written(&queue);
        let words = format!(" {} log lines were suppressed: ", 1000 - admitted);
        assert!(String::from_utf8_lossy(&told[0].text).contains(&words), "{told:?}");
        assert_eq!((told.len(), queue.unwritten().lost), (1, 0));
    }
}
