//! A Redis of Django's `CACHES`: one primary with replicas, a primary that Sentinels watch, or a cluster.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use url::form_urlencoded;

use super::answers::Answers;
use super::location;
use super::options::{Library, Options, Way};
use super::{locations, no_location, one, secret, text};
use crate::config::address::{self, RedisUrl};
use crate::config::cache::reader::CacheReader;
use crate::config::keys::RedisTopology;
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Table, Value, ValueKind as Typed, is_plain_key};
use crate::config::{Address, RespVersion, Secret, ShardClient};

/// Answers the keys of a Redis by an entry whose client may be made for any topology.
pub(super) fn answer(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    answers.note(reading, options);
    if let Some(answered) = answers.own_address(reading) {
        return beside(reading, options, &answered, answers);
    }
    if let Some((_, advice)) = options.way().unknown(&reading.alias) {
        return Err(reading.problem(advice));
    }
    match options.way() {
        Way::Sentinels { .. } if options.library == Library::Vcache => {
            sentinels_of_vcache(reading, entry, options, answers)
        }
        Way::Sentinels { replicas } => sentinels(reading, entry, options, replicas, answers),
        Way::Cluster => cluster(reading, entry, options, answers),
        Way::Shards => shards(reading, entry, options, answers),
        Way::Plain | Way::UnknownCluster | Way::UnknownShards => plain(reading, entry, options, answers),
    }
}

/// Answers what the address of the config file leaves open.
fn beside(
    reading: &mut CacheReader,
    options: &Options<'_>,
    answered: &[&str],
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    credentials(reading, options, None, answered, answers)?;
    if answered.contains(&"tls") || !answers.is_open("tls") {
        tls(reading, options, None, answers)
    } else {
        Ok(())
    }
}

/// A primary, and its replicas. The first location takes the writes and the others are its replicas, for
/// Django and for its relatives.
fn plain(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let mut urls = urls(reading, entry, options)?;
    // django-redis-cache may name the server that takes the writes.
    if let Some(primary) = options.own("MASTER_CACHE").filter(|_| options.library == Library::RedisCache) {
        let primary = primary.text()?;
        urls.sort_by_key(|location| location.text != primary);
    }
    let Some((first, replicas)) = urls.split_first() else { return Err(no_location(reading)) };
    let secure = is_secure(options, first);
    let address = &first.url.addresses[0];
    match address {
        Address::Unix(_) => answers.put("location", Typed::Text(address.to_string()), first.place),
        Address::Tcp { .. } => {
            let scheme = if secure { "rediss" } else { "redis" };
            answers.put("url", Typed::Text(format!("{scheme}://{address}")), first.place);
        }
    }
    if !replicas.is_empty() {
        let replica = |location: &Location<'_>| {
            let text = as_replica(reading, options, first, location, answers)?;
            let differs = !secure || tls_settings(location) != tls_settings(first);
            as_server(reading, options, location, text, differs, answers)
        };
        let replicas = replicas.iter().map(replica).collect::<Result<_, ConfigProblem>>()?;
        answers.put("replicas", Typed::List(replicas), first.place);
    }
    credentials(reading, options, Some(first), &[], answers)?;
    if secure {
        return tls(reading, options, Some(first), answers);
    }
    note_tls_without_a_scheme(reading, options, first);
    Ok(())
}

/// The TLS settings that a location itself has.
fn tls_settings<'a>(location: &'a Location<'_>) -> BTreeSet<&'a (String, String)> {
    location.url.others.iter().filter(|(name, _)| name.starts_with("ssl_")).collect()
}

