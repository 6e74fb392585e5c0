//! How commands and answers are written for the person who asks what a check did.

use redis::{Arg, Cmd, Value};

/// The most characters of a value that are shown.
const SHOWN: usize = 120;

/// A command of Redis as one would type it. For commands without secrets.
pub(crate) fn command(command: &Cmd) -> String {
    let args = command.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => text(bytes),
        _ => "?".to_owned(),
    });
    args.collect::<Vec<_>>().join(" ")
}

/// An answer of Redis in short.
pub(crate) fn answer(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Okay => "OK".to_owned(),
        Value::BulkString(bytes) => text(bytes),
        Value::SimpleString(said) | Value::VerbatimString { text: said, .. } => text(said.as_bytes()),
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        Value::Array(elements) | Value::Set(elements) if elements.len() > 4 => {
            format!("{} elements", elements.len())
        }
        Value::Array(elements) | Value::Set(elements) => {
            format!("[{}]", elements.iter().map(answer).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => format!("a map of {} entries", entries.len()),
        Value::Double(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        _ => "another kind of answer".to_owned(),
    }
}

/// Bytes as text of bounded length, without control characters.
pub(crate) fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String =
        text.chars().take(SHOWN).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
