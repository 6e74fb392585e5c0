//! The table of `check`: one line per alias, for a person or for `grep`.

use std::fmt::Write as _;
use std::iter;
use std::time::SystemTime;

use tokio::time::Instant;

use super::in_words;
use super::status_tracker::StatusTracker;
use super::terminal::{Terminal, wrap};
use crate::outcome::{Outcome, Report, Status};
use crate::span::{rough, timestamp};

/// The least width for notes beside the cells; with less, they stand below.
const LEAST_BESIDE: usize = 32;

/// The indentation of notes below the cells.
const BELOW: usize = 4;

/// The row of one check, or of one skipped alias.
struct Row {
    entry: String,
    status: Status,
    time: String,
    notes: Vec<Note>,
}

/// A problem with its hint and the command to run next, or the reason for which an alias is skipped.
struct Note {
    said: String,
    hint: &'static str,
    next: Option<String>,
}

/// Aligned lines for a program such as `grep`: one for each check without a fault, one for each problem of the others,
/// and one for each skipped alias.
pub(super) fn for_pipe(report: &Report) -> String {
    let rows = rows(report);
    let [entries, statuses, times] = widths(&rows, [0; 3]);
    let mut table = String::new();
    for Row { entry, status, time, notes } in &rows {
        let cells = format!("{entry:entries$}  {status:statuses$}  {time:>times$}");
        if notes.is_empty() {
            let _ = writeln!(table, "{cells}");
        }
        for Note { said, hint, next: _ } in notes {
            let stop = if hint.is_empty() { "" } else { ". " };
            let _ = writeln!(table, "{cells}  {said}{stop}{hint}");
        }
    }
    table
}

/// Lines for a person at a terminal: a header, the problems beside the cells or below them, each hint once, and at the
/// end a summary with its age at `now`.
pub(super) fn for_terminal(
    report: &Report,
    tracker: &StatusTracker,
    terminal: Terminal,
    now: Instant,
) -> String {
    let rows = rows(report);
    let [entries, statuses, times] = widths(&rows, ["ALIAS", "STATUS", "TIME"].map(str::len));
    let today = SystemTime::now();
    let sinces = rows.iter().map(|row| tracker.since(&row.entry).map(|since| clock(since, today)));
    let sinces: Vec<String> = sinces.map(Option::unwrap_or_default).collect();
    let widest = sinces.iter().map(String::len).chain(["SINCE UTC".len()]).max().unwrap_or_default();
    // The column, with the gap before it.
    let column = |since: &str| if tracker.is_empty() { String::new() } else { format!("  {since:widest$}") };

    let indent = entries + statuses + times + column("").len() + 6;
    let beside = indent + LEAST_BESIDE <= terminal.columns;
    let indent = if beside { indent } else { BELOW };

    let head = format!("{:entries$}  {:statuses$}  {:>times$}", "ALIAS", "STATUS", "TIME");
    let why = if beside { "WHY" } else { "" };
    let mut table = format!("{head}{}  {why}", column("SINCE UTC")).trim_end().to_owned();
    table.push('\n');
    for (Row { entry, status, time, notes }, since) in rows.iter().zip(&sinces) {
        let (on, off) = color(*status, terminal);
        let since = column(since);
        let mut line = format!("{entry:entries$}  {on}{status:statuses$}{off}  {time:>times$}{since}");
        let mut texts = texts(notes, terminal.columns.saturating_sub(indent));
        if beside && let Some(first) = texts.next() {
            let _ = write!(line, "  {first}");
        }
        for line in iter::once(line).chain(texts.map(|text| format!("{:indent$}{text}", ""))) {
            let _ = writeln!(table, "{}", line.trim_end());
        }
    }
    let (on, off) = color(report.status(), terminal);
    let _ = writeln!(table, "\n{on}{}{off}  {}", report.status(), summary(report, now));
    table
}

/// The text of the notes, wrapped to `columns`. A hint comes, indented, after the last of consecutive notes that share it,
/// and then that note's command.
fn texts(notes: &[Note], columns: usize) -> impl Iterator<Item = String> {
    const MOVED_IN: usize = 2;
    let nexts = notes.iter().skip(1).map(Some).chain([None]);
    notes.iter().zip(nexts).flat_map(move |(note, next)| {
        let last = next.is_none_or(|next| next.hint != note.hint);
        let command = note.next.iter().map(|command| format!("next: {command}"));
        let below = iter::once(note.hint.to_owned()).chain(command).filter(move |_| last);
        let below = below.flat_map(move |text| wrap(&text, columns.saturating_sub(MOVED_IN)));
        wrap(&note.said, columns).into_iter().chain(below.map(|line| format!("{:MOVED_IN$}{line}", "")))
    })
}

