//! The properties of redaction.

#![allow(clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use super::Redaction;
use crate::config::{MASK, Secret};

/// A credential, and its place in a text.
const SECRET: &str = "Jq8-Vw3%kX\"n5Tz";
const PLACE: &str = "<secret>";

/// The characters of a credential that may not be shown in a row.
const RUN: usize = 5;

/// Texts of servers that quote a credential, whole or in part. The first byte of the input decides on its spelling.
///
/// Five characters of it in a row are never shown, be they letters alone with anything between. A text without it stays as it is.
pub fn redaction(input: &[u8]) {
    let Some((&spelling, text)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let redaction = Redaction::of_secret(SECRET.into());
    let write = match spelling % 4 {
        0 => |byte: u8| char::from(byte).to_string(),
        1 => |byte| format!("%{byte:02X}"),
        2 => |byte| format!("\\x{byte:02x}"),
        _ => |byte| format!("{byte:02x}"),
    };
    let spelled = SECRET.bytes().map(write).collect::<Vec<_>>().concat();
    let quoting = text.replace(PLACE, &spelled);
    for shown in [
        redaction.text(&quoting).into_owned(),
        redaction.line(&quoting),
        redaction.host(&quoting).into_owned(),
        redaction.greeting(&quoting),
        redaction.bytes(quoting.as_bytes()).into_owned(),
    ] {
        assert!(!shown.contains(&spelled));
        shown.split(MASK).for_each(expect_no_run);
    }
    let other = Redaction::of_secret(Secret::from("\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}"));
    let is_whole = text.len() <= super::MOST_BYTES && !text.contains('\u{1}');
    assert!(!is_whole || other.text(&text) == text, "it has nothing to hide");
}

fn expect_no_run(shown: &str) {
    let lower = |text: &str| text.to_ascii_lowercase().into_bytes();
    let letters = |text: &str| {
        let mut bytes = lower(text);
        bytes.retain(u8::is_ascii_alphanumeric);
        bytes
    };
    for (shown, secret) in [(lower(shown), lower(SECRET)), (letters(shown), letters(SECRET))] {
        let mut runs = secret.windows(RUN);
        assert!(!runs.any(|run| shown.windows(RUN).any(|window| window == run)), "{}", shown.escape_ascii());
    }
}
