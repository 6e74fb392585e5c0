//! `OPTIONS` of a Redis, read as the library that is given them reads them.

use super::object;
use crate::alias::Alias;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind as Typed, is_plain_key};

/// The library behind a `BACKEND`, which decides what each option means. The rules are those of the source of Django
/// 6.1, django-redis 7.0, django-valkey 0.4, django-cachex 0.14, django-vcache 3.2, aiodrf-async-cache 0.2 and
/// django-redis-cache 3.0, with redis-py 5.0 to 8.1 and valkey-py 6.1 below them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// Hands `OPTIONS` to the connection pool.
    Django,
    /// Reads options in capitals, and hands `CONNECTION_POOL_KWARGS` to the pool.
    DjangoRedis,
    /// The same without `USERNAME`.
    DjangoValkey,
    /// Hands `OPTIONS` to the pool; a user and a password there win over those of a URL.
    Cachex,
    /// django-cachex on valkey-glide, which takes one login and one database for all servers.
    Glide,
    /// Hands `OPTIONS` to an asynchronous pool, and takes one location alone.
    Aiodrf,
    /// django-redis-cache: the URL, or a bare address with `DB` (1 by default) and `PASSWORD`.
    RedisCache,
    /// django-vcache, in Rust: the URL alone, and the names of certificates in `OPTIONS`.
    Vcache,
    /// A class that the config file calls a Redis. It is taken for a relative of either.
    Unknown,
}

impl Library {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Django => "Django",
            Self::DjangoRedis => "django-redis",
            Self::DjangoValkey => "django-valkey",
            Self::Cachex | Self::Glide => "django-cachex",
            Self::Aiodrf => "aiodrf-async-cache",
            Self::RedisCache => "django-redis-cache",
            Self::Vcache => "django-vcache",
            Self::Unknown => "its backend",
        }
    }

    /// The characters at which a `LOCATION` of text is split.
    fn separators(self) -> &'static [char] {
        match self {
            Self::DjangoRedis | Self::DjangoValkey | Self::RedisCache => &[','],
            Self::Django | Self::Cachex | Self::Glide | Self::Unknown => &[',', ';'],
            Self::Aiodrf | Self::Vcache => &[],
        }
    }

    /// `true` if blanks around a location do not matter.
    pub(super) fn trims(self) -> bool {
        matches!(self, Self::Cachex | Self::Glide | Self::Vcache | Self::Unknown)
    }

    /// `true` if the arguments of the pool are at the top of `OPTIONS`.
    fn hands_on(self) -> bool {
        matches!(self, Self::Django | Self::Cachex | Self::Glide | Self::Aiodrf | Self::Unknown)
    }

    /// `true` if its pool takes the name of a primary as an argument.
    pub(super) fn hands_on_the_name(self) -> bool {
        matches!(self, Self::Django | Self::DjangoRedis | Self::DjangoValkey)
    }

    /// `true` if a login in `OPTIONS` wins over that of a URL.
    pub(super) fn prefers_options(self) -> bool {
        matches!(self, Self::Cachex | Self::Glide | Self::RedisCache)
    }

    /// `true` if it speaks RESP3 unless it is told otherwise, whatever the version of the client below it is.
    pub(super) fn speaks_resp3(self) -> bool {
        matches!(self, Self::Glide | Self::Vcache)
    }

    /// The option that holds arguments of the pool.
    fn pool_arguments(self) -> &'static str {
        match self {
            Self::RedisCache => "CONNECTION_POOL_CLASS_KWARGS",
            Self::Aiodrf => "async_pool_kwargs",
            _ => "CONNECTION_POOL_KWARGS",
        }
    }

    /// The options that a library reads itself.
    fn keeps(self) -> &'static [&'static str] {
        match self {
            Self::Django => &["pool_class", "serializer"],
            Self::Cachex => &[
                "pool_class",
                "async_pool_class",
                "serializer",
                "compressor",
                "stampede_prevention",
                "sentinels",
                "sentinel_kwargs",
                "tracking",
                "MAX_ENTRIES",
                "CULL_FREQUENCY",
            ],
            Self::Aiodrf => &[
                "topology",
                "sentinels",
                "sentinel_kwargs",
                "callback_mode",
                "serializer",
                "async_pool_class",
                "async_pool_kwargs",
            ],
            // They count for some locations, which is told there.
            Self::RedisCache => &["DB", "PASSWORD"],
            Self::DjangoRedis | Self::DjangoValkey | Self::Glide | Self::Vcache | Self::Unknown => &[],
        }
    }

    /// Its own options that are arguments of the pool, in capitals.
    fn capitals(self) -> &'static [&'static str] {
        match self {
            Self::DjangoRedis | Self::Unknown => &["USERNAME", "PASSWORD"],
            Self::DjangoValkey => &["PASSWORD"],
            Self::Django | Self::Cachex | Self::Glide | Self::Aiodrf | Self::RedisCache | Self::Vcache => &[],
        }
    }
}

