//! Redis, Valkey, and all other servers that speak RESP: the `redis` crate's codec on a connection of our own.

pub(crate) mod credentials;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod identity;
mod login;
mod resp;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, ServerError, Value, cmd};
use tokio::time::Instant;

pub(crate) use identity::{field, value_of};

use super::connection::{ANSWER_LIMIT, AnswerError, Connection, Link, set_error};
use super::dial::{DialTarget, Dialer};
use super::{Cache, SetError, spelling};
use crate::canary::{Canary, Key, Read, Unset};
use crate::config::Login;
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;
use crate::redaction;

/// One Redis server, and the login for it. Clones share the kept connection.
#[derive(Clone)]
pub(crate) struct Redis(Arc<RedisServer>);

struct RedisServer {
    link: Link,
    login: Arc<Login>,
    kind: Requirement,
    /// The beginning of every key that its user may read.
    prefix: Arc<str>,
    /// The time at which the server last showed that it does not say what it is.
    silent_since: Mutex<Option<Instant>>,
}

/// The requirement for a server, besides that it takes canaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// Nothing.
    Any,
    /// It stores every key: a node of a cluster of several primaries is refused, and a Sentinel.
    Keys,
    /// It is a primary, by its own word (`ROLE`): another server is refused, even if it takes writes.
    Primary,
    /// It serves keys of a slot that it takes over in a cluster: each command is preceded by ASKING
    /// ("Redis cluster specification", ASK redirection).
    Importing,
}

/// A question to a server that is not about a canary.
pub(crate) struct Query<'a> {
    /// The command, which holds no secret.
    pub(crate) command: &'a Cmd,
    /// The most bytes that the answer may have.
    pub(crate) limit: usize,
    /// The healthy answer, in words for people.
    pub(crate) expected: &'static str,
    /// The part of the check that needs the command, if the command does not tell.
    pub(crate) part: &'static str,
}

impl Query<'_> {
    fn explain(&self, answer: &Result<Value, Fault>, progress: &NodeProgress) {
        progress.step(|| {
            let saw = |answer| spelling::answer(answer, progress);
            let saw = answer.as_ref().map_or_else(ToString::to_string, saw);
            (spelling::command(self.command), self.expected.to_owned(), saw)
        });
    }
}

impl Redis {
    pub(crate) fn new(
        target: DialTarget,
        login: &Arc<Login>,
        kind: Requirement,
        prefix: &Arc<str>,
        dialer: &Arc<Dialer>,
    ) -> Self {
        let (link, silent_since) = (Link::new(target, dialer), Mutex::default());
        let (login, prefix) = (login.clone(), prefix.clone());
        Self(Arc::new(RedisServer { link, login, kind, prefix, silent_since }))
    }

    /// Asks a question that is not about a canary, on a connection that is ready. If a kept connection turns out to have
    /// been closed, a new one is used.
    pub(crate) async fn ask(&self, query: &Query<'_>, progress: &NodeProgress) -> Result<Value, Fault> {
        self.ask_for_elements(query, progress, &mut |element| element).await
    }

    /// The same for a list. `keep` takes each element as it comes, and returns the value that is kept of it.
    pub(crate) async fn ask_for_elements(
        &self,
        query: &Query<'_>,
        progress: &NodeProgress,
        keep: &mut resp::Keep<'_>,
    ) -> Result<Value, Fault> {
        let answer = self.ask_first(query, progress, keep).await;
        query.explain(&answer, progress);
        answer
    }

    async fn ask_first(
        &self,
        &Query { command, limit, part, .. }: &Query<'_>,
        progress: &NodeProgress,
        keep: &mut resp::Keep<'_>,
    ) -> Result<Value, Fault> {
        loop {
            let mut connection = self.0.link.begin(progress, || self.0.dial(progress)).await?;
            progress.enter(Phase::Read);
            let command = command.get_packed_command();
            match resp::ask_for_elements(&mut connection, command, limit, keep).await {
                Ok(Value::ServerError(error)) => {
                    return Err(server_fault(&error, progress).needed_for(part));
                }
                Ok(answer) => {
                    self.0.link.keep(connection).map_err(|error| error.fault(progress))?;
                    return Ok(answer);
                }
                Err(error) => match set_error(&connection, &error, progress) {
                    SetError::KeptConnectionClosed => {}
                    SetError::Fault(fault) => return Err(fault),
                },
            }
        }
    }

    /// The same on the connection that a check has just used, as a further part of that check.
    pub(crate) async fn ask_further(
        &self,
        query: &Query<'_>,
        progress: &NodeProgress,
    ) -> Result<Value, Fault> {
        let answer = self.ask_then(query, progress).await;
        query.explain(&answer, progress);
        answer
    }

