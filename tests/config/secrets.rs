//! For any mistake at any place of a configuration, no part of a password is ever shown.

use std::collections::BTreeMap;
use std::fs;

use cache_canary::cli;
use cache_canary::config::{self, Source};
use tempfile::TempDir;

/// A password that has no four letters in common with anything else that is said.
const MARKER: &str = "zqxjkvwyqzjx";

/// Configurations with the marker where passwords stand.
const TOML: &[&str] = &[
    r#"
timeout = "1s"
[caches.main]
url = "redis://app:MARKER@host:6379/0"
tls = { ca_file = "ca.pem" }
"#,
    r#"
[caches.main]
backend = "redis"
password = "MARKER"
url = "rediss://app@host"
replicas = [
    "redis://app:MARKER@replica-1",
    "replica-2",
]
"#,
    r#"
[caches]
main = { url = "redis://:MARKER@host?db=1", database = 3 }
other.url = "unix://:MARKER@/run/redis.sock"
"#,
    r"
[caches.main]
location = 'redis://h?username=app&password=MARKER'
",
    r#"
caches.main.url = """
redis://app:MARKER
@host"""
timeout = 5
"#,
    r#"
[caches.main]
servers = ["mc-1:11211", "app:MARKER@mc-2:11211"]
[caches.other]
url = "memcached://app:MARKER@mc-1:11211,mc-2"
"#,
    r#"
[caches.main]
url = "redis://app:${SECRET}@host:6379/0"
password_file = "MARKER"
[caches.other]
url = "${URL}"
username = "${URL:-MARKER}"
"#,
    r#"
timeout = "${SECRET}"
max_age = "${SECRET}"
prefix = "${SECRET} "
instance = "${SECRET}/"
listen = ["${SECRET}"]
access.allow = ["${SECRET}"]
[caches.main]
backend = "${SECRET}"
database = "${SECRET}"
[caches.other]
backend = "forwarding"
location = "${SECRET}/"
"#,
    r#"
[caches.main]
url = "redis+sentinel://app:MARKER@s1,s2:26380/mymaster/0"
sentinel_username = "app"
sentinel_password = "MARKER"
replicas = { servers = ["redis://app:MARKER@replica"], required = true }
[caches.other]
url = "redis+cluster://app:MARKER@a:7000,b:7001/0?protocol=3"
announce = "seed-host"
"#,
    r#"
[caches.main]
url = "redis://app:MARKER@s1,s2/mymaster"
topology = "sentinel"
sentinel_password_file = "MARKER"
protocol = "${SECRET}"
replica_within = "${SECRET}"
spray = "${SECRET}"
[caches.other]
url = "memcacheds://app:MARKER@mc-1,dns+all:mc-2"
quorum = "${SECRET}"
[caches.other.tls]
server_name = "${SECRET} "
verify = "${SECRET}"
"#,
    r#"
[caches.main]
servers = ["discover:app:MARKER@mc-1", "dns+all:mc-2"]
username = "app"
password = "MARKER"
tls = { cert_file = "MARKER" }
topology = "${SECRET}"
[caches.other]
url = "redis://a"
topology = "${SECRET}"
announce = "${SECRET}"
"#,
    r#"
[caches.main]
url = "redis://host"
checks.queue = { keys = ["a:{0..3}"], length = { degraded = 10, down = 20 } }
[caches.main.checks.visibility]
views = ["redis://app:MARKER@replica/1", "memcached://mc-1,mc-2"]
client = "${SECRET}"
write_within = "${SECRET}"
[caches.main.checks.clock]
preset = "${SECRET}"
lag = { degraded = "${SECRET}", down = "1m" }
"#,
    r#"
[caches.main]
servers = ["mc-1"]
checks.visibility.views = [
    "memcached://app:MARKER@mc-1,mc-2",
    "redis+unix://:MARKER@/run/redis.sock",
]
checks.efficiency.hit_ratio = { degraded = "${SECRET}" }
[caches.other]
url = "redis://a"
[caches.other.checks.queue]
keys = ["a", "a"]
lock_within = "1m"
[caches.other.checks.efficiency]
ttl = { pattern = "*", max = "${SECRET}" }
"#,
    r#"
interval = "10s"
drain = "${SECRET}"
[access]
hosts = ["canary.internal", "${SECRET}"]
trusted_proxies = ["10.0.0.0/8", "${SECRET}"]
token = "MARKERMARKER"
[metrics]
listen = ["127.0.0.1:9090"]
[caches.main]
url = "redis://host"
"#,
    r#"
interval = "${SECRET}"
access = { token = "MARKERMARKER", details = [] }
metrics.listen = "${SECRET}"
tls.cert_file = "MARKER"
[groups.liveness]
include = ["main", "${SECRET}"]
exclude = ["${SECRET}"]
[caches.main]
url = "redis://host"
"#,
    r#"
access.token = "MARKERMARKER"
access.token_file = "MARKER"
[tls]
cert_file = "cert.pem"
key_file = "MARKER"
client_ca_file = 5
[groups]
liveness = "${SECRET}"
[caches.main]
url = "redis://host"
"#,
];