/// `2 up, 1 down, 1 skipped; checked 751 ms ago`
fn summary(report: &Report, now: Instant) -> String {
    let count = |status| {
        let checked = report.outcomes.iter().filter(|outcome| outcome.status() == status).count();
        if status == Status::Skipped { checked + report.skipped.len() } else { checked }
    };
    let statuses = [Status::Up, Status::Degraded, Status::Down, Status::Skipped];
    let counts = statuses.into_iter().map(|status| (count(status), status.word()));
    let counts: Vec<_> =
        counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let counts = counts.join(", ");
    match report.outcomes.iter().map(|outcome| outcome.began).min() {
        None => counts,
        Some(began) => format!("{counts}; checked {} ago", rough(now - began)),
    }
}

/// A time in UTC: `19:34:27`, or `11-21 19:34` if it was not today.
fn clock(time: SystemTime, today: SystemTime) -> String {
    let (time, today) = (timestamp(time), timestamp(today));
    let (date, day) = (time.get(5..10).unwrap_or_default(), today.get(5..10).unwrap_or_default());
    if date == day {
        time.get(11..19).unwrap_or_default().to_owned()
    } else {
        format!("{date} {}", time.get(11..16).unwrap_or_default())
    }
}

fn rows(report: &Report) -> Vec<Row> {
    let checked = report.outcomes.iter().map(|outcome| Row {
        entry: outcome.entry(),
        status: outcome.status(),
        time: format!("{:.3} ms", outcome.elapsed.as_secs_f64() * 1e3),
        notes: notes(outcome),
    });
    let skipped = report.skipped.iter().map(|skipped| Row {
        entry: skipped.alias.to_string(),
        status: Status::Skipped,
        time: String::new(),
        notes: vec![Note { said: skipped.reason.to_string(), hint: "", next: None }],
    });
    checked.chain(skipped).collect()
}

fn notes(outcome: &Outcome) -> Vec<Note> {
    let problems = outcome.problems().map(|problem| Note {
        said: in_words(&problem),
        hint: problem.hint(),
        next: problem.next_step(),
    });
    let said = |said| Note { said, hint: "", next: None };
    let remark = outcome.not_required().map(str::to_owned);
    remark.map(said).into_iter().chain(problems).chain(outcome.shortfall().map(said)).collect()
}

/// The widths of the cells, no less than `least`.
fn widths(rows: &[Row], least: [usize; 3]) -> [usize; 3] {
    rows.iter().fold(least, |[entries, statuses, times], row| {
        let status = row.status.as_str();
        [entries.max(row.entry.len()), statuses.max(status.len()), times.max(row.time.len())]
    })
}

