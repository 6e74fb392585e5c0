//! Sentry's option `redis.clusters`, written as JSON: an entry for each cluster, as `sentry/utils/redis.py` reads it
//! (2018 to 2026), and as rb 1.11 and redis-py read its hosts.
//!
//! An entry is turned into the table that `[caches.ALIAS]` would have, below such a table of the config file.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::django::answers::Answers;
use super::django::location::verifies;
use crate::config::cache::reader::CacheReader;
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, TableEntry, Value, ValueKind as Typed, is_plain_key, unless};
use crate::config::{Backend, cache};

/// The way to JSON from the forms in which Sentry has its options.
pub(super) const EXPORT: &str = "; from YAML, run python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' \
                                 <config.yml; in Python, print json.dumps(SENTRY_OPTIONS[\"redis.clusters\"])";

const HOSTS: &str = "the hosts must be an object, as in {\"0\": {\"host\": \"redis\", \"port\": 6379}}, or a list of such hosts";
const NUMBERS: &str = "rb numbers its hosts from 0 without a gap; rename this host to the next number";

/// The settings of a cluster that are read.
const READ_OF_CLUSTERS: &[&str] = &["hosts", "startup_nodes", "is_redis_cluster", "client_args"];

/// The settings of a host that name a server, and those that change nothing about it.
#[rustfmt::skip]
const READ: &[&str] = &[
    "host", "port", "db", "username", "password", "unix_socket_path", "ssl", "ssl_options", "ssl_ca_certs", "ssl_certfile",
    "ssl_keyfile", "ssl_cert_reqs", "decode_responses", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
    "socket_keepalive_options", "retry_on_timeout", "max_connections", "health_check_interval", "client_name",
];

/// The entries of the file: those of `redis.clusters`, if the file has more of Sentry's options.
pub(in crate::config) fn clusters(mut options: Table) -> Result<Table, ConfigProblem> {
    match options.take("redis.clusters") {
        Some(value) => value.into_table(),
        None => Ok(options),
    }
}

/// Reads one cluster: the config file's table is laid over the entry, key by key, and both are read as one.
pub(in crate::config) fn backend(
    reading: &mut CacheReader,
    entry: &Value,
    over: &Table,
) -> Result<Backend, ConfigProblem> {
    let cluster = entry.clone().into_table()?;
    if keys::alternatives(keys::CACHE, "url").any(|key| over.get(key).is_some()) {
        return cache::backend(reading, over);
    }
    let is_redis_cluster = cluster.get("is_redis_cluster").and_then(Value::boolean) == Some(true);
    let value = cluster.get("hosts").or_else(|| cluster.get("startup_nodes"));
    let value = value.ok_or_else(|| entry.problem(HOSTS))?;
    let hosts = hosts(value, !is_redis_cluster)?;
    let clients = cluster.get("client_args").map(|value| value.clone().into_table()).transpose()?;
    let clients = clients.unwrap_or_default();
    note_unread(reading, &cluster, READ_OF_CLUSTERS);
    for host in hosts.iter().chain([&clients]) {
        note_unread(reading, host, READ);
    }
    let mut answers = Answers::below(over);
    let mut put = |key: &str, text: &str| answers.put(key, Typed::Text(text.to_owned()), &value.place);
    if is_redis_cluster {
        // Nodes have no credentials of their own.
        let nodes: Vec<_> = hosts.iter().map(address).collect::<Result<_, _>>()?;
        let scheme = if is_on(&clients, "ssl") { "rediss" } else { "redis" };
        put("url", &format!("{scheme}+cluster://{}{}", user(&clients, over)?, nodes.join(",")));
        put_tls(&mut answers, &clients);
    } else {
        let urls: Vec<_> = hosts.iter().map(|host| url(host, over)).collect::<Result<_, _>>()?;
        let mut secure = hosts.iter().filter(|host| is_on(host, "ssl"));
        let first = secure.next();
        let differs = secure.any(|host| first.is_some_and(|first| tls_settings(host) != tls_settings(first)));
        if let [one] = urls.as_slice() {
            put("url", one);
        } else {
            put("topology", "shards");
            put("client", "rb");
            let differs = differs && answers.has_room_for_tls();
            let shard = |(url, host): (String, &Table)| {
                if !differs || !is_on(host, "ssl") {
                    return Value { literal: false, ..Value::new(Typed::Text(url), value.place.clone()) };
                }
                let mut own = Answers::below(over);
                put_tls(&mut own, host);
                own.server(url, &value.place)
            };
            let shards = urls.into_iter().zip(&hosts).map(shard).collect();
            answers.put("servers", Typed::List(shards), &value.place);
        }
        if let Some(first) = first.filter(|_| !differs) {
            put_tls(&mut answers, first);
        }
    }
    cache::backend(reading, &answers.laid_under())
}