    async fn ask_then(
        &self,
        &Query { command, limit, part, .. }: &Query<'_>,
        progress: &NodeProgress,
    ) -> Result<Value, Fault> {
        let link = &self.0.link;
        let mut connection = link.resume(|| self.0.dial(progress)).await?;
        let answer = resp::ask_for_list(&mut connection, command.get_packed_command(), limit).await;
        let answer = answer.map_err(|error| error.fault(progress))?;
        if let Value::ServerError(error) = &answer {
            return Err(server_fault(error, progress).needed_for(part));
        }
        link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(answer)
    }

    /// Sends several commands at once, in one round trip, on a connection that is ready; all answers together may have
    /// `limit` bytes. An error among them is a [`Value::ServerError`]: see [`answered`].
    pub(crate) async fn ask_each(
        &self,
        commands: &[Cmd],
        limit: usize,
        progress: &NodeProgress,
    ) -> Result<Vec<Value>, Fault> {
        let importing = self.0.kind == Requirement::Importing;
        let mut packed = Vec::new();
        for command in commands {
            if importing {
                cmd("ASKING").write_packed_command(&mut packed);
            }
            command.write_packed_command(&mut packed);
        }
        let answers = if importing { commands.len() * 2 } else { commands.len() };
        loop {
            let mut connection = self.0.link.begin(progress, || self.0.dial(progress)).await?;
            progress.enter(Phase::Read);
            match resp::ask_each(&mut connection, &packed, answers, limit).await {
                Ok(answers) => {
                    self.0.link.keep(connection).map_err(|error| error.fault(progress))?;
                    let of_commands = answers.into_iter().skip(usize::from(importing));
                    return Ok(of_commands.step_by(1 + usize::from(importing)).collect());
                }
                Err(error) => match set_error(&connection, &error, progress) {
                    SetError::KeptConnectionClosed => {}
                    SetError::Fault(fault) => return Err(fault),
                },
            }
        }
    }

    /// Reads a key as [`Cache::get`] does, but as the first command of a round: a kept connection that turns
    /// out to have been closed is no fault.
    pub(crate) async fn get_first(
        &self,
        key: &Key,
        default: Unset,
        expected: &'static str,
        progress: &NodeProgress,
    ) -> Result<Read, Fault> {
        let mut get = cmd("GET");
        let query = Query { command: get.arg(key.as_str()), limit: ANSWER_LIMIT, expected, part: "" };
        let answer = self.ask(&query, progress).await?;
        expect_string(answer, default, progress)
    }

    /// The same for several keys, in one round trip, in their order.
    pub(crate) async fn get_each(&self, keys: &[&Key], progress: &NodeProgress) -> Result<Vec<Read>, Fault> {
        let gets: Vec<_> = keys.iter().map(|key| cmd("GET").arg(key.as_str()).take()).collect();
        let answers = self.ask_each(&gets, ANSWER_LIMIT.saturating_mul(keys.len()), progress).await?;
        answers.into_iter().map(|answer| expect_string(answer, Unset::new(), progress)).collect()
    }
}

#[async_trait]
impl Cache for Redis {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        let link = &self.0.link;
        let mut connection = link.begin(progress, || self.0.dial(progress)).await?;
        progress.enter(Phase::Write);
        if self.0.kind == Requirement::Importing {
            Box::pin(tell(&mut connection, cmd("ASKING").get_packed_command(), progress)).await?;
        }
        let answer = resp::ask(&mut connection, set_command(canary)).await;
        explain(progress, &answer, || {
            let (key, value, ttl) = (canary.key(), canary.value(), canary.ttl().as_millis());
            (format!("SET {key} {value} PX {ttl}"), "OK")
        });
        match answer {
            Ok(Value::Nil) => return Err(progress.fault(Cause::NotStored, "nil").into()),
            Ok(answer) => expect_okay(&answer, progress).map_err(|fault| self.0.with_database(fault))?,
            Err(error) => return Err(set_error(&connection, &error, progress)),
        }
        link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(())
    }

    async fn get(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        let link = &self.0.link;
        let mut connection = link.resume(|| self.0.dial(progress)).await?;
        progress.enter(Phase::Read);
        if self.0.kind == Requirement::Importing {
            Box::pin(tell(&mut connection, cmd("ASKING").get_packed_command(), progress)).await?;
        }
        let answer = resp::ask(&mut connection, resp::packed(["GET", key.as_str()])).await;
        explain(progress, &answer, || (format!("GET {key}"), "the value that was written"));
        let read = expect_string(answer.map_err(|error| error.fault(progress))?, default, progress)?;
        link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(read)
    }

    async fn get_first(&self, key: &Key, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
        Self::get_first(self, key, default, "a canary that was written before", progress).await
    }

    async fn delete(&self, key: &Key, progress: &NodeProgress) -> Result<(), Fault> {
        let link = &self.0.link;
        let mut connection = link.resume(|| self.0.dial(progress)).await?;
        progress.enter(Phase::Write);
        if self.0.kind == Requirement::Importing {
            Box::pin(tell(&mut connection, cmd("ASKING").get_packed_command(), progress)).await?;
        }
        let answer = resp::ask(&mut connection, resp::packed(["DEL", key.as_str()])).await;
        explain(progress, &answer, || (format!("DEL {key}"), "1"));
        match answer.map_err(|error| error.fault(progress))? {
            Value::Int(_) => {}
            Value::ServerError(error) => return Err(server_fault(&error, progress)),
            _ => {
                return Err(progress.fault(Cause::Protocol, "the answer to DEL is not a number"));
            }
        }
        link.keep(connection).map_err(|error| error.fault(progress))
    }

    /// Does nothing: Redis refuses writes by its total of memory, so no single expired key makes room.
    async fn renew(&self, _keys: &[Key], _ttl: Duration) {}

    async fn answers(&self, progress: &NodeProgress) -> Option<&'static str> {
        let ping = Query {
            command: &cmd("PING"),
            limit: ANSWER_LIMIT,
            expected: "PONG (no proof that data is served)",
            part: "",
        };
        self.ask(&ping, progress).await.ok().map(|_| "PING")
    }

    fn is_quiet(&self) -> bool {
        self.0.link.is_quiet()
    }
}

