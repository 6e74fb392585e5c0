//! [`KeyReading`]: the result of the answers about one key, or the next question. No I/O.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::answers::{
    self, EARLIEST, Id, StreamGroup, count, first_id, first_score, groups, text, time_of_score,
};
use super::question::Question;
use crate::config::checks::{QueueState, Unit};
use crate::redaction;

/// The most groups of a stream that are asked one by one; of more, the length is judged, but not the age. More than a
/// few are rare, and this bounds the commands of a look.
const MOST_GROUPS: usize = 64;

/// The most pending entries of a group whose idle time is read.
const MOST_PENDING: u8 = 10;

/// The use of a key: what its entries are, and how they are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct KeyUse {
    /// The number of its group.
    pub(super) group: usize,
    pub(super) state: QueueState,
    pub(super) unit: Option<Unit>,
    pub(super) visibility_timeout: Option<Duration>,
}

/// The type of a key's value, as far as its questions depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// Not known to be a queue, or not read yet.
    #[default]
    Unknown,
    List,
    Set,
    Hash,
    Sorted,
    Stream(Box<[GroupPosition]>),
    /// The lock.
    Lock,
    /// A key that must exist.
    Witness,
}

/// The position of a group of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupPosition {
    group: Box<[u8]>,
    /// The last entry that was given to one of its consumers.
    delivered: Id,
}

/// The value of a key, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SeenKey {
    /// A queue, perhaps an empty one.
    Queue(QueueReading),
    /// A value of this type, which is no queue.
    Other(Box<str>),
    /// A lock.
    Lock(Lock),
    /// A key that must exist, and `true` if it does.
    Witness(bool),
}

/// A lock, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Free,
    /// Held, with its time to live; `None` if it does not expire.
    Held(Option<Duration>),
}

/// A queue, as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct QueueReading {
    /// The number of entries: in a stream with groups, those that the slowest of them has not acknowledged.
    pub(super) length: u64,
    /// `true` if the length is only an upper bound, because the server does not know it.
    pub(super) at_most: bool,
    /// The number of entries in a sorted set of scheduled ones that are due.
    pub(super) due: u64,
    /// The number of entries of a stream's slowest group that its consumers have.
    pub(super) pending: Option<u64>,
    /// The number of entries that were taken too long ago, if that is known.
    pub(super) lost: Option<u64>,
    /// The slowest group, if there are groups.
    pub(super) slowest: Option<Box<str>>,
    /// The entry that has waited longest, if that is known without a scan.
    pub(super) oldest: Option<Oldest>,
    /// The shards that it lies on, with its length on each.
    pub(super) shards: Vec<(Arc<str>, u64)>,
}

/// The entry that has waited longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oldest {
    /// The mark of the entry: another entry has another mark.
    pub(super) mark: u64,
    /// The time since when it has been there, counted from 1970; `None` if its score or id is no time.
    pub(super) since: Option<Duration>,
    /// The group that has not acknowledged it, if there are groups.
    pub(super) group: Option<Box<str>>,
}

/// The result of the answers about one key.
#[derive(Debug, PartialEq)]
pub(super) enum KeyReading {
    /// The value, and the shape of the key.
    Done(SeenKey, Shape),
    /// Another shape, for which the key is to be asked now.
    Again(Shape),
    /// A move of the key to another server, in the words of the error.
    Elsewhere(String),
}

/// The reason why answers cannot be read.
#[derive(Debug, PartialEq)]
pub(super) enum Unread<'a> {
    /// This one is an error.
    Refused(&'a Value),
    /// They do not follow the documentation of the command.
    Nonsense,
}

impl KeyUse {
    /// The use of an entry of the check's own table, by default, and of a key that has none.
    pub(super) const PLAIN: Self =
        Self { group: 0, state: QueueState::Waiting, unit: Some(Unit::Seconds), visibility_timeout: None };

    /// The questions about a sorted set, at this time since 1970.
    fn of_sorted(&self, now: Duration) -> Vec<Question> {
        let score = |time: Option<Duration>| Some(self.unit?.score(time?));
        let (earliest, scored_now) = (score(Some(EARLIEST)), score(Some(now)));
        let lost = score(self.visibility_timeout.and_then(|timeout| now.checked_sub(timeout)));
        match (self.state, earliest, scored_now, lost) {
            (QueueState::Waiting, ..) => vec![Question::SortedLength, Question::SortedFirst],
            (QueueState::Scheduled, Some(earliest), Some(now), _) => vec![
                Question::SortedAfter(now),
                Question::SortedBetween(earliest, now),
                Question::SortedFirst,
            ],
            (QueueState::Taken, Some(earliest), _, Some(lost)) => {
                vec![Question::SortedLength, Question::SortedBetween(earliest, lost)]
            }
            _ => vec![Question::SortedLength],
        }
    }