/// A server in the words of the config file, with TLS settings of its own if they `differ` from those of the alias.
fn as_server(
    reading: &mut CacheReader,
    options: &Options<'_>,
    location: &Location<'_>,
    text: String,
    differs: bool,
    answers: &Answers<'_>,
) -> Result<Value, ConfigProblem> {
    if !differs || !is_secure(options, location) || !answers.has_room_for_tls() {
        return Ok(Value { literal: false, ..Value::new(Typed::Text(text), location.place.clone()) });
    }
    let mut own = answers.beside();
    tls(reading, options, Some(location), &mut own)?;
    Ok(own.server(text, location.place))
}

/// A replica in the words of the config file: each location has its own login and TLS, and an address alone has the primary's.
fn as_replica(
    reading: &CacheReader,
    options: &Options<'_>,
    primary: &Location<'_>,
    replica: &Location<'_>,
    answers: &Answers<'_>,
) -> Result<String, ConfigProblem> {
    let keys = ["username", "password", "database", "protocol"];
    let closed: Vec<_> = keys.into_iter().filter(|key| !answers.is_open(key)).collect();
    let way = |location: &Location<'_>| {
        let nothing = Table::default();
        let mut own = Answers::below(&nothing);
        credentials(reading, options, Some(location), &closed, &mut own)?;
        Ok::<_, ConfigProblem>((keys.map(|key| own.text_of(key)), is_secure(options, location)))
    };
    let address = &replica.url.addresses[0];
    let (said, secure) = way(replica)?;
    if way(primary)? == (said.clone(), secure) {
        return Ok(address.to_string());
    }
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let [username, password, database, protocol] = said;
    let mut login = username.as_deref().map(encoded).unwrap_or_default();
    if let Some(password) = &password {
        login.push(':');
        login.push_str(&encoded(password));
    }
    // With an `@`, the URL asks for no other login than its own.
    let at = if answers.is_open("username") && answers.is_open("password") { "@" } else { "" };
    let mut query = Vec::new();
    if answers.is_open("database") {
        query.push(format!("db={}", database.as_deref().unwrap_or("0")));
    }
    if answers.is_open("protocol") {
        query.push(format!("protocol={}", if protocol.as_deref() == Some("resp3") { 3 } else { 2 }));
    }
    let (scheme, path) = match address {
        Address::Unix(path) => ("redis+unix", path.display().to_string()),
        Address::Tcp { .. } if secure => ("rediss", format!("{address}/")),
        Address::Tcp { .. } => ("redis", format!("{address}/")),
    };
    let login = if at.is_empty() { String::new() } else { login };
    Ok(format!("{scheme}://{login}{at}{path}?{}", query.join("&")))
}

/// Takes note of settings for TLS that redis-py refuses, since nothing asks for TLS.
fn note_tls_without_a_scheme(reading: &mut CacheReader, options: &Options<'_>, location: &Location<'_>) {
    const SETTINGS: &[&str] =
        &["ssl", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"];
    let in_options = |name: &&&str| options.get(name).is_some() || options.is_null(name);
    let in_url = |name: &&&str| location.url.others.iter().any(|(key, _)| key == **name);
    // A class of the application's own may speak TLS whatever the scheme says.
    let refuses = !options.has_own_class() && options.library != Library::RedisCache;
    let is_there = |name: &&&str| !options.refuses(name) && (in_options(name) || in_url(name));
    if let Some(name) = SETTINGS.iter().find(is_there).filter(|_| refuses) {
        reading.notes.push(format!(
            "{}: its options have `{name}`, but its location does not begin with rediss://, so the application's client \
             refuses to connect; the check connects without TLS",
            reading.alias
        ));
    }
}

/// Shards, each a location as it is written: the client hashes the whole text, with the password in it.
fn shards(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let mut urls = urls(reading, entry, options)?;
    let (mut seen, listed) = (HashSet::new(), urls.len());
    urls.retain(|location| seen.insert(location.text.clone()));
    if urls.len() < listed {
        // django-redis 7.0 has one connection for a text, and one place for it on its ring.
        reading.notes.push(format!(
            "{}: its LOCATION lists a shard twice, which counts once; remove one",
            reading.alias
        ));
    }
    let Some(first) = urls.first() else { return Err(no_location(reading)) };
    let mut secure = urls.iter().filter(|location| is_secure(options, location));
    let one = secure.next();
    let differs = secure.any(|other| one.is_some_and(|one| tls_settings(one) != tls_settings(other)));
    let shard = |location: &Location<'_>| {
        as_server(reading, options, location, location.text.clone(), differs, answers)
    };
    let shards = urls.iter().map(shard).collect::<Result<_, _>>()?;
    answers.put("topology", Typed::Text(RedisTopology::Shards.name().to_owned()), first.place);
    answers.put("servers", Typed::List(shards), first.place);
    answers.put("client", Typed::Text(ShardClient::DjangoRedis.name().to_owned()), first.place);
    credentials(reading, options, None, &[], answers)?;
    match one.filter(|_| !differs) {
        Some(secure) => tls(reading, options, Some(secure), answers),
        None => Ok(()),
    }
}

