//! A line for a monitoring system, as Nagios' plugins write it ("Nagios Plugins Development Guidelines", Plugin Output,
//! Plugin Return Codes and Performance data): a service's name and state, a sentence, and after a bar the figures.
//! The text below the line is for the person who opens the alarm.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::super::output::print;
use super::super::print_error;
use super::in_words;
use crate::outcome::{Outcome, Report, Status};
use crate::span::timestamp;

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServiceState {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl ServiceState {
    fn of(status: Status, strict: bool) -> Self {
        match status {
            // A skipped cache was not found healthy either.
            Status::Skipped => Self::Unknown,
            Status::Up => Self::Ok,
            Status::Degraded if strict => Self::Critical,
            Status::Degraded => Self::Warning,
            Status::Down => Self::Critical,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl From<ServiceState> for ExitCode {
    fn from(state: ServiceState) -> Self {
        Self::from(match state {
            ServiceState::Ok => 0,
            ServiceState::Warning => 1,
            ServiceState::Critical => 2,
            ServiceState::Unknown => 3,
        })
    }
}

/// The most problems that the first line names, since it also goes to pagers.
const NAMED: usize = 3;

/// The exit code that goes with [`answer`].
pub(super) fn exit_code(status: Status, strict: bool) -> ExitCode {
    ServiceState::of(status, strict).into()
}

/// The output for a report:
///
/// ```text
/// CACHE CRITICAL - sessions down: timed_out at mc-1:11211 in write | 'main'=0.412ms;;;0 'sessions'=750.000ms;;;0
/// sessions DOWN at least since 2026-11-22T10:51:00Z: timed_out at mc-1:11211 in write. The server did not answer in time: check whether it hangs, is overloaded, or is behind a firewall that drops packets.
/// pages SKIPPED: lives in the application's memory
/// ```
pub(super) fn answer(report: &Report, strict: bool) -> String {
    let state = ServiceState::of(report.status(), strict);
    let mut text = format!("CACHE {} - {}", state.name(), plain(&sentence(report)));
    let times = report.outcomes.iter().map(|outcome| {
        // Quoted, since an alias may have characters that an unquoted label may not have.
        format!("'{}'={:.3}ms;;;0", outcome.entry(), outcome.elapsed.as_secs_f64() * 1e3)
    });
    let times: Vec<_> = times.collect();
    if !times.is_empty() {
        let _ = write!(text, " | {}", times.join(" "));
    }
    text.push('\n');
    for outcome in &report.outcomes {
        // Nothing is known of the time before this check.
        let since = timestamp(outcome.began_at);
        let head = format!("{} {} at least since {since}", outcome.entry(), outcome.capitals());
        for problem in outcome.problems() {
            let said = format!("{head}: {}. {}", in_words(&problem), problem.hint());
            let _ = writeln!(text, "{}", plain(&said));
        }
        if let Some(shortfall) = outcome.shortfall() {
            let _ = writeln!(text, "{}", plain(&format!("{head}: {shortfall}")));
        }
    }
    for skipped in &report.skipped {
        let _ =
            writeln!(text, "{} {}: {}", skipped.alias, Status::Skipped, plain(&skipped.reason.to_string()));
    }
    text
}

/// The worst first: `sessions down: timed_out at mc-1:11211 in write, main degraded: ... and 2 more`, or `3 up`.
fn sentence(report: &Report) -> String {
    let of_status = |status| report.outcomes.iter().filter(move |outcome| outcome.status() == status);
    let wrong: Vec<_> = of_status(Status::Down).chain(of_status(Status::Degraded)).collect();
    if wrong.is_empty() {
        return match report.outcomes.len() {
            0 => "nothing was checked".to_owned(),
            up => format!("{up} up"),
        };
    }
    let named: Vec<_> = wrong.iter().take(NAMED).map(|outcome| in_short(outcome)).collect();
    let more = match wrong.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// `sessions down: timed_out at mc-1:11211 in write`
fn in_short(outcome: &Outcome) -> String {
    let head = format!("{} {}", outcome.entry(), outcome.words());
    match outcome.problem() {
        None => head,
        Some(problem) => format!("{head}: {}", in_words(&problem)),
    }
}

/// Prints that the state of the caches is unknown, and the reason.
pub(in crate::cli) fn say_unknown(why: &str) -> ExitCode {
    let said = format!("CACHE {} - {}\n", ServiceState::Unknown.name(), plain(why.trim_end()));
    if let Err(lost) = print(said.as_bytes()) {
        print_error(&lost);
    }
    ServiceState::Unknown.into()
}

/// The text without bars, since a monitoring system reads performance data after a bar.
fn plain(text: &str) -> String {
    text.replace('|', "/")
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::super::tests::{node, outcome, report};
    use super::{answer, exit_code};
    use crate::outcome::{Cause, Report, Status};
    use crate::span::timestamp;

    #[test]
    fn an_alarm_is_one_line_with_figures_and_then_the_faults() {
        let report = report();
        let since = timestamp(report.outcomes[1].began_at);
        let expected = format!(
            "CACHE CRITICAL - sessions down: timed_out at mc-1:11211 in write \
             | 'main'=1.000ms;;;0 'sessions'=750.000ms;;;0\n\
             sessions DOWN at least since {since}: timed_out at mc-1:11211 in write. {}\n\
             sessions DOWN at least since {since}: out_of_memory at mc-3:11211 in write: SERVER_ERROR out of memory. {}\n\
             pages SKIPPED: lives in the application's memory\n",
            Cause::TimedOut.hint(),
            Cause::OutOfMemory.hint(),
        );
        assert_eq!(answer(&report, false), expected);
    }

    #[test]
    fn a_report_that_is_up_is_one_line_and_one_without_checks_is_unknown() {
        let outcomes = vec![outcome("main", 1, vec![node("cache:6379", None)])];
        let up = Report { outcomes, skipped: Vec::new() };
        assert_eq!(answer(&up, true), "CACHE OK - 1 up | 'main'=1.000ms;;;0\n");
        let none = Report { outcomes: Vec::new(), ..report() };
        let expected =
            "CACHE UNKNOWN - nothing was checked\npages SKIPPED: lives in the application's memory\n";
        assert_eq!(answer(&none, false), expected);
    }

    #[test]
    fn a_bar_in_a_server_s_words_does_not_begin_figures() {
        let nodes = vec![node("cache:6379", Some((Cause::Protocol, "a|b|c")))];
        let report = Report { outcomes: vec![outcome("main", 1, nodes)], skipped: Vec::new() };
        let answer = answer(&report, false);
        assert_eq!(answer.matches('|').count(), 1, "{answer}");
        assert_eq!(answer.matches("a/b/c").count(), 2, "{answer}");
        assert!(answer.lines().next().unwrap().ends_with(" | 'main'=1.000ms;;;0"), "{answer}");
    }

    #[test]
    fn an_alarm_names_a_few_and_counts_the_others() {
        let down = |name| outcome(name, 1, vec![node("cache:6379", Some((Cause::Refused, "")))]);
        let report = Report { outcomes: ["a", "b", "c", "d", "e"].map(down).into(), skipped: Vec::new() };
        let answer = answer(&report, false);
        let (alarm, _) = answer.split_once(" | ").unwrap();
        assert!(alarm.contains("a down: refused at cache:6379 in write, b down: "), "{alarm}");
        assert!(alarm.ends_with(", and 2 more") && !alarm.contains("d down"), "{alarm}");
    }

    #[test]
    fn the_exit_codes_are_those_of_plugins() {
        for (status, strict, code) in [
            (Status::Up, true, 0),
            (Status::Degraded, false, 1),
            (Status::Degraded, true, 2),
            (Status::Down, false, 2),
            (Status::Skipped, false, 3),
        ] {
            assert_eq!(exit_code(status, strict), ExitCode::from(code), "{status} {strict}");
        }
    }
}
