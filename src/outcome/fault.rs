//! [`Fault`]: a node's failure, by cause, phase and words.

use std::fmt;

use super::{Advice, Cause, Phase};

/// A fault of one node: its cause, its phase, and the text of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The cause, from the closed list.
    pub cause: Cause,
    /// The phase in which it was met.
    pub phase: Phase,
    /// The error's text or the server's words, one line of printable characters, bounded. May hold
    /// addresses, so it is shown only to callers who may see details.
    pub said: Box<str>,
    /// `true` if the sidecar itself lacks a resource, which says nothing about the cache.
    pub is_own: bool,
    /// The hint, if there is a more precise one than the cause's.
    pub(super) advice: Advice,
}

/// A text from a server or an error, as one line of bounded length.
pub(crate) fn printable(said: &str) -> Box<str> {
    /// The most characters that are kept.
    const MAX_SAID: usize = 240;
    let said = said.trim().chars().take(MAX_SAID);
    said.map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

impl Fault {
    /// A fault with the words that go with it; a server's words may hold anything, so they are cut and
    /// their control characters replaced.
    #[must_use]
    pub fn new(cause: Cause, phase: Phase, said: &str) -> Self {
        Self { cause, phase, said: printable(said), is_own: false, advice: Advice::None }
    }

    /// The same in other words.
    #[must_use]
    pub fn saying(&self, said: &str) -> Self {
        Self { said: printable(said), ..self.clone() }
    }

    /// The same, for a lack of the sidecar's own.
    #[must_use]
    pub(crate) fn of_our_own(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// The same, with a hint that is more precise than the cause's.
    #[must_use]
    pub(crate) fn with_advice(self, advice: Advice) -> Self {
        Self { advice, ..self }
    }

    /// One sentence that tells the operator where to look.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        const OWN: &str = "cache-canary lacks a resource for this check, so the state of the cache is unknown: the text of the fault names the resource.";
        const NOT_DIALED: &str = "The deadline passed before any connection was attempted: check that DNS servers answer on the sidecar's host.";
        match (self.cause, self.phase) {
            _ if self.is_own => OWN,
            (Cause::TimedOut, Phase::Resolve) => NOT_DIALED,
            (cause, _) => {
                let precise = self.advice.hint().or_else(|| hint_by_words(cause, &self.said));
                precise.unwrap_or_else(|| cause.hint())
            }
        }
    }

    /// The same, with the part of the check that needs the command, if the server refuses it.
    #[must_use]
    pub(crate) fn needed_for(self, part: &str) -> Self {
        if self.cause != Cause::Forbidden || part.is_empty() {
            return self;
        }
        Self { said: format!("{} (needed for {part})", self.said).into(), ..self }
    }

    /// The same, for `lost` of the canaries that were written in one round.
    #[must_use]
    pub(crate) fn of_several(self, lost: usize, canaries: usize) -> Self {
        Self { said: format!("{lost} of {canaries} canaries: {}", self.said).into(), ..self }
    }

    /// The same, for a server that still answers this command.
    #[must_use]
    pub(crate) fn although_it_answers(self, command: &str) -> Self {
        Self { said: format!("{} (answers {command}, does not hold data)", self.said).into(), ..self }
    }
}

/// Hints for faults whose words tell more than the cause: the cause, a part of the words, and the hint.
const HINTS: &[(Cause, &str, &str)] = &[
    (
        Cause::Forbidden,
        "DENIED",
        "Redis is in protected mode and accepts clients of its own host only: set a password (`requirepass`) or a user, or turn `protected-mode` off in a network that is closed.",
    ),
    (
        Cause::Forbidden,
        "unknown command",
        "The server does not know this command: check whether it was renamed (`rename-command`), whether a proxy does not support it, and whether this is the right kind of server.",
    ),
    (
        Cause::Forbidden,
        "NOPROTO",
        "The server does not speak this version of the protocol: set protocol = \"resp2\", or remove ?protocol=3 from the URL.",
    ),
    (
        Cause::ClusterDown,
        "cluster support disabled",
        "The server is not part of a cluster: use a redis:// URL, or start it with `cluster-enabled yes`.",
    ),
    (
        Cause::NotStored,
        IS_SENTINEL,
        "This is a Sentinel, which stores nothing: use redis+sentinel://HOST:PORT/NAME, with the name of the primary.",
    ),
    (
        Cause::Unresolvable,
        UNKNOWN_NAME,
        "The Sentinels respond, but monitor no primary of this name: compare it with `sentinel monitor NAME` in their configuration (`redis-cli -p 26379 SENTINEL masters` lists the names).",
    ),
];

/// The words for a Sentinel where a server is expected that stores keys.
pub(crate) const IS_SENTINEL: &str = "the server is a Sentinel";

/// The words for a name that no Sentinel knows; the name follows.
pub(crate) const UNKNOWN_NAME: &str = "know no primary named";

fn hint_by_words(cause: Cause, said: &str) -> Option<&'static str> {
    let fits = |(of, words, _): &&(Cause, &str, &str)| *of == cause && said.contains(words);
    HINTS.iter().find(fits).map(|(_, _, hint)| *hint)
}

impl fmt::Display for Fault {
    /// `timed_out in write`, or `read_only in write: READONLY You can't write against a read only replica.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.cause, self.phase)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}
