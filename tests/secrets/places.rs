//! The places that can hold a secret, as configurations with a mark in each, beside servers that refuse, fail and quote.

use std::fmt::{Display, Write as _};
use std::fs;

use tempfile::TempDir;

use super::marks::{Marks, in_url, quoted, spellings};
use super::serving::Environment;
use super::support::{Authority, BlackHole, Liar, Memcached, Port, Redis};

/// The variable that the file takes a password from.
const WORD: &str = "SECRET_WORD";

/// Servers, and a configuration with a mark wherever one can stand.
pub(crate) struct World {
    pub(crate) config: String,
    pub(crate) environment: Environment,
    /// The token of callers with access to details.
    pub(crate) token: String,
    pub(crate) aliases: Vec<String>,
    /// Servers that quote a secret when they are told to.
    liars: Vec<(Liar, String, Protocol)>,
    servers: Servers,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Redis,
    Memcached,
    Binary,
}

/// Servers that let in, refuse and quote.
struct Servers {
    redis: Redis,
    /// Its certificate is of an unknown authority.
    secure: Redis,
    /// It does not know `AUTH`, and quotes the arguments of an unknown command.
    quoting: Redis,
    memcached: Memcached,
    silent: BlackHole,
    closed: Port,
    folder: TempDir,
}

impl Servers {
    fn start() -> Self {
        Self {
            redis: Redis::start(&[]),
            secure: Redis::start_tls(&Authority::new().issue(&["localhost", "127.0.0.1"]), None),
            quoting: Redis::start(&["--rename-command", "AUTH", ""]),
            memcached: Memcached::start_with_auth_file(),
            silent: BlackHole::open(),
            closed: Port::reserve(),
            folder: tempfile::tempdir().unwrap(),
        }
    }
}

/// A configuration in the making.
struct Draft<'a> {
    marks: &'a Marks,
    servers: &'a Servers,
    config: String,
    aliases: Vec<String>,
}

