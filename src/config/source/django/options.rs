//! `OPTIONS` of a Redis, read as the library that is given them reads them.

use super::object;
use crate::alias::Alias;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind as Typed, is_plain_key};

/// The library behind a `BACKEND`, which decides what each option means. The rules are those of the source of Django
/// 6.0, django-redis 7.0, django-valkey 0.4 and django-cachex 0.14, with redis-py 8.1 and valkey-py 6.1 below them.
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
    /// A class that the config file calls a Redis. It is taken for a relative of either.
    Unknown,
}

impl Library {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Django => "Django",
            Self::DjangoRedis => "django-redis",
            Self::DjangoValkey => "django-valkey",
            Self::Cachex => "django-cachex",
            Self::Unknown => "its backend",
        }
    }

    /// The characters at which a `LOCATION` of text is split.
    pub(super) fn separators(self) -> &'static [char] {
        match self {
            Self::DjangoRedis | Self::DjangoValkey => &[','],
            Self::Django | Self::Cachex | Self::Unknown => &[',', ';'],
        }
    }

    /// `true` if blanks around a location do not matter.
    pub(super) fn trims(self) -> bool {
        matches!(self, Self::Cachex | Self::Unknown)
    }

    /// `true` if the arguments of the pool are at the top of `OPTIONS`.
    fn hands_on(self) -> bool {
        matches!(self, Self::Django | Self::Cachex | Self::Unknown)
    }

    /// Its own options that are arguments of the pool, in capitals.
    fn capitals(self) -> &'static [&'static str] {
        match self {
            Self::DjangoRedis | Self::Unknown => &["USERNAME", "PASSWORD"],
            Self::DjangoValkey => &["PASSWORD"],
            Self::Django | Self::Cachex => &[],
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
    /// Keys are spread over several servers by the client.
    Shards,
}

/// The classes of clients for clusters that take the locations as nodes to begin with, by the source of
/// django-valkey 0.4, django-cachex 0.14, valkey-py 6.1 and redis-py 8.1.
const CLUSTERS: &[&str] = &[
    "django_valkey.cluster_cache.cache.ClusterValkeyCache",
    "django_valkey.cluster_cache.client.DefaultClusterClient",
    "django_valkey.cluster_cache.client.default.DefaultClusterClient",
    "django_valkey.cluster_cache.pool.ClusterConnectionFactory",
    "django_cachex.cache.RedisClusterCache",
    "django_cachex.cache.ValkeyClusterCache",
    "django_cachex.cache.ValkeyGlideClusterCache",
    "valkey.cluster.ValkeyCluster",
    "redis.cluster.RedisCluster",
    "redis.RedisCluster",
];

/// The options that name classes, which tell the way.
const CLASSES: &[&str] = &[
    "CLIENT_CLASS",
    "CONNECTION_FACTORY",
    "CONNECTION_POOL_CLASS",
    "REDIS_CLIENT_CLASS",
    "BASE_CLIENT_CLASS",
    "pool_class",
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

/// Arguments that change nothing for a server: sizes, times and habits of the client.
#[rustfmt::skip]
const HABITS: &[&str] = &[
    "max_connections", "timeout", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
    "socket_keepalive_options", "socket_read_size", "socket_type", "retry", "retry_on_timeout", "retry_on_error",
    "health_check_interval", "encoding", "encoding_errors", "decode_responses", "parser_class", "queue_class",
    "client_name", "lib_name", "lib_version", "driver_info", "single_connection_client", "auto_close_connection_pool",
    "legacy_responses", "is_master", "check_connection", "event_dispatcher", "cache", "cache_config",
    "maint_notifications_config",
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
        let way = way(class, given);
        let mut options = Self { library, given, pool: None, client: None, way };
        options.pool = options.table("CONNECTION_POOL_KWARGS")?;
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

    /// Tables of arguments, those first that win.
    fn arguments(&self) -> impl Iterator<Item = &'a Table> {
        let given = self.given.filter(|_| self.library.hands_on());
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
            if OPTIONS.contains(&name) || self.capitals().contains(&name) {
                continue;
            }
            if self.library.hands_on() {
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
                let instead = match self.has_no_pool() {
                    true => "BASE_CLIENT_KWARGS".to_owned(),
                    false if self.capitals().contains(&capital.as_str()) => {
                        format!("{capital} or CONNECTION_POOL_KWARGS")
                    }
                    false => "CONNECTION_POOL_KWARGS".to_owned(),
                };
                notes.push(("", format!(
                    "{library} ignores `{name}` in OPTIONS, and so does the check; move it to {instead}, or set what \
                     is meant under [caches.{alias}] in the config file"
                )));
            }
        }
        let of_client =
            if self.library == Library::DjangoValkey { "BASE_CLIENT_KWARGS" } else { "REDIS_CLIENT_KWARGS" };
        let inner = [("CONNECTION_POOL_KWARGS", self.pool), (of_client, self.client)];
        for (whose, table) in inner {
            for entry in table.into_iter().flat_map(|table| &table.0) {
                notes.extend(unread(&entry.key, whose, alias));
            }
        }
        notes
    }
}

/// `true` for a name of an argument that says how to connect.
fn is_argument(name: &str) -> bool {
    READ.contains(&name)
        || name.starts_with("ssl")
        || ["host", "port", "path", "credential_provider", "redis_connect_func"].contains(&name)
}

/// A note on an argument that the check does not read, unless it is without effect on a connection.
fn unread(name: &str, whose: &str, alias: &Alias) -> Option<(&'static str, String)> {
    if READ.contains(&name) || HABITS.contains(&name) {
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
    let class = |name: &&str| given?.get(name)?.text().ok();
    let classes = backend.into_iter().chain(CLASSES.iter().filter_map(class)).collect::<Vec<_>>();
    let named = |word: &str| classes.iter().any(|class| class.to_lowercase().contains(word));
    let has_sentinels =
        given.is_some_and(|given| given.get("SENTINELS").is_some() || given.get("sentinels").is_some());
    if has_sentinels || named("sentinel") {
        // Each of these makes two of one location, the primary and a replica to read from.
        let both = |class: &&str| class.ends_with(".SentinelClient") || class.ends_with("SentinelCache");
        Way::Sentinels { replicas: classes.iter().any(both) }
    } else if classes.iter().any(|class| CLUSTERS.contains(class)) {
        Way::Cluster
    } else if named("cluster") {
        Way::UnknownCluster
    } else if named("shard") {
        Way::Shards
    } else {
        Way::Plain
    }
}