const JSON: &[&str] = &[
    r#"{
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ["redis://app:MARKER@host:6379/0", "redis://app:MARKER@replica"],
        "OPTIONS": {
            "PASSWORD": "MARKER",
            "CONNECTION_POOL_KWARGS": {"password": "MARKER"}
        }
    }
}"#,
    r#"{"default": {"BACKEND": "django_bmemcached.memcached.BMemcached", "LOCATION": "mc-1",
  "OPTIONS": {"username": "app", "password": "MARKER"}, "PASSWORD": "MARKER"},
  "other": {"BACKEND": "unknown.Cache", "LOCATION": "redis://:MARKER@host"}}"#,
    r#"{
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://app:MARKER@mymaster/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "SENTINELS": [["s1", 26379]],
            "SENTINEL_KWARGS": {"password": "MARKER"}
        }
    },
    "cluster": {
        "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
        "LOCATION": "valkey://app:MARKER@a,valkey://app:MARKER@b",
        "OPTIONS": {"BASE_CLIENT_KWARGS": {"password": "MARKER"}}
    }
}"#,
];

/// Loads a configuration and collects everything that is ever shown of it.
fn shown(source: &Source) -> String {
    match config::load(source) {
        Ok(loaded) => {
            let mut out = format!("{loaded:?}\n").into_bytes();
            cli::config::check(&loaded, &mut out).expect("written to memory");
            cli::config::show(&loaded, &mut out).expect("written to memory");
            String::from_utf8(out).expect("UTF-8")
        }
        Err(error) => format!("{error}\n{error:?}"),
    }
}

const TOO_MANY: &[&str] =
    &["\"", "'", "\n", "/", "#", "?", "@", ":", "%", ",", "=", "{", "}", "[", "]", "$", "\\", " "];

/// Every text that has one mistake more not far from a password: a character too little, one too many, or the
/// end too early. In a word they are made at its ends and a letter from them, and amid a password.
fn broken(text: &str) -> impl Iterator<Item = String> {
    let passwords: Vec<_> = text.match_indices(MARKER).map(|(start, _)| start).collect();
    let near =
        |position| passwords.iter().any(|start| (start.saturating_sub(20)..start + 40).contains(&position));
    let amid_a_word = |position: usize| {
        let around = position.checked_sub(2).and_then(|start| text.as_bytes().get(start..position + 2));
        around.is_some_and(|around| around.iter().all(u8::is_ascii_alphanumeric))
    };
    let amid_a_password = |position| passwords.iter().any(|start| start + MARKER.len() / 2 == position);
    let chosen = |&position: &usize| near(position) && (!amid_a_word(position) || amid_a_password(position));
    let positions = (0..=text.len()).filter(chosen).collect::<Vec<_>>();
    positions.into_iter().flat_map(move |position| {
        let (before, after) = text.split_at(position);
        let shorter = after.get(1..).map(|after| format!("{before}{after}"));
        let longer = TOO_MANY.iter().map(move |extra| format!("{before}{extra}{after}"));
        longer.chain(shorter).chain([before.to_owned()])
    })
}

