//! memcached: the `memcache` crate's codec of the meta protocol on a connection of our own; classic text
//! for servers and proxies without meta commands; and the binary protocol for servers with SASL.

mod binary;
mod classic;
mod discovery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hello;
mod meta;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::connection::{AnswerError, Connection, LINE_END, Link, set_error};
use super::dial::{DialTarget, Dialer};
use super::{Cache, SetError, spelling};
use crate::canary::{Canary, Key, Read, Unset};
use crate::config::Secret;
use crate::outcome::{Cause, Fault, Phase, advice};
use crate::progress::NodeProgress;
use crate::redaction;

pub(crate) use discovery::{Configuration, MAX_MEMBERS, Member, NO_MEMBER};

/// One memcached server.
pub(crate) struct Memcached {
    link: Link,
    credentials: Option<Arc<Credentials>>,
    dialect: AtomicU8,
    /// `true` if the dialect is known, and not in doubt.
    certain: AtomicBool,
}

/// The credentials for a memcached.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// The commands that a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Dialect {
    /// `mg` and `ms`: memcached since 1.6.
    Meta,
    /// `get`, `set`, `replace`: all servers that speak text, and proxies.
    Classic,
    /// The binary protocol, the only one of servers with SASL.
    Binary,
}

/// A key, a value and its time to live.
type Entry<'a> = (&'a Key, &'a str, Duration);

/// The result of a command that the server did not carry out.
#[derive(Debug)]
enum StoreRefusal {
    /// There is no answer.
    Answer(AnswerError),
    /// The meaning of the answer, in words of our own.
    Means(Cause, &'static str),
    /// The reason in the server's own words; a binary answer has a status beside them.
    Said { cause: Cause, status: Option<u16>, line: String },
}

impl From<AnswerError> for StoreRefusal {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl StoreRefusal {
    /// The server serves every client: it does not ask for the configured credentials.
    fn unwanted_credentials() -> Self {
        Self::Means(Cause::Auth, "the server has no authentication, but credentials are configured")
    }
}

impl Memcached {
    pub(crate) fn new(
        target: DialTarget,
        credentials: Option<&Arc<Credentials>>,
        dialer: &Arc<Dialer>,
    ) -> Self {
        Self {
            link: Link::new(target, dialer),
            credentials: credentials.cloned(),
            dialect: AtomicU8::new(Dialect::Classic as u8),
            certain: AtomicBool::new(false),
        }
    }

    /// The dialect that was detected last. It is that of every connection in use, even while it is in doubt.
    fn dialect(&self) -> Dialect {
        match self.dialect.load(Ordering::Relaxed) {
            byte if byte == Dialect::Meta as u8 => Dialect::Meta,
            byte if byte == Dialect::Binary as u8 => Dialect::Binary,
            _ => Dialect::Classic,
        }
    }

    fn is_certain(&self) -> bool {
        self.certain.load(Ordering::Relaxed)
    }

    fn doubt(&self) {
        self.certain.store(false, Ordering::Relaxed);
    }

    fn remember(&self, dialect: Dialect) {
        self.dialect.store(dialect as u8, Ordering::Relaxed);
        self.certain.store(true, Ordering::Relaxed);
    }

    /// Has the dialect detected again if the fault may mean that another kind of server has taken the place of
    /// the one before: it was not understood, or the server closed the connection on it.
    fn doubt_dialect(&self, fault: Fault) -> Fault {
        if matches!(fault.cause, Cause::Protocol | Cause::Auth | Cause::Forbidden | Cause::Unreachable) {
            self.doubt();
        }
        fault
    }

