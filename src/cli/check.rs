use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::{Failure, FileArgs, block_on, load, print};
use crate::checker::Checker;
use crate::http::access::View;
use crate::http::djblets;
use crate::outcome::{Outcome, Report, Status, Step};
use crate::telemetry;

const AFTER_HELP: &str = "\
Examples:
  cache-canary check -c cache-canary.toml              every cache
  cache-canary check -c cache-canary.toml main         one of them
  cache-canary check -c cache-canary.toml --explain    what each check does, command by command
  CACHE_URL=redis://cache:6379/0 cache-canary check --format json

Exit codes: 0 if every cache is up, 1 if one is down (with --strict also if one is degraded), 2 if the
arguments or the configuration are not valid.";

/// Check the caches once, now, without a server
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CheckArgs {
    /// The caches to check, or single checks of one, such as main.queue; without any, all
    #[arg(value_name = "ALIAS")]
    aliases: Vec<String>,
    #[command(flatten)]
    config: FileArgs,
    /// How to say it: a table, or the JSON that /health answers
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Take a degraded cache for a failure
    #[arg(long)]
    strict: bool,
    /// Tell what each check did, command by command, what it expected and what came back
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Checks once and prints what it came to.
pub(super) fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    telemetry::init().map_err(Failure::usage)?;
    let config = load(args.config.config, Vec::new())?.config;
    let report = block_on(async {
        let made = if args.explain { Checker::explained(&config) } else { Checker::new(&config) };
        let checker = made.map_err(Failure::usage)?;
        let selection = checker.catalog().select(&args.aliases).map_err(Failure::usage)?;
        Ok(checker.check(&selection, Instant::now()).await)
    })?;
    let text = match args.format {
        Format::Json => djblets::body(&report, View::Details, Instant::now()),
        Format::Table => {
            let explained = report.outcomes.iter().map(|outcome| explain(outcome));
            let explained: String = if args.explain { explained.collect() } else { String::new() };
            table(&report, Style::of_stdout()) + &explained
        }
    };
    print(text.as_bytes());
    Ok(exit_code(report.status(), args.strict))
}

fn exit_code(status: Status, strict: bool) -> ExitCode {
    match status {
        Status::Skipped | Status::Up => ExitCode::SUCCESS,
        Status::Degraded if !strict => ExitCode::SUCCESS,
        Status::Degraded | Status::Down => ExitCode::FAILURE,
    }
}

/// For whom a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A program such as `grep`: everything that belongs together is on one line.
    Pipe,
    /// A person at a terminal: with a head, and the hints on lines of their own.
    Terminal { colour: bool },
}

impl Style {
    fn of_stdout() -> Self {
        if stdout().is_terminal() {
            Self::Terminal { colour: telemetry::colour_is_wanted() }
        } else {
            Self::Pipe
        }
    }
}

/// A line of the table; only that of the head has no status.
struct Row {
    status: Option<Status>,
    cells: [String; 3],
    note: String,
    hint: &'static str,
}

/// Aligned lines: one for each alias without a fault, for each faulty node of the others and where there are too
/// few, and for what is skipped.
fn table(report: &Report, style: Style) -> String {
    let mut rows = rows(report);
    if let Style::Terminal { .. } = style {
        let cells = ["ALIAS", "STATUS", "TIME"].map(str::to_owned);
        rows.insert(0, Row { status: None, cells, note: "WHY".to_owned(), hint: "" });
    }
    let width = |column: usize| rows.iter().map(|row| row.cells[column].len()).max().unwrap_or(0);
    let [aliases, statuses, times] = [0, 1, 2].map(width);
    let indent = aliases + statuses + times + 6;

    let mut table = String::new();
    for Row { status, cells: [alias, status_cell, time], note, hint } in &rows {
        let (colour, plain) = match (style, status) {
            (Style::Terminal { colour: true }, Some(status)) => (colour(*status), "\x1b[0m"),
            (Style::Terminal { .. } | Style::Pipe, _) => ("", ""),
        };
        let line =
            format!("{alias:aliases$}  {colour}{status_cell:statuses$}{plain}  {time:>times$}  {note}");
        let end = match style {
            _ if hint.is_empty() => String::new(),
            Style::Pipe => format!(". {hint}"),
            Style::Terminal { .. } => format!("\n{:indent$}{hint}", ""),
        };
        table.push_str(line.trim_end());
        table.push_str(&end);
        table.push('\n');
    }
    table
}

/// What a check did, step by step: under the name of each node, what it was told as one would type it, then what was
/// expected and what came back.
fn explain(outcome: &Outcome) -> String {
    let mut text = format!("\n{}: {}\n", outcome.name(), outcome.status());
    for Step { node, command, expected, saw } in outcome.steps() {
        let _ = write!(text, "  {node}> {command}\n    expected {expected}; saw {saw}\n");
    }
    for trouble in outcome.troubles() {
        let _ = writeln!(text, "  {} {trouble}", trouble.cause());
    }
    text
}

fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |entry: &str, status: Status, time: &str, note: String, hint| {
        let cells = [entry.to_owned(), status.to_string(), time.to_owned()];
        rows.push(Row { status: Some(status), cells, note, hint });
    };
    for outcome in &report.outcomes {
        let status = outcome.status();
        let time = format!("{:.3} ms", outcome.elapsed.as_secs_f64() * 1e3);
        let entry = outcome.entry();
        if outcome.troubles().next().is_none() {
            row(&entry, status, &time, String::new(), "");
        }
        for trouble in outcome.troubles() {
            let (cause, said) = (trouble.cause(), trouble.to_string());
            row(&entry, status, &time, format!("{cause} {}", said.trim_end_matches('.')), cause.hint());
        }
        if let Some(shortfall) = outcome.shortfall() {
            row(&entry, status, &time, shortfall, "");
        }
    }
    for skipped in &report.skipped {
        row(skipped.alias.as_str(), Status::Skipped, "", skipped.reason.to_string(), "");
    }
    rows
}

/// The escape sequence of a status: green, yellow, red, or faint.
fn colour(status: Status) -> &'static str {
    match status {
        Status::Up => "\x1b[32m",
        Status::Degraded => "\x1b[33m",
        Status::Down => "\x1b[31m",
        Status::Skipped => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::{Style, exit_code, table};
    use crate::alias::Alias;
    use crate::outcome::{
        Cause, Fault, Kind, Needs, NodeOutcome, Outcome, Phase, Phases, Report, SkipReason, Skipped, Status,
    };
    use std::process::ExitCode;
    use tokio::time::Instant;

    fn report() -> Report {
        let node = |name: &str, fault| NodeOutcome::server(name, Phases::default(), fault);
        let fault = |cause, said| Some(Fault::new(cause, Phase::Write, said));
        let outcome = |alias, milliseconds, nodes| {
            let elapsed = Duration::from_millis(milliseconds);
            let (began, began_at) = (Instant::now(), SystemTime::now());
            let (alias, needs) = (Alias::try_from(alias).unwrap(), Needs::default());
            Arc::new(Outcome::plain(alias, Kind::RoundTrip, (began, began_at), elapsed, nodes, needs))
        };
        let ring = vec![
            node("mc-1:11211", fault(Cause::TimedOut, "")),
            node("mc-2:11211", None),
            node("mc-3:11211", fault(Cause::OutOfMemory, "SERVER_ERROR out of memory.")),
        ];
        let reason = SkipReason::LocalMemory;
        Report {
            outcomes: vec![
                outcome("main", 1, vec![node("cache:6379", None)]),
                outcome("sessions", 750, ring),
            ],
            skipped: vec![Skipped { alias: Alias::try_from("pages").unwrap(), reason }],
        }
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
        assert_eq!(table(&report(), Style::Pipe), expected);
    }

    #[test]
    fn a_terminal_gets_a_head_and_hints_on_lines_of_their_own() {
        let expected = format!(
            "ALIAS     STATUS         TIME  WHY\n\
             main      UP         1.000 ms\n\
             sessions  DOWN     750.000 ms  timed_out at mc-1:11211 in write\n\
             {indent}{}\n\
             sessions  DOWN     750.000 ms  out_of_memory at mc-3:11211 in write: SERVER_ERROR out of memory\n\
             {indent}{}\n\
             pages     SKIPPED              lives in the application's memory\n",
            Cause::TimedOut.hint(),
            Cause::OutOfMemory.hint(),
            indent = " ".repeat(31),
        );
        assert_eq!(table(&report(), Style::Terminal { colour: false }), expected);
    }

    #[test]
    fn colour_is_on_the_status_alone() {
        let coloured = table(&report(), Style::Terminal { colour: true });
        assert!(coloured.contains("main      \u{1b}[32mUP     \u{1b}[0m    1.000 ms\n"), "{coloured}");
        assert!(
            coloured.contains("sessions  \u{1b}[31mDOWN   \u{1b}[0m  750.000 ms  timed_out"),
            "{coloured}"
        );
        let plain = coloured.replace("\u{1b}[31m", "").replace("\u{1b}[32m", "").replace("\u{1b}[2m", "");
        assert_eq!(plain.replace("\u{1b}[0m", ""), table(&report(), Style::Terminal { colour: false }));
    }

    #[test]
    fn degraded_is_a_failure_only_when_strict() {
        assert_eq!(exit_code(Status::Degraded, false), ExitCode::SUCCESS);
        assert_eq!(exit_code(Status::Degraded, true), ExitCode::FAILURE);
        assert_eq!(exit_code(Status::Skipped, true), ExitCode::SUCCESS);
    }
}
