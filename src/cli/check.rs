//! The command `check`: one round of checks, now, without a server.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::output::print;
use super::{Failure, FileArgs, block_on, causes, files, load, select};
use crate::checker::Checker;
use crate::config::Config;
use crate::http::access::AccessLevel;
use crate::http::djblets;
use crate::outcome::{Outcome, Problem, Report, Status, Step};
use crate::telemetry;
use status_tracker::StatusTracker;
use terminal::Terminal;

/// The output of a monitoring plugin.
pub(super) mod nagios;
/// The status of each check, and the time since which it has it.
mod status_tracker;
mod table;
mod terminal;
mod watch;

const AFTER_HELP: &str = "\
Examples:
  cache-canary check -c cache-canary.toml              all caches
  cache-canary check -c cache-canary.toml main         one cache
  cache-canary check -c cache-canary.toml --watch      repeat every 2 s, until Ctrl-C
  cache-canary check -c cache-canary.toml --explain    print each command of each check
  CACHE_URL=redis://cache:6379/0 cache-canary check --format json

Exit codes: 0 all caches are up or degraded; 1 a cache is down (or degraded, with --strict), or output was lost; 2 invalid
arguments or configuration. With --watch, the last round gives the exit code.

With --format nagios: 0 OK; 1 WARNING, a cache is degraded; 2 CRITICAL, a cache is down (or degraded, with --strict);
3 UNKNOWN, nothing was checked, output was lost, or arguments or configuration are invalid.";

/// Check the caches once without a server, or repeatedly with --watch
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CheckArgs {
    /// Caches to check, or single checks such as main.queue [default: all]
    #[arg(value_name = "ALIAS")]
    aliases: Vec<String>,
    #[command(flatten)]
    config: FileArgs,
    /// Output format: a table, the JSON of /health, or the output of a Nagios plugin
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    format: OutputFormat,
    /// Exit with a failure if a cache is degraded
    #[arg(long)]
    strict: bool,
    /// Print each command of each check, with the expected and the received answer
    #[arg(long)]
    explain: bool,
    /// Check repeatedly: a live table on a terminal, else a line per status change (json: a line per round)
    #[arg(short, long, conflicts_with = "explain")]
    watch: bool,
    /// Interval between rounds, with --watch
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch", value_parser = every)]
    every: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Table,
    Json,
    Nagios,
}

/// Parses the value of `--every`.
fn every(typed: &str) -> Result<Duration, String> {
    /// The shortest interval. A shorter one would load the caches without showing more.
    const LEAST: Duration = Duration::from_millis(100);
    let every = humantime::parse_duration(typed).map_err(|error| error.to_string())?;
    if every < LEAST { Err("must be at least 100ms".to_owned()) } else { Ok(every) }
}

/// Checks and prints the results.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let format = args.format;
    checked(args).or_else(|failure| match format {
        OutputFormat::Table | OutputFormat::Json => Err(failure),
        OutputFormat::Nagios => Ok(nagios::say_unknown(&causes(failure.error.as_ref()))),
    })
}

fn checked(args: &CheckArgs) -> Result<ExitCode, Failure> {
    // The output shows each cache's status; the log would repeat it in the middle of a table.
    telemetry::init_at(LevelFilter::ERROR).map_err(Failure::usage)?;
    if args.watch && args.format == OutputFormat::Nagios {
        return Err(Failure::usage(
            "--watch repeats checks, but --format nagios prints one result; remove one of the two options",
        ));
    }
    let mut config = load(args.config.config.clone(), Vec::new())?.config;
    // Every round checks the caches itself: no verdict is cached or shared.
    config.max_age = Duration::ZERO;
    config.fleet = None;
    // If the limit is still too low, each check that it affects reports that.
    files::make_room(&config, 0);
    block_on(async { if args.watch { watched(args, &config).await } else { once(args, &config).await } })
}

async fn once(args: &CheckArgs, config: &Config) -> Result<ExitCode, Failure> {
    let made = if args.explain { Checker::explained(config) } else { Checker::new(config) };
    let checker = made.map_err(Failure::usage)?;
    let selection = select(checker.catalog(), config, &args.aliases)?;
    let report = checker.check(&selection, Instant::now()).await;
    let text = match args.format {
        OutputFormat::Nagios => nagios::answer(&report, args.strict),
        OutputFormat::Json => djblets::body(&report, AccessLevel::Details, Instant::now()),
        OutputFormat::Table => {
            let explained = report.outcomes.iter().map(|outcome| explain(outcome));
            let explained: String = if args.explain { explained.collect() } else { String::new() };
            table(&report) + &explained
        }
    };
    print(text.as_bytes())?;
    Ok(match args.format {
        OutputFormat::Nagios => nagios::exit_code(report.status(), args.strict),
        OutputFormat::Table | OutputFormat::Json => exit_code(report.status(), args.strict),
    })
}