/// The escape sequences around a status: green, yellow, red, or faint, if color is wanted.
fn color(status: Status, terminal: Terminal) -> (&'static str, &'static str) {
    if !terminal.color {
        return ("", "");
    }
    let on = match status {
        Status::Up => "\x1b[32m",
        Status::Degraded => "\x1b[33m",
        Status::Down => "\x1b[31m",
        Status::Skipped => "\x1b[2m",
    };
    (on, "\x1b[0m")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::tests::{node, outcome, report, tracker};
    use super::{StatusTracker, clock, for_pipe, for_terminal};
    use crate::cli::check::terminal::Terminal;
    use crate::outcome::{Cause, Report};

    const PLAIN: Terminal = Terminal { color: false, columns: 80, rows: 24 };

    /// The table of a report whose verdicts are 751 ms old.
    fn at_terminal(report: &Report, tracker: &StatusTracker, terminal: Terminal) -> String {
        let now = report.outcomes[0].began + Duration::from_millis(751);
        for_terminal(report, tracker, terminal, now)
    }

    #[test]
    fn a_pipe_gets_a_line_for_each_faulty_node_with_its_hint() {
        let expected = format!(
            "main      UP         1.000 ms\n\
             sessions  DOWN     750.000 ms  timed_out at mc-1:11211 in write. {}\n\
             sessions  DOWN     750.000 ms  out_of_memory at mc-3:11211 in write: SERVER_ERROR out of memory. {}\n\
             pages     SKIPPED              lives in the application's memory\n",
            Cause::TimedOut.hint(),
            Cause::OutOfMemory.hint(),
        );
        assert_eq!(for_pipe(&report()), expected);
    }

    #[test]
    fn a_terminal_gets_a_head_wrapped_hints_and_a_summary() {
        let expected = "\
ALIAS     STATUS         TIME  WHY
main      UP         1.000 ms
sessions  DOWN     750.000 ms  timed_out at mc-1:11211 in write
                                 The server did not answer in time: check
                                 whether it hangs, is overloaded, or is behind a
                                 firewall that drops packets.
                                 next: timeout 5 redis-cli -h mc-1 -p 11211
                                 SLOWLOG GET 5
                               out_of_memory at mc-3:11211 in write:
                               SERVER_ERROR out of memory
                                 The server is out of memory and cannot evict:
                                 raise its memory limit, or allow eviction.
                                 next: redis-cli -h mc-3 -p 11211 INFO memory
pages     SKIPPED              lives in the application's memory

DOWN  1 up, 1 down, 1 skipped; checked 751 ms ago
";
        assert_eq!(at_terminal(&report(), &StatusTracker::default(), PLAIN), expected);
    }

    #[test]
    fn a_narrow_terminal_has_the_reasons_below_the_cells() {
        let expected = "\
ALIAS     STATUS         TIME
main      UP         1.000 ms
sessions  DOWN     750.000 ms
    timed_out at mc-1:11211 in write
      The server did not answer in time: check
      whether it hangs, is overloaded, or is behind a
      firewall that drops packets.
      next: timeout 5 redis-cli -h mc-1 -p 11211
      SLOWLOG GET 5
    out_of_memory at mc-3:11211 in write:
    SERVER_ERROR out of memory
      The server is out of memory and cannot evict:
      raise its memory limit, or allow eviction.
      next: redis-cli -h mc-3 -p 11211 INFO memory
pages     SKIPPED
    lives in the application's memory

DOWN  1 up, 1 down, 1 skipped; checked 751 ms ago
";
        let narrow = Terminal { columns: 53, ..PLAIN };
        assert_eq!(at_terminal(&report(), &StatusTracker::default(), narrow), expected);
    }

    #[test]
    fn a_hint_is_printed_once_for_nodes_with_the_same_fault() {
        let ring = ["one", "two"].map(|name| node(name, Some((Cause::TimedOut, ""))));
        let report = Report { outcomes: vec![outcome("main", 750, ring.into())], skipped: Vec::new() };
        let wide = Terminal { columns: 200, ..PLAIN };
        let table = at_terminal(&report, &StatusTracker::default(), wide);
        let expected = format!(
            "main   DOWN    750.000 ms  timed_out at one in write\n{indent}timed_out at two in write\n{indent}  {}\n",
            Cause::TimedOut.hint(),
            indent = " ".repeat(27),
        );
        assert!(table.contains(&expected), "{table}");
    }

    #[test]
    fn a_watch_shows_the_start_of_each_status() {
        let report = report();
        let table = at_terminal(&report, &tracker(&report), Terminal { columns: 200, ..PLAIN });
        let lines: Vec<_> = table.lines().collect();
        let since = clock(report.outcomes[0].began_at, SystemTime::now());
        assert_eq!(lines[0], "ALIAS     STATUS         TIME  SINCE UTC  WHY");
        assert_eq!(lines[1], format!("main      UP         1.000 ms  {since}"));
        let sessions = format!("sessions  DOWN     750.000 ms  {since}   timed_out at ");
        assert!(lines[2].starts_with(&sessions), "{table}");
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(clock(at(3600), at(7200)), "01:00:00");
        assert_eq!(clock(at(3600), at(90_000)), "01-01 01:00");
    }

    #[test]
    fn only_the_status_has_a_color() {
        let colored = at_terminal(&report(), &StatusTracker::default(), Terminal { color: true, ..PLAIN });
        assert!(colored.contains("main      \u{1b}[32mUP     \u{1b}[0m    1.000 ms\n"), "{colored}");
        assert!(colored.contains("sessions  \u{1b}[31mDOWN   \u{1b}[0m  750.000 ms  timed_out"), "{colored}");
        assert!(colored.contains("\n\u{1b}[31mDOWN\u{1b}[0m  1 up, 1 down"), "{colored}");
        let plain = colored.replace("\u{1b}[31m", "").replace("\u{1b}[32m", "").replace("\u{1b}[2m", "");
        assert_eq!(plain.replace("\u{1b}[0m", ""), at_terminal(&report(), &StatusTracker::default(), PLAIN));
    }
}
