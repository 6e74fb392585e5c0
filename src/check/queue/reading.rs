//! [`KeyReading`]: what the answers about one key come to, and what they leave open. No I/O.

use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::str::FromStr;
use std::time::Duration;

use redis::Value;

use super::question::Question;
use crate::config::checks::Unit;
use crate::redaction::{self, Redaction};

/// How many groups of a stream are looked at one by one; of more the length is judged, but no age. More than a few
/// are rare, and the commands of a look are to be bounded.
const MOST_GROUPS: usize = 64;

/// What a key holds, as far as it matters for what it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// No queue as far as is known, or nothing yet.
    #[default]
    Unknown,
    List,
    Set,
    Sorted,
    Stream(Box<[GroupPosition]>),
    /// The lock.
    Lock,
}

/// How far a group of a stream has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupPosition {
    group: Box<[u8]>,
    /// The last entry that was given to one of its consumers.
    delivered: Id,
}

/// What was seen of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SeenKey {
    /// A queue, perhaps an empty one.
    Queue(QueueReading),
    /// A value of this type, which is no queue.
    Other(Box<str>),
    /// A lock.
    Lock(Lock),
}

/// A lock, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Free,
    /// Held, and how long it has to live; none where it does not expire.
    Held(Option<Duration>),
}

/// A queue, as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct QueueReading {
    /// How many entries it has: of a stream with groups those that the slowest of them has not acknowledged.
    pub(super) length: u64,
    /// Whether that is the most that there can be, since it cannot be told.
    pub(super) at_most: bool,
    /// The slowest group, if there are groups.
    pub(super) slowest: Option<Box<str>>,
    /// What has waited longest, where that can be told without a scan.
    pub(super) oldest: Option<Oldest>,
}

/// The entry that has waited longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oldest {
    /// Stands for the entry: another one has another mark.
    pub(super) mark: u64,
    /// Since when it has been there, counted from 1970; none where its score or id is no time.
    pub(super) since: Option<Duration>,
    /// The group that has not acknowledged it, if there are groups.
    pub(super) group: Option<Box<str>>,
}

/// What the answers about one key come to.
#[derive(Debug, PartialEq)]
pub(super) enum KeyReading {
    /// All that is wanted, and of which shape the key is.
    Done(SeenKey, Shape),
    /// That it is of this shape, as which it is to be asked now.
    Again(Shape),
    /// That another server has the key by now, in the words of the error.
    Elsewhere(String),
}

/// Why answers cannot be read.
#[derive(Debug, PartialEq)]
pub(super) enum Unread<'a> {
    /// This one is an error.
    Refused(&'a Value),
    /// They are not as the documentation of the command says.
    Nonsense,
}

/// An answer that is not as the documentation of its command says.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

impl Shape {
    /// What a key of this shape is asked.
    pub(super) fn questions(&self, ask: &mut dyn FnMut(Question)) {
        match self {
            Self::Unknown => ask(Question::Type),
            Self::List => ask(Question::ListLength),
            Self::Set => ask(Question::SetLength),
            Self::Sorted => [Question::SortedLength, Question::SortedFirst].into_iter().for_each(ask),
            Self::Stream(places) => {
                [Question::StreamLength, Question::StreamGroups].into_iter().for_each(&mut *ask);
                if places.is_empty() {
                    ask(Question::StreamFirst);
                }
                for place in places {
                    ask(Question::StreamPending(place.group.clone()));
                    ask(Question::StreamAfter(place.delivered));
                }
            }
            Self::Lock => ask(Question::TimeToLive),
        }
    }

