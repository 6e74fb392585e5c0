//! Answers in Redis' protocol: each is cut out of the stream here, where its size is bounded, and decoded:
//! numbers, strings, lists and maps here, all else by the `redis` crate. The crate's parser alone would make room
//! for as many elements as an answer announces.

use redis::{Value, parse_redis_value};
use tokio::task::yield_now;

use super::super::connection::{AnswerError, Connection, LINE_END, find_line_end};
use crate::redaction;

/// The deepest nesting of an answer. The answers that are read here are nested three deep.
const DEPTH: usize = 8;

/// A command as it is sent: a list of strings, each with its length ("Redis serialization protocol specification"). The crate has
/// three allocations for a command on the way to it.
pub(super) fn packed<const N: usize>(words: [&str; N]) -> Vec<u8> {
    /// The most bytes of a length with what stands around it.
    const HEAD: usize = 16;
    let mut packed = Vec::with_capacity(words.iter().map(|word| HEAD + word.len()).sum::<usize>() + HEAD);
    let head = |packed: &mut Vec<u8>, kind: u8, length: usize| {
        packed.push(kind);
        packed.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        packed.extend_from_slice(LINE_END);
    };
    head(&mut packed, b'*', N);
    for word in words {
        head(&mut packed, b'$', word.len());
        packed.extend_from_slice(word.as_bytes());
        packed.extend_from_slice(LINE_END);
    }
    packed
}

/// Sends a command, packed as it is sent, and awaits its answer, which is to be a single value.
///
/// A healthy server's answer to a canary needs no decoding; all else is left to the crate.
pub(super) async fn ask(connection: &mut Connection, command: Vec<u8>) -> Result<Value, AnswerError> {
    connection.send(&command).await?;
    // Not needed while the answer is awaited.
    drop(command);
    let line = line_end(connection, 0).await?;
    let behind = line + LINE_END.len();
    match (&connection.received()[..line], head(&connection.received()[..line])?) {
        (b"+OK", _) => {
            connection.consume(behind);
            Ok(Value::Okay)
        }
        ([b'$', ..], Head { bytes: Some(bytes), .. }) => {
            connection.data_end(behind, bytes).await?;
            Ok(Value::BulkString(connection.take_between(behind, behind + bytes)))
        }
        (_, Head { elements: 1.., .. }) => Err(TOO_DEEP),
        (_, Head { bytes, elements: 0 }) => {
            let end = match bytes {
                Some(bytes) => connection.data_end(behind, bytes).await?,
                None => behind,
            };
            let value = decode(&connection.received()[..end])?;
            connection.consume(end);
            Ok(value)
        }
    }
}

/// The same, for an answer that may be a list or a map, and have `limit` bytes.
pub(super) async fn ask_for_list(
    connection: &mut Connection,
    command: Vec<u8>,
    limit: usize,
) -> Result<Value, AnswerError> {
    ask_for_elements(connection, command, limit, &mut |element| element).await
}

/// The same, for a list whose elements `keep` maps as they come, so that the caller need not hold all of them.
pub(super) async fn ask_for_elements(
    connection: &mut Connection,
    command: Vec<u8>,
    limit: usize,
    keep: &mut Keep<'_>,
) -> Result<Value, AnswerError> {
    connection.send_for(&command, limit).await?;
    drop(command);
    answer(connection, keep).await
}

/// The function that maps an element of a list to the value that is kept of it.
pub(super) type Keep<'a> = dyn FnMut(Value) -> Value + Send + 'a;

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
        let answer = answer(connection, &mut |element| element).await;
        taken.push(if taken.is_empty() { answer? } else { answer.map_err(AnswerError::midway)? });
    }
    Ok(taken)
}

/// Takes the answer to a command that was sent with others.
pub(super) async fn next(connection: &mut Connection) -> Result<Value, AnswerError> {
    answer(connection, &mut |element| element).await
}

/// The number of a list's elements that are taken before other tasks have their turn. Thousands of elements that have come
/// already would hold up every other check.
const AT_A_TIME: usize = 64;

/// The most elements of a list, and the most values within one of those. A list of every slot of a cluster has 16,384, one of ten
/// thousand clocks 20,000, and a byte of an answer may become twenty in memory.
const MOST_ELEMENTS: usize = 32 * 1024;