/// A cluster, of which each location is a node.
fn cluster(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let urls = urls(reading, entry, options)?;
    let Some(first) = urls.first() else { return Err(no_location(reading)) };
    let seeds: Vec<_> =
        urls.iter().flat_map(|location| &location.url.addresses).map(Address::to_string).collect();
    if urls.iter().flat_map(|location| &location.url.addresses).any(|seed| matches!(seed, Address::Unix(_))) {
        return Err(first.place.problem("cluster nodes need addresses such as host:port, not a unix socket"));
    }
    if urls.iter().any(|location| location.url.database.is_some_and(|database| database != 0)) {
        return Err(first.place.problem("redis-py uses only database 0 of a cluster; remove the number"));
    }
    let secure = is_secure(options, first) || asks_for_tls(options);
    let scheme = if secure { "rediss+cluster" } else { "redis+cluster" };
    answers.put("url", Typed::Text(format!("{scheme}://{}", seeds.join(","))), first.place);
    credentials(reading, options, Some(first), &[], answers)?;
    if secure { tls(reading, options, Some(first), answers) } else { Ok(()) }
}

/// The primary that Sentinels watch: its name is the host in the location. So it is in the `SentinelConnectionFactory`
/// of django-redis 7.0 and django-valkey 0.4, in small letters, and in django-cachex 0.14 as it is written.
fn sentinels(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    mut replicas: bool,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let alias = reading.alias.clone();
    let urls = urls(reading, entry, options)?;
    let Some((first, others)) = urls.split_first() else { return Err(no_location(reading)) };
    if options.library == Library::Cachex && !others.is_empty() {
        reading.notes.push(format!(
            "{alias}: the application cannot use its LOCATION: django-cachex takes one name of a primary, and asks the \
             Sentinels for the replicas"
        ));
    }
    let named = |location: &Location<'_>| {
        // An argument of the pool wins over the host in redis-py's pool for Sentinels.
        let argument = options.get("service_name").filter(|_| options.library.hands_on_the_name());
        match argument.and_then(|name| name.text().ok()) {
            Some(name) => address::primary_name(name),
            None => location.primary(options.library),
        }
    };
    let name = named(first).ok_or_else(|| first.place.problem(NO_NAME))?;
    let sentinels = options.sentinels().ok_or_else(|| {
        let key = if options.library == Library::Cachex { "sentinels" } else { "SENTINELS" };
        let database = first.url.database.unwrap_or_default();
        reading.problem(format_args!(
            "the Sentinels are missing; add {key} to its OPTIONS, a list of [host, port], or in the config file \
             [caches.{alias}] with url = \"redis+sentinel://host:26379/{name}/{database}\""
        ))
    })?;
    note_lost_sentinels(reading, options);
    for other in others {
        if named(other).as_ref() != Some(&name) {
            return Err(other.place.problem("the locations name several primaries; give each its own alias"));
        }
        replicas = true;
    }
    let secure = is_secure(options, first) || asks_for_tls(options);
    let addresses = sentinel_addresses(reading, sentinels)?;
    let scheme = if secure { "rediss+sentinel" } else { "redis+sentinel" };
    answers.put("url", Typed::Text(format!("{scheme}://{}/{name}", addresses.join(","))), &sentinels.place);
    if replicas {
        answers.put("replicas", Typed::Text("discover".to_owned()), first.place);
    }
    credentials(reading, options, Some(first), &[], answers)?;
    let theirs_with_tls = sentinel_login(reading, options, answers)?;
    if theirs_with_tls != secure {
        return Err(sentinels.problem(TLS_FOR_SOME));
    }
    if secure { tls(reading, options, Some(first), answers) } else { Ok(()) }
}

