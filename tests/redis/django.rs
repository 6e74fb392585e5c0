//! Django's `CACHES` against real servers: a check connects as the application's client does. Some caches are used by the
//! client itself too. The others were tried by hand, on the same servers: Django 4.2 to 6.1, django-redis 5.4 to
//! 7.0, redis-py 5.0 to 8.1, django-cachex 0.14, django-vcache 3.2, aiodrf-async-cache 0.2, django-redis-cache 3.0.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use crate::support::{Authority, Names, Redis, Sidecar, python};

/// A sidecar with this `CACHES`, and this TOML beside it.
fn sidecar(folder: &TempDir, caches: &str, beside: &str) -> Sidecar {
    let path = folder.path().join("caches.json");
    fs::write(&path, caches).unwrap();
    let settings = format!("django_caches = \"{}\"", path.display());
    Sidecar::start_with(&settings, beside)
}

fn entry(backend: &str, location: &str, options: &str) -> String {
    format!(
        "{{\"main\": {{\"BACKEND\": \"{backend}\", \"LOCATION\": \"{location}\", \"OPTIONS\": {{{options}}}}}}}"
    )
}

/// What becomes of each of these `CACHES` in an application: its alias, and a word.
fn used_by_the_application(folder: &TempDir, caches: &str) -> BTreeMap<String, String> {
    let path = folder.path().join("application.json");
    fs::write(&path, caches).unwrap();
    let output = python("redis/django_caches.py", &[path.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, word)| (name.into(), word.into()))
        .collect()
}

/// The databases of a server that have keys.
fn databases(redis: &Redis) -> Vec<String> {
    let keyspace = redis.command(&["INFO", "keyspace"]);
    let lines = keyspace.lines().filter_map(|line| Some(line.split_once(":keys")?.0.trim().to_owned()));
    lines.collect()
}

const DJANGO: &str = "django.core.cache.backends.redis.RedisCache";
const DJANGO_REDIS: &str = "django_redis.cache.RedisCache";

#[test]
fn a_certificate_is_verified_if_the_application_verifies_it() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, authority.certificate()).unwrap();
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let location = format!("rediss://localhost:{}/0", redis.port());
    let pool = |argument: &str| {
        entry(DJANGO_REDIS, &location, &format!("\"CONNECTION_POOL_KWARGS\": {{{argument}}}"))
    };
    for unverified in ["null", "\"none\"", "0", "\"CERT_NONE\""] {
        let caches = pool(&format!("\"ssl_cert_reqs\": {unverified}"));
        let sidecar = sidecar(&folder, &caches, "");
        sidecar.expect_up();
        assert!(sidecar.log().contains("does not verify the certificate"), "{unverified}");
    }
    let caches = entry(DJANGO, &format!("{location}?ssl_cert_reqs=none"), "");
    sidecar(&folder, &caches, "").expect_up();
    for verified in ["\"required\"", "\"optional\"", "2"] {
        let caches = pool(&format!("\"ssl_cert_reqs\": {verified}"));
        sidecar(&folder, &caches, "").expect_down("tls");
    }
    // The config file has the last word, key by key.
    let caches = pool("\"ssl_cert_reqs\": null");
    sidecar(&folder, &caches, "[caches.main]\ntls = { verify = \"full\" }").expect_down("tls");
    let own = format!("[caches.main]\ntls = {{ verify = \"full\", ca_file = \"{}\" }}", ca_file.display());
    sidecar(&folder, &caches, &own).expect_up();
    let caches = pool(&format!("\"ssl_ca_certs\": \"{}\"", ca_file.display()));
    sidecar(&folder, &caches, "").expect_up();
}

