//! [`Place`]: where a value was written, so that a [`ConfigProblem`] with it can point there.

use std::fmt::{self, Display, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MASK, excerpt};
use crate::alias::Alias;

/// Where a value was written.
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
    /// The language it is written in.
    pub(super) format: FileFormat,
}

/// The language of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    Toml,
    Json,
}

/// Where a value comes from, in a few words: `default`, `cache-canary.toml:12`, `CACHE_CANARY_LISTEN`,
/// `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything else.
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

/// Something that is wrong, as it is told to a person: where, what, and what to do. It holds no secret.
///
/// It holds no text of a file either, beyond the line that may be shown.
pub(super) struct ConfigProblem {
    /// Where, in words; nothing if it is about no place in particular.
    place: String,
    what: String,
    /// The source line with a caret, or nothing.
    excerpt: String,
    /// For putting problems into the order of the file.
    order: (PathBuf, usize),
}

impl Place {
    /// A problem with what was written here. The words of `what` must not repeat a value that may be a
    /// secret.
    pub(super) fn problem(&self, what: impl Display) -> ConfigProblem {
        let mut problem = ConfigProblem::new(what);
        match self {
            Self::File(text, span) => {
                let (line, column) = text.line_and_column(span.start);
                problem.place = format!("{}:{line}:{column}: ", text.path.display());
                problem.excerpt = text.excerpt(span);
                problem.order = (text.path.clone(), span.start);
            }
            Self::Variable(name) => problem.place = format!("{name}: "),
            Self::Flag(flag) => problem.place = format!("{flag}: "),
        }
        problem
    }

    /// Where this is, without pointing into the line.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::File(text, span) => {
                Origin::File { path: text.path.clone(), line: text.line_and_column(span.start).0 }
            }
            Self::Variable(name) => Origin::Variable(name.to_string()),
            Self::Flag(flag) => Origin::Flag(flag),
        }
    }

    /// What a path that was written here means: in a file, it is relative to the file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        match self {
            Self::File(text, _) => text.path.parent().unwrap_or(Path::new("")).join(path),
            Self::Variable(_) | Self::Flag(_) => PathBuf::from(path),
        }
    }
}

impl Text {
    /// The line and the column of a byte, both from 1; the column counts characters.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.content[..self.content.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The line that holds the first of these bytes, as far as it may be shown, with a caret under them.
    fn excerpt(&self, span: &Range<usize>) -> String {
        let start = self.content.floor_char_boundary(span.start);
        let line_start = self.content[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.content[line_start..].lines().next().unwrap_or_default();
        let shown = excerpt::shown(&self.content[..line_start], line, self.format);

        let visible = &line[..shown.visible];
        let begin = (start - line_start).min(visible.len());
        let end = span.end.saturating_sub(line_start).clamp(begin, visible.len());
        let end = line.floor_char_boundary(end);
        let indent = visible[..begin].chars().count();
        let carets = match visible[begin..end].chars().count() {
            0 if shown.hidden => MASK.len(),
            carets => carets.max(1),
        };
        let mut text: String =
            visible.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        if shown.hidden {
            text.push_str(MASK);
        }
        let number = self.line_and_column(start).0.to_string();
        let gutter = " ".repeat(number.len());
        let mut excerpt = String::new();
        let _ = write!(excerpt, "{gutter} |\n{number} | {}\n", text.trim_end());
        let _ = write!(excerpt, "{gutter} | {}{}", " ".repeat(indent), "^".repeat(carets));
        excerpt
    }
}

impl ConfigProblem {
    /// A problem that has no place.
    pub(super) fn new(what: impl Display) -> Self {
        Self {
            place: String::new(),
            what: what.to_string(),
            excerpt: String::new(),
            order: Default::default(),
        }
    }

    /// The same problem, with the cache that it is about.
    #[must_use]
    pub(super) fn about(mut self, alias: &Alias) -> Self {
        self.what = format!("cache `{alias}`: {}", self.what);
        self
    }

    /// What puts problems into the order of the file.
    pub(super) fn order(&self) -> &(PathBuf, usize) {
        &self.order
    }
}

impl Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.what)?;
        if self.excerpt.is_empty() { Ok(()) } else { write!(f, "\n{}", self.excerpt) }
    }
}

impl fmt::Debug for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
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
