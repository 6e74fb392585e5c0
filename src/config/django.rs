//! Django's `CACHES` setting, written as JSON: what `json.dumps(settings.CACHES)` prints, as it is.
//!
//! It is read as the named backends read it. What changes keys or belongs to a client (`KEY_PREFIX`,
//! `VERSION`, `TIMEOUT`, most of `OPTIONS`) is no matter of a check, which has keys of its own, and is passed
//! over. There is no `${NAME}` here: such a text in a password is the password.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};
use secrecy::SecretString;

use super::address;
use super::caches::{Kind, Reading};
use super::place::{Format, Place, Problem, Text};
use super::redis::Topology;
use super::value::{Entry, Kind as Typed, Table, Value};
use super::{Backend, Memcached, Tls, WhichReplicas, memcached, redis, secret};

/// What a dotted path stands for.
enum Known {
    /// Redis, whose client splits a `LOCATION` of text at these characters.
    Redis(&'static [char]),
    Memcached,
    LocalMemory,
    Forwarding,
    /// No server at all; the words say what it is.
    NoServer(&'static str),
    /// Something that cannot be checked yet; the words say what it is.
    NotYet(&'static str),
}

/// What each dotted path stands for, by the source of Django 1.2 to 5.2, django-redis 7.0, django-valkey 0.4,
/// django-pylibmc 0.6, django-bmemcached 0.3 and Djblets 6.1.
fn known(path: &str) -> Option<Known> {
    Some(match path {
        "django.core.cache.backends.redis.RedisCache" => Known::Redis(&[',', ';']),
        "django_redis.cache.RedisCache"
        | "django_valkey.cache.ValkeyCache"
        | "django_valkey.async_cache.cache.AsyncValkeyCache" => Known::Redis(&[',']),
        "django_valkey.cluster_cache.cache.ClusterValkeyCache" => Known::NotYet("a cluster"),
        "django.core.cache.backends.memcached.PyMemcacheCache"
        | "django.core.cache.backends.memcached.PyLibMCCache"
        | "django.core.cache.backends.memcached.MemcachedCache"
        | "django.core.cache.backends.memcached.CacheClass"
        | "django_pylibmc.memcached.PyLibMCCache"
        | "django_bmemcached.memcached.BMemcached" => Known::Memcached,
        "django.core.cache.backends.locmem.LocMemCache" => Known::LocalMemory,
        "django.core.cache.backends.dummy.DummyCache" => Known::NoServer("a dummy that keeps nothing"),
        "django.core.cache.backends.filebased.FileBasedCache" => Known::NoServer("a directory of files"),
        "django.core.cache.backends.db.DatabaseCache" => Known::NoServer("a database table"),
        "djblets.cache.forwarding_backend.ForwardingCacheBackend" => Known::Forwarding,
        _ => return None,
    })
}

/// Reads the file: aliases, and what stands under each.
pub(super) fn read(path: &Path, named: &Place) -> Result<Table, Problem> {
    let content = secret::read_file(path)
        .map_err(|error| named.problem(format_args!("cannot read {}: {error}", path.display())))?;
    let text = Arc::new(Text { path: path.to_path_buf(), content, format: Format::Json });
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
        let place = Place::File(text.clone(), error.range().start..error.range().end);
        place.problem(format_args!("this is no JSON: {}", message.to_lowercase()))
    })?;
    let whole = Place::File(text.clone(), 0..0);
    let value = parsed.value.map(|value| convert(&text, value)).transpose()?;
    match value.map(|value| value.kind) {
        Some(Typed::Table(table)) => Ok(table),
        _ => Err(whole.problem("the CACHES setting as JSON begins with { and has an entry for each alias")),
    }
}

/// Brings JSON into the common shape.
fn convert(text: &Arc<Text>, value: ast::Value<'_>) -> Result<Value, Problem> {
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
            let mut entries = Vec::<Entry>::new();
            for property in object.properties {
                let key_place = match &property.name {
                    ObjectPropName::String(name) => place(name.range),
                    ObjectPropName::Word(name) => place(name.range),
                };
                let key = property.name.into_string();
                if entries.iter().any(|entry| entry.key == key) {
                    return Err(key_place.problem("this key is there twice"));
                }
                entries.push(Entry { key, key_place, value: convert(text, property.value)? });
            }
            Typed::Table(Table(entries))
        }
    };
    Ok(Value::new(kind, here))
}

fn object(value: &Value) -> Result<&Table, Problem> {
    match &value.kind {
        Typed::Table(table) => Ok(table),
        _ => Err(value.problem(format_args!("an object in braces belongs here, not {}", value.noun()))),
    }
}