const TLS_FOR_SOME: &str = "TLS is configured only for the Sentinels, or only for their servers (`ssl` in SENTINEL_KWARGS): configure it \
                            for all of them, or for none";

/// Takes note of Sentinels that the application does not ask: django-redis 5.4 to 7.0 and django-valkey 0.4 ask them with
/// one connection factory alone, which a setting outside of `CACHES` may name too, and its pool.
fn note_lost_sentinels(reading: &mut CacheReader, options: &Options<'_>) {
    let (setting, factory) = match options.library {
        Library::DjangoRedis => {
            ("DJANGO_REDIS_CONNECTION_FACTORY", "django_redis.pool.SentinelConnectionFactory")
        }
        Library::DjangoValkey => {
            ("DJANGO_VALKEY_CONNECTION_FACTORY", "django_valkey.pool.SentinelConnectionFactory")
        }
        _ => return,
    };
    let is_for_sentinels = |name| options.class(name).map(|class| class.contains("Sentinel"));
    let by_factory = is_for_sentinels("CONNECTION_FACTORY");
    let asked = by_factory == Some(true) || options.get("sentinel_manager").is_some();
    if options.has_own_class() || asked && is_for_sentinels("CONNECTION_POOL_CLASS") != Some(false) {
        return;
    }
    reading.notes.push(format!(
        "{}: if neither CONNECTION_FACTORY in OPTIONS nor {setting} in its settings is {factory}, or if \
         CONNECTION_POOL_CLASS is no pool for Sentinels, the application cannot connect; the check asks the Sentinels",
        reading.alias
    ));
}

/// The primary that Sentinels watch, in the URL of django-vcache 3.2: `sentinel://user:password@one,two/mymaster/1`,
/// whose parameters are the login at the Sentinels.
fn sentinels_of_vcache(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let Some(value) = entry.get("LOCATION") else { return Err(no_location(reading)) };
    let text = value.text()?;
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let url = address::redis_location(&format!("redis+{base}"), RedisTopology::Sentinel);
    let url = url.map_err(|error| value.problem(error))?;
    if options.get("ssl_ca_certs").is_some() {
        return Err(value.problem(TLS_FOR_SOME));
    }
    let addresses = url.addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
    let name = url.name.clone().unwrap_or_default();
    answers.put("url", Typed::Text(format!("redis+sentinel://{addresses}/{name}")), &value.place);
    for (key, text) in form_urlencoded::parse(query.as_bytes()) {
        if ["sentinel_username", "sentinel_password"].contains(&&*key) && !text.is_empty() {
            answers.put(&key, Typed::Text(text.into_owned()), &value.place);
        }
    }
    let location = Location { text: text.to_owned(), url, place: &value.place };
    credentials(reading, options, Some(&location), &[], answers)
}

const NO_NAME: &str =
    "with Sentinels, the location must be redis://mymaster/0, with the primary's name in Sentinel";

