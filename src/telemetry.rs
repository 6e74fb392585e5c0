//! Logs: a line an event, on stderr, for people, with priorities for systemd's journal (`journal.rs`).
//!
//! No line holds up the thread that logs it. It goes through a queue (`queue.rs`) to a thread that writes it (`writer.rs`), and is lost
//! and counted if stderr does not take it.

mod journal;
mod queue;
mod rate;
mod stderr;
mod writer;

use std::io::{self, IsTerminal as _};
use std::panic;

use tracing::level_filters::LevelFilter;

use stderr::Stderr;

pub use queue::Unwritten;
pub(crate) use stderr::unwritten;
pub use stderr::{flush, say};

/// The environment variable that sets the log level.
pub(crate) const LEVEL_VARIABLE: &str = "CACHE_CANARY_LOG";

/// The levels, by the names that [`LEVEL_VARIABLE`] takes.
const LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
];

/// The target of events that callers can cause in any number, such as one for each connection: `warn!(target: CALLERS, "...")`.
/// At most ten of them a second are logged, and one line a second says how many were left out. Events of other crates count
/// among them. Warnings and errors have a limit of their own, so that events of lower levels hide none.
pub const CALLERS: &str = "callers";

/// The error for an unknown level.
#[derive(Debug, thiserror::Error)]
#[error("{LEVEL_VARIABLE} is `{0}`, but must be error, warn, info or debug")]
pub struct UnknownLevel(String);

/// Logs from now on, at the level that the environment names, or `info`. Colored on a terminal, unless `NO_COLOR` is
/// set.
pub fn init() -> Result<(), UnknownLevel> {
    init_at(LevelFilter::INFO)
}

/// The same, with another default level than `info`.
pub(crate) fn init_at(usual: LevelFilter) -> Result<(), UnknownLevel> {
    let level = match std::env::var_os(LEVEL_VARIABLE) {
        None => usual,
        Some(name) => level(name.to_string_lossy().trim())?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Stderr)
        .with_timer(journal::LineTime)
        // It reports errors with `eprintln!`, which panics if stderr cannot be written.
        .log_internal_errors(false)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && color_is_wanted())
        .finish();
    // A program that embeds this crate and has a logger keeps its own.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        keep_panics_from_waiting();
    }
    Ok(())
}

/// Lets a panic write its message only if stderr is read. Otherwise the process would block in the message and neither
/// answer nor end.
fn keep_panics_from_waiting() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if flush() {
            usual(panic);
        }
    }));
}

/// `true` if a terminal should get color (<https://no-color.org>).
#[must_use]
pub(crate) fn color_is_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn level(name: &str) -> Result<LevelFilter, UnknownLevel> {
    let level = LEVELS.into_iter().find(|(known, _)| *known == name);
    level.map(|(_, level)| level).ok_or_else(|| UnknownLevel(name.to_owned()))
}
