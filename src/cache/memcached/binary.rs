//! The binary commands ("Memcached Binary Protocol", memcached's protocol-binary.txt), the only ones that a
//! server with SASL (`-S`) understands.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::super::connection::{AnswerError, Connection};
use super::{Credentials, Entry, StoreRefusal};
use crate::canary::{Canary, Key};
use crate::outcome::Cause;
use crate::redaction;

/// The first byte of a request, and of an answer ("Magic Byte").
const REQUEST: u8 = 0x80;
const ANSWER: u8 = 0x81;

/// The length of the header of every request and every answer ("General format of a packet").
const HEADER: usize = 24;

/// The opcode of a request ("Command Opcodes"; SASL's are in memcached's wiki, "SASL authentication for
/// memcached").
#[derive(Clone, Copy)]
#[repr(u8)]
enum Opcode {
    Set = 0x01,
    Add = 0x02,
    Replace = 0x03,
    Delete = 0x04,
    Noop = 0x0a,
    Stat = 0x10,
    /// A get that is answered with the key too.
    GetKey = 0x0c,
    Touch = 0x1c,
    Authenticate = 0x21,
}

/// The statuses of answers ("Response Status") that are distinguished here.
mod status {
    pub(super) const DONE: u16 = 0x0000;
    pub(super) const NOT_FOUND: u16 = 0x0001;
    pub(super) const KEY_EXISTS: u16 = 0x0002;
    pub(super) const TOO_LARGE: u16 = 0x0003;
    pub(super) const INVALID_ARGUMENTS: u16 = 0x0004;
    pub(super) const NOT_STORED: u16 = 0x0005;
    /// Also the answer to any request without credentials.
    pub(super) const AUTH_ERROR: u16 = 0x0020;
    pub(super) const AUTH_CONTINUE: u16 = 0x0021;
    pub(super) const OTHER_VBUCKET: u16 = 0x0007;
    pub(super) const UNKNOWN_COMMAND: u16 = 0x0081;
    pub(super) const NOT_SUPPORTED: u16 = 0x0083;
    pub(super) const OUT_OF_MEMORY: u16 = 0x0082;
    pub(super) const INTERNAL_ERROR: u16 = 0x0084;
    pub(super) const BUSY: u16 = 0x0085;
    pub(super) const TEMPORARY_FAILURE: u16 = 0x0086;
}

/// The parts of a request besides its opcode.
#[derive(Default)]
struct Request<'a> {
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
}

