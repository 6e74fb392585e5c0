//! The classic text commands ("Storage commands", "Retrieval command", "Deletion", "Touch" in memcached's
//! protocol.txt), which the `memcache` crate offers only together with its own connection.

use std::time::Duration;

use super::super::connection::{AnswerError, Connection};
use super::{Entry, StoreRefusal, line, refusal, word};
use crate::canary::{Canary, Key};
use crate::outcome::Cause;

/// Stores a canary.
pub(super) async fn set(connection: &mut Connection, canary: &Canary) -> Result<(), StoreRefusal> {
    match store(connection, "set", (canary.key(), canary.value(), canary.ttl())).await?.as_slice() {
        b"STORED" => Ok(()),
        b"NOT_STORED" => Err(StoreRefusal::Means(Cause::NotStored, "NOT_STORED")),
        other => Err(refusal(other)),
    }
}

/// Stores a canary over the one that its key holds; `false` if it holds none, as after an eviction or a
/// restart.
pub(super) async fn replace(connection: &mut Connection, canary: &Canary) -> Result<bool, StoreRefusal> {
    match store(connection, "replace", (canary.key(), canary.value(), canary.ttl())).await?.as_slice() {
        b"STORED" => Ok(true),
        b"NOT_STORED" => Ok(false),
        other => Err(refusal(other)),
    }
}

/// Stores a value unless the key has one.
pub(super) async fn add(connection: &mut Connection, entry: Entry<'_>) -> Result<(), StoreRefusal> {
    match store(connection, "add", entry).await?.as_slice() {
        b"STORED" | b"NOT_STORED" => Ok(()),
        other => Err(refusal(other)),
    }
}

async fn store(
    connection: &mut Connection,
    verb: &str,
    (key, value, ttl): Entry<'_>,
) -> Result<Vec<u8>, AnswerError> {
    // Put together, not formatted: every check stores, and formatting took a tenth of its instructions.
    let (mut seconds, mut length) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (seconds, length) = (seconds.format(ttl.as_secs()), length.format(value.len()));
    let command = [verb, " ", key.as_str(), " 0 ", seconds, " ", length, "\r\n", value, "\r\n"].concat();
    ask(connection, &command).await
}

/// Reads a key.
pub(super) async fn get(connection: &mut Connection, key: &str) -> Result<Option<Vec<u8>>, StoreRefusal> {
    let line = ask(connection, &format!("get {key}\r\n")).await?;
    if line == b"END" {
        return Ok(None);
    }
    if word(&line, 0) != Some("VALUE") {
        return Err(refusal(&line));
    }
    if word(&line, 1) != Some(key) {
        return Err(AnswerError::Malformed("the answer is for another key than the requested one").into());
    }
    let Some(len) = word(&line, 3).and_then(|len| len.parse().ok()) else {
        return Err(AnswerError::Malformed("the length of a value is not a number").into());
    };
    let data = connection.data(len).await?;
    match connection.line().await?.as_slice() {
        b"END" => Ok(Some(data)),
        _ => Err(AnswerError::Malformed("the value is not followed by END").into()),
    }
}

/// Gives a key another time to live, without a new place in memory.
pub(super) async fn touch(connection: &mut Connection, key: &Key, ttl: Duration) -> Result<(), StoreRefusal> {
    match ask(connection, &format!("touch {key} {}\r\n", ttl.as_secs())).await?.as_slice() {
        b"TOUCHED" | b"NOT_FOUND" => Ok(()),
        other => Err(refusal(other)),
    }
}

/// Deletes a key, if it is there.
pub(super) async fn delete(connection: &mut Connection, key: &Key) -> Result<(), StoreRefusal> {
    match ask(connection, &format!("delete {key}\r\n")).await?.as_slice() {
        b"DELETED" | b"NOT_FOUND" => Ok(()),
        other => Err(refusal(other)),
    }
}

/// Asks for statistics of this kind: lines of `STAT`, a name and a value, and `END`.
pub(super) async fn stats(
    connection: &mut Connection,
    kind: &str,
) -> Result<Vec<(String, String)>, StoreRefusal> {
    let mut line = ask(connection, &format!("{}\r\n", format!("stats {kind}").trim_end())).await?;
    let mut stats = Vec::new();
    while line != b"END" {
        match (word(&line, 0), word(&line, 1), word(&line, 2)) {
            (Some("STAT"), Some(name), Some(value)) => stats.push((name.to_owned(), value.to_owned())),
            _ => return Err(refusal(&line)),
        }
        line = connection.line().await.map_err(AnswerError::midway)?;
    }
    Ok(stats)
}

/// Asks for the version, which is a line.
pub(super) async fn version(connection: &mut Connection) -> Result<String, StoreRefusal> {
    let line = ask(connection, "version\r\n").await?;
    if word(&line, 0) == Some("VERSION") { Ok(crate::redaction::raw(&line)) } else { Err(refusal(&line)) }
}

async fn ask(connection: &mut Connection, command: &str) -> Result<Vec<u8>, AnswerError> {
    connection.send(command.as_bytes()).await?;
    line(connection).await
}
