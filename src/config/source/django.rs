//! Django's `CACHES` setting, written as JSON: the output of `json.dumps(settings.CACHES)`, as it is.
//!
//! It is read as the named backends read it, and turned into the table that `[caches.ALIAS]` would have, below such a
//! table of the config file. Settings that change keys or belong to a client (`KEY_PREFIX`, `VERSION`, `TIMEOUT`) are
//! passed over, since a check has keys of its own; what may change a connection and is not read is noted. There is no
//! `${NAME}` here: such a text in a password is the password.

pub(super) mod answers;
pub(super) mod location;
mod options;
mod redis;

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::net::Ipv6Addr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use crate::config::cache;
use crate::config::cache::reader::{self, CacheReader};
use crate::config::checks::Client;
use crate::config::keys::{self, BackendKind};
use crate::config::place::{ConfigProblem, Place, Text};
use crate::config::value::{Table, TableEntry, Value, ValueKind as Typed, is_plain_key};
use crate::config::{Backend, address, text_file};
use crate::outcome::{LoginSource, SkipReason};
use answers::Answers;
use options::{Library, Options, Way};

/// The keys that errors may show, though not their values.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "BACKEND", "LOCATION", "OPTIONS", "TIMEOUT", "KEY_PREFIX", "KEY_FUNCTION", "VERSION", "USERNAME", "PASSWORD",
    "CLIENT_CLASS", "CONNECTION_FACTORY", "CONNECTION_POOL_CLASS", "CONNECTION_POOL_KWARGS", "SENTINELS",
    "SENTINEL_KWARGS", "REDIS_CLIENT_KWARGS", "BASE_CLIENT_KWARGS", "protocol", "db", "username", "password",
    "hosts", "startup_nodes", "is_redis_cluster", "host", "port", "ssl", "targets", "labels",
];

