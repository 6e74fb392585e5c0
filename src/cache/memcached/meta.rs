//! The meta commands, encoded and decoded by `memcache::exp`.

use memcache::exp;
use memcache::exp::{DeleteOptions, GetOptions, MetaCommand, MetaResponse, ReturnCode, SetOptions};

use super::super::connection::{AnswerError, Connection};
use super::{Refusal, refusal};
use crate::canary::{Canary, Key, Superseded, Version};
use crate::outcome::Cause;

/// Whether the server knows meta commands: `mn` is answered with `MN`, or with `ERROR`.
pub(super) async fn is_spoken(connection: &mut Connection) -> Result<bool, Refusal> {
    connection.send(b"mn\r\n").await?;
    let line = connection.line().await?;
    match line.as_slice() {
        b"MN" => Ok(true),
        b"ERROR" => Ok(false),
        other => Err(refusal(other)),
    }
}

/// Stores a canary; the version is the item's CAS unique.
pub(super) async fn set(connection: &mut Connection, canary: &Canary) -> Result<Option<Version>, Refusal> {
    let mut options = SetOptions::default();
    options.ttl = Some(u32::try_from(canary.ttl().as_secs()).unwrap_or(u32::MAX));
    options.return_cas = true;
    let command = exp::build_set(canary.key().as_str(), canary.value(), &options);
    send(connection, command).await?;
    let mut line = connection.line().await?;
    while line.ends_with(LATE) {
        line = connection.line().await?;
    }
    let response = response(&line)?;
    match response.rc() {
        ReturnCode::Hd => Ok(response.flags().find_map(cas)),
        ReturnCode::Ns => Err(Refusal::Said(Cause::NotStored, "NS".to_owned())),
        _ => Err(AnswerError::Malformed("the answer is not one to a write").into()),
    }
}

/// Reads a key.
pub(super) async fn get(connection: &mut Connection, key: &Key) -> Result<Option<Vec<u8>>, Refusal> {
    send(connection, exp::build_get(key.as_str(), &GetOptions::default())).await?;
    let line = connection.line().await?;
    match response(&line)?.rc() {
        ReturnCode::En => Ok(None),
        // The length is the second word of the line; the crate has seen that it is a number, and keeps it to itself.
        ReturnCode::Va => match super::word(&line, 1).and_then(|len| len.parse().ok()) {
            Some(len) => Ok(Some(connection.data(len).await?)),
            None => Err(AnswerError::Malformed("the length of a value is no number").into()),
        },
        _ => Err(AnswerError::Malformed("the answer is not one to a read").into()),
    }
}

/// What ends the answer to a removal: its opaque token, which the server repeats.
const LATE: &[u8] = b" Olate";

/// Removes exactly the write that was superseded. There is no answer (`q`) but where an overlapping check has written the
/// key again since; that one is met, and known by its token, before the answer to the next write.
pub(super) async fn remove(connection: &mut Connection, superseded: &Superseded) -> Result<(), Refusal> {
    let mut options = DeleteOptions::default();
    options.compare_cas = superseded.version.map(|Version(cas)| cas);
    options.opaque = Some(b"late".to_vec());
    let command = exp::build_delete(superseded.key.as_str(), &options).map(|command| command.flag("q"));
    send(connection, command).await
}

async fn send(connection: &mut Connection, command: exp::Result<MetaCommand>) -> Result<(), Refusal> {
    // A canary's key is one that can be encoded.
    let bytes = command
        .and_then(|command| command.encode())
        .map_err(|error| Refusal::Said(Cause::Protocol, error.to_string()))?;
    Ok(connection.send(&bytes).await?)
}

fn response(line: &[u8]) -> Result<MetaResponse, Refusal> {
    MetaResponse::parse_header(line).map_err(|_| refusal(line))
}

fn cas(flag: &[u8]) -> Option<Version> {
    let number = flag.strip_prefix(b"c")?;
    std::str::from_utf8(number).ok()?.parse().ok().map(Version)
}
