//! A real Redis Cluster while primaries are killed, hang and hand over, slots move and are lost: the right
//! cause at the first request after, and up at the first request after the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test a panic is the message, and the timeline of a failover is to be seen"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::cluster::{SOON_FAILED, THIRDS, slot_of};
use crate::support::{Authority, Client, Cluster, Port, Sidecar, eventually};

fn main_at(url: &str) -> String {
    format!("[caches.main]\nurl = \"{url}\"")
}

/// A sidecar that looks after this cluster.
fn beside(cluster: &Cluster) -> Sidecar {
    Sidecar::start(main_at(&cluster.url()))
}

/// The nodes that are listed for the one cache.
fn listed(sidecar: &Sidecar) -> BTreeSet<String> {
    let health = sidecar.health();
    let checks = health.body["details"].as_object().unwrap();
    let nodes = checks.values().flat_map(|check| check["nodes"].as_array().unwrap());
    nodes.map(|node| node["node"].as_str().unwrap().to_owned()).collect()
}

fn addrs(cluster: &Cluster, nodes: &[usize]) -> BTreeSet<String> {
    nodes.iter().map(|&node| cluster.addr(node).to_string()).collect()
}

/// The slots of the canaries that a node holds.
fn canary_slots(cluster: &Cluster, node: usize) -> BTreeSet<u16> {
    let keys = cluster.nodes[node].command(&["KEYS", "djblets-canary:*"]);
    let tag = |key: &str| Some(key.split_once('{')?.1.split_once('}')?.0.to_owned());
    keys.lines().filter_map(tag).map(|tag| slot_of(&tag)).collect()
}

/// `true` if it holds within a tenth of a second: for some milliseconds after it was promoted and has taken writes, a node of Valkey 9
/// may say again that its cluster is down.
fn within_a_moment(holds: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(100) {
        std::thread::sleep(Duration::from_millis(5));
        if holds() {
            return true;
        }
    }
    false
}

/// Asks again and again from a fault on until it is over, beside a writer that finds out by itself when a
/// primary takes writes again for every third of the slots. While there is none no answer may be up, and the
/// first one that is asked for after must be.
fn watch_until_over(cluster: &Cluster, sidecar: &Sidecar, what: &str, nodes: &[usize]) {
    let began = Instant::now();
    let takes_writes = || THIRDS.iter().all(|&(first, _)| cluster.takes_writes(first, nodes));
    let mut last = String::new();
    println!("{what}:");
    loop {
        assert!(began.elapsed() < crate::support::MAX_WAIT, "waited in vain for the end of: {what}");
        let before = takes_writes();
        let asked = began.elapsed();
        let health = sidecar.health();
        let up = health.code == 200;
        let after = takes_writes() || up && within_a_moment(takes_writes);
        let causes: Vec<_> = health.body["details"]
            .as_object()
            .into_iter()
            .flat_map(|checks| checks.values())
            .flat_map(|check| check["nodes"].as_array().unwrap())
            .filter(|node| !node["cause"].is_null())
            .map(|node| format!("{} {} {}", node["node"], node["cause"], node["said"]))
            .collect();
        let now = format!("writes {before}, {} {}", health.body["status"], causes.join("; "));
        if now != last {
            println!("{:>6} ms, answered in {:>3} ms: {now}", asked.as_millis(), health.took.as_millis());
        }
        last = now;
        assert!(!up || after, "up, while no primary takes writes: {last}");
        if before {
            assert!(up, "down, while primaries take writes: {:#}", health.body);
            println!("{:>6} ms: up at the first request after", asked.as_millis());
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_primary_is_checked_and_no_replica() {
    let cluster = Cluster::start(&[]);
    for sidecar in [
        beside(&cluster),
        Sidecar::start(main_at(&cluster.url_of(&[4]))),
        Sidecar::start(format!("{}\nprotocol = \"resp3\"", main_at(&cluster.url()))),
        Sidecar::start_with("reconnect_every = \"0s\"", main_at(&cluster.url())),
    ] {
        for _ in 0..3 {
            sidecar.expect_up();
            assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
        }
    }
}

#[test]
fn a_killed_primary_is_named_and_after_its_failover_it_is_up_at_once() {
    let mut cluster = Cluster::start(SOON_FAILED);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    cluster.nodes[0].kill();
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&format!("{} connect", cluster.addr(0))), "{words}");
    watch_until_over(&cluster, &sidecar, "a primary is killed", &[1, 2, 3, 4, 5]);
    assert_eq!(listed(&sidecar), addrs(&cluster, &[1, 2, 3]));
    cluster.nodes[0].restart();
    cluster.wait_until_replica(0);
    sidecar.expect_up();
}

#[test]
fn a_hung_primary_is_named_and_after_its_failover_it_is_up_at_once() {
    let cluster = Cluster::start(SOON_FAILED);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    cluster.nodes[1].stop();
    let words = sidecar.expect_down("timed_out");
    assert!(words.contains(&format!("{} write", cluster.addr(1))), "{words}");
    watch_until_over(&cluster, &sidecar, "a primary hangs", &[0, 2, 3, 4, 5]);
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 2, 4]));
    cluster.nodes[1].cont();
    for _ in 0..20 {
        sidecar.expect_up();
    }
}

