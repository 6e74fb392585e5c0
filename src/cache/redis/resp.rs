//! Answers in Redis' protocol: each is cut out of the stream here, where its size is bounded, and decoded by
//! the `redis` crate where there is anything to decode. Left to itself the crate's parser would make room for
//! as many elements as an answer announces.

use redis::{Value, parse_redis_value};
use tokio::task::yield_now;

use super::super::connection::{AnswerError, Connection};

/// How deep answers may be nested; those that are read here are nested three deep.
const DEPTH: usize = 8;

/// Sends a command, packed as it is sent, and awaits its answer, which is to be a single value.
///
/// What a healthy server answers to a canary needs no decoding; all else is left to the crate.
pub(super) async fn ask(connection: &mut Connection, command: Vec<u8>) -> Result<Value, AnswerError> {
    connection.send(&command).await?;
    // Not needed while the answer is awaited.
    drop(command);
    let mut line = connection.line().await?;
    match (line.as_slice(), head(&line)?) {
        (b"+OK", _) => Ok(Value::Okay),
        ([b'$', ..], Head { bytes: Some(bytes), .. }) => connection.data(bytes).await.map(Value::BulkString),
        (_, Head { elements: 1.., .. }) => Err(TOO_DEEP),
        (_, Head { bytes, elements: 0 }) => {
            line.extend_from_slice(b"\r\n");
            if let Some(bytes) = bytes {
                line.extend(connection.data(bytes).await?);
                line.extend_from_slice(b"\r\n");
            }
            decode(&line)
        }
    }
}

/// The same, for an answer that may be a list or a map, and have `limit` bytes.
pub(super) async fn ask_for_list(
    connection: &mut Connection,
    command: Vec<u8>,
    limit: usize,
) -> Result<Value, AnswerError> {
    connection.send_for(&command, limit).await?;
    drop(command);
    answer(connection).await
}

/// Sends several commands at once, and takes as many answers, which together may have `limit` bytes.
pub(super) async fn ask_each(
    connection: &mut Connection,
    commands: &[u8],
    answers: usize,
    limit: usize,
) -> Result<Vec<Value>, AnswerError> {
    connection.send_for(commands, limit).await?;
    let mut taken = Vec::new();
    while taken.len() < answers {
        let answer = answer(connection).await;
        taken.push(if taken.is_empty() { answer? } else { answer.map_err(AnswerError::midway)? });
    }
    Ok(taken)
}

/// How many elements of a list are taken before others have their turn. Thousands of them that have come already would hold
/// up every other check.
const AT_A_TIME: usize = 64;

/// The most elements of a list, and the most values within one of those. A list of every slot of a cluster has 16,384, one of ten
/// thousand clocks 20,000, and a byte of an answer may become twenty in memory.
const MOST_ELEMENTS: usize = 32 * 1024;

/// Takes one answer, which may be a list or a map. The elements of a list are decoded one by one, as they come.
async fn answer(connection: &mut Connection) -> Result<Value, AnswerError> {
    let mut frame = Vec::new();
    let elements = element(connection, &mut frame).await?;
    if frame.first() != Some(&b'*') || elements == 0 {
        take(connection, &mut frame, elements).await?;
        return decode(&frame);
    }
    let mut list = Vec::new();
    for number in 1..=elements {
        if number > MOST_ELEMENTS {
            return Err(TOO_MANY);
        }
        frame.clear();
        take(connection, &mut frame, 1).await?;
        list.push(decode(&frame)?);
        if number % AT_A_TIME == 0 {
            yield_now().await;
        }
    }
    Ok(Value::Array(list))
}

/// Takes so many values of an answer that has begun, each with all its elements.
async fn take(connection: &mut Connection, frame: &mut Vec<u8>, values: usize) -> Result<(), AnswerError> {
    // How many elements are still to come on each level.
    let mut missing = vec![values];
    let mut taken = 0;
    while let Some(left) = missing.last_mut() {
        if *left == 0 {
            missing.pop();
            continue;
        }
        *left -= 1;
        taken += 1;
        if taken > MOST_ELEMENTS {
            return Err(TOO_MANY);
        }
        let elements = element(connection, frame).await.map_err(AnswerError::midway)?;
        if elements > 0 && missing.len() >= DEPTH {
            return Err(TOO_DEEP);
        }
        missing.push(elements);
    }
    Ok(())
}

fn decode(frame: &[u8]) -> Result<Value, AnswerError> {
    parse_redis_value(frame).map_err(|_| AnswerError::Malformed("the answer cannot be decoded"))
}

/// Takes one value, or the head of a list or map, and says how many elements of that follow.
async fn element(connection: &mut Connection, frame: &mut Vec<u8>) -> Result<usize, AnswerError> {
    let line = connection.line().await?;
    let Head { bytes, elements } = head(&line)?;
    frame.extend_from_slice(&line);
    frame.extend_from_slice(b"\r\n");
    if let Some(bytes) = bytes {
        frame.extend(connection.data(bytes).await?);
        frame.extend_from_slice(b"\r\n");
    }
    Ok(elements)
}

/// What follows the line that an answer begins with.
struct Head {
    /// So many bytes, where it is a string whose length is told.
    bytes: Option<usize>,
    /// So many answers, where it is a list or a map.
    elements: usize,
}

/// Reads the line that an answer begins with (RESP 2 and 3, "Redis serialization protocol specification", the
/// table of types).
fn head(line: &[u8]) -> Result<Head, AnswerError> {
    let Some((kind, rest)) = line.split_first() else { return Err(UNKNOWN) };
    let (bytes, elements) = match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (None, 0),
        b'$' | b'=' | b'!' => (length(rest)?, 0),
        b'*' | b'~' | b'>' => (None, length(rest)?.unwrap_or_default()),
        b'%' => (None, length(rest)?.unwrap_or_default().saturating_mul(2)),
        _ => return Err(UNKNOWN),
    };
    Ok(Head { bytes, elements })
}

const TOO_DEEP: AnswerError =
    AnswerError::Malformed("the answer is nested deeper than any to such a command");
const TOO_MANY: AnswerError =
    AnswerError::Malformed("the answer has more elements than any to such a command");
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
