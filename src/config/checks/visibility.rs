//! `[caches.ALIAS.checks.visibility]`: the ways into a cache that must agree, and the time that they have for it.

use std::collections::HashSet;
use std::time::Duration;

use humantime::format_duration;

use super::table::CheckTable;
use super::{Client, ViewConfig, VisibilityConfig};
use crate::config::address::{self, MemcachedUrl, RedisUrl};
use crate::config::cache::memcached::distinct;
use crate::config::cache::redis::{NO_USER_ALONE, is_given};
use crate::config::cache::shards;
use crate::config::keys::{self, RedisTopology};
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Value, ValueKind as Typed, unless};
use crate::config::{
    Address, Backend, Login, MemcachedConfig, MemcachedServers, Password, RedisConfig, RedisServers, Tls,
};

/// The most canaries that are written to a server in a round.
const MAX_CANARIES: u32 = 64;
/// The default if memcached is asked: two rings of two servers that spread keys by different rules agree on each key
/// with a chance of one half, and on all of so many by chance once in 256 rounds.
const CANARIES_IN_RINGS: u32 = 8;

const A_VIEW: &str = "a view must be one Redis, or a list of memcached servers: its URL begins with redis://, \
                      rediss:// (TLS), redis+unix://, memcached:// or memcacheds:// (TLS)";

const A_VIEW_OF_SHARDS: &str = "the views of shards, and only these, are tables, as in { servers = [\"redis://a/0\", \"redis://b/0\"], \
                                client = \"rb\" }; the alias then needs a `client` too";

pub(super) fn read(
    mut section: CheckTable<'_>,
    backend: &Backend,
) -> Result<VisibilityConfig, ConfigProblem> {
    section.table.only(keys::VISIBILITY)?;
    if !servers_are_named(backend) {
        return Err(section.place.problem(
            "clients depend on the order of servers, which is unknown for discovered ones; list each server, \
             or remove `visibility`",
        ));
    }
    let value = section.get("views").ok_or_else(|| {
        section.place.problem("the views are missing; add views = [\"redis://replica:6379/0\"]")
    })?;
    let views = views(&mut section, value, backend)?;
    let within = |key| move |value: &Value| value.duration(key, Duration::ZERO, Duration::from_mins(10));
    let write_within = section.said("write_within", within("write_within"))?.unwrap_or_default();
    let delete_within = section.said("delete_within", within("delete_within"))?.unwrap_or_default();
    in_time(&section, write_within, delete_within)?;
    let mut client = section.said("client", client)?;
    if let (None, Some((of_application, place))) = (client, section.reading.client.clone()) {
        section.came_from("client", &place);
        client = Some(of_application);
    }
    let client = client.unwrap_or_default();
    let canaries = section.said("canaries", |value| value.number_between("canaries", 1, MAX_CANARIES))?;
    let is_memcached = |backend: &Backend| matches!(backend, Backend::Memcached(_));
    let is_ring = |backend: &Backend| is_memcached(backend) || is_sharded(backend);
    let rings = is_ring(backend) || views.iter().any(|view| is_ring(&view.backend));
    let canaries = canaries.unwrap_or(if rings { CANARIES_IN_RINGS } else { 1 }) as usize;
    Ok(VisibilityConfig { views, write_within, delete_within, client, canaries })
}

fn is_sharded(backend: &Backend) -> bool {
    matches!(backend, Backend::Redis(RedisConfig { servers: RedisServers::Shards { .. }, .. }))
}