#[test]
fn a_failover_between_checks_is_up_at_the_first_check_after_even_if_the_old_primary_hangs() {
    let cluster = Cluster::start(SOON_FAILED);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    cluster.nodes[2].stop();
    cluster.wait_until_primary(5);
    eventually("all take writes", || {
        THIRDS.iter().all(|&(first, _)| cluster.takes_writes(first, &[0, 1, 3, 4, 5]))
    });
    sidecar.expect_up();
    cluster.nodes[2].cont();
}

/// `true` if a node says itself that its cluster is down.
fn refuses(error: &str) -> bool {
    [": CLUSTERDOWN", ": cluster_state:fail"].iter().any(|words| error.contains(words))
}

/// Wants it up. On a busy machine a promoted node may refuse commands itself for a moment: its own words are no false alarm.
fn expect_up_once_nodes_serve(sidecar: &Sidecar) {
    eventually("the nodes serve", || {
        let health = sidecar.health();
        let error = health.body["errors"]["cache.main"].as_str().unwrap_or_default();
        assert!(health.code == 200 || refuses(error), "{:#}", health.body);
        health.code == 200
    });
}

#[test]
fn a_primary_that_hands_over_by_itself_is_no_fault() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    for (replica, primaries) in [(3, [1, 2, 3]), (4, [2, 3, 4]), (0, [0, 2, 4])] {
        cluster.fail_over_to(replica);
        expect_up_once_nodes_serve(&sidecar);
        assert_eq!(listed(&sidecar), addrs(&cluster, &primaries));
        if replica == 3 {
            cluster.wait_until_replica(0);
        }
    }
}

#[test]
fn a_hung_replica_is_no_fault_and_holds_nothing_up() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster);
    cluster.nodes[3].stop();
    for _ in 0..3 {
        sidecar.expect_up();
    }
    cluster.fail_over_to(4);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 2, 4]));
    Sidecar::start(main_at(&cluster.url())).expect_up();
    cluster.nodes[3].cont();
}

#[test]
fn a_primary_that_hands_over_under_checks_is_no_fault() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            for (replica, primary) in [(3, 0), (4, 1), (5, 2)] {
                cluster.fail_over_to(replica);
                cluster.wait_until_replica(primary);
            }
        });
        let (mut checks, mut refused) = (0, 0);
        while !moving.is_finished() {
            let health = sidecar.health();
            let is_up = (health.code, &health.body["status"]) == (200, &"UP".into());
            // On a busy machine a promoted node may refuse commands itself for a moment: its own words are no false alarm.
            let error = health.body["errors"]["cache.main"].as_str().unwrap_or_default();
            assert!(is_up || refuses(error), "{:#}", health.body);
            checks += 1;
            refused += usize::from(!is_up);
        }
        assert!(refused * 2 < checks, "{refused} of {checks} checks were refused");
    });
    expect_up_once_nodes_serve(&sidecar);
    assert_eq!(listed(&sidecar), addrs(&cluster, &[3, 4, 5]));
}