/// A text with three mistakes anywhere.
fn badly_broken(text: &str, random: &mut fastrand::Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..3 {
        let position = random.usize(..text.len());
        if random.u8(..4) == 0 {
            text.remove(position);
        } else {
            text.insert_str(position, random.choice(TOO_MANY).expect("a character"));
        }
    }
    text
}

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    fn source(&self, name: &str, text: &str, marker: &str) -> Source {
        let path = self.folder.path().join(name);
        // Some file systems wait for the disk when a file is emptied and rewritten, and not for a new one.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("the file is written");
        let mut environment = BTreeMap::from([
            ("HOSTNAME".to_owned(), "sidecar-1".to_owned()),
            ("SECRET".to_owned(), marker.to_owned()),
            ("URL".to_owned(), format!("redis://app:{marker}@host")),
        ]);
        if name == "caches.json" {
            environment
                .insert("CACHE_CANARY_DJANGO_CACHES".to_owned(), path.to_str().expect("UTF-8").to_owned());
            return Source { environment, ..Source::default() };
        }
        Source { file: Some(path), environment, ..Source::default() }
    }
}

/// The first part of the marker that is shown, if any.
fn leak(shown: &str) -> Option<&'static str> {
    (0..=MARKER.len() - 4).map(|start| &MARKER[start..start + 4]).find(|part| shown.contains(part))
}

fn assert_hidden(source: &Source, text: &str) {
    // A password without its colon is a user's name, which is no secret.
    if text.contains(&format!("app{}", &MARKER[..3])) || text.contains(&format!("//{}", &MARKER[..3])) {
        return;
    }
    let shown = shown(source);
    if let Some(part) = leak(&shown) {
        panic!("{part} of the password is shown\n--- configuration\n{text}\n--- shown\n{shown}");
    }
}

#[test]
fn the_search_for_the_marker_finds_it() {
    assert_eq!(leak("unknown host kvwyq"), Some("kvwy"));
    assert_eq!(leak("nothing of it"), None);
}

#[test]
fn no_mistake_in_a_file_makes_it_show_a_password() {
    let desk = Desk::new();
    let toml = TOML.iter().map(|text| ("canary.toml", text));
    for (name, text) in toml.chain(JSON.iter().map(|text| ("caches.json", text))) {
        let text = text.replace("MARKER", MARKER);
        for text in broken(&text).chain([text.clone()]) {
            assert_hidden(&desk.source(name, &text, MARKER), &text);
        }
    }
}

#[test]
fn no_three_mistakes_make_a_file_show_a_password() {
    let desk = Desk::new();
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..300 {
        let toml = TOML.iter().map(|text| ("canary.toml", text));
        for (name, text) in toml.chain(JSON.iter().map(|text| ("caches.json", text))) {
            let text = badly_broken(&text.replace("MARKER", MARKER), &mut random);
            assert_hidden(&desk.source(name, &text, MARKER), &text);
        }
    }
}

#[test]
fn no_character_in_a_password_makes_a_part_of_it_show() {
    let desk = Desk::new();
    let (start, end) = MARKER.split_at(6);
    for byte in b' '..=b'~' {
        for marker in [format!("{start}{}{end}", byte as char), format!("{start}{}", byte as char)] {
            // TOML and JSON escape the same two.
            let escaped = marker.replace('\\', "\\\\").replace('"', "\\\"");
            for (name, texts) in [("canary.toml", TOML), ("caches.json", JSON)] {
                for text in texts {
                    let text = text.replace("MARKER", &escaped);
                    assert_hidden(&desk.source(name, &text, &marker), &text);
                }
            }
        }
    }
}

