//! Variables in which hosting platforms, add-ons and Spring name caches. They are read only if nothing else names one.
//!
//! Each cache is turned into the table that `[caches.ALIAS]` would have, so that an unusable value is an error of its
//! variable.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::environment::{Environment, QUOTED};
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Table, TableEntry, Value, ValueKind, is_quoted};

/// The variables that each hold one address, and the alias of each.
const ADDRESSES: [(&str, &str); 4] = [
    ("REDIS_URL", "redis"),
    ("REDIS_TLS_URL", "redis_tls"),
    ("VALKEY_URL", "valkey"),
    ("MEMCACHED_URL", "memcached"),
];

const MEMCACHIER: &str = "MEMCACHIER_";
const SPRING: &str = "SPRING_DATA_REDIS_";

const HOST: &str = "expected a host name or an IP address; set SPRING_DATA_REDIS_PORT for the port, or SPRING_DATA_REDIS_URL to use a URL";
const SSL_ENABLED: &str = "expected true or false, or another of Spring's words: on, off, yes, no, 1, 0";
const PORT: &str = "the port must be a number from 1 to 65535";
const NO_MASTER: &str = "Sentinels need the name of the primary; set SPRING_DATA_REDIS_SENTINEL_MASTER";
const URL_TOO: &str = "SPRING_DATA_REDIS_URL names another server; keep one of the two";

/// A cache that variables name.
struct PlatformCache {
    alias: &'static str,
    /// The keys of `[caches.ALIAS]`.
    table: Table,
    /// The variables, the first of which names the server.
    variables: Vec<Arc<str>>,
}

/// `true` if a variable of this name names a cache, or is a part of its settings.
pub(in crate::config) fn is_variable(name: &str) -> bool {
    ADDRESSES.iter().any(|(address, _)| name == *address)
        || [MEMCACHIER, SPRING].iter().any(|prefix| name.starts_with(prefix))
}

/// Puts the caches of these variables into `table`, if it names no other, and takes note of them.
pub(in crate::config) fn merge_into(
    environment: &Environment<'_>,
    table: &mut Table,
    problems: &mut Vec<ConfigProblem>,
) -> Vec<String> {
    if ["caches", "django_caches", "sentry_redis", "targets"].iter().any(|key| table.get(key).is_some()) {
        return Vec::new();
    }
    let mut caches: Vec<PlatformCache> = Vec::new();
    for (name, alias) in ADDRESSES {
        let Some(address) = environment.get(name) else { continue };
        let same = |cache: &&mut PlatformCache| environment.get(&cache.variables[0]) == Some(address);
        if let Some(cache) = caches.iter_mut().find(same) {
            cache.variables.push(name.into());
            continue;
        }
        let mut cache = PlatformCache::new(alias);
        // Some platforms give a memcached without a scheme.
        let listed = alias == "memcached" && !address.contains("://");
        cache.put(if listed { "servers" } else { "url" }, name, address.to_owned());
        caches.push(cache);
    }
    let mut memcachier = PlatformCache::new("memcachier");
    memcachier.put_each(environment, MEMCACHIER, &["SERVERS", "USERNAME", "PASSWORD"]);
    caches.extend(Some(memcachier).filter(|cache| cache.table.get("servers").is_some()));
    match spring(environment) {
        Ok(cache) => caches.extend(cache),
        Err(problem) => problems.push(problem),
    }
    for name in caches.iter().flat_map(|cache| &cache.variables) {
        // A password may have quotes; its reader takes note of them.
        if !name.ends_with("PASSWORD") && environment.get(name).is_some_and(is_quoted) {
            problems.push(Place::Variable(name.clone()).problem(QUOTED));
        }
    }
    let Some(first) = caches.first().and_then(|cache| cache.variables.first()) else { return Vec::new() };
    let place = Place::Variable(first.clone());
    let notes = notes(environment, &caches);
    let caches = Table(caches.into_iter().map(PlatformCache::entry).collect());
    table.0.push(entry("caches", ValueKind::Table(caches), place));
    notes
}

fn notes(environment: &Environment<'_>, caches: &[PlatformCache]) -> Vec<String> {
    let named = caches.iter().map(|cache| format!("{} from {}", cache.alias, cache.variables.join(", ")));
    let named = named.collect::<Vec<_>>().join("; ");
    let mut notes = vec![format!(
        "nothing else names a cache, so these variables do: {named}; a config file, CACHE_URL or \
         CACHE_CANARY_CACHES__NAME__URL replaces all of them"
    )];
    let secure = caches.iter().map(|cache| &cache.variables[0]).find(|name| {
        let heroku = name.starts_with("REDIS_TLS") || environment.get("DYNO").is_some();
        heroku && environment.get(name).is_some_and(|url| url.starts_with("rediss://"))
    });
    if let Some(name) = secure {
        notes.push(format!(
            "{name}: the certificate is verified, and Heroku's is self-signed; on Heroku, use a config file with \
             [caches.redis], url = \"${{{name}}}\" and tls = {{ verify = \"none\" }}, as its clients do"
        ));
    }
    notes
}