    /// What the answers to its questions come to. `fresh` says that it was found out in this very look.
    pub(super) fn read<'a>(
        &self,
        answers: &'a [Value],
        fresh: bool,
        unit: Unit,
    ) -> Result<KeyReading, Unread<'a>> {
        for answer in answers {
            let Value::ServerError(error) = answer else { continue };
            let line = redaction::line(error);
            match (self, error.code()) {
                (_, "ASK") => return Ok(KeyReading::Elsewhere(line)),
                (Self::List | Self::Set | Self::Sorted | Self::Stream(_), "WRONGTYPE") => {
                    return Ok(KeyReading::Again(Self::Unknown));
                }
                // What a stream that is not there, or has lost a group, has to say.
                (Self::Stream(_), "NOGROUP") => {}
                (Self::Stream(_), "ERR") if line.starts_with("ERR no such key") => {}
                (_, _) => return Err(Unread::Refused(answer)),
            }
        }
        self.read_sound(answers, fresh, unit).ok_or(Unread::Nonsense)
    }

    fn read_sound(&self, answers: &[Value], fresh: bool, unit: Unit) -> Option<KeyReading> {
        let plain = |length| {
            let queued = QueueReading { length, ..QueueReading::default() };
            KeyReading::Done(SeenKey::Queue(queued), self.clone())
        };
        Some(match (self, answers) {
            (Self::Unknown, [kind]) => match text(kind)?.as_str() {
                "list" => KeyReading::Again(Self::List),
                "set" => KeyReading::Again(Self::Set),
                "zset" => KeyReading::Again(Self::Sorted),
                "stream" => KeyReading::Again(Self::Stream(Box::default())),
                "none" => plain(0),
                other => KeyReading::Done(SeenKey::Other(other.into()), Self::Unknown),
            },
            (Self::List | Self::Set, [length]) => plain(count(length)?),
            (Self::Sorted, [length, first]) => {
                let oldest = first_score(first).ok()?.map(|(mark, score)| Oldest {
                    mark,
                    since: time_of_score(score, unit),
                    group: None,
                });
                let queued = QueueReading { length: count(length)?, oldest, ..QueueReading::default() };
                KeyReading::Done(SeenKey::Queue(queued), Self::Sorted)
            }
            (Self::Stream(places), [length, at, rest @ ..]) => {
                let (length, at) = (count(length)?, groups(at)?);
                if at.is_empty() {
                    if !places.is_empty() {
                        return Some(KeyReading::Again(Self::Stream(Box::default())));
                    }
                    let oldest = first_id(rest.first()?).ok()?.map(|id| id.oldest(None));
                    let queued = QueueReading { length, oldest, ..QueueReading::default() };
                    return Some(KeyReading::Done(SeenKey::Queue(queued), self.clone()));
                }
                stream(places, fresh, length, &at, rest)?
            }
            (Self::Lock, [ttl]) => {
                // "PTTL", return values: -2 where there is no key, -1 where it does not expire.
                let lock = match ttl {
                    Value::Int(-2) => Lock::Free,
                    Value::Int(-1) => Lock::Held(None),
                    _ => Lock::Held(Some(Duration::from_millis(count(ttl)?))),
                };
                KeyReading::Done(SeenKey::Lock(lock), Self::Lock)
            }
            (Self::Unknown | Self::List | Self::Set | Self::Sorted | Self::Stream(_) | Self::Lock, _) => {
                return None;
            }
        })
    }
}

/// Reads a stream of which these groups were known, and which now has those in `groups`.
fn stream(
    places: &[GroupPosition],
    fresh: bool,
    length: u64,
    groups: &[StreamGroup],
    details: &[Value],
) -> Option<KeyReading> {
    let shape = || Shape::Stream(groups.iter().take(MOST_GROUPS).map(StreamGroup::place).collect());
    let mut queued = QueueReading::default();
    let mut oldest: Option<(Id, &StreamGroup)> = None;
    for (number, group) in groups.iter().enumerate() {
        let Some(place) = places.iter().position(|place| place.group == group.name) else {
            // One that has come about between two questions of this look is looked at more closely in the next.
            if !fresh && number < MOST_GROUPS {
                return Some(KeyReading::Again(shape()));
            }
            queued.take_in(group, group.to_do(length));
            continue;
        };
        let pending = first_id(details.get(place * 2)?).ok()?;
        let next = match first_id(details.get(place * 2 + 1)?).ok()? {
            // The group has come farther since the last look, so this need not be what it is given next.
            Some(next) if !fresh && next <= group.delivered => return Some(KeyReading::Again(shape())),
            next => next,
        };
        queued.take_in(group, if next.is_none() { (group.pending, false) } else { group.to_do(length) });
        if let Some(first) = pending.into_iter().chain(next).min()
            && oldest.is_none_or(|(id, _)| first < id)
        {
            oldest = Some((first, group));
        }
    }
    queued.oldest = oldest.map(|(id, group)| id.oldest(Some(group.label())));
    Some(KeyReading::Done(SeenKey::Queue(queued), shape()))
}

impl QueueReading {
    /// Takes in a group of a stream, and how much it has to do.
    fn take_in(&mut self, group: &StreamGroup, (to_do, at_most): (u64, bool)) {
        if self.slowest.is_none() || to_do > self.length {
            *self = Self { length: to_do, at_most, slowest: Some(group.label()), oldest: None };
        }
    }
}