#[test]
fn no_mistake_in_the_environment_makes_it_show_a_password() {
    let names = [
        "CACHE_URL",
        "CACHE_URL_SESSIONS",
        "CACHE_URL_FILE",
        "REDIS_URL",
        "MEMCACHED_URL",
        "MEMCACHIER_SERVERS",
        "SPRING_DATA_REDIS_URL",
        "SPRING_DATA_REDIS_HOST",
        "SPRING_DATA_REDIS_SENTINEL_NODES",
        "SPRING_DATA_REDIS_CLUSTER_NODES",
        "CACHE_CANARY_CACHES__MAIN__URL",
        "CACHE_CANARY_CACHES__MAIN__LOCATION",
        "CACHE_CANARY_CACHES__MAIN__SERVERS",
        "CACHE_CANARY_CACHES__MAIN__REPLICAS",
        "CACHE_CANARY_CACHES__MAIN__REPLICAS__SERVERS",
        "CACHE_CANARY_CACHES__MAIN__TOPOLOGY",
        "CACHE_CANARY_CACHES__MAIN__SENTINEL_PASSWORD",
        "CACHE_CANARY_CACHES__MAIN__SENTINEL_PASSWORD_FILE",
        "CACHE_CANARY_CACHES__MAIN__TLS",
        "CACHE_CANARY_CACHES__MAIN__TLS__VERIFY",
        "CACHE_CANARY_CACHES__MAIN__QUORUM",
        "CACHE_CANARY_CACHES__MAIN__SPRAY",
        "CACHE_CANARY_CACHES__MAIN__BACKEND",
        "CACHE_CANARY_CACHES__MAIN",
        "CACHE_CANARY_LISTEN",
        "CACHE_CANARY_ACCESS",
        "CACHE_CANARY_ACCESS__ALLOW",
        "CACHE_CANARY_ACCESS__TOKEN",
        "CACHE_CANARY_ACCESS__TOKEN_FILE",
        "CACHE_CANARY_ACCESS__TRUSTED_PROXIES",
        "CACHE_CANARY_GROUPS__LIVENESS",
        "CACHE_CANARY_GROUPS__LIVENESS__INCLUDE",
        "CACHE_CANARY_INTERVAL",
        "CACHE_CANARY_METRICS__LISTEN",
        "CACHE_CANARY_TLS",
        "CACHE_CANARY_TLS__CERT_FILE",
        "CACHE_CANARY_TIMEOUT",
        "CACHE_CANARY_UNKNOWN",
    ];
    for name in names {
        for url in [
            "redis://app:MARKER@host:6379/0",
            "memcached://app:MARKER@host",
            "memcacheds://app:MARKER@one,two:11212",
            "redis+cluster://app:MARKER@a,b:7001/0",
            "redis+sentinel://app:MARKER@s1,s2:26380/mymaster/0",
            "unix://:MARKER@/run/redis.sock",
        ] {
            for value in broken(&url.replace("MARKER", MARKER)) {
                let source = Source {
                    environment: BTreeMap::from([
                        ("HOSTNAME".to_owned(), "sidecar-1".to_owned()),
                        (name.to_owned(), value.clone()),
                    ]),
                    ..Source::default()
                };
                // A part of a text that has lost its @ is a part of an address.
                if value.contains('@') {
                    assert_hidden(&source, &value);
                }
            }
        }
    }
}

#[test]
fn a_password_in_the_form_of_a_port_is_no_address() {
    for spilt in ["81/93", "81?93", "81#93", "81\\93", "81,93", "/93", "?93", "#93", "81@93", "81:93"] {
        for url in [
            "redis://app:MARKER@host",
            "rediss://:MARKER@host/0",
            "unix://app:MARKER@/run/redis.sock",
            "redis+cluster://app:MARKER@a,b",
            "redis+sentinel://app:MARKER@s1,s2/mymaster",
            "memcached://app:MARKER@mc-1",
        ] {
            let source = Source {
                environment: BTreeMap::from([
                    ("HOSTNAME".to_owned(), "sidecar".to_owned()),
                    ("CACHE_URL".to_owned(), url.replace("MARKER", spilt)),
                ]),
                ..Source::default()
            };
            let shown = shown(&source);
            assert!(!shown.contains("81") && !shown.contains("93"), "{url} with {spilt}: {shown}");
        }
    }
}