struct BinaryAnswer {
    status: u16,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// `true` if the server speaks this protocol. A server that wants credentials refuses.
pub(super) async fn is_spoken(connection: &mut Connection) -> Result<bool, StoreRefusal> {
    let answer = begin(connection, Opcode::Noop, &Request::default()).await?;
    match answer {
        None => Ok(false),
        Some(BinaryAnswer { status: status::DONE, .. }) => Ok(true),
        Some(other) => Err(refusal(&other)),
    }
}

/// The same, and gives the credentials, in SASL's mechanism PLAIN (RFC 4616, section 2). A server that
/// wants credentials closes a connection on which another command came before (the wiki's "SASL
/// authentication for memcached").
pub(super) async fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<bool, StoreRefusal> {
    let plain = format!("\0{}\0{}", credentials.username, credentials.password.expose_secret());
    let request = Request { key: b"PLAIN", value: plain.as_bytes(), ..Request::default() };
    match begin(connection, Opcode::Authenticate, &request).await? {
        None => Ok(false),
        Some(BinaryAnswer { status: status::DONE, .. }) => Ok(true),
        // A server that was started without SASL does not know the command.
        Some(BinaryAnswer { status: status::UNKNOWN_COMMAND, .. }) => {
            Err(StoreRefusal::unwanted_credentials())
        }
        Some(other) => Err(refusal(&other)),
    }
}

/// Makes the first request on a connection. If the server does not speak this protocol, the answer is
/// `None`.
async fn begin(
    connection: &mut Connection,
    opcode: Opcode,
    request: &Request<'_>,
) -> Result<Option<BinaryAnswer>, AnswerError> {
    let opaque = send(connection, opcode, request).await?;
    match connection.peek().await {
        Ok(ANSWER) => receive(connection, opcode, opaque).await.map(Some),
        Ok(_) | Err(AnswerError::Closed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a canary.
pub(super) async fn set(connection: &mut Connection, canary: &Canary) -> Result<(), StoreRefusal> {
    let answer = store(connection, Opcode::Set, (canary.key(), canary.value(), canary.ttl())).await?;
    if answer.status == status::DONE { Ok(()) } else { Err(refusal(&answer)) }
}

/// Stores a canary over the one that its key holds; `false` if it holds none, as after an eviction or a
/// restart.
pub(super) async fn replace(connection: &mut Connection, canary: &Canary) -> Result<bool, StoreRefusal> {
    let answer = store(connection, Opcode::Replace, (canary.key(), canary.value(), canary.ttl())).await?;
    match answer.status {
        status::DONE => Ok(true),
        status::NOT_FOUND => Ok(false),
        _ => Err(refusal(&answer)),
    }
}

/// Stores a value unless the key has one.
pub(super) async fn add(connection: &mut Connection, entry: Entry<'_>) -> Result<(), StoreRefusal> {
    let answer = store(connection, Opcode::Add, entry).await?;
    match answer.status {
        status::DONE | status::KEY_EXISTS => Ok(()),
        _ => Err(refusal(&answer)),
    }
}

async fn store(
    connection: &mut Connection,
    opcode: Opcode,
    (key, value, ttl): Entry<'_>,
) -> Result<BinaryAnswer, AnswerError> {
    // The flags that clients mark their values with, none here, and the time to live.
    let mut extras = [0; 8];
    extras[4..].copy_from_slice(&seconds(ttl));
    let request = Request { extras: &extras, key: key.as_str().as_bytes(), value: value.as_bytes() };
    ask(connection, opcode, &request).await
}

/// Reads a key.
pub(super) async fn get(connection: &mut Connection, key: &str) -> Result<Option<Vec<u8>>, StoreRefusal> {
    let request = Request { key: key.as_bytes(), ..Request::default() };
    let answer = ask(connection, Opcode::GetKey, &request).await?;
    match answer.status {
        status::DONE if answer.key != key.as_bytes() => {
            Err(AnswerError::Malformed("the answer is for another key than the requested one").into())
        }
        status::DONE => Ok(Some(answer.value)),
        status::NOT_FOUND => Ok(None),
        _ => Err(refusal(&answer)),
    }
}

/// Gives a key another time to live, without a new place in memory.
pub(super) async fn touch(connection: &mut Connection, key: &Key, ttl: Duration) -> Result<(), StoreRefusal> {
    let request = Request { extras: &seconds(ttl), key: key.as_str().as_bytes(), ..Request::default() };
    let answer = ask(connection, Opcode::Touch, &request).await?;
    match answer.status {
        status::DONE | status::NOT_FOUND => Ok(()),
        _ => Err(refusal(&answer)),
    }
}

/// Deletes a key, if it is there.
pub(super) async fn delete(connection: &mut Connection, key: &Key) -> Result<(), StoreRefusal> {
    let request = Request { key: key.as_str().as_bytes(), ..Request::default() };
    let answer = ask(connection, Opcode::Delete, &request).await?;
    match answer.status {
        status::DONE | status::NOT_FOUND => Ok(()),
        _ => Err(refusal(&answer)),
    }
}

/// Asks for the statistics: an answer for each, and one without a name at the end.
pub(super) async fn stats(
    connection: &mut Connection,
    kind: &str,
) -> Result<Vec<(String, String)>, StoreRefusal> {
    let request = Request { key: kind.as_bytes(), ..Request::default() };
    let opaque = send(connection, Opcode::Stat, &request).await?;
    let mut stats = Vec::new();
    loop {
        let answer = receive(connection, Opcode::Stat, opaque).await;
        let answer = if stats.is_empty() { answer? } else { answer.map_err(AnswerError::midway)? };
        if answer.status != status::DONE {
            return Err(refusal(&answer));
        }
        if answer.key.is_empty() {
            return Ok(stats);
        }
        stats.push((redaction::raw(&answer.key), redaction::raw(&answer.value)));
    }
}

fn seconds(ttl: Duration) -> [u8; 4] {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Makes a request and awaits its answer.
async fn ask(
    connection: &mut Connection,
    opcode: Opcode,
    request: &Request<'_>,
) -> Result<BinaryAnswer, AnswerError> {
    let opaque = send(connection, opcode, request).await?;
    receive(connection, opcode, opaque).await
}

/// Bytes that a server sends back as they are ("Opaque").
type Opaque = [u8; 4];

async fn send(
    connection: &mut Connection,
    opcode: Opcode,
    request: &Request<'_>,
) -> Result<Opaque, AnswerError> {
    // The line end is for a server that speaks only text: it takes the bytes before it for a command, and
    // answers instead of waiting for the end of a line.
    let [first, second] = fastrand::u16(..).to_be_bytes();
    let opaque = [first, second, b'\r', b'\n'];
    connection.send(&encode(opcode, opaque, request)).await?;
    Ok(opaque)
}

async fn receive(
    connection: &mut Connection,
    opcode: Opcode,
    opaque: Opaque,
) -> Result<BinaryAnswer, AnswerError> {
    // The first byte is checked by itself, because an answer in text may be shorter than a header.
    if connection.peek().await? != ANSWER {
        return Err(AnswerError::Malformed("the answer is not memcached's binary protocol"));
    }
    let header = connection.bytes(HEADER).await?;
    let number = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
    let (key, extras) = (usize::from(number(2)), usize::from(header[4]));
    let body = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if header[1] != opcode as u8 || header[12..16] != opaque {
        return Err(AnswerError::Malformed("the answer is for another request"));
    }
    if extras + key > body {
        return Err(AnswerError::Malformed("the parts of an answer are longer than the whole"));
    }
    let mut body = connection.bytes(body).await?;
    let value = body.split_off(extras + key);
    Ok(BinaryAnswer { status: number(6), key: body.split_off(extras), value })
}

/// The bytes of a request. The length of each part fits its field by far.
fn encode(opcode: Opcode, opaque: Opaque, request: &Request<'_>) -> Vec<u8> {
    let Request { extras, key, value } = request;
    let body = extras.len() + key.len() + value.len();
    let mut bytes = vec![0; HEADER];
    bytes[0] = REQUEST;
    bytes[1] = opcode as u8;
    bytes[2..4].copy_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes[4] = u8::try_from(extras.len()).unwrap_or(u8::MAX);
    bytes[8..12].copy_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes());
    bytes[12..16].copy_from_slice(&opaque);
    for part in [extras, key, value] {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The refusal that an unsuccessful answer means; its value is the server's words.
fn refusal(answer: &BinaryAnswer) -> StoreRefusal {
    let cause = match answer.status {
        status::OUT_OF_MEMORY => Cause::OutOfMemory,
        status::TOO_LARGE | status::INVALID_ARGUMENTS | status::NOT_STORED | status::NOT_FOUND => {
            Cause::NotStored
        }
        status::AUTH_ERROR | status::AUTH_CONTINUE => Cause::Auth,
        status::UNKNOWN_COMMAND | status::NOT_SUPPORTED => Cause::Forbidden,
        status::OTHER_VBUCKET | status::INTERNAL_ERROR | status::BUSY | status::TEMPORARY_FAILURE => {
            Cause::Unreachable
        }
        _ => Cause::Protocol,
    };
    StoreRefusal::Said { cause, status: Some(answer.status), line: redaction::raw(&answer.value) }
}
