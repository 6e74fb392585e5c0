//! A server among others, a shard or a replica: its URL, or a table of its URL and the settings of its own.

use std::collections::HashSet;
use std::slice;

use crate::config::address::{self, RedisUrl};
use crate::config::cache::reader::CacheReader;
use crate::config::cache::redis::{NO_SERVER, NO_USER_ALONE, schemes};
use crate::config::cache::tls::{self, TlsHints};
use crate::config::keys::{self, Key, RedisTopology};
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, ValueKind as Typed, unless};
use crate::config::{Address, Login, NamedServer, Password, Tls};

/// A server of a list, as it is written.
#[derive(Clone, Copy)]
pub(in crate::config) struct WrittenServer<'a> {
    pub(in crate::config) text: &'a str,
    /// The value that its text stands in.
    pub(in crate::config) value: &'a Value,
    tls: Option<&'a Value>,
    replicas: Option<&'a Value>,
}

/// The servers of a list, each a text or a table of the `known` keys.
pub(in crate::config) fn written<'a>(
    value: &'a Value,
    known: &[Key],
) -> Result<Vec<WrittenServer<'a>>, ConfigProblem> {
    let of_text = |text, value| WrittenServer { text, value, tls: None, replicas: None };
    let values = match &value.kind {
        Typed::List(values) => values.as_slice(),
        Typed::Table(_) => slice::from_ref(value),
        _ => {
            return Ok(value.texts()?.into_iter().map(|(text, _)| of_text(text, value)).collect());
        }
    };
    let server = |value: &'a Value| {
        let Typed::Table(table) = &value.kind else {
            return Ok(of_text(value.text()?, value));
        };
        let replicas = table.get("replicas");
        if let Some(value) = replicas.filter(|_| known.iter().all(|key| key.name != "replicas")) {
            return Err(value.problem(NO_REPLICAS));
        }
        table.only(known)?;
        let url = table.get("url").ok_or_else(|| value.problem(NO_URL))?;
        Ok(WrittenServer { tls: table.get("tls"), replicas, ..of_text(url.text()?, url) })
    };
    values.iter().map(server).collect()
}

const NO_REPLICAS: &str = "only a shard in `servers` of a cache names its replicas; remove this";
const NO_HOST: &str = "this is no host; write replicas = \"discover\" or \"required\" in the table of the cache, for all its servers";
const NO_URL: &str = "the URL of this server is missing; add url = \"redis://host:6379/0\"";

impl WrittenServer<'_> {
    /// `true` if its table names replicas.
    pub(super) fn has_replicas(&self) -> bool {
        self.replicas.is_some()
    }

    /// The server. What its URL leaves open is the alias's: the database, the version of the protocol, and without an `@`
    /// the user and the password. TLS settings are its own, or else those of the alias.
    pub(super) fn read(
        &self,
        reading: &mut CacheReader,
        alias: &Login,
        tls: Option<&Tls>,
        any_parameter: bool,
    ) -> Result<NamedServer, ConfigProblem> {
        let url = address::redis_location(self.text, RedisTopology::Standalone);
        let RedisUrl { addresses, username, password, database, protocol, tls: by_scheme, others, .. } =
            url.map_err(|error| self.value.problem(error))?;
        if let Some(problem) = address::unknown_parameter(&others).filter(|_| !any_parameter) {
            return Err(self.value.problem(problem));
        }
        let address = addresses.into_iter().next().ok_or_else(|| self.value.problem(NO_SERVER))?;
        let mut login = Login {
            username,
            password: password.map(Password::Fixed),
            database: database.unwrap_or(alias.database),
            protocol: protocol.unwrap_or(alias.protocol),
        };
        let is_open =
            login.username.is_none() && login.password.is_none() && address::leaves_the_login_open(self.text);
        if is_open {
            login.username.clone_from(&alias.username);
            login.password.clone_from(&alias.password);
        }
        if login.username.is_some()
            && !login.password.as_ref().is_some_and(Password::is_given)
            && !reading.users_alone
        {
            return Err(self.value.problem(NO_USER_ALONE));
        }
        let tls_there = match (self.tls, by_scheme) {
            (Some(value), _) => {
                // Beside the settings of the alias, `true` stands for the defaults.
                let by_scheme = by_scheme.filter(|secure| !secure || value.boolean() != Some(true));
                let socket = matches!(address, Address::Unix(_));
                let server = Some(&address);
                let schemes = schemes(RedisTopology::Standalone);
                tls::read(reading, Some(value), TlsHints { by_scheme, schemes, socket, server })?
            }
            (None, Some(true)) => Some(tls.cloned().unwrap_or_default()),
            (None, Some(false)) => None,
            (None, None) => tls.filter(|_| matches!(address, Address::Tcp { .. })).cloned(),
        };
        let differs = !is_open || login != *alias || tls_there.as_ref() != tls;
        let own = differs.then(|| Box::new((login, tls_there)));
        let replicas = self.replicas.map(|value| {
            unless(matches!(value.text(), Ok("discover" | "required")), value, NO_HOST)?;
            let (login, tls) = own.as_deref().map_or((alias, tls), |(login, tls)| (login, tls.as_ref()));
            let mut replicas = named_replicas(reading, value, login, tls)?;
            // The replicas of a shard are reached as it is.
            for replica in replicas.iter_mut().filter(|replica| replica.own.is_none()) {
                replica.own.clone_from(&own);
            }
            Ok(replicas)
        });
        let replicas = replicas.transpose()?.unwrap_or_default();
        Ok(NamedServer { address, own, replicas })
    }
}

/// The replicas of a list, which are reached as their primary is unless they say otherwise.
pub(super) fn named_replicas(
    reading: &mut CacheReader,
    value: &Value,
    login: &Login,
    tls: Option<&Tls>,
) -> Result<Vec<NamedServer>, ConfigProblem> {
    let written = written(value, keys::NAMED)?;
    note_passwords(reading, &written, "the password of a replica");
    let mut seen = HashSet::new();
    let replica = |replica: &WrittenServer<'_>| {
        let read = replica.read(reading, login, tls, false)?;
        let is_new = seen.insert(read.address.clone());
        unless(
            !is_new,
            replica.value,
            format_args!("{} is listed twice; list each replica once", read.address),
        )?;
        Ok(read)
    };
    written.iter().map(replica).collect()
}

/// Takes note of passwords in the URLs of servers that every reader of the file can read.
pub(in crate::config) fn note_passwords(
    reading: &mut CacheReader,
    servers: &[WrittenServer<'_>],
    whose: &str,
) {
    for server in servers.iter().filter(|server| server.value.literal) {
        let parsed = address::redis_location(server.text, RedisTopology::Standalone);
        if matches!(parsed, Ok(RedisUrl { password: Some(_), .. })) {
            reading.note_password(server.value, whose, "${NAME}");
        }
    }
}
