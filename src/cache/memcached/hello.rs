//! The beginning of a connection: the dialect is detected, and credentials are given.

use secrecy::ExposeSecret as _;

use super::super::connection::{AnswerError, Connection};
use super::{Credentials, Dialect, Memcached, StoreRefusal, binary, fault, refusal};
use crate::config::MASK;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// `mn`, the meta command that does nothing ("Meta No-Op" in memcached's protocol.txt), as long as the
/// header of a binary request: a server that speaks only binary then sees that this is no request, and does
/// not wait for the rest.
pub(super) const META_NOOP: &[u8; 24] = b"mn                    \r\n";

/// A server's answer to `mn`.
enum HelloAnswer {
    /// It speaks meta.
    Meta,
    /// Any other error in text: it does not speak meta. Some proxies close the connection after it.
    Refused,
    Unauthenticated,
    /// None: it closed the connection, as servers do that speak only binary, and proxies on an unknown
    /// command.
    Closed,
}

impl Memcached {
    /// A connection that is ready for commands.
    ///
    /// The dialect is detected on the first connection, and on each that follows one which the server closed or
    /// did not understand: another kind of server may have been started there. Credentials are given on each,
    /// in binary at once, and in text after the server has asked for them: a server that wants none would store
    /// them.
    pub(super) async fn dial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let (certain, dialect) = (self.is_certain() && !self.link.was_lost(), self.dialect());
        // The dialect stays in doubt until the connection is ready.
        self.doubt();
        let mut connection = self.link.dial(progress).await?;
        if certain && self.credentials.is_none() {
            self.remember(dialect);
            return Ok(connection);
        }
        progress.enter(Phase::Auth);
        if dialect == Dialect::Binary {
            if let Some(ready) = self.begin_in_binary(connection, progress).await? {
                self.remember(Dialect::Binary);
                return Ok(ready);
            }
            connection = self.redial(progress).await?;
        }
        let (connection, dialect) = self.begin_in_text(connection, progress).await?;
        self.remember(dialect);
        Ok(connection)
    }

    /// Begins in text, or else in the dialect of the server.
    pub(super) async fn begin_in_text(
        &self,
        mut connection: Connection,
        progress: &NodeProgress,
    ) -> Result<(Connection, Dialect), Fault> {
        let failed = |refusal: StoreRefusal| fault(&refusal, progress);
        match (noop(&mut connection, progress).await.map_err(failed)?, &self.credentials) {
            (HelloAnswer::Meta, None) => return Ok((connection, Dialect::Meta)),
            (HelloAnswer::Refused, None) => return Ok((self.redial(progress).await?, Dialect::Classic)),
            (HelloAnswer::Meta | HelloAnswer::Refused, Some(_)) => {
                return Err(failed(StoreRefusal::unwanted_credentials()));
            }
            (HelloAnswer::Unauthenticated, None) => return Err(failed(refusal(UNAUTHENTICATED))),
            (HelloAnswer::Unauthenticated, Some(credentials)) => {
                authenticate(&mut connection, credentials, progress).await.map_err(failed)?;
                // The server reveals its dialect only after authentication.
                return match noop(&mut connection, progress).await.map_err(failed)? {
                    HelloAnswer::Meta => Ok((connection, Dialect::Meta)),
                    HelloAnswer::Refused => {
                        let mut connection = self.redial(progress).await?;
                        authenticate(&mut connection, credentials, progress).await.map_err(failed)?;
                        Ok((connection, Dialect::Classic))
                    }
                    HelloAnswer::Unauthenticated => Err(failed(refusal(UNAUTHENTICATED))),
                    HelloAnswer::Closed => Err(failed(closed())),
                };
            }
            (HelloAnswer::Closed, _) => {}
        }
        let connection = self.redial(progress).await?;
        match (self.begin_in_binary(connection, progress).await?, &self.credentials) {
            (Some(connection), _) => Ok((connection, Dialect::Binary)),
            // A proxy closes a connection on every unknown command.
            (None, None) => Ok((self.redial(progress).await?, Dialect::Classic)),
            // There is no way left to give the credentials.
            (None, Some(_)) => Err(failed(closed())),
        }
    }

    /// Another connection, after the one before was used up to find the dialect out.
    async fn redial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let connection = self.link.dial(progress).await?;
        progress.enter(Phase::Auth);
        Ok(connection)
    }

    /// Begins in binary; `None` if the server does not speak it.
    pub(super) async fn begin_in_binary(
        &self,
        mut connection: Connection,
        progress: &NodeProgress,
    ) -> Result<Option<Connection>, Fault> {
        let spoken = match &self.credentials {
            None => binary::is_spoken(&mut connection).await,
            Some(credentials) => binary::authenticate(&mut connection, credentials).await,
        };
        Self::explain(progress, &spoken, || {
            let command = match &self.credentials {
                None => "NoOp (binary)".to_owned(),
                Some(_) => format!("SASL Auth PLAIN {MASK} (binary)"),
            };
            let saw = |spoken: &bool| if *spoken { "success" } else { "nothing of this protocol" };
            (command, "success", move |spoken: &bool| saw(spoken).to_owned())
        });
        let spoken = spoken.map_err(|refusal| fault(&refusal, progress))?;
        Ok(spoken.then_some(connection))
    }
}

