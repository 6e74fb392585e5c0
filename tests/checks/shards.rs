//! The kinds of check besides the round trip on a sharded Redis, beside the clients that use it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use crate::support::checks::{find, measure};
use crate::support::{Redis, Sidecar, python, run};

const PASSWORD: &str = "first password";

/// Four servers with this password, if there is one, and their URLs.
fn four(password: Option<&str>) -> ([Redis; 4], Vec<String>) {
    let arguments = password.map_or_else(Vec::new, |password| vec!["--requirepass", password]);
    let servers = [(); 4].map(|()| Redis::start(&arguments));
    let user = password.map_or_else(String::new, |password| format!(":{}@", password.replace(' ', "%20")));
    let urls = servers.iter().map(|server| format!("redis://{user}{}/0", server.addr())).collect();
    (servers, urls)
}

fn shards(urls: &[String], client: &str, checks: &str) -> String {
    let mut config = format!("[caches.main]\ntopology = \"shards\"\nservers = {urls:?}\n");
    writeln!(config, "client = \"{client}\"\n{checks}").unwrap();
    config
}

/// An alias of shards, and a view of them by this client at these URLs.
fn seen_by(urls: &[String], client: &str, view: &str, other: &[String]) -> Sidecar {
    let view = format!("{{ servers = {other:?}, client = \"{view}\" }}");
    Sidecar::start(shards(urls, client, &format!("[caches.main.checks.visibility]\nviews = [{view}]")))
}