/// `OPTIONS`, and the arguments for parts of the client in it.
pub(super) struct Options<'a> {
    pub(super) library: Library,
    given: Option<&'a Table>,
    pool: Option<&'a Table>,
    client: Option<&'a Table>,
    way: Way,
}

/// The way from a Redis client to its servers, by the names of its classes and by its options.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One primary, perhaps with replicas.
    Plain,
    /// Sentinels know the primary; `replicas` is `true` if replicas are read from.
    Sentinels {
        replicas: bool,
    },
    Cluster,
    /// A cluster, of a client that is not known.
    UnknownCluster,
    /// The client spreads keys over the locations, by a ring of their texts.
    Shards,
    /// Keys are spread over several servers by a client that is not known.
    UnknownShards,
}

impl Way {
    fn without_replicas(self) -> Self {
        if let Self::Sentinels { .. } = self { Self::Sentinels { replicas: false } } else { self }
    }

    /// The part of a client that is not known or not supported, and what to write in its place.
    pub(super) fn unknown(self, alias: &Alias) -> Option<(&'static str, String)> {
        match self {
            Self::Plain | Self::Sentinels { .. } | Self::Cluster | Self::Shards => None,
            Self::UnknownCluster => Some((
                "cluster client",
                format!(
                    "this cluster client is not supported; in the config file, add [caches.{alias}] with url = \
                 \"redis+cluster://host:6379\""
                ),
            )),
            Self::UnknownShards => Some((
                "client for several servers",
                format!(
                    "its client distributes keys over several servers; in the config file, add [caches.{alias}] with topology \
                 = \"shards\" and servers = [\"redis://host:6379/0\"]"
                ),
            )),
        }
    }
}

/// The classes of clients for clusters that take the locations as nodes to begin with, by the source of
/// django-valkey 0.4, django-cachex 0.14, valkey-py 6.1 and redis-py 8.1.
const CLUSTERS: &[&str] = &[
    "django_valkey.cluster_cache.cache.ClusterValkeyCache",
    "django_valkey.cluster_cache.client.DefaultClusterClient",
    "django_valkey.cluster_cache.client.default.DefaultClusterClient",
    "django_valkey.cluster_cache.pool.ClusterConnectionFactory",
    "django_redis.client.ClusterClient",
    "django_redis.pool.ClusterConnectionFactory",
    "valkey.cluster.ValkeyCluster",
    "redis.cluster.RedisCluster",
    "redis.RedisCluster",
];

/// The clients for shards with the ring of django-redis 7.0, which django-valkey 0.4 has too.
const SHARDS: &[&str] = &[
    "django_redis.client.ShardClient",
    "django_redis.client.sharded.ShardClient",
    "django_valkey.client.ShardClient",
    "django_valkey.client.sharded.ShardClient",
];

/// The modules whose classes connect in a known way.
const MODULES: &[&str] = &[
    "redis.",
    "valkey.",
    "django_redis.",
    "django_valkey.",
    "django_cachex.",
    "redis_cache.",
    "aiodrf_async_cache.",
];

