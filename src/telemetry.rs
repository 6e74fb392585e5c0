//! Logs: a line an event, on stderr, for people.

use std::io::{IsTerminal as _, stderr};

use tracing::level_filters::LevelFilter;

/// The variable of the environment that says from which level on events are logged.
pub const LEVEL_VARIABLE: &str = "CACHE_CANARY_LOG";

/// The levels, by the names that [`LEVEL_VARIABLE`] takes.
const LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
];

/// A level that is not one.
#[derive(Debug, thiserror::Error)]
#[error("{LEVEL_VARIABLE} is `{0}`, and must be error, warn, info or debug")]
pub struct UnknownLevel(String);

/// Logs from now on, at the level that the environment names, or `info`. Coloured on a terminal, unless
/// `NO_COLOR` is set.
pub fn init() -> Result<(), UnknownLevel> {
    init_at(LevelFilter::INFO)
}

/// The same, with another level than `info` where the environment names none.
pub fn init_at(usual: LevelFilter) -> Result<(), UnknownLevel> {
    let level = match std::env::var_os(LEVEL_VARIABLE) {
        None => usual,
        Some(name) => level(&name.to_string_lossy())?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(stderr().is_terminal() && colour_is_wanted())
        .finish();
    // Whoever embeds this and logs already keeps its own way of doing so.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Whether the person at the terminal wants colour (<https://no-color.org>).
#[must_use]
pub fn colour_is_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn level(name: &str) -> Result<LevelFilter, UnknownLevel> {
    let level = LEVELS.into_iter().find(|(known, _)| *known == name);
    level.map(|(_, level)| level).ok_or_else(|| UnknownLevel(name.to_owned()))
}