/// The number of keys that the real client finds at `other`, of 200 that it wrote at `urls`.
fn found(client: &str, urls: &[String], other: &[String]) -> u32 {
    let arguments = [client.to_owned(), format!("{urls:?}"), format!("{other:?}")];
    let output = python("checks/shards.py", &arguments.each_ref().map(String::as_str)).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn clients_that_agree_on_the_shards_see_each_others_keys() {
    let (_servers, urls) = four(Some(PASSWORD));
    for client in ["rb", "django-redis"] {
        // Rb takes the password as it is.
        let plain = urls.iter().map(|url| url.replace("%20", " ")).collect::<Vec<_>>();
        let own = if client == "rb" { &plain } else { &urls };
        assert_eq!(found(client, own, own), 200, "{client}");
        let sidecar = seen_by(&urls, client, client, &swapped_if(client == "django-redis", &urls));
        for _ in 0..2 {
            assert_eq!(sidecar.health().code, 200);
            assert!(find(&sidecar, CHECK).is_empty());
        }
    }
}

const CHECK: &str = "cache.main.visibility";

/// The URLs in another order.
fn swapped_if(swap: bool, urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    if swap {
        urls.swap(0, 3);
    }
    urls
}

#[test]
fn clients_that_disagree_on_the_shards_miss_each_others_keys() {
    let (_servers, urls) = four(Some(PASSWORD));
    let escaped: Vec<_> = urls.iter().map(|url| url.replace("first", "%66irst")).collect();
    let plain = |urls: &[String]| urls.iter().map(|url| url.replace("%20", " ")).collect::<Vec<_>>();
    let swapped = swapped_if(true, &urls);
    // The same password is written in another way, and the hosts are numbered in another way.
    let missed = [
        ("django-redis", &escaped, found("django-redis", &urls, &escaped)),
        ("rb", &swapped, found("rb", &plain(&urls), &plain(&swapped))),
    ];
    for (client, other, found) in missed {
        assert!((1..200).contains(&found), "{client} {found}");
        let sidecar = seen_by(&urls, client, client, other);
        let findings = find(&sidecar, CHECK);
        assert_eq!(
            findings[0].short,
            format!("DEGRADED invisible_write view shards 1 ({client})"),
            "{findings:#?}"
        );
        seen_by(&urls, client, client, &urls).expect_up();
    }
    let sidecar = seen_by(&urls, "rb", "django-redis", &urls);
    assert_eq!(find(&sidecar, CHECK)[0].short, "DEGRADED invisible_write view shards 1 (django-redis)");
}

#[test]
fn a_view_of_shards_that_is_down_is_named() {
    let (servers, urls) = four(None);
    let (_others, other) = four(None);
    let sidecar = seen_by(&urls, "rb", "rb", &urls);
    sidecar.expect_up();
    servers[1].stop();
    assert_eq!(sidecar.health().code, 503);
    servers[1].cont();
    sidecar.expect_up();
    assert_eq!(
        find(&seen_by(&urls, "rb", "rb", &other), CHECK)[0].short,
        "DEGRADED invisible_write view shards 1 (rb)"
    );
}

#[test]
fn config_check_says_that_rings_of_the_same_shards_disagree() {
    let ring = |alias: &str, servers: &str, client: &str| {
        format!("[caches.{alias}]\ntopology = \"shards\"\nservers = {servers}\nclient = \"{client}\"\n")
    };
    let notes = |one: [&str; 2], other: [&str; 2]| {
        let config = ring("one", one[0], one[1]) + &ring("other", other[0], other[1]);
        let output = String::from_utf8(run(&["config", "check"], &config).stdout).unwrap();
        let notes = output.lines().filter(|line| line.starts_with("note: other: "));
        notes.filter(|line| line.contains(" keys lie on other shards")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (urls, swapped) = (r#"["redis://a/0", "redis://b/0"]"#, r#"["redis://b/0", "redis://a/0"]"#);
    let user = r#"["redis://a/0", "redis://app:first-password@b/0"]"#;
    let others = r#"["redis://a/0", "redis://c/0"]"#;
    for (one, other, why) in [
        ([urls, "rb"], [swapped, "rb"], Some("in another order; list the servers as the client does")),
        ([urls, "rb"], [user, "rb"], None),
        ([urls, "jedis"], [urls, "jedis"], None),
        ([urls, "django-redis"], [swapped, "django-redis"], None),
        ([urls, "django-redis"], [user, "django-redis"], Some("under other texts; write each location")),
        ([urls, "predis"], [urls, "rb"], Some("by other rules; set the client of both")),
        ([urls, "predis"], [others, "rb"], None),
    ] {
        let notes = notes(one, other);
        match why {
            None => assert!(notes.is_empty(), "{one:?} {other:?} {notes:?}"),
            Some(why) => {
                assert!(notes.len() == 1 && notes[0].contains(why), "{one:?} {other:?} {notes:?}");
                assert!(!notes[0].contains("first-password"));
            }
        }
    }
}

/// The number of the shard on which rb itself looks for a key.
fn chosen_by_rb(urls: &[String], key: &str) -> usize {
    let mut command = python("redis/shard_clients.py", &[]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let asked = format!("{{\"client\": \"rb\", \"urls\": {urls:?}, \"keys\": [\"{key}\"]}}");
    process.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let places: Vec<usize> = serde_json::from_slice(&process.wait_with_output().unwrap().stdout).unwrap();
    places[0]
}

const QUEUE: &str = "cache.main.queue";

/// Three hosts of rb, whose numbers a signed hash shares otherwise than an unsigned one.
fn buffer(limits: &str) -> ([Redis; 3], Vec<String>, Sidecar) {
    let servers = [(); 3].map(|()| Redis::start(&[]));
    let urls: Vec<_> = servers.iter().map(|server| format!("redis://{}/0", server.addr())).collect();
    let queue = format!("[caches.main.checks.queue]\npreset = \"sentry-buffer\"\n{limits}");
    let sidecar = Sidecar::start(shards(&urls, "rb", &queue));
    (servers, urls, sidecar)
}

fn pending(server: &Redis, key: &str, entries: u64, score: u64) {
    for entry in 0..entries {
        server.command(&["ZADD", key, &(score + entry).to_string(), &format!("entry:{entry}")]);
    }
}

#[test]
fn the_partitions_of_a_buffer_add_up_over_the_shards_and_the_largest_is_named() {
    let (servers, _, sidecar) = buffer("length = { degraded = 10 }\nage = { down = \"1h\" }");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for _ in 0..2 {
        sidecar.expect_up();
        pending(&servers[0], "b:p", 2, now);
        pending(&servers[1], "b:p", 5, now);
        pending(&servers[2], "b:p", 2, now);
        sidecar.expect_up();
        let length = |health: &_| measure(health, QUEUE, "cache_queue_length", Some(("key", "b:p")));
        assert_eq!(length(&sidecar.health()), Some(9.0));
        pending(&servers[2], "b:p", 3, now);
        let found = find(&sidecar, QUEUE);
        assert_eq!(found[0].short, "DEGRADED too_long key b:p", "{found:#?}");
        let largest = format!("10 entries, 5 of them on {} (degraded at 10 or more)", servers[1].addr());
        assert_eq!(found[0].said, largest);
        // The oldest entry of all shards counts.
        pending(&servers[0], "b:p:3", 1, now - 7200);
        assert_eq!(find(&sidecar, QUEUE)[0].short, "DOWN too_old key b:p:3");
        for server in &servers {
            server.command(&["DEL", "b:p", "b:p:3"]);
        }
    }
    // A value of another type on one shard is reported.
    servers[1].command(&["SET", "b:p", "text"]);
    assert_eq!(find(&sidecar, QUEUE)[0].short, "DOWN wrong_type key b:p");
    servers[1].command(&["DEL", "b:p"]);
    sidecar.expect_up();
}

#[test]
fn a_lock_lies_on_the_shard_of_the_client() {
    let (servers, urls, sidecar) = buffer("");
    let held = || measure(&sidecar.health(), QUEUE, "cache_queue_lock_held", None);
    let place = chosen_by_rb(&urls, "l:b:p");
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(held(), Some(0.0));
        server.command(&["SET", "l:b:p", "1", "PX", "60000"]);
        assert_eq!(held(), Some(if number == place { 1.0 } else { 0.0 }), "{number} {place}");
        server.command(&["DEL", "l:b:p"]);
    }
}

#[test]
fn the_clocks_of_partitions_lie_on_the_shard_of_the_client() {
    let servers = [(); 3].map(|()| Redis::start(&[]));
    let urls: Vec<_> = servers.iter().map(|server| format!("redis://{}/0", server.addr())).collect();
    let clock = "[caches.main.checks.clock]\npartitions = \"clocks\"\nexpected = 2\ndrought = { down = 1 }";
    let sidecar = Sidecar::start(shards(&urls, "rb", clock));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let place = chosen_by_rb(&urls, "clocks");
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(find(&sidecar, "cache.main.clock")[0].short, "DOWN drought key clocks", "{number}");
        server.command(&["ZADD", "clocks", &now, "part-0", &now, "part-1"]);
        assert_eq!(find(&sidecar, "cache.main.clock").is_empty(), number == place, "{number} {place}");
        server.command(&["DEL", "clocks"]);
    }
}