fn sentinel_addresses(reading: &CacheReader, sentinels: &Value) -> Result<Vec<String>, ConfigProblem> {
    let Typed::List(pairs) = &sentinels.kind else {
        return Err(
            sentinels.problem(format_args!("expected a list of [host, port], found {}", sentinels.noun()))
        );
    };
    let addresses: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let address = address::sentinel(&one(pair)?).map_err(|error| pair.problem(error))?;
            Ok(address.to_string())
        })
        .collect::<Result<_, ConfigProblem>>()?;
    if addresses.is_empty() { Err(no_location(reading)) } else { Ok(addresses) }
}

/// Answers the keys for the login at the Sentinels. The result is `true` if TLS is spoken there.
fn sentinel_login(
    reading: &CacheReader,
    options: &Options<'_>,
    answers: &mut Answers<'_>,
) -> Result<bool, ConfigProblem> {
    let arguments = options.sentinel_arguments()?;
    let argument = |name| arguments.and_then(|arguments| arguments.get(name));
    let username = argument("username").map(text).transpose()?.flatten();
    let password = match argument("password").filter(|_| answers.is_open("sentinel_password")) {
        Some(value) => secret(reading, value)?.map(|password| (password, &value.place)),
        None => None,
    };
    if let (Some(value), None) = (argument("username").filter(|_| username.is_some()), &password)
        && answers.is_open("sentinel_password")
    {
        return Err(value.problem("the Sentinels have a user but no password; add the password"));
    }
    if let (Some(username), Some(value)) = (username, argument("username")) {
        answers.put("sentinel_username", Typed::Text(username), &value.place);
    }
    if let Some((password, place)) = password {
        answers.put("sentinel_password", Typed::Text(password), place);
    }
    Ok(argument("ssl").and_then(Value::boolean).unwrap_or_default())
}

/// A location, as it is written and as it is understood.
struct Location<'a> {
    text: String,
    url: RedisUrl,
    place: &'a Place,
}

impl Location<'_> {
    /// The Sentinels' name for the primary.
    fn primary(&self, library: Library) -> Option<String> {
        let host = match self.url.addresses.first()? {
            Address::Tcp { host, .. } => host,
            Address::Unix(_) => return None,
        };
        if library != Library::Cachex && library != Library::Aiodrf {
            return address::primary_name(host);
        }
        let at = self.text.to_lowercase().rfind(host.as_str())?;
        address::primary_name(&self.text[at..at + host.len()])
    }
}

/// Each location, with notes on those that the application cannot read.
fn urls<'a>(
    reading: &mut CacheReader,
    entry: &'a Table,
    options: &Options<'_>,
) -> Result<Vec<Location<'a>>, ConfigProblem> {
    let mut urls = Vec::new();
    let separators = options.separators();
    let found = match (locations(reading, entry, separators), entry.get("BACKEND")) {
        (Err(_), Some(value)) if options.library == Library::Vcache => {
            vec![(DEFAULT_OF_VCACHE.into(), value)]
        }
        (found, _) => found?,
    };
    if separators.is_empty() && matches!(entry.get("LOCATION"), Some(Value { kind: Typed::List(_), .. })) {
        reading.notes.push(format!(
            "{}: the application cannot read its LOCATION: it must be one text in {}",
            reading.alias,
            options.library.name()
        ));
    }
    for (written, value) in found {
        let is_name = options.library == Library::Aiodrf && matches!(options.way(), Way::Sentinels { .. });
        if let Some(why) = location::unreadable(&written, options.library).filter(|_| !is_name) {
            reading.notes.push(format!("{}: the application cannot read its LOCATION: {why}", reading.alias));
        }
        let written: Cow<'_, str> = Cow::from(written.trim().to_owned());
        if written.is_empty() {
            continue;
        }
        let text = match options.library {
            Library::RedisCache => location::of_redis_cache(&written),
            Library::Vcache => location::of_vcache(&written).into(),
            Library::Aiodrf if is_name => format!("redis://{written}").into(),
            _ => Cow::from(&*written),
        };
        let (text, ignored) = match options.library {
            Library::Vcache => (text, false),
            _ => location::without_a_path(&text),
        };
        if ignored {
            reading.notes.push(format!(
                "{}: the path of its LOCATION is no database number, so the application's client ignores it, and so does \
                 the check",
                reading.alias
            ));
        }
        let url = address::redis_location(&text, RedisTopology::Standalone);
        let mut url = url.map_err(|error| value.problem(error))?;
        if options.library == Library::RedisCache {
            login_of_redis_cache(reading, entry, options, &written, &mut url)?;
        } else {
            note_refused_parameters(reading, options, &url);
        }
        urls.push(Location { text: written.into_owned(), url, place: &value.place });
    }
    Ok(urls)
}