/// The number of decoded bytes of a list above which the connection drops them.
const HELD: usize = 8 * 1024;

/// Takes one answer, which may be a list or a map. The elements of a list are decoded one by one, as they come.
async fn answer(connection: &mut Connection, keep: &mut Keep<'_>) -> Result<Value, AnswerError> {
    let (mut end, elements) = element(connection, 0).await?;
    if connection.received().first() != Some(&b'*') || elements == 0 {
        end = values(connection, end, elements).await?;
        let value = decode(&connection.received()[..end])?;
        connection.consume(end);
        return Ok(value);
    }
    let mut list = Vec::new();
    for number in 1..=elements {
        if number > MOST_ELEMENTS {
            return Err(TOO_MANY);
        }
        let begin = end;
        end = values(connection, begin, 1).await?;
        list.push(keep(decode(&connection.received()[begin..end])?));
        if number % AT_A_TIME == 0 || end > HELD {
            connection.consume(end);
            end = 0;
        }
        if number % AT_A_TIME == 0 {
            yield_now().await;
        }
    }
    connection.consume(end);
    Ok(Value::Array(list))
}

/// Waits for so many values, each with all its elements, from `begin` in the received bytes on, and returns their end.
async fn values(connection: &mut Connection, begin: usize, values: usize) -> Result<usize, AnswerError> {
    // The number of elements that are still to come on each level.
    let mut missing = vec![values];
    let (mut end, mut taken) = (begin, 0);
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
        let (next, elements) = element(connection, end).await.map_err(AnswerError::midway)?;
        if elements > 0 && missing.len() >= DEPTH {
            return Err(TOO_DEEP);
        }
        missing.push(elements);
        end = next;
    }
    Ok(end)
}

/// Waits for one value, or the head of a list or map, at `begin` in the received bytes. Returns its end and the number of
/// elements that follow.
async fn element(connection: &mut Connection, begin: usize) -> Result<(usize, usize), AnswerError> {
    let line_end = line_end(connection, begin).await?;
    let Head { bytes, elements } = head(&connection.received()[begin..line_end])?;
    let mut end = line_end + LINE_END.len();
    if let Some(bytes) = bytes {
        end = connection.data_end(end, bytes).await?;
    }
    Ok((end, elements))
}

/// Decodes a value of which every byte was received.
fn decode(frame: &[u8]) -> Result<Value, AnswerError> {
    if let Some(value) = plain(&mut &*frame) {
        return Ok(value);
    }
    // A server that quotes its input may cut it within a character, and the crate takes only UTF-8 for an error.
    let error = frame.starts_with(b"-").then(|| redaction::raw(frame));
    let frame = error.as_ref().map_or(frame, String::as_bytes);
    parse_redis_value(frame).map_err(|_| AnswerError::Malformed("the answer cannot be decoded"))
}

/// Takes a value that consists of numbers, strings, lists and maps. Long answers have no others, and the crate's parser takes
/// several times as long for these. `None` if it has anything else in it.
fn plain(rest: &mut &[u8]) -> Option<Value> {
    let line_end = find_line_end(rest)?;
    let (line, behind) = rest.split_at(line_end);
    *rest = &behind[LINE_END.len()..];
    let (kind, told) = line.split_first()?;
    let number: i64 = std::str::from_utf8(told).ok()?.parse().ok()?;
    let length = usize::try_from(number);
    match kind {
        b':' => Some(Value::Int(number)),
        b'$' | b'*' if number == -1 => Some(Value::Nil),
        b'$' => {
            let (bytes, behind) = rest.split_at_checked(length.ok()?)?;
            *rest = behind.strip_prefix(LINE_END)?;
            Some(Value::BulkString(bytes.to_vec()))
        }
        b'*' => (0..length.ok()?).map(|_| plain(rest)).collect::<Option<_>>().map(Value::Array),
        b'%' => (0..length.ok()?)
            .map(|_| Some((plain(rest)?, plain(rest)?)))
            .collect::<Option<_>>()
            .map(Value::Map),
        _ => None,
    }
}

/// The first bytes of every kind of value (RESP 2 and 3, "Redis serialization protocol specification", the table of types).
const KINDS: &[u8] = b"+-:_,#($=!*~>%";