impl Draft<'_> {
    /// A mark for this place, as it stands in a URL.
    fn in_url(&self, place: &str) -> String {
        in_url(&self.marks.secret(place))
    }

    /// A file with this content: its path as a string of TOML.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.servers.folder.path().join(name);
        fs::write(&path, content).unwrap();
        quoted(path.to_str().unwrap())
    }

    fn cache(&mut self, alias: &str, settings: impl Display) {
        self.aliases.push(alias.to_owned());
        writeln!(self.config, "[caches.{alias}]\n{settings}").unwrap();
    }

    /// A cache whose URL holds a mark, at `MARK`.
    fn url(&mut self, alias: &str, place: &str, url: &str) {
        let url = url.replace("MARK", &self.in_url(place));
        self.cache(alias, format_args!("url = {}", quoted(&url)));
    }

    fn urls(&mut self) {
        let Servers { redis, secure, quoting, memcached, silent, closed, .. } = self.servers;
        let [redis, secure, quoting, memcached, silent, closed] =
            [redis.addr(), secure.addr(), quoting.addr(), memcached.addr(), silent.addr(), closed.addr()];
        for (alias, place, url) in [
            ("refused", "a URL at a server that refuses it", format!("redis://app:MARK@{redis}")),
            ("quoted", "a URL at a server that quotes it", format!("redis://app:MARK@{quoting}/1")),
            ("tls-plain", "a URL with TLS at a plain server", format!("rediss://app:MARK@{redis}")),
            ("tls-unknown", "a URL of an unknown authority", format!("rediss://app:MARK@{secure}")),
            ("unresolvable", "a URL without an address", "redis://app:MARK@nowhere.invalid".to_owned()),
            ("unreachable", "a URL of a closed port", format!("redis://app:MARK@{closed}?protocol=3")),
            ("silent", "a URL of a silent server", format!("redis://app:MARK@{silent}")),
            ("socket", "a URL of a socket", "redis+unix://:MARK@/nowhere/redis.sock".to_owned()),
            ("query", "the query of a URL", format!("redis://{redis}?username=app&password=MARK")),
            ("cluster", "a URL of a cluster", format!("redis+cluster://app:MARK@{closed},{redis}")),
            ("memcached", "a URL of memcached", format!("memcached://app:MARK@{memcached}")),
            ("memcacheds", "a URL of memcached with TLS", format!("memcacheds://app:MARK@{memcached}")),
        ] {
            self.url(alias, place, &url);
        }
    }

    fn passwords(&mut self) {
        let (redis, closed) = (self.servers.redis.addr(), self.servers.closed.addr());
        let let_in = self.marks.secret("a password that is let in");
        self.servers.redis.set_user("canary", &format!("on >{let_in} ~* +@all"));
        let settings = format!("url = \"redis://canary@{redis}\"\npassword = {}", quoted(&let_in));
        self.cache("let-in", settings);
        let file = self.file("password", &self.marks.secret("password_file"));
        self.cache("password-file", format_args!("url = \"redis://app@{redis}\"\npassword_file = {file}"));
        let file = self.file("url", &format!("redis://:{}@{closed}", self.in_url("url_file")));
        self.cache("url-file", format_args!("url_file = {file}"));
        self.cache("reference", format_args!("url = \"redis://app:${{{WORD}}}@{closed}\""));
        let [primary, sentinel] = ["a password of Sentinels' primary", "sentinel_password"]
            .map(|place| quoted(&self.marks.secret(place)));
        let sentinel = format!("sentinel_username = \"app\"\nsentinel_password = {sentinel}");
        let url = format!("url = \"redis+sentinel://app@{redis}/mymaster\"");
        self.cache("sentinel", format_args!("{url}\npassword = {primary}\n{sentinel}"));
        let servers = format!("servers = [\"{}\"]", self.servers.memcached.addr());
        let password = quoted(&self.marks.secret("a password of memcached"));
        self.cache("named", format_args!("{servers}\nusername = \"app\"\npassword = {password}"));
    }

    fn programs(&mut self) {
        for (alias, script) in [
            ("line", "echo MARK"),
            ("failing", "echo MARK; echo 'not MARK' >&2; exit 3"),
            ("two-lines", "echo MARK; echo MARK"),
            ("no-credential", "echo '{\"token\": \"MARK\"}'"),
            ("credential", "echo '{\"kind\": \"ExecCredential\", \"status\": {\"token\": \"MARK\"}}'"),
        ] {
            let printed = self.marks.word(&format!("what the program of {alias} prints"));
            let script = self.file(alias, &script.replace("MARK", &printed));
            let argument = self.marks.word("an argument of a program");
            let url = format!("url = \"redis://app@{}\"", self.servers.quoting.addr());
            self.cache(
                alias,
                format_args!("{url}\npassword_command = [\"/bin/sh\", {script}, \"{argument}\"]"),
            );
        }
        let aws = "auth = { aws = { cluster = \"main\", user = \"canary\", region = \"eu-west-1\" } }";
        self.cache("aws", format_args!("url = \"redis://{}\"\n{aws}", self.servers.quoting.addr()));
    }

    fn several_servers(&mut self) {
        let (redis, closed) = (self.servers.redis.addr(), self.servers.closed.addr());
        let [shard, table, replica, view] =
            ["a shard", "a table of a shard", "a replica of a shard", "a view of shards"]
                .map(|place| self.in_url(place));
        let table =
            format!("url = \"redis://:{table}@{closed}\", replicas = [\"redis://:{replica}@{closed}\"]");
        let servers = format!("servers = [\"redis://:{shard}@{redis}/0\", {{ {table} }}]");
        let view = format!("servers = [\"redis://:{view}@{redis}\", \"redis://{closed}\"]");
        let view = format!("checks.visibility.views = {{ {view} }}");
        self.cache("shards", format_args!("topology = \"shards\"\nclient = \"rb\"\n{servers}\n{view}"));
        let [primary, replica, view] =
            ["an alias with replicas", "a replica", "a view"].map(|place| self.in_url(place));
        let url = format!("url = \"redis://app:{primary}@{redis}\"");
        let replicas = format!("replicas = [\"redis://reader:{replica}@{redis}\"]");
        let views = format!("checks.visibility.views = [\"redis://app:{view}@{redis}/1\"]");
        self.cache("replicas", format_args!("{url}\n{replicas}\n{views}"));
    }

    fn certificate(&mut self) {
        let identity = Authority::new().issue(&["localhost"]);
        self.marks.key("a private key", identity.key());
        let [cert, key] = [("cert.pem", identity.certificate()), ("key.pem", identity.key())]
            .map(|(name, pem)| self.file(name, pem));
        let url = format!("url = \"rediss://{}\"", self.servers.secure.addr());
        self.cache("certificate", format_args!("{url}\ntls = {{ cert_file = {cert}, key_file = {key} }}"));
    }

    fn liars(&mut self) -> Vec<(Liar, String, Protocol)> {
        use Protocol::{Binary, Memcached, Redis};
        let redis = |about| Liar::redis(about, &[]);
        let liars = [
            ("lie-auth", redis(&["AUTH"]), "redis", "", Redis),
            ("lie-hello", redis(&["HELLO"]), "redis", "?protocol=3", Redis),
            ("lie-select", redis(&["SELECT"]), "redis", "/2", Redis),
            ("lie-get", redis(&["GET"]), "redis", "", Redis),
            ("lie-cluster", redis(&["CLUSTER"]), "redis+cluster", "", Redis),
            ("lie-sentinel", redis(&["SENTINEL"]), "redis+sentinel", "/mymaster", Redis),
            ("lie-memcached", Liar::memcached(&["set auth"]), "memcached", "", Memcached),
            ("lie-store", Liar::memcached(&["ms", "set djblets"]), "memcached", "", Memcached),
            ("lie-sasl", Liar::binary(0x21), "memcached", "", Binary),
        ];
        let of_each = liars.into_iter().map(|(alias, liar, scheme, query, protocol)| {
            let secret = self.marks.secret(&format!("the answer of {alias}"));
            let url = format!("{scheme}://app:{}@{}{query}", in_url(&secret), liar.addr);
            self.cache(alias, format_args!("url = {}", quoted(&url)));
            (liar, secret, protocol)
        });
        of_each.collect()
    }
}

