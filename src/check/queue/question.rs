//! [`Question`]: a command about one key, in the form that is sent and in the form that is explained.

use std::fmt::Write as _;

use redis::{Cmd, Value};

use super::answers::{self, Id, Malformed};
use super::reading::KeyUse;
use crate::cache::spelling;
use crate::check::words;
use crate::config::checks::{self, QueueState, Thresholds};
use crate::progress::NodeProgress;
use crate::redaction::Redaction;

/// A command about one key. Each takes the server O(1) or O(log n), for any value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    Type,
    Exists,
    ListLength,
    SetLength,
    HashLength,
    SortedLength,
    SortedFirst,
    /// The number of members with a score from the first to the second.
    SortedBetween(f64, f64),
    /// The number of members with a higher score.
    SortedAfter(f64),
    StreamLength,
    StreamGroups,
    StreamFirst,
    /// So many of the oldest pending entries of a group. The command has its longer form, because the short one lists
    /// every consumer that the group ever had.
    StreamPending(Box<[u8]>, u8),
    /// The first entry after this one.
    StreamAfter(Id),
    TimeToLive,
}

impl Question {
    /// The command.
    pub(super) fn command(&self, key: &str) -> Cmd {
        let mut command = Cmd::new();
        self.spell(key, &mut |word| {
            command.arg(word);
        });
        command
    }

    /// The command as it is typed.
    pub(super) fn typed(&self, key: &str, redaction: &Redaction) -> String {
        let mut typed = String::new();
        let shown = match self {
            // The group's name comes from the server.
            Self::StreamPending(group, most) => {
                &Self::StreamPending(redaction.bytes(group).as_bytes().into(), *most)
            }
            plain => plain,
        };
        shown.spell(key, &mut |word| {
            if !typed.is_empty() {
                typed.push(' ');
            }
            // As redis-cli takes it: Celery has control characters in its keys.
            let plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
            let escaped = word.escape_ascii();
            let _ = if plain { write!(typed, "{escaped}") } else { write!(typed, "\"{escaped}\"") };
        });
        typed
    }

    fn spell(&self, key: &str, say: &mut dyn FnMut(&[u8])) {
        let mut all = |words: &[&str]| words.iter().for_each(|word| say(word.as_bytes()));
        match self {
            Self::Type => all(&["TYPE", key]),
            Self::Exists => all(&["EXISTS", key]),
            Self::ListLength => all(&["LLEN", key]),
            Self::HashLength => all(&["HLEN", key]),
            Self::SortedBetween(least, most) => {
                all(&["ZCOUNT", key, &least.to_string(), &most.to_string()]);
            }
            Self::SortedAfter(score) => all(&["ZCOUNT", key, &format!("({score}"), "+inf"]),
            Self::SetLength => all(&["SCARD", key]),
            Self::SortedLength => all(&["ZCARD", key]),
            Self::SortedFirst => all(&["ZRANGE", key, "0", "0", "WITHSCORES"]),
            Self::StreamLength => all(&["XLEN", key]),
            Self::StreamGroups => all(&["XINFO", "GROUPS", key]),
            Self::StreamFirst => all(&["XRANGE", key, "-", "+", "COUNT", "1"]),
            Self::StreamPending(group, most) => {
                all(&["XPENDING", key]);
                say(group);
                for word in ["-", "+", &most.to_string()] {
                    say(word.as_bytes());
                }
            }
            // An exclusive id, with `(`, is supported only since Redis 6.2.
            Self::StreamAfter(id) => all(&["XRANGE", key, &id.next().to_string(), "+", "COUNT", "1"]),
            Self::TimeToLive => all(&["PTTL", key]),
        }
    }

    /// The answer of a healthy server.
    pub(super) fn expected(&self, config: &checks::QueueConfig, of: &KeyUse) -> String {
        let Some(group) = config.groups.get(of.group) else { return String::new() };
        let whole = if group.summed { " of the queue" } else { "" };
        let number =
            |what: &str, limits| below(&format!("{what}{whole}"), limits, |limit: u64| limit.to_string());
        let lost = || number("lost", &group.lost);
        let age = || below("age", &group.age, words::time);
        match self {
            Self::Type => "a list, a set, a hash, a sorted set or a stream; none if it is empty".to_owned(),
            Self::Exists => "1".to_owned(),
            Self::ListLength | Self::SetLength | Self::HashLength | Self::SortedLength => match of.state {
                QueueState::Waiting => number("length", &group.length),
                QueueState::Taken => number("taken", &group.taken),
                QueueState::Scheduled => number("scheduled", &group.scheduled),
                QueueState::Failed => number("failed", &group.failed),
                QueueState::Unfinished => number("taken beyond the waiting ones", &group.taken),
            },
            Self::SortedAfter(_) => number("scheduled", &group.scheduled),
            Self::SortedBetween(..) if of.state == QueueState::Taken => lost(),
            Self::SortedBetween(..) | Self::StreamLength => number("length", &group.length),
            Self::StreamPending(..) if of.visibility_timeout.is_some() => format!("{}; {}", age(), lost()),
            Self::SortedFirst | Self::StreamFirst | Self::StreamPending(..) | Self::StreamAfter(_) => age(),
            Self::StreamGroups => number("pending and lag of each", &group.length),
            Self::TimeToLive => {
                format!("held for less than {} while nothing is drained", words::time(config.lock_within))
            }
        }
    }

