use std::convert::Infallible;
use std::io::{Write as _, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::terminal::{Terminal, cut};
use crate::catalog::Selection;
use crate::checker::Checker;
use crate::outcome::Report;

/// A round that is over by then is not announced.
const PATIENCE: Duration = Duration::from_millis(100);

const TURN: Duration = Duration::from_millis(80);

/// Letters that every terminal and every locale has.
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// One round. A person who waits for it before a terminal is told for which caches.
pub(super) async fn round(checker: &Checker, selection: &Selection) -> Arc<Report> {
    let arrived = Instant::now();
    // Where only one of the two is a terminal, the line would stand in a log, or beside what is piped on.
    if Terminal::of(&stdout()).is_none() || Terminal::of(&stderr()).is_none() {
        return checker.check(selection, arrived).await;
    }
    let mut line = Line::default();
    let report = tokio::select! {
        report = checker.check(selection, arrived) => report,
        never = spin(checker, selection, &mut line) => match never {},
    };
    line.clear();
    report
}

async fn spin(checker: &Checker, selection: &Selection, line: &mut Line) -> Infallible {
    let began = Instant::now();
    time::sleep(PATIENCE).await;
    for frame in FRAMES.into_iter().cycle() {
        // In the first round, what has no verdict yet never had one.
        let awaited = checker.records(selection).filter(|record| record.latest().is_none());
        let awaited: Vec<_> = awaited.map(|record| record.kind().entry(record.alias())).collect();
        line.show(&words(&awaited, selection.checks.len(), frame, began.elapsed()));
        time::sleep(TURN).await;
    }
    // The frames have no end.
    std::future::pending().await
}

/// `/ 3 of 5 checked after 0.4 s, waiting for sessions, main.queue`
fn words(awaited: &[String], all: usize, frame: char, waited: Duration) -> String {
    let checked = all - awaited.len();
    let (waited, names) = (waited.as_secs_f64(), awaited.join(", "));
    format!("{frame} {checked} of {all} checked after {waited:.1} s, waiting for {names}")
}

/// The line of stderr on which the cursor stands.
#[derive(Default)]
struct Line {
    shown: bool,
}

impl Line {
    fn show(&mut self, text: &str) {
        // One that is too long would go on on a second line, which nobody clears.
        let columns = Terminal::of(&stderr()).map_or(80, |terminal| terminal.columns);
        write(&format!("\r{}\x1b[K", cut(text, columns.saturating_sub(1))));
        self.shown = true;
    }

    fn clear(self) {
        if self.shown {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    // Where it cannot be said that one waits, one waits all the same.
    let _ = stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::words;
    use std::time::Duration;

    #[test]
    fn the_line_says_for_how_many_caches_it_waits_and_for_which() {
        let awaited = ["sessions".to_owned(), "main.queue".to_owned()];
        let line = words(&awaited, 5, '/', Duration::from_millis(420));
        assert_eq!(line, "/ 3 of 5 checked after 0.4 s, waiting for sessions, main.queue");
    }
}
