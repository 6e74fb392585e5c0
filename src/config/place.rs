//! [`Place`]: the place of a value, so that a [`ConfigProblem`] with it can point there.

use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::alias::Alias;

/// The place of a value.
#[derive(Clone)]
pub(super) enum Place {
    /// In a file, at these bytes.
    File(Arc<Text>, Range<usize>),
    /// In the environment variable of this name.
    Variable(Arc<str>),
    /// In a flag of the command line.
    Flag(&'static str),
}

/// A file's text. It may hold secrets, so it has no `Debug`.
pub(super) struct Text {
    /// The path, as it was given.
    pub(super) path: PathBuf,
    /// The whole text.
    pub(super) content: String,
    /// The bytes that no error may show, in any order. It is set once the text was parsed; no line of a text that cannot
    /// be parsed is shown.
    pub(super) hidden: OnceLock<Vec<Range<usize>>>,
    /// The places of its line ends: each value asks for its line, and there may be a hundred thousand.
    line_ends: Vec<usize>,
}

/// The origin of a value, in a few words: `default`, `cache-canary.toml:12`, `CACHE_CANARY_LISTEN`, `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default: no source sets the value.
    Default,
    /// The name of the host.
    HostName,
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of a file.
    File {
        /// The file's path, as it was given.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Something that is wrong: its place, its nature, and the remedy. The words hold no secret; the text at the place may.
#[derive(Clone)]
pub(super) struct ConfigProblem {
    /// Nothing if it is about no place in particular.
    pub(super) place: Option<Place>,
    pub(super) what: String,
}

impl Place {
    /// A problem with the value at this place. The words of `what` must not repeat a value that may be a secret.
    pub(super) fn problem(&self, what: impl Display) -> ConfigProblem {
        ConfigProblem { place: Some(self.clone()), what: what.to_string() }
    }

    /// The origin, without pointing into the line.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::File(text, span) => {
                Origin::File { path: text.path.clone(), line: text.line_and_column(span.start).0 }
            }
            Self::Variable(name) => Origin::Variable(name.to_string()),
            Self::Flag(flag) => Origin::Flag(flag),
        }
    }

    /// The meaning of a path that was written here: in a file, it is relative to the file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        match self {
            Self::File(text, _) => text.path.parent().unwrap_or(Path::new("")).join(path),
            Self::Variable(_) | Self::Flag(_) => PathBuf::from(path),
        }
    }
}

impl Text {
    pub(super) fn new(path: &Path, content: String) -> Arc<Self> {
        let line_ends = memchr::memchr_iter(b'\n', content.as_bytes()).collect();
        Arc::new(Self { path: path.to_path_buf(), content, hidden: OnceLock::new(), line_ends })
    }

    /// The line and the column of a byte, both from 1; the column counts characters.
    pub(super) fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let byte = self.content.floor_char_boundary(byte);
        let lines_before = self.line_ends.partition_point(|&end| end < byte);
        let line_start = lines_before.checked_sub(1).map_or(0, |last| self.line_ends[last] + 1);
        (lines_before + 1, self.content[line_start..byte].chars().count() + 1)
    }
}

impl ConfigProblem {
    /// A problem that has no place.
    pub(super) fn new(what: impl Display) -> Self {
        Self { place: None, what: what.to_string() }
    }

    /// The same problem, with the cache that it is about.
    #[must_use]
    pub(super) fn about(mut self, alias: &Alias) -> Self {
        self.what = format!("cache `{alias}`: {}", self.what);
        self
    }

    /// The same problem, about something of the target that stands at `target`.
    #[must_use]
    pub(super) fn at_target(self, what: &str, target: &Place) -> Self {
        let setting =
            self.place.filter(|place| place.origin() != target.origin()).map(|place| place.origin());
        let setting = setting.map(|origin| format!(" (the setting is at {origin})")).unwrap_or_default();
        target.problem(format_args!("{what} of this target: {}{setting}", self.what))
    }

    /// The key that sorts problems into the order of the file.
    pub(super) fn order(&self) -> Option<(&Path, usize)> {
        match &self.place {
            Some(Place::File(text, span)) => Some((&text.path, span.start)),
            Some(Place::Variable(_) | Place::Flag(_)) | None => None,
        }
    }
}

/// The prefix of a problem's text.
impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(text, span) => {
                let (line, column) = text.line_and_column(span.start);
                write!(f, "{}:{line}:{column}: ", text.path.display())
            }
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Flag(flag) => write!(f, "{flag}: "),
        }
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::HostName => f.write_str("host name"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::*;

    fn text(lines: usize) -> Arc<Text> {
        Text::new(Path::new("caches.toml"), "é = \"redis://cache\"\n".repeat(lines))
    }

    #[test]
    fn lines_and_columns_begin_at_1_and_columns_count_characters() {
        let text = text(3);
        let line = text.content.len() / 3;
        for (byte, expected) in [
            (0, (1, 1)),
            // In the middle of a character.
            (1, (1, 1)),
            (2, (1, 2)),
            (line - 1, (1, line - 1)),
            (line, (2, 1)),
            (2 * line + 3, (3, 3)),
            (3 * line, (4, 1)),
        ] {
            assert_eq!(text.line_and_column(byte), expected, "byte {byte}");
        }
    }

    #[test]
    fn a_line_of_a_long_text_is_found_about_as_soon_as_one_of_a_short_text() {
        let time = |text: &Text| -> Duration {
            let of_one = || {
                let began = Instant::now();
                for _ in 0..1000 {
                    black_box(text.line_and_column(text.content.len() - 1));
                }
                began.elapsed()
            };
            (0..5).map(|_| of_one()).min().unwrap()
        };
        let (short, long) = (time(&text(20)), time(&text(20_000)));
        assert!(long < short * 50, "{short:?}, and {long:?} in a text a thousand times as long");
    }
}
