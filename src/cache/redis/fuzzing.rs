//! The properties of Redis' answers.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{Value, parse_redis_value};

use super::{Redis, Requirement, resp};
use crate::cache::Cache as _;
use crate::cache::connection::scripted::{
    Cut, End, ScriptedServer, conversation, expect_round_trips, link_target, within,
};
use crate::cache::connection::{ANSWER_LIMIT, AnswerError, Connection};
use crate::canary::fuzzing::{first_canary, is_proof, named_series};
use crate::canary::{CanaryVerdict, Unset};
use crate::config::{Login, Password, RespVersion, Secret};
use crate::embedded::fuzzing as embedded;
use crate::outcome::Role;
use crate::progress::Progress;

/// The most bytes of a list, here.
const LIST: usize = 2 * 1024;

/// The ways to ask for answers.
#[derive(Debug, Clone, Copy)]
enum Ask {
    One,
    List,
    Three,
}

impl Ask {
    fn limit(self) -> usize {
        match self {
            Self::One => ANSWER_LIMIT,
            Self::List | Self::Three => LIST,
        }
    }

    async fn answers(self, connection: &mut Connection) -> Result<Vec<Value>, AnswerError> {
        match self {
            Self::One => Ok(vec![resp::ask(connection, Vec::from(b"PING")).await?]),
            Self::List => Ok(vec![resp::ask_for_list(connection, Vec::from(b"PING"), LIST).await?]),
            Self::Three => resp::ask_each(connection, b"PING", 3, LIST).await,
        }
    }
}

/// Answers in Redis' protocol. The first byte of the input decides where the others are cut.
///
/// An answer is the same at any cut, has no more bytes than its command allows, and no more values than bytes. It is the one that
/// the `redis` crate reads, if that takes it. A round of commands ends if the server does, shows no password, and passes only if the
/// canary came back. An embedded server takes any commands, its answers can be read, and a canary at it is intact.
pub fn resp(input: &[u8]) {
    let Some((&seed, answer)) = input.split_first() else { return };
    for ask in [Ask::One, Ask::List, Ask::Three] {
        let whole = read(ask, answer, Cut::Whole);
        for cut in [Cut::Bytes, Cut::Random(seed)] {
            assert_eq!(read(ask, answer, cut), whole, "{ask:?}, {cut:?}");
        }
        read_endless(ask, answer, Cut::Random(seed));
    }
    log_in(seed, answer);
    check(seed, answer);
    converse(seed, answer);
    round_trips(seed, answer);
}

/// A value, as an answer of any size.
pub(crate) fn value(answer: &[u8]) -> Option<Value> {
    let (mut connection, _) = Connection::scripted(answer, Cut::Whole, End::Closed);
    let value = resp::ask_for_list(&mut connection, Vec::from(b"PING"), answer.len());
    within(answer.len() + 16, value)?.ok()
}

/// The answers to one way to ask, in words; of an error only its cause, since it quotes as much as has come.
fn read(ask: Ask, answer: &[u8], cut: Cut) -> String {
    let (mut connection, read) = Connection::scripted(answer, cut, End::Closed);
    let values = within(4 * answer.len() + 16, ask.answers(&mut connection));
    let values = values.expect("the connection is closed, so there is nothing to wait for");
    let read = read.load(Ordering::Relaxed);
    assert!(read <= ask.limit(), "{ask:?} has read {read} bytes");
    let values = match values {
        Ok(values) => values,
        Err(error) => {
            return error.fault(&Progress::begin().node(&"node".into(), Role::Server)).cause.to_string();
        }
    };
    let taken = &answer[..read - connection.received().len()];
    assert!(values.iter().map(count).sum::<usize>() <= taken.len(), "there are more values than bytes");
    if let [value] = &*values {
        match parse_redis_value(taken) {
            Ok(expected) => assert_eq!(format!("{expected:?}"), format!("{value:?}")),
            Err(error) => assert!(std::str::from_utf8(taken).is_err(), "{error}: {}", taken.escape_ascii()),
        }
    }
    format!("{values:?}")
}

