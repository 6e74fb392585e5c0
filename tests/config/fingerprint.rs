//! Two caches have the same fingerprint if everything about them is the same, and only then.

use std::fs;
use std::path::Path;

use cache_canary::config::{self, Loaded, Source};
use tempfile::TempDir;

/// A cache of each kind in full, and changes of it, each of which makes it another: what is replaced, and by what.
const CHANGES: &[(&str, &[(&str, &str)])] = &[
    (
        r#"
[caches.main]
url = "rediss+sentinel://app:first-password@s1,s2/mymaster/1?protocol=3"
sentinel_username = "watcher"
sentinel_password = "second-password"
replicas = { servers = ["replica-1", "replica-2"], required = true }
replica_within = "200ms"
required = true
slow = "90ms"
identity = { number = "9f86d081884c7d65", lost_for = "13m" }
spray = 2
expires_within = "14d"
use = "session"
tls = { ca_file = "ca.pem", cert_file = "cert.pem", key_file = "key.pem", server_name = "redis.example", verify = "full" }
[caches.main.checks.visibility]
views = ["rediss://view-user:view-password@view"]
write_within = "100ms"
delete_within = "50ms"
client = "pymemcache"
canaries = 3
[caches.main.checks.queue]
keys = ["b:p", "b:p:{0..15}"]
length = { degraded = 10, down = 20 }
age = { degraded = "1m" }
unit = "s"
skew = { degraded = 2.5, floor = 7 }
lock = "l"
lock_within = "2m"
[caches.main.checks.clock]
partitions = "clocks"
global = "global"
expected = 4
unit = "s"
resolution = "10s"
lag = { down = "5m" }
skew = { degraded = "6m" }
drought = { degraded = 2 }
standstill = { degraded = "7m" }
backwards = { degraded = "8m" }
[caches.main.checks.efficiency]
hit_ratio = { degraded = 0.5 }
evictions_per_second = { degraded = 1.5 }
memory_ratio = { degraded = 0.6 }
connections_ratio = { degraded = 0.7 }
ttl = { pattern = "p:*", max = "3m", sample = 9 }
"#,
        &[
            ("caches.main", "caches.other"),
            ("app:", "ape:"),
            ("first-password", "first-passwore"),
            ("@s1,s2", "@s2,s1"),
            ("@s1,s2", "@s1:26380,s2"),
            ("mymaster", "mymistress"),
            ("/1?", "/2?"),
            ("?protocol=3", ""),
            ("watcher", "watched"),
            ("second-password", "second-passwore"),
            ("required = true }", "required = false }"),
            ("required = true\n", "required = false\n"),
            ("slow = \"90ms\"", "slow = \"91ms\""),
            (", \"replica-2\"", ""),
            ("\"200ms\"", "\"201ms\""),
            ("number = \"9f86d081884c7d65\", ", ""),
            ("884c7d65", "884c7d66"),
            ("\"13m\"", "\"14m\""),
            ("spray = 2", "spray = 3"),
            ("\"14d\"", "\"15d\""),
            ("expires_within = \"14d\"\n", ""),
            ("use = \"session\"", "use = \"lock\""),
            ("ca_file = \"ca.pem\", ", ""),
            ("ca.pem", "other.pem"),
            ("cert_file = \"cert.pem\", key_file = \"key.pem\", ", ""),
            ("cert.pem", "other.pem"),
            ("key.pem", "other.pem"),
            ("redis.example", "redis.other"),
            ("\"full\"", "\"none\""),
            ("view-user", "view-uses"),
            ("view-password", "view-passwore"),
            ("@view", "@window"),
            ("[\"rediss://view", "[\"redis://view"),
            ("write_within = \"100ms\"", "write_within = \"101ms\""),
            ("delete_within = \"50ms\"", "delete_within = \"51ms\""),
            ("pymemcache", "libmemcached"),
            ("canaries = 3", "canaries = 4"),
            ("{0..15}", "{0..16}"),
            ("{0..15}", "{1..15}"),
            ("b:p:{", "b:q:{"),
            ("15}\"", "15}:\""),
            ("degraded = 10, ", ""),
            ("down = 20", "down = 21"),
            ("\"1m\"", "\"61s\""),
            ("unit = \"s\"\nskew", "unit = \"ms\"\nskew"),
            ("2.5", "2.6"),
            ("floor = 7", "floor = 8"),
            ("lock = \"l\"", "lock = \"m\""),
            ("\"2m\"", "\"3m\""),
            ("\"clocks\"", "\"cloaks\""),
            ("\"global\"", "\"globe\""),
            ("expected = 4", "expected = 5"),
            ("unit = \"s\"\nresolution", "unit = \"ms\"\nresolution"),
            ("\"10s\"", "\"11s\""),
            ("lag = { down", "lag = { degraded"),
            ("\"6m\"", "\"60m\""),
            ("drought = { degraded = 2", "drought = { degraded = 3"),
            ("\"7m\"", "\"70m\""),
            ("\"8m\"", "\"80m\""),
            ("0.5", "0.55"),
            ("1.5", "1.55"),
            ("0.6", "0.65"),
            ("0.7", "0.75"),
            ("p:*", "q:*"),
            ("max = \"3m\"", "max = \"4m\""),
            ("sample = 9", "sample = 10"),
        ],
    ),
    (
        r#"
[caches.main]
url = "redis+cluster://one,two"
announce = "as-is"
consensus = true
"#,
        &[
            ("as-is", "seed-host"),
            ("consensus = true", ""),
            ("one,two", "one"),
            ("redis+cluster://one,two", "rediss+cluster://one,two"),
        ],
    ),
    (
        r#"
[caches.main]
url = "redis://one"
password_command = ["/usr/bin/vault", "read"]
password_ttl = "1m"
"#,
        &[
            ("/usr/bin/vault", "/usr/bin/other"),
            (", \"read\"", ""),
            ("\"1m\"", "\"2m\""),
            ("password_command = [\"/usr/bin/vault\", \"read\"]\npassword_ttl = \"1m\"", ""),
        ],
    ),
    (
        r#"
[caches.main]
url = "rediss://one"
auth = { aws = { cluster = "one", user = "app", region = "eu-west-1", serverless = false } }
"#,
        &[
            ("cluster = \"one\"", "cluster = \"two\""),
            ("\"app\"", "\"ape\""),
            ("eu-west-1", "eu-west-2"),
            (", region = \"eu-west-1\"", ""),
            ("false", "true"),
            ("serverless = false", "service = \"memorydb\""),
            (
                "auth = { aws = { cluster = \"one\", user = \"app\", region = \"eu-west-1\", serverless = false } }",
                "",
            ),
        ],
    ),
    (
        r#"
[caches.main]
topology = "shards"
servers = ["redis://one", "rediss://app:first-password@two/1", "redis://three", { url = "rediss://four", tls = { ca_file = "ca.pem" }, replicas = ["five"] }]
quorum = 2
client = "rb"
"#,
        &[
            ("\"rb\"", "\"jedis\""),
            ("client = \"rb\"\n", ""),
            ("\"redis://one\", ", ""),
            ("redis://three", "redis://one/1"),
            ("redis://one", "rediss://one"),
            ("app:", "ape:"),
            ("first-password", "first-passwore"),
            ("two/1", "two/2"),
            ("quorum = 2", "quorum = 3"),
            ("ca.pem", "other.pem"),
            (", tls = { ca_file = \"ca.pem\" }", ""),
            (", replicas = [\"five\"]", ""),
        ],
    ),
    (
        r#"
[caches.main]
servers = ["one", "two", "dns+all:three", "discover:four"]
username = "app"
password = "first-password"
tls = true
quorum = 2
spray = 3
breaker = { after = 4, for = "50s" }
"#,
        &[
            ("\"one\", \"two\"", "\"two\", \"one\""),
            ("dns+all:three", "dns+all:other"),
            ("dns+all:three", "three"),
            ("discover:four", "four"),
            ("\"app\"", "\"ape\""),
            ("first-password", "first-passwore"),
            ("tls = true", "tls = false"),
            ("tls = true", "tls = { ca_file = \"ca.pem\" }"),
            ("quorum = 2", "quorum = 3"),
            ("quorum = 2", "quorum = \"all\""),
            ("spray = 3", "spray = 4"),
            ("after = 4", "after = 5"),
            ("50s", "51s"),
            ("breaker = { after = 4, for = \"50s\" }", ""),
        ],
    ),
    (
        r#"
[caches.real]
url = "redis://real"
[caches.main]
backend = "forwarding"
location = "real"
[caches.again]
backend = "forwarding"
location = "real"
"#,
        &[
            (
                "[caches.main]\nbackend = \"forwarding\"\nlocation = \"real\"",
                "[caches.main]\nbackend = \"forwarding\"\nlocation = \"again\"",
            ),
            (
                "[caches.main]\nbackend = \"forwarding\"\nlocation = \"real\"",
                "[caches.main]\nbackend = \"local-memory\"",
            ),
        ],
    ),
];

