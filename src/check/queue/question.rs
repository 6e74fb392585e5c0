//! [`Question`]: a command about one key, in the form that is sent and in the form that is explained.

use std::fmt::Write as _;

use redis::{Cmd, Value};

use super::answers::{self, Id, Malformed};
use crate::cache::spelling;
use crate::check::words;
use crate::config::checks::{self, Thresholds};
use crate::progress::NodeProgress;
use crate::redaction::Redaction;

/// A command about one key. Each takes the server O(1) or O(log n), for any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Type,
    ListLength,
    SetLength,
    SortedLength,
    SortedFirst,
    StreamLength,
    StreamGroups,
    StreamFirst,
    /// The oldest pending entry of a group. The command has its longer form, because the short one lists every
    /// consumer that the group ever had.
    StreamPending(Box<[u8]>),
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
            Self::StreamPending(group) => &Self::StreamPending(redaction.bytes(group).as_bytes().into()),
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
            Self::ListLength => all(&["LLEN", key]),
            Self::SetLength => all(&["SCARD", key]),
            Self::SortedLength => all(&["ZCARD", key]),
            Self::SortedFirst => all(&["ZRANGE", key, "0", "0", "WITHSCORES"]),
            Self::StreamLength => all(&["XLEN", key]),
            Self::StreamGroups => all(&["XINFO", "GROUPS", key]),
            Self::StreamFirst => all(&["XRANGE", key, "-", "+", "COUNT", "1"]),
            Self::StreamPending(group) => {
                all(&["XPENDING", key]);
                say(group);
                for word in ["-", "+", "1"] {
                    say(word.as_bytes());
                }
            }
            // An exclusive id, with `(`, is supported only since Redis 6.2.
            Self::StreamAfter(id) => all(&["XRANGE", key, &id.next().to_string(), "+", "COUNT", "1"]),
            Self::TimeToLive => all(&["PTTL", key]),
        }
    }

    /// The answer of a healthy server.
    pub(super) fn expected(&self, config: &checks::QueueConfig) -> String {
        let length = |length: u64| length.to_string();
        match self {
            Self::Type => "a list, a set, a sorted set or a stream; none if the queue is empty".to_owned(),
            Self::ListLength | Self::SetLength | Self::SortedLength | Self::StreamLength => {
                below("length", &config.length, length)
            }
            Self::SortedFirst | Self::StreamFirst | Self::StreamPending(_) | Self::StreamAfter(_) => {
                below("age", &config.age, words::time)
            }
            Self::StreamGroups => below("pending and lag of each", &config.length, length),
            Self::TimeToLive => {
                format!("held for less than {} while nothing is drained", words::time(config.lock_within))
            }
        }
    }

    /// The answer in short, without the application's data.
    pub(super) fn saw(
        &self,
        answer: &Value,
        config: &checks::QueueConfig,
        progress: &NodeProgress,
    ) -> String {
        if let Value::ServerError(_) = answer {
            return spelling::answer(answer, progress);
        }
        let not_judged = |time: Option<_>| if time.is_some() { "" } else { " (not a time)" };
        match self {
            Self::Type
            | Self::ListLength
            | Self::SetLength
            | Self::SortedLength
            | Self::StreamLength
            | Self::TimeToLive => {
                let text = answers::text(answer).map(|text| progress.redaction().text(&text).into_owned());
                text.unwrap_or_else(|| "an answer of another type".to_owned())
            }
            Self::SortedFirst => match answers::first_score(answer) {
                Ok(Some((_, score))) => {
                    format!("score {score}{}", not_judged(answers::time_of_score(score, config.unit)))
                }
                Ok(None) => "nothing".to_owned(),
                Err(Malformed) => "an answer of another type".to_owned(),
            },
            Self::StreamFirst | Self::StreamPending(_) | Self::StreamAfter(_) => {
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
    use crate::config::checks::Keys;
    use crate::outcome::Role;
    use crate::progress::Progress;

    #[test]
    fn a_command_is_explained_as_it_is_typed_and_with_the_expected_answer() {
        let key = Keys { before: "b:p".to_owned(), numbers: None, after: String::new() };
        let mut config = checks::QueueConfig::of(vec![key]);
        config.length = Thresholds { degraded: Some(10), down: Some(20) };
        config.age.down = Some(Duration::from_secs(90));
        let explained =
            |question: Question| (question.typed("b:p", &Redaction::none()), question.expected(&config));
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
        let pending = Question::StreamPending(b"my group".as_slice().into());
        assert_eq!(pending.typed("jobs", &Redaction::none()), r#"XPENDING jobs "my group" - + 1"#);
    }

    #[test]
    fn an_answer_is_explained_without_the_data_of_the_application() {
        let key = Keys { before: "b:p".to_owned(), numbers: None, after: String::new() };
        let config = checks::QueueConfig::of(vec![key]);
        let member = || Value::BulkString(b"somebody's".to_vec());
        let first = |score: &[u8]| Value::Array(vec![member(), Value::BulkString(score.to_vec())]);
        let progress = Progress::begin().node(&"node".into(), Role::Server);
        let saw = |question: Question, answer: &Value| question.saw(answer, &config, &progress);
        assert_eq!(saw(Question::SortedFirst, &first(b"1700000000.5")), "score 1700000000.5");
        assert_eq!(saw(Question::SortedFirst, &first(b"5")), "score 5 (not a time)");
        assert_eq!(saw(Question::SortedFirst, &Value::Array(Vec::new())), "nothing");
        let entry = Value::Array(vec![Value::BulkString(b"1700000000000-3".to_vec()), first(b"1")]);
        assert_eq!(saw(Question::StreamFirst, &Value::Array(vec![entry])), "id 1700000000000-3");
        assert_eq!(saw(Question::SortedLength, &Value::Int(7)), "7");
    }
}