/// By the source of redis-py 8.1 and valkey-py 6.2, of which the first verifies names unless told otherwise.
#[test]
fn a_name_in_a_certificate_is_verified_if_the_application_verifies_it() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, authority.certificate()).unwrap();
    let redis = Redis::start_tls(&authority.issue(&["elsewhere.example"]), None);
    let (redis_py, valkey_py) = (DJANGO_REDIS, "django_valkey.cache.ValkeyCache");
    for (backend, option, is_verified) in [
        (redis_py, "", true),
        (redis_py, ", \"ssl_check_hostname\": true", true),
        (redis_py, ", \"ssl_check_hostname\": false", false),
        (valkey_py, "", false),
        (valkey_py, ", \"ssl_check_hostname\": false", false),
        (valkey_py, ", \"ssl_check_hostname\": true", true),
    ] {
        let location = format!("rediss://localhost:{}/0", redis.port());
        let pool = format!("\"CONNECTION_POOL_KWARGS\": {{\"ssl_ca_certs\": {ca_file:?}{option}}}");
        let caches = entry(backend, &location, &pool);
        let start = |beside: &str| sidecar(&folder, &caches, beside);
        if is_verified {
            assert!(
                start("").expect_down("tls").contains("only for elsewhere.example"),
                "{backend} {option}"
            );
        } else {
            let sidecar = start("");
            sidecar.expect_up();
            assert!(
                sidecar.log().contains("does not verify the name in the certificate"),
                "{}",
                sidecar.log()
            );
            start("[caches.main]\ntls = { verify = \"full\" }").expect_down("tls");
        }
        start("[caches.main]\ntls = { server_name = \"elsewhere.example\" }").expect_up();
    }
    // Its authority still counts.
    let caches = entry(valkey_py, &format!("rediss://localhost:{}/0", redis.port()), "");
    sidecar(&folder, &caches, "").expect_down("tls");
}

#[test]
fn a_class_of_connections_decides_whether_tls_is_spoken() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, authority.certificate()).unwrap();
    let (with, without) = (Redis::start_tls(&authority.issue(&["localhost"]), None), Redis::start(&[]));
    let caches = |scheme: &str, port: u16, class: &str| {
        let options = format!(
            "\"CONNECTION_POOL_KWARGS\": {{\"connection_class\": \"<class 'redis.connection.{class}'>\", \
             \"ssl_ca_certs\": \"{}\"}}",
            ca_file.display()
        );
        entry(DJANGO_REDIS, &format!("{scheme}://localhost:{port}/0"), &options)
    };
    sidecar(&folder, &caches("redis", with.port(), "SSLConnection"), "").expect_up();
    sidecar(&folder, &caches("rediss", without.port(), "Connection"), "").expect_up();
    sidecar(&folder, &caches("redis", with.port(), "Connection"), "").expect_down("unreachable");
}

#[test]
fn an_option_counts_where_the_library_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(&["--requirepass", "pw"]);
    let location = format!("redis://localhost:{}", redis.port());
    for (backend, options, up) in [
        (DJANGO_REDIS, "\"PASSWORD\": \"pw\"", true),
        (DJANGO_REDIS, "\"CONNECTION_POOL_KWARGS\": {\"password\": \"pw\"}", true),
        (DJANGO_REDIS, "\"password\": \"pw\"", false),
        (DJANGO, "\"password\": \"pw\"", true),
        (DJANGO, "\"PASSWORD\": \"pw\"", false),
        ("django_valkey.cache.ValkeyCache", "\"USERNAME\": \"nobody\", \"PASSWORD\": \"pw\"", true),
    ] {
        let sidecar = sidecar(&folder, &entry(backend, &location, options), "");
        if up {
            sidecar.expect_up();
        } else {
            sidecar.expect_down("auth");
            assert!(
                sidecar.log().contains("in OPTIONS") || sidecar.log().contains("OPTIONS has"),
                "{options}"
            );
        }
    }
    // The config file may give what the library does not read.
    let password = folder.path().join("password");
    fs::write(&password, "pw\n").unwrap();
    let own = format!("[caches.main]\npassword_file = \"{}\"", password.display());
    sidecar(&folder, &entry(DJANGO_REDIS, &location, "\"password\": \"pw\""), &own).expect_up();
}

#[test]
fn the_database_is_the_one_that_the_library_selects() {
    let folder = tempfile::tempdir().unwrap();
    for (backend, path, options, database) in [
        (DJANGO_REDIS, "", "\"db\": 3", "db0"),
        (DJANGO_REDIS, "", "\"CONNECTION_POOL_KWARGS\": {\"db\": 3}", "db3"),
        (DJANGO, "", "\"db\": \"3\"", "db3"),
        (DJANGO, "/1", "\"db\": 3", "db1"),
        (DJANGO, "/words", "\"db\": 3", "db3"),
        (DJANGO, "/3/", "", "db3"),
        (DJANGO, "/1?db=3", "", "db3"),
    ] {
        let redis = Redis::start(&[]);
        let location = format!("redis://localhost:{}{path}", redis.port());
        let sidecar = sidecar(&folder, &entry(backend, &location, options), "");
        sidecar.expect_up();
        assert!(redis.command(&["INFO", "keyspace"]).contains(database), "{path} {options}");
    }
}