const CERTIFICATES: [&str; 4] = ["ca.pem", "cert.pem", "key.pem", "other.pem"];

/// A folder with certificates, each with something else in it.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in CERTIFICATES {
        fs::write(folder.path().join(name), name).expect("a file is written");
    }
    folder
}

fn load(folder: &Path, text: &str) -> Loaded {
    let file = folder.join("canary.toml");
    fs::write(&file, text).expect("the file is written");
    let source = Source { file: Some(file), ..Source::default() };
    config::load(&source).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn fingerprint(folder: &Path, text: &str) -> u64 {
    let caches = load(folder, text).config.caches;
    let cache = caches.iter().find(|cache| ["main", "other"].contains(&cache.alias.as_str()));
    cache.expect("the cache that is changed").fingerprint()
}

#[test]
fn any_changed_setting_of_a_cache_changes_its_fingerprint() {
    let folder = folder();
    for (text, changes) in CHANGES {
        let before = fingerprint(folder.path(), text);
        assert_eq!(before, fingerprint(folder.path(), text), "it was read twice:\n{text}");
        let commented = text.replace(" = ", "  =  ").replace("\n[", "\n# A comment.\n[");
        assert_eq!(before, fingerprint(folder.path(), &commented), "it means the same:\n{commented}");
        for (from, to) in *changes {
            assert!(text.contains(from), "there is no {from} to change");
            let changed = text.replace(from, to);
            assert_ne!(before, fingerprint(folder.path(), &changed), "{from} became {to}");
        }
    }
}

#[test]
fn a_certificate_that_is_renewed_in_its_place_changes_the_fingerprint_and_one_that_is_only_touched_does_not()
{
    let folder = folder();
    let (text, _) = CHANGES[0];
    let fingerprint = || fingerprint(folder.path(), text);
    for name in &CERTIFICATES[..3] {
        let path = folder.path().join(name);
        let before = fingerprint();
        fs::write(&path, "renewed").expect("it is renewed");
        let renewed = fingerprint();
        assert_ne!(before, renewed, "{name} was renewed");
        fs::write(&path, "renewed").expect("it is written again");
        assert_eq!(renewed, fingerprint(), "{name} was written again");
        fs::remove_file(&path).expect("it is removed");
        assert_ne!(renewed, fingerprint(), "{name} was removed");
        fs::write(&path, name).expect("it is back");
        assert_eq!(before, fingerprint(), "{name} is as it was");
    }
}

#[test]
fn each_cache_has_a_fingerprint_of_its_own_and_keeps_it_when_another_changes() {
    let folder = folder();
    let fingerprints = |text: &str| -> Vec<_> {
        load(folder.path(), text).config.caches.iter().map(config::CacheConfig::fingerprint).collect()
    };
    let before = fingerprints("[caches.a]\nurl = \"redis://h\"\n[caches.b]\nurl = \"redis://h\"");
    assert_ne!(before[0], before[1]);
    let after = fingerprints("[caches.b]\nurl = \"redis://other\"\n[caches.a]\nurl = \"redis://h\"");
    assert_eq!(before[0], after[1]);
    assert_ne!(before[1], after[0]);
}

#[test]
fn every_file_that_was_read_is_named_once() {
    let folder = folder();
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file is written");
    write("token", "0123456789abcdef\n");
    write("password", "a password\n");
    write("url", "redis://host\n");
    write(
        "caches.json",
        r#"{"site": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "rediss://host",
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"ssl_ca_certs": "/of-the-site.pem"}}}}"#,
    );
    let loaded = load(
        folder.path(),
        r#"
django_caches = "caches.json"
[access]
token_file = "token"
[tls]
cert_file = "other.pem"
key_file = "other.pem"
client_ca_file = "clients.pem"
[caches.main]
url = "rediss://host"
password_file = "password"
tls = { ca_file = "ca.pem", cert_file = "cert.pem", key_file = "key.pem" }
[caches.again]
url_file = "url"
[caches.sessions]
url = "memcacheds://app@host"
password_file = "password"
tls = { ca_file = "ca.pem" }
"#,
    );
    let names = loaded.files().iter().map(|file| file.file_name().expect("a name").to_str().expect("UTF-8"));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "of-the-site.pem",
            "ca.pem",
            "caches.json",
            "canary.toml",
            "cert.pem",
            "clients.pem",
            "key.pem",
            "other.pem",
            "password",
            "token",
            "url",
        ]
    );
    assert!(loaded.files().iter().skip(1).all(|file| file.starts_with(folder.path())));
}