    /// Reads the answers to these.
    fn read_sorted(&self, answers: &[Value]) -> Option<QueueReading> {
        let (length, rest) = answers.split_first()?;
        let queued = QueueReading { length: count(length)?, ..QueueReading::default() };
        let oldest = |first| -> Option<_> {
            let oldest = |(mark, score)| Oldest { mark, since: time_of_score(score, self.unit), group: None };
            Some(first_score(first).ok()?.map(oldest))
        };
        Some(match (self.state, self.unit, self.visibility_timeout, rest) {
            (QueueState::Waiting, _, _, [first]) => QueueReading { oldest: oldest(first)?, ..queued },
            (QueueState::Scheduled, Some(_), _, [due, first]) => {
                QueueReading { due: count(due)?, oldest: oldest(first)?, ..queued }
            }
            (QueueState::Taken, Some(_), Some(_), [lost]) => {
                QueueReading { lost: Some(count(lost)?), ..queued }
            }
            (QueueState::Waiting, ..) => return None,
            (_, _, _, []) => queued,
            _ => return None,
        })
    }
}

impl GroupPosition {
    fn of(group: &StreamGroup) -> Self {
        Self { group: group.name.clone(), delivered: group.delivered }
    }
}

impl Oldest {
    fn of(id: Id, group: Option<Box<str>>) -> Self {
        Self { mark: answers::mark(id), since: id.time(), group }
    }
}

impl Shape {
    /// The questions about a key of this shape.
    pub(super) fn questions(&self, of: &KeyUse, now: Duration, ask: &mut dyn FnMut(Question)) {
        match self {
            Self::Unknown => ask(Question::Type),
            Self::List => ask(Question::ListLength),
            Self::Set => ask(Question::SetLength),
            Self::Hash => ask(Question::HashLength),
            Self::Sorted => of.of_sorted(now).into_iter().for_each(ask),
            Self::Stream(places) => {
                [Question::StreamLength, Question::StreamGroups].into_iter().for_each(&mut *ask);
                if places.is_empty() {
                    ask(Question::StreamFirst);
                }
                for place in places {
                    let most = of.visibility_timeout.map_or(1, |_| MOST_PENDING);
                    ask(Question::StreamPending(place.group.clone(), most));
                    ask(Question::StreamAfter(place.delivered));
                }
            }
            Self::Lock => ask(Question::TimeToLive),
            Self::Witness => ask(Question::Exists),
        }
    }