/// The hosts in the order of their numbers, or of the list; those of rb have numbers from 0 without a gap.
fn hosts(value: &Value, numbered: bool) -> Result<Vec<Table>, ConfigProblem> {
    let hosts: Vec<Table> = match &value.kind {
        Typed::List(hosts) => hosts.iter().map(|host| host.clone().into_table()).collect::<Result<_, _>>()?,
        Typed::Table(hosts) if numbered => {
            let named = |number: usize| hosts.get(&number.to_string());
            let numbers = (0..hosts.0.len()).map_while(named);
            let found: Vec<_> = numbers.map(|host| host.clone().into_table()).collect::<Result<_, _>>()?;
            let known = |key: &str| key.parse().is_ok_and(|number: usize| number < found.len());
            if let Some(entry) = hosts.0.iter().find(|entry| !known(&entry.key)) {
                return Err(entry.key_place.problem(NUMBERS));
            }
            found
        }
        Typed::Table(hosts) => {
            hosts.0.iter().map(|entry| entry.value.clone().into_table()).collect::<Result<_, _>>()?
        }
        _ => return Err(value.problem(HOSTS)),
    };
    unless(hosts.is_empty(), value, HOSTS)?;
    Ok(hosts)
}

/// A number or a text, which Sentry's own examples have in place of numbers.
fn text(table: &Table, key: &str) -> Result<Option<String>, ConfigProblem> {
    let Some(value) = table.get(key) else { return Ok(None) };
    let text = match &value.kind {
        Typed::Integer(number) => number.to_string(),
        _ => value.text()?.to_owned(),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn is_on(table: &Table, key: &str) -> bool {
    table.get(key).and_then(Value::boolean) == Some(true)
}

/// `host:port` of a host.
fn address(host: &Table) -> Result<String, ConfigProblem> {
    let name = text(host, "host")?.unwrap_or_else(|| "localhost".to_owned());
    let port = text(host, "port")?.unwrap_or_else(|| "6379".to_owned());
    if let Some(value) = host.get("port") {
        unless(port.parse::<u16>().is_err(), value, "the port must be a number from 1 to 65535")?;
    }
    Ok(if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") })
}

/// The credentials before the host of a URL. They are closed, unless there are none here and some in the config file.
fn user(host: &Table, over: &Table) -> Result<String, ConfigProblem> {
    let part = |key| Ok::<_, ConfigProblem>(text(host, key)?.unwrap_or_default());
    let (user, password) = (part("username")?, part("password")?);
    let [user, password] =
        [&user, &password].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    let mut said_over = keys::alternatives(keys::CACHE, "password").chain(["username"]);
    if user.is_empty() && password.is_empty() && said_over.any(|key| over.get(key).is_some()) {
        return Ok(String::new());
    }
    let colon = if password.is_empty() { "" } else { ":" };
    Ok(format!("{user}{colon}{password}@"))
}

/// A host of rb, or the only one.
fn url(host: &Table, over: &Table) -> Result<String, ConfigProblem> {
    let (user, database) = (user(host, over)?, text(host, "db")?.unwrap_or_else(|| "0".to_owned()));
    if let Some(path) = text(host, "unix_socket_path")? {
        return Ok(format!("redis+unix://{user}{path}?db={database}"));
    }
    let scheme = if is_on(host, "ssl") { "rediss" } else { "redis" };
    Ok(format!("{scheme}://{user}{}/{database}", address(host)?))
}

/// The settings of a host that tell how its certificate is verified, and which one is shown to it.
fn tls_settings(host: &Table) -> BTreeSet<(&str, String)> {
    let options = match host.get("ssl_options").map(|value| &value.kind) {
        Some(Typed::Table(options)) => options.0.as_slice(),
        _ => &[],
    };
    let own = host.0.iter().filter_map(|entry| Some((entry.key.strip_prefix("ssl_")?, &entry.value)));
    let all = own.chain(options.iter().map(|entry| (entry.key.as_str(), &entry.value)));
    all.map(|(name, value)| (name, shown(&value.kind))).collect()
}

/// A value, to compare it with another one.
fn shown(kind: &Typed) -> String {
    match kind {
        Typed::Text(text) => text.clone(),
        Typed::Integer(number) => number.to_string(),
        Typed::Boolean(is) => is.to_string(),
        _ => String::new(),
    }
}

/// The settings of TLS: those of redis-py, or those of rb's `ssl_options`, which have no `ssl_` before their names.
fn put_tls(answers: &mut Answers<'_>, host: &Table) {
    let options =
        host.get("ssl_options").and_then(|value| value.clone().into_table().ok()).unwrap_or_default();
    let said = |key: &str| host.get(&format!("ssl_{key}")).or_else(|| options.get(key));
    // Without a file of its own the key is in that of the certificate (Python's `load_cert_chain`).
    let key = said("keyfile").or(said("certfile"));
    for (found, ours) in [(said("ca_certs"), "ca_file"), (said("certfile"), "cert_file"), (key, "key_file")] {
        if let Some(value) = found {
            answers.put(&format!("tls.{ours}"), value.kind.clone(), &value.place);
        }
    }
    let entry = |table: &Table, key: &str| table.0.iter().find(|entry| entry.key == key).cloned();
    let requires = entry(host, "ssl_cert_reqs").or_else(|| entry(&options, "cert_reqs"));
    if let Some(TableEntry { value, .. }) =
        requires.filter(|entry| verifies(&entry.value.kind) == Some(false))
    {
        answers.put("tls.verify", Typed::Text("none".to_owned()), &value.place);
    }
}

/// Takes note of settings that may change a connection and are not read.
fn note_unread(reading: &mut CacheReader, table: &Table, read: &[&str]) {
    for entry in
        table.0.iter().filter(|entry| is_plain_key(&entry.key) && !read.contains(&entry.key.as_str()))
    {
        reading.notes.push(format!("{}: `{}` of Sentry's cluster is not read", reading.alias, entry.key));
    }
}
