//! `check --watch`: one round after the other, on a screen or as lines.

use std::io::stdout;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{self, Instant, MissedTickBehavior};

use super::super::Failure;
use super::super::output::{LostOutput, ReaderState, print};
use super::in_words;
use super::status_tracker::{StatusChange, StatusTracker};
use super::table::for_terminal;
use super::terminal::Terminal;
use crate::catalog::Selection;
use crate::checker::Checker;
use crate::http::access::AccessLevel;
use crate::http::djblets;
use crate::outcome::{Report, Status};
use crate::span::{rough, timestamp};
use screen::Screen;

/// A table that is redrawn in place.
mod screen;

/// The interval at which the age on the screen is updated, also during a slow round.
const REDRAW: Duration = Duration::from_secs(1);

/// Checks until SIGINT or SIGTERM comes, or until the reader of the output is gone. Returns the last round, if there
/// was one.
pub(super) async fn watch(
    checker: &Checker,
    selection: &Selection,
    every: Duration,
    json: bool,
) -> Result<Option<Arc<Report>>, Failure> {
    let on = |kind| signal(kind).map_err(Failure::other);
    let mut interrupted = on(SignalKind::interrupt())?;
    let mut terminated = on(SignalKind::terminate())?;
    let mut resized = on(SignalKind::window_change())?;
    let mut redraw = time::interval(REDRAW);
    let mut ticks = time::interval(every);
    // A slow round is followed by a pause, not by the rounds that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = pin!(stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        Some((checker.check(selection, Instant::now()).await, ticks))
    }));

    let display = Display::choose(json, every)?;
    let mut tracker = StatusTracker::default();
    let mut last = None;
    loop {
        let shown = tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            Some(report) = rounds.next() => {
                let changes = tracker.take(checker.records(selection));
                let shown = display.show_round(&report, &changes, &tracker, last.is_none());
                last = Some(report);
                shown
            }
            _ = redraw.tick() => display.redraw(last.as_deref(), &tracker),
            _ = resized.recv() => display.redraw(last.as_deref(), &tracker),
        };
        if shown? == ReaderState::Gone {
            break;
        }
    }
    display.end(last.as_deref(), &tracker)?;
    Ok(last)
}

/// The display of rounds.
enum Display {
    /// The last round as a table, on a terminal.
    Screen(Screen),
    /// One line per change.
    Changes,
    /// One line per round.
    Json,
}

impl Display {
    fn choose(json: bool, every: Duration) -> Result<Self, LostOutput> {
        match Terminal::of(&stdout()) {
            _ if json => Ok(Self::Json),
            Some(_) => Screen::enter(every).map(Self::Screen),
            None => Ok(Self::Changes),
        }
    }

    fn show_round(
        &self,
        report: &Report,
        changes: &[StatusChange],
        tracker: &StatusTracker,
        first: bool,
    ) -> Result<ReaderState, LostOutput> {
        match self {
            Self::Screen(_) => self.redraw(Some(report), tracker),
            Self::Changes => {
                let mut lines: String = changes.iter().map(line).collect();
                if first {
                    lines.extend(skips(report));
                }
                print(lines.as_bytes())
            }
            Self::Json => print(djblets::body(report, AccessLevel::Details, Instant::now()).as_bytes()),
        }
    }

    /// Redraws the screen, if there is one.
    fn redraw(&self, last: Option<&Report>, tracker: &StatusTracker) -> Result<ReaderState, LostOutput> {
        match self {
            Self::Screen(screen) => screen.draw(last, tracker),
            Self::Changes | Self::Json => Ok(ReaderState::Reads),
        }
    }

    /// Restores the screen, and leaves the last table on it.
    fn end(self, last: Option<&Report>, tracker: &StatusTracker) -> Result<ReaderState, LostOutput> {
        match self {
            Self::Screen(screen) => {
                drop(screen);
                let (Some(report), Some(terminal)) = (last, Terminal::of(&stdout())) else {
                    return Ok(ReaderState::Reads);
                };
                print(for_terminal(report, tracker, terminal, Instant::now()).as_bytes())
            }
            Self::Changes | Self::Json => Ok(ReaderState::Reads),
        }
    }
}

/// `2026-11-22T19:34:27Z  main  DOWN  was UP for at least 12s; masked at cache:6379 in read. Writes are acknowledged ...`
fn line(change: &StatusChange) -> String {
    let StatusChange { outcome, before } = change;
    let before = before.as_ref().map(|before| {
        let stood = match before.lasted {
            Duration::ZERO => String::new(),
            stood => format!(" for at least {}", rough(stood)),
        };
        let reasons = before.reasons(rough).map(|reasons| format!(" ({reasons})")).unwrap_or_default();
        format!("was {}{stood}{reasons}", before.status)
    });
    let problem = outcome.problem().map(|problem| {
        let more = match outcome.problems().count() {
            0 | 1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        format!("{}{more}. {}", in_words(&problem), problem.hint())
    });
    let notes: Vec<_> = before.into_iter().chain(problem).collect();
    let line = format!(
        "{}  {}  {}  {}",
        timestamp(outcome.began_at),
        outcome.entry(),
        outcome.capitals(),
        notes.join("; ")
    );
    format!("{}\n", line.trim_end())
}

/// The same lines for skipped aliases, which never change.
fn skips(report: &Report) -> impl Iterator<Item = String> {
    let now = timestamp(SystemTime::now());
    let skipped = report.skipped.iter();
    skipped.map(move |skipped| format!("{now}  {}  {}  {}\n", skipped.alias, Status::Skipped, skipped.reason))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::status_tracker::StatusChange;
    use super::super::tests::{node, outcome};
    use super::line;
    use crate::outcome::{Cause, Status};
    use crate::record::Past;

    #[test]
    fn a_change_is_a_line_with_the_previous_status_and_the_cause() {
        let masked = vec![node("one", Some((Cause::Masked, ""))), node("two", Some((Cause::Masked, "")))];
        let outcome = outcome("main", 1, masked);
        let before = Some(Past {
            status: Status::Up,
            causes: Vec::new(),
            lasted: Duration::from_millis(62_345),
            last_seen: outcome.began_at,
            is_first: false,
        });
        let line = line(&StatusChange { outcome, before });
        let (_, words) = line.split_once("Z  ").unwrap();
        let expected = format!(
            "main  DOWN  was UP for at least 1m 2s; masked at one in write (and 1 more). {}\n",
            Cause::Masked.hint()
        );
        assert_eq!(words, expected);
    }

    #[test]
    fn an_alias_that_is_up_at_first_is_a_line_without_details() {
        let outcome = outcome("main", 1, vec![node("one", None)]);
        let line = line(&StatusChange { outcome, before: None });
        assert!(line.ends_with("Z  main  UP\n"), "{line}");
    }
}
