//! Django's `CACHES` against real servers: a check connects as the application's client does. What the clients do was tried
//! with Django 5.2, django-redis 7.0, django-valkey 0.4 and redis-py 8.1.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use tempfile::TempDir;

use crate::support::{Authority, Names, Redis, Sidecar};

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