/// Reads one alias. `told` is what the config file says that it is, where it says no more than that.
pub(super) fn backend(
    reading: &mut Reading,
    entry: &Value,
    told: Option<&Value>,
) -> Result<Backend, Problem> {
    let entry = object(entry)?;
    let class = if let Some(told) = told {
        reading.came_from(&["backend"], &told.place);
        match Kind::read(told)? {
            Kind::Redis => Known::Redis(&[',', ';']),
            Kind::Memcached => Known::Memcached,
            Kind::LocalMemory => Known::LocalMemory,
            Kind::Forwarding => Known::Forwarding,
        }
    } else {
        let path = entry.get("BACKEND").ok_or_else(|| {
            reading.problem("it has no BACKEND, the dotted path of a class (Django's keys are in capitals)")
        })?;
        reading.came_from(&["backend"], &path.place);
        known(path.text()?).ok_or_else(|| path.problem(unknown_class(reading)))?
    };
    match class {
        Known::Redis(separators) => redis_cache(reading, entry, separators),
        Known::Memcached => memcached_cache(reading, entry),
        Known::LocalMemory => Ok(Backend::LocalMemory),
        // Django hands over an empty text where there is no LOCATION.
        Known::Forwarding => {
            let location = entry.get("LOCATION");
            reading.forwarding(location.filter(|value| !matches!(value.text(), Ok(""))))
        }
        Known::NoServer(kind) => Ok(Backend::NoServer { kind }),
        Known::NotYet(what) => Err(not_yet(reading, what)),
    }
}

fn unknown_class(reading: &Reading) -> String {
    format!(
        "this backend is not known; say what it is with backend = \"redis\", \"memcached\", \"forwarding\" \
         or (to skip it) \"local-memory\" under [caches.{}] in the config file",
        reading.alias
    )
}

fn not_yet(reading: &Reading, what: &str) -> Problem {
    reading.problem(format_args!(
        "it is {what}, which is not supported yet; in the config file, [caches.{}] with a url names one \
         server in its place, and with backend = \"local-memory\" skips it",
        reading.alias
    ))
}

fn redis_cache(reading: &mut Reading, entry: &Table, separators: &[char]) -> Result<Backend, Problem> {
    let options = Options::of(entry)?;
    if let Some(what) = options.topology() {
        return Err(not_yet(reading, what));
    }
    let mut urls = Vec::new();
    for (text, value) in locations(reading, entry, separators)? {
        urls.push((
            address::redis_location(&text, Topology::Standalone).map_err(|error| value.problem(error))?,
            &value.place,
        ));
    }
    // The first takes the writes and the others are its replicas, for Django and for its relatives.
    let mut urls = urls.into_iter();
    let Some((mut primary, place)) = urls.next() else { return Err(no_location(reading)) };
    let replicas = urls.flat_map(|(url, _)| url.addresses).collect();
    reading.came_from(&["url", "replicas"], place);
    reading.came_from(&primary.says(), place);
    // What stands in the URL wins over OPTIONS, as in redis-py's ConnectionPool.from_url.
    if primary.username.is_none() {
        primary.username = options.text(reading, "username", "username")?;
    }
    if primary.password.is_none() {
        primary.password = options.text(reading, "password", "password")?.map(SecretString::from);
    }
    if let (None, Some(value)) = (primary.database, options.get("db")) {
        primary.database = Some(value.number()?);
        reading.came_from(&["database"], &value.place);
    }
    let parameters = std::mem::take(&mut primary.others);
    let mut redis = redis::redis_at(primary).ok_or_else(|| no_location(reading))?;
    if let Some(tls) = &mut redis.tls {
        reading.came_from(&["tls"], place);
        *tls = options.tls(reading, &parameters)?;
    }
    redis.replicas.which = WhichReplicas::Named(replicas);
    reading.finished(redis)
}

fn memcached_cache(reading: &mut Reading, entry: &Table) -> Result<Backend, Problem> {
    let options = Options::of(entry)?;
    let credentials = [entry.get("USERNAME"), entry.get("PASSWORD"), options.get("username")];
    let given = |value: &&Value| !matches!(value.text(), Ok(""));
    if let Some(value) = credentials.into_iter().flatten().find(given) {
        return Err(value.problem("credentials for memcached are not supported yet"));
    }
    let mut servers = Vec::new();
    for (text, value) in locations(reading, entry, &[',', ';'])? {
        servers
            .push((address::memcached_servers(&text).map_err(|error| value.problem(error))?, &value.place));
    }
    if let Some((_, place)) = servers.first() {
        reading.came_from(&["servers"], place);
    }
    Ok(Backend::Memcached(Memcached::at(memcached::distinct(servers)?)))
}