/// The location of django-vcache if there is none.
const DEFAULT_OF_VCACHE: &str = "redis://127.0.0.1:6379/1";

/// Takes note of parameters of a URL that the application's connections refuse.
fn note_refused_parameters(reading: &mut CacheReader, options: &Options<'_>, url: &RedisUrl) {
    let refused = url.others.iter().filter(|(name, _)| options.refuses(name) && is_plain_key(name));
    let names: Vec<_> = refused.map(|(name, _)| format!("`{name}`")).collect();
    if !names.is_empty() {
        reading.notes.push(format!(
            "{}: the application cannot connect: its client hands {} in its LOCATION to the connection, which does not \
             know it; the check ignores it",
            reading.alias,
            names.join(" and ")
        ));
    }
}

/// The login of django-redis-cache 3.0: a URL has its own password or none, and a database that is not there is `DB`, or 1.
fn login_of_redis_cache(
    reading: &mut CacheReader,
    entry: &Table,
    options: &Options<'_>,
    written: &str,
    url: &mut RedisUrl,
) -> Result<(), ConfigProblem> {
    url.username = None;
    if url.database.is_none() {
        let database = entry.get("db").or_else(|| options.own("DB"));
        url.database = Some(database.map_or(Ok(1), Value::number)?);
    }
    let password = entry.get("password").or_else(|| options.own("PASSWORD"));
    if let Some(value) = password.filter(|_| !address::is_url(written)) {
        url.password = secret(reading, value)?.map(Secret::from);
    } else if password.is_some() {
        reading.notes.push(format!(
            "{}: django-redis-cache ignores PASSWORD beside a URL, and so does the check; write it into the URL",
            reading.alias
        ));
    }
    Ok(())
}