#[test]
fn a_reshard_under_checks_is_no_fault() {
    let cluster = Cluster::start_without_replicas(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    let own = canary_slots(&cluster, 0);
    assert_eq!(own.len(), 1, "one series a primary");
    // With keys in them, and those of the canaries among them.
    let mut client = cluster.nodes[0].client();
    for number in 0..3_000 {
        let tag = number.to_string();
        if slot_of(&tag) <= THIRDS[0].1 {
            client.ask(&["SET", &format!("app:{{{tag}}}"), "value"]).unwrap();
        }
    }
    let mut checks = 0;
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            cluster.move_slots(own.iter().copied(), 0, 1);
            cluster.move_slots((0..=300).filter(|slot| !own.contains(slot)), 0, 1);
            cluster.move_slots(canary_slots(&cluster, 0), 0, 2);
            cluster.move_slots(5_461..=5_700, 1, 2);
        });
        while !moving.is_finished() {
            sidecar.expect_up();
            checks += 1;
        }
    });
    println!("{checks} checks while slots moved");
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
}

#[test]
fn a_canary_of_a_migrating_slot_is_followed() {
    let cluster = Cluster::start_without_replicas(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    let [slot] = canary_slots(&cluster, 0).into_iter().collect::<Vec<_>>()[..] else { panic!() };
    let checked = || (0..3).for_each(|_| sidecar.expect_up());
    cluster.begin_to_move(slot, 0, 1);
    checked();
    cluster.move_keys(slot, 0, 1);
    checked();
    cluster.hand_over(slot, 0, 1);
    checked();
    assert!(!canary_slots(&cluster, 0).contains(&slot));
}

#[test]
fn a_primary_whose_only_slot_migrates_is_followed_as_clients_follow_it() {
    let mut cluster = Cluster::start_without_replicas(&[]);
    let fourth = cluster.add_primary();
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]), "it owns no slots yet");
    cluster.move_slots([0], 0, fourth);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2, fourth]), "at the next round");
    cluster.begin_to_move(0, fourth, 2);
    cluster.move_keys(0, fourth, 2);
    for _ in 0..3 {
        sidecar.expect_up();
    }
    // The target of the migration is part of a client's way.
    cluster.nodes[2].fill();
    sidecar.expect_down("out_of_memory");
    cluster.nodes[2].make_room();
    sidecar.expect_up();
    cluster.move_keys(0, fourth, 2);
    cluster.hand_over(0, fourth, 2);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
}

#[test]
fn a_lost_quorum_is_cluster_down_with_the_slots_that_are_lost() {
    let mut cluster = Cluster::start_without_replicas(SOON_FAILED);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    for node in [0, 1] {
        cluster.nodes[node].kill();
    }
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&cluster.addr(0).to_string()), "{words}");
    eventually("the third does not serve", || !Cluster::serves(&cluster.nodes[2]));
    let words = sidecar.expect_down("cluster_down");
    assert!(words.starts_with("cluster read cluster_state:fail; slots 0-5460 are lost with"), "{words}");
    for node in [0, 1] {
        cluster.nodes[node].restart();
    }
    cluster.wait_until_whole();
    sidecar.expect_up();
}

#[test]
fn slots_without_an_owner_are_named_whether_the_cluster_serves_the_others_or_not() {
    for full_coverage in ["yes", "no"] {
        let cluster = Cluster::start_without_replicas(&["--cluster-require-full-coverage", full_coverage]);
        let sidecar = beside(&cluster);
        // Known to all, and to the owner alone.
        for nodes in [&[0, 1, 2][..], &[0]] {
            sidecar.expect_up();
            cluster.lose_slots(100, 199, nodes);
            for sidecar in [&sidecar, &Sidecar::start(main_at(&cluster.url_of(&[0])))] {
                for _ in 0..2 {
                    let words = sidecar.expect_down("cluster_down");
                    assert!(
                        words.starts_with("cluster read slots 100-199 have no owner"),
                        "{full_coverage} {nodes:?}: {words}"
                    );
                }
            }
            cluster.regain_slots(100, 199, 0);
            sidecar.expect_up();
        }
    }
}