/// The options that name classes, which tell the way.
const CLASSES: &[&str] = &[
    "CLIENT_CLASS",
    "CONNECTION_FACTORY",
    "CONNECTION_POOL_CLASS",
    "REDIS_CLIENT_CLASS",
    "BASE_CLIENT_CLASS",
    "pool_class",
    "async_pool_class",
];

/// Arguments that are read. `ssl` is one of `redis.Redis` and of pools with Sentinels.
const READ: &[&str] = &[
    "username",
    "password",
    "db",
    "protocol",
    "connection_class",
    "ssl",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
];

/// The options that django-vcache reads and that say how to connect.
const READ_BY_VCACHE: &[&str] =
    &["credential_provider", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"];

/// Arguments that change nothing for a server: sizes, times and habits of the client.
#[rustfmt::skip]
const HABITS: &[&str] = &[
    "max_connections", "socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options",
    "socket_read_size", "socket_type", "retry", "retry_on_timeout", "retry_on_error", "health_check_interval",
    "encoding", "encoding_errors", "decode_responses", "parser_class", "command_packer", "client_name", "lib_name",
    "lib_version", "driver_info", "legacy_responses", "event_dispatcher", "cache", "cache_config", "cache_factory",
    "maint_notifications_config",
];

/// The same of a pool that waits, of Sentinels, or of a client and not of its connections.
const HABITS_OF_SOME: &[&str] = &[
    "timeout",
    "queue_class",
    "is_master",
    "service_name",
    "sentinel_manager",
    "check_connection",
    "single_connection_client",
    "auto_close_connection_pool",
];

/// Options of django-redis and its relatives that say nothing about a connection, or are read elsewhere.
#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "CLIENT_CLASS", "CONNECTION_FACTORY", "CONNECTION_POOL_CLASS", "CONNECTION_POOL_KWARGS", "REDIS_CLIENT_CLASS",
    "REDIS_CLIENT_KWARGS", "BASE_CLIENT_CLASS", "BASE_CLIENT_KWARGS", "SENTINELS", "SENTINEL_KWARGS", "SERIALIZER",
    "COMPRESSOR", "PARSER_CLASS", "PARSER_CLS", "PICKLE_VERSION", "SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT",
    "SOCKET_KEEPALIVE", "IGNORE_EXCEPTIONS", "LOG_IGNORED_EXCEPTIONS", "LOGGER", "REVERSE_KEY_FUNCTION",
    "KEY_FUNCTION", "KEY_PREFIX", "VERSION", "MAX_ENTRIES", "CULL_FREQUENCY", "CLOSE_CONNECTION", "MAX_CONNECTIONS",
    "HERD_TIMEOUT", "CACHE_HERD_TIMEOUT", "ITERSIZE", "SCAN_ITERSIZE",
    "pool_class", "async_pool_class", "serializer", "compressor", "stampede_prevention", "sentinels",
    "sentinel_kwargs", "reverse_key_function", "ignore_exceptions", "log_ignored_exceptions",
];

impl<'a> Options<'a> {
    pub(super) fn of(library: Library, class: Option<&str>, entry: &'a Table) -> Result<Self, ConfigProblem> {
        let given = entry.get("OPTIONS").map(object).transpose()?;
        let location = entry.get("LOCATION").and_then(|location| location.text().ok());
        let way = match library {
            Library::Vcache => way_of_vcache(location.unwrap_or_default(), given),
            Library::Aiodrf => way_of_aiodrf(given),
            // Its client makes a primary and a replica of a text, and leaves a list as it is.
            Library::DjangoRedis | Library::DjangoValkey if location.is_none() => {
                way(class, given).without_replicas()
            }
            _ => way(class, given),
        };
        let mut options = Self { library, given, pool: None, client: None, way };
        options.pool = options.table(library.pool_arguments())?;
        if way == Way::Cluster {
            // The client of a cluster is given no pool: there the arguments for the client count, and in django-valkey
            // they alone do.
            options.client = match options.table("BASE_CLIENT_KWARGS")? {
                Some(client) => Some(client),
                None => options.table("REDIS_CLIENT_KWARGS")?,
            };
        }
        Ok(options)
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    fn table(&self, name: &str) -> Result<Option<&'a Table>, ConfigProblem> {
        self.given.and_then(|options| options.get(name)).map(object).transpose()
    }

