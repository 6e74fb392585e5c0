//! Variables of hosting platforms and of Spring alone, and the real caches that they name.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::sentinel::{NAME, NEVER, Watched};
use crate::support::{Authority, Cluster, Memcached, PASSWORD, Redis, USER};
use crate::{stderr, stdout};

/// The binary, with these variables and no others.
fn with(variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    command.env_clear().envs(variables.iter().cloned());
    command
}

/// The statuses of one round with these variables, or the causes where there are some, such as `redis UP`.
fn checked(variables: &[(&str, String)]) -> Vec<String> {
    let output = with(variables).args(["check", "--format", "json"]).output().unwrap();
    let report: Value =
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let checks = report["checks"].as_object().unwrap();
    let line = |(name, status): (&String, &Value)| {
        let nodes = report["details"][name]["nodes"].as_array().unwrap();
        let cause = nodes.iter().find_map(|node| node["cause"].as_str());
        format!("{} {}", name.strip_prefix("cache.").unwrap(), cause.or(status.as_str()).unwrap())
    };
    checks.iter().map(line).collect()
}

#[test]
fn the_variables_of_platforms_alone_name_the_caches_that_are_checked() {
    let (mut plain, mut memcached, mut sasl) =
        (Redis::start(&[]), Memcached::start(&[]), Memcached::start_with_sasl());
    plain.require_password("old-friend");
    let authority = Authority::new();
    let secure = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    fs::write(&trusted, authority.certificate()).unwrap();
    let mut variables = vec![
        ("REDIS_URL", format!("redis://:old-friend@{}/1", plain.addr())),
        ("VALKEY_URL", format!("redis://:old-friend@{}/1", plain.addr())),
        ("REDIS_TLS_URL", format!("rediss://localhost:{}", secure.port())),
        ("MEMCACHED_URL", memcached.addr().to_string()),
        ("MEMCACHIER_SERVERS", sasl.addr().to_string()),
        ("MEMCACHIER_USERNAME", USER.to_owned()),
        ("MEMCACHIER_PASSWORD", PASSWORD.to_owned()),
        ("SPRING_DATA_REDIS_HOST", "localhost".to_owned()),
        ("SPRING_DATA_REDIS_PORT", secure.port().to_string()),
        ("SPRING_DATA_REDIS_SSL_ENABLED", "true".to_owned()),
        ("SSL_CERT_FILE", trusted.display().to_string()),
    ];
    let up = ["memcached UP", "memcachier UP", "redis UP", "redis_tls UP", "spring UP"];
    assert_eq!(checked(&variables), up);

    plain.kill();
    memcached.kill();
    sasl.kill();
    let (_, system) = variables.pop().unwrap();
    let down = ["memcached refused", "memcachier refused", "redis refused", "redis_tls tls", "spring tls"];
    assert_eq!(checked(&variables), down);

    plain.restart();
    plain.require_password("old-friend");
    memcached.restart();
    sasl.restart();
    variables.push(("SSL_CERT_FILE", system));
    assert_eq!(checked(&variables), up);
}

#[test]
fn springs_sentinels_and_clusters_are_followed() {
    let (watched, mut cluster) = (Watched::start(NEVER, &[]), Cluster::start_without_replicas(&[]));
    let nodes = |addresses: &[String]| addresses.join(", ");
    let sentinels: Vec<_> = watched.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
    let seeds: Vec<_> = (0..2).map(|node| cluster.addr(node).to_string()).collect();
    let of_sentinels = [
        ("SPRING_DATA_REDIS_SENTINEL_MASTER", NAME.to_owned()),
        ("SPRING_DATA_REDIS_SENTINEL_NODES", nodes(&sentinels)),
    ];
    let of_cluster = [
        ("SPRING_DATA_REDIS_CLUSTER_NODES_0", seeds[0].clone()),
        ("SPRING_DATA_REDIS_CLUSTER_NODES_1", seeds[1].clone()),
    ];
    assert_eq!(checked(&of_sentinels), ["spring UP"]);
    assert_eq!(checked(&of_cluster), ["spring UP"]);

    watched.primary().stop();
    cluster.nodes[2].kill();
    assert_eq!(checked(&of_sentinels), ["spring timed_out"]);
    assert_eq!(checked(&of_cluster), ["spring refused"]);

    watched.primary().cont();
    cluster.nodes[2].restart();
    cluster.wait_until_whole();
    assert_eq!(checked(&of_sentinels), ["spring UP"]);
    assert_eq!(checked(&of_cluster), ["spring UP"]);
}

#[test]
fn a_server_that_begins_says_which_variables_name_its_caches_and_shows_no_secret() {
    let redis = Redis::start(&[]);
    let url = ("REDIS_URL", format!("redis://:old-friend@{}", redis.addr()));
    let mut command = with(std::slice::from_ref(&url));
    let mut process =
        command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut log: Vec<String> = Vec::new();
    for line in lines {
        log.push(line);
        if log.last().is_some_and(|line| line.ends_with(" ready")) {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let said = "nothing else names a cache, so these variables do: redis from REDIS_URL;";
    assert_eq!(log.iter().filter(|line| line.contains(said)).count(), 1, "{log:#?}");
    let mut printed = log.join("\n");
    for arguments in [["config", "check"], ["config", "show"]] {
        let output = with(std::slice::from_ref(&url)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        printed.push_str(&stdout(&output));
    }
    assert!(printed.contains(&format!("note: {said}")), "{printed}");
    assert!(!printed.contains("friend"), "{printed}");
}

#[test]
fn with_none_of_these_variables_no_cache_is_configured() {
    for variables in [vec![], vec![("REDIS_URL", String::new())], vec![("REDIS_PORT", "6379".to_owned())]] {
        let output = with(&variables).arg("check").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("no cache is configured"), "{}", stderr(&output));
    }
    let one_of_our_own = [("CACHE_URL", "nonsense".to_owned()), ("REDIS_URL", "redis://cache".to_owned())];
    let output = with(&one_of_our_own).args(["config", "check"]).output().unwrap();
    assert!(stderr(&output).contains("CACHE_URL"), "{}", stderr(&output));
}

#[test]
fn spring_s_words_for_tls_are_read_as_spring_reads_them_and_others_are_refused() {
    let plain = Redis::start(&[]);
    let at = |more: &[(&'static str, &str)]| {
        let place = [("HOST", "127.0.0.1".to_owned()), ("PORT", plain.port().to_string())];
        let given = place.into_iter().chain(more.iter().map(|&(key, value)| (key, value.to_owned())));
        given.map(|(key, value)| (format!("SPRING_DATA_REDIS_{key}"), value)).collect::<Vec<_>>()
    };
    let checked = |more: &[(&'static str, &str)]| {
        let given = at(more);
        let given: Vec<_> = given.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let output = with(&given).args(["check"]).output().unwrap();
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    for off in ["false", "OFF", "no", "0"] {
        let (code, said) = checked(&[("SSL_ENABLED", off), ("SSL_BUNDLE", "cache")]);
        assert_eq!(code, Some(0), "{off}: {said}");
    }
    for on in ["true", "On", "yes", "1"] {
        let (code, said) = checked(&[("SSL_ENABLED", on)]);
        assert!(code == Some(1) && said.contains("tls"), "{on}: {said}");
    }
    let (code, said) = checked(&[("SSL_BUNDLE", "cache")]);
    assert!(code == Some(1) && said.contains("tls"), "{said}");
    let (code, said) = checked(&[("SSL_ENABLED", "ture")]);
    assert!(code == Some(2) && said.contains("SPRING_DATA_REDIS_SSL_ENABLED"), "{said}");
}
