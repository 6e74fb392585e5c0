//! The faults of an embedded server. A fault acts in one of two places, both here: on the command's view of the store,
//! or on its answer. Only a killed or a hung server does not even read a command.

use std::time::Duration;

use super::StoreState;
use super::answer::{Reply, Then};
use super::store::{Condition, Effect, Item, OutOfMemory};

/// A fault injected into a server.
///
/// A *read* is a command that asks for a value or about a key, a *write* one that stores or deletes. Other
/// commands, such as PING, do not touch the store, so their success proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InjectedFault {
    /// No fault.
    #[default]
    Healthy,
    /// As after `kill -9`: connecting is refused, every connection is closed, and the data is lost. The port stays
    /// reserved, so that the server listens there again once it is healthy.
    Killed,
    /// As after SIGSTOP: connections are accepted and kept, but nothing is read or answered. Commands sent meanwhile
    /// are answered once the server is healthy.
    Hung,
    /// Reads are real, writes are refused, as by a Redis replica. memcached has no such state; here it answers
    /// with a `SERVER_ERROR`, as a proxy might.
    ReadOnly,
    /// Reads are real; a value is refused unless a delete has made room. A Redis keeps the key's old value. A
    /// memcached drops it on `set` and `ms`, and so makes room for the next.
    Full,
    /// Writes are acknowledged and dropped, and reads are misses. An application sees the same from a client with an open
    /// circuit breaker, or from a proxy with a dead pool.
    Masking,
    /// Writes are acknowledged and dropped, reads are real.
    DroppingWrites,
    /// Every read is answered with this value.
    Foreign(Vec<u8>),
    /// Every read is answered as if it had asked for another key: a stored one if there is one, else an invented one.
    OtherKey,
    /// Every read and write is answered with this line, such as `-MISCONF ...` or `SERVER_ERROR ...`.
    Saying(String),
    /// Every answer is sent twice.
    Twice,
    /// Every answer is a line of random bytes that neither protocol knows.
    Garbage,
    /// The first half of an answer, and no more. The connection stays open until the fault changes.
    HalfThenSilence,
    /// The first half of an answer, and the end of the connection.
    HalfThenClose,
    /// A command is read, and the connection closed.
    ClosesWithoutAnswer,
    /// The first line of an answer, which never ends.
    EndlessLine,
    /// Writes are real. The answer to a read announces a value of half a gigabyte, and does not end there
    /// either.
    EndlessValue,
    /// The right answer, one byte at a time with a pause after each.
    Trickle(Duration),
}

/// The reason for which a command is not carried out.
#[derive(Debug)]
pub(super) enum InjectedRefusal {
    ReadOnly,
    OutOfMemory,
    /// The error in this line.
    Saying(String),
}

impl From<OutOfMemory> for InjectedRefusal {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The store as a command sees it.
pub(super) struct StoreView<'a> {
    state: &'a mut StoreState,
    fault: &'a InjectedFault,
    /// The selected database.
    pub(super) database: usize,
    /// `true` if a value without an end was read.
    pub(super) endless: bool,
}

impl<'a> StoreView<'a> {
    pub(super) fn new(state: &'a mut StoreState, fault: &'a InjectedFault) -> Self {
        Self { state, fault, database: 0, endless: false }
    }

    /// `true` if the server is a replica.
    pub(super) fn is_replica(&self) -> bool {
        *self.fault == InjectedFault::ReadOnly
    }

    /// The item that is found under `key`.
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Item>, InjectedRefusal> {
        let store = &mut self.state.store;
        match self.fault {
            InjectedFault::Saying(words) => Err(InjectedRefusal::Saying(words.clone())),
            InjectedFault::Masking => Ok(None),
            InjectedFault::Foreign(value) => Ok(Some(Item::new(key, value))),
            InjectedFault::OtherKey => {
                let other = store.other(self.database, key).cloned();
                Ok(Some(other.unwrap_or_else(|| Item::new(b"another-key", b"another value"))))
            }
            InjectedFault::EndlessValue => {
                self.endless = true;
                Ok(Some(Item { claimed: Some(512 << 20), ..Item::new(key, b"") }))
            }
            _ => Ok(store.get(self.database, key).cloned()),
        }
    }

    /// Writes an item.
    pub(super) fn set(&mut self, item: Item, condition: Condition) -> Result<Effect, InjectedRefusal> {
        self.state.writes += 1;
        if let Some(acknowledged) = self.acknowledged()? {
            return Ok(acknowledged);
        }
        Ok(self.state.store.set(self.database, item, condition)?)
    }

    /// Changes the expiry of the item under `key`.
    pub(super) fn touch(
        &mut self,
        key: &[u8],
        expires: Option<tokio::time::Instant>,
    ) -> Result<Effect, InjectedRefusal> {
        if let Some(acknowledged) = self.acknowledged()? {
            return Ok(acknowledged);
        }
        let Some(item) = self.state.store.get(self.database, key) else { return Ok(Effect::NotFound) };
        item.expires = expires;
        Ok(Effect::Done(item.cas))
    }

    /// Deletes the item under `key`.
    pub(super) fn delete(&mut self, key: &[u8], condition: Condition) -> Result<Effect, InjectedRefusal> {
        if let Some(acknowledged) = self.acknowledged()? {
            return Ok(acknowledged);
        }
        Ok(self.state.store.delete(self.database, key, condition))
    }

    /// The result of a write that is not carried out; `None` if it is to be.
    fn acknowledged(&self) -> Result<Option<Effect>, InjectedRefusal> {
        match self.fault {
            InjectedFault::ReadOnly => Err(InjectedRefusal::ReadOnly),
            InjectedFault::Saying(words) => Err(InjectedRefusal::Saying(words.clone())),
            InjectedFault::Masking | InjectedFault::DroppingWrites => Ok(Some(Effect::Done(0))),
            _ => Ok(None),
        }
    }
}

impl InjectedFault {
    /// The reply to send in place of `answer`.
    pub(super) fn spoil(&self, answer: Reply) -> Reply {
        let Reply { mut bytes, .. } = answer;
        if bytes.is_empty() {
            return Reply { bytes, ..answer };
        }
        match self {
            Self::Twice => Reply { bytes: bytes.repeat(2), ..answer },
            Self::Garbage => Reply { bytes: garbage(), ..answer },
            Self::HalfThenSilence | Self::HalfThenClose => {
                bytes.truncate(bytes.len() / 2);
                let then = if *self == Self::HalfThenClose { Then::Close } else { Then::Silence };
                Reply { bytes, then, ..answer }
            }
            Self::ClosesWithoutAnswer => Reply { bytes: Vec::new(), then: Then::Close, ..answer },
            Self::EndlessLine => {
                bytes.truncate(bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len()));
                Reply { bytes, then: Then::Endless, ..answer }
            }
            Self::Trickle(pause) => Reply { bytes, pause: Some(*pause), ..answer },
            _ => Reply { bytes, ..answer },
        }
    }
}

/// A line of bytes that occur in no answer of either protocol.
fn garbage() -> Vec<u8> {
    let mut line: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(0x80..)).take(32).collect();
    line.extend(b"\r\n");
    line
}