    /// An option of the library's own, as it is given.
    pub(super) fn own(&self, name: &str) -> Option<&'a Value> {
        self.given?.get(name)
    }

    /// The characters at which a `LOCATION` of text is split.
    pub(super) fn separators(&self) -> &'static [char] {
        match (self.library, self.way) {
            (Library::Vcache, Way::Cluster) => &[','],
            _ => self.library.separators(),
        }
    }

    /// The class that an option names.
    pub(super) fn class(&self, option: &str) -> Option<&'a str> {
        self.classes().find_map(|(name, class)| (name == option).then_some(class))
    }

    /// The classes that options name, each with its option.
    fn classes(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let named = |name| Some((name, class_name(self.own(name)?)?));
        let connections = self.get("connection_class").and_then(class_name);
        let connections = connections.map(|class| ("connection_class", class));
        CLASSES.iter().copied().filter_map(named).chain(connections)
    }

    /// `true` if a class of the application's own stands between it and its servers, which may take other arguments.
    pub(super) fn has_own_class(&self) -> bool {
        self.classes().any(|(_, class)| !is_known(class))
    }

    /// `true` if the connections refuse an argument, so that the application fails.
    pub(super) fn refuses(&self, name: &str) -> bool {
        let pool_that_waits = || {
            let named = self.classes().any(|(_, class)| class.contains("BlockingConnectionPool"));
            named || self.library == Library::Aiodrf && self.own("async_pool_class").is_none()
        };
        let takes_none = matches!(self.library, Library::Glide | Library::RedisCache | Library::Vcache);
        if takes_none || self.library == Library::Unknown || self.has_own_class() {
            return false;
        }
        match (name, self.way) {
            ("timeout" | "queue_class", Way::Plain) => !pool_that_waits(),
            ("ssl", Way::Plain) => true,
            (name, Way::Plain) => HABITS_OF_SOME.contains(&name) || !is_known_argument(name),
            (name, Way::Sentinels { .. }) => {
                name != "ssl" && !HABITS_OF_SOME.contains(&name) && !is_known_argument(name)
            }
            (_, Way::Cluster | Way::UnknownCluster | Way::Shards | Way::UnknownShards) => false,
        }
    }

    /// Tables of arguments, those first that win.
    fn arguments(&self) -> impl Iterator<Item = &'a Table> {
        let given = self.given.filter(|_| self.library.hands_on() || self.library == Library::Vcache);
        let pool = self.pool.filter(|_| !self.has_no_pool());
        [self.client, pool, given].into_iter().flatten()
    }

    /// `true` if only the arguments of the client count.
    fn has_no_pool(&self) -> bool {
        self.library == Library::DjangoValkey && self.way == Way::Cluster
    }

    /// Its own options that are arguments of the pool, in capitals.
    fn capitals(&self) -> &'static [&'static str] {
        if self.has_no_pool() { &[] } else { self.library.capitals() }
    }

    /// An argument by redis-py's name, or the library's own option for it.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        if self.library == Library::Vcache && !READ_BY_VCACHE.contains(&name) {
            return None;
        }
        let argument = self.arguments().find_map(|arguments| arguments.get(name));
        let own = name.to_uppercase();
        let own = self.capitals().contains(&own.as_str()).then(|| self.given?.get(&own));
        argument.or(own.flatten())
    }

    /// `true` if an argument is given as `null`, which is Python's `None`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.get(name).is_none() && self.arguments().any(|arguments| arguments.is_null(name))
    }

    /// The Sentinels, each a host and a port.
    pub(super) fn sentinels(&self) -> Option<&'a Value> {
        let given = self.given?;
        let sentinels = given.get("SENTINELS").or_else(|| given.get("sentinels"));
        sentinels.filter(|value| !matches!(&value.kind, Typed::List(list) if list.is_empty()))
    }

    /// The arguments for the Sentinels, and not for the servers.
    pub(super) fn sentinel_arguments(&self) -> Result<Option<&'a Table>, ConfigProblem> {
        Ok(self.table("SENTINEL_KWARGS")?.or(self.table("sentinel_kwargs")?))
    }

    /// Notes on options that the library ignores or refuses, and on those that the check does not read; each with
    /// the key of `[caches.ALIAS]` that takes their place, if there is one.
    pub(super) fn notes(&self, alias: &Alias) -> Vec<(&'static str, String)> {
        let mut notes = Vec::new();
        for entry in self.given.into_iter().flat_map(|given| &given.0) {
            let (name, library) = (entry.key.as_str(), self.library.name());
            let relevant = is_argument(name) || is_argument(&name.to_lowercase()) || name == "DB";
            let is_handed_on = self.library.hands_on() && !self.library.keeps().contains(&name);
            if is_handed_on && self.refuses(name) && (!relevant || name.to_uppercase() != name) {
                notes.push(("", refused(name, "OPTIONS")));
                continue;
            }
            let own = [OPTIONS, self.capitals(), self.library.keeps()];
            if own.iter().any(|own| own.contains(&name)) {
                continue;
            }
            if self.library == Library::Vcache && READ_BY_VCACHE.contains(&name) {
                notes.extend(unread(name, "OPTIONS", alias));
            } else if self.library.hands_on() {
                if name.to_uppercase() == name && relevant {
                    notes.push(("", format!(
                        "OPTIONS has {name}, with which the application cannot connect: {library} hands it to the \
                         connection, which only knows `{}`; the check ignores it",
                        name.to_lowercase()
                    )));
                } else if self.library != Library::Unknown || relevant {
                    notes.extend(unread(name, "OPTIONS", alias));
                }
            } else if relevant {
                let capital = name.to_uppercase();
                let pool = self.library.pool_arguments();
                let instead = match self.has_no_pool() {
                    _ if self.library == Library::Vcache => "LOCATION".to_owned(),
                    true => "BASE_CLIENT_KWARGS".to_owned(),
                    false if self.capitals().contains(&capital.as_str()) => format!("{capital} or {pool}"),
                    false => pool.to_owned(),
                };
                notes.push(("", format!(
                    "{library} ignores `{name}` in OPTIONS, and so does the check; move it to {instead}, or set what \
                     is meant under [caches.{alias}] in the config file"
                )));
            }
        }
        let of_client =
            if self.library == Library::DjangoValkey { "BASE_CLIENT_KWARGS" } else { "REDIS_CLIENT_KWARGS" };
        let of_pool = self.library.pool_arguments();
        let inner = [(of_pool, self.pool), (of_client, self.client)];
        for (whose, table) in inner {
            for entry in table.into_iter().flat_map(|table| &table.0) {
                if whose == of_pool && self.refuses(&entry.key) {
                    notes.push(("", refused(&entry.key, whose)));
                } else {
                    notes.extend(unread(&entry.key, whose, alias));
                }
            }
        }
        for (name, _) in self.classes().filter(|(_, class)| !is_known(class)) {
            notes.push(("url", format!(
                "{name} in its options is a class of the application's own, which may connect in another way than \
                 {} does, and so than the check; set what differs under [caches.{alias}] in the config file",
                self.library.name()
            )));
        }
        notes
    }
}