/// Answers the keys for the login at the servers, save those in `answered`. A value in the URL wins over OPTIONS, as in
/// redis-py's `ConnectionPool.from_url`; in django-cachex a user and a password in OPTIONS win.
fn credentials(
    reading: &CacheReader,
    options: &Options<'_>,
    location: Option<&Location<'_>>,
    answered: &[&str],
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let is_open = |key: &str, answers: &Answers<'_>| !answered.contains(&key) && answers.is_open(key);
    let url = location.map(|location| (&location.url, location.place));
    let options_win = options.library.prefers_options();
    // Beside a `credential_provider`, redis-py refuses a user, and django-vcache hands it to the provider.
    if is_open("username", answers) && options.get("credential_provider").is_none() {
        let written = url.and_then(|(url, place)| Some((url.username.clone()?, place)));
        let option = options.get("username").map(|value| Ok((text(value)?, &value.place))).transpose()?;
        let option = option.and_then(|(text, place)| Some((text?, place)));
        let (first, second) = if options_win { (option, written) } else { (written, option) };
        if let Some((username, place)) = first.or(second) {
            answers.put("username", Typed::Text(username), place);
        }
    }
    if is_open("password", answers) {
        let in_url = |(url, place): (&RedisUrl, _)| {
            let password = url.password.as_ref()?.expose_secret().to_owned();
            Some((password, place))
        };
        let written = url.and_then(in_url);
        // The value that loses is not looked at.
        let option = match options.get("password").filter(|_| options_win || written.is_none()) {
            Some(value) => secret(reading, value)?.map(|password| (password, &value.place)),
            None => None,
        };
        if let Some((password, place)) = option.or(written) {
            super::is_a_password(reading, &password, place)?;
            answers.put("password", Typed::Text(password), place);
        }
    }
    if is_open("database", answers) {
        let in_url = url.and_then(|(url, place)| Some((url.database?, place)));
        let option = options.get("db");
        let option_wins = option.is_some() && options_win && options.library != Library::Cachex;
        match (in_url.filter(|_| !option_wins), option) {
            (Some((database, place)), _) => {
                answers.put("database", Typed::Integer(database.into()), place);
            }
            (None, Some(value)) => {
                answers.put("database", Typed::Integer(value.number()?.into()), &value.place);
            }
            (None, None) => {}
        }
    }
    if is_open("protocol", answers) {
        let written = url.and_then(|(url, place)| Some((url.protocol?, place)));
        let option = options.get("protocol").filter(|_| written.is_none());
        let option = option.map(|value| Ok((protocol(value)?, &value.place))).transpose()?;
        let own =
            url.filter(|_| options.library.speaks_resp3()).map(|(_, place)| (RespVersion::Resp3, place));
        if let Some((protocol, place)) = written.or(option).or(own) {
            let word = match protocol {
                RespVersion::Resp2 => "resp2",
                RespVersion::Resp3 => "resp3",
            };
            answers.put("protocol", Typed::Text(word.to_owned()), place);
        }
    }
    Ok(())
}

fn protocol(value: &Value) -> Result<RespVersion, ConfigProblem> {
    let number = value.number().ok().map(|number| number.to_string());
    let protocol = number.and_then(|number| address::protocol(&number));
    protocol.ok_or_else(|| value.problem("the protocol must be 2 or 3"))
}

/// `true` if TLS is spoken to the server at a location: by its scheme, unless a class of connections says otherwise
/// (it wins in redis-py's `from_url`).
fn is_secure(options: &Options<'_>, location: &Location<'_>) -> bool {
    match location.url.addresses.first() {
        Some(Address::Tcp { .. }) => class_says(options).unwrap_or(location.url.tls == Some(true)),
        Some(Address::Unix(_)) | None => false,
    }
}

/// The word on TLS of `connection_class`.
fn class_says(options: &Options<'_>) -> Option<bool> {
    let name = options.class("connection_class")?;
    if name.contains("SSL") {
        return Some(true);
    }
    (name.ends_with("connection.Connection") || name.ends_with(".SentinelManagedConnection")).then_some(false)
}

/// `true` if an option asks for TLS, as one can if Sentinels or a cluster know the servers.
fn asks_for_tls(options: &Options<'_>) -> bool {
    options.get("ssl").and_then(Value::boolean) == Some(true)
}

