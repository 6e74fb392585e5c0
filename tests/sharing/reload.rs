//! The configuration is reloaded while the program runs: unchanged parts go on, and an invalid one is refused.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Authority, Redis, Sidecar, eventually};
use rustix::process::Signal;

/// Connections are kept for longer than any test.
const KEEP: &str = "reconnect_every = \"1h\"";

const IN_FORCE: &str = "the new configuration is in force";
const REFUSED: &str = "configuration reload failed";

fn cache(alias: &str, redis: &Redis) -> String {
    format!("[caches.{alias}]\nurl = \"redis://{}/0\"\n", redis.addr())
}

/// The clients of a server that have come over TCP, which are not the harness' own, by the server's numbers for them.
fn clients(redis: &Redis) -> BTreeSet<String> {
    let list = redis.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let over_tcp = list.lines().filter(|line| line.contains(" addr=127.0.0.1:"));
    over_tcp.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// How many canaries were written to a server.
fn written(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// The names of what `/health` shows.
fn shown(sidecar: &Sidecar) -> BTreeSet<String> {
    sidecar.health().body["checks"].as_object().unwrap().keys().cloned().collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("cache.{name}")).collect()
}

/// Has the configuration reloaded, and waits until it was put in force for the `times`-th time.
fn reload(sidecar: &Sidecar, times: usize) {
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log(IN_FORCE, times);
}

#[test]
fn caches_come_change_and_go_and_one_that_stays_keeps_its_connection() {
    let (stays, changes, comes) = (Redis::start(&[]), Redis::start(&[]), Redis::start(&[]));
    let sidecar = Sidecar::start_with(KEEP, cache("stays", &stays) + &cache("changes", &changes));
    sidecar.expect_up();
    let (of_stays, of_changes) = (clients(&stays), clients(&changes));
    assert_eq!((of_stays.len(), of_changes.len()), (1, 1));

    let otherwise = format!("[caches.changes]\nurl = \"redis://{}/1\"\n", changes.addr());
    sidecar.configure(KEEP, otherwise + &cache("comes", &comes) + &cache("stays", &stays));
    reload(&sidecar, 1);
    sidecar.expect_up();
    assert_eq!(shown(&sidecar), names(&["stays", "changes", "comes"]));
    assert_eq!(clients(&stays), of_stays);
    assert_eq!(clients(&comes).len(), 1);
    eventually("the old connection is closed", || clients(&changes).is_disjoint(&of_changes));
    assert!(sidecar.log().contains("checks kept: 1; rebuilt: changes, comes\n"), "{}", sidecar.log());

    sidecar.configure(KEEP, cache("stays", &stays));
    reload(&sidecar, 2);
    assert_eq!(shown(&sidecar), names(&["stays"]));
    assert_eq!(clients(&stays), of_stays);
    assert!(sidecar.log().contains("checks kept: 1; removed: changes, comes\n"), "{}", sidecar.log());
    eventually("what is gone has no connections", || {
        clients(&changes).is_empty() && clients(&comes).is_empty()
    });
}

#[test]
fn a_kind_of_check_that_is_added_leaves_the_connection_of_the_round_trip_alone() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with(KEEP, cache("main", &redis));
    sidecar.expect_up();
    let before = clients(&redis);
    sidecar.configure(KEEP, cache("main", &redis) + "[caches.main.checks.queue]\nkeys = [\"queue\"]\n");
    reload(&sidecar, 1);
    sidecar.expect_up();
    assert_eq!(shown(&sidecar), names(&["main", "main.queue"]));
    let after = clients(&redis);
    assert!(after.is_superset(&before) && after.len() == 2, "{before:?} {after:?}");
}

#[test]
fn the_history_of_a_cache_outlives_a_change_of_a_setting_that_all_share() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("timeout = \"700ms\"", cache("main", &redis));
    sidecar.expect_up();
    redis.kill();
    sidecar.expect_down("refused");
    sidecar.configure("timeout = \"800ms\"", cache("main", &redis));
    reload(&sidecar, 1);
    assert!(sidecar.log().contains("checks kept: 0; rebuilt: main\n"), "{}", sidecar.log());
    redis.restart();
    sidecar.expect_up();
    sidecar.wait_for_log("main is UP; was DOWN (refused), last seen ", 1);
}

