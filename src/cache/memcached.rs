//! memcached: the `memcache` crate's codec of the meta protocol on a connection of our own, and classic text
//! for servers and proxies that know no meta commands.

mod classic;
mod meta;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::connection::{AnswerError, Connection, Link, set_error};
use super::dial::{Dialer, Target};
use super::{Cache, SetError};
use crate::canary::{Canary, Key, Read, Sentinel};
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// One memcached server.
pub(crate) struct Memcached {
    link: Link,
    dialect: AtomicU8,
}

/// The commands that a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Not found out yet, or to be found out anew.
    Unknown,
    /// `mg` and `ms`: memcached since 1.6.
    Meta,
    /// `get`, `set`, `replace`: all of them, and proxies.
    Classic,
}

/// What a server answered where it did not do what it was asked.
#[derive(Debug)]
enum Refusal {
    /// The answer was not had.
    Answer(AnswerError),
    /// It said why.
    Said(Cause, String),
}

impl From<AnswerError> for Refusal {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl Memcached {
    pub(crate) fn new(target: Target, dialer: &Arc<Dialer>) -> Self {
        Self { link: Link::new(target, dialer), dialect: AtomicU8::new(Dialect::Unknown as u8) }
    }

    fn dialect(&self) -> Dialect {
        match self.dialect.load(Ordering::Relaxed) {
            byte if byte == Dialect::Meta as u8 => Dialect::Meta,
            byte if byte == Dialect::Classic as u8 => Dialect::Classic,
            _ => Dialect::Unknown,
        }
    }

    /// A new connection. The dialect is found out on the first.
    async fn dial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let mut connection = self.link.dial(progress).await?;
        if self.dialect() == Dialect::Unknown {
            progress.enter(Phase::Auth);
            let dialect = match meta::is_spoken(&mut connection).await {
                Ok(true) => Dialect::Meta,
                Ok(false) => Dialect::Classic,
                // A proxy that does not know a command may close the connection on it.
                Err(Refusal::Answer(AnswerError::Closed(_))) => {
                    connection = self.link.dial(progress).await?;
                    Dialect::Classic
                }
                Err(refusal) => return Err(fault(&refusal, progress)),
            };
            self.dialect.store(dialect as u8, Ordering::Relaxed);
        }
        Ok(connection)
    }

    /// Stores a canary. Where its key may hold an earlier one it is replaced, in classic text: a server that
    /// has no memory for a new item drops the old one on `set` and on every mode of `ms`, but not on
    /// `replace` (`process_update_command` and `process_mset_command` in memcached's `proto_text.c`), and a
    /// dropped one would make room for the next check.
    async fn store(&self, connection: &mut Connection, canary: &Canary) -> Result<(), Refusal> {
        if canary.replaces() && classic::replace(connection, canary).await? {
            return Ok(());
        }
        match self.dialect() {
            Dialect::Meta => meta::set(connection, canary).await,
            Dialect::Classic | Dialect::Unknown => classic::set(connection, canary).await,
        }
    }

    /// What is not understood may mean that another kind of server has taken the place of the one before.
    fn doubt_dialect(&self, fault: Fault) -> Fault {
        if fault.cause == Cause::Protocol {
            self.dialect.store(Dialect::Unknown as u8, Ordering::Relaxed);
        }
        fault
    }
}

#[async_trait]
impl Cache for Memcached {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        let mut connection = self.link.begin(progress, || self.dial(progress)).await?;
        progress.enter(Phase::Write);
        let stored = self.store(&mut connection, canary).await;
        match stored {
            Ok(()) => Ok(self.link.keep(connection).map_err(|error| error.fault(progress))?),
            Err(Refusal::Answer(error)) => match set_error(&connection, &error, progress) {
                SetError::Fault(fault) => Err(self.doubt_dialect(fault).into()),
                closed @ SetError::KeptConnectionClosed => Err(closed),
            },
            Err(refusal) => {
                let fault = self.doubt_dialect(fault(&refusal, progress));
                if fault.cause == Cause::OutOfMemory {
                    // The connection is as good as before, and what is to be renewed is renewed on it.
                    self.link.keep(connection).map_err(|error| error.fault(progress))?;
                }
                Err(fault.into())
            }
        }
    }

    async fn get(&self, key: &Key, default: Sentinel, progress: &NodeProgress) -> Result<Read, Fault> {
        let mut connection = self.link.resume(|| self.dial(progress)).await?;
        progress.enter(Phase::Read);
        let found = match self.dialect() {
            Dialect::Meta => meta::get(&mut connection, key).await,
            Dialect::Classic | Dialect::Unknown => classic::get(&mut connection, key).await,
        };
        let read = match found {
            Ok(Some(bytes)) => Read::Value(bytes),
            Ok(None) => Read::Default(default),
            Err(refusal) => return Err(self.doubt_dialect(fault(&refusal, progress))),
        };
        self.link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(read)
    }

    async fn renew(&self, keys: &[Key], ttl: Duration) {
        let Some(mut connection) = self.link.take() else { return };
        for key in keys {
            if classic::touch(&mut connection, key, ttl).await.is_err() {
                return;
            }
        }
        // What is left over in it will be met by the next check.
        let _ = self.link.keep(connection);
    }

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        let mut connection = self.link.resume(|| self.dial(progress)).await.ok()?;
        classic::version(&mut connection).await.ok()?;
        self.link.keep(connection).ok()?;
        Some("version")
    }
}

/// Reads an error line, in either dialect ("Error strings", memcached's protocol.txt). What is none is
/// malformed.
fn refusal(line: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(line).into_owned();
    let cause = match text.split(' ').next() {
        Some("SERVER_ERROR") if text.contains("out of memory") => Cause::OutOfMemory,
        Some("SERVER_ERROR") if text.contains("too large") => Cause::NotStored,
        // Whatever else a server cannot do: in practice a proxy's word that nothing is behind it.
        Some("SERVER_ERROR") => Cause::Unreachable,
        Some("CLIENT_ERROR") if text.contains("unauthenticated") => Cause::Auth,
        Some("ERROR") if text.contains("Too many open connections") => Cause::Refused,
        Some("ERROR" | "CLIENT_ERROR") => Cause::Protocol,
        _ => return AnswerError::Malformed("the answer is not one of memcached's").into(),
    };
    Refusal::Said(cause, text)
}

/// The word at this place of a line.
fn word(line: &[u8], place: usize) -> Option<&str> {
    std::str::from_utf8(line).ok()?.split(' ').nth(place)
}

fn fault(refusal: &Refusal, progress: &NodeProgress) -> Fault {
    match refusal {
        Refusal::Answer(error) => error.fault(progress),
        Refusal::Said(cause, words) => progress.fault(*cause, words),
    }
}