#[test]
fn a_host_whose_name_no_certificate_can_have_takes_down_its_own_cache_alone() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, authority.certificate()).unwrap();
    let redis = Redis::start_tls(&authority.issue(&["localhost", "cache.example"]), None);
    let names = Names::new();
    names.give("cache-.test", &["127.0.0.1"]);
    let port = redis.port();
    let cache = |name: &str, host: &str, tls: &str| {
        format!(
            "[caches.{name}]\nurl = \"rediss://{host}:{port}\"\ntls = {{ ca_file = \"{}\"{tls} }}\n",
            ca_file.display()
        )
    };
    let caches = [
        cache("hyphen", "cache-.test", ""),
        cache("named", "cache-.test", ", server_name = \"cache.example\""),
        cache("unverified", "cache-.test", ", verify = \"none\""),
        cache("other", "localhost", ""),
    ];
    let sidecar = Sidecar::start_knowing(&names, "", caches.concat());
    let health = sidecar.raw("/health?format=text");
    for up in ["named", "unverified", "other"] {
        assert!(sidecar.raw(&format!("/health/{up}")).starts_with("HTTP/1.1 200"), "{up}: {health}");
    }
    let hyphen = sidecar.raw("/health/hyphen?format=text");
    assert!(hyphen.starts_with("HTTP/1.1 503") && hyphen.contains("set tls.server_name"), "{hyphen}");
}

#[test]
fn each_location_has_a_login_and_a_database_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (primary, replica) = (Redis::start(&["--requirepass", "one"]), Redis::start(&[]));
    replica.command(&["CONFIG", "SET", "masterauth", "one"]);
    replica.become_replica_of(&primary);
    replica.catch_up_with(&primary);
    replica.command(&["CONFIG", "SET", "requirepass", "two"]);
    let port = replica.port();
    let second = |second: &str| {
        let locations = format!("redis://:one@localhost:{}/3,redis://{second}", primary.port());
        sidecar(&folder, &entry(DJANGO, &locations, ""), "")
    };
    second(&format!(":two@localhost:{port}/3")).expect_up();
    // The application reads another database there, finds nothing, and so does the check.
    second(&format!(":two@localhost:{port}/2")).expect_degraded("behind");
    // The password of the first location is none of the second's.
    second(&format!("localhost:{port}/3")).expect_degraded("auth");
    second(&format!(":one@localhost:{port}/3")).expect_degraded("auth");
}

#[test]
fn a_second_location_at_the_first_server_is_checked_with_its_own_database_and_login() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(&["--requirepass", "pw"]);
    let at = |second: &str| {
        let first = format!("redis://:pw@{}/0", redis.addr());
        sidecar(&folder, &entry(DJANGO, &format!("{first},redis://{second}"), ""), "")
    };
    at(&format!(":pw@{}/0", redis.addr())).expect_up();
    // Django reads from the second one alone, and finds nothing.
    at(&format!(":pw@{}/1", redis.addr())).expect_degraded("behind");
    at(&format!(":two@{}/0", redis.addr())).expect_degraded("auth");
}

#[test]
fn the_password_before_the_host_wins_over_one_in_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(&["--requirepass", "pw"]);
    let with = |url: &str| sidecar(&folder, &entry(DJANGO, url, ""), "");
    with(&format!("redis://{}/0?password=pw", redis.addr())).expect_up();
    with(&format!("redis://:pw@{}/0?password=bad", redis.addr())).expect_up();
    with(&format!("redis://:bad@{}/0?password=pw", redis.addr())).expect_down("auth");
}