/// Waits for the line of a value that begins at `begin`, and returns the position of its line end. A server of another
/// protocol may greet without ever ending a line.
async fn line_end(connection: &mut Connection, begin: usize) -> Result<usize, AnswerError> {
    let mut searched = begin;
    loop {
        let received = connection.received().get(begin..).unwrap_or_default();
        if received.first().is_some_and(|first| !KINDS.contains(first)) {
            return Err(foreign(received));
        }
        if let Some(end) = connection.find_line_end(begin, &mut searched) {
            return Ok(end);
        }
        connection.receive().await?;
    }
}

/// The announced rest of an answer, after its first line.
struct Head {
    /// The number of bytes, if it is a string whose length is given.
    bytes: Option<usize>,
    /// The number of values, if it is a list or a map.
    elements: usize,
}

/// Reads the line that an answer begins with.
fn head(line: &[u8]) -> Result<Head, AnswerError> {
    let kind = line.first().ok_or_else(|| foreign(line))?;
    let (bytes, elements) = match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (None, 0),
        b'$' | b'=' | b'!' => (length(line)?, 0),
        b'*' | b'~' | b'>' => (None, length(line)?.unwrap_or_default()),
        b'%' => (None, length(line)?.unwrap_or_default().saturating_mul(2)),
        _ => return Err(foreign(line)),
    };
    Ok(Head { bytes, elements })
}

const TOO_DEEP: AnswerError = AnswerError::Malformed("the answer is nested deeper than this command allows");
const TOO_MANY: AnswerError = AnswerError::Malformed("the answer has more elements than this command allows");

fn foreign(first: &[u8]) -> AnswerError {
    AnswerError::foreign("Redis' protocol (RESP)", first)
}

/// The length that this line announces; none for -1, which stands for null.
fn length(line: &[u8]) -> Result<Option<usize>, AnswerError> {
    let number = line.get(1..).and_then(|rest| std::str::from_utf8(rest).ok()?.parse::<i64>().ok());
    match number {
        Some(-1) => Ok(None),
        number => {
            number.and_then(|number| usize::try_from(number).ok()).map(Some).ok_or_else(|| foreign(line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_packed_as_the_crate_packs_it() {
        let value = "x".repeat(1234);
        let words = ["SET", "djblets-canary:web-1:main:a", &value, "PX", "60000", ""];
        let by_the_crate = redis::cmd(words[0]).arg(&words[1..]).get_packed_command();
        assert_eq!(String::from_utf8(packed(words)), String::from_utf8(by_the_crate));
    }

    #[test]
    fn plain_frames_are_decoded_as_the_crate_decodes_them() {
        for frame in [
            ":-7\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$4\r\na\r\nb\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*3\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n",
            "*2\r\n$1\r\na\r\n%1\r\n$8\r\nhostname\r\n$7\r\nredis-0\r\n",
        ] {
            let value = plain(&mut frame.as_bytes());
            assert_eq!(value, Some(parse_redis_value(frame.as_bytes()).unwrap()), "{frame:?}");
        }
    }

    #[test]
    fn an_error_that_is_cut_within_a_character_is_an_error() {
        let frame = b"-ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH' 'app' 'p\xc3\r\n";
        let Value::ServerError(error) = decode(frame).unwrap() else { panic!("no error") };
        assert!(redaction::line(&error).ends_with("'p\u{fffd}"), "{error:?}");
    }

    #[test]
    fn frames_of_other_types_are_left_to_the_crate() {
        for frame in ["+OK\r\n", "-ERR no\r\n", "_\r\n", "*2\r\n:1\r\n#t\r\n", "~1\r\n:1\r\n", ",1.5\r\n"] {
            assert_eq!(plain(&mut frame.as_bytes()), None, "{frame:?}");
            assert_eq!(decode(frame.as_bytes()).unwrap(), parse_redis_value(frame.as_bytes()).unwrap());
        }
        for frame in [":\r\n", ":1x\r\n", "$3\r\nab\r\n", "$2\r\nabc\r\n", "*1\r\n", "*-2\r\n"] {
            assert_eq!(plain(&mut frame.as_bytes()), None, "{frame:?}");
        }
    }
}
