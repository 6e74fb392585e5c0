//! Every setting: one row for each key of each table. Readers, error messages, excerpts and the schema take from here which keys
//! there are; `tests` compares the rest of the code with it.

use BackendKind::{Forwarding, LocalMemory, Memcached, Redis};
use Takes::{
    AllOrInteger, Boolean, BooleanOrTable, Duration, Durations, Integer, Integers, Number, Numbers, Table, Tables, Text, Texts,
    TextsOrTable, Words,
};

/// One key of a table.
#[cfg_attr(not(test), expect(dead_code, reason = "the schema is made from the table in a test"))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    takes: Takes,
    doc: &'static str,
    /// The default, as JSON.
    default: Option<&'static str>,
    /// The kinds of cache that have it, in `[caches.ALIAS]`.
    backends: &'static [BackendKind],
    /// Its value is, or may hold, a secret.
    secret: bool,
    /// The key that answers the same question; it is the one that `config show` names.
    same_as: Option<&'static str>,
    /// Its name in an earlier version.
    pub(super) was: Option<&'static str>,
}

/// The values that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Text,
    /// One text or a list.
    Texts,
    Integer,
    Number,
    Boolean,
    Duration,
    /// One of these.
    Words(&'static [&'static str]),
    AllOrInteger,
    /// Limits, `degraded` and `down`.
    Durations,
    Integers,
    Numbers,
    /// A table of [`TABLES`].
    Table,
    /// Tables of one kind under names.
    Tables,
    BooleanOrTable,
    TextsOrTable,
}

/// The kinds of cache that `backend` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackendKind {
    Redis,
    Memcached,
    LocalMemory,
    Forwarding,
}

impl BackendKind {
    pub(super) const ALL: [Self; 4] = [Redis, Memcached, LocalMemory, Forwarding];
    const NAMES: &[&str] = &[Redis.name(), Memcached.name(), LocalMemory.name(), Forwarding.name()];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Redis => "redis",
            Memcached => "memcached",
            LocalMemory => "local-memory",
            Forwarding => "forwarding",
        }
    }

    /// The keys of `[caches.ALIAS]` that this kind has.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        CACHE.iter().filter(move |key| key.backends.contains(&self)).map(|key| key.name)
    }
}

/// How the servers of a Redis are found, by `topology`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedisTopology {
    Standalone,
    Cluster,
    Sentinel,
}