impl World {
    pub(crate) fn new(marks: &Marks) -> Self {
        let servers = Servers::start();
        let token = marks.word("access.token");
        let config = format!(
            "timeout = \"2s\"\nmax_age = \"30s\"\n[access]\ntoken = \"{token}\"\ndetails = []\n\
             [groups.web]\ninclude = [\"refused\"]\n[fleet]\nvia = \"quoted\"\nfor = \"1m\"\n"
        );
        let mut draft = Draft { marks, servers: &servers, config, aliases: Vec::new() };
        draft.urls();
        draft.passwords();
        draft.programs();
        draft.several_servers();
        draft.certificate();
        let liars = draft.liars();
        let Draft { config, aliases, .. } = draft;
        let environment = vec![
            (WORD.to_owned(), in_url(&marks.secret("${NAME} in a URL"))),
            ("AWS_ACCESS_KEY_ID".to_owned(), "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), marks.word("AWS_SECRET_ACCESS_KEY")),
            ("AWS_SESSION_TOKEN".to_owned(), marks.word("AWS_SESSION_TOKEN")),
        ];
        Self { config, environment, token, aliases, liars, servers }
    }

    /// The configuration in which no verdict is shared, as lies change from one request to the next.
    pub(crate) fn fresh(&self) -> String {
        let quick = self.config.replace("max_age = \"30s\"", "max_age = \"0s\"\nreconnect_every = \"0s\"");
        let (settings, _) = quick.split_once("[groups.web]").unwrap();
        let (_, liars) = quick.split_once("[caches.lie-auth]").unwrap();
        format!("{settings}\n[caches.lie-auth]{liars}")
    }

    /// The number of ways in which the liars can spell their secrets.
    pub(crate) fn spellings() -> usize {
        spellings("").len() + 1
    }

    /// Has every liar quote its secret in this way, and returns its name.
    pub(crate) fn lie(&self, number: usize) -> &'static str {
        let mut name = "a part";
        for (liar, secret, protocol) in &self.liars {
            let said = match spellings(secret).into_iter().nth(number) {
                Some((spelling, said)) => {
                    name = spelling;
                    said
                }
                None => secret.chars().take(8).collect(),
            };
            let said = match protocol {
                Protocol::Redis => {
                    format!("-ERR unknown command, with args beginning with: 'app' '{said}' \r\n")
                }
                Protocol::Memcached => format!("CLIENT_ERROR wrong credentials <{said}>\r\n"),
                Protocol::Binary => format!("wrong credentials <{said}>"),
            };
            liar.lie(Some(said.as_bytes()));
        }
        name
    }

