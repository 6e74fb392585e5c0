//! [`Finding`] and [`Measure`]: the findings of a check beyond its servers' answers, and the figures that it was judged
//! by.

use std::fmt;
use std::sync::Arc;

use super::{Cause, Figure, Status, printable};

/// A problem that was found although the servers answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The severity: degraded or down.
    pub status: Status,
    /// The cause, from the closed list.
    pub cause: Cause,
    /// The subject, for people: `key b:p:3`, `partition part-7`, `view replica:6379`. It may contain addresses and
    /// keys, so it is shown only to callers with access to details.
    pub about: Box<str>,
    /// The observed value and the limit: `25000 entries (down at 20000 or more)`.
    pub said: Box<str>,
}

impl Finding {
    /// A finding; `about` and `said` may hold text of a server, so they are cut and their control characters replaced.
    #[must_use]
    pub fn new(status: Status, cause: Cause, about: &str, said: &str) -> Self {
        Self { status, cause, about: printable(about), said: printable(said) }
    }
}

impl fmt::Display for Finding {
    /// `key b:p:3: 25000 entries (down at 20000 or more)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.said)
    }
}

/// A figure that a check has read or counted, for metrics and details.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The measured quantity.
    pub figure: Figure,
    /// The value of the figure's label, if an alias has several. It comes from the configuration, or is the name of a
    /// node.
    pub of: Option<Arc<str>>,
    /// The measured value, in the unit of the figure's name.
    pub value: f64,
}
