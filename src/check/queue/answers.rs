//! The decoding of Redis' answers about a key: texts, counts, scores, ids and groups of streams. No I/O.

use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::str::FromStr;
use std::time::Duration;

use redis::Value;

use crate::config::checks::Unit;
use crate::redaction::{self, Redaction};

/// An answer that does not follow the documentation of its command.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

/// A group of a stream, as in `XINFO GROUPS`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamGroup {
    pub(super) name: Box<[u8]>,
    pub(super) pending: u64,
    pub(super) delivered: Id,
    lag: Option<u64>,
}

impl StreamGroup {
    /// The number of entries that it has not acknowledged, of a stream with `length` entries, and `true` if that is only
    /// an upper bound. If entries were deleted, and before Redis 7, the server does not know the number of undelivered
    /// entries; all of them are in the stream.
    pub(super) fn to_do(&self, length: u64) -> (u64, bool) {
        self.lag.map_or((length.max(self.pending), true), |lag| (lag.saturating_add(self.pending), false))
    }

    /// `mailers: pending 3, lag 5, last delivered 1700000000000-0`.
    pub(super) fn said(&self, redaction: &Redaction) -> String {
        let Self { name, pending, delivered, lag } = self;
        let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        format!("{}: pending {pending}, lag {lag}, last delivered {delivered}", redaction.bytes(name))
    }

    pub(super) fn label(&self) -> Box<str> {
        redaction::raw(&self.name).into()
    }
}

/// The id of an entry of a stream: milliseconds since 1970, unless the producer chose otherwise, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u64, u64);

impl Id {
    /// The least id behind this one.
    pub(super) fn next(self) -> Self {
        self.1.checked_add(1).map_or(Self(self.0.saturating_add(1), 0), |number| Self(self.0, number))
    }

    /// Its time, counted from 1970, if it is a time.
    pub(super) fn time(self) -> Option<Duration> {
        plausible(Duration::from_millis(self.0))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let (time, number) = id.split_once('-').ok_or(())?;
        Ok(Self(time.parse().map_err(drop)?, number.parse().map_err(drop)?))
    }
}

/// The time of a score, counted from 1970, if it is a time.
pub(super) fn time_of_score(score: f64, unit: Option<Unit>) -> Option<Duration> {
    plausible(unit?.since_epoch(score)?)
}

/// The earliest and the latest time that a score or an id may be: 2000 to 2200. Any other value is a priority or a
/// number, or has another unit than configured, and no queue has waited since 1970.
const YEARS: std::ops::Range<u64> = 946_684_800..7_258_118_400;
pub(super) const EARLIEST: Duration = Duration::from_secs(YEARS.start);

fn plausible(since_epoch: Duration) -> Option<Duration> {
    YEARS.contains(&since_epoch.as_secs()).then_some(since_epoch)
}

/// The mark of a value: another value has another mark.
pub(super) fn mark(of: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The text of an answer that is a single value.
pub(super) fn text(answer: &Value) -> Option<String> {
    match answer {
        Value::Int(number) => Some(number.to_string()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::BulkString(bytes) => Some(redaction::raw(bytes)),
        _ => None,
    }
}

/// The number in an answer, if it is one and not negative.
pub(super) fn count(answer: &Value) -> Option<u64> {
    match answer {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn id(answer: &Value) -> Option<Id> {
    text(answer)?.parse().ok()
}

/// The elements of a list; no elements if the key is missing.
fn list(answer: &Value) -> Result<&[Value], Malformed> {
    match answer {
        Value::Array(elements) => Ok(elements),
        Value::Nil | Value::ServerError(_) => Ok(&[]),
        _ => Err(Malformed),
    }
}

/// The first member of a sorted set, as a mark of it and its score, and the score.
pub(super) fn first_score(answer: &Value) -> Result<Option<(u64, f64)>, Malformed> {
    let (member, score) = match list(answer)? {
        [] => return Ok(None),
        [member, score] => (member, score),
        // In version 3 of the protocol each member is in a list with its score.
        [Value::Array(pair)] => match pair.as_slice() {
            [member, score] => (member, score),
            _ => return Err(Malformed),
        },
        _ => return Err(Malformed),
    };
    let Value::BulkString(member) = member else { return Err(Malformed) };
    let score: f64 = match score {
        Value::Double(score) => *score,
        other => text(other).and_then(|score| score.parse().ok()).ok_or(Malformed)?,
    };
    Ok(Some((mark((member, score.to_bits())), score)))
}

/// The id of the first entry of a range of a stream, or of the pending entries.
pub(super) fn first_id(answer: &Value) -> Result<Option<Id>, Malformed> {
    match list(answer)? {
        [] => Ok(None),
        [entry, ..] => list(entry)?.first().and_then(id).map(Some).ok_or(Malformed),
    }
}

/// The number of pending entries that were given to a consumer at least so long ago ("XPENDING", extended form: the
/// third field of an entry is its idle time in milliseconds).
pub(super) fn idle(answer: &Value, least: Duration) -> Result<u64, Malformed> {
    let mut found = 0;
    for entry in list(answer)? {
        let idle = list(entry)?.get(2).and_then(count).ok_or(Malformed)?;
        found += u64::from(Duration::from_millis(idle) >= least);
    }
    Ok(found)
}

/// The groups of a stream ("XINFO GROUPS": lists of names and values, or maps).
pub(super) fn groups(answer: &Value) -> Option<Vec<StreamGroup>> {
    list(answer).ok()?.iter().map(group).collect()
}

fn group(answer: &Value) -> Option<StreamGroup> {
    let fields: Vec<(&Value, &Value)> = match answer {
        Value::Map(fields) => fields.iter().map(|(name, value)| (name, value)).collect(),
        other => {
            let (pairs, _) = list(other).ok()?.as_chunks::<2>();
            pairs.iter().map(|[name, value]| (name, value)).collect()
        }
    };
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| text(name).as_deref() == Some(wanted)).map(|(_, value)| *value)
    };
    let Value::BulkString(name) = field("name")? else { return None };
    Some(StreamGroup {
        name: name.as_slice().into(),
        pending: count(field("pending")?)?,
        delivered: id(field("last-delivered-id")?)?,
        lag: field("lag").and_then(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_in_either_version_of_the_protocol() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = [
            (bulk("name"), bulk("g")),
            (bulk("consumers"), Value::Int(1)),
            (bulk("pending"), Value::Int(2)),
            (bulk("last-delivered-id"), bulk("1700000005000-0")),
            (bulk("lag"), Value::Int(4)),
        ];
        let flat = Value::Array(fields.iter().cloned().flat_map(<[_; 2]>::from).collect());
        let flat = groups(&Value::Array(vec![flat]));
        assert_eq!(groups(&Value::Array(vec![Value::Map(fields.to_vec())])), flat);
        assert_eq!(
            flat.unwrap()[0].said(&Redaction::none()),
            "g: pending 2, lag 4, last delivered 1700000005000-0"
        );
    }

    #[test]
    fn the_next_id_is_the_least_behind() {
        assert_eq!(Id(5, 7).next(), Id(5, 8));
        assert_eq!(Id(5, u64::MAX).next(), Id(6, 0));
    }
}
