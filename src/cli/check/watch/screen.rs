//! [`Screen`]: the alternate screen of a terminal, on which `check --watch` draws its table.

use std::cmp::Reverse;
use std::io::stdout;
use std::time::Duration;

use humantime::format_duration;
use tokio::time::Instant;

use super::super::super::output::{LostOutput, ReaderState, print};
use super::super::status_tracker::StatusTracker;
use super::super::table::for_terminal;
use super::super::terminal::Terminal;
use crate::outcome::Report;
use crate::span::timestamp;

/// Escape sequences for the alternate screen, which leaves the terminal's content as it is, without a cursor and
/// without line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// Escape sequences that undo [`ENTER`].
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal while a table is shown on it. Dropping this restores the terminal.
#[derive(Debug)]
pub(super) struct Screen {
    every: Duration,
}

impl Screen {
    /// Takes over the terminal.
    pub(super) fn enter(every: Duration) -> Result<Self, LostOutput> {
        print(ENTER.as_bytes())?;
        Ok(Self { every })
    }

    /// Draws the last round, with its present age.
    pub(super) fn draw(
        &self,
        last: Option<&Report>,
        tracker: &StatusTracker,
    ) -> Result<ReaderState, LostOutput> {
        let Some(terminal) = Terminal::of(&stdout()) else { return Ok(ReaderState::Reads) };
        let lines = self.lines(last, tracker, terminal);
        // Each line overwrites the old one, and all are sent in one write, since clearing the screen first would flicker.
        print(format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")).as_bytes())
    }

    fn lines(&self, last: Option<&Report>, tracker: &StatusTracker, terminal: Terminal) -> Vec<String> {
        let every = format_duration(self.every);
        let Some(report) = last else {
            return vec![format!(
                "Checking every {every}; the first round is running. Press Ctrl-C to stop."
            )];
        };
        let began_at = report.outcomes.iter().map(|outcome| outcome.began_at).max();
        let at = began_at.map(|at| format!(", last at {}", timestamp(at))).unwrap_or_default();
        // A terminal clears a line from the cursor on, and after a full line the cursor is on its last character.
        let terminal = Terminal { columns: terminal.columns.saturating_sub(1), ..terminal };
        let mut lines = vec![format!("Checking every {every}{at}. Press Ctrl-C to stop."), String::new()];
        let table = |report| for_terminal(report, tracker, terminal, Instant::now());
        lines.extend(table(report).lines().map(str::to_owned));
        if lines.len() <= terminal.rows {
            return lines;
        }
        // Problems must be visible, even if not everything fits.
        let mut worst_first = report.clone();
        worst_first.outcomes.sort_by_key(|outcome| Reverse(outcome.status()));
        lines.truncate(2);
        lines.extend(table(&worst_first).lines().map(str::to_owned));
        let summary = lines.pop().unwrap_or_default();
        let fitting = terminal.rows.saturating_sub(2);
        let hidden = lines.len().saturating_sub(fitting);
        lines.truncate(fitting);
        lines.push(format!("({hidden} more lines: select caches by name, or enlarge the window)"));
        lines.push(summary);
        lines
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone has no screen to restore.
        let _ = print(LEAVE.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::time::Duration;

    use super::Screen;
    use crate::cli::check::terminal::Terminal;
    use crate::cli::check::tests::{node, outcome, tracker};
    use crate::outcome::{Cause, Report};

    /// A screen that nothing is drawn on. Dropped, it would write to the test's output.
    fn screen() -> ManuallyDrop<Screen> {
        ManuallyDrop::new(Screen { every: Duration::from_secs(2) })
    }

    #[test]
    fn no_line_reaches_the_edge_because_its_last_character_would_be_cleared() {
        let outcomes = vec![outcome("main", 1, vec![node("cache:6379", Some((Cause::Masked, "")))])];
        let report = Report { outcomes, skipped: Vec::new() };
        let tracker = tracker(&report);
        let screen = screen();
        for columns in 40..120 {
            let terminal = Terminal { color: false, columns, rows: 40 };
            let lines = screen.lines(Some(&report), &tracker, terminal);
            let table = &lines[1..];
            assert!(table.iter().all(|line| line.chars().count() < columns), "{columns}: {lines:#?}");
        }
    }

    #[test]
    fn faults_come_first_if_not_everything_fits() {
        let up = |name| outcome(name, 1, vec![node("cache:6379", None)]);
        let down = outcome("z", 1, vec![node("cache:6379", Some((Cause::Refused, "")))]);
        let outcomes = ["a", "b", "c", "d", "e"].into_iter().map(up).chain([down]).collect();
        let report = Report { outcomes, skipped: Vec::new() };
        let tracker = tracker(&report);
        let screen = screen();
        let lines = |rows| {
            let terminal = Terminal { color: false, columns: 200, rows };
            screen.lines(Some(&report), &tracker, terminal)
        };
        let all = lines(13);
        assert_eq!(all.len(), 13, "{all:#?}");
        assert!(all[3].starts_with("a ") && all[8].starts_with("z "), "{all:#?}");
        let some = lines(9);
        assert_eq!(some.len(), 9, "{some:#?}");
        assert!(some[3].starts_with("z ") && some[6].starts_with("a "), "{some:#?}");
        assert!(some[7].starts_with("(5 more lines"), "{some:#?}");
        assert!(some[8].starts_with("DOWN  5 up, 1 down; checked "), "{some:#?}");
    }
}
