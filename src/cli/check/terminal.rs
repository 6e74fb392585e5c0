//! [`Terminal`]: the terminal that `check` writes to, and lines wrapped to its width.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

use crate::telemetry;

/// A terminal that a person reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// `true` if color is wanted.
    pub(super) color: bool,
    /// The number of characters that fit on a line.
    pub(super) columns: usize,
    /// The number of lines that fit.
    pub(super) rows: usize,
}

impl Terminal {
    /// The terminal that `stream` goes to, if it understands escape sequences.
    pub(super) fn of(stream: &(impl IsTerminal + AsFd)) -> Option<Self> {
        let understands = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if !stream.is_terminal() || !understands {
            return None;
        }
        let size = tcgetwinsize(stream).ok();
        // A terminal of unknown size reports 0.
        let known = |length: u16, usual| if length == 0 { usual } else { usize::from(length) };
        Some(Self {
            color: telemetry::color_is_wanted(),
            columns: size.map_or(80, |size| known(size.ws_col, 80)),
            rows: size.map_or(24, |size| known(size.ws_row, 24)),
        })
    }
}

/// The text in lines of at most so many characters. Only a word that is longer than a line is broken.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let (mut line, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() <= width {
            line.push(' ');
            length += 1;
        } else if length > 0 {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        for part in word.chunks(width) {
            if length > 0 && length + part.len() > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            line.extend(part);
            length += part.len();
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn a_text_is_wrapped_between_words_and_within_a_word_only_if_it_must_be() {
        assert_eq!(wrap("one two three", 13), ["one two three"]);
        assert_eq!(wrap("one two three", 12), ["one two", "three"]);
        assert_eq!(wrap("a 0123456789", 4), ["a", "0123", "4567", "89"]);
        assert_eq!(wrap("a 0123456789 b", 8), ["a", "01234567", "89 b"]);
        assert_eq!(wrap("é é é", 3), ["é é", "é"]);
        assert_eq!(wrap("", 8), [""; 0]);
    }
}