/// The Redis of Spring Boot's `spring.data.redis.*`, as its environment variables have it. As in its
/// `RedisConnectionConfiguration`, Sentinels come before a cluster, a cluster before one server, and a URL replaces the
/// host, the port, the user and the password.
fn spring(environment: &Environment<'_>) -> Result<Option<PlatformCache>, ConfigProblem> {
    let name = |key: &str| format!("{SPRING}{key}");
    let get = |key: &str| environment.get(&name(key));
    let problem = |key: &str, what| Err(Place::Variable(name(key).into()).problem(what));
    let enabled = match get("SSL_ENABLED").map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("true" | "on" | "yes" | "1") => Some(true),
        Some("false" | "off" | "no" | "0") => Some(false),
        Some(_) => return problem("SSL_ENABLED", SSL_ENABLED),
    };
    // A bundle alone turns TLS on (`isEnabled` of `DataRedisProperties.Ssl`).
    let is_secure = enabled.unwrap_or_else(|| get("SSL_BUNDLE").is_some());
    let s = if is_secure { "s" } else { "" };
    let mut cache = PlatformCache::new("spring");
    let mut more = vec!["USERNAME", "PASSWORD", "DATABASE"];
    let several = nodes(environment, "SENTINEL_NODES").or_else(|| nodes(environment, "CLUSTER_NODES"));
    match (several, get("URL")) {
        (Some((key, _)), Some(_)) => return problem(&key, URL_TOO),
        (Some((key, nodes)), None) if key.starts_with("SENTINEL") => {
            let Some(primary) = get("SENTINEL_MASTER") else { return problem(&key, NO_MASTER) };
            cache.put("url", &name(&key), format!("redis{s}+sentinel://{nodes}/{primary}"));
            cache.variables.push(name("SENTINEL_MASTER").into());
            more.extend(["SENTINEL_USERNAME", "SENTINEL_PASSWORD"]);
        }
        (Some((key, nodes)), None) => {
            cache.put("url", &name(&key), format!("redis{s}+cluster://{nodes}"));
            // Spring ignores the database here.
            more.retain(|key| *key != "DATABASE");
        }
        (None, Some(url)) => {
            let plain = url.strip_prefix("redis://").filter(|_| is_secure);
            let url = plain.map_or_else(|| url.to_owned(), |rest| format!("rediss://{rest}"));
            cache.put("url", &name("URL"), url);
            more = vec!["DATABASE"];
        }
        (None, None) => {
            let Some(host) = get("HOST") else { return Ok(None) };
            let has_port = host.contains(':') && host.parse::<Ipv6Addr>().is_err();
            if has_port || host.contains(['/', '@', '?', '#']) {
                return problem("HOST", HOST);
            }
            let port = get("PORT").unwrap_or("6379");
            if port.parse::<NonZeroU16>().is_err() {
                return problem("PORT", PORT);
            }
            let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
            cache.put("url", &name("HOST"), format!("redis{s}://{host}:{port}"));
            cache.variables.extend(get("PORT").map(|_| name("PORT").into()));
        }
    }
    cache.put_each(environment, SPRING, &more);
    let tls = ["SSL_ENABLED", "SSL_BUNDLE"].into_iter().filter(|key| get(key).is_some());
    cache.variables.extend(tls.map(|key| name(key).into()));
    Ok(Some(cache))
}

/// A list of Spring's, with commas in one variable or with a variable for each entry; and the first variable's key.
fn nodes(environment: &Environment<'_>, key: &str) -> Option<(String, String)> {
    let get = |key: &str| environment.get(&format!("{SPRING}{key}"));
    let (key, text) = if let Some(text) = get(key) {
        (key.to_owned(), text.to_owned())
    } else {
        let each: Vec<_> = (0..).map_while(|number| get(&format!("{key}_{number}"))).collect();
        (format!("{key}_0"), each.join(","))
    };
    let nodes: Vec<_> = text.split(',').map(str::trim).filter(|node| !node.is_empty()).collect();
    (!nodes.is_empty()).then(|| (key, nodes.join(",")))
}

impl PlatformCache {
    fn new(alias: &'static str) -> Self {
        Self { alias, table: Table::default(), variables: Vec::new() }
    }

    /// Sets a key to a text that this variable gives.
    fn put(&mut self, key: &str, variable: &str, text: String) {
        let variable: Arc<str> = variable.into();
        self.table.0.push(entry(key, ValueKind::Text(text), Place::Variable(variable.clone())));
        self.variables.push(variable);
    }

    /// Sets those keys whose variables are set: each has this prefix, and then the key in capitals.
    fn put_each(&mut self, environment: &Environment<'_>, prefix: &str, keys: &[&str]) {
        for key in keys {
            let variable = format!("{prefix}{key}");
            if let Some(text) = environment.get(&variable) {
                self.put(&key.to_ascii_lowercase(), &variable, text.to_owned());
            }
        }
    }

    fn entry(self) -> TableEntry {
        let place = self.variables.first().cloned().unwrap_or_else(|| self.alias.into());
        entry(self.alias, ValueKind::Table(self.table), Place::Variable(place))
    }
}

fn entry(key: &str, kind: ValueKind, place: Place) -> TableEntry {
    TableEntry { key: key.to_owned(), key_place: place.clone(), value: Value::new(kind, place) }
}