/// The meaning of a dotted path.
enum KnownPath {
    Redis(Library),
    Memcached,
    LocalMemory,
    Forwarding,
    /// No server at all; the words name its kind.
    NoServer(&'static str),
    /// A class of the application's own, or of a library that is not known.
    Unknown,
}

const BMEMCACHED: &str = "django_bmemcached.memcached.BMemcached";
const PYLIBMC: &str = "django_pylibmc.memcached.PyLibMCCache";

/// The arguments of its client (bmemcached 0.33).
#[rustfmt::skip]
const OF_BMEMCACHED: &[&str] = &[
    "username", "password", "compression", "socket_timeout", "pickle_protocol", "pickler", "unpickler", "tls_context",
];

/// The meaning of each dotted path, by the source of Django 1.2 to 6.1, django-redis 7.0, django-valkey 0.4,
/// django-cachex 0.14, django-vcache 3.2, aiodrf-async-cache 0.2, django-redis-cache 3.0, django-pylibmc 0.6,
/// django-bmemcached 0.3, django-prometheus 2.5 and Djblets 6.1.
fn known(path: &str) -> Option<KnownPath> {
    if let Some(class) = path.strip_prefix("django_cachex.cache.") {
        return Some(match class.rsplit('.').next() {
            Some("LocMemCache") => KnownPath::LocalMemory,
            Some("DatabaseCache" | "PostgreSQLCache") => KnownPath::NoServer("a database table"),
            // A base of the others, which cannot be used itself.
            Some(class) if class.starts_with("Resp") => return None,
            Some(class) if class.contains("Glide") => KnownPath::Redis(Library::Glide),
            Some(class) if class.contains("Redis") || class.contains("Valkey") => {
                KnownPath::Redis(Library::Cachex)
            }
            _ => return None,
        });
    }
    if let Some(counted) = path.strip_prefix("django_prometheus.cache.backends.") {
        return match counted {
            "redis.RedisCache" => known("django_redis.cache.RedisCache"),
            "redis.NativeRedisCache" => known("django.core.cache.backends.redis.RedisCache"),
            counted => known(&format!("django.core.cache.backends.{counted}")),
        };
    }
    if path.starts_with("redis_cache.") && path.ends_with("RedisCache") {
        return Some(KnownPath::Redis(Library::RedisCache));
    }
    Some(match path {
        "django.core.cache.backends.redis.RedisCache" => KnownPath::Redis(Library::Django),
        "django_redis.cache.RedisCache" => KnownPath::Redis(Library::DjangoRedis),
        "django_valkey.cache.ValkeyCache"
        | "django_valkey.async_cache.cache.AsyncValkeyCache"
        | "django_valkey.cluster_cache.cache.ClusterValkeyCache" => KnownPath::Redis(Library::DjangoValkey),
        "django_vcache.backend.ValkeyCache" => KnownPath::Redis(Library::Vcache),
        "aiodrf_async_cache.redis.AsyncRedisCache" | "aiodrf_async_cache.valkey.AsyncValkeyCache" => {
            KnownPath::Redis(Library::Aiodrf)
        }
        "django.core.cache.backends.memcached.PyMemcacheCache"
        | "django.core.cache.backends.memcached.PyLibMCCache"
        | "django.core.cache.backends.memcached.MemcachedCache"
        | "django.core.cache.backends.memcached.CacheClass"
        | PYLIBMC
        | BMEMCACHED => KnownPath::Memcached,
        "django.core.cache.backends.locmem.LocMemCache" => KnownPath::LocalMemory,
        "django.core.cache.backends.dummy.DummyCache" | "redis_cache.RedisDummyCache" => {
            KnownPath::NoServer("a dummy that keeps nothing")
        }
        "django.core.cache.backends.filebased.FileBasedCache" | "diskcache.DjangoCache" => {
            KnownPath::NoServer("a directory of files")
        }
        "uwsgicache.UWSGICache" => KnownPath::NoServer("memory of uWSGI"),
        "django.core.cache.backends.db.DatabaseCache" => KnownPath::NoServer("a database table"),
        "djblets.cache.forwarding_backend.ForwardingCacheBackend" => KnownPath::Forwarding,
        _ => return None,
    })
}

/// The name of the file that stands for standard input.
pub(in crate::config) const STANDARD_INPUT: &str = "-";

/// Reads the file that a setting names: aliases, and the entry of each. A note tells of text before the setting.
pub(in crate::config) fn read(
    setting: &str,
    path: &Path,
    named: &Place,
    notes: &mut Vec<String>,
) -> Result<Table, ConfigProblem> {
    let (path, content) = if path == Path::new(STANDARD_INPUT) {
        (Path::new("standard input"), standard_input())
    } else {
        (path, text_file::read(path))
    };
    let content =
        content.map_err(|error| named.problem(format_args!("cannot read {}: {error}", path.display())))?;
    let (content, lines) = from_the_first_brace(content);
    if lines > 0 {
        notes.push(format!(
            "{setting}: {lines} {} before the first {{ in {} {} passed over",
            if lines == 1 { "line" } else { "lines" },
            path.display(),
            if lines == 1 { "was" } else { "were" },
        ));
    }
    let text = Text::new(path, content);
    let export = if setting == "sentry_redis" { super::sentry::EXPORT } else { "" };
    let value = json(&text, export)?;
    let whole = Place::File(text.clone(), 0..0);
    match value.map(|value| value.kind) {
        Some(Typed::Table(table)) => Ok(table),
        _ if setting == "sentry_redis" => {
            Err(whole.problem("redis.clusters must be a JSON object with one entry per cluster"))
        }
        _ => Err(whole.problem("the CACHES setting must be a JSON object with one entry per alias")),
    }
}

/// The value in a text of JSON, if there is one; `export` is more to the error of one that is none.
pub(super) fn json(text: &Arc<Text>, export: &str) -> Result<Option<Value>, ConfigProblem> {
    let parsed = parse(text, 0..text.content.len(), export)?;
    let mut hidden = Vec::new();
    hide_values(parsed.as_ref(), 0, &mut hidden);
    let _ = text.hidden.set(hidden);
    parsed.map(|value| convert(text, 0, value)).transpose()
}

/// The same of a part of the text. Its parts that no error may show are added to `hidden`.
pub(super) fn json_in(
    text: &Arc<Text>,
    part: Range<usize>,
    hidden: &mut Vec<Range<usize>>,
) -> Result<Option<Value>, ConfigProblem> {
    let start = part.start;
    let parsed = parse(text, part.clone(), "").inspect_err(|_| hidden.push(part))?;
    hide_values(parsed.as_ref(), start, hidden);
    parsed.map(|value| convert(text, start, value)).transpose()
}

/// Parses a part of a text; places in it count from there.
fn parse<'a>(
    text: &'a Arc<Text>,
    part: Range<usize>,
    export: &str,
) -> Result<Option<ast::Value<'a>>, ConfigProblem> {
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
    let start = part.start;
    let parsed = parse_to_ast(&text.content[part], &CollectOptions::default(), &strict).map_err(|error| {
        let message = match error.kind() {
            // This one repeats what it read.
            ParseErrorKind::String(ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)) => {
                "Invalid unicode escape sequence".to_owned()
            }
            kind => kind.to_string(),
        };
        let range = start + error.range().start..start + error.range().end;
        let key = key_before(&text.content, range.start);
        let key = key.map(|key| format!(", at the key `{key}`")).unwrap_or_default();
        let place = Place::File(text.clone(), range);
        place.problem(format_args!("this is no JSON{key}: {}{export}", message.to_lowercase()))
    })?;
    Ok(parsed.value)
}

