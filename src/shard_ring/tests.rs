//! The shards of 2,000 keys, compared with the choices of the clients themselves.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::{Backend, RedisConfig, RedisServers, Source, load};

/// Shards that differ in everything that a client may hash.
const URLS: [&str; 5] = [
    "redis://one:6379/0",
    "redis://Two:6380/1",
    "redis://:it's%20secret@10.0.0.3:6379/2",
    "redis://:\"quoted\"%5C'@4.example:6379/0",
    "redis://one:6381/7",
];

/// The choices of Predis 1.1.10 and Jedis, a line for each of these clients and numbers of shards.
const PLACES: &str = include_str!("places.txt");

fn ring(client: ShardClient, urls: &[&str]) -> ShardRing {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("canary.toml");
    let client = client.name();
    let text = format!("[caches.main]\ntopology = \"shards\"\nservers = {urls:?}\nclient = \"{client}\"");
    fs::write(&file, text).unwrap();
    let config = load(&Source { file: Some(file), ..Source::default() }).map_err(|error| error.to_string());
    match config.unwrap().config.caches.remove(0).backend {
        Backend::Redis(RedisConfig { servers: RedisServers::Shards { sharding, .. }, .. }) => {
            ShardRing::new(&sharding.unwrap())
        }
        other => panic!("no shards: {other:?}"),
    }
}

fn keys() -> Vec<String> {
    let keys = (0..400).flat_map(|n| {
        let sentry = format!("b:k:sentry.group:{:032x}", n * 0x9e37_79b9_7f4a_7c15_u128);
        let tags = format!("a{{t{n}}}b{{u{n}}}c}}");
        [format!("k{n}"), sentry, format!("{{tag{n}}}:key"), tags, format!("schlüssel {n}{{}}")]
    });
    keys.collect()
}

fn places(client: ShardClient, urls: &[&str]) -> Vec<usize> {
    let ring = ring(client, urls);
    keys().iter().map(|key| ring.place(key.as_bytes()).unwrap()).collect()
}

/// The choices of a client itself, by a program under `tests`; `None` without the program.
fn chosen(client: ShardClient, urls: &[&str], program: &str, script: &str) -> Option<Vec<usize>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program);
    command.arg(root.join("tests/redis").join(script)).env("PYTHONPATH", root.join("target/tools/python"));
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let asked = json!({ "client": client.name(), "urls": urls, "keys": keys() });
    process.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    Some(serde_json::from_slice(&output.stdout).expect("the numbers of shards; run tests/install"))
}

#[test]
fn keys_go_to_the_shards_that_rb_and_django_redis_choose() {
    for client in [ShardClient::Rb, ShardClient::RbKetama, ShardClient::DjangoRedis] {
        for urls in [&URLS[..1], &URLS[..3], &URLS[..4], &URLS] {
            let chosen = chosen(client, urls, "python3", "shard_clients.py");
            assert_eq!(Some(places(client, urls)), chosen, "{client:?} {}", urls.len());
        }
    }
}

/// The lines of `places.txt`: a client, the number of shards, and a digit for each key.
fn recorded() -> impl Iterator<Item = (ShardClient, usize, Vec<usize>)> {
    PLACES.lines().map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let name = next();
        let client = ShardClient::ALL.into_iter().find(|client| client.name() == name).unwrap();
        let shards = next().parse().unwrap();
        (client, shards, next().bytes().map(|digit| usize::from(digit - b'0')).collect())
    })
}

#[test]
fn keys_go_to_the_shards_that_predis_and_jedis_choose() {
    assert_eq!(recorded().count(), 6);
    for (client, shards, places_there) in recorded() {
        let urls = &URLS[..shards];
        assert_eq!(places(client, urls), places_there, "{client:?} {shards}");
        // Debian's package, where it is installed.
        if client != ShardClient::Jedis && Path::new("/usr/share/php/Predis").exists() {
            let chosen = chosen(client, urls, "php", "shard_clients.php");
            assert_eq!(chosen.as_ref(), Some(&places_there), "{client:?} {shards}");
        }
    }
}

#[test]
fn two_rings_that_differ_in_a_password_a_port_or_the_order_disagree_as_their_clients_do() {
    let changed = |number: usize, url| {
        let mut urls = URLS;
        urls[number] = url;
        urls
    };
    let swapped = [URLS[1], URLS[0], URLS[2], URLS[3], URLS[4]];
    let password = changed(2, "redis://:another@10.0.0.3:6379/2");
    let capitals = changed(1, "redis://two:6380/1");
    for (client, by_order, by_password, by_capitals) in [
        (ShardClient::Rb, true, false, false),
        (ShardClient::RbKetama, true, true, true),
        (ShardClient::DjangoRedis, false, true, true),
        (ShardClient::Predis, false, false, true),
        (ShardClient::PredisKetama, false, false, true),
        (ShardClient::Jedis, true, false, false),
    ] {
        let hosts = |urls: &[&'static str; 5]| -> Vec<_> {
            places(client, urls)
                .into_iter()
                .map(|place| urls[place].rsplit('@').next().map(str::to_lowercase))
                .collect()
        };
        let differs = |urls: &[&'static str; 5]| hosts(urls) != hosts(&URLS);
        let found = [differs(&swapped), differs(&password), differs(&capitals)];
        assert_eq!(found, [by_order, by_password, by_capitals], "{client:?}");
    }
}

#[test]
fn without_shards_a_key_is_sent_nowhere() {
    for client in ShardClient::ALL {
        let ring = ShardRing::new(&Sharding { client, hashed: Vec::new() });
        assert_eq!(ring.place(b"k"), None, "{client:?}");
    }
}
