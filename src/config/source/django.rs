//! Django's `CACHES` setting, written as JSON: the output of `json.dumps(settings.CACHES)`, as it is.
//!
//! It is read as the named backends read it. Settings that change keys or belong to a client (`KEY_PREFIX`, `VERSION`,
//! `TIMEOUT`, most of `OPTIONS`) are passed over, since a check has keys of its own. There is no `${NAME}` here: such a
//! text in a password is the password.

mod options;
mod redis;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use crate::config::cache::memcached;
use crate::config::cache::reader::{self, CacheReader};
use crate::config::keys::BackendKind;
use crate::config::place::{ConfigProblem, Place, Text};
use crate::config::value::{Table, TableEntry, Value, ValueKind as Typed, is_plain_key};
use crate::config::{Backend, MemcachedConfig, Secret, address, text_file};
use crate::outcome::SkipReason;
use options::Options;

/// The keys that errors may show, though not their values.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "BACKEND", "LOCATION", "OPTIONS", "TIMEOUT", "KEY_PREFIX", "KEY_FUNCTION", "VERSION", "USERNAME", "PASSWORD",
    "CLIENT_CLASS", "CONNECTION_FACTORY", "CONNECTION_POOL_CLASS", "CONNECTION_POOL_KWARGS", "SENTINELS",
    "SENTINEL_KWARGS", "REDIS_CLIENT_KWARGS", "BASE_CLIENT_KWARGS", "protocol", "db", "username", "password",
];

/// The meaning of a dotted path.
enum KnownPath {
    /// Redis, whose client splits a `LOCATION` of text at these characters.
    Redis(&'static [char]),
    Memcached,
    LocalMemory,
    Forwarding,
    /// No server at all; the words name its kind.
    NoServer(&'static str),
    /// A Redis cluster, of which the locations name some nodes.
    RedisCluster,
}

/// The meaning of each dotted path, by the source of Django 1.2 to 5.2, django-redis 7.0, django-valkey 0.4,
/// django-pylibmc 0.6, django-bmemcached 0.3 and Djblets 6.1.
fn known(path: &str) -> Option<KnownPath> {
    Some(match path {
        "django.core.cache.backends.redis.RedisCache" => KnownPath::Redis(&[',', ';']),
        "django_redis.cache.RedisCache"
        | "django_valkey.cache.ValkeyCache"
        | "django_valkey.async_cache.cache.AsyncValkeyCache" => KnownPath::Redis(&[',']),
        "django_valkey.cluster_cache.cache.ClusterValkeyCache" => KnownPath::RedisCluster,
        "django.core.cache.backends.memcached.PyMemcacheCache"
        | "django.core.cache.backends.memcached.PyLibMCCache"
        | "django.core.cache.backends.memcached.MemcachedCache"
        | "django.core.cache.backends.memcached.CacheClass"
        | "django_pylibmc.memcached.PyLibMCCache"
        | "django_bmemcached.memcached.BMemcached" => KnownPath::Memcached,
        "django.core.cache.backends.locmem.LocMemCache" => KnownPath::LocalMemory,
        "django.core.cache.backends.dummy.DummyCache" => KnownPath::NoServer("a dummy that keeps nothing"),
        "django.core.cache.backends.filebased.FileBasedCache" => KnownPath::NoServer("a directory of files"),
        "django.core.cache.backends.db.DatabaseCache" => KnownPath::NoServer("a database table"),
        "djblets.cache.forwarding_backend.ForwardingCacheBackend" => KnownPath::Forwarding,
        _ => return None,
    })
}

/// Reads the file: aliases, and the entry of each.
pub(in crate::config) fn read(path: &Path, named: &Place) -> Result<Table, ConfigProblem> {
    let content = text_file::read(path)
        .map_err(|error| named.problem(format_args!("cannot read {}: {error}", path.display())))?;
    let text = Text::new(path, content);
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(&text.content, &CollectOptions::default(), &strict).map_err(|error| {
        let message = match error.kind() {
            // This one repeats what it read.
            ParseErrorKind::String(ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)) => {
                "Invalid unicode escape sequence".to_owned()
            }
            kind => kind.to_string(),
        };
        let range = error.range().start..error.range().end;
        let key = key_before(&text.content, range.start);
        let key = key.map(|key| format!(", at the key `{key}`")).unwrap_or_default();
        let place = Place::File(text.clone(), range);
        place.problem(format_args!("this is no JSON{key}: {}", message.to_lowercase()))
    })?;
    let mut hidden = Vec::new();
    if let Some(value) = &parsed.value {
        hide(value, "", &mut hidden);
    }
    let _ = text.hidden.set(hidden);
    let whole = Place::File(text.clone(), 0..0);
    let value = parsed.value.map(|value| convert(&text, value)).transpose()?;
    match value.map(|value| value.kind) {
        Some(Typed::Table(table)) => Ok(table),
        _ => Err(whole.problem("the CACHES setting must be a JSON object with one entry per alias")),
    }
}

/// The key in whose line this byte of a broken file is, if it is one that is read.
fn key_before(content: &str, byte: usize) -> Option<&'static str> {
    let before = &content[..content.floor_char_boundary(byte)];
    let line = before.rsplit('\n').next()?;
    let (key, _) = line.split_once(':')?;
    let key = key.trim().strip_prefix('"')?.strip_suffix('"')?;
    KEYS.iter().find(|known| **known == key).copied()
}