/// A problem if views are given more time than the deadline leaves: a time that is allowed would be called late.
fn in_time(
    section: &CheckTable<'_>,
    write_within: Duration,
    delete_within: Duration,
) -> Result<(), ConfigProblem> {
    let (timeout, both) = (section.reading.timeout, write_within + delete_within);
    // A check that leaves nothing standing from an earlier one watches one after the other, and looking ends at three
    // quarters of the deadline.
    let most = timeout * 2 / 3;
    let longer = if write_within > delete_within { "write_within" } else { "delete_within" };
    match section.value(longer) {
        Some(value) if both > most => {
            let [most, timeout] = [most, timeout].map(format_duration);
            Err(value.problem(format_args!(
                "`write_within` plus `delete_within` must be at most two thirds of `timeout` ({most} of {timeout}); \
                 raise `timeout`, or lower these"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

fn servers_are_named(backend: &Backend) -> bool {
    match backend {
        Backend::Memcached(memcached) => {
            memcached.servers.iter().all(|servers| matches!(servers, MemcachedServers::One(_)))
        }
        Backend::Redis(_) | Backend::Unchecked(_) => true,
    }
}

fn client(value: &Value) -> Result<Client, ConfigProblem> {
    value.word("client", &Client::ALL.map(|client| (client.name(), client)))
}

fn views(
    section: &mut CheckTable<'_>,
    value: &Value,
    backend: &Backend,
) -> Result<Vec<ViewConfig>, ConfigProblem> {
    let mut names = HashSet::new();
    let mut views = shards_views(section, value, backend)?;
    for (text, value) in urls(value)? {
        let (view, own_password) = view(&text, value, backend, section.reading.users_alone)?;
        unless(
            !names.insert(view.name.clone()),
            value,
            format_args!("{} is listed twice; list each view once", view.name),
        )?;
        if own_password && value.literal {
            section.reading.note_password(value, "the password of a view", "${NAME}");
        }
        if !own_password && tls_is_lost(&view.backend, backend) {
            section.reading.note_plain(&view.name);
        }
        views.push(view);
    }
    unless(views.is_empty(), value, "the list of views is empty; write \"redis://replica:6379/0\"")?;
    Ok(views)
}

/// Each URL, with the value that it stands in. Commas separate those in the environment, and also the servers of
/// one.
fn urls(value: &Value) -> Result<Vec<(String, &Value)>, ConfigProblem> {
    if let Typed::List(values) = &value.kind {
        return values
            .iter()
            .filter(|value| is_text(value))
            .map(|value| Ok((value.text()?.to_owned(), value)))
            .collect();
    }
    if !is_text(value) {
        return Ok(Vec::new());
    }
    let text = value.text()?;
    if !matches!(value.place, Place::Variable(_)) {
        return Ok(vec![(text.to_owned(), value)]);
    }
    let mut urls: Vec<(String, &Value)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match urls.last_mut() {
            Some((url, _)) if !address::is_url(part) => {
                url.push(',');
                url.push_str(part);
            }
            _ => urls.push((part.to_owned(), value)),
        }
    }
    Ok(urls)
}

fn is_text(value: &Value) -> bool {
    !matches!(value.kind, Typed::Table(_))
}

/// The views of shards, each a table.
fn shards_views(
    section: &mut CheckTable<'_>,
    value: &Value,
    backend: &Backend,
) -> Result<Vec<ViewConfig>, ConfigProblem> {
    let values = match &value.kind {
        Typed::List(values) => values.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let mut views: Vec<ViewConfig> = Vec::new();
    for value in values {
        let Typed::Table(table) = &value.kind else { continue };
        table.only(keys::VIEW)?;
        let (Backend::Redis(alias), Some(servers)) = (backend, table.get("servers")) else {
            return Err(value.problem(A_VIEW_OF_SHARDS));
        };
        let RedisServers::Shards { quorum, sharding: Some(sharding), .. } = &alias.servers else {
            return Err(value.problem(A_VIEW_OF_SHARDS));
        };
        let client = table.get("client").map(shards::client).transpose()?.unwrap_or(sharding.client);
        let servers =
            shards::shards(section.reading, (servers, keys::NAMED, "a view"), alias, Some(client), *quorum)?;
        let backend = Backend::Redis(RedisConfig {
            login: alias.login.clone(),
            tls: alias.tls.clone(),
            ..RedisConfig::at(servers)
        });
        let is_new = views.iter().all(|view| view.backend != backend);
        unless(!is_new, value, "this view is listed twice; list each view once")?;
        let number = views.len() + 1;
        let name = format!("shards {number} ({})", client.name()).into();
        views.push(ViewConfig { name, backend, client: None });
    }
    Ok(views)
}

/// The URL of a view without its client, and the client.
fn with_client<'a>(text: &'a str, value: &Value) -> Result<(&'a str, Option<Client>), ConfigProblem> {
    let Some((text, name)) = text.rsplit_once("?client=") else { return Ok((text, None)) };
    match Client::ALL.into_iter().find(|client| client.name() == name) {
        Some(client) => Ok((text, Some(client))),
        None => Err(value.problem(format_args!(
            "the client at the end of this URL is unknown; known are {}",
            keys::CLIENTS.join(", ")
        ))),
    }
}

/// A view, and `true` if its URL holds a password of its own.
fn view(
    text: &str,
    value: &Value,
    backend: &Backend,
    users_alone: bool,
) -> Result<(ViewConfig, bool), ConfigProblem> {
    if address::is_memcached_url(text) {
        let (text, client) = with_client(text, value)?;
        let url = address::memcached_url(text).map_err(|error| value.problem(error))?;
        let own_password = url.password.is_some();
        let mut view = memcached_view(text, url, value, backend)?;
        if let Some(client) = client {
            view.name = format!("{}?client={}", view.name, client.name()).into();
            view.client = Some(client);
        }
        return Ok((view, own_password));
    }
    unless(is_sharded(backend), value, A_VIEW_OF_SHARDS)?;
    let is_one = address::is_url(text)
        && matches!(address::topology(text), Ok(None | Some(RedisTopology::Standalone)));
    unless(!is_one, value, A_VIEW)?;
    let url = address::redis_location(text, RedisTopology::Standalone)
        .map_err(|error| value.problem(if error == address::SEVERAL { A_VIEW } else { error }))?;
    if let Some(problem) = address::unknown_parameter(&url.others) {
        return Err(value.problem(problem));
    }
    let own_password = url.password.is_some();
    let is_alone = url.username.is_some() && !is_given(url.password.as_ref());
    unless(is_alone && !users_alone, value, NO_USER_ALONE)?;
    Ok((redis_view(text, url, value, backend)?, own_password))
}

fn redis_view(
    text: &str,
    url: RedisUrl,
    value: &Value,
    backend: &Backend,
) -> Result<ViewConfig, ConfigProblem> {
    let alias = match backend {
        Backend::Redis(redis) => redis.login.clone(),
        Backend::Memcached(_) | Backend::Unchecked(_) => Login::default(),
    };
    let mut login = Login {
        database: url.database.unwrap_or(alias.database),
        protocol: url.protocol.unwrap_or_default(),
        username: url.username,
        password: url.password.map(Password::Fixed),
    };
    if login.password.is_none() && address::leaves_the_login_open(text) {
        login.username = alias.username;
        login.password = alias.password;
    }
    let tls = url.tls.unwrap_or_default().then(|| tls(backend));
    let Some(address) = url.addresses.into_iter().next() else { return Err(value.problem(A_VIEW)) };
    let name = address.to_string().into();
    let backend =
        Backend::Redis(RedisConfig { login, tls, ..RedisConfig::at(RedisServers::Standalone(address)) });
    Ok(ViewConfig { name, backend, client: None })
}

fn memcached_view(
    text: &str,
    url: MemcachedUrl,
    value: &Value,
    backend: &Backend,
) -> Result<ViewConfig, ConfigProblem> {
    let servers = url.servers.into_iter().map(|servers| (servers, &value.place)).collect();
    let servers = distinct(servers)?;
    unless(!servers.iter().all(|servers| matches!(servers, MemcachedServers::One(_))), value, A_VIEW)?;
    let socket = servers.iter().any(|servers| matches!(servers, MemcachedServers::One(Address::Unix(_))));
    unless(
        socket && url.tls,
        value,
        "TLS is not supported over a unix socket; begin the URL with memcached://",
    )?;
    let login = match (url.username, url.password) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => match backend {
            Backend::Memcached(memcached) if address::leaves_the_login_open(text) => memcached.login.clone(),
            Backend::Memcached(_) | Backend::Redis(_) | Backend::Unchecked(_) => None,
        },
        _ => return Err(value.problem("memcached requires both user and password, or neither")),
    };
    let tls = url.tls.then(|| tls(backend));
    let name = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into();
    let backend = Backend::Memcached(MemcachedConfig { login, tls, ..MemcachedConfig::at(servers) });
    Ok(ViewConfig { name, backend, client: None })
}

/// `true` if the alias' password, which goes there under TLS, is sent to a view without.
fn tls_is_lost(view: &Backend, alias: &Backend) -> bool {
    match (view, alias) {
        (Backend::Redis(view), Backend::Redis(alias)) => {
            let socket = matches!(view.servers, RedisServers::Standalone(Address::Unix(_)));
            alias.tls.is_some() && view.tls.is_none() && view.login.password.is_some() && !socket
        }
        (Backend::Memcached(view), Backend::Memcached(alias)) => {
            let tcp =
                |servers: &MemcachedServers| !matches!(servers, MemcachedServers::One(Address::Unix(_)));
            let network = view.servers.iter().any(tcp);
            alias.tls.is_some() && view.tls.is_none() && view.login.is_some() && network
        }
        _ => false,
    }
}

/// The TLS settings for a view: those of the alias.
fn tls(backend: &Backend) -> Tls {
    let tls = match backend {
        Backend::Redis(redis) => redis.tls.clone(),
        Backend::Memcached(memcached) => memcached.tls.clone(),
        Backend::Unchecked(_) => None,
    };
    tls.unwrap_or_default()
}