impl RedisTopology {
    pub(super) const ALL: [Self; 3] = [Self::Standalone, Self::Cluster, Self::Sentinel];
    const NAMES: &[&str] = &[Self::Standalone.name(), Self::Cluster.name(), Self::Sentinel.name()];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

const ANY: &[BackendKind] = &BackendKind::ALL;
const SERVERS: &[BackendKind] = &[Redis, Memcached];
const LOCATED: &[BackendKind] = &[Redis, Memcached, Forwarding];
const REDIS: &[BackendKind] = &[Redis];
const MEMCACHED: &[BackendKind] = &[Memcached];

const fn key(name: &'static str, takes: Takes, doc: &'static str) -> Key {
    Key { name, takes, doc, default: None, backends: ANY, secret: false, same_as: None, was: None }
}

impl Key {
    const fn of(self, backends: &'static [BackendKind]) -> Self { Self { backends, ..self } }
    const fn or(self, default: &'static str) -> Self { Self { default: Some(default), ..self } }
    const fn secret(self) -> Self { Self { secret: true, ..self } }
    const fn same_as(self, key: &'static str) -> Self { Self { same_as: Some(key), ..self } }
    const fn was(self, name: &'static str) -> Self { Self { was: Some(name), ..self } }
}

/// The words of `unit`.
const UNITS: &[&str] = &["s", "ms"];
/// The presets of `queue`.
pub(super) const QUEUE_PRESETS: &[&str] = &["sentry-buffer", "celery", "rq", "sidekiq"];
/// The presets of `clock`.
pub(super) const CLOCK_PRESETS: &[&str] = &["sentry-monitors"];
/// The words of `client`.
pub(super) const CLIENTS: &[&str] = &["pymemcache", "python-memcached", "libmemcached"];

/// A table of limits.
pub(super) const LIMITS_OF_CHECKS: &[Key] = &[
    key("degraded", Text, "Degraded from here on."),
    key("down", Text, "Down from here on."),
];

/// The top of the file.
pub(super) const TOP: &[Key] = &[
    key("listen", Texts, "Addresses to listen at, and unix:/path for a socket.").or(r#"["[::]:8080"]"#),
    key("prefix", Text, "The prefix of every key that is written.").or(r#""djblets-""#),
    key("instance", Text, "The name of this sidecar in keys and values; by default the host's name."),
    key("timeout", Duration, "The deadline of a check, from name resolution to the last byte.").or(r#""750ms""#),
    key("max_age", Duration, "A verdict may be shared for this long after its check began.").or(r#""100ms""#),
    key("reconnect_every", Duration, "A connection serves this long, then a check dials anew.").or(r#""5s""#),
    key("dns_recheck", Duration, "The name behind a kept connection is resolved again after this long.").or(r#""30s""#),
    key("interval", Duration, "How often every cache is checked in the background, 1s to 1h; 0s turns it off.").or(r#""0s""#),
    key("drain", Duration, "How long requests are still served after the sidecar was told to stop.").or(r#""0s""#),
    key("access", Table, "Access by the caller's network."),
    key("tls", Table, "TLS for callers over TCP."),
    key("limits", Table, "Limits for callers."),
    key("probes", Table, "Listeners for probes, besides the main ones."),
    key("metrics", Table, "Listeners for metrics."),
    key("groups", Tables, "Named groups of checks, at /health/group/NAME; liveness, readiness and startup are the groups of /livez, /readyz and /startupz."),
    key("fleet", Table, "Verdicts shared by the sidecars of one role through a Redis; without this table each sidecar makes its own.").was("debounce"),
    key("django_caches", Text, "A file with Django's CACHES as JSON."),
    key("caches", Tables, "The caches, each under its alias."),
];

/// `[access]`.
pub(super) const ACCESS: &[Key] = &[
    key("allow", Texts, "Networks that get an answer; by default everyone."),
    key("details", Texts, "Networks that see addresses, phases and the texts of errors; by default loopback."),
    key("hosts", Texts, "Names by which callers on loopback may ask for details, besides localhost and addresses, such as \"canary.internal\"."),
    key("trusted_proxies", Texts, "Networks of proxies whose forwarding headers are believed, and \"unix\" for those that come over a socket; by default none."),
    key("token", Text, "The bearer token that shows details, of at least 16 characters.").secret(),
    key("token_file", Text, "A file that holds the token.").secret().same_as("token"),
];

/// `[tls]`.
pub(super) const LISTENER_TLS: &[Key] = &[
    key("cert_file", Text, "The certificate to show, in PEM.").secret(),
    key("key_file", Text, "Its private key.").secret(),
    key("client_ca_file", Text, "The CA of the certificates that callers must show; without one, no certificate is asked for.").secret(),
];

/// `[limits]`.
pub(super) const LIMITS: &[Key] = &[
    key("connections", Integer, "The most connections of callers that are open at a time, 16 to 65536.").or("1024"),
    key("unread_bytes", Integer, "The most bytes of responses that may wait to be read, on all connections together.").or("8388608"),
    key("unread_bytes_per_connection", Integer, "The same on one connection.").or("1048576"),
];

/// `[probes]`.
pub(super) const PROBES: &[Key] = &[
    key("listen", Texts, "Addresses where probes alone are answered, with connections of their own.").or("[]"),
];

/// `[metrics]`.
pub(super) const METRICS: &[Key] = &[
    key("listen", Texts, "Addresses where /metrics alone is served, and nowhere else; without one, the main listeners serve it.").or("[]"),
];

/// `[groups.NAME]`.
pub(super) const GROUP: &[Key] = &[
    key("include", Texts, "Aliases, and single checks such as main.queue; without it, everything."),
    key("exclude", Texts, "Members to leave out."),
];

/// `[fleet]`.
pub(super) const FLEET: &[Key] = &[
    key("via", Text, "The alias of the Redis server that they are shared through."),
    key("for", Duration, "The greatest age of a verdict that is reused, 250ms to 1m; at least twice max_age.").or(r#""2s""#),
    key("role", Text, "Only sidecars of the same role share verdicts.").or(r#""""#),
];

/// `[caches.ALIAS]`.
pub(super) const CACHE: &[Key] = &[
    key("backend", Words(BackendKind::NAMES), "The kind of cache; not needed if another key implies it."),
    key("url", Text, "redis://user:password@host:6379/0, redis+cluster://one,two, redis+sentinel://one,two/mymaster, redis+unix:///path, memcached://one,two; with TLS rediss and memcacheds.").of(SERVERS).secret(),
    key("url_file", Text, "A file that holds the URL.").of(SERVERS).secret().same_as("url"),
    key("servers", Texts, "memcached's servers: host:11211, unix:/path, dns+all:host:11211, discover:host:11211.").of(MEMCACHED).secret().same_as("url"),
    key("location", Texts, "The address of a Redis, memcached's servers, or the target of a forwarding alias.").of(LOCATED).secret().same_as("url"),
    key("topology", Words(RedisTopology::NAMES), "How the servers of a Redis are found, if the URL does not say it.").of(REDIS),
    key("announce", Words(&["as-is", "seed-host"]), "The addresses of a cluster to dial: seed-host if its ports are forwarded.").of(REDIS).or(r#""as-is""#),
    key("username", Text, "The user's name.").of(SERVERS).secret(),
    key("password", Text, "The user's password.").of(SERVERS).secret(),
    key("password_file", Text, "A file that holds the password.").of(SERVERS).secret().same_as("password"),
    key("sentinel_username", Text, "The user's name at the Sentinels.").of(REDIS).secret(),
    key("sentinel_password", Text, "The user's password at the Sentinels.").of(REDIS).secret(),
    key("sentinel_password_file", Text, "A file that holds the password of the Sentinels.").of(REDIS).secret().same_as("sentinel_password"),
    key("database", Integer, "The number of a Redis' database.").of(REDIS).or("0"),
    key("protocol", Words(&["resp2", "resp3"]), "The version of Redis' protocol; resp3 needs Redis 6.").of(REDIS).or(r#""resp2""#),
    key("tls", BooleanOrTable, "TLS to the servers.").of(SERVERS).secret(),
    key("replicas", TextsOrTable, "Addresses of replicas, discover for those that the primary names, or required for the same with a faulty one as down.").of(REDIS).secret(),
    key("replica_within", Duration, "How soon each replica must show the primary's canary.").of(REDIS).or(r#""1s""#),
    key("quorum", AllOrInteger, "How many of memcached's servers must be up: all, or a number.").of(MEMCACHED).or(r#""all""#),
    key("spray", Integer, "How many canaries are written to each server in a round, at most 1024.").of(SERVERS).or("1"),
    key("breaker", Table, "The circuit breaker around each server; without this table there is none.").of(SERVERS),
    key("checks", Table, "Checks besides the round trip.").of(SERVERS),
];

/// `[caches.ALIAS.tls]`.
pub(super) const CACHE_TLS: &[Key] = &[
    key("ca_file", Text, "Certificates to trust instead of the system's.").secret(),
    key("cert_file", Text, "The certificate to show.").secret(),
    key("key_file", Text, "Its private key.").secret(),
    key("server_name", Text, "The name that the server's certificate must have.").secret(),
    key("verify", Words(&["full", "none"]), "Verification of the server's certificate; none accepts any, with a warning in every log.").or(r#""full""#),
];

/// `[caches.ALIAS.replicas]`.
pub(super) const REPLICAS: &[Key] = &[
    key("servers", Texts, "The addresses of the replicas.").secret(),
    key("required", Boolean, "A faulty replica makes the alias down, and not degraded.").or("false"),
];

/// `[caches.ALIAS.breaker]`.
pub(super) const BREAKER: &[Key] = &[
    key("after", Integer, "The number of checks in a row that fail to reach a server before the breaker opens, at most 1000.").or("3"),
    key("for", Duration, "How long the breaker stays open, from the timeout to 1h; a recovery is seen that much later.").or(r#""30s""#),
];

/// `[caches.ALIAS.checks]`.
pub(super) const CHECKS: &[Key] = &[
    key("visibility", Table, "Every view of the cache shows each write and each delete."),
    key("queue", Table, "Queues are drained."),
    key("clock", Table, "Clocks are in step."),
    key("efficiency", Table, "The cache is of use."),
];

/// `[caches.ALIAS.checks.visibility]`.
pub(super) const VISIBILITY: &[Key] = &[
    key("views", Texts, "The other ways into the cache, each the URL of one Redis or of memcached servers.").secret(),
    key("write_within", Duration, "How soon each view must show a write; later is degraded.").or(r#""0s""#),
    key("delete_within", Duration, "How soon each view must show a delete; later is down.").or(r#""0s""#),
    key("client", Words(CLIENTS), "The client whose rule spreads keys over memcached servers.").or(r#""pymemcache""#),
    key("canaries", Integer, "How many canaries are written to each server in a round, at most 64."),
];

/// `[caches.ALIAS.checks.queue]`.
pub(super) const QUEUE: &[Key] = &[
    key("preset", Words(QUEUE_PRESETS), "The keys of a well-known queue, and limits to begin with."),
    key("keys", Texts, "Lists, sorted sets, streams and sets, by name or as a numbered family such as b:p:{0..15}."),
    key("length", Integers, "Limits of the number of entries of each key."),
    key("age", Durations, "Limits of the age of its oldest entry."),
    key("unit", Words(UNITS), "The unit of a score, since 1970.").or(r#""s""#),
    key("skew", Table, "Limits of the length of a partition as a multiple of its siblings' median."),
    key("lock", Text, "The key of the lock that the consumers hold."),
    key("lock_within", Duration, "How long the lock may be held while nothing is drained.").or(r#""1m""#),
];

/// `[caches.ALIAS.checks.queue.skew]`.
pub(super) const QUEUE_SKEW: &[Key] = &[
    key("degraded", Number, "The partition is degraded from here on."),
    key("down", Number, "The partition is down from here on."),
    key("floor", Integer, "A partition with fewer entries is never too long.").or("100"),
];

/// `[caches.ALIAS.checks.clock]`.
pub(super) const CLOCK: &[Key] = &[
    key("preset", Words(CLOCK_PRESETS), "The keys of well-known clocks, and limits to begin with."),
    key("partitions", Text, "The sorted set with a member a partition, whose score is that partition's clock."),
    key("global", Text, "The key of the global clock."),
    key("expected", Integer, "How many partitions there are, at most 10000."),
    key("unit", Words(UNITS), "The unit of the clocks, since 1970.").or(r#""s""#),
    key("resolution", Duration, "The smallest step of a clock."),
    key("lag", Durations, "Limits of the lag of the slowest clock."),
    key("skew", Durations, "Limits of the distance between the clocks."),
    key("drought", Integers, "Limits of the number of expected partitions that are missing."),
    key("standstill", Durations, "Limits of how long a partition stands still while another moves."),
    key("backwards", Durations, "Limits of a step backwards between two rounds."),
];

/// `[caches.ALIAS.checks.efficiency]`.
pub(super) const EFFICIENCY: &[Key] = &[
    key("hit_ratio", Numbers, "Limits of hits among lookups, above 0 and up to 1; less is worse."),
    key("evictions_per_second", Numbers, "Limits of evictions a second."),
    key("memory_ratio", Numbers, "Limits of the memory in use as a part of the maximum."),
    key("connections_ratio", Numbers, "Limits of the connections as a part of the maximum."),
    key("ttl", Table, "Limits of the TTL of some entries."),
];

/// `[caches.ALIAS.checks.efficiency.ttl]`.
pub(super) const TTL: &[Key] = &[
    key("pattern", Text, "The entries, as a glob-style pattern of Redis."),
    key("max", Duration, "The longest TTL that an entry may have."),
    key("sample", Integer, "How many entries are sampled in a round, at most 10000.").or("100"),
];

/// Every table, by its path, in which `*` stands for a name.
pub(super) const TABLES: &[(&str, &[Key])] = &[
    ("", TOP),
    ("access", ACCESS),
    ("tls", LISTENER_TLS),
    ("limits", LIMITS),
    ("probes", PROBES),
    ("metrics", METRICS),
    ("groups.*", GROUP),
    ("fleet", FLEET),
    ("caches.*", CACHE),
    ("caches.*.tls", CACHE_TLS),
    ("caches.*.replicas", REPLICAS),
    ("caches.*.breaker", BREAKER),
    ("caches.*.checks", CHECKS),
    ("caches.*.checks.visibility", VISIBILITY),
    ("caches.*.checks.queue", QUEUE),
    ("caches.*.checks.queue.skew", QUEUE_SKEW),
    ("caches.*.checks.clock", CLOCK),
    ("caches.*.checks.efficiency", EFFICIENCY),
    ("caches.*.checks.efficiency.ttl", TTL),
];

/// The names of some keys.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// The keys of a table that answer the same question as `name`, itself the first.
pub(super) fn alternatives(keys: &'static [Key], name: &str) -> impl Iterator<Item = &'static str> {
    keys.iter().filter(move |key| key.name == name || key.same_as == Some(name)).map(|key| key.name)
}

/// Whether two keys are the same or answer the same question, so that one of them is enough.
pub(super) fn say_the_same(one: &str, other: &str) -> bool {
    let question = |name| {
        let mut keys = [ACCESS, CACHE].into_iter().flatten();
        keys.find(|key| key.name == name).and_then(|key| key.same_as).unwrap_or(name)
    };
    question(one) == question(other)
}

/// Whether a key of a cache takes a table, or something else in short.
pub(super) fn has_parts_too(name: &str) -> bool {
    CACHE.iter().any(|key| key.name == name && matches!(key.takes, BooleanOrTable | TextsOrTable))
}

/// Whether the value at this path is no secret. What is not known may be one.
pub(super) fn may_show(path: &[&str]) -> bool {
    let [tables @ .., name] = path else { return false };
    let found = |tables: &[&str], name: &str| {
        let is_there = |table: &str| {
            let parts: Vec<_> = table.split('.').filter(|part| !part.is_empty()).collect();
            parts.len() == tables.len() && parts.iter().zip(tables).all(|(part, table)| part == table || *part == "*")
        };
        let (_, keys) = TABLES.iter().find(|(table, _)| is_there(table))?;
        keys.iter().find(|key| key.name == name)
    };
    match (found(tables, name), tables) {
        (Some(key), _) => !key.secret && !matches!(key.takes, Table | Tables),
        // A limit.
        (None, [above @ .., table]) => {
            let limits = found(above, table).is_some_and(|key| matches!(key.takes, Durations | Integers | Numbers));
            limits && LIMITS_OF_CHECKS.iter().any(|key| key.name == *name)
        }
        (None, []) => false,
    }
}

/// The key that is called exactly so in some table.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let keys = TABLES.iter().flat_map(|(_, keys)| *keys).chain(LIMITS_OF_CHECKS);
    keys.map(|key| key.name).find(|known| *known == name)
}

#[cfg(test)]
mod tests;
