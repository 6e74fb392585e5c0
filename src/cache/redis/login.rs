//! A new connection that is ready for commands: credentials, protocol, database, and what the server is.
//!
//! Each dial finds out once if the server is a node of a cluster, a Sentinel or a proxy, before a canary is judged: a
//! canary alone would show it only if its key falls into the wrong slot. HELLO needs no right of a user, and is sent
//! together with AUTH. A server that does not tell is asked for keys in slots all over a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::{ServerError, Value, cmd};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout};

use super::credentials;
use super::identity::{Identity, Mode, TAGS, refusal_in_cluster, refusal_of_slot};
use super::{
    NO_ROLE, RedisServer, Requirement, expect_okay, explain, explain_told, resp, server_fault, tell, words,
};
use crate::budget;
use crate::cache::connection::{ANSWER_LIMIT, AnswerError, Connection};
use crate::config::{MASK, Password, PasswordSource, RespVersion, Secret};
use crate::outcome::{Cause, Fault, Phase, advice};
use crate::progress::NodeProgress;
use crate::redaction;

/// The time for which a server that does not say what it is is not asked again.
const SILENCE: Duration = Duration::from_mins(10);

impl RedisServer {
    /// A new connection that is ready for commands.
    pub(super) async fn dial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let connection = self.link.dial(progress).await?;
        match self.kind {
            Requirement::Any | Requirement::Importing if self.login.is_plain() => Ok(connection),
            Requirement::Any | Requirement::Importing | Requirement::Keys | Requirement::Primary => {
                match &self.login.password {
                    None => Box::pin(self.log_in(connection, None, progress)).await,
                    Some(Password::Fixed(password)) => {
                        Box::pin(self.log_in(connection, Some(password), progress)).await
                    }
                    Some(Password::ShortLived(source)) => {
                        Box::pin(self.log_in_by(source, connection, progress)).await
                    }
                }
            }
        }
    }

    /// Logs in with a password of `source`. If the server refuses one that was made before, a new one has another try on a
    /// new connection: the old one says nothing about the cache.
    async fn log_in_by(
        &self,
        source: &Arc<PasswordSource>,
        mut connection: Connection,
        progress: &NodeProgress,
    ) -> Result<Connection, Fault> {
        let began = Instant::now();
        let limit = budget::PASSWORD.of(self.link.timeout());
        loop {
            progress.enter(Phase::Auth);
            let password = credentials::password(source, began, limit, progress).await?;
            let logged_in = self.log_in(connection, Some(&password), progress).await;
            let is_refused = logged_in.as_ref().is_err_and(|fault| fault.cause == Cause::Auth);
            if !is_refused || !source.refused(&password, began) {
                return logged_in;
            }
            connection = self.link.dial(progress).await?;
        }
    }

    /// Makes a new connection ready for commands.
    pub(super) async fn log_in(
        &self,
        mut connection: Connection,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<Connection, Fault> {
        progress.enter(Phase::Auth);
        let identity = match self.login.protocol {
            RespVersion::Resp3 => self.hello_3(&mut connection, password, progress).await?,
            RespVersion::Resp2 if !self.asks_what_it_is() => {
                self.authenticate(&mut connection, password, progress).await?;
                Identity::default()
            }
            RespVersion::Resp2 => {
                if let Some(identity) = self.greet(&mut connection, password, progress).await? {
                    identity
                } else {
                    connection = self.dial_without_hello(password, progress).await?;
                    self.note_silence();
                    Identity::default()
                }
            }
        };
        let is_certain =
            self.kind != Requirement::Keys || expect_keys(&mut connection, identity, progress).await?;
        self.select(&mut connection, identity, password, progress).await?;
        if !is_certain && !self.serves_other_slots(&mut connection, progress).await? {
            connection = self.dial_without_hello(password, progress).await?;
            self.select(&mut connection, identity, password, progress).await?;
        }
        if self.kind == Requirement::Primary {
            expect_primary(&mut connection, progress).await?;
        }
        connection.expect_no_more().map_err(|error| error.fault(progress))?;
        Ok(connection)
    }

    /// `true` if the answer matters, and the server has not shown lately that it gives none.
    fn asks_what_it_is(&self) -> bool {
        let matters = self.kind == Requirement::Keys || self.login.database != 0;
        matters && self.silent_since.lock().is_none_or(|since| since.elapsed() >= SILENCE)
    }

    fn note_silence(&self) {
        *self.silent_since.lock() = Some(Instant::now());
    }

    /// Sends credentials in RESP2, and HELLO with them. `None` if the server closed the connection on it, as twemproxy does
    /// on every command that it does not know.
    async fn greet(
        &self,
        connection: &mut Connection,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<Option<Identity>, Fault> {
        let auth = auth(self.login.username.as_deref(), password);
        let mut packed = auth.clone().unwrap_or_default();
        cmd("HELLO").arg(2).write_packed_command(&mut packed);
        connection.send_for(&packed, ANSWER_LIMIT).await.map_err(|error| error.fault(progress))?;
        let mut by_password_alone = false;
        if auth.is_some() {
            let answer = match resp::next(connection).await {
                Err(AnswerError::Closed(_)) => return Ok(None),
                answer => answer,
            };
            explain(progress, &answer, || (format!("AUTH {MASK}"), "OK"));
            let answer = answer.map_err(|error| error.fault(progress))?;
            by_password_alone = self.login.username.is_some() && knows_no_users(&answer);
            if !by_password_alone {
                expect_okay(&answer, progress)?;
            }
        }
        let answer = match resp::next(connection).await {
            Err(AnswerError::Closed(_)) => return Ok(None),
            answer => answer,
        };
        explain(progress, &answer, || ("HELLO 2".to_owned(), "what the server is"));
        let answer = answer.map_err(|error| error.fault(progress))?;
        if by_password_alone {
            self.authenticate_by_password_alone(connection, password, progress).await?;
        }
        match &answer {
            Value::ServerError(error) => self.identify_by_info(error, connection, progress).await.map(Some),
            answer => Ok(Some(Identity::of_hello(answer))),
        }
    }

    /// Asks a server in another way that has answered HELLO with an error. An error that the server would give to any
    /// command is left to the canary, unless the server turns the client away with it.
    async fn identify_by_info(
        &self,
        error: &ServerError,
        connection: &mut Connection,
        progress: &NodeProgress,
    ) -> Result<Identity, Fault> {
        let line = redaction::line(error);
        if words::turns_away(&line) {
            return Err(server_fault(error, progress));
        }
        if error.code() != "ERR" {
            return Ok(Identity::default());
        }
        let command = cmd("INFO").arg("server").get_packed_command();
        let answer = resp::ask_for_list(connection, command, ANSWER_LIMIT).await;
        explain(progress, &answer, || ("INFO server".to_owned(), "what the server is"));
        let identity = Identity::of_info(&answer.map_err(|error| error.fault(progress))?);
        if identity.mode.is_none() {
            self.note_silence();
        }
        Ok(identity)
    }

    /// A new connection to a server that closed the last one on HELLO, which it did not if it closes this one too. PING
    /// needs no right, and every proxy answers it.
    async fn dial_without_hello(
        &self,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<Connection, Fault> {
        let mut connection = self.link.dial(progress).await?;
        progress.enter(Phase::Auth);
        self.authenticate(&mut connection, password, progress).await?;
        let answer = resp::ask(&mut connection, cmd("PING").get_packed_command()).await;
        explain(progress, &answer, || ("PING".to_owned(), "an answer, after a close on HELLO"));
        answer.map_err(|error| error.fault(progress))?;
        Ok(connection)
    }

    /// Asks for a key in each sixteenth of a cluster's slots, in one round trip: a node of a cluster redirects those that it
    /// does not serve. Any other error is left to the canary: a proxy may have lost one of several servers. `false` if not all
    /// answers came in time, so that the connection is of no more use.
    async fn serves_other_slots(
        &self,
        connection: &mut Connection,
        progress: &NodeProgress,
    ) -> Result<bool, Fault> {
        let key = |tag| format!("{}canary:{{{tag}}}", self.prefix);
        let gets = TAGS.map(|tag| cmd("GET").arg(key(tag)).get_packed_command()).concat();
        let limit = budget::OTHER_SLOTS.of(self.link.timeout());
        let asked = timeout(limit, resp::ask_each(connection, &gets, TAGS.len(), ANSWER_LIMIT)).await;
        let answers =
            asked.map_or(Ok(Vec::new()), |answers| answers.map_err(|error| error.fault(progress)))?;
        let refusal = answers.iter().find_map(refusal_of_slot);
        progress.step(|| {
            let saw = match refusal {
                Some(error) => progress.words(&redaction::line(error)),
                None => format!("{} answers", answers.len()),
            };
            (format!("GET {} and {} more", key(TAGS[0]), TAGS.len() - 1), "no redirection".to_owned(), saw)
        });
        match refusal.map(|error| server_fault(error, progress)) {
            Some(fault) if fault.cause == Cause::Redirected => {
                let said = "the server is a node of a cluster, and holds only some of the keys";
                Err(fault.saying(&format!("{said}: {}", fault.said)))
            }
            Some(fault) => Err(fault),
            None => Ok(answers.len() == TAGS.len()),
        }
    }

    /// Sends credentials in RESP2, if there are any.
    async fn authenticate(
        &self,
        connection: &mut Connection,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<(), Fault> {
        let Some(auth) = auth(self.login.username.as_deref(), password) else { return Ok(()) };
        let answer = resp::ask(connection, auth).await;
        explain(progress, &answer, || (format!("AUTH {MASK}"), "OK"));
        let answer = answer.map_err(|error| error.fault(progress))?;
        if self.login.username.is_some() && knows_no_users(&answer) {
            return self.authenticate_by_password_alone(connection, password, progress).await;
        }
        expect_okay(&answer, progress)
    }

    /// Sends the password to a server that knows no users, as clients do (redis-py, `on_connect_check_health`).
    async fn authenticate_by_password_alone(
        &self,
        connection: &mut Connection,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<(), Fault> {
        let Some(auth) = auth(None, password) else { return Ok(()) };
        let told = tell(connection, auth, progress).await;
        explain_told(progress, &told, || format!("AUTH {MASK} (the password alone)"));
        told
    }

    /// Begins RESP3, with the credentials if there are any.
    async fn hello_3(
        &self,
        connection: &mut Connection,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<Identity, Fault> {
        let mut hello = cmd("HELLO");
        hello.arg(3);
        if let Some(password) = password {
            let username = self.login.username.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(username).arg(password.expose_secret());
        }
        let answer = resp::ask_for_list(connection, hello.get_packed_command(), ANSWER_LIMIT).await;
        explain(progress, &answer, || {
            let auth = if password.is_some() { format!(" AUTH {MASK}") } else { String::new() };
            (format!("HELLO 3{auth}"), "a map that describes the server")
        });
        if matches!(answer, Err(AnswerError::Closed(_)))
            && self.dial_without_hello(password, progress).await.is_ok()
        {
            let said = "the server closes the connection on HELLO 3, as proxies do that speak RESP2 alone";
            return Err(progress.fault(Cause::Forbidden, said).with_advice(advice::NO_RESP3));
        }
        match answer.map_err(|error| error.fault(progress))? {
            Value::ServerError(error) => Err(server_fault(&error, progress)),
            answer @ Value::Map(_) => Ok(Identity::of_hello(&answer)),
            _ => Err(progress.fault(Cause::Protocol, "the answer to HELLO 3 is not a map")),
        }
    }

    /// Chooses the database, unless that would choose it for other clients too.
    async fn select(
        &self,
        connection: &mut Connection,
        identity: Identity,
        password: Option<&Secret>,
        progress: &NodeProgress,
    ) -> Result<(), Fault> {
        let database = self.login.database;
        if database == 0 {
            return Ok(());
        }
        if identity.shares_database {
            let said = format!(
                "Envoy's Redis proxy would choose database {database} for all of its clients, so SELECT is not sent"
            );
            return Err(progress.fault(Cause::Database, &said).with_advice(advice::PROXY_DATABASE));
        }
        let told = match resp::ask(connection, cmd("SELECT").arg(database).get_packed_command()).await {
            // It has a reason if another connection is answered.
            Err(AnswerError::Closed(_)) if self.dial_without_hello(password, progress).await.is_ok() => {
                let said = "the server closes the connection on SELECT, as proxies do that have no databases";
                Err(progress.fault(Cause::Database, said).with_advice(advice::PROXY_DATABASE))
            }
            Err(error) => Err(error.fault(progress)),
            Ok(answer) => expect_okay(&answer, progress),
        };
        explain_told(progress, &told, || format!("SELECT {database}"));
        told.map_err(|fault| self.with_database(fault))
    }

    /// The same fault, with the number of the database if that is refused.
    pub(super) fn with_database(&self, fault: Fault) -> Fault {
        if fault.cause != Cause::Database && fault.advice != Some(advice::DATABASE) {
            return fault;
        }
        fault.saying(&format!("{} (database {})", fault.said, self.login.database))
    }
}

/// The command that sends the credentials, if there are any.
fn auth(username: Option<&str>, password: Option<&Secret>) -> Option<Vec<u8>> {
    Some(cmd("AUTH").arg(username).arg(password?.expose_secret()).get_packed_command())
}

/// `true` for the answer to AUTH with a user of a server from before Redis 6.
fn knows_no_users(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else { return false };
    redaction::line(error).starts_with("ERR wrong number of arguments")
}

/// Refuses a server that does not store every key: a node of a cluster of several primaries, or a Sentinel. `false` if it
/// does not tell, or may tell of itself alone, as a proxy does.
async fn expect_keys(
    connection: &mut Connection,
    identity: Identity,
    progress: &NodeProgress,
) -> Result<bool, Fault> {
    match identity.mode {
        Some(Mode::Sentinel) => {
            let fault = progress.fault(Cause::NotStored, "the server is a Sentinel, which stores nothing");
            Err(fault.with_advice(advice::IS_SENTINEL))
        }
        Some(Mode::Cluster) => {
            let command = cmd("CLUSTER").arg("INFO").get_packed_command();
            let answer = resp::ask_for_list(connection, command, ANSWER_LIMIT).await;
            explain(progress, &answer, || {
                ("CLUSTER INFO".to_owned(), "a cluster of one primary with every slot")
            });
            let answer = answer.map_err(|error| error.fault(progress))?;
            // The user may lack the right to ask.
            let is_certain = !matches!(answer, Value::ServerError(_));
            let refusal = refusal_in_cluster(&answer);
            refusal.map_or(Ok(is_certain), |(cause, said)| Err(progress.fault(cause, &said)))
        }
        Some(Mode::Standalone) => Ok(!identity.shares_database),
        None => Ok(false),
    }
}

/// Asks a server for its role, whose first element is `master` for a primary.
async fn expect_primary(connection: &mut Connection, progress: &NodeProgress) -> Result<(), Fault> {
    let answer = resp::ask_for_list(connection, cmd("ROLE").get_packed_command(), ANSWER_LIMIT).await;
    explain(progress, &answer, || ("ROLE".to_owned(), "master"));
    let answer = answer.map_err(|error| error.fault(progress))?;
    match &answer {
        Value::ServerError(error) => {
            Err(server_fault(error, progress).needed_for("the role of a primary that Sentinels name"))
        }
        Value::Array(elements) => match elements.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(()),
            Some(Value::BulkString(role)) => {
                let known =
                    ["slave", "replica", "sentinel"].into_iter().find(|known| known.as_bytes() == role);
                let role = known.unwrap_or("unknown");
                Err(progress.fault(Cause::ReadOnly, &format!("the server's role is {role}, not primary")))
            }
            _ => Err(progress.fault(Cause::Protocol, NO_ROLE)),
        },
        _ => Err(progress.fault(Cause::Protocol, NO_ROLE)),
    }
}