async fn noop(connection: &mut Connection, progress: &NodeProgress) -> Result<HelloAnswer, StoreRefusal> {
    let answer = ask_noop(connection).await;
    Memcached::explain(progress, &answer, || {
        let saw = |answer: &HelloAnswer| match answer {
            HelloAnswer::Meta => "MN: it does",
            HelloAnswer::Refused => "an error: it does not",
            HelloAnswer::Unauthenticated => "CLIENT_ERROR unauthenticated",
            HelloAnswer::Closed => "a close: it does not",
        };
        ("mn".to_owned(), "MN, if it speaks meta commands", move |answer: &HelloAnswer| {
            saw(answer).to_owned()
        })
    });
    answer
}

async fn ask_noop(connection: &mut Connection) -> Result<HelloAnswer, StoreRefusal> {
    connection.send(META_NOOP).await?;
    match super::line(connection).await {
        Ok(line) => match line.as_slice() {
            b"MN" => Ok(HelloAnswer::Meta),
            UNAUTHENTICATED => Ok(HelloAnswer::Unauthenticated),
            other => match refusal(other) {
                // A server at its connection limit refuses every command, and one that wants credentials refuses this one.
                StoreRefusal::Said { cause, .. } if !matches!(cause, Cause::Refused | Cause::Auth) => {
                    Ok(HelloAnswer::Refused)
                }
                refusal => Err(refusal),
            },
        },
        Err(AnswerError::Closed(_)) => Ok(HelloAnswer::Closed),
        Err(error) => Err(error.into()),
    }
}

/// The answer of a server with `-Y` to every command before the credentials (`proto_text.c`,
/// `try_read_command_asciiauth`).
const UNAUTHENTICATED: &[u8] = b"CLIENT_ERROR unauthenticated";

/// Gives the credentials in text: they are the data of a `set`, of which all else is ignored
/// ("Authentication" in memcached's protocol.txt). Its expiry is in the past, so a server that took it for a
/// real `set` would keep nothing.
async fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
    progress: &NodeProgress,
) -> Result<(), StoreRefusal> {
    let answer = send_credentials(connection, credentials).await;
    Memcached::explain(progress, &answer, || {
        (format!("set auth 0 -1, {MASK}"), "STORED", |()| "STORED".to_owned())
    });
    answer
}

async fn send_credentials(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<(), StoreRefusal> {
    let data = format!("{} {}", credentials.username, credentials.password.expose_secret());
    let command = format!("set auth 0 -1 {}\r\n{data}\r\n", data.len());
    connection.send(command.as_bytes()).await?;
    match super::line(connection).await?.as_slice() {
        b"STORED" => Ok(()),
        other => Err(refusal(other)),
    }
}

fn closed() -> StoreRefusal {
    AnswerError::Closed(std::io::ErrorKind::UnexpectedEof.into()).into()
}
