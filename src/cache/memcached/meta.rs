//! The meta commands, encoded and decoded by `memcache::exp`.

use memcache::exp;
use memcache::exp::{MetaCommand, MetaOp, MetaResponse, ReturnCode, SetOptions};

use super::super::connection::{AnswerError, Connection};
use super::{StoreRefusal, refusal};
use crate::canary::{Canary, Key};
use crate::outcome::Cause;

/// The bytes that a command seldom exceeds.
const USUAL: usize = 128;

/// Stores a canary.
pub(super) async fn set(connection: &mut Connection, canary: &Canary) -> Result<(), StoreRefusal> {
    let mut options = SetOptions::default();
    options.ttl = Some(u32::try_from(canary.ttl().as_secs()).unwrap_or(u32::MAX));
    let command = exp::build_set(canary.key().as_str(), canary.value(), &options).map_err(unusable)?;
    send(connection, command).await?;
    let line = super::line(connection).await?;
    match response(&line)?.rc() {
        ReturnCode::Hd => Ok(()),
        ReturnCode::Ns => Err(StoreRefusal::Means(Cause::NotStored, "NS")),
        _ => Err(AnswerError::Malformed("the answer is not one to a write command").into()),
    }
}

/// Reads a key.
pub(super) async fn get(connection: &mut Connection, key: &Key) -> Result<Option<Vec<u8>>, StoreRefusal> {
    send(connection, MetaCommand::new(MetaOp::Get, key.as_str()).flag("v").flag("k")).await?;
    let line = super::line(connection).await?;
    let response = response(&line)?;
    match response.rc() {
        ReturnCode::En => Ok(None),
        ReturnCode::Va
            if !response.flags().any(|flag| flag.strip_prefix(b"k") == Some(key.as_str().as_bytes())) =>
        {
            Err(AnswerError::Malformed("the answer is for another key than the requested one").into())
        }
        // The length is the second word of the line. The crate has parsed it, but does not expose it.
        ReturnCode::Va => match super::word(&line, 1).and_then(|len| len.parse().ok()) {
            Some(len) => Ok(Some(connection.data(len).await?)),
            None => Err(AnswerError::Malformed("the length of a value is not a number").into()),
        },
        _ => Err(AnswerError::Malformed("the answer is not one to a read command").into()),
    }
}

async fn send(connection: &mut Connection, command: MetaCommand) -> Result<(), StoreRefusal> {
    let mut bytes = Vec::with_capacity(USUAL);
    command.encode_into(&mut bytes).map_err(unusable)?;
    Ok(connection.send(&bytes).await?)
}

/// A canary's key is one that can be encoded.
fn unusable(_: exp::Error) -> StoreRefusal {
    StoreRefusal::Means(Cause::Protocol, "the key cannot be encoded")
}

fn response(line: &[u8]) -> Result<MetaResponse, StoreRefusal> {
    MetaResponse::parse_header(line).map_err(|_| refusal(line))
}