/// Caches at a server with the password `pw` and at one without: the backend, the location, the options, and whether the
/// application works; in the second half it fails in its client, of which the check only takes note.
const USED: &[(&str, &str, &str, &str)] = &[
    (DJANGO, "redis://:pw@LOCKED/1", "", "works"),
    (DJANGO, "redis://LOCKED/1", "\"password\": \"pw\"", "works"),
    (DJANGO, "redis://LOCKED", "\"password\": \"pw\", \"db\": 2", "works"),
    (DJANGO, "redis://LOCKED/1", "\"PASSWORD\": \"pw\"", "TypeError"),
    (DJANGO, "redis://default:pw@OPEN/3", "", "works"),
    (DJANGO, "redis://:pw@OPEN/3?protocol=3", "", "works"),
    (DJANGO, "redis://:pw@OPEN/3?protocol=2", "", "AuthenticationError"),
    (
        DJANGO,
        "redis://OPEN/3?socket_timeout=3",
        "\"pool_class\": \"redis.BlockingConnectionPool\", \"timeout\": 3",
        "works",
    ),
    (DJANGO_REDIS, "redis://LOCKED/1", "\"PASSWORD\": \"pw\"", "works"),
    (DJANGO_REDIS, "redis://:bad@LOCKED/2", "\"PASSWORD\": \"pw\"", "AuthenticationError"),
    (
        DJANGO_REDIS,
        "redis://LOCKED/3",
        "\"PASSWORD\": \"bad\", \"CONNECTION_POOL_KWARGS\": {\"password\": \"pw\"}",
        "works",
    ),
    (DJANGO_REDIS, "redis://LOCKED/4", "\"password\": \"pw\"", "AuthenticationError"),
    (DJANGO_REDIS, "redis://OPEN/words", "\"CONNECTION_POOL_KWARGS\": {\"db\": 5}", "works"),
    (DJANGO_REDIS, "redis://OPEN/6", "\"CLIENT_CLASS\": \"django_redis.client.HerdClient\"", "works"),
    (DJANGO_REDIS, "redis://OPEN/7", "\"SENTINELS\": []", "works"),
    (DJANGO_VALKEY, "valkey://LOCKED/8", "\"PASSWORD\": \"pw\"", "works"),
    (DJANGO_VALKEY, "valkey://:pw@OPEN/9", "", "AuthenticationError"),
];

/// Caches with which the application fails in its client.
const NOTED: &[(&str, &str, &str)] = &[
    (DJANGO, "redis://OPEN/0", "\"CLIENT_CLASS\": \"django_redis.client.DefaultClient\""),
    (DJANGO, "redis://OPEN/0", "\"MAX_ENTRIES\": 10"),
    (DJANGO, "redis://OPEN/0", "\"single_connection_client\": true"),
    (DJANGO, "redis://OPEN/0?foo=1", ""),
    (DJANGO, "redis://OPEN/0?timeout=3", ""),
    (DJANGO, "redis://OPEN/0, redis://OPEN/0", ""),
    (DJANGO_REDIS, "redis://OPEN/10", "\"CONNECTION_POOL_KWARGS\": {\"max_connection\": 100}"),
    (DJANGO_REDIS, "redis://OPEN/11", "\"CONNECTION_POOL_KWARGS\": {\"ssl\": false}"),
    (DJANGO_REDIS, "redis://OPEN/12?foo=1", ""),
    (DJANGO_VALKEY, "valkey://OPEN/13?foo=1", ""),
];

const DJANGO_VALKEY: &str = "django_valkey.cache.ValkeyCache";

#[test]
fn a_cache_is_up_where_the_application_reads_its_own_write() {
    let folder = tempfile::tempdir().unwrap();
    let (open, locked) = (Redis::start(&[]), Redis::start(&["--requirepass", "pw"]));
    let at = |location: &str| {
        location.replace("OPEN", &open.addr().to_string()).replace("LOCKED", &locked.addr().to_string())
    };
    let entries = USED.iter().enumerate().map(|(number, (backend, location, options, _))| {
        entry(backend, &at(location), options)
            .replace("{\"main\"", &format!("\"c{number}\""))
            .replace("}}}", "}}")
    });
    let caches = format!("{{{}}}", entries.collect::<Vec<_>>().join(", "));
    let used = used_by_the_application(&folder, &caches);
    let sidecar = sidecar(&folder, &caches, "");
    for (number, (backend, location, options, word)) in USED.iter().enumerate() {
        let name = format!("c{number}");
        assert_eq!(used[&name], *word, "{backend} {location} {options}");
        let code = sidecar.get(&format!("/health/{name}")).code;
        assert_eq!(code == 200, *word == "works", "{backend} {location} {options}");
    }
}

#[test]
fn a_check_writes_to_the_database_of_the_application() {
    for (backend, location, options) in [
        (DJANGO, "redis://OPEN", "\"db\": \"3\""),
        (DJANGO, "redis://OPEN/1/", "\"db\": 3"),
        (DJANGO, "redis://OPEN/1?db=3", ""),
        (DJANGO, "redis://OPEN/words", ""),
        (DJANGO_REDIS, "redis://OPEN", "\"db\": 3"),
        (DJANGO_REDIS, "redis://OPEN", "\"DB\": 3"),
        (DJANGO_REDIS, "redis://OPEN", "\"CONNECTION_POOL_KWARGS\": {\"db\": 3}"),
        (DJANGO_VALKEY, "valkey://OPEN/5", "\"CONNECTION_POOL_KWARGS\": {\"db\": 3}"),
    ] {
        let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::start(&[]));
        let caches = entry(backend, &location.replace("OPEN", &redis.addr().to_string()), options);
        assert_eq!(used_by_the_application(&folder, &caches)["main"], "works", "{location} {options}");
        let written = databases(&redis);
        redis.command(&["FLUSHALL"]);
        sidecar(&folder, &caches, "").expect_up();
        assert_eq!(databases(&redis), written, "{backend} {location} {options}");
    }
}