async fn watched(args: &CheckArgs, config: &Config) -> Result<ExitCode, Failure> {
    let checker = Checker::new(config).map_err(Failure::usage)?;
    let selection = select(checker.catalog(), config, &args.aliases)?;
    let json = args.format == OutputFormat::Json;
    let last = watch::watch(&checker, &selection, args.every, json).await?;
    let Some(last) = last else { return Err(Failure::other("stopped before the first round had finished")) };
    Ok(exit_code(last.status(), args.strict))
}

fn exit_code(status: Status, strict: bool) -> ExitCode {
    match status {
        Status::Skipped | Status::Up => ExitCode::SUCCESS,
        Status::Degraded if !strict => ExitCode::SUCCESS,
        Status::Degraded | Status::Down => ExitCode::FAILURE,
    }
}

/// The report as a table, for a terminal or for a pipe.
fn table(report: &Report) -> String {
    match Terminal::of(&std::io::stdout()) {
        Some(terminal) => table::for_terminal(report, &StatusTracker::default(), terminal, Instant::now()),
        None => table::for_pipe(report),
    }
}

/// `timed_out at mc-1:11211 in write`
fn in_words(problem: &Problem<'_>) -> String {
    format!("{} {}", problem.cause(), problem.to_string().trim_end_matches('.'))
}

/// The steps of a check: under the name of each node, the command as one would type it, then the expected and the
/// received answer.
fn explain(outcome: &Outcome) -> String {
    let mut text = format!("\n{}: {}\n", outcome.name(), outcome.capitals());
    for Step { node, command, expected, saw } in outcome.steps() {
        let _ = write!(text, "  {node}> {command}\n    expected {expected}; saw {saw}\n");
    }
    for problem in outcome.problems() {
        let _ = writeln!(text, "  {} {problem}", problem.cause());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use tokio::time::Instant;

    use super::{StatusTracker, exit_code};
    use crate::alias::Alias;
    use crate::outcome::{
        Cause, CheckKind, Fault, Needs, NodeOutcome, Outcome, Phase, Phases, Report, SkipReason, Skipped,
        Status,
    };
    use crate::record::Record;

    /// The outcome of an alias that took so many milliseconds.
    pub(super) fn outcome(alias: &str, milliseconds: u64, nodes: Vec<NodeOutcome>) -> Arc<Outcome> {
        let elapsed = Duration::from_millis(milliseconds);
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let (alias, needs) = (Alias::try_from(alias).unwrap(), Needs::default());
        Arc::new(Outcome::plain(alias, CheckKind::RoundTrip, (began, began_at), elapsed, nodes, needs))
    }

    /// The record of an alias that was never checked.
    pub(super) fn record(alias: &str) -> Arc<Record> {
        let alias = Alias::try_from(alias).unwrap();
        Arc::new(Record::new(&alias, CheckKind::RoundTrip, &Arc::default()))
    }

    /// A tracker that has seen only this report.
    pub(super) fn tracker(report: &Report) -> StatusTracker {
        let mut tracker = StatusTracker::default();
        for outcome in &report.outcomes {
            let record = record(outcome.alias.as_str());
            record.note(outcome);
            tracker.take([&record]);
        }
        tracker
    }

    /// A node, and its fault in a write.
    pub(super) fn node(name: &str, fault: Option<(Cause, &str)>) -> NodeOutcome {
        let fault = fault.map(|(cause, said)| Fault::new(cause, Phase::Write, said));
        NodeOutcome::server(name, Phases::default(), fault)
    }

    /// One alias that is up, one with two servers of three down, and one that is skipped.
    pub(super) fn report() -> Report {
        let ring = vec![
            node("mc-1:11211", Some((Cause::TimedOut, ""))),
            node("mc-2:11211", None),
            node("mc-3:11211", Some((Cause::OutOfMemory, "SERVER_ERROR out of memory."))),
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
    fn degraded_is_a_failure_only_when_strict() {
        assert_eq!(exit_code(Status::Degraded, false), ExitCode::SUCCESS);
        assert_eq!(exit_code(Status::Degraded, true), ExitCode::FAILURE);
        assert_eq!(exit_code(Status::Skipped, true), ExitCode::SUCCESS);
    }
}