/// Standard input, which can be read once and is kept for the reloads.
fn standard_input() -> io::Result<String> {
    static READ: OnceLock<String> = OnceLock::new();
    if let Some(read) = READ.get() {
        return Ok(read.clone());
    }
    let mut text = String::new();
    io::stdin().take(text_file::MAX_FILE).read_to_string(&mut text)?;
    Ok(READ.get_or_init(|| text).clone())
}

/// A text whose lines before the first that begins with `{` are blank, and their number if there are any: Django's
/// shell may print before the setting is printed. Places in the text stay the same.
fn from_the_first_brace(content: String) -> (String, usize) {
    let starts = |line: &&str| line.trim_start().starts_with('{');
    let before = content.split_inclusive('\n').take_while(|line| !starts(line));
    let (lines, end) = before
        .fold((0, 0), |(lines, end), line| (lines + usize::from(!line.trim().is_empty()), end + line.len()));
    if lines == 0 || end == content.len() {
        return (content, 0);
    }
    let blank = content[..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    let blanked = blank.chain(content[end..].chars()).collect();
    (blanked, lines)
}

/// The key in whose line this byte of a broken file is, if it is one that is read.
fn key_before(content: &str, byte: usize) -> Option<&'static str> {
    let before = &content[..content.floor_char_boundary(byte)];
    let line = before.rsplit('\n').next()?;
    let (key, _) = line.split_once(':')?;
    let key = key.trim().strip_prefix('"')?.strip_suffix('"')?;
    KEYS.iter().find(|known| **known == key).copied()
}

