//! The values of the keys: Redis' answers, decoded to clocks.

use redis::{Cmd, Value, cmd};

use crate::cache::redis::answered;
use crate::outcome::{Cause, Fault};
use crate::progress::NodeProgress;
use crate::redaction;

/// The most partitions that are read. Of more, the least ones and the most advanced one are read.
const MOST_PARTITIONS: usize = 10_000;

/// The ranges of the least ones and of the most advanced one, as ZRANGE counts.
pub(super) const RANGES: [(i32, i32); 2] = [(0, 9_999), (-1, -1)];

/// The most bytes of all answers together: enough for [`MOST_PARTITIONS`] with names of a hundred characters.
pub(super) const LIMIT: usize = 2 * 1024 * 1024;

/// The value of the global clock's key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Global {
    At(f64),
    Missing,
    /// A string that is not a number.
    NoNumber(Box<str>),
    /// A value of a type other than string.
    OtherType,
}

/// The value of the partitions' key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Partitions {
    Clocks(ClockReadings),
    /// A value of a type other than sorted set.
    OtherType,
}

/// The clocks of the partitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClockReadings {
    /// The number of partitions.
    pub(super) count: usize,
    /// The least [`MOST_PARTITIONS`] in ascending order, and then the most advanced one, if it is not among them.
    pub(super) ascending: Vec<ClockReading>,
}

/// The clock of one partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClockReading {
    pub(super) name: Box<str>,
    pub(super) clock: f64,
}

/// The command for the global clock.
pub(super) fn ask_global(key: &str) -> Vec<Cmd> {
    vec![cmd("GET").arg(key).take()]
}

/// The commands for the partitions' clocks.
pub(super) fn ask_partitions(key: &str) -> Vec<Cmd> {
    let range = |(from, to): (i32, i32)| cmd("ZRANGE").arg(key).arg(from).arg(to).arg("WITHSCORES").take();
    let [least, most] = RANGES.map(range);
    vec![cmd("ZCARD").arg(key).take(), least, most]
}

impl Global {
    /// Reads the answer to [`ask_global`].
    pub(super) fn read(answers: &[Value], progress: &NodeProgress) -> Result<Self, Fault> {
        let [answer] = answers else { return Err(unexpected(progress)) };
        if is_other_type(answer) {
            return Ok(Self::OtherType);
        }
        match answered(answer, progress)? {
            Value::Nil => Ok(Self::Missing),
            Value::BulkString(bytes) => {
                let text = redaction::raw(bytes);
                let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
                Ok(number
                    .map_or_else(|| Self::NoNumber(shortened(&progress.redaction().text(&text))), Self::At))
            }
            _ => Err(unexpected(progress)),
        }
    }

    pub(super) fn at(&self) -> Option<f64> {
        match self {
            Self::At(clock) => Some(*clock),
            Self::Missing | Self::NoNumber(_) | Self::OtherType => None,
        }
    }
}

impl Partitions {
    /// Reads the answers to [`ask_partitions`].
    pub(super) fn read(answers: &[Value], progress: &NodeProgress) -> Result<Self, Fault> {
        let [count, least, most] = answers else { return Err(unexpected(progress)) };
        if answers.iter().any(is_other_type) {
            return Ok(Self::OtherType);
        }
        let Value::Int(count) = answered(count, progress)? else { return Err(unexpected(progress)) };
        let list = |answer| {
            let answer = answered(answer, progress)?;
            partitions(answer).ok_or_else(|| unexpected(progress))
        };
        let (mut ascending, most) = (list(least)?, list(most)?);
        // The set may have changed between the commands: if all partitions were read, the list gives their number.
        let mut all = ascending.len();
        if all == MOST_PARTITIONS {
            all = all.max(usize::try_from(*count).unwrap_or_default());
            let listed = |most: &ClockReading| ascending.iter().any(|partition| partition.name == most.name);
            let extra: Vec<_> = most.into_iter().filter(|most| !listed(most)).collect();
            ascending.extend(extra);
        }
        Ok(Self::Clocks(ClockReadings { count: all, ascending }))
    }

    pub(super) fn clocks(&self) -> Option<&ClockReadings> {
        match self {
            Self::Clocks(clocks) => Some(clocks),
            Self::OtherType => None,
        }
    }
}

impl ClockReadings {
    pub(super) fn least(&self) -> Option<&ClockReading> {
        self.ascending.first()
    }

    pub(super) fn most(&self) -> Option<&ClockReading> {
        self.ascending.last()
    }
}

/// Members and scores: one after the other in RESP 2, in pairs in RESP 3.
fn partitions(answer: &Value) -> Option<Vec<ClockReading>> {
    let Value::Array(elements) = answer else { return None };
    let partition = |member: &Value, score: &Value| {
        let Value::BulkString(name) = member else { return None };
        let clock = match score {
            Value::Double(clock) => *clock,
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok()?,
            _ => return None,
        };
        Some(ClockReading { name: redaction::raw(name).into(), clock })
    };
    if matches!(elements.first(), Some(Value::Array(_))) {
        let pair = |pair: &Value| match pair {
            Value::Array(pair) => match &pair[..] {
                [member, score] => partition(member, score),
                _ => None,
            },
            _ => None,
        };
        return elements.iter().map(pair).collect();
    }
    elements.chunks(2).map(|pair| partition(pair.first()?, pair.get(1)?)).collect()
}

/// `true` for the error of a command for another type (Redis' `server.c`, `createSharedObjects`).
fn is_other_type(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "WRONGTYPE")
}

/// The start of a text, as much as is shown.
fn shortened(text: &str) -> Box<str> {
    const MOST: usize = 100;
    text.chars().take(MOST).collect()
}

fn unexpected(progress: &NodeProgress) -> Fault {
    progress.fault(Cause::Protocol, "the value of a clock is not a number")
}
