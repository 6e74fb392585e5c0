//! [`Fault`]: a node's failure, by cause, phase and words.

use std::fmt;

use super::{Cause, Phase};

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
    pub(crate) advice: Option<&'static str>,
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
        Self { cause, phase, said: printable(said), is_own: false, advice: None }
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

    /// The same, with a hint of [`advice`](super::advice) if there is one: it is more precise than the cause's.
    #[must_use]
    pub(crate) fn with_advice(self, advice: impl Into<Option<&'static str>>) -> Self {
        Self { advice: advice.into().or(self.advice), ..self }
    }

    /// One sentence that tells the operator where to look.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        const OWN: &str = "cache-canary lacks a resource for this check, so the state of the cache is unknown: the text of the fault names the resource.";
        const NOT_DIALED: &str = "The deadline passed before any connection was attempted: check that DNS servers answer on the sidecar's host.";
        match (self.cause, self.phase) {
            _ if self.is_own => OWN,
            (Cause::TimedOut, Phase::Resolve) => NOT_DIALED,
            (cause, _) => self.advice.unwrap_or_else(|| cause.hint()),
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

impl fmt::Display for Fault {
    /// `timed_out in write`, or `read_only in write: READONLY You can't write against a read only replica.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.cause, self.phase)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::advice;

    #[test]
    fn a_fault_is_told_by_its_cause_its_phase_and_its_words_in_one_line() {
        assert_eq!(Fault::new(Cause::TimedOut, Phase::Write, "").to_string(), "timed_out in write");
        let fault = Fault::new(Cause::ReadOnly, Phase::Write, " READONLY\nno ");
        assert_eq!(fault.to_string(), "read_only in write: READONLY\u{fffd}no");
    }

    #[test]
    fn the_words_of_a_fault_change_and_the_rest_of_it_stays() {
        let fault = Fault::new(Cause::Masked, Phase::Read, "gone").with_advice(advice::REQUEST);
        for (reworded, said) in [
            (fault.saying("lost"), "lost"),
            (fault.clone().of_several(1, 2), "1 of 2 canaries: gone"),
            (fault.clone().although_it_answers("PING"), "gone (answers PING, does not hold data)"),
        ] {
            assert_eq!(reworded, Fault { said: said.into(), ..fault.clone() });
        }
    }

    #[test]
    fn the_part_of_the_check_is_named_only_beside_a_command_that_is_forbidden() {
        let said = |cause, part| Fault::new(cause, Phase::Write, "NOPERM").needed_for(part).said;
        assert_eq!(&*said(Cause::Forbidden, "visibility"), "NOPERM (needed for visibility)");
        assert_eq!(&*said(Cause::Forbidden, ""), "NOPERM");
        assert_eq!(&*said(Cause::Auth, "visibility"), "NOPERM");
    }

    #[test]
    fn advice_is_the_hint_and_stays_until_there_is_another() {
        let fault = Fault::new(Cause::Tls, Phase::Tls, "").with_advice(advice::NO_TLS);
        assert_eq!(fault.clone().with_advice(None::<&'static str>).hint(), advice::NO_TLS);
        assert_eq!(fault.with_advice(advice::SERVER_NAME).hint(), advice::SERVER_NAME);
    }
}
