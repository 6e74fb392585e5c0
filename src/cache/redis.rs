//! Redis, Valkey, and whatever else speaks RESP: the `redis` crate's codec on a connection of our own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{ServerError, Value, cmd, parse_redis_value};
use secrecy::{ExposeSecret as _, SecretString};

use super::connection::{AnswerError, Connection, Link, set_error};
use super::dial::Dialer;
use super::{Cache, SetError, SetupError};
use crate::canary::{Canary, Key, Read, Sentinel};
use crate::config;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// One Redis server.
pub(crate) struct Redis {
    link: Link,
    username: Option<String>,
    password: Option<SecretString>,
    database: u32,
}

impl Redis {
    pub(crate) fn new(
        config: &config::Redis,
        reconnect_every: Duration,
        dialer: &Arc<Dialer>,
    ) -> Result<Self, SetupError> {
        let target = dialer.target(&config.address, config.tls.as_ref())?;
        Ok(Self {
            link: Link::new(target, reconnect_every, dialer),
            username: config.username.clone(),
            password: config.password.clone(),
            database: config.database,
        })
    }

    /// A new connection, with credentials given and the database chosen.
    async fn dial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let mut connection = self.link.dial(progress).await?;
        if let Some(password) = &self.password {
            progress.enter(Phase::Auth);
            let mut auth = cmd("AUTH");
            auth.arg(&self.username).arg(password.expose_secret());
            tell(&mut connection, &auth, progress).await?;
        }
        if self.database != 0 {
            progress.enter(Phase::Auth);
            tell(&mut connection, cmd("SELECT").arg(self.database), progress).await?;
        }
        Ok(connection)
    }
}

#[async_trait]
impl Cache for Redis {
    async fn set(&self, canary: &Canary, progress: &NodeProgress) -> Result<(), SetError> {
        let mut connection = self.link.begin(|| self.dial(progress)).await?;
        progress.enter(Phase::Write);
        let mut set = cmd("SET");
        set.arg(canary.key().as_str()).arg(canary.value());
        set.arg("PX").arg(canary.ttl().as_millis().to_string());
        match ask(&mut connection, &set).await {
            Ok(Value::Nil) => return Err(progress.fault(Cause::NotStored, "nil").into()),
            Ok(answer) => expect_okay(&answer, progress)?,
            Err(error) => return Err(set_error(&connection, &error, progress)),
        }
        self.link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(())
    }

    async fn get(&self, key: &Key, default: Sentinel, progress: &NodeProgress) -> Result<Read, Fault> {
        let mut connection = self.link.resume(|| self.dial(progress)).await?;
        progress.enter(Phase::Read);
        let read = match ask(&mut connection, cmd("GET").arg(key.as_str())).await {
            Ok(Value::BulkString(bytes)) => Read::Value(bytes),
            Ok(Value::Nil) => Read::Default(default),
            Ok(Value::ServerError(error)) => return Err(server_fault(&error, progress)),
            Ok(_) => {
                return Err(
                    progress.fault(Cause::Protocol, "GET was answered with something else than a string")
                );
            }
            Err(error) => return Err(error.fault(progress)),
        };
        self.link.keep(connection).map_err(|error| error.fault(progress))?;
        Ok(read)
    }

    /// Nothing: Redis refuses by its total of memory, so that no single expired key makes room.
    async fn renew(&self, _keys: &[Key], _ttl: Duration) {}
}

/// Sends a command and awaits its answer.
async fn ask(connection: &mut Connection, command: &redis::Cmd) -> Result<Value, AnswerError> {
    connection.send(&command.get_packed_command()).await?;
    answer(connection).await
}

/// Sends a command whose answer is to be OK.
async fn tell(
    connection: &mut Connection,
    command: &redis::Cmd,
    progress: &NodeProgress,
) -> Result<(), Fault> {
    let answer = ask(connection, command).await.map_err(|error| error.fault(progress))?;
    expect_okay(&answer, progress)
}

/// Reads one answer of those that the commands above can have: a line, or a string whose length the line
/// tells (RESP 2 and 3, "RESP protocol description": simple string, simple error, integer, bulk string,
/// null). It is cut out here, where its length is bounded, and the crate decodes it: left to itself its
/// parser would make room for as many elements as an answer announces.
async fn answer(connection: &mut Connection) -> Result<Value, AnswerError> {
    let mut frame = connection.line().await?;
    let length = match frame.first() {
        Some(b'+' | b'-' | b':' | b'_') => None,
        Some(b'$') => match std::str::from_utf8(&frame[1..]).ok().and_then(|len| len.parse::<i64>().ok()) {
            Some(-1) => None,
            Some(len) => Some(
                usize::try_from(len)
                    .map_err(|_| AnswerError::Malformed("the length of a string is negative"))?,
            ),
            None => return Err(AnswerError::Malformed("the length of a string is no number")),
        },
        _ => return Err(AnswerError::Malformed("the answer is not one of Redis' kinds of answers")),
    };
    frame.extend_from_slice(b"\r\n");
    if let Some(length) = length {
        frame.extend(connection.data(length).await?);
        frame.extend_from_slice(b"\r\n");
    }
    parse_redis_value(&frame).map_err(|_| AnswerError::Malformed("the answer cannot be decoded"))
}

fn expect_okay(answer: &Value, progress: &NodeProgress) -> Result<(), Fault> {
    match answer {
        Value::Okay => Ok(()),
        Value::ServerError(error) => Err(server_fault(error, progress)),
        _ => Err(progress.fault(Cause::Protocol, "a command was answered with something else than OK")),
    }
}

/// The fault that an error of the server's is. The codes are the first words of Redis' error messages
/// (redis.conf and `server.c`, `createSharedObjects`).
fn server_fault(error: &ServerError, progress: &NodeProgress) -> Fault {
    let words = error.details().unwrap_or_default();
    let cause = match error.code() {
        "NOAUTH" | "WRONGPASS" => Cause::Auth,
        "NOPERM" | "DENIED" => Cause::Forbidden,
        "READONLY" => Cause::ReadOnly,
        "OOM" => Cause::OutOfMemory,
        "MISCONF" | "NOREPLICAS" | "BUSY" => Cause::WriteBlocked,
        "LOADING" => Cause::Loading,
        "CLUSTERDOWN" => Cause::ClusterDown,
        "MASTERDOWN" => Cause::PrimaryDown,
        // The first answer on a connection over the limit is this line, whatever was asked.
        "ERR" if words.starts_with("max number of clients reached") => Cause::Refused,
        // Before ACLs (Redis 6), and where no password is wanted, AUTH fails with the general code.
        "ERR" if progress.phase() == Phase::Auth && words.to_ascii_lowercase().contains("password") => {
            Cause::Auth
        }
        _ => Cause::Protocol,
    };
    progress.fault(cause, &format!("{} {words}", error.code()))
}
