//! [`Cache`]: one node that can be written and read; and the backends that implement it.
//!
//! All of them stand on one dialer and one connection of our own; the crates are codecs only. That gives each
//! the same deadlines, phases, causes and limits, with no hidden retry and no task in the background.

mod activity;
mod breaker;
mod connection;
mod dial;
mod foreign;
pub(crate) mod memcached;
pub(crate) mod redis;
pub(crate) mod spelling;
mod vocabulary;

use std::time::Duration;

use async_trait::async_trait;

use crate::canary::{Canary, Key, Read, Unset};
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;

#[cfg(any(test, fuzzing))]
pub(crate) use connection::scripted;

pub(crate) use activity::{count as activity, note as note_activity};
pub(crate) use breaker::BreakerLayer;
pub use dial::SetupError;
pub(crate) use dial::{Dialer, Resolver, Stream, client_config, in_words, pinned_config, tls_error};

/// One node of a cache: something that can be written and read.
///
/// A breaker is a [`tower::Layer`] around one, and a test's scripted cache is one with a script in it.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Writes a canary and waits for the answer; `Ok` is the cache's word that it is stored.
    ///
    /// Takes the kept connection, or dials.
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError>;

    /// Reads a key. If there is no such key, the `default` is given back.
    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault>;

    /// Reads a key as the first command of a round: on the kept connection, or on a new one.
    ///
    /// It replaces a check. If a layer does not pass it on, every check is made.
    async fn get_first(&self, _: &Key, _: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        Err(progress.fault(Cause::Unreachable, "a cache layer does not pass this read on"))
    }

    /// Deletes a key, as a further part of a check that has begun. A missing key is no fault.
    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault>;

    /// Gives the canaries under these keys another time to live, after the server was too full for a new one.
    async fn renew(&self, keys: &[Key], ttl: Duration);

    /// The command with which other tools probe the server, if the server answers it. An answer proves nothing, and
    /// is only reported beside a failure that data has shown.
    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str>;

    /// `true` if nothing has come over the kept connection since its last answer: neither a close nor unrequested bytes.
    /// It is called before a verdict is given to another caller; it sends nothing and waits for nothing. A layer passes
    /// the call on.
    fn is_quiet(&self) -> bool {
        true
    }
}

/// The reason why a canary was not written.
#[derive(Debug)]
pub enum SetError {
    /// A connection kept from an earlier check turned out to have been closed before any byte of an answer
    /// came, or was used up to find out what the server understands. That says nothing about the cache: the check starts
    /// over, with a new canary on a new connection.
    KeptConnectionClosed,
    /// The cache did not take it.
    Fault(Fault),
}

impl From<Fault> for SetError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