/// Each location in `LOCATION`: a text, which the client splits, or a list.
fn locations<'a>(
    reading: &Reading,
    entry: &'a Table,
    separators: &[char],
) -> Result<Vec<(Cow<'a, str>, &'a Value)>, Problem> {
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
fn one(value: &Value) -> Result<Cow<'_, str>, Problem> {
    if let Typed::List(pair) = &value.kind
        && let [Value { kind: Typed::Text(host), .. }, Value { kind: Typed::Integer(port), .. }] = &pair[..]
    {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        return Ok(Cow::from(format!("{bracketed}:{port}")));
    }
    value.text().map(Cow::from)
}

fn no_location(reading: &Reading) -> Problem {
    reading.problem("it has no LOCATION that names a server")
}

/// `OPTIONS`, as far as they say where and how to connect.
struct Options<'a> {
    options: Option<&'a Table>,
    pool: Option<&'a Table>,
}

impl<'a> Options<'a> {
    fn of(entry: &'a Table) -> Result<Self, Problem> {
        let options = entry.get("OPTIONS").map(object).transpose()?;
        let pool =
            options.and_then(|options| options.get("CONNECTION_POOL_KWARGS")).map(object).transpose()?;
        Ok(Self { options, pool })
    }

    /// An option by redis-py's name: from the pool's arguments, which django-redis puts over its own option
    /// in capitals, or as Django hands it on.
    fn get(&self, name: &str) -> Option<&'a Value> {
        let in_options = |name: &str| self.options.and_then(|options| options.get(name));
        let in_pool = self.pool.and_then(|pool| pool.get(name));
        in_pool.or_else(|| in_options(&name.to_uppercase())).or_else(|| in_options(name))
    }

    /// An option that is a text and not empty, which answers `key`.
    fn text(&self, reading: &mut Reading, name: &str, key: &'static str) -> Result<Option<String>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        reading.came_from(&[key], &value.place);
        Ok(Some(text.to_owned()))
    }

    /// TLS, once the scheme has asked for it: redis-py's options, here or as parameters of the URL.
    fn tls(&self, reading: &mut Reading, parameters: &[(String, String)]) -> Result<Tls, Problem> {
        let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let ca_file = match parameter("ssl_ca_certs") {
            Some(path) => Some(PathBuf::from(path)),
            None => self.text(reading, "ssl_ca_certs", "tls")?.map(PathBuf::from),
        };
        let alias = &reading.alias;
        let lax = [self.pool, self.options].into_iter().flatten().any(|table| table.is_null("ssl_cert_reqs"));
        let requirement = match parameter("ssl_cert_reqs") {
            Some(requirement) => Some(requirement.as_str()),
            None => self.get("ssl_cert_reqs").and_then(|value| value.text().ok()),
        };
        if lax || requirement == Some("none") {
            let note = format!(
                "{alias}: the application does not verify the certificate (ssl_cert_reqs); the check does"
            );
            reading.notes.push(note);
        }
        if parameter("ssl_certfile").is_some() || self.get("ssl_certfile").is_some() {
            let note =
                format!("{}: its client certificate (ssl_certfile) is not supported yet", reading.alias);
            reading.notes.push(note);
        }
        Ok(Tls { ca_file, ..Tls::default() })
    }

    /// Something other than one primary with replicas, by the names of the classes that the client is made
    /// of.
    fn topology(&self) -> Option<&'static str> {
        const CLASSES: &[&str] = &[
            "CLIENT_CLASS",
            "CONNECTION_FACTORY",
            "CONNECTION_POOL_CLASS",
            "REDIS_CLIENT_CLASS",
            "BASE_CLIENT_CLASS",
            "pool_class",
        ];
        let options = self.options?;
        let class = |name: &&str| options.get(name)?.text().ok().map(str::to_lowercase);
        let classes = CLASSES.iter().filter_map(class).collect::<Vec<_>>();
        let named = |word: &str| classes.iter().any(|class| class.contains(word));
        if options.get("SENTINELS").is_some() || named("sentinel") {
            Some("found through sentinels")
        } else if named("cluster") {
            Some("a cluster")
        } else if named("shard") {
            Some("sharded over several servers")
        } else {
            None
        }
    }
}
