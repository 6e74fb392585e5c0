//! Every setting: one row for each key of each table. Readers, error messages, excerpts and the schema take the keys
//! from here; `tests` compares the rest of the code with it.

use BackendKind::{Forwarding, LocalMemory, Memcached, Redis};
use Takes::{
    AllOrInteger, Boolean, BooleanOrTable, BooleanTextOrTable, CacheTemplate, Duration, Durations, Integer, Integers, Number, Numbers, Table, Tables, Text, TextOrTable, Texts,
    TextsOrTable, TextsOrTables, Words,
};

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    takes: Takes,
    /// One line of documentation. Like the default it is for the schema, which a test writes, and no part of the program.
    #[cfg(test)]
    doc: &'static str,
    /// The default, as JSON.
    #[cfg(test)]
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
    BooleanTextOrTable,
    TextsOrTable,
    /// Texts, some of which may be a table instead.
    TextsOrTables,
    TextOrTable,
    /// The table `[caches.ALIAS]` for many aliases.
    CacheTemplate,
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

/// The topologies of a Redis, by `topology`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedisTopology {
    Standalone,
    Cluster,
    Sentinel,
    Shards,
}

impl RedisTopology {
    pub(super) const ALL: [Self; 4] = [Self::Standalone, Self::Cluster, Self::Sentinel, Self::Shards];
    const NAMES: &[&str] =
        &[Self::Standalone.name(), Self::Cluster.name(), Self::Sentinel.name(), Self::Shards.name()];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
            Self::Shards => "shards",
        }
    }
}

const ANY: &[BackendKind] = &BackendKind::ALL;
const SERVERS: &[BackendKind] = &[Redis, Memcached];
const LOCATED: &[BackendKind] = &[Redis, Memcached, Forwarding];
const REDIS: &[BackendKind] = &[Redis];

#[cfg_attr(not(test), expect(unused_variables, reason = "documentation is for the schema"))]
const fn key(name: &'static str, takes: Takes, doc: &'static str) -> Key {
    Key {
        name,
        takes,
        #[cfg(test)]
        doc,
        #[cfg(test)]
        default: None,
        backends: ANY,
        secret: false,
        same_as: None,
        was: None,
    }
}

