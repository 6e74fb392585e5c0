//! [`Reply`]: what is sent for a command, and what happens then.

use std::time::Duration;

/// What a session makes of the bytes that have come.
pub(super) enum ParseStep {
    /// They are the beginning of a command.
    Incomplete,
    /// So many of them are no command, and go unanswered.
    Skip(usize),
    /// So many of them are a command, and this is its answer.
    Command(usize, Reply),
}

/// What is sent for one command, and what happens then.
#[derive(Debug)]
pub(super) struct Reply {
    /// What is sent; empty where the client wants no answer.
    pub(super) bytes: Vec<u8>,
    /// How long to wait after each byte.
    pub(super) pause: Option<Duration>,
    pub(super) then: Then,
}

/// What happens after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next command is answered.
    Next,
    /// The connection is closed.
    Close,
    /// Whatever comes goes unanswered.
    Silence,
    /// More bytes of the same answer are sent for ever.
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

    /// Whether it is sent as fast as the client takes it, and comes to an end.
    pub(super) fn is_prompt(&self) -> bool {
        self.pause.is_none() && matches!(self.then, Then::Next | Then::Close)
    }
}
