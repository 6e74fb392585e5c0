//! What a server can be told to do wrong. A fault sits in one of two places, both here: in what a command
//! sees of the store, and in what is sent of its answer. Only a killed or a hung server does not come so far
//! as to read one.

use std::time::Duration;

use super::StoreState;
use super::answer::{Reply, Then};
use super::store::{Condition, Effect, Item, OutOfMemory};

/// What is wrong with a server.
///
/// A *read* is a command that asks for a value or about a key, a *write* one that stores or deletes. Other
/// commands, such as PING, know nothing of the store, and that is why they prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InjectedFault {
    /// Nothing.
    #[default]
    Healthy,
    /// As after `kill -9`: a dial is refused, every connection is closed, and what was held is gone. The port
    /// is kept, so that mending listens there again.
    Killed,
    /// As after SIGSTOP: connections are taken and kept, nothing is read or answered. What was sent meanwhile
    /// is answered once the server is mended.
    Hung,
    /// Reads are real, writes refused, as by a Redis replica. memcached has no such state; here it answers
    /// with a `SERVER_ERROR`, as a proxy might.
    ReadOnly,
    /// Reads are real; a value is refused unless a delete has made room. A Redis keeps what the key held. A
    /// memcached drops it on `set` and `ms`, and so makes room for the next.
    Full,
    /// Writes are acknowledged and dropped, reads answered with a miss: what a client behind an open circuit
    /// breaker, or a proxy with a dead pool, makes its application see.
    Masking,
    /// Writes are acknowledged and dropped, reads are real.
    DroppingWrites,
    /// Every read is answered with this value.
    Foreign(Vec<u8>),
    /// Every read is answered as though it had asked for another key: one that is held, else one that is made
    /// up.
    OtherKey,
    /// Every read and write is answered with this line, such as `-MISCONF ...` or `SERVER_ERROR ...`.
    Saying(String),
    /// Every answer is sent twice.
    Twice,
    /// Every answer is a line of random bytes that neither protocol knows.
    Garbage,
    /// The first half of an answer, and no more. The connection stays open until the server is mended.
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

/// Why a command is not carried out.
#[derive(Debug)]
pub(super) enum InjectedRefusal {
    ReadOnly,
    OutOfMemory,
    /// For the reason in this line.
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
    /// Which database is seen.
    pub(super) database: usize,
    /// Whether a value was read that has no end.
    pub(super) endless: bool,
}

impl<'a> StoreView<'a> {
    pub(super) fn new(state: &'a mut StoreState, fault: &'a InjectedFault) -> Self {
        Self { state, fault, database: 0, endless: false }
    }

    /// Whether the server is a replica.
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

    /// Gives the item under `key` another end of its life.
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

    /// Deletes what is under `key`.
    pub(super) fn delete(&mut self, key: &[u8], condition: Condition) -> Result<Effect, InjectedRefusal> {
        if let Some(acknowledged) = self.acknowledged()? {
            return Ok(acknowledged);
        }
        Ok(self.state.store.delete(self.database, key, condition))
    }

    /// What a write is answered with where it is not carried out.
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
    /// What is sent in place of `answer`.
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

/// A line of bytes that no answer of either protocol begins with or holds.
fn garbage() -> Vec<u8> {
    let mut line: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(0x80..)).take(32).collect();
    line.extend(b"\r\n");
    line
}