/// Finds the parts of a value that no error may show: everything but the keys that are read, names of objects, and
/// dotted paths.
fn hide(value: &ast::Value<'_>, key: &str, hidden: &mut Vec<Range<usize>>) {
    let mut add = |range: jsonc_parser::common::Range| hidden.push(range.start..range.end);
    match value {
        ast::Value::StringLit(path) if key == "BACKEND" && path.value.split('.').all(is_plain_key) => {}
        ast::Value::Object(object) => {
            for property in &object.properties {
                let name = property.name.as_str();
                let is_object = matches!(property.value, ast::Value::Object(_));
                let may_show = KEYS.contains(&name) || is_object && is_plain_key(name);
                if !may_show {
                    hidden.push(property.range.start..property.range.end);
                }
                hide(&property.value, name, hidden);
            }
        }
        other => add(other.range()),
    }
}

/// Brings JSON into the common shape.
fn convert(text: &Arc<Text>, value: ast::Value<'_>) -> Result<Value, ConfigProblem> {
    let place = |range: jsonc_parser::common::Range| Place::File(text.clone(), range.start..range.end);
    let here = place(value.range());
    let kind = match value {
        ast::Value::StringLit(string) => Typed::Text(string.value.into_owned()),
        ast::Value::NumberLit(number) => {
            number.value.parse().map_or(Typed::Other("such a number"), Typed::Integer)
        }
        ast::Value::BooleanLit(boolean) => Typed::Boolean(boolean.value),
        ast::Value::NullKeyword(_) => Typed::Null,
        ast::Value::Array(array) => {
            let values = array.elements.into_iter().map(|value| convert(text, value));
            Typed::List(values.collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            let mut entries = Vec::<TableEntry>::new();
            for property in object.properties {
                let key_place = match &property.name {
                    ObjectPropName::String(name) => place(name.range),
                    ObjectPropName::Word(name) => place(name.range),
                };
                let key = property.name.into_string();
                if entries.iter().any(|entry| entry.key == key) {
                    return Err(key_place.problem("duplicate key"));
                }
                entries.push(TableEntry { key, key_place, value: convert(text, property.value)? });
            }
            Typed::Table(Table(entries))
        }
    };
    Ok(Value::new(kind, here))
}

fn object(value: &Value) -> Result<&Table, ConfigProblem> {
    match &value.kind {
        Typed::Table(table) => Ok(table),
        _ => Err(value.problem(format_args!("expected an object in braces, found {}", value.noun()))),
    }
}

/// Reads one alias. `told` is the config file's `backend` for it, if the file has nothing else of it.
pub(in crate::config) fn backend(
    reading: &mut CacheReader,
    entry: &Value,
    told: Option<&Value>,
) -> Result<Backend, ConfigProblem> {
    let entry = object(entry)?;
    let class = if let Some(told) = told {
        reading.came_from(&["backend"], &told.place);
        match reader::backend_kind(told)? {
            BackendKind::Redis => KnownPath::Redis(&[',', ';']),
            BackendKind::Memcached => KnownPath::Memcached,
            BackendKind::LocalMemory => KnownPath::LocalMemory,
            BackendKind::Forwarding => KnownPath::Forwarding,
        }
    } else {
        let path = entry.get("BACKEND").ok_or_else(|| {
            reading.problem("BACKEND is missing, the dotted path of a class (Django's keys are in capitals)")
        })?;
        reading.came_from(&["backend"], &path.place);
        known(path.text()?).ok_or_else(|| path.problem(unknown_class(reading)))?
    };
    match class {
        KnownPath::Redis(separators) => redis::cache(reading, entry, separators),
        KnownPath::RedisCluster => redis::cluster(reading, entry, &[',']),
        KnownPath::Memcached => memcached_cache(reading, entry),
        KnownPath::LocalMemory => Ok(Backend::Unchecked(SkipReason::LocalMemory)),
        // Django hands over an empty text if there is no LOCATION.
        KnownPath::Forwarding => {
            let location = entry.get("LOCATION");
            reader::forwarding(reading, location.filter(|value| !matches!(value.text(), Ok(""))))
        }
        KnownPath::NoServer(kind) => Ok(Backend::Unchecked(SkipReason::NoServer { kind })),
    }
}

fn unknown_class(reading: &CacheReader) -> String {
    format!(
        "unknown backend; set backend = \"redis\", \"memcached\", \"forwarding\" \
         or (to skip it) \"local-memory\" under [caches.{}] in the config file",
        reading.alias
    )
}

fn memcached_cache(reading: &mut CacheReader, entry: &Table) -> Result<Backend, ConfigProblem> {
    let options = Options::of(entry)?;
    if let Some(value) = options.get("tls_context") {
        return Err(value.problem(format_args!(
            "its TLS settings cannot be written in JSON; in the config file, add [caches.{}] with a url that begins with \
             memcacheds://",
            reading.alias
        )));
    }
    let mut servers = Vec::new();
    for (text, value) in locations(reading, entry, &[',', ';'])? {
        servers
            .push((address::memcached_servers(&text).map_err(|error| value.problem(error))?, &value.place));
    }
    if let Some((_, place)) = servers.first() {
        reading.came_from(&["servers"], place);
    }
    // A value in OPTIONS wins in django-bmemcached; the others know one of the two.
    let username = text(reading, options.get("username").or_else(|| entry.get("USERNAME")), "username")?;
    let password = text(reading, options.get("password").or_else(|| entry.get("PASSWORD")), "password")?;
    let login = memcached::login(reading, username, password.map(Secret::from))?;
    Ok(Backend::Memcached(MemcachedConfig { login, ..MemcachedConfig::at(memcached::distinct(servers)?) }))
}

/// Each location in `LOCATION`: a text, which the client splits, or a list.
fn locations<'a>(
    reading: &CacheReader,
    entry: &'a Table,
    separators: &[char],
) -> Result<Vec<(Cow<'a, str>, &'a Value)>, ConfigProblem> {
    let location = entry.get("LOCATION").ok_or_else(|| no_location(reading))?;
    let locations: Vec<_> = match &location.kind {
        Typed::List(values) => {
            values.iter().map(|value| Ok((one(value)?, value))).collect::<Result<_, _>>()?
        }
        _ => location.text()?.split(separators).map(|text| (Cow::from(text.trim()), location)).collect(),
    };
    match locations.as_slice() {
        [] => Err(no_location(reading)),
        [(text, _)] if text.is_empty() => Err(no_location(reading)),
        _ => Ok(locations),
    }
}

/// One location of a list: a text, or a host and a port, which pymemcache takes as a tuple.
fn one(value: &Value) -> Result<Cow<'_, str>, ConfigProblem> {
    if let Typed::List(pair) = &value.kind
        && let [Value { kind: Typed::Text(host), .. }, port] = &pair[..]
        && let Ok(port) = port.number()
    {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        return Ok(Cow::from(format!("{bracketed}:{port}")));
    }
    value.text().map(Cow::from)
}

/// A value that is a text and not empty, which answers `key`.
fn text(
    reading: &mut CacheReader,
    value: Option<&Value>,
    key: &'static str,
) -> Result<Option<String>, ConfigProblem> {
    let Some(value) = value else { return Ok(None) };
    let text = value.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    reading.came_from(&[key], &value.place);
    Ok(Some(text.to_owned()))
}

fn no_location(reading: &CacheReader) -> ConfigProblem {
    reading.problem("LOCATION is missing or names no server")
}