    /// Reads the answers to its questions. `fresh` means that the shape was detected in this same look.
    pub(super) fn read<'a>(
        &self,
        answers: &'a [Value],
        fresh: bool,
        of: &KeyUse,
    ) -> Result<KeyReading, Unread<'a>> {
        for answer in answers {
            let Value::ServerError(error) = answer else { continue };
            let line = redaction::line(error);
            match (self, error.code()) {
                (_, "ASK") => return Ok(KeyReading::Elsewhere(line)),
                (Self::List | Self::Set | Self::Hash | Self::Sorted | Self::Stream(_), "WRONGTYPE") => {
                    return Ok(KeyReading::Again(Self::Unknown));
                }
                // The errors for a stream that is missing, or has lost a group.
                (Self::Stream(_), "NOGROUP") => {}
                (Self::Stream(_), "ERR") if line.starts_with("ERR no such key") => {}
                (_, _) => return Err(Unread::Refused(answer)),
            }
        }
        self.read_sound(answers, fresh, of).ok_or(Unread::Nonsense)
    }

    fn read_sound(&self, answers: &[Value], fresh: bool, of: &KeyUse) -> Option<KeyReading> {
        let done = |queued| KeyReading::Done(SeenKey::Queue(queued), self.clone());
        let plain = |length| done(QueueReading { length, ..QueueReading::default() });
        Some(match (self, answers) {
            (Self::Unknown, [kind]) => match text(kind)?.as_str() {
                "list" => KeyReading::Again(Self::List),
                "set" => KeyReading::Again(Self::Set),
                "hash" => KeyReading::Again(Self::Hash),
                "zset" => KeyReading::Again(Self::Sorted),
                "stream" => KeyReading::Again(Self::Stream(Box::default())),
                "none" => {
                    let lost = of.visibility_timeout.filter(|_| of.state == QueueState::Taken).map(|_| 0);
                    done(QueueReading { lost, ..QueueReading::default() })
                }
                other => KeyReading::Done(SeenKey::Other(other.into()), Self::Unknown),
            },
            (Self::List | Self::Set | Self::Hash, [length]) => plain(count(length)?),
            (Self::Sorted, answers) => done(of.read_sorted(answers)?),
            (Self::Stream(places), [length, at, rest @ ..]) => {
                let (length, at) = (count(length)?, groups(at)?);
                if at.is_empty() {
                    if !places.is_empty() {
                        return Some(KeyReading::Again(Self::Stream(Box::default())));
                    }
                    let oldest = first_id(rest.first()?).ok()?.map(|id| Oldest::of(id, None));
                    let queued = QueueReading { length, oldest, ..QueueReading::default() };
                    return Some(done(queued));
                }
                stream(places, fresh, length, &at, rest, of.visibility_timeout)?
            }
            (Self::Lock, [ttl]) => {
                // "PTTL", return values: -2 if there is no key, -1 if it does not expire.
                let lock = match ttl {
                    Value::Int(-2) => Lock::Free,
                    Value::Int(-1) => Lock::Held(None),
                    _ => Lock::Held(Some(Duration::from_millis(count(ttl)?))),
                };
                KeyReading::Done(SeenKey::Lock(lock), Self::Lock)
            }
            (Self::Witness, [there]) => KeyReading::Done(SeenKey::Witness(count(there)? > 0), Self::Witness),
            (
                Self::Unknown
                | Self::List
                | Self::Set
                | Self::Hash
                | Self::Stream(_)
                | Self::Lock
                | Self::Witness,
                _,
            ) => return None,
        })
    }
}