/// An answer that goes on forever.
fn read_endless(ask: Ask, answer: &[u8], cut: Cut) {
    let (mut connection, read) = Connection::scripted(answer, cut, End::Endless);
    let ended = within(4 * ask.limit() + 16, ask.answers(&mut connection));
    assert!(ended.is_some(), "{ask:?} does not end");
    assert!(read.load(Ordering::Relaxed) <= ask.limit());
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) | Value::Set(values) | Value::Push { data: values, .. } => {
            values.iter().map(count).sum()
        }
        Value::Map(entries) => entries.iter().map(|(key, value)| count(key) + count(value)).sum(),
        _ => 0,
    }
}

const PASSWORD: &str = "Jq8-Vw3%kX\"n5Tz";

fn server(protocol: RespVersion, kind: Requirement) -> Redis {
    let (target, dialer) = link_target();
    let password = Some(Password::Fixed(PASSWORD.into()));
    let login = Login { username: Some("canary".to_owned()), password, database: 3, protocol };
    Redis::new(target, &Arc::new(login), kind, &"app-".into(), &dialer)
}

/// The commands before the first canary.
fn log_in(seed: u8, answer: &[u8]) {
    for (protocol, kind) in [
        (RespVersion::Resp2, Requirement::Keys),
        (RespVersion::Resp2, Requirement::Primary),
        (RespVersion::Resp3, Requirement::Keys),
    ] {
        let redis = server(protocol, kind);
        let (connection, _) = conversation(answer, Cut::Random(seed), |_, answer| answer).connect();
        let progress = Progress::begin_explained();
        progress.conceal(&crate::redaction::Redaction::of_secret(PASSWORD.into()));
        let node = progress.node(&"node".into(), Role::Server);
        let password = Secret::from(PASSWORD);
        let logged_in = within(64 * answer.len() + 64, redis.0.log_in(connection, Some(&password), &node));
        if let Err(fault) = logged_in.expect("the connection is closed, so there is nothing to wait for") {
            assert!(!fault.said.contains(PASSWORD), "{fault}");
        }
    }
}

/// A round trip over a kept connection.
fn check(seed: u8, answer: &[u8]) {
    let redis = server(RespVersion::Resp2, Requirement::Any);
    let canary = first_canary();
    let (connection, _) =
        conversation(&canary.filled_in(answer), Cut::Random(seed), |_, answer| answer).connect();
    let node = Progress::begin().node(&"node".into(), Role::Server);
    let round = async {
        redis.0.link.keep(connection).ok()?;
        redis.set(&canary, &node).await.ok()?;
        let read = redis.get(canary.key(), Unset::new(), &node).await.ok()?;
        redis.delete(canary.key(), &node).await.ok();
        Some(canary.judge(&read))
    };
    let verdict = within(64 * answer.len() + 64, round).expect("the connection is closed");
    assert!(verdict != Some(CanaryVerdict::Intact) || is_proof(answer), "nobody wrote the canary");
}

/// Any bytes, sent to an embedded server as commands.
fn converse(seed: u8, commands: &[u8]) {
    let (answers, number) = embedded::redis()(commands);
    let (mut connection, _) = Connection::scripted(&answers, Cut::Random(seed), End::Closed);
    let read = resp::ask_each(&mut connection, commands, number, answers.len());
    let read = within(4 * answers.len() + 16, read).expect("the connection is closed");
    assert_eq!(read.map(|values| values.len()).ok(), Some(number), "{}", answers.escape_ascii());
}

/// Canaries under any names, written to an embedded server.
fn round_trips(seed: u8, names: &[u8]) {
    let redis = server(RespVersion::Resp2, Requirement::Any);
    let mut answers = embedded::redis();
    let answer = move |command: &[u8]| answers(command).0;
    let (connection, _) = ScriptedServer::new(Cut::Random(seed), End::Open, answer).connect();
    assert!(redis.0.link.keep(connection).is_ok());
    expect_round_trips(&redis, &named_series(names));
}
