//! Aliases that are spread over replicas: each is checked by one, and a change of their number moves few.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::fs;

use crate::support::{Redis, Sidecar, eventually};

const ALIASES: usize = 24;

/// So many aliases on one server, one that forwards to the first, and a group of three.
fn caches(redis: &Redis) -> String {
    let cache = |number| format!("[caches.cache-{number}]\nurl = \"redis://{}/0\"\n", redis.addr());
    let forwards = "[caches.default]\nbackend = \"forwarding\"\nlocation = \"cache-0\"\n";
    let group = "[groups.some]\ninclude = [\"cache-0\", \"cache-1\", \"cache-2\"]\n";
    (0..ALIASES).map(cache).collect::<String>() + forwards + group
}

fn shard(index: usize, of: usize) -> String {
    format!("reconnect_every = \"1h\"\nshard = {{ index = {index}, of = {of} }}")
}

fn replicas(redis: &Redis, of: usize) -> Vec<Sidecar> {
    (0..of).map(|index| Sidecar::start_with(&shard(index, of), caches(redis))).collect()
}

/// The checked aliases of a replica, and the skipped ones.
fn aliases(sidecar: &Sidecar) -> (BTreeSet<String>, BTreeSet<String>) {
    let health = sidecar.health();
    let names = |key: &str| {
        health.body[key].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    (names("checks"), names("skipped"))
}

/// The value of a series without labels.
fn metric(sidecar: &Sidecar, name: &str) -> usize {
    let text = sidecar.raw("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

#[test]
fn every_alias_is_checked_by_one_replica_and_a_fault_is_seen_there_alone() {
    let (redis, mut first) = (Redis::start(&[]), Redis::start(&[]));
    let at = |redis: &Redis| format!("url = \"redis://{}/0\"", redis.addr());
    let config = caches(&redis).replacen(&at(&redis), &at(&first), 1);
    let replicas: Vec<_> = (0..3).map(|index| Sidecar::start_with(&shard(index, 3), &config)).collect();
    let found: Vec<_> = replicas.iter().map(aliases).collect();
    let all: BTreeSet<_> = found.iter().flat_map(|(checked, _)| checked).collect();
    assert_eq!(all.len(), ALIASES);
    assert_eq!(
        found.iter().map(|(checked, _)| checked.len()).sum::<usize>(),
        ALIASES,
        "none is checked twice"
    );
    assert!(found.iter().all(|(checked, _)| !checked.is_empty()), "{found:?}");

    let owner = found.iter().position(|(checked, _)| checked.contains("cache.cache-0")).unwrap();
    for (index, sidecar) in replicas.iter().enumerate() {
        let has_default = found[index].1.contains("default");
        assert_eq!(has_default, index == owner, "a forwarding alias is where its target is");
        let (code, text) = (sidecar.get("/health/default").code, sidecar.raw("/health/cache-0"));
        if index == owner {
            assert_eq!(code, 200);
        } else {
            assert_eq!(code, 404);
            let belongs = format!("this alias belongs to shard {owner} of 3, and this is shard {index}\n");
            assert!(text.ends_with(&belongs), "{text}");
            assert_eq!(sidecar.get("/health/cache-0.round_trip").code, 404);
        }
        assert!(sidecar.raw("/health/nobody").contains("no such alias; the configured ones are "));
        assert_eq!(sidecar.get("/health/group/some").code, 200);
        assert!(
            sidecar.raw("/metrics").contains(&format!("cache_shard_info{{index=\"{index}\",of=\"3\"}} 1\n"))
        );
        assert_eq!(metric(sidecar, "cache_shards"), 3);
        assert_eq!(metric(sidecar, "cache_shard_aliases_configured"), ALIASES + 1);
    }
    let own = |sidecar| metric(sidecar, "cache_shard_aliases");
    assert_eq!(replicas.iter().map(own).sum::<usize>(), ALIASES + 1);

    first.kill();
    for (index, sidecar) in replicas.iter().enumerate() {
        if index == owner {
            sidecar.expect_down("refused");
            assert_eq!(sidecar.get("/health/group/some").code, 503);
        } else {
            sidecar.expect_up();
        }
    }
    first.restart();
    replicas[owner].expect_up();
}

#[test]
fn a_replica_more_takes_its_part_of_each_and_leaves_the_other_checks_alone() {
    let redis = Redis::start(&[]);
    let mut replicas = replicas(&redis, 2);
    let before: Vec<_> = replicas.iter().map(|sidecar| aliases(sidecar).0).collect();
    // As Kubernetes does: the new pod starts, and the others see the file change.
    replicas.push(Sidecar::start_with(&shard(2, 3), caches(&redis)));
    for (index, sidecar) in replicas.iter().enumerate().take(2) {
        let file = sidecar.config_file();
        let new = fs::read_to_string(&file).unwrap().replace("of = 2", "of = 3");
        let beside = file.with_extension("new");
        fs::write(&beside, new).unwrap();
        fs::rename(&beside, &file).unwrap();
        sidecar.wait_for_log("the new configuration is in force", 1);
        let after = aliases(sidecar).0;
        assert!(after.is_subset(&before[index]) && after != before[index], "{before:?} {after:?}");
        let kept = format!("checks kept: {}; removed: ", after.len());
        assert!(sidecar.log().contains(&kept), "{}", sidecar.log());
    }
    let all: Vec<_> = replicas.iter().flat_map(|sidecar| aliases(sidecar).0).collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (ALIASES, ALIASES));

    // An invalid one is refused, and the shard in force stays.
    let file = replicas[0].config_file();
    let valid = fs::read_to_string(&file).unwrap();
    let in_force = aliases(&replicas[0]);
    fs::write(&file, valid.replace("of = 3", "of = 0")).unwrap();
    replicas[0].wait_for_log("`of` must be a whole number from 1 to 1000", 1);
    assert_eq!(aliases(&replicas[0]), in_force);
    assert_eq!(metric(&replicas[0], "cache_config_reload_success"), 0);
    fs::write(&file, valid).unwrap();
    eventually("it is in force again", || metric(&replicas[0], "cache_config_reload_success") == 1);
}

#[test]
fn a_replica_without_an_alias_has_nothing_to_report() {
    let redis = Redis::start(&[]);
    let one = format!("[caches.main]\nurl = \"redis://{}/0\"\n", redis.addr());
    let codes = |index| {
        let sidecar = Sidecar::start_with(&shard(index, 2), &one);
        eventually("it is ready", || sidecar.get("/readyz").code == 200);
        let codes =
            ["/health", "/livez", "/readyz", "/startupz", "/health/main"].map(|path| sidecar.get(path).code);
        (codes, metric(&sidecar, "cache_shard_aliases"))
    };
    assert_eq!(codes(0), ([200, 200, 200, 200, 404], 0));
    assert_eq!(codes(1), ([200; 5], 1));
}