/// A note on an argument with which the application cannot connect.
fn refused(name: &str, whose: &str) -> String {
    let shown = if is_plain_key(name) { format!("`{name}`") } else { "an option".to_owned() };
    format!(
        "{whose} has {shown}, with which the application cannot connect: its client hands it to the connection, which \
         does not know it; the check ignores it"
    )
}

/// The name of a class, also of one that `default=str` wrote: `<class 'redis.connection.SSLConnection'>`.
fn class_name(value: &Value) -> Option<&str> {
    let text = value.text().ok()?;
    Some(text.trim_start_matches("<class '").trim_end_matches(['>', '\'']))
}

fn is_known(class: &str) -> bool {
    MODULES.iter().any(|module| class.starts_with(module))
}

/// `true` for an argument of a connection of redis-py 5.0, 7.4 or 8.1, or of valkey-py 6.1.
fn is_known_argument(name: &str) -> bool {
    is_argument(name) || HABITS.contains(&name)
}

/// `true` for a name of an argument that says how to connect.
fn is_argument(name: &str) -> bool {
    READ.contains(&name)
        || name.starts_with("ssl")
        || ["host", "port", "path", "credential_provider", "redis_connect_func"].contains(&name)
}

/// A note on an argument that the check does not read, unless it is without effect on a connection.
fn unread(name: &str, whose: &str, alias: &Alias) -> Option<(&'static str, String)> {
    if READ.contains(&name) || HABITS.contains(&name) || HABITS_OF_SOME.contains(&name) {
        return None;
    }
    let shown = if is_plain_key(name) { format!("`{name}`") } else { "an option".to_owned() };
    Some(match name {
        "credential_provider" => (
            "password",
            format!(
                "{whose} has {shown}, a Python object that only the application can ask for its user and password: \
                 without them the check is refused where the server wants a login; set username and password_file \
                 under [caches.{alias}] in the config file"
            ),
        ),
        "ssl_ca_data" | "ssl_ca_path" => (
            "tls.ca_file",
            format!(
                "{whose} has {shown}, which the check does not read: it trusts the system's certificates; set \
                 tls.ca_file under [caches.{alias}] in the config file"
            ),
        ),
        "ssl_password" => (
            "tls.key_file",
            format!(
                "{whose} has {shown}, which the check does not read; set tls.cert_file and tls.key_file under \
                 [caches.{alias}] in the config file, with a key that needs no passphrase"
            ),
        ),
        _ => (
            "url",
            format!(
                "{whose} has {shown}, which the check does not read; if it changes how the application connects, set \
                 the same under [caches.{alias}] in the config file"
            ),
        ),
    })
}

