//! The spelling of commands and answers for the reader of `check --explain`.

use redis::{Arg, Cmd, Value};

use crate::progress::NodeProgress;
use crate::redaction::{self, Redaction};

/// The most characters of a value that are shown.
const SHOWN: usize = 120;

/// A command of Redis as one would type it. For commands without secrets.
pub(crate) fn command(command: &Cmd) -> String {
    let args = command.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => text(bytes, &Redaction::none()),
        _ => "?".to_owned(),
    });
    args.collect::<Vec<_>>().join(" ")
}

/// An answer of Redis in short, as far as it may be shown.
pub(crate) fn answer(value: &Value, progress: &NodeProgress) -> String {
    const OTHER: &str = "an answer of another type";
    let text = |bytes: &[u8]| progress.value(bytes).map_or_else(|| OTHER.to_owned(), |text| shortened(&text));
    let answer = |value: &Value| answer(value, progress);
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Int(number) => text(number.to_string().as_bytes()),
        Value::Okay => "OK".to_owned(),
        Value::BulkString(bytes) => text(bytes),
        Value::SimpleString(said) | Value::VerbatimString { text: said, .. } => text(said.as_bytes()),
        Value::ServerError(error) => progress.words(&redaction::line(error)),
        Value::Array(elements) | Value::Set(elements) if elements.len() > 4 => {
            format!("{} elements", elements.len())
        }
        Value::Array(elements) | Value::Set(elements) => {
            format!("[{}]", elements.iter().map(answer).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => format!("a map of {} entries", entries.len()),
        Value::Double(number) => text(number.to_string().as_bytes()),
        Value::Boolean(boolean) => boolean.to_string(),
        _ => OTHER.to_owned(),
    }
}

/// Bytes that a server answered with, in short.
pub(crate) fn text(bytes: &[u8], redaction: &Redaction) -> String {
    shortened(&redaction.bytes(bytes))
}

/// A text of bounded length, without control characters.
pub(super) fn shortened(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut shown: String =
        text.chars().take(SHOWN).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