/// A group of a stream, as `XINFO GROUPS` tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamGroup {
    name: Box<[u8]>,
    pending: u64,
    delivered: Id,
    lag: Option<u64>,
}

impl StreamGroup {
    fn place(&self) -> GroupPosition {
        GroupPosition { group: self.name.clone(), delivered: self.delivered }
    }

    /// How many entries of a stream with so many it has not acknowledged, and whether that is the most that there can
    /// be: where entries were deleted, and before Redis 7, nobody knows how many it was not given. They are all in the
    /// stream.
    fn to_do(&self, length: u64) -> (u64, bool) {
        self.lag.map_or((length.max(self.pending), true), |lag| (lag.saturating_add(self.pending), false))
    }

    /// `mailers: pending 3, lag 5, last delivered 1700000000000-0`.
    pub(super) fn said(&self, redaction: &Redaction) -> String {
        let Self { name, pending, delivered, lag } = self;
        let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        format!("{}: pending {pending}, lag {lag}, last delivered {delivered}", redaction.bytes(name))
    }

    fn label(&self) -> Box<str> {
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

    /// The time that it is, counted from 1970, if it is one.
    pub(super) fn time(self) -> Option<Duration> {
        plausible(Duration::from_millis(self.0))
    }

    fn oldest(self, group: Option<Box<str>>) -> Oldest {
        Oldest { mark: mark(self), since: self.time(), group }
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

/// The time that a score is, counted from 1970, if it is one.
pub(super) fn time_of_score(score: f64, unit: Unit) -> Option<Duration> {
    plausible(unit.since_epoch(score)?)
}

/// A time from 2000 to 2200. What is not is a priority or a number, or counts something else than was said, and no
/// queue has waited since 1970.
fn plausible(since_epoch: Duration) -> Option<Duration> {
    const YEARS: std::ops::Range<u64> = 946_684_800..7_258_118_400;
    YEARS.contains(&since_epoch.as_secs()).then_some(since_epoch)
}

fn mark(of: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What an answer that is one value says.
pub(super) fn text(answer: &Value) -> Option<String> {
    match answer {
        Value::Int(number) => Some(number.to_string()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::BulkString(bytes) => Some(redaction::raw(bytes)),
        _ => None,
    }
}

fn count(answer: &Value) -> Option<u64> {
    match answer {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn id(answer: &Value) -> Option<Id> {
    text(answer)?.parse().ok()
}

/// The elements of a list; none of what is not there.
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

/// The id of the first entry of a range of a stream, or of those that are pending.
pub(super) fn first_id(answer: &Value) -> Result<Option<Id>, Malformed> {
    match list(answer)? {
        [] => Ok(None),
        [entry, ..] => list(entry)?.first().and_then(id).map(Some).ok_or(Malformed),
    }
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
    use redis::parse_redis_value;

    use super::*;

    const SECONDS: Unit = Unit::Seconds;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn bulks(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    fn error(words: &str) -> Value {
        parse_redis_value(format!("-{words}\r\n").as_bytes()).unwrap()
    }

    /// What `XRANGE` and `XPENDING` answer where this is the first.
    fn entry(id: &str) -> Value {
        Value::Array(vec![Value::Array(vec![bulk(id), bulks(&["field", "value"])])])
    }

    fn nothing() -> Value {
        Value::Array(Vec::new())
    }

    fn group_of(name: &str, pending: i64, delivered: &str, lag: Option<Value>) -> Value {
        let mut fields = vec![bulk("name"), bulk(name), bulk("consumers"), Value::Int(1)];
        fields.extend([bulk("pending"), Value::Int(pending), bulk("last-delivered-id"), bulk(delivered)]);
        fields.extend(lag.into_iter().flat_map(|lag| [bulk("lag"), lag]));
        Value::Array(fields)
    }

    fn one_group(pending: i64, delivered: &str, lag: Option<Value>) -> Value {
        Value::Array(vec![group_of("g", pending, delivered, lag)])
    }

    fn place(group: &str, delivered: &str) -> GroupPosition {
        GroupPosition { group: group.as_bytes().into(), delivered: delivered.parse().unwrap() }
    }

    fn known(delivered: &str) -> Shape {
        Shape::Stream(Box::new([place("g", delivered)]))
    }

    /// The queue that is read, and its oldest entry's milliseconds.
    fn queue(shape: &Shape, answers: &[Value], fresh: bool) -> (u64, bool, Option<u128>) {
        match shape.read(answers, fresh, SECONDS) {
            Ok(KeyReading::Done(SeenKey::Queue(queued), _)) => {
                let since = queued.oldest.and_then(|oldest| oldest.since);
                (queued.length, queued.at_most, since.map(|since| since.as_millis()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_asked_as_what_it_is() {
        let read = |kind: &str| {
            Shape::Unknown.read(&[Value::SimpleString(kind.to_owned())], false, SECONDS).unwrap()
        };
        assert_eq!(read("list"), KeyReading::Again(Shape::List));
        assert_eq!(read("set"), KeyReading::Again(Shape::Set));
        assert_eq!(read("zset"), KeyReading::Again(Shape::Sorted));
        assert_eq!(read("stream"), KeyReading::Again(Shape::Stream(Box::default())));
        assert_eq!(read("none"), KeyReading::Done(SeenKey::Queue(QueueReading::default()), Shape::Unknown));
        assert_eq!(read("hash"), KeyReading::Done(SeenKey::Other("hash".into()), Shape::Unknown));
    }

    #[test]
    fn a_key_that_has_become_something_else_is_asked_for_its_type() {
        let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
        for shape in [Shape::List, Shape::Set] {
            assert_eq!(
                shape.read(std::slice::from_ref(&wrong), false, SECONDS),
                Ok(KeyReading::Again(Shape::Unknown))
            );
        }
        let answers = [wrong.clone(), wrong];
        assert_eq!(Shape::Sorted.read(&answers, false, SECONDS), Ok(KeyReading::Again(Shape::Unknown)));
    }

    #[test]
    fn errors_are_told_from_answers() {
        let ask = [Value::Int(0), error("ASK 7 10.0.0.1:6379")];
        assert_eq!(
            Shape::Sorted.read(&ask, false, SECONDS),
            Ok(KeyReading::Elsewhere("ASK 7 10.0.0.1:6379".to_owned()))
        );
        let forbidden = [Value::Int(3), error("NOPERM this user has no permissions")];
        assert_eq!(Shape::Sorted.read(&forbidden, false, SECONDS), Err(Unread::Refused(&forbidden[1])));
        let garbage: [&[Value]; 5] = [
            &[],
            &[Value::Int(3)],
            &[bulk("3"), nothing()],
            &[Value::Int(3), bulks(&["member"])],
            &[Value::Int(3), bulks(&["member", "no score"])],
        ];
        for answers in garbage {
            assert_eq!(Shape::Sorted.read(answers, false, SECONDS), Err(Unread::Nonsense), "{answers:?}");
        }
    }

    #[test]
    fn a_score_is_a_time_in_either_version_of_the_protocol_unless_it_cannot_be_one() {
        let at = |score: Value| {
            let flat = Value::Array(vec![bulk("member"), score.clone()]);
            let nested = Value::Array(vec![Value::Array(vec![bulk("member"), score])]);
            let [flat, nested] =
                [flat, nested].map(|first| queue(&Shape::Sorted, &[Value::Int(2), first], false));
            assert_eq!(flat, nested);
            flat.2
        };
        assert_eq!(at(bulk("1700000000.25")), Some(1_700_000_000_250));
        assert_eq!(at(Value::Double(1_700_000_000.25)), Some(1_700_000_000_250));
        // A priority, milliseconds for seconds, and what is no number.
        for score in ["5", "-5", "1700000000250", "inf", "nan"] {
            assert_eq!(at(bulk(score)), None, "{score}");
        }
        assert_eq!(queue(&Shape::Sorted, &[Value::Int(0), nothing()], false), (0, false, None));
    }

    #[test]
    fn a_stream_without_groups_has_the_entries_that_are_in_it() {
        let shape = Shape::Stream(Box::default());
        let answers = [Value::Int(3), nothing(), entry("1700000000000-1")];
        assert_eq!(queue(&shape, &answers, false), (3, false, Some(1_700_000_000_000)));
        let gone = [Value::Int(0), error("ERR no such key"), nothing()];
        assert_eq!(queue(&shape, &gone, false), (0, false, None));
    }

    #[test]
    fn a_stream_with_groups_has_what_the_slowest_has_not_acknowledged() {
        let shape =
            Shape::Stream(Box::new([place("fast", "1700000009000-0"), place("slow", "1700000005000-0")]));
        let groups = Value::Array(vec![
            group_of("fast", 1, "1700000009000-0", Some(Value::Int(0))),
            group_of("slow", 2, "1700000005000-0", Some(Value::Int(4))),
        ]);
        let answers = [
            Value::Int(10),
            groups,
            entry("1700000002000-0"),
            nothing(),
            entry("1700000004000-0"),
            entry("1700000006000-0"),
        ];
        assert_eq!(queue(&shape, &answers, false), (6, false, Some(1_700_000_002_000)));
        let Ok(KeyReading::Done(SeenKey::Queue(queued), _)) = shape.read(&answers, false, SECONDS) else {
            panic!("not done")
        };
        assert_eq!(queued.slowest.as_deref(), Some("slow"));
        assert_eq!(queued.oldest.unwrap().group.as_deref(), Some("fast"));
    }

    #[test]
    fn acknowledged_entries_that_remain_do_not_count() {
        let at = "1700000009000-0";
        for lag in [None, Some(Value::Nil), Some(Value::Int(0))] {
            let answers = [Value::Int(1_000), one_group(0, at, lag), nothing(), nothing()];
            assert_eq!(queue(&known(at), &answers, false), (0, false, None));
        }
    }

    #[test]
    fn where_the_lag_is_not_known_it_is_no_more_than_what_is_in_the_stream() {
        let at = "1700000005000-0";
        for lag in [None, Some(Value::Nil)] {
            let answers = [Value::Int(10), one_group(2, at, lag), entry(at), entry("1700000006000-0")];
            assert_eq!(queue(&known(at), &answers, false), (10, true, Some(1_700_000_005_000)));
        }
    }

    #[test]
    fn a_group_that_has_come_farther_is_asked_once_more_and_then_believed() {
        let (before, now) = ("1700000005000-0", "1700000007000-0");
        let answers =
            [Value::Int(10), one_group(0, now, Some(Value::Int(3))), nothing(), entry("1700000006000-0")];
        let shape = known(before);
        assert_eq!(shape.read(&answers, false, SECONDS), Ok(KeyReading::Again(known(now))));
        assert_eq!(queue(&shape, &answers, true), (3, false, Some(1_700_000_006_000)));
        // What is behind its place now is what it is given next, wherever it was before.
        let extra =
            [Value::Int(10), one_group(0, now, Some(Value::Int(3))), nothing(), entry("1700000008000-0")];
        assert_eq!(queue(&shape, &extra, false), (3, false, Some(1_700_000_008_000)));
    }

    #[test]
    fn groups_that_come_and_go_are_noticed() {
        let at = "1700000005000-0";
        let none = Shape::Stream(Box::default());
        let come = [Value::Int(1), one_group(0, at, None), entry(at)];
        assert_eq!(none.read(&come, false, SECONDS), Ok(KeyReading::Again(known(at))));
        let gone = [Value::Int(1), nothing(), error("NOGROUP No such key or group"), nothing()];
        assert_eq!(known(at).read(&gone, false, SECONDS), Ok(KeyReading::Again(none)));
    }

    #[test]
    fn a_group_is_read_in_either_version_of_the_protocol() {
        let flat = one_group(2, "1700000005000-0", Some(Value::Int(4)));
        let Value::Array(of_flat) = &flat else { panic!() };
        let Value::Array(fields) = &of_flat[0] else { panic!() };
        let (pairs, _) = fields.as_chunks::<2>();
        let map = pairs.iter().cloned().map(|[name, value]| (name, value)).collect();
        assert_eq!(groups(&Value::Array(vec![Value::Map(map)])), groups(&flat));
        assert_eq!(
            groups(&flat).unwrap()[0].said(&Redaction::none()),
            "g: pending 2, lag 4, last delivered 1700000005000-0"
        );
    }

    #[test]
    fn the_next_id_is_the_least_behind() {
        assert_eq!(Id(5, 7).next(), Id(5, 8));
        assert_eq!(Id(5, u64::MAX).next(), Id(6, 0));
    }

    #[test]
    fn a_lock_is_free_or_held_and_perhaps_expires() {
        let read = |ttl| match Shape::Lock.read(&[Value::Int(ttl)], false, SECONDS) {
            Ok(KeyReading::Done(SeenKey::Lock(lock), Shape::Lock)) => lock,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(-2), Lock::Free);
        assert_eq!(read(-1), Lock::Held(None));
        assert_eq!(read(1_500), Lock::Held(Some(Duration::from_millis(1_500))));
    }
}