/// The way that a class, or the classes in its options, take to the servers.
fn way(backend: Option<&str>, given: Option<&Table>) -> Way {
    let class = |name: &&str| class_name(given?.get(name)?);
    let classes = backend.into_iter().chain(CLASSES.iter().filter_map(class)).collect::<Vec<_>>();
    let named = |word: &str| classes.iter().any(|class| class.to_lowercase().contains(word));
    let is_list = |name: &&str| match given.and_then(|given| given.get(name)).map(|value| &value.kind) {
        Some(Typed::List(list)) => !list.is_empty(),
        Some(_) => true,
        None => false,
    };
    if ["SENTINELS", "sentinels"].iter().any(is_list) || named("sentinel") {
        // Each of these makes two of one location, the primary and a replica to read from.
        let both = |class: &&str| class.ends_with(".SentinelClient") || class.ends_with("SentinelCache");
        Way::Sentinels { replicas: classes.iter().any(both) }
    } else if classes.iter().any(|class| CLUSTERS.contains(class) || is_cluster_of_cachex(class)) {
        Way::Cluster
    } else if named("cluster") {
        Way::UnknownCluster
    } else if classes.iter().any(|class| SHARDS.contains(class)) {
        Way::Shards
    } else if named("shard") {
        Way::UnknownShards
    } else {
        Way::Plain
    }
}

fn is_cluster_of_cachex(class: &str) -> bool {
    class.starts_with("django_cachex.cache.") && class.ends_with("ClusterCache")
}

/// The way that django-vcache takes, by its scheme and an option.
fn way_of_vcache(location: &str, given: Option<&Table>) -> Way {
    let cluster = given.and_then(|given| given.get("CLUSTER_MODE")).and_then(Value::boolean);
    if location.starts_with("sentinel://") {
        Way::Sentinels { replicas: false }
    } else if cluster == Some(true) {
        Way::Cluster
    } else {
        Way::Plain
    }
}

/// The way that aiodrf-async-cache takes.
fn way_of_aiodrf(given: Option<&Table>) -> Way {
    match given.and_then(|given| given.get("topology")?.text().ok()) {
        Some("sentinel") => Way::Sentinels { replicas: false },
        Some("cluster") => Way::Cluster,
        _ => Way::Plain,
    }
}