#[test]
fn a_note_names_what_fails_in_the_application_alone() {
    let (folder, open) = (tempfile::tempdir().unwrap(), Redis::start(&[]));
    let entries = NOTED.iter().enumerate().map(|(number, (backend, location, options))| {
        let location = location.replace("OPEN", &open.addr().to_string());
        entry(backend, &location, options)
            .replace("{\"main\"", &format!("\"c{number}\""))
            .replace("}}}", "}}")
    });
    let caches = format!("{{{}}}", entries.collect::<Vec<_>>().join(", "));
    let used = used_by_the_application(&folder, &caches);
    let sidecar = sidecar(&folder, &caches, "");
    for (number, case) in NOTED.iter().enumerate() {
        let name = format!("c{number}");
        assert!(!["works", "lost"].contains(&&*used[&name]), "{case:?}: {}", used[&name]);
        let note = format!("{name}: ");
        let is_noted = |line: &str| line.contains(&note) && line.contains("the application cannot");
        assert!(sidecar.log().lines().any(is_noted), "{case:?}\n{}", sidecar.log());
    }
}

#[test]
fn the_hint_of_a_refused_login_names_what_the_application_does() {
    let folder = tempfile::tempdir().unwrap();
    let (open, locked) = (Redis::start(&[]), Redis::start(&["--requirepass", "pw"]));
    let hint = |redis: &Redis, login: &str, options: &str| {
        let caches = entry(DJANGO, &format!("redis://{login}{}/0", redis.addr()), options);
        let sidecar = sidecar(&folder, &caches, "");
        sidecar.expect_down("auth");
        sidecar.raw("/health?format=text")
    };
    let provider = "\"credential_provider\": \"<app.iam.Provider object at 0x7f3b>\"";
    assert!(hint(&locked, "", provider).contains("credential_provider"));
    assert!(!hint(&locked, "", "").contains("credential_provider"));
    assert!(hint(&open, ":pw@", "").contains("RESP3"));
    assert!(!hint(&locked, ":bad@", "").contains("RESP3"));
}

#[test]
fn an_unknown_backend_is_skipped_and_the_others_are_checked() {
    let (folder, mut redis) = (tempfile::tempdir().unwrap(), Redis::start(&[]));
    let known = entry(DJANGO, &format!("redis://{}/0", redis.addr()), "");
    let caches = known.replacen(
        '{',
        "{\"own\": {\"BACKEND\": \"app.cache.Own\", \"LOCATION\": \"redis://nowhere\"}, ",
        1,
    );
    let sidecar = sidecar(&folder, &caches, "");
    sidecar.expect_up();
    assert_eq!(sidecar.health().body["skipped"]["own"], "has a backend that cache-canary does not know");
    assert!(sidecar.log().contains("own: not checked: unknown backend"), "{}", sidecar.log());
    assert!(sidecar.raw("/metrics").contains("cache_skipped{alias=\"own\",reason=\"unknown\"} 1"));
    redis.kill();
    sidecar.expect_down("refused");
    redis.restart();
    sidecar.expect_up();
}

#[test]
fn a_shard_client_of_django_redis_needs_each_location() {
    let folder = tempfile::tempdir().unwrap();
    let (first, mut second) =
        (Redis::start(&["--requirepass", "one"]), Redis::start(&["--requirepass", "two"]));
    let locations = format!("redis://:one@{}/1,redis://{}/2", first.addr(), second.addr());
    let options = "\"CLIENT_CLASS\": \"django_redis.client.ShardClient\", \"PASSWORD\": \"two\"";
    let caches = entry(DJANGO_REDIS, &locations, options);
    assert_eq!(used_by_the_application(&folder, &caches)["main"], "works");
    let sidecar = sidecar(&folder, &caches, "");
    sidecar.expect_up();
    assert_eq!(sidecar.health().nodes().len(), 2);
    assert!(databases(&first).contains(&"db1".to_owned()), "{:?}", databases(&first));
    assert!(databases(&second).contains(&"db2".to_owned()), "{:?}", databases(&second));
    second.kill();
    sidecar.expect_down("refused");
    second.restart();
    sidecar.expect_up();
}