/// SET with the canary's time to live in milliseconds.
fn set_command(canary: &Canary) -> Vec<u8> {
    let mut digits = itoa::Buffer::new();
    let ttl = digits.format(canary.ttl().as_millis());
    resp::packed(["SET", canary.key().as_str(), canary.value(), "PX", ttl])
}

/// Records a command and its answer, for `check --explain`.
fn explain(
    progress: &NodeProgress,
    answer: &Result<Value, AnswerError>,
    asked: impl FnOnce() -> (String, &'static str),
) {
    progress.step(|| {
        let (command, expected) = asked();
        let saw = match answer {
            Ok(answer) => spelling::answer(answer, progress),
            Err(error) => error.fault(progress).to_string(),
        };
        (command, expected.to_owned(), saw)
    });
}

/// The same for a command whose answer is to be OK.
fn explain_told(progress: &NodeProgress, told: &Result<(), Fault>, command: impl FnOnce() -> String) {
    progress.step(|| {
        let saw = told.as_ref().map_or_else(ToString::to_string, |()| "OK".to_owned());
        (command(), "OK".to_owned(), saw)
    });
}

/// An answer, if it is no error.
pub(crate) fn answered<'a>(answer: &'a Value, progress: &NodeProgress) -> Result<&'a Value, Fault> {
    match answer {
        Value::ServerError(error) => Err(server_fault(error, progress)),
        other => Ok(other),
    }
}

/// Sends a command whose answer is to be OK.
async fn tell(connection: &mut Connection, command: Vec<u8>, progress: &NodeProgress) -> Result<(), Fault> {
    let answer = resp::ask(connection, command).await.map_err(|error| error.fault(progress))?;
    expect_okay(&answer, progress)
}

const NO_ROLE: &str = "the answer to ROLE is not a role";

fn expect_okay(answer: &Value, progress: &NodeProgress) -> Result<(), Fault> {
    match answer {
        Value::Okay => Ok(()),
        Value::ServerError(error) => Err(server_fault(error, progress)),
        other => Err(unexpected("the answer to a command is not OK", other, progress)),
    }
}

fn expect_string(answer: Value, default: Unset, progress: &NodeProgress) -> Result<Read, Fault> {
    match answer {
        Value::BulkString(bytes) => Ok(Read::Value(bytes)),
        Value::Nil => Ok(Read::Default(default)),
        Value::ServerError(error) => Err(server_fault(&error, progress)),
        other => Err(unexpected("the answer to GET is not a string", &other, progress)),
    }
}

/// The fault of an answer of the wrong kind, with the answer as far as it may be shown.
fn unexpected(what: &str, answer: &Value, progress: &NodeProgress) -> Fault {
    progress.fault(Cause::Protocol, &format!("{what}: {}", spelling::answer(answer, progress)))
}

/// The fault that a server's error means.
fn server_fault(error: &ServerError, progress: &NodeProgress) -> Fault {
    let line = redaction::line(error);
    let cause = words::cause(&line, progress.phase());
    let fault = progress.told(cause, &line).with_advice(words::advice(&line));
    if cause == Cause::Redirected {
        progress.redirected(line);
    }
    fault
}