/// Makes a node forget itself and the others, as one does that lost its `nodes.conf`: to the others it has no address.
fn forget_itself(cluster: &Cluster, node: usize) {
    // A primary does so only without keys, and only a primary can delete them.
    let _ = cluster.nodes[node].try_command(&["FLUSHALL"]);
    cluster.nodes[node].command(&["CLUSTER", "RESET", "HARD"]);
    eventually("the others notice", || {
        let others = (0..cluster.nodes.len()).filter(|&other| other != node);
        others.map(|other| &cluster.nodes[other]).all(|other| {
            let mut client = Client::over(std::net::TcpStream::connect(other.addr()).unwrap());
            let slots = client.ask(&["CLUSTER", "SLOTS"]).unwrap();
            slots.lines().any(|line| line == "0") && other.command(&["CLUSTER", "NODES"]).contains("noaddr")
        })
    });
}

#[test]
fn a_replica_without_an_address_hides_no_other_node() {
    let cluster = Cluster::start(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    forget_itself(&cluster, 4);
    for seed in [0, 1, 2, 3] {
        Sidecar::start(main_at(&cluster.url_of(&[seed]))).expect_up();
    }
    sidecar.expect_up();
    // The map is read again, because of a primary that has a fault.
    cluster.nodes[2].stop();
    let words = sidecar.expect_down("timed_out");
    assert!(words.starts_with(&cluster.addr(2).to_string()), "{words}");
    cluster.nodes[2].cont();
    eventually("the cluster serves", || sidecar.health().code == 200);
    sidecar.expect_up();
}

#[test]
fn the_slots_of_a_primary_without_an_address_are_named_and_the_others_are_checked() {
    let cluster = Cluster::start_without_replicas(&["--cluster-require-full-coverage", "no"]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    forget_itself(&cluster, 1);
    for sidecar in [&sidecar, &Sidecar::start(main_at(&cluster.url_of(&[0])))] {
        for _ in 0..2 {
            let words = sidecar.expect_down("cluster_down");
            assert!(words.starts_with("cluster read slots 5461-10922 have no owner"), "{words}");
            assert!(words.contains("is announced without a usable address"), "{words}");
            let nodes = sidecar.health().nodes();
            for addr in [0, 2].map(|node| cluster.addr(node).to_string()) {
                assert!(nodes.contains(&("server".to_owned(), addr, String::new())), "{nodes:?}");
            }
        }
    }
}

#[test]
fn primaries_whose_names_are_not_known_are_down_and_named_by_their_slots() {
    let cluster = Cluster::start_without_replicas(&[]);
    let sidecar = beside(&cluster);
    let all_are_announced_by = |kind: &str| {
        for node in &cluster.nodes {
            node.command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]);
        }
    };
    sidecar.expect_up();
    all_are_announced_by("hostname");
    let words = beside(&cluster).expect_down("cluster_down");
    assert!(words.contains("the owner of slots 0-5460, 5461-10922, 10923-16383"), "{words}");
    let by_seed = format!("{}\nannounce = \"seed-host\"", main_at(&cluster.url()));
    Sidecar::start(by_seed).expect_up();
    all_are_announced_by("ip");
    sidecar.expect_up();
    beside(&cluster).expect_up();
}

#[test]
fn a_cluster_that_lost_all_its_slots_is_cluster_down() {
    let redis = crate::support::Redis::start_cluster();
    let sidecar = Sidecar::start(main_at(&format!("redis+cluster://{}", redis.addr())));
    sidecar.expect_up();
    redis.lose_slots();
    for _ in 0..2 {
        let words = sidecar.expect_down("cluster_down");
        assert!(words.starts_with("cluster read slots 0-16383 have no owner"), "{words}");
    }
    redis.regain_slots();
    sidecar.expect_up();
}

