//! `[caches.ALIAS]` of memcached: its servers, the number of them that have to be up, and the login.

use std::collections::HashSet;

use crate::config::address;
use crate::config::cache::reader::{CacheReader, WrittenAddress};
use crate::config::cache::redis::is_given;
use crate::config::cache::tls;
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Table, Value, unless};
use crate::config::{Address, Backend, MemcachedConfig, MemcachedServers, Secret};
use crate::outcome::Quorum;

/// The most servers that a quorum may want where their number is not known beforehand.
const MAX_QUORUM: u32 = 10_000;

const BOTH: &str = "memcached requires both user and password, or neither";

pub(in crate::config) fn read(
    reading: &mut CacheReader,
    table: &Table,
    server: &WrittenAddress<'_>,
) -> Result<Backend, ConfigProblem> {
    reading.came_from(&["servers"], &server.value.place);
    let (mut username, mut password, mut by_scheme) = (None, None, None);
    let servers = if address::is_url(&server.text) {
        let url = address::memcached_url(&server.text).map_err(|error| server.value.problem(error))?;
        (username, password, by_scheme) = (url.username, url.password, Some(url.tls));
        url.servers.into_iter().map(|servers| (servers, &server.value.place)).collect()
    } else {
        listed(server.value)?
    };
    let servers = distinct(servers)?;
    for (key, said) in
        [("username", username.is_some()), ("password", password.is_some()), ("tls", by_scheme == Some(true))]
    {
        if said {
            reading.came_from(&[key], &server.value.place);
        }
    }
    reading.credentials(table, server, &mut username, &mut password)?;
    let socket = servers.iter().any(|servers| matches!(servers, MemcachedServers::One(Address::Unix(_))));
    let schemes = ("memcacheds://", "memcached://");
    unless(
        socket && by_scheme == Some(true),
        server.value,
        "TLS is not supported over a unix socket; begin the URL with memcached://",
    )?;
    let tls =
        tls::read(reading, table.get("tls"), tls::TlsHints { by_scheme, schemes, socket, server: None })?;
    let known = servers.iter().all(|servers| matches!(servers, MemcachedServers::One(_)));
    let quorum = quorum(reading, table, known.then_some(servers.len()))?;
    let login = login(reading, username, password)?;
    let spray = reading.spray(table)?;
    Ok(Backend::Memcached(MemcachedConfig { quorum, login, tls, spray, ..MemcachedConfig::at(servers) }))
}

/// The user and the password, both or neither.
pub(in crate::config) fn login(
    reading: &CacheReader,
    username: Option<String>,
    password: Option<Secret>,
) -> Result<Option<(String, Secret)>, ConfigProblem> {
    let username = username.filter(|username| !username.is_empty());
    match (username, password.filter(|password| is_given(Some(password)))) {
        (Some(username), Some(password)) => Ok(Some((username, password))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(reading.problem(format_args!("the password is missing; {BOTH}"))),
        (None, Some(_)) => Err(reading.problem(format_args!("the user is missing; {BOTH}"))),
    }
}

/// The number of servers that have to be up, of this many if their number is known.
pub(in crate::config) fn quorum(
    reading: &mut CacheReader,
    table: &Table,
    servers: Option<usize>,
) -> Result<Quorum, ConfigProblem> {
    let most = servers.and_then(|servers| u32::try_from(servers).ok()).unwrap_or(MAX_QUORUM);
    let quorum = reading.said(table, "quorum", |value| match (value.text(), value.number()) {
        (Ok("all"), _) => Ok(Quorum::All),
        (_, Ok(least)) if (1..=most).contains(&least) => Ok(Quorum::AtLeast(least)),
        _ => {
            let most =
                servers.map_or_else(|| " up".to_owned(), |_| format!(" to {most}, the number of servers"));
            Err(value.problem(format_args!("`quorum` must be \"all\", or a whole number from 1{most}")))
        }
    })?;
    Ok(quorum.unwrap_or(Quorum::All))
}

/// The servers of a list, or of a text in which commas or semicolons separate them.
fn listed(value: &Value) -> Result<Vec<(MemcachedServers, &Place)>, ConfigProblem> {
    let texts = value.texts()?;
    let servers: Result<Vec<_>, ConfigProblem> = texts
        .into_iter()
        .flat_map(|(text, place)| text.split([',', ';']).map(move |text| (text, place)))
        .map(|(text, place)| {
            Ok((address::memcached_servers(text).map_err(|error| place.problem(error))?, place))
        })
        .collect();
    let servers = servers?;
    unless(servers.is_empty(), value, "the list of servers is empty; write \"host:11211\"")?;
    Ok(servers)
}

/// The servers, none of which may be there twice.
pub(in crate::config) fn distinct(
    servers: Vec<(MemcachedServers, &Place)>,
) -> Result<Vec<MemcachedServers>, ConfigProblem> {
    let mut seen = HashSet::new();
    for (servers, place) in &servers {
        // Names are the same in capitals.
        if !seen.insert(servers.to_string().to_ascii_lowercase()) {
            return Err(place.problem(format_args!("{servers} is listed twice; list each server once")));
        }
    }
    Ok(servers.into_iter().map(|(servers, _)| servers).collect())
}