    /// The path of a file of the configuration.
    pub(crate) fn file(&self, name: &str) -> String {
        self.servers.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Configurations with a mistake at a secret or beside it. `MARK` stands for the secret as a string without its quotes.
pub(crate) const MISTAKES: &[&str] = &[
    "[caches.main]\nurl = \"redis://app:MARK@host:99999/0\"",
    "[caches.main]\nurl = \"redis://app:MARK@host",
    "[caches.main]\nurl = \"http://app:MARK@host\"",
    "[caches.main]\nurl = \"redis://app:MARK@host/zero\"",
    "[caches.main]\nurl = \"redis://app:MARK@host?unknown=1\"",
    "[caches.main]\nurl = \"redis://host\" password = \"MARK\"",
    "[caches.main]\nurl = \"redis://host\"\npassword = \"MARK\" \"more\"",
    "[caches.main]\nurl = \"redis://host\"\npassword = [\"MARK\"]",
    "[caches.main]\nurl = \"redis://host\"\npassword = \"MARK\"\npassword = \"MARK\"",
    "[caches.main]\nurl = \"redis://host\"\npasswort = \"MARK\"",
    "[caches.main]\nurl = \"redis://host\"\ndatabase = \"one\" # was MARK",
    "[caches.main]\nurl = \"redis://host\"\n\"MARK\" = 1",
    "[caches.main]\nurl = \"\"\"\nredis://app:MARK\n@host\"\"\"",
    "[caches.main]\nservers = [{ url = \"redis://:MARK@a\", tls = { verify = \"maybe\" } }]\ntopology = \"shards\"",
    "[caches.main]\nurl = \"redis://host\"\nreplicas = [\"redis://app:MARK@one\", 5]",
    "[caches.main]\nurl = \"redis://host\"\nchecks.visibility.views = [\"redis://app:MARK@host:none\"]",
    "[caches.main]\nurl = \"redis+sentinel://s1\"\nsentinel_password = \"MARK\"",
    "[caches.main]\nurl = \"redis://host\"\nusername = \"app\"\npassword = \"MARK\"\npassword_file = \"nowhere\"",
    "[caches.main]\nurl = \"redis://host\"\npassword_command = [\"vault\", \"MARK\"]",
    "[access]\ntoken = \"MARK and more\"\n[caches.main]\nurl = \"redis://host\"",
    "[access]\ntoken = \"MARK\"\ndetails = [\"none\"]\n[caches.main]\nurl = \"redis://host\"",
    "timeout = 5\n[caches.main]\nurl = \"redis://host:MARK@\"",
    "[caches.main]\nbackend = \"redis\"\nlocation = \"redis://h?password=MARK&db=x\"",
];

/// Variables with a secret each, by which a cache or a setting is named.
pub(crate) const VARIABLES: &[&[(&str, &str)]] = &[
    &[
        ("CACHE_URL", "redis://app:MARK@127.0.0.1:1"),
        ("CACHE_URL_SESSIONS", "memcached://app:MARK@127.0.0.1:1"),
    ],
    &[("CACHE_URL", "redis+sentinel://app:MARK@127.0.0.1:1/main")],
    &[("REDIS_URL", "redis://app:MARK@127.0.0.1:1"), ("REDIS_TLS_URL", "rediss://:MARK@127.0.0.1:1")],
    &[("VALKEY_URL", "valkey://:MARK@127.0.0.1:1"), ("MEMCACHED_URL", "memcached://app:MARK@127.0.0.1:1")],
    &[("MEMCACHIER_SERVERS", "127.0.0.1:1"), ("MEMCACHIER_USERNAME", "app"), ("MEMCACHIER_PASSWORD", "MARK")],
    &[("SPRING_DATA_REDIS_HOST", "127.0.0.1"), ("SPRING_DATA_REDIS_PASSWORD", "MARK")],
    &[("SPRING_DATA_REDIS_URL", "redis://app:MARK@127.0.0.1:1")],
    &[
        ("SPRING_DATA_REDIS_SENTINEL_NODES", "127.0.0.1:1"),
        ("SPRING_DATA_REDIS_SENTINEL_MASTER", "main"),
        ("SPRING_DATA_REDIS_SENTINEL_PASSWORD", "MARK"),
        ("SPRING_DATA_REDIS_PASSWORD", "MARK"),
    ],
    &[
        ("CACHE_CANARY_CACHES__MAIN__URL", "redis://app@127.0.0.1:1"),
        ("CACHE_CANARY_CACHES__MAIN__PASSWORD", "MARK"),
        ("CACHE_CANARY_ACCESS__TOKEN", "MARK"),
    ],
    &[
        ("CACHE_CANARY_CACHES__MAIN__SERVERS", "redis://:MARK@127.0.0.1:1,redis://:MARK@127.0.0.1:2"),
        ("CACHE_CANARY_CACHES__MAIN__TOPOLOGY", "shards"),
    ],
];

/// Settings of Django and Sentry, in JSON, each with the variable that names its file.
pub(crate) const JSON: &[(&str, &str)] = &[
    (
        "CACHE_CANARY_DJANGO_CACHES",
        r#"{
            "default": {"BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": ["redis://app:MARK@127.0.0.1:1/0", "redis://app:MARK@127.0.0.1:2"],
                "OPTIONS": {"PASSWORD": "MARK", "CONNECTION_POOL_KWARGS": {"password": "MARK", "odd": "MARK"}}},
            "core": {"BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"username": "app", "password": "MARK"}},
            "memcached": {"BACKEND": "django_bmemcached.memcached.BMemcached",
                "LOCATION": "127.0.0.1:1", "OPTIONS": {"username": "app", "password": "MARK"}},
            "other": {"BACKEND": "unknown.Cache", "LOCATION": "redis://:MARK@127.0.0.1:1"}
        }"#,
    ),
    (
        "CACHE_CANARY_DJANGO_CACHES",
        r#"{"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://app:MARK@main/0",
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.SentinelClient", "SENTINELS": [["127.0.0.1", 1]],
                "SENTINEL_KWARGS": {"password": "MARK"}}}}"#,
    ),
    (
        "CACHE_CANARY_SENTRY_REDIS",
        r#"{"redis.clusters": {"default": {"hosts": {
            "0": {"host": "127.0.0.1", "port": 1, "password": "MARK"},
            "1": {"host": "127.0.0.1", "port": 2, "password": "MARK", "ssl": true}}}}}"#,
    ),
];