/// Finds what no error may show in a text that was parsed from the byte `start` on: see [`hide`].
fn hide_values(parsed: Option<&ast::Value<'_>>, start: usize, hidden: &mut Vec<Range<usize>>) {
    let first = hidden.len();
    match parsed {
        Some(ast::Value::Array(array)) => array.elements.iter().for_each(|one| hide(one, "", hidden)),
        Some(value) => hide(value, "", hidden),
        None => {}
    }
    for range in &mut hidden[first..] {
        *range = start + range.start..start + range.end;
    }
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

/// Brings JSON into the common shape, which was parsed from the byte `start` on.
fn convert(text: &Arc<Text>, start: usize, value: ast::Value<'_>) -> Result<Value, ConfigProblem> {
    let place = |range: jsonc_parser::common::Range| {
        Place::File(text.clone(), start + range.start..start + range.end)
    };
    let here = place(value.range());
    let kind = match value {
        ast::Value::StringLit(string) => Typed::Text(string.value.into_owned()),
        ast::Value::NumberLit(number) => {
            number.value.parse().map_or(Typed::Other("such a number"), Typed::Integer)
        }
        ast::Value::BooleanLit(boolean) => Typed::Boolean(boolean.value),
        ast::Value::NullKeyword(_) => Typed::Null,
        ast::Value::Array(array) => {
            let values = array.elements.into_iter().map(|value| convert(text, start, value));
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
                entries.push(TableEntry { key, key_place, value: convert(text, start, property.value)? });
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

/// Reads one alias: the config file's table is laid over the entry, key by key, and both are read as one.
pub(in crate::config) fn backend(
    reading: &mut CacheReader,
    entry: &Value,
    over: &Table,
) -> Result<Backend, ConfigProblem> {
    let entry = object(entry)?;
    let Some((class, path)) = class(reading, entry, over)? else { return cache::backend(reading, over) };
    let place = path.map_or_else(|| reading.place.clone(), |path| path.place.clone());
    let mut answers = Answers::below(over);
    let mut asks_application = false;
    let kind = match class {
        KnownPath::Redis(library) => {
            let also: &[_] = if library == Library::RedisCache { &["db", "password"] } else { &[] };
            note_other_keys(reading, entry, also);
            let options = Options::of(library, path.and_then(|path| path.text().ok()), entry)?;
            if let Some((what, advice)) = options.way().unknown(&reading.alias)
                && over.0.is_empty()
            {
                return reading.unknown(what, reading.problem(advice));
            }
            redis::answer(reading, entry, &options, &mut answers)?;
            asks_application = options.get("credential_provider").is_some();
            BackendKind::Redis
        }
        KnownPath::Memcached if over.0.is_empty() && reads_the_environment(entry) => {
            let problem = reading.problem(format_args!(
                "LOCATION is missing, so the application reads its servers from MEMCACHE_SERVERS in its own environment; \
                 set servers = [\"host:11211\"] under [caches.{}] in the config file",
                reading.alias
            ));
            return reading.unknown("location", problem);
        }
        KnownPath::Memcached => {
            note_other_keys(reading, entry, &["USERNAME", "PASSWORD", "BINARY"]);
            memcached(reading, entry, &mut answers)?;
            BackendKind::Memcached
        }
        KnownPath::LocalMemory => BackendKind::LocalMemory,
        KnownPath::Forwarding => {
            // Django hands over an empty text if there is no LOCATION.
            if let Some(value) = entry.get("LOCATION").filter(|value| !matches!(value.text(), Ok(""))) {
                answers.put("location", value.kind.clone(), &value.place);
            }
            BackendKind::Forwarding
        }
        KnownPath::NoServer(kind) if over.0.is_empty() => {
            reading.came_from(&["backend"], &place);
            return Ok(Backend::Unchecked(SkipReason::NoServer { kind }));
        }
        KnownPath::NoServer(_) => return cache::backend(reading, over),
        KnownPath::Unknown => {
            let problem = place.problem(unknown_class(reading, entry)?);
            return if over.0.is_empty() { reading.unknown("backend", problem) } else { Err(problem) };
        }
    };
    answers.put("backend", Typed::Text(kind.name().to_owned()), &place);
    let mut backend = cache::backend(reading, &answers.laid_under())?;
    if let Backend::Redis(redis) = &mut backend
        && asks_application
        && redis.login.password.is_none()
    {
        redis.login_source = LoginSource::Application;
    }
    Ok(backend)
}

/// `true` for a memcached without a location, of a library that finds it elsewhere.
fn reads_the_environment(entry: &Table) -> bool {
    let text = |key| entry.get(key).and_then(|value| value.text().ok());
    let is_empty = entry.get("LOCATION").is_none() || text("LOCATION") == Some("");
    is_empty && text("BACKEND").is_some_and(|path| [BMEMCACHED, PYLIBMC].contains(&path))
}

/// The meaning of an entry, and the place of its class; nothing if the config file replaces the entry by something of
/// another kind.
fn class<'a>(
    reading: &CacheReader,
    entry: &'a Table,
    over: &Table,
) -> Result<Option<(KnownPath, Option<&'a Value>)>, ConfigProblem> {
    let path = entry.get("BACKEND");
    let said = path.map(Value::text).transpose()?.and_then(known);
    let told = match over.get("backend") {
        Some(told) => Some(reader::backend_kind(told)?),
        None => cache::kind_of_address(over),
    };
    let has_address = keys::alternatives(keys::CACHE, "url").any(|key| over.get(key).is_some());
    let class = match (told, said) {
        (Some(BackendKind::Redis), Some(KnownPath::Redis(library))) => KnownPath::Redis(library),
        (Some(_), Some(KnownPath::NoServer(_))) => return Ok(None),
        (Some(BackendKind::Redis), _) if over.get("backend").is_some() => KnownPath::Redis(Library::Unknown),
        (Some(BackendKind::Memcached), Some(KnownPath::Memcached)) => KnownPath::Memcached,
        (Some(BackendKind::Memcached), _) if over.get("backend").is_some() => KnownPath::Memcached,
        (Some(BackendKind::LocalMemory), _) => KnownPath::LocalMemory,
        (Some(BackendKind::Forwarding), _) => KnownPath::Forwarding,
        (Some(BackendKind::Redis | BackendKind::Memcached), _) => return Ok(None),
        (None, Some(class)) => class,
        (None, None) if has_address => return Ok(None),
        (None, None) if path.is_none() => {
            return Err(reading
                .problem("BACKEND is missing, the dotted path of a class (Django's keys are in capitals)"));
        }
        (None, None) => KnownPath::Unknown,
    };
    Ok(Some((class, path)))
}

/// The advice for a class that is not known, by the topology that its name and its options hint at.
fn unknown_class(reading: &CacheReader, entry: &Table) -> Result<String, ConfigProblem> {
    let path = entry.get("BACKEND").map(Value::text).transpose()?;
    let (what, url) = match Options::of(Library::Unknown, path, entry)?.way() {
        Way::Sentinels { .. } => ("it asks Sentinels", "redis+sentinel://host:26379/mymaster/0"),
        Way::Cluster | Way::UnknownCluster => ("it is for a cluster", "redis+cluster://host:6379"),
        Way::Plain | Way::Shards | Way::UnknownShards => {
            return Ok(format!(
                "unknown backend; under [caches.{}] in the config file, set backend = \"redis\", \"memcached\", \
                 \"forwarding\" or (to skip it) \"local-memory\", or for Sentinels or a cluster a url that begins with \
                 redis+sentinel:// or redis+cluster://",
                reading.alias
            ));
        }
    };
    let alias = &reading.alias;
    Ok(format!("unknown backend; if {what}, set url = \"{url}\" under [caches.{alias}] in the config file"))
}

/// Takes note of keys beside `OPTIONS` that no class reads: they may have been meant for `OPTIONS`.
fn note_other_keys(reading: &mut CacheReader, entry: &Table, also: &[&str]) {
    #[rustfmt::skip]
    const KNOWN: &[&str] = &[
        "BACKEND", "LOCATION", "OPTIONS", "TIMEOUT", "KEY_PREFIX", "KEY_FUNCTION", "REVERSE_KEY_FUNCTION", "VERSION",
        "MAX_ENTRIES", "CULL_FREQUENCY", "max_entries", "cull_frequency", "timeout",
    ];
    for entry in &entry.0 {
        let name = entry.key.as_str();
        if !KNOWN.contains(&name) && !also.contains(&name) && is_plain_key(name) {
            reading.notes.push(format!(
                "{}: the application ignores {name} beside OPTIONS, and so does the check",
                reading.alias
            ));
        }
    }
}

/// Pylibmc's way to spread keys by its behaviors, which are its `behaviors` in OPTIONS, or all of OPTIONS in django-pylibmc;
/// none for another client, and for a hash that is not known.
fn client_of_pylibmc(entry: &Table, options: Option<&Table>) -> Option<(Client, Place)> {
    let path =
        entry.get("BACKEND").filter(|path| path.text().is_ok_and(|path| path.ends_with(".PyLibMCCache")))?;
    let behaviors = match options.and_then(|options| options.get("behaviors")).map(|value| &value.kind) {
        Some(Typed::Table(behaviors)) => Some(behaviors),
        _ => options.filter(|_| path.text().is_ok_and(|path| path == PYLIBMC)),
    };
    let said = |name: &str| behaviors.and_then(|behaviors| behaviors.get(name));
    let is_on =
        |value: &&Value| value.boolean() == Some(true) || value.number().is_ok_and(|number| number > 0);
    let is_consistent = |value: &&Value| value.text().is_ok_and(|text| text.starts_with("consistent"));
    let found =
        said("ketama_weighted").filter(is_on).map(|value| (Client::LibmemcachedKetamaWeighted, value));
    let ketama = said("ketama").filter(is_on).or_else(|| said("distribution").filter(is_consistent));
    let found = found.or(ketama.map(|value| (Client::LibmemcachedKetama, value)));
    let (client, value) = found.unwrap_or((Client::Libmemcached, path));
    said("hash").is_none().then(|| (client, value.place.clone()))
}

/// Answers the keys of a memcached.
fn memcached(
    reading: &mut CacheReader,
    entry: &Table,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let trims = entry.get("BACKEND").and_then(|path| path.text().ok()) == Some(BMEMCACHED);
    let options = entry.get("OPTIONS").map(object).transpose()?;
    let option = |name: &str| options.and_then(|options| options.get(name));
    if let Some(value) = option("tls_context").filter(|_| answers.is_open("url") && answers.is_open("tls")) {
        return Err(value.problem(format_args!(
            "its TLS settings cannot be written in JSON; in the config file, add [caches.{}] with a url that begins with \
             memcacheds://, or with tls = true",
            reading.alias
        )));
    }
    let refused = options.iter().flat_map(|options| &options.0).map(|entry| entry.key.as_str());
    for name in refused.filter(|name| trims && !OF_BMEMCACHED.contains(name) && is_plain_key(name)) {
        reading.notes.push(format!(
            "{}: OPTIONS has `{name}`, with which the application cannot connect: bmemcached does not know it",
            reading.alias
        ));
    }
    let answered = answers.own_address(reading).is_some();
    if !answered {
        reading.client = client_of_pylibmc(entry, options);
        let mut servers = Vec::new();
        for (text, value) in locations(reading, entry, &[',', ';'])? {
            // bmemcached 0.33 trims; pymemcache 4.0 and pylibmc 1.6 look up the name with the blank.
            if !trims && (text.starts_with(char::is_whitespace) || text.is_empty()) {
                reading.notes.push(format!(
                    "{}: the application cannot reach every server of its LOCATION: a blank stands before an address, or \
                     an address is empty; remove it",
                    reading.alias
                ));
            }
            // A server that is there twice is one server to each of the clients.
            let name = |text: &str| {
                address::memcached_servers(text).map(|servers| servers.to_string().to_lowercase())
            };
            let is_same = |server: &Value| server.text().is_ok_and(|known| name(known) == name(&text));
            if !text.trim().is_empty() && !servers.iter().any(is_same) {
                servers.push(Value::new(Typed::Text(text.trim().to_owned()), value.place.clone()));
            }
        }
        let Some(place) = servers.first().map(|server| server.place.clone()) else {
            return Err(no_location(reading));
        };
        // It writes each key to every server and reads from the first that has it (bmemcached 0.33).
        if trims && servers.len() > 1 {
            answers.put("quorum", Typed::Integer(1), &place);
        }
        answers.put("servers", Typed::List(servers), &place);
    }
    // A value in OPTIONS wins in django-bmemcached; the others know one of the two.
    if let Some(value) = option("username").or_else(|| entry.get("USERNAME"))
        && let Some(username) = text(value)?
    {
        answers.put("username", Typed::Text(username), &value.place);
    }
    if let Some(value) = option("password").or_else(|| entry.get("PASSWORD"))
        && answers.is_open("password")
        && let Some(password) = secret(reading, value)?
    {
        answers.put("password", Typed::Text(password), &value.place);
    }
    Ok(())
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
        _ => location.text()?.split(separators).map(|text| (Cow::from(text), location)).collect(),
    };
    if locations.iter().all(|(text, _)| text.trim().is_empty()) {
        return Err(no_location(reading));
    }
    Ok(locations)
}

/// One location of a list: a text, or a host and a port, which pymemcache takes as a tuple, or an address and a weight,
/// which python-memcached takes.
fn one(value: &Value) -> Result<Cow<'_, str>, ConfigProblem> {
    if let Typed::List(pair) = &value.kind
        && let [Value { kind: Typed::Text(host), .. }, port] = &pair[..]
        && let Ok(port) = port.number()
    {
        let is_v6 = host.parse::<Ipv6Addr>().is_ok();
        return Ok(match host.contains(':') {
            true if is_v6 => Cow::from(format!("[{host}]:{port}")),
            true => Cow::from(host.as_str()),
            false => Cow::from(format!("{host}:{port}")),
        });
    }
    value.text().map(Cow::from)
}

/// A text that is not empty.
fn text(value: &Value) -> Result<Option<String>, ConfigProblem> {
    Ok(Some(value.text()?).filter(|text| !text.is_empty()).map(str::to_owned))
}

/// A password, which must be one and not a picture of one.
fn secret(reading: &CacheReader, value: &Value) -> Result<Option<String>, ConfigProblem> {
    let Some(password) = text(value)? else { return Ok(None) };
    is_a_password(reading, &password, &value.place)?;
    Ok(Some(password))
}

/// A problem if a password is what Python prints in the place of one.
fn is_a_password(reading: &CacheReader, password: &str, place: &Place) -> Result<(), ConfigProblem> {
    let Some(what) = location::is_a_picture(password) else { return Ok(()) };
    let alias = &reading.alias;
    Err(place.problem(format_args!(
        "the password {what}; export the password itself, or set password_file under [caches.{alias}] in the config \
         file"
    )))
}

fn no_location(reading: &CacheReader) -> ConfigProblem {
    reading.problem("LOCATION is missing or names no server")
}
