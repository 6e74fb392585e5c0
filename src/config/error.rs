//! [`ConfigError`]: every problem, each with the line of the file that it is about.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::MASK;
use super::place::{ConfigProblem, Place, Text};

/// The longest line that is shown, in bytes; in a longer one, such as JSON without newlines, a caret is hard to find.
const MAX_LINE: usize = 200;

/// The reasons for having no valid configuration: every problem that was found, each with its place and the remedy.
///
/// It is the whole message for a person, and holds no secret.
pub struct ConfigError(Vec<ConfigProblem>);

impl ConfigError {
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort_by(|one, other| one.order().cmp(&other.order()));
        Self(problems)
    }
}

impl From<ConfigProblem> for ConfigError {
    fn from(problem: ConfigProblem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, ConfigProblem { place, what }) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            match place {
                Some(place) => write!(f, "{place}{what}")?,
                None => f.write_str(what)?,
            }
            if let Some(Place::File(text, span)) = place {
                f.write_str(&excerpt(text, span))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

/// The line that holds the first of these bytes, up to a hidden part, with carets under them; nothing of a file that
/// cannot be parsed.
fn excerpt(text: &Text, span: &Range<usize>) -> String {
    let Some(hidden) = text.hidden.get() else { return String::new() };
    let start = text.content.floor_char_boundary(span.start);
    let line_start = text.content[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.content[line_start..].lines().next().unwrap_or_default();
    let (visible, is_cut) = visible(line, line_start, hidden);

    let begin = (start - line_start).min(visible.len());
    let end = span.end.saturating_sub(line_start).clamp(begin, visible.len());
    let indent = visible[..begin].chars().count();
    let carets = match visible[begin..visible.floor_char_boundary(end)].chars().count() {
        0 if is_cut => MASK.len(),
        carets => carets.max(1),
    };
    let mut shown: String = visible.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if is_cut {
        shown.push_str(MASK);
    }
    let number = text.line_and_column(start).0.to_string();
    let gutter = " ".repeat(number.len());
    let mut excerpt = String::new();
    let _ = write!(excerpt, "\n{gutter} |\n{number} | {}\n", shown.trim_end());
    let _ = write!(excerpt, "{gutter} | {}{}", " ".repeat(indent), "^".repeat(carets));
    excerpt
}

/// The beginning of a line that may be shown, and `true` if a [`MASK`] stands for the rest. A comment is left out
/// without one: it may hold the old password.
fn visible<'a>(line: &'a str, line_start: usize, hidden: &[Range<usize>]) -> (&'a str, bool) {
    if line.len() > MAX_LINE {
        return ("", true);
    }
    let end = line_start + line.len();
    let on_line = hidden.iter().filter(|range| range.start < end && range.end > line_start);
    let cut = on_line.map(|range| range.start.saturating_sub(line_start)).min();
    // The text that is shown has no `#` in it.
    let comment = line.find('#');
    match cut {
        Some(cut) if comment.is_none_or(|comment| cut <= comment) => (&line[..cut], true),
        Some(_) | None => (line[..comment.unwrap_or(line.len())].trim_end(), false),
    }
}