impl Key {
    const fn of(self, backends: &'static [BackendKind]) -> Self { Self { backends, ..self } }
    #[cfg(test)]
    const fn or(self, default: &'static str) -> Self { Self { default: Some(default), ..self } }
    #[cfg(not(test))]
    const fn or(self, _default: &'static str) -> Self { self }
    const fn secret(self) -> Self { Self { secret: true, ..self } }
    const fn same_as(self, key: &'static str) -> Self { Self { same_as: Some(key), ..self } }
    const fn was(self, name: &'static str) -> Self { Self { was: Some(name), ..self } }
}

/// The words of `unit`, of a clock and of a score.
const UNITS: &[&str] = &["s", "ms"];
const SCORES: &[&str] = &["s", "ms", "none"];
/// The presets of `queue`.
pub(super) const QUEUE_PRESETS: &[&str] = &[
    "sentry-buffer", "celery", "rq", "sidekiq", "arq", "bullmq", "django-tasks", "dramatiq", "huey", "saq", "taskiq",
];
/// The presets of `clock`.
pub(super) const CLOCK_PRESETS: &[&str] = &["sentry-monitors"];
/// The words of `client`.
pub(super) const CLIENTS: &[&str] = &["pymemcache", "python-memcached", "libmemcached", "libmemcached-ketama", "libmemcached-ketama-weighted"];

/// The words of `client` of shards.
pub(super) const SHARD_CLIENTS: &[&str] =
    &["rb", "rb-ketama", "django-redis", "predis", "predis-ketama", "jedis"];

/// A table of limits.
pub(super) const LIMITS_OF_CHECKS: &[Key] = &[
    key("degraded", Text, "Degraded from here on."),
    key("down", Text, "Down from here on."),
];

/// The top of the file.
pub(super) const TOP: &[Key] = &[
    key("listen", Texts, "Addresses to listen on: host:port, or unix:/path for a socket.").or(r#"["[::]:8080"]"#),
    key("prefix", Text, "Prefix of every key that is written.").or(r#""djblets-""#),
    key("instance", Text, "Name of this sidecar in keys and values; by default the host name."),
    key("timeout", Duration, "Deadline of one check, from resolving the name to the last byte.").or(r#""750ms""#),
    key("slow", Duration, "Degraded if a round trip takes longer at a node, though it passes; less than timeout; 0s for never.").or(r#""0s""#),
    key("max_age", Duration, "Time for which a result may be shared, from the start of its check.").or(r#""100ms""#),
    key("reconnect_every", Duration, "Maximum age of a connection; after it, a check reconnects.").or(r#""5s""#),
    key("dns_recheck", Duration, "Interval at which the host name of an open connection is resolved again.").or(r#""30s""#),
    key("interval", Duration, "Interval at which every cache is checked without a request, 1s to 1h; 0s for never.").or(r#""0s""#),
    key("expires_within", Duration, "Time before the end of a certificate or token from which a cache is degraded, 1m to 365d; 0s for never. A cache may have its own.").or(r#""0s""#),
    key("drain", Duration, "Time for which requests are accepted after a signal to stop.").or(r#""0s""#),
    key("access", Table, "Access by the network of the caller."),
    key("tls", Table, "TLS for TCP connections."),
    key("limits", Table, "Limits for clients."),
    key("probes", Table, "Additional listeners for probes."),
    key("metrics", Table, "Listeners for metrics."),
    key("groups", Tables, "Named groups of checks, at /health/group/NAME; the groups liveness, readiness and startup define /livez, /readyz and /startupz; without startup, readiness defines /startupz too."),
    key("fleet", Table, "Sharing of results between sidecars of one role, through Redis; without this table, each sidecar runs its own checks.").was("debounce"),
    key("targets", TextOrTable, "File with targets in the JSON of Prometheus' file_sd, each of which is a cache; or a table of settings."),
    key("shard", Table, "The shard of this replica, if the aliases are spread over the replicas of a StatefulSet; without it, every alias is checked."),
    key("django_caches", Text, "File with Django's CACHES setting as JSON, or \"-\" for standard input."),
    key("django_unknown", Words(&["skip", "error"]), "A cache of Django's CACHES with an unknown backend is skipped with a warning, or is an error.").or(r#""skip""#),
    key("sentry_redis", Text, "File with Sentry's redis.clusters option as JSON, or \"-\" for standard input."),
    key("caches", Tables, "The caches, each under its alias."),
];

/// `[access]`.
pub(super) const ACCESS: &[Key] = &[
    key("allow", Texts, "Networks that get a response; by default all."),
    key("details", Texts, "Networks that see addresses, phases and error texts; by default loopback."),
    key("hosts", Texts, "Host names, besides localhost and addresses, under which callers on loopback see details, such as \"canary.internal\"."),
    key("trusted_proxies", Texts, "Networks of proxies whose forwarded headers are trusted, and \"unix\" for proxies on a unix socket; by default none."),
    key("token", Text, "Bearer token that gives access to details; at least 16 characters.").secret(),
    key("token_file", Text, "File that contains the token.").secret().same_as("token"),
];

/// `[tls]`.
pub(super) const LISTENER_TLS: &[Key] = &[
    key("cert_file", Text, "Certificate file, in PEM.").secret(),
    key("key_file", Text, "Its private key.").secret(),
    key("client_ca_file", Text, "CA file for client certificates; without it, clients need no certificate.").secret(),
];

/// `[limits]`.
pub(super) const LIMITS: &[Key] = &[
    key("connections", Integer, "Maximum number of open client connections, 16 to 65536.").or("1024"),
    key("unread_bytes", Integer, "Maximum size of unread responses on all connections together, in bytes.").or("8388608"),
    key("unread_bytes_per_connection", Integer, "Maximum size of unread responses on one connection, in bytes.").or("1048576"),
];

/// `[probes]`.
pub(super) const PROBES: &[Key] = &[
    key("listen", Texts, "Addresses that serve only probes, with a separate connection limit.").or("[]"),
];

/// `[metrics]`.
pub(super) const METRICS: &[Key] = &[
    key("listen", Texts, "Addresses that serve only /metrics, which then no other address serves; if empty, the main listeners serve it.").or("[]"),
];

/// `[groups.NAME]`.
pub(super) const GROUP: &[Key] = &[
    key("include", Texts, "Aliases, and single checks such as main.queue; without it, everything."),
    key("exclude", Texts, "Aliases and checks to leave out."),
];

/// `[fleet]`.
pub(super) const FLEET: &[Key] = &[
    key("via", Text, "Alias of the Redis server that stores the shared results."),
    key("for", Duration, "Maximum age of a reused result, 250ms to 1m; at least twice max_age.").or(r#""2s""#),
    key("role", Text, "Only sidecars of the same role share results.").or(r#""""#),
];

/// `[targets]`.
pub(super) const TARGETS: &[Key] = &[
    key("file", Text, "File with the list, in the JSON of Prometheus' file_sd."),
    key("http", Text, "URL of the list, in the JSON of Prometheus' http_sd.").secret().same_as("file"),
    key("every", Duration, "Interval at which http is fetched, 1s to 1day; by default 1m; the server may give another."),
    key("token_file", Text, "File that contains the bearer token for http.").secret(),
    key("ca_file", Text, "Certificates to trust for http instead of the system's.").secret(),
    key("alias", Text, "Alias of a target, a text with labels such as \"{team}-{name}\"; by default the label alias, or else the address."),
    key("cache", CacheTemplate, "Settings of the cache of each target, as in [caches.NAME], whose texts may hold labels."),
];

/// `[shard]`.
pub(super) const OWN_SHARD: &[Key] = &[
    key("index", Integer, "Number of this shard, from 0; the index of the pod."),
    key("of", Integer, "Number of shards, 1 to 1000; the replicas of the StatefulSet."),
];

/// `[caches.ALIAS]`.
pub(super) const CACHE: &[Key] = &[
    key("backend", Words(BackendKind::NAMES), "Only needed if the other settings do not imply it."),
    key("url", Text, "redis://user:password@host:6379/0, redis+cluster://one,two, redis+sentinel://one,two/mymaster, redis+unix:///path, memcached://one,two; with TLS rediss and memcacheds.").of(SERVERS).secret(),
    key("url_file", Text, "File that contains the URL.").of(SERVERS).secret().same_as("url"),
    key("servers", TextsOrTables, "memcached's servers: host:11211, unix:/path, dns+all:host:11211, discover:host:11211; or the shards of a Redis, each a URL, host:6379, or a table.").of(SERVERS).secret().same_as("url"),
    key("location", Texts, "The address of a Redis, memcached's servers, or the target of a forwarding alias.").of(LOCATED).secret().same_as("url"),
    key("topology", Words(RedisTopology::NAMES), "Topology of Redis, if the URL does not give it; shards for servers over which a client spreads keys.").of(REDIS),
    key("client", Words(SHARD_CLIENTS), "Client whose key distribution over shards is used.").of(REDIS),
    key("announce", Words(&["as-is", "seed-host"]), "seed-host if the cluster's ports are forwarded.").of(REDIS).or(r#""as-is""#),
    key("username", Text, "The user's name.").of(SERVERS).secret(),
    key("password", Text, "The user's password.").of(SERVERS).secret(),
    key("password_file", Text, "File that contains the password.").of(SERVERS).secret().same_as("password"),
    key("password_command", Texts, "Program that prints the password, and its arguments; run for a new connection if the last password is too old.").of(REDIS).secret().same_as("password"),
    key("password_ttl", Duration, "Age at which password_command runs again, 0s to 1day, if it prints no expiry.").of(REDIS).or(r#""5m""#),
    key("auth", Table, "In place of a user and a password: a table aws for ElastiCache or MemoryDB with IAM.").of(REDIS).secret().same_as("password"),
    key("sentinel_username", Text, "The user's name at the Sentinels.").of(REDIS).secret(),
    key("sentinel_password", Text, "The user's password at the Sentinels.").of(REDIS).secret(),
    key("sentinel_password_file", Text, "File that contains the password of the Sentinels.").of(REDIS).secret().same_as("sentinel_password"),
    key("database", Integer, "Redis database number.").of(REDIS).or("0"),
    key("protocol", Words(&["resp2", "resp3"]), "The version of Redis' protocol; resp3 needs Redis 6.").of(REDIS).or(r#""resp2""#),
    key("tls", BooleanOrTable, "TLS to the servers: true, or a table of settings.").of(SERVERS).secret(),
    key("replicas", TextsOrTable, "Addresses, or URLs of replicas with a login, a database or TLS of their own; discover for the replicas that the primary lists; or required for these, with a faulty one making the alias down.").of(REDIS).secret(),
    key("replica_within", Duration, "Time within which each replica must show the primary's canary.").of(REDIS).or(r#""1s""#),
    key("quorum", AllOrInteger, "Number of memcached servers, or of shards, that must be up: all, or a number.").of(SERVERS).or(r#""all""#),
    key("spray", Integer, "Canaries written to each server per check, at most 1024.").of(SERVERS).or("1"),
    key("required", Boolean, "If false, the application works without the cache: a fault makes it degraded, not down.").of(SERVERS).or("true"),
    key("slow", Duration, "The same as the general slow, for this cache; by default that.").of(SERVERS),
    key("use", Words(&["cache", "queue", "session", "lock"]), "What the application keeps here; settings of the server that contradict it are degraded. A preset of queues implies queue.").of(REDIS),
    key("consensus", Boolean, "If true, compares the maps of all nodes of a cluster, or the states at the Sentinels; a node that contradicts most of the others makes the alias degraded.").of(REDIS).or("false"),
    key("breaker", Table, "Circuit breaker: skips round trips to unreachable servers for a while; without this table, there is none.").of(SERVERS),
    key("expires_within", Duration, "Time before the end of its certificates and tokens from which the cache is degraded; without it, that of all caches.").of(SERVERS),
    key("identity", BooleanTextOrTable, "Checks that each server still has its marker, which is left there for 30 days: true, the number of the marker, or a table of settings.").of(SERVERS).or("false"),
    key("checks", Table, "Checks besides the round trip.").of(SERVERS),
];

/// `[caches.ALIAS.auth]`.
pub(super) const AUTH: &[Key] = &[
    key("aws", Table, "Tokens of AWS IAM, signed with the credentials in the environment.").secret(),
];

/// `[caches.ALIAS.auth.aws]`.
pub(super) const AWS: &[Key] = &[
    key("cluster", Text, "Name of the cluster or serverless cache, not its address."),
    key("user", Text, "The user's name, which is also its ID.").secret(),
    key("region", Text, "Region of the cache; by default AWS_REGION or AWS_DEFAULT_REGION."),
    key("service", Words(&["elasticache", "memorydb"]), "The service.").or(r#""elasticache""#),
    key("serverless", Boolean, "If true, a serverless cache of ElastiCache.").or("false"),
];

/// `[caches.ALIAS.tls]`.
pub(super) const CACHE_TLS: &[Key] = &[
    key("ca_file", Text, "Certificates to trust instead of the system's.").secret(),
    key("cert_file", Text, "Client certificate file, in PEM.").secret(),
    key("key_file", Text, "Its private key.").secret(),
    key("server_name", Text, "The name that the server's certificate must have.").secret(),
    key("verify", Words(&["full", "ca", "none"]), "Verification of the server's certificate; ca accepts any name, none any certificate, with a warning in every log.").or(r#""full""#),
];

/// `[caches.ALIAS.replicas]`.
pub(super) const REPLICAS: &[Key] = &[
    key("servers", TextsOrTables, "The replicas, each an address, a URL, or a table of its URL and TLS.").secret(),
    key("required", Boolean, "If true, a faulty replica makes the alias down, not degraded.").or("false"),
];

/// A shard, in `servers` of `[caches.ALIAS]`.
pub(super) const SHARD: &[Key] = &[
    key("url", Text, "The server's URL, or host:6379.").secret(),
    key("tls", BooleanOrTable, "TLS to this server, in place of the TLS settings of the cache: true, or a table of settings.").secret(),
    key("replicas", TextsOrTables, "The replicas of a shard, each an address, a URL, or a table of its URL and TLS; in `servers` of a cache alone.").secret(),
];

/// A replica, or a shard of a view, which has no replicas.
pub(super) const NAMED: &[Key] = SHARD.split_at(2).0;

/// `[caches.ALIAS.breaker]`.
pub(super) const BREAKER: &[Key] = &[
    key("after", Integer, "Consecutive checks that could not reach a server before it opens, at most 1000.").or("3"),
    key("for", Duration, "Time for which it stays open, from the timeout to 1h; a recovery is seen up to that much later.").or(r#""30s""#),
];

/// `[caches.ALIAS.identity]`.
pub(super) const IDENTITY: &[Key] = &[
    key("number", Text, "Number that the marker must have, 16 hexadecimal digits; without it, the first number that is found."),
    key("lost_for", Duration, "Time for which a lost marker is reported, at least 1s.").or(r#""10m""#),
];

/// `[caches.ALIAS.checks]`.
pub(super) const CHECKS: &[Key] = &[
    key("visibility", Table, "Checks that every view of the cache shows writes and deletes."),
    key("queue", Table, "Checks that queues are drained."),
    key("clock", Table, "Checks that the clocks of partitions advance together."),
    key("efficiency", Table, "Checks hit ratio, evictions, memory, connections and TTLs."),
];

/// `[caches.ALIAS.checks.visibility]`.
pub(super) const VISIBILITY: &[Key] = &[
    key("views", TextsOrTables, "Views, other ways into the same cache: each the URL of one Redis or of memcached servers, or a table of shards.").secret(),
    key("write_within", Duration, "Time within which each view must show a write; later is degraded.").or(r#""0s""#),
    key("delete_within", Duration, "Time within which each view must stop showing a deleted key; later is down.").or(r#""0s""#),
    key("client", Words(CLIENTS), "Client whose key distribution over memcached servers is used, unless a view's URL ends in ?client=NAME.").or(r#""pymemcache""#),
    key("canaries", Integer, "Canaries written to each server per check, at most 64."),
];

/// A view of shards, in `[caches.ALIAS.checks.visibility]`.
pub(super) const VIEW: &[Key] = &[
    key("servers", TextsOrTables, "The shards, in the order of their client, each a URL, host:6379, or a table of its URL and TLS.").secret(),
    key("client", Words(SHARD_CLIENTS), "Client whose key distribution over the shards is used; by default that of the alias."),
];

/// `[caches.ALIAS.checks.queue]`. The settings of the check as a whole are the last ones.
pub(super) const QUEUE: &[Key] = &[
    key("preset", Words(QUEUE_PRESETS), "The library whose queues these are: its keys, and limits to begin with."),
    key("names", Texts, "Names of the preset's queues; without it, those that the library has by default."),
    key("prefix", Text, "Text before every key of the preset, such as kombu's global_keyprefix; without it, the library's default."),
    key("separator", Text, "Text between queue and priority in a key of Celery: kombu's sep; without it, kombu's default."),
    key("priority_steps", Texts, "Priorities of Celery: kombu's priority_steps, by default 0, 3, 6 and 9."),
    key("keys", TextsOrTable, "Keys, each a queue, by name or as a numbered family such as b:p:{0..15}; or a table of the keys of one queue, by state."),
    key("unit", Words(SCORES), "Unit of a score that is a Unix time; none if a score is a priority.").or(r#""s""#),
    key("length", Integers, "Thresholds for the number of waiting entries."),
    key("age", Durations, "Thresholds for the time that the oldest entry has waited."),
    key("taken", Integers, "Thresholds for the number of entries that workers have taken."),
    key("scheduled", Integers, "Thresholds for the number of entries that are for later."),
    key("failed", Integers, "Thresholds for the number of failed entries."),
    key("lost", Integers, "Thresholds for the number of entries taken for longer than visibility_timeout."),
    key("visibility_timeout", Duration, "Time after which a taken entry counts as lost."),
    key("skew", Table, "Thresholds for a partition's length divided by the median of its siblings."),
    key("queues", Tables, "More queues, each under its name, with a unit and limits of its own."),
    key("lock", Text, "Key of the lock that the workers hold."),
    key("lock_within", Duration, "Maximum time that the lock may be held while nothing is drained.").or(r#""1m""#),
    key("witness", Texts, "Keys that must exist; a missing one is down, because the database or a prefix may be wrong."),
];

/// `[caches.ALIAS.checks.queue.queues.NAME]`: all but the settings of the check as a whole.
pub(super) const QUEUES: &[Key] = QUEUE.split_at(15).0;

/// `[caches.ALIAS.checks.queue.keys]`.
pub(super) const QUEUE_KEYS: &[Key] = &[
    key("waiting", Texts, "Keys whose entries wait for a worker."),
    key("taken", Texts, "Keys whose entries a worker has; a sorted set is scored by the time when they were taken."),
    key("scheduled", Texts, "Keys whose entries are for later; in a sorted set scored by their time, those that are due wait."),
    key("failed", Texts, "Keys whose entries failed."),
    key("unfinished", Texts, "Keys whose entries wait or are taken: those beyond the waiting ones are taken."),
];

/// `[caches.ALIAS.checks.queue.skew]`.
pub(super) const QUEUE_SKEW: &[Key] = &[
    key("degraded", Number, "The partition is degraded from here on."),
    key("down", Number, "The partition is down from here on."),
    key("floor", Integer, "Minimum number of entries for a partition to count as skewed.").or("100"),
];

/// `[caches.ALIAS.checks.clock]`.
pub(super) const CLOCK: &[Key] = &[
    key("preset", Words(CLOCK_PRESETS), "The keys of well-known clocks, and limits to begin with."),
    key("partitions", Text, "Sorted set with one member per partition; its score is the partition's clock."),
    key("global", Text, "Key of the global clock."),
    key("expected", Integer, "Number of partitions, at most 10000."),
    key("unit", Words(UNITS), "Unit of the clocks, which are Unix times.").or(r#""s""#),
    key("resolution", Duration, "Smallest step of a clock."),
    key("lag", Durations, "Thresholds for the lag of the slowest clock behind the present."),
    key("skew", Durations, "Thresholds for the difference between the fastest and the slowest clock."),
    key("drought", Integers, "Thresholds for the number of expected partitions that have no clock."),
    key("standstill", Durations, "Thresholds for the time that a clock stands still while another advances."),
    key("backwards", Durations, "Thresholds for how far a clock moves backward between two checks."),
];

/// `[caches.ALIAS.checks.efficiency]`.
pub(super) const EFFICIENCY: &[Key] = &[
    key("hit_ratio", Numbers, "Thresholds for the hit ratio, above 0 and at most 1; a lower value is worse."),
    key("evictions_per_second", Numbers, "Thresholds for evictions per second."),
    key("evicted_age", Durations, "Thresholds for the time since the last use of evicted entries (memcached); shorter is worse."),
    key("memory_ratio", Numbers, "Thresholds for used memory divided by the limit; of memcached, for its slabs."),
    key("connections_ratio", Numbers, "Thresholds for open connections divided by the limit."),
    key("ttl", Table, "Entries whose TTL is checked."),
];

/// `[caches.ALIAS.checks.efficiency.ttl]`.
pub(super) const TTL: &[Key] = &[
    key("pattern", Text, "Redis glob-style pattern of the keys."),
    key("max", Duration, "Maximum TTL."),
    key("sample", Integer, "Entries sampled per check, at most 10000.").or("100"),
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
    ("targets", TARGETS),
    ("shard", OWN_SHARD),
    ("caches.*", CACHE),
    ("caches.*.auth", AUTH),
    ("caches.*.auth.aws", AWS),
    ("caches.*.tls", CACHE_TLS),
    ("caches.*.servers", SHARD),
    ("caches.*.servers.tls", CACHE_TLS),
    ("caches.*.replicas", REPLICAS),
    ("caches.*.replicas.servers", NAMED),
    ("caches.*.replicas.servers.tls", CACHE_TLS),
    ("caches.*.breaker", BREAKER),
    ("caches.*.identity", IDENTITY),
    ("caches.*.checks", CHECKS),
    ("caches.*.checks.visibility", VISIBILITY),
    ("caches.*.checks.visibility.views", VIEW),
    ("caches.*.checks.visibility.views.servers", NAMED),
    ("caches.*.checks.visibility.views.servers.tls", CACHE_TLS),
    ("caches.*.checks.queue", QUEUE),
    ("caches.*.checks.queue.keys", QUEUE_KEYS),
    ("caches.*.checks.queue.skew", QUEUE_SKEW),
    ("caches.*.checks.queue.queues.*", QUEUES),
    ("caches.*.checks.queue.queues.*.keys", QUEUE_KEYS),
    ("caches.*.checks.queue.queues.*.skew", QUEUE_SKEW),
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

/// `true` if two keys are the same or answer the same question, so that one of them is enough.
pub(super) fn say_the_same(one: &str, other: &str) -> bool {
    let question = |name| {
        let mut keys = [ACCESS, CACHE, TARGETS].into_iter().flatten();
        keys.find(|key| key.name == name).and_then(|key| key.same_as).unwrap_or(name)
    };
    question(one) == question(other)
}

/// `true` if a key of a cache, a queue or the top takes a table, or something else in short.
pub(super) fn has_parts_too(name: &str) -> bool {
    TOP.iter().chain(CACHE).chain(QUEUE).any(|key| key.name == name && matches!(key.takes, BooleanOrTable | BooleanTextOrTable | TextOrTable | TextsOrTable))
}

/// `true` if the value at this path is no secret. A value at an unknown path may be one.
pub(super) fn may_show(path: &[&str]) -> bool {
    // A template of caches has their settings.
    if let ["targets", "cache", rest @ ..] = path {
        return may_show(&[&["caches", "*"], rest].concat());
    }
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
        (Some(key), _) => !key.secret && !matches!(key.takes, Table | Tables | CacheTemplate),
        // A limit.
        (None, [above @ .., table]) => {
            let limits = found(above, table).is_some_and(|key| matches!(key.takes, Durations | Integers | Numbers));
            limits && LIMITS_OF_CHECKS.iter().any(|key| key.name == *name)
        }
        (None, []) => false,
    }
}

/// The key that has exactly this name in some table.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let keys = TABLES.iter().flat_map(|(_, keys)| *keys).chain(LIMITS_OF_CHECKS);
    keys.map(|key| key.name).find(|known| *known == name)
}

#[cfg(test)]
mod tests;