#[test]
fn seeds_that_are_gone_do_not_matter_while_one_answers() {
    let mut cluster = Cluster::start_without_replicas(&[]);
    let (gone, hung) = (Port::reserve(), crate::support::BlackHole::open());
    let seeds = |seeds: &[String]| Sidecar::start(main_at(&format!("redis+cluster://{}", seeds.join(","))));
    let good = cluster.addr(1).to_string();
    let sidecar = seeds(&[gone.addr().to_string(), hung.addr().to_string(), good]);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
    let sidecar = seeds(&[gone.addr().to_string(), "cache.invalid:6379".to_owned()]);
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&gone.addr().to_string()), "{words}");
    assert_eq!(
        listed(&sidecar),
        ["cache.invalid:6379".to_owned(), gone.addr().to_string()].into_iter().collect()
    );
    // One that was a seed alone may go as well.
    let sidecar = Sidecar::start(main_at(&cluster.url_of(&[2])));
    sidecar.expect_up();
    for node in 0..3 {
        cluster.nodes[node].kill();
    }
    sidecar.expect_down("refused");
    for node in 0..3 {
        cluster.nodes[node].restart();
    }
    cluster.wait_until_whole();
    sidecar.expect_up();
}

#[test]
fn hung_seeds_are_timed_out_and_a_server_that_is_no_cluster_is_cluster_down() {
    let hole = crate::support::BlackHole::open();
    let words = Sidecar::start(main_at(&format!("redis+cluster://{}", hole.addr()))).expect_down("timed_out");
    assert!(words.contains(&format!("{} connect", hole.addr())), "{words}");
    let redis = crate::support::Redis::start(&[]);
    let words =
        Sidecar::start(main_at(&format!("redis+cluster://{}", redis.addr()))).expect_down("cluster_down");
    assert!(words.contains("cluster support disabled"), "{words}");
}

#[test]
fn announced_addresses_are_dialed_only_as_the_configuration_says() {
    let cluster = Cluster::start_without_replicas(&[]);
    let announce = |kind: &str, announced: &str| {
        for node in &cluster.nodes {
            node.command(&["CONFIG", "SET", "cluster-announce-hostname", "canary.invalid"]);
            node.command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]);
        }
        eventually("what is announced has changed", || {
            cluster.nodes.iter().all(|node| {
                let mut client = node.client();
                client.ask(&["CLUSTER", "SLOTS"]).unwrap().matches(announced).count() >= 3
            })
        });
    };
    let url = main_at(&cluster.url());
    let seed_host = format!("{url}\nannounce = \"seed-host\"");
    announce("hostname", "canary.invalid");
    let words = Sidecar::start(&url).expect_down("unresolvable");
    assert!(words.starts_with("canary.invalid:"), "{words}");
    let sidecar = Sidecar::start(&seed_host);
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
    announce("unknown-endpoint", "(nil)");
    for config in [&url, &seed_host] {
        let sidecar = Sidecar::start(config);
        sidecar.expect_up();
        assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
    }
}

#[test]
fn a_cluster_wants_credentials_and_the_least_user_will_do() {
    let cluster = Cluster::start(&["--requirepass", "secret", "--masterauth", "secret"]);
    let with = |login: &str| main_at(&cluster.url().replace("://", &format!("://{login}@")));
    let sidecar = Sidecar::start(with(":secret"));
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
    Sidecar::start(with(":wrong")).expect_down("auth");
    Sidecar::start(main_at(&cluster.url())).expect_down("auth");
    let least = "on >secret ~djblets-canary:* +set +get +cluster|info +cluster|slots +asking";
    for node in &cluster.nodes {
        node.set_user("canary", least);
    }
    let sidecar = Sidecar::start(with("canary:secret"));
    sidecar.expect_up();
    let [slot] = canary_slots(&cluster, 0).into_iter().collect::<Vec<_>>()[..] else { panic!() };
    cluster.begin_to_move(slot, 0, 1);
    cluster.move_keys(slot, 0, 1);
    sidecar.expect_up();
    cluster.nodes[2].set_user("canary", "on >secret ~djblets-canary:* +get +cluster|info +cluster|slots");
    let words = sidecar.expect_down("forbidden");
    assert!(words.contains(&cluster.addr(2).to_string()), "{words}");
    cluster.nodes[2].set_user("canary", "on >secret ~djblets-canary:* +set +get");
    sidecar.expect_down("forbidden");
    cluster.nodes[2].set_user("canary", least);
    sidecar.expect_up();
}