/// Answers the keys of `tls`, once TLS is asked for: redis-py's options, in OPTIONS or as parameters of the URL.
fn tls(
    reading: &mut CacheReader,
    options: &Options<'_>,
    location: Option<&Location<'_>>,
    answers: &mut Answers<'_>,
) -> Result<(), ConfigProblem> {
    let parameter = |name: &str| {
        let location = location?;
        let (_, value) = location.url.others.iter().find(|(key, _)| key == name)?;
        Some((Typed::Text(value.clone()), location.place.clone()))
    };
    let said = |name: &str| {
        parameter(name).or_else(|| options.get(name).map(|value| (value.kind.clone(), value.place.clone())))
    };
    let alias = reading.alias.clone();
    if options.library == Library::Vcache
        && let Some(location) = location
    {
        let of_none = options.get("ssl_cert_reqs").filter(|value| matches!(value.text(), Ok("none")));
        if of_none.is_some() {
            reading.notes.push(format!(
                "{alias}: its ssl_cert_reqs makes django-vcache drop the certificates in its options, but it verifies that of \
                 the server all the same, and so does the check; end the LOCATION with #insecure to verify nothing"
            ));
        }
        if location.text.ends_with("#insecure") {
            answers.put("tls.verify", Typed::Text("none".to_owned()), location.place);
        }
        if of_none.is_some() {
            return Ok(());
        }
    }
    let mut files = Vec::new();
    for (name, key) in
        [("ssl_ca_certs", "ca_file"), ("ssl_certfile", "cert_file"), ("ssl_keyfile", "key_file")]
    {
        if let Some((kind, place)) = said(name) {
            let value = Value::new(kind, place);
            if let Some(path) = text(&value)? {
                files.push((key, path, value.place));
            }
        }
    }
    // Without a file of its own the key is in that of the certificate (Python's `load_cert_chain`).
    if !files.iter().any(|(key, ..)| *key == "key_file")
        && let Some((_, path, place)) = files.iter().find(|(key, ..)| *key == "cert_file")
    {
        files.push(("key_file", path.clone(), place.clone()));
    }
    for (key, path, place) in files {
        answers.put(&format!("tls.{key}"), Typed::Text(path), &place);
    }
    let null = options.is_null("ssl_cert_reqs").then_some((Typed::Null, None));
    let requirement = said("ssl_cert_reqs").map(|(kind, place)| (kind, Some(place))).or(null);
    let verifies = match &requirement {
        None => true,
        Some((kind, _)) => location::verifies(kind).unwrap_or_else(|| {
            reading.notes.push(format!(
                "{alias}: its ssl_cert_reqs is none of \"none\", \"optional\" and \"required\", so the application's client \
                 refuses it; the check verifies the certificate"
            ));
            true
        }),
    };
    if !answers.is_open("tls.verify") {
        return Ok(());
    }
    let is_named =
        !answers.is_open("tls.server_name") || names_are_verified(options, said("ssl_check_hostname"));
    let (verify, what, why, place) = if !verifies {
        // redis-py 8.1 and valkey-py 6.1 know texts in small letters alone.
        let refused = matches!(&requirement, Some((Typed::Text(text), _)) if text != "none");
        let spelling = if refused { ", in a spelling that redis-py refuses; write \"none\"" } else { "" };
        let place = requirement.and_then(|(_, place)| place);
        ("none", "the certificate", format!("ssl_cert_reqs{spelling}"), place)
    } else if is_named {
        return Ok(());
    } else {
        let place = said("ssl_check_hostname").map(|(_, place)| place);
        ("ca", "the name in the certificate", "ssl_check_hostname".to_owned(), place)
    };
    let place = place.or_else(|| location.map(|location| location.place.clone()));
    answers.put(
        "tls.verify",
        Typed::Text(verify.to_owned()),
        place.as_ref().unwrap_or(&reading.place.clone()),
    );
    reading.notes.push(format!(
        "{alias}: the application does not verify {what} ({why}), and so the check does not; set tls.verify = \"full\" \
         under [caches.{alias}] in the config file to verify it"
    ));
    Ok(())
}

/// `true` if the application's client verifies names: redis-py does from 6 on unless told otherwise, and valkey-py if told
/// to.
fn names_are_verified(options: &Options<'_>, said: Option<(Typed, Place)>) -> bool {
    said.map_or(options.library != Library::DjangoValkey, |(kind, _)| !is_no(&kind))
}

/// `true` for what redis-py's `to_bool` takes for no.
fn is_no(kind: &Typed) -> bool {
    match kind {
        Typed::Boolean(boolean) => !boolean,
        Typed::Integer(number) => *number == 0,
        Typed::Text(text) => ["false", "f", "no", "n", "0", ""].contains(&text.to_lowercase().as_str()),
        Typed::Null => true,
        Typed::Float(_) | Typed::List(_) | Typed::Table(_) | Typed::Other(_) => false,
    }
}