#[test]
fn a_request_that_is_under_way_is_answered_from_the_configuration_that_it_began_with() {
    let (stays, hangs) = (Redis::start(&[]), Redis::start(&[]));
    let settings = "timeout = \"3000ms\"";
    let sidecar = Sidecar::start_with(settings, cache("stays", &stays) + &cache("hangs", &hangs));
    sidecar.expect_up();
    hangs.stop();
    let before = written(&stays);
    thread::scope(|scope| {
        let under_way = scope.spawn(|| sidecar.health());
        eventually("the request is under way", || written(&stays) > before);
        sidecar.configure(settings, cache("stays", &stays));
        reload(&sidecar, 1);
        sidecar.expect_up();
        assert_eq!(shown(&sidecar), names(&["stays"]));
        let answer = under_way.join().unwrap();
        assert_eq!((answer.code, &answer.body["checks"]["cache.hangs"]), (503, &"DOWN".into()));
    });
    hangs.cont();
}

#[test]
fn a_configuration_that_is_not_valid_is_refused_once_and_the_old_one_stays_in_force() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with(KEEP, cache("main", &redis));
    sidecar.expect_up();
    let before = clients(&redis);

    sidecar.configure(KEEP, "[caches.main]\nurll = \"redis://:very-secret@cache\"\n");
    sidecar.wait_for_log(REFUSED, 1);
    let log = sidecar.log();
    assert!(log.contains("did you mean `url`?"), "the whole message is told: {log}");
    sidecar.expect_up();
    assert_eq!(clients(&redis), before);
    // It is read again at each look, and nobody is told the same again.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(sidecar.logged(REFUSED).len(), 1, "{}", sidecar.log());
    // Callers are answered.
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log(REFUSED, 2);

    sidecar.configure(KEEP, cache("main", &redis) + &cache("again", &redis));
    sidecar.wait_for_log(IN_FORCE, 1);
    assert_eq!(shown(&sidecar), names(&["main", "again"]));
    assert!(!sidecar.log().contains("very-secret"), "{}", sidecar.log());
}