#[test]
fn a_cluster_speaks_tls_and_each_nodes_certificate_is_verified() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let file = |name: &str, pem: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let identity = authority.issue(&["127.0.0.1", "cache.example"]);
    let ca = file("ca.pem", &authority.certificate());
    let (cert, key) = (file("cert.pem", identity.certificate()), file("key.pem", identity.key()));
    let mut args = vec!["--tls-cluster", "yes", "--tls-replication", "yes", "--tls-auth-clients", "no"];
    args.extend(["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca]);
    let cluster = Cluster::start_without_replicas(&args);
    let url = main_at(&cluster.url().replace("redis+cluster", "rediss+cluster"));
    let sidecar = Sidecar::start(format!("{url}\ntls.ca_file = \"{ca}\""));
    sidecar.expect_up();
    assert_eq!(listed(&sidecar), addrs(&cluster, &[0, 1, 2]));
    Sidecar::start(&url).expect_down("tls");
    let wrong = format!("{url}\ntls.ca_file = \"{ca}\"\ntls.server_name = \"other.example\"");
    Sidecar::start(wrong).expect_down("tls");
}

#[test]
fn nonsense_is_protocol_or_timed_out() {
    let lines = "cluster_state:ok\r\ncluster_current_epoch:1\r\ncluster_size:1\r\n";
    let info = &*format!("${}\r\n{lines}\r\n", lines.len());
    let endless = |what: &str| what.repeat(5 << 20);
    for (info, slots, cause) in [
        ("+OK\r\n", String::new(), "protocol"),
        ("$5\r\nhello\r\n", String::new(), "protocol"),
        ("*1000000000\r\n", String::new(), "timed_out"),
        (info, "*-1\r\n".to_owned(), "protocol"),
        (info, "+OK\r\n".to_owned(), "protocol"),
        (info, "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n".to_owned(), "protocol"),
        (info, "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n$1\r\nx\r\n".to_owned(), "protocol"),
        (info, "*2147483647\r\n:1\r\n".to_owned(), "timed_out"),
        (info, endless("*"), "protocol"),
        (info, format!("*{}\r\n{}", 1_000_000_000, ":1\r\n".repeat(2 << 20)), "protocol"),
        (info, "*1\r\n".repeat(20), "protocol"),
        (info, "*1\r\n*3\r\n:0\r\n".to_owned(), "timed_out"),
    ] {
        let liar = Liar::start(info.to_owned(), slots);
        // Enough for the longest of them on a machine that has other things to do.
        let url = main_at(&format!("redis+cluster://{}", liar.addr));
        let sidecar = Sidecar::start_with("timeout = \"3000ms\"", url);
        let words = sidecar.expect_down(cause);
        assert!(words.starts_with(&liar.addr.to_string()), "{words}");
    }
}

/// Answers `CLUSTER INFO` and `CLUSTER SLOTS` with what it is told to, once a connection each, and nothing
/// else.
struct Liar {
    addr: std::net::SocketAddr,
}

impl Liar {
    fn start(info: String, slots: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            // A round or two, and then the test is over.
            for stream in listener.incoming().take(2) {
                let Ok(mut stream) = stream else { return };
                let (info, slots) = (info.clone(), slots.clone());
                std::thread::spawn(move || {
                    let mut piece = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut piece) {
                        let asked = String::from_utf8_lossy(&piece[..length]);
                        let answer = if asked.contains("INFO") { &info } else { &slots };
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { addr }
    }
}

/// A server that is every primary of its cluster, and tells of another epoch and of other primaries at each look.
struct Fickle {
    addr: std::net::SocketAddr,
}

impl Fickle {
    /// With so many primaries, of which the first `real` lead to it and the others refuse, and so many ranges of slots.
    fn start(primaries: u16, real: u16, ranges: u16) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let slots = move |epoch| fickle_slots(epoch, port, primaries, real, ranges);
        let epoch = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(1));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let epoch = epoch.clone();
                std::thread::spawn(move || tell(stream, slots, &epoch));
            }
        });
        Self { addr: ([127, 0, 0, 1], port).into() }
    }
}