    /// Stores a canary. If its key may hold an earlier one, that is replaced, in classic text or in binary:
    /// a server that has no memory for a new item drops the old one on `set` and on every mode of `ms`, but
    /// not on `replace` (`process_update_command` and `process_mset_command` in memcached's `proto_text.c`,
    /// `process_bin_update` in its `proto_bin.c`), and a dropped one would make room for the next check.
    async fn store(&self, connection: &mut Connection, canary: &Canary) -> Result<(), StoreRefusal> {
        let dialect = self.dialect();
        if canary.replaces() {
            let replaced = match dialect {
                Dialect::Meta | Dialect::Classic => classic::replace(connection, canary).await?,
                Dialect::Binary => binary::replace(connection, canary).await?,
            };
            if replaced {
                return Ok(());
            }
        }
        match dialect {
            Dialect::Meta => meta::set(connection, canary).await,
            Dialect::Classic => classic::set(connection, canary).await,
            Dialect::Binary => binary::set(connection, canary).await,
        }
    }
}

impl Memcached {
    /// Records a command and its answer, for `check --explain`.
    fn explain<T, S: FnOnce(&T) -> String>(
        progress: &NodeProgress,
        answer: &Result<T, StoreRefusal>,
        asked: impl FnOnce() -> (String, &'static str, S),
    ) {
        progress.step(|| {
            let (command, expected, saw) = asked();
            let saw = match answer {
                Ok(answer) => saw(answer),
                Err(refusal) => fault(refusal, progress).to_string(),
            };
            (command, expected.to_owned(), saw)
        });
    }

    /// `Ok` if the refusal only means that the kept connection was closed: the first command of a round is then repeated
    /// on a new one. Any other refusal is a fault.
    fn closed_before(
        &self,
        connection: &Connection,
        refusal: &StoreRefusal,
        progress: &NodeProgress,
    ) -> Result<(), Fault> {
        let fault = match refusal {
            StoreRefusal::Answer(error) => match set_error(connection, error, progress) {
                SetError::KeptConnectionClosed => {
                    self.doubt();
                    return Ok(());
                }
                SetError::Fault(fault) => fault,
            },
            StoreRefusal::Means(..) | StoreRefusal::Said { .. } => fault(refusal, progress),
        };
        Err(self.doubt_dialect(fault))
    }

    /// Reads a key as [`Cache::get`] does, but as the first command of a round: a kept connection that turns
    /// out to have been closed is no fault.
    pub(crate) async fn get_first(
        &self,
        key: &Key,
        default: Unset,
        progress: &NodeProgress,
    ) -> Result<Read, Fault> {
        loop {
            let mut connection = self.link.begin(progress, || self.dial(progress)).await?;
            progress.enter(Phase::Read);
            match self.find(&mut connection, key).await {
                Ok(found) => {
                    self.link.keep(connection).map_err(|error| error.fault(progress))?;
                    return Ok(found.map_or(Read::Default(default), Read::Value));
                }
                Err(refusal) => self.closed_before(&connection, &refusal, progress)?,
            }
        }
    }

    /// Stores a value unless the key has one, as a further part of a check.
    pub(crate) async fn add(&self, entry: Entry<'_>, progress: &NodeProgress) -> Result<(), Fault> {
        let mut connection = self.link.resume(|| self.dial(progress)).await?;
        progress.enter(Phase::Write);
        let added = match self.dialect() {
            Dialect::Meta | Dialect::Classic => classic::add(&mut connection, entry).await,
            Dialect::Binary => binary::add(&mut connection, entry).await,
        };
        Self::explain(progress, &added, || {
            let (key, value, ttl) = entry;
            let command = format!("add {key} 0 {} {}, {value}", ttl.as_secs(), value.len());
            (command, "stored, or there already", |()| "one of the two".to_owned())
        });
        added.map_err(|refusal| self.doubt_dialect(fault(&refusal, progress)))?;
        self.link.keep(connection).map_err(|error| error.fault(progress))
    }

    /// The value of a key.
    async fn find(&self, connection: &mut Connection, key: &Key) -> Result<Option<Vec<u8>>, StoreRefusal> {
        match self.dialect() {
            Dialect::Meta => meta::get(connection, key).await,
            Dialect::Classic => classic::get(connection, key.as_str()).await,
            Dialect::Binary => binary::get(connection, key.as_str()).await,
        }
    }

    /// The server's counters and settings, by name ("General-purpose statistics" in memcached's protocol.txt), with those of
    /// its slabs and items if it has any. This is the first command of a round: a kept connection that turns out to have
    /// been closed is no fault.
    pub(crate) async fn stats(&self, progress: &NodeProgress) -> Result<Vec<(String, String)>, Fault> {
        loop {
            let mut connection = self.link.begin(progress, || self.dial(progress)).await?;
            progress.enter(Phase::Read);
            match self.stats_of(&mut connection, "").await {
                Ok(mut stats) => {
                    for kind in ["slabs", "items"] {
                        match self.stats_of(&mut connection, kind).await {
                            Ok(more) => stats.extend(more),
                            Err(StoreRefusal::Said { .. }) => {}
                            Err(refusal) => return Err(self.doubt_dialect(fault(&refusal, progress))),
                        }
                    }
                    self.link.keep(connection).map_err(|error| error.fault(progress))?;
                    return Ok(stats);
                }
                Err(refusal) => self.closed_before(&connection, &refusal, progress)?,
            }
        }
    }
}

impl Memcached {
    async fn stats_of(
        &self,
        connection: &mut Connection,
        kind: &str,
    ) -> Result<Vec<(String, String)>, StoreRefusal> {
        match self.dialect() {
            Dialect::Meta | Dialect::Classic => classic::stats(connection, kind).await,
            Dialect::Binary => binary::stats(connection, kind).await,
        }
    }
}

#[async_trait]
impl Cache for Arc<Memcached> {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        let mut connection = self.link.begin(progress, || self.dial(progress)).await?;
        progress.enter(Phase::Write);
        let stored = self.store(&mut connection, canary).await;
        Memcached::explain(progress, &stored, || {
            let (key, value, ttl) = (canary.key(), canary.value(), canary.ttl().as_secs());
            let len = value.len();
            let command = match (self.dialect(), canary.replaces()) {
                (Dialect::Meta, false) => format!("ms {key} {len} T{ttl}"),
                (Dialect::Meta | Dialect::Classic, true) => format!("replace {key} 0 {ttl} {len}"),
                (Dialect::Classic, false) => format!("set {key} 0 {ttl} {len}"),
                (Dialect::Binary, true) => format!("Replace {key} (binary)"),
                (Dialect::Binary, false) => format!("Set {key} (binary)"),
            };
            (format!("{command}, {value}"), "stored", |()| "stored".to_owned())
        });
        match stored {
            Ok(()) => Ok(self.link.keep(connection).map_err(|error| error.fault(progress))?),
            Err(StoreRefusal::Answer(error)) => match set_error(&connection, &error, progress) {
                SetError::Fault(fault) => Err(self.doubt_dialect(fault).into()),
                closed @ SetError::KeptConnectionClosed => {
                    self.doubt();
                    Err(closed)
                }
            },
            // A server may know `mn` and have another `ms` than today's, as memcached had before 1.6.10.
            Err(StoreRefusal::Said { cause: Cause::Forbidden, .. })
                if self.dialect() == Dialect::Meta && self.credentials.is_none() =>
            {
                self.remember(Dialect::Classic);
                Err(SetError::KeptConnectionClosed)
            }
            Err(refusal) => {
                let fault = self.doubt_dialect(fault(&refusal, progress));
                if fault.cause == Cause::OutOfMemory {
                    // The connection is still good, and serves to renew the canaries.
                    self.link.keep(connection).map_err(|error| error.fault(progress))?;
                }
                Err(fault.into())
            }
        }
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        let mut connection = self.link.resume(|| self.dial(progress)).await?;
        progress.enter(Phase::Read);
        let found = self.find(&mut connection, key).await;
        Memcached::explain(progress, &found, || {
            let saw = |found: &Option<Vec<u8>>| {
                let found = found.as_ref().map(|found| spelling::text(found, progress.redaction()));
                found.unwrap_or_else(|| "nothing".to_owned())
            };
            let command = match self.dialect() {
                Dialect::Meta => format!("mg {key} v k"),
                Dialect::Classic => format!("get {key}"),
                Dialect::Binary => format!("GetK {key} (binary)"),
            };
            (command, "the value that was written", saw)
        });
        let read = match found {
            Ok(Some(bytes)) => Read::Value(bytes),
            Ok(None) => Read::Default(default),
            Err(refusal) => return Err(self.doubt_dialect(fault(&refusal, progress))),
        };
        self.link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(read)
    }