#[test]
fn a_secret_that_comes_later_makes_a_refused_configuration_valid() {
    let redis = Redis::start(&["--requirepass", "right-password"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let main = cache("main", &redis) + "password = \"wrong\"\n";
    let sidecar = Sidecar::start(&main);
    sidecar.expect_down("auth");
    sidecar.configure("", cache("main", &redis) + &format!("password_file = {file:?}\n"));
    sidecar.wait_for_log(REFUSED, 1);
    fs::write(&file, "right-password").unwrap();
    sidecar.wait_for_log(IN_FORCE, 1);
    sidecar.expect_up();
    // The record is that of the name, so that who was told of the fault is told of its end.
    sidecar.wait_for_log("main is UP; was DOWN (auth), last seen ", 1);
}

#[test]
fn a_password_that_is_rotated_in_its_file_is_used_and_other_caches_keep_their_connections() {
    let (rotated, other) = (Redis::start(&[]), Redis::start(&[]));
    rotated.require_password("first-password");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "first-password\n").unwrap();
    let caches = cache("main", &rotated) + &format!("password_file = {file:?}\n") + &cache("other", &other);
    let sidecar = Sidecar::start_with(KEEP, caches);
    sidecar.expect_up();
    let before = clients(&other);

    rotated.require_password("second-password");
    rotated.disconnect_clients();
    sidecar.expect_down("auth");
    fs::write(&file, "second-password\n").unwrap();
    sidecar.wait_for_log(IN_FORCE, 1);
    sidecar.expect_up();
    assert_eq!(clients(&other), before);
    let log = sidecar.log();
    assert!(log.contains("checks kept: 1; rebuilt: main\n"), "{log}");
    assert!(!log.contains("first-password") && !log.contains("second-password"), "{log}");
}

#[test]
fn a_certificate_that_is_replaced_in_its_file_is_used() {
    let (old, new) = (Authority::new(), Authority::new());
    let redis = Redis::start_tls(&new.issue(&["localhost"]), None);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    fs::write(&file, old.certificate()).unwrap();
    let url = format!("rediss://localhost:{}/0", redis.port());
    let sidecar =
        Sidecar::start(format!("[caches.main]\nurl = {url:?}\n[caches.main.tls]\nca_file = {file:?}\n"));
    sidecar.expect_down("tls");
    fs::write(&file, new.certificate()).unwrap();
    sidecar.wait_for_log(IN_FORCE, 1);
    sidecar.expect_up();
}

/// Puts `text` into a volume as the kubelet does: a new directory, and a link to it that is renamed over the old one.
fn swap(volume: &Path, name: &str, text: &str) {
    let old = fs::read_link(volume.join("..data")).ok();
    fs::create_dir(volume.join(name)).unwrap();
    fs::write(volume.join(name).join("cache-canary.toml"), text).unwrap();
    symlink(name, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

#[test]
fn a_config_map_that_the_kubelet_swaps_is_reloaded() {
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = Sidecar::start(cache("one", &one));
    let file = sidecar.config_file();
    let volume = file.parent().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    swap(volume, "..2026_11_22_10_00_00.1", &format!("{text}{}", cache("two", &two)));
    symlink("..data/cache-canary.toml", volume.join("link")).unwrap();
    fs::rename(volume.join("link"), &file).unwrap();
    sidecar.wait_for_log(IN_FORCE, 1);
    assert_eq!(shown(&sidecar), names(&["one", "two"]));

    // Now the path and the link that it is stay the same, and what they lead to does not.
    swap(volume, "..2026_11_22_10_01_00.2", &text);
    sidecar.wait_for_log(IN_FORCE, 2);
    assert_eq!(shown(&sidecar), names(&["one"]));
}

#[test]
fn a_file_that_is_met_half_written_is_not_taken_for_the_whole() {
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = Sidecar::start(cache("one", &one));
    let whole = cache("one", &one) + &cache("two", &two);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        // Valid, and without a cache that is there in the whole.
        sidecar.configure("", cache("two", &two));
        sidecar.configure("", &whole);
    }
    sidecar.wait_for_log(IN_FORCE, 1);
    assert_eq!(shown(&sidecar), names(&["one", "two"]));
    assert!(!sidecar.log().contains("gone: one"), "{}", sidecar.log());
}

#[test]
fn access_rules_change_with_the_file_and_listeners_only_with_a_restart() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(cache("main", &redis));
    sidecar.expect_up();
    sidecar.configure("access.allow = [\"192.0.2.0/24\"]", cache("main", &redis));
    reload(&sidecar, 1);
    assert_eq!(sidecar.health().code, 403);

    sidecar.configure("", cache("main", &redis));
    let text = fs::read_to_string(sidecar.config_file()).unwrap();
    fs::write(sidecar.config_file(), text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    reload(&sidecar, 2);
    sidecar.wait_for_log("listen has changed; restart to apply it", 1);
    sidecar.expect_up();
}

#[test]
fn a_file_that_does_not_change_is_not_logged() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(cache("main", &redis));
    thread::sleep(Duration::from_secs(5));
    sidecar.expect_up();
    assert!(!sidecar.log().contains("read anew"), "{}", sidecar.log());
}

#[test]
fn the_replaced_certificate_of_a_listener_is_shown_to_the_next_client() {
    let redis = Redis::start(&[]);
    let (old, new) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let show = |authority: &Authority| {
        let identity = authority.issue(&["127.0.0.1"]);
        fs::write(file("key.pem"), identity.key()).unwrap();
        fs::write(file("cert.pem"), identity.certificate()).unwrap();
    };
    for (name, authority) in [("old.pem", &old), ("new.pem", &new)] {
        fs::write(file(name), authority.certificate()).unwrap();
    }
    show(&old);
    let tls = format!("tls = {{ cert_file = {:?}, key_file = {:?} }}", file("cert.pem"), file("key.pem"));
    let sidecar = Sidecar::start_with(&tls, cache("main", &redis));
    let trusts = |name: &str| {
        let url = format!("https://{}/livez", sidecar.addr());
        let curl = Command::new("curl").args(["-sS", "--cacert"]).arg(file(name)).arg(url).output().unwrap();
        curl.stdout == b"ok\n"
    };
    assert!(trusts("old.pem") && !trusts("new.pem"));
    show(&new);
    eventually("the new certificate is shown", || trusts("new.pem"));
    assert!(!trusts("old.pem"));
    assert_eq!(sidecar.logged("TLS is spoken"), [""; 0]);
    sidecar.configure("", cache("main", &redis));
    sidecar.wait_for_log("TLS is now off", 1);
}