fn fickle_slots(epoch: usize, port: u16, primaries: u16, real: u16, ranges: u16) -> String {
    use std::fmt::Write as _;
    let mut slots = format!("*{ranges}\r\n");
    let each = 16_384 / ranges;
    for range in 0..ranges {
        let primary = range % primaries;
        let host = format!("127.{}.{}.{}", epoch % 250, primary / 250, 1 + primary % 250);
        let port = if primary < real { port } else { 1 };
        let (from, to) = (range * each, if range + 1 == ranges { 16_383 } else { (range + 1) * each - 1 });
        let _ = write!(slots, "*3\r\n:{from}\r\n:{to}\r\n*2\r\n${}\r\n{host}\r\n:{port}\r\n", host.len());
    }
    slots
}

/// Answers what a check asks, one command after the other.
fn tell(
    mut stream: std::net::TcpStream,
    slots: impl Fn(usize) -> String,
    epoch: &std::sync::atomic::AtomicUsize,
) {
    let mut value = String::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        let asked = String::from_utf8_lossy(&piece[..length]).into_owned();
        let words: Vec<_> = asked.split("\r\n").collect();
        let answer = match words.get(2).copied() {
            Some("CLUSTER") if asked.contains("INFO") => {
                let epoch = epoch.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let lines = format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n");
                format!("${}\r\n{lines}\r\n", lines.len())
            }
            Some("CLUSTER") => slots(epoch.load(std::sync::atomic::Ordering::Relaxed)),
            Some("SET") => {
                words[6].clone_into(&mut value);
                "+OK\r\n".to_owned()
            }
            Some("GET") => format!("${}\r\n{value}\r\n", value.len()),
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_slot_map_that_changes_at_each_read_is_down_and_is_not_read_for_ever() {
    let fickle = Fickle::start(3, 3, 3_000);
    let url = main_at(&format!("redis+cluster://{}", fickle.addr));
    let sidecar = Sidecar::start_with("timeout = \"5000ms\"", url);
    for _ in 0..3 {
        let words = sidecar.expect_down("cluster_down");
        assert!(words.starts_with("cluster read the slot map keeps changing"), "{words}");
    }
}

#[test]
fn clusters_that_announce_a_thousand_primaries_take_no_verdict_from_a_good_cache() {
    let fickle: Vec<_> = (0..6).map(|_| Fickle::start(1_000, 8, 1_000)).collect();
    let cluster = Cluster::start_without_replicas(&[]);
    let redis = crate::support::Redis::start(&[]);
    let bad = fickle.iter().map(|fickle| {
        format!("[caches.bad-{0}]\nurl = \"redis+cluster://{1}\"\n", fickle.addr.port(), fickle.addr)
    });
    let good = [("one", format!("redis://127.0.0.1:{}", redis.port())), ("cluster", cluster.url())];
    let good = good.map(|(alias, url)| format!("[caches.{alias}]\nurl = \"{url}\"\n"));
    let sidecar = Sidecar::start(bad.chain(good).collect::<String>());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(sidecar.health_in_time().code, 503);
            }
        });
        let asked = (0..40).flat_map(|_| ["one", "cluster"]).map(|alias| {
            std::thread::sleep(Duration::from_millis(20));
            (alias, sidecar.get(&format!("/health/{alias}")))
        });
        let asked: Vec<_> = asked.collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut took: Vec<_> = asked.iter().map(|(_, health)| health.took).collect();
        took.sort();
        println!("median {:?}, at most {:?}", took[took.len() / 2], took[took.len() - 1]);
        for (alias, health) in &asked {
            assert_eq!(health.code, 200, "{alias}: {:#}", health.body);
            assert!(health.took < Duration::from_millis(750), "{alias} after {:?}", health.took);
        }
    });
}

#[test]
fn one_primary_that_is_full_or_read_only_is_named() {
    let cluster = Cluster::start_without_replicas(&[]);
    let sidecar = beside(&cluster);
    sidecar.expect_up();
    cluster.nodes[1].fill();
    let words = sidecar.expect_down("out_of_memory");
    assert!(words.contains(&cluster.addr(1).to_string()), "{words}");
    cluster.nodes[1].make_room();
    sidecar.expect_up();
    cluster.nodes[2].want_a_replica();
    sidecar.expect_down("write_blocked");
    cluster.nodes[2].want_no_replicas();
    sidecar.expect_up();
}