    async fn get_first(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        Memcached::get_first(self, key, default, progress).await
    }

    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault> {
        let mut connection = self.link.resume(|| self.dial(progress)).await?;
        progress.enter(Phase::Write);
        let deleted = match self.dialect() {
            Dialect::Meta | Dialect::Classic => classic::delete(&mut connection, key).await,
            Dialect::Binary => binary::delete(&mut connection, key).await,
        };
        Memcached::explain(progress, &deleted, || {
            (format!("delete {key}"), "deleted", |()| "deleted".to_owned())
        });
        deleted.map_err(|refusal| self.doubt_dialect(fault(&refusal, progress)))?;
        self.link.keep(connection).map_err(|error| error.fault(progress))
    }

    async fn renew(&self, keys: &[Key], ttl: Duration) {
        let Some(mut connection) = self.link.take() else { return };
        for key in keys {
            let touched = match self.dialect() {
                Dialect::Meta | Dialect::Classic => classic::touch(&mut connection, key, ttl).await,
                Dialect::Binary => binary::touch(&mut connection, key, ttl).await,
            };
            if touched.is_err() {
                return;
            }
        }
        // The next check finds any fault of it.
        let _ = self.link.keep(connection);
    }

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        let mut connection = self.link.resume(|| self.dial(progress)).await.ok()?;
        let (answer, command) = match self.dialect() {
            Dialect::Meta | Dialect::Classic => {
                (classic::version(&mut connection).await.map(Some), "version")
            }
            Dialect::Binary => {
                let spoken = binary::is_spoken(&mut connection).await;
                (spoken.map(|spoken| spoken.then(|| "success".to_owned())), "noop")
            }
        };
        Memcached::explain(progress, &answer, || {
            let saw = |answer: &Option<String>| match answer {
                Some(answer) => progress.redaction().line(answer),
                None => "nothing of this protocol".to_owned(),
            };
            (command.to_owned(), "an answer, after the fault", saw)
        });
        answer.ok()??;
        self.link.keep(connection).ok()?;
        Some(command)
    }