/// Reads a stream with the known groups `places`, which now has the groups `groups`.
fn stream(
    places: &[GroupPosition],
    fresh: bool,
    length: u64,
    groups: &[StreamGroup],
    details: &[Value],
    visibility_timeout: Option<Duration>,
) -> Option<KeyReading> {
    let shape = || Shape::Stream(groups.iter().take(MOST_GROUPS).map(GroupPosition::of).collect());
    let mut queued = QueueReading::default();
    let mut oldest: Option<(Id, &StreamGroup)> = None;
    let mut lost = visibility_timeout.map(|_| 0);
    for (number, group) in groups.iter().enumerate() {
        let Some(place) = places.iter().position(|place| place.group == group.name) else {
            // A group that was created between two questions of this look is read in full by the next.
            if !fresh && number < MOST_GROUPS {
                return Some(KeyReading::Again(shape()));
            }
            queued.take_in(group, group.to_do(length));
            continue;
        };
        let pending = details.get(place * 2)?;
        if let (Some(lost), Some(timeout)) = (&mut lost, visibility_timeout) {
            *lost += answers::idle(pending, timeout).ok()?;
        }
        let pending = first_id(pending).ok()?;
        let next = match first_id(details.get(place * 2 + 1)?).ok()? {
            // The group has moved on since the last look, so this may not be its next entry.
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
    queued.oldest = oldest.map(|(id, group)| Oldest::of(id, Some(group.label())));
    queued.lost = lost;
    Some(KeyReading::Done(SeenKey::Queue(queued), shape()))
}

impl QueueReading {
    /// Takes in a group of a stream, and the number of entries that it has not acknowledged.
    fn take_in(&mut self, group: &StreamGroup, (to_do, at_most): (u64, bool)) {
        if self.slowest.is_none() || to_do > self.length {
            let (pending, slowest) = (Some(group.pending), Some(group.label()));
            *self = Self { length: to_do, at_most, pending, slowest, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    const PLAIN: &KeyUse = &KeyUse::PLAIN;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn bulks(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    fn error(words: &str) -> Value {
        parse_redis_value(format!("-{words}\r\n").as_bytes()).unwrap()
    }

    /// The answer of `XRANGE` and `XPENDING` with this entry first.
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

    /// The length of the queue, `true` if that is an upper bound, and its oldest entry's milliseconds.
    fn queue(shape: &Shape, answers: &[Value], fresh: bool) -> (u64, bool, Option<u128>) {
        match shape.read(answers, fresh, PLAIN) {
            Ok(KeyReading::Done(SeenKey::Queue(queued), _)) => {
                let since = queued.oldest.and_then(|oldest| oldest.since);
                (queued.length, queued.at_most, since.map(|since| since.as_millis()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_asked_by_its_type() {
        let read =
            |kind: &str| Shape::Unknown.read(&[Value::SimpleString(kind.to_owned())], false, PLAIN).unwrap();
        assert_eq!(read("list"), KeyReading::Again(Shape::List));
        assert_eq!(read("set"), KeyReading::Again(Shape::Set));
        assert_eq!(read("zset"), KeyReading::Again(Shape::Sorted));
        assert_eq!(read("stream"), KeyReading::Again(Shape::Stream(Box::default())));
        assert_eq!(read("none"), KeyReading::Done(SeenKey::Queue(QueueReading::default()), Shape::Unknown));
        assert_eq!(read("hash"), KeyReading::Again(Shape::Hash));
        assert_eq!(read("string"), KeyReading::Done(SeenKey::Other("string".into()), Shape::Unknown));
    }

    #[test]
    fn a_key_that_has_become_something_else_is_asked_for_its_type() {
        let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
        for shape in [Shape::List, Shape::Set, Shape::Hash] {
            assert_eq!(
                shape.read(std::slice::from_ref(&wrong), false, PLAIN),
                Ok(KeyReading::Again(Shape::Unknown))
            );
        }
        let answers = [wrong.clone(), wrong];
        assert_eq!(Shape::Sorted.read(&answers, false, PLAIN), Ok(KeyReading::Again(Shape::Unknown)));
    }

    #[test]
    fn errors_are_told_from_answers() {
        let ask = [Value::Int(0), error("ASK 7 10.0.0.1:6379")];
        assert_eq!(
            Shape::Sorted.read(&ask, false, PLAIN),
            Ok(KeyReading::Elsewhere("ASK 7 10.0.0.1:6379".to_owned()))
        );
        let forbidden = [Value::Int(3), error("NOPERM this user has no permissions")];
        assert_eq!(Shape::Sorted.read(&forbidden, false, PLAIN), Err(Unread::Refused(&forbidden[1])));
        let garbage: [&[Value]; 5] = [
            &[],
            &[Value::Int(3)],
            &[bulk("3"), nothing()],
            &[Value::Int(3), bulks(&["member"])],
            &[Value::Int(3), bulks(&["member", "no score"])],
        ];
        for answers in garbage {
            assert_eq!(Shape::Sorted.read(answers, false, PLAIN), Err(Unread::Nonsense), "{answers:?}");
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
        // A priority, milliseconds instead of seconds, and values that are no numbers.
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
    fn a_stream_with_groups_has_the_entries_that_the_slowest_has_not_acknowledged() {
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
        let Ok(KeyReading::Done(SeenKey::Queue(queued), _)) = shape.read(&answers, false, PLAIN) else {
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
    fn an_unknown_lag_is_no_more_than_the_entries_of_the_stream() {
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
        assert_eq!(shape.read(&answers, false, PLAIN), Ok(KeyReading::Again(known(now))));
        assert_eq!(queue(&shape, &answers, true), (3, false, Some(1_700_000_006_000)));
        // An entry after its current position is its next one, for any earlier position.
        let extra =
            [Value::Int(10), one_group(0, now, Some(Value::Int(3))), nothing(), entry("1700000008000-0")];
        assert_eq!(queue(&shape, &extra, false), (3, false, Some(1_700_000_008_000)));
    }

    #[test]
    fn groups_that_come_and_go_are_noticed() {
        let at = "1700000005000-0";
        let none = Shape::Stream(Box::default());
        let come = [Value::Int(1), one_group(0, at, None), entry(at)];
        assert_eq!(none.read(&come, false, PLAIN), Ok(KeyReading::Again(known(at))));
        let gone = [Value::Int(1), nothing(), error("NOGROUP No such key or group"), nothing()];
        assert_eq!(known(at).read(&gone, false, PLAIN), Ok(KeyReading::Again(none)));
    }

    #[test]
    fn a_lock_is_free_or_held_and_perhaps_expires() {
        let read = |ttl| match Shape::Lock.read(&[Value::Int(ttl)], false, PLAIN) {
            Ok(KeyReading::Done(SeenKey::Lock(lock), Shape::Lock)) => lock,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(-2), Lock::Free);
        assert_eq!(read(-1), Lock::Held(None));
        assert_eq!(read(1_500), Lock::Held(Some(Duration::from_millis(1_500))));
    }
}