    /// The answer in short, without the application's data.
    pub(super) fn saw(&self, answer: &Value, of: &KeyUse, progress: &NodeProgress) -> String {
        if let Value::ServerError(_) = answer {
            return spelling::answer(answer, progress);
        }
        let not_judged = |time: Option<_>| if time.is_some() { "" } else { " (not a time)" };
        match self {
            Self::Type
            | Self::Exists
            | Self::ListLength
            | Self::SetLength
            | Self::HashLength
            | Self::SortedLength
            | Self::SortedBetween(..)
            | Self::SortedAfter(_)
            | Self::StreamLength
            | Self::TimeToLive => {
                let text = answers::text(answer).map(|text| progress.redaction().text(&text).into_owned());
                text.unwrap_or_else(|| "an answer of another type".to_owned())
            }
            Self::SortedFirst => match answers::first_score(answer) {
                Ok(Some((_, score))) => {
                    format!("score {score}{}", not_judged(answers::time_of_score(score, of.unit)))
                }
                Ok(None) => "nothing".to_owned(),
                Err(Malformed) => "an answer of another type".to_owned(),
            },
            Self::StreamFirst | Self::StreamPending(..) | Self::StreamAfter(_) => {
                match answers::first_id(answer) {
                    Ok(Some(id)) => format!("id {id}{}", not_judged(id.time())),
                    Ok(None) => "nothing".to_owned(),
                    Err(Malformed) => "an answer of another type".to_owned(),
                }
            }
            Self::StreamGroups => match answers::groups(answer) {
                Some(groups) if groups.is_empty() => "no groups".to_owned(),
                Some(groups) => {
                    let groups = groups.iter().take(8).map(|group| group.said(progress.redaction()));
                    groups.collect::<Vec<_>>().join("; ")
                }
                None => "an answer of another type".to_owned(),
            },
        }
    }
}

/// `length: less than 10 (degraded) and 20 (down)`.
fn below<T: Copy>(what: &str, limits: &Thresholds<T>, say: impl Fn(T) -> String) -> String {
    let expected = words::expected("less than", limits, say);
    format!("{what}: {}", expected.as_deref().unwrap_or("not judged"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::checks::{Keys, QueueGroup};
    use crate::outcome::Role;
    use crate::progress::Progress;

    #[test]
    fn a_command_is_explained_as_it_is_typed_and_with_the_expected_answer() {
        let mut group = QueueGroup::each(vec![Keys::one("b:p")]);
        group.length = Thresholds { degraded: Some(10), down: Some(20) };
        group.age.down = Some(Duration::from_secs(90));
        group.lost.degraded = Some(1);
        let config = checks::QueueConfig::of(vec![group]);
        let of = |state| KeyUse { state, ..KeyUse::PLAIN };
        let explained = |question: Question| {
            (question.typed("b:p", &Redaction::none()), question.expected(&config, &KeyUse::PLAIN))
        };
        let lost = Question::SortedBetween(946_684_800.0, 1_700_000_000.25);
        assert_eq!(explained(lost.clone()).0, "ZCOUNT b:p 946684800 1700000000.25");
        assert_eq!(lost.expected(&config, &of(QueueState::Taken)), "lost: less than 1 (degraded)");
        let later = Question::SortedAfter(1_700_000_000_250.0);
        assert_eq!(explained(later.clone()).0, "ZCOUNT b:p (1700000000250 +inf");
        assert_eq!(later.expected(&config, &of(QueueState::Scheduled)), "scheduled: not judged");
        assert_eq!(
            explained(Question::SortedLength),
            ("ZCARD b:p".to_owned(), "length: less than 10 (degraded) and 20 (down)".to_owned())
        );
        assert_eq!(
            explained(Question::SortedFirst),
            ("ZRANGE b:p 0 0 WITHSCORES".to_owned(), "age: less than 1m 30s (down)".to_owned())
        );
        assert_eq!(
            explained(Question::TimeToLive),
            ("PTTL b:p".to_owned(), "held for less than 1m while nothing is drained".to_owned())
        );
        assert_eq!(
            Question::ListLength.typed("celery\x06\x163", &Redaction::none()),
            r#"LLEN "celery\x06\x163""#
        );
        let pending = Question::StreamPending(b"my group".as_slice().into(), 1);
        assert_eq!(pending.typed("jobs", &Redaction::none()), r#"XPENDING jobs "my group" - + 1"#);
    }

    #[test]
    fn an_answer_is_explained_without_the_data_of_the_application() {
        let member = || Value::BulkString(b"somebody's".to_vec());
        let first = |score: &[u8]| Value::Array(vec![member(), Value::BulkString(score.to_vec())]);
        let progress = Progress::begin().node(&"node".into(), Role::Server);
        let saw = |question: Question, answer: &Value| question.saw(answer, &KeyUse::PLAIN, &progress);
        assert_eq!(saw(Question::SortedFirst, &first(b"1700000000.5")), "score 1700000000.5");
        assert_eq!(saw(Question::SortedFirst, &first(b"5")), "score 5 (not a time)");
        assert_eq!(saw(Question::SortedFirst, &Value::Array(Vec::new())), "nothing");
        let entry = Value::Array(vec![Value::BulkString(b"1700000000000-3".to_vec()), first(b"1")]);
        assert_eq!(saw(Question::StreamFirst, &Value::Array(vec![entry])), "id 1700000000000-3");
        assert_eq!(saw(Question::SortedLength, &Value::Int(7)), "7");
    }
}