    fn is_quiet(&self) -> bool {
        self.link.is_quiet()
    }
}

/// Reads an error line, in either dialect. Any other line is malformed.
fn refusal(line: &[u8]) -> StoreRefusal {
    let line = redaction::raw(line);
    match words::cause(&line) {
        Some(cause) => StoreRefusal::Said { cause, status: None, line },
        None => foreign(line.as_bytes()).into(),
    }
}

fn foreign(first: &[u8]) -> AnswerError {
    AnswerError::foreign("memcached's text protocol", first)
}

/// Takes the next line of an answer in text, which begins with a word in capitals. A server of another protocol may greet
/// without ever ending a line, so the beginning is judged as soon as it has come.
async fn line(connection: &mut Connection) -> Result<Vec<u8>, AnswerError> {
    let is_garbled = |line: &[u8]| line.iter().any(u8::is_ascii_control);
    let first = connection.peek().await?;
    let begun = connection.received();
    let begun = &begun[..memchr::memchr(LINE_END[0], begun).unwrap_or(begun.len())];
    if !first.is_ascii_alphanumeric() || first.is_ascii_lowercase() || is_garbled(begun) {
        return Err(foreign(connection.received()));
    }
    let judged = begun.len();
    let line = connection.line().await?;
    if is_garbled(&line[judged..]) { Err(foreign(&line)) } else { Ok(line) }
}

/// The word at this place of a line.
fn word(line: &[u8], place: usize) -> Option<&str> {
    std::str::from_utf8(line).ok()?.split(' ').nth(place)
}

fn fault(refusal: &StoreRefusal, progress: &NodeProgress) -> Fault {
    let fault = match refusal {
        StoreRefusal::Answer(error) => error.fault(progress),
        StoreRefusal::Means(cause, words) => progress.fault(*cause, words),
        StoreRefusal::Said { cause, status: None, line } => progress.told(*cause, line),
        StoreRefusal::Said { cause, status: Some(status), line } => {
            progress.fault(*cause, &format!("status {status:#06x}: {}", progress.words(line)))
        }
    };
    if fault.cause == Cause::Forbidden { fault.with_advice(advice::REQUEST) } else { fault }
}

#[cfg(test)]
mod tests {
    use super::hello::META_NOOP;
    use super::*;
    use crate::cache::connection::scripted::{Cut, End, within};

    #[test]
    fn a_line_is_judged_in_the_same_way_however_it_comes() {
        for cut in [Cut::Whole, Cut::Bytes] {
            let answer = |bytes: &[u8]| {
                let (mut connection, _) = Connection::scripted(bytes, cut, End::Closed);
                let asked = async {
                    connection.send(META_NOOP).await?;
                    line(&mut connection).await
                };
                within(64, asked).unwrap()
            };
            assert!(matches!(answer(b"EN \x01\r\n"), Err(AnswerError::Foreign(..))), "{cut:?}");
            assert_eq!(answer(b"EN\r\n").unwrap(), b"EN", "{cut:?}");
        }
    }
}
