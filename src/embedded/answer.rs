//! [`Reply`]: the bytes sent for a command, and the next action.

use std::time::Duration;

/// A session's parse of the received bytes.
pub(super) enum ParseStep {
    /// The beginning of a command.
    Incomplete,
    /// This number of bytes is no command, and goes unanswered.
    Skip(usize),
    /// This number of bytes is a command, with its answer.
    Command(usize, Reply),
}

/// The bytes sent for one command, and the next action.
#[derive(Debug)]
pub(super) struct Reply {
    /// The bytes to send; empty if the client wants no answer.
    pub(super) bytes: Vec<u8>,
    /// The pause after each byte.
    pub(super) pause: Option<Duration>,
    pub(super) then: Then,
}

/// The action after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next command is answered.
    Next,
    /// The connection is closed.
    Close,
    /// All further commands go unanswered.
    Silence,
    /// More bytes of the same answer are sent forever.
    Endless,
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pause: None, then: Then::Next }
    }
}

impl Reply {
    /// The last answer on its connection.
    pub(super) fn last(bytes: Vec<u8>) -> Self {
        Self { then: Then::Close, ..bytes.into() }
    }

    /// `true` if it has an end, and is sent as fast as the client takes it.
    pub(super) fn is_prompt(&self) -> bool {
        self.pause.is_none() && matches!(self.then, Then::Next | Then::Close)
    }
}
