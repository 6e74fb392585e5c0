//! Answers in Redis' protocol: each is cut out of the stream here, where its size is bounded, and decoded by
//! the `redis` crate. Left to itself the crate's parser would make room for as many elements as an answer
//! announces.

use redis::{Cmd, Value, parse_redis_value};

use super::super::connection::{AnswerError, Connection};

/// How deep answers may be nested; those that are read here are nested three deep.
const DEPTH: usize = 8;

/// Sends a command and awaits its answer, which is to be a single value.
pub(super) async fn ask(connection: &mut Connection, command: &Cmd) -> Result<Value, AnswerError> {
    connection.send(&command.get_packed_command()).await?;
    decode(&frame(connection, 0).await?)
}

/// The same, for an answer that may be a list or a map, and have `limit` bytes.
pub(super) async fn ask_for_list(
    connection: &mut Connection,
    command: &Cmd,
    limit: usize,
) -> Result<Value, AnswerError> {
    connection.send_for(&command.get_packed_command(), limit).await?;
    decode(&frame(connection, DEPTH).await?)
}

fn decode(frame: &[u8]) -> Result<Value, AnswerError> {
    parse_redis_value(frame).map_err(|_| AnswerError::Malformed("the answer cannot be decoded"))
}

/// Takes one whole answer, nested no deeper than `depth` (RESP 2 and 3, "Redis serialization protocol specification": the table of types).
async fn frame(connection: &mut Connection, depth: usize) -> Result<Vec<u8>, AnswerError> {
    let mut frame = Vec::new();
    // How many elements are still to come on each level.
    let mut missing = [0_usize; DEPTH + 1];
    let mut level = 0;
    missing[level] = 1;
    loop {
        while missing[level] == 0 {
            if level == 0 {
                return Ok(frame);
            }
            level -= 1;
        }
        missing[level] -= 1;
        let line = match connection.line().await {
            Err(AnswerError::Closed(_)) if !frame.is_empty() => {
                return Err(AnswerError::Malformed("the connection was closed in the middle of an answer"));
            }
            line => line?,
        };
        let Some((kind, rest)) = line.split_first() else { return Err(UNKNOWN) };
        let length = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Length::Line,
            b'$' | b'=' | b'!' => length(rest)?.map_or(Length::Line, Length::Bytes),
            b'*' | b'~' | b'>' => length(rest)?.map_or(Length::Line, Length::Elements),
            b'%' => length(rest)?.map_or(Length::Line, |pairs| Length::Elements(pairs.saturating_mul(2))),
            _ => return Err(UNKNOWN),
        };
        frame.extend_from_slice(&line);
        frame.extend_from_slice(b"\r\n");
        match length {
            Length::Line => {}
            Length::Bytes(bytes) => {
                frame.extend(connection.data(bytes).await?);
                frame.extend_from_slice(b"\r\n");
            }
            Length::Elements(_) if level == depth => return Err(TOO_DEEP),
            Length::Elements(elements) => {
                level += 1;
                missing[level] = elements;
            }
        }
    }
}

/// What follows the line that an answer begins with.
enum Length {
    /// Nothing: the line is all.
    Line,
    /// So many bytes.
    Bytes(usize),
    /// So many answers.
    Elements(usize),
}

const TOO_DEEP: AnswerError =
    AnswerError::Malformed("the answer is nested deeper than any to such a command");
const UNKNOWN: AnswerError = AnswerError::Malformed("the answer is not one of Redis' kinds of answers");

/// A length as it is announced; -1 stands for null.
fn length(announced: &[u8]) -> Result<Option<usize>, AnswerError> {
    match std::str::from_utf8(announced).ok().and_then(|length| length.parse::<i64>().ok()) {
        Some(-1) => Ok(None),
        Some(length) => usize::try_from(length)
            .map(Some)
            .map_err(|_| AnswerError::Malformed("a length in the answer is negative")),
        None => Err(AnswerError::Malformed("a length in the answer is no number")),
    }
}
