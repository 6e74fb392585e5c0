//! Names and addresses: what a name leads to is found out at every dial, and in between.

#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{BlackHole, Health, Names, Port, Redis, Sidecar, as_somebody, eventually};
use rustix::process::{Resource, Signal, getrlimit};

const V4: &str = "127.0.0.1";
const V6: &str = "::1";
const ANOTHER_V4: &str = "127.0.0.2";

fn main_at(host: &str, port: u16) -> String {
    format!("[caches.main]\nurl = \"redis://{host}:{port}\"")
}

/// A port that is free on each of these addresses.
fn ports<const N: usize>(addresses: [&str; N]) -> [Port; N] {
    Port::reserve_each(addresses.map(|address| address.parse().expect("an address")))
}

#[test]
fn a_name_with_both_families_is_up_whichever_of_them_listens() {
    let names = Names::new();
    names.give("cache.test", &[V6, V4]);
    for port in ports([V4, V6]) {
        let redis = Redis::start_at(port, &[]);
        Sidecar::start_knowing(&names, "", main_at("cache.test", redis.port())).expect_up();
    }
}

#[test]
fn localhost_is_up_if_the_system_has_it() {
    let redis = Redis::start(&[]);
    Sidecar::start(main_at("localhost", redis.port())).expect_up();
}

#[test]
fn an_ipv6_address_is_written_in_brackets() {
    let [port] = ports([V6]);
    let redis = Redis::start_at(port, &[]);
    Sidecar::start(main_at("[::1]", redis.port())).expect_up();
}

#[test]
fn an_address_that_does_not_answer_leaves_the_others_their_turn() {
    let names = Names::new();
    for hung in [V6, ANOTHER_V4] {
        let [free, port] = ports([hung, V4]);
        let redis = Redis::start_at(port, &[]);
        names.give("cache.test", &[hung, V4]);
        let main = main_at("cache.test", redis.port());
        let sidecar = Sidecar::start_knowing(&names, "reconnect_every = \"0s\"", main);
        sidecar.expect_up();
        let hole = BlackHole::open_at(free);
        sidecar.expect_up();
        drop(hole);
        sidecar.expect_up();
    }
}

#[test]
fn a_name_without_an_address_that_answers_is_reported_in_time() {
    let holes = ports([V6, V4]).map(BlackHole::open_at);
    let names = Names::new();
    names.give("cache.test", &[V6, V4]);
    let sidecar = Sidecar::start_knowing(&names, "", main_at("cache.test", holes[0].port()));
    let words = sidecar.expect_down("timed_out");
    assert!(words.contains(" connect "), "{words}");
    drop(holes);
    sidecar.expect_down("refused");
}

/// As `localhost` in a container without IPv6: the system has no route to one of its addresses.
#[test]
fn an_address_without_a_route_does_not_hide_what_the_other_one_says() {
    const WITHOUT_ROUTE: [&str; 2] = ["ff02::1", "255.255.255.255"];
    let mut redis = Redis::start(&[]);
    let names = Names::new();
    let sidecar = Sidecar::start_knowing(&names, "", main_at("cache.test", redis.port()));
    for elsewhere in WITHOUT_ROUTE {
        for addresses in [[V4, elsewhere], [elsewhere, V4]] {
            names.give("cache.test", &addresses);
            sidecar.expect_up();
            redis.kill();
            sidecar.expect_down("refused");
            redis.restart();
            sidecar.expect_up();
        }
    }
    redis.kill();
    names.give("cache.test", &WITHOUT_ROUTE);
    sidecar.expect_down("unreachable");
}

#[test]
fn a_name_that_is_given_later_is_up_at_the_next_request() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    let sidecar = Sidecar::start_knowing(&names, "", main_at("cache.test", redis.port()));
    sidecar.expect_down("unresolvable");
    names.give("cache.test", &[V4]);
    sidecar.expect_up();
}

/// A failover by DNS: the server that the name led to takes no more writes, and the name leads elsewhere.
#[test]
fn a_kept_connection_is_dropped_once_its_name_leads_elsewhere() {
    let [before, _after] = ports([V4, ANOTHER_V4]).map(|port| Redis::start_at(port, &[]));
    let names = Names::new();
    names.give("cache.test", &[V4]);
    let start = |dns_recheck: &str| {
        let settings = format!("reconnect_every = \"1h\"\ndns_recheck = \"{dns_recheck}\"");
        Sidecar::start_knowing(&names, &settings, main_at("cache.test", before.port()))
    };
    let (rechecks, does_not) = (start("0s"), start("1h"));
    for sidecar in [&rechecks, &does_not] {
        sidecar.expect_up();
        sidecar.expect_up();
    }
    before.want_a_replica();
    rechecks.expect_down("write_blocked");
    names.give("cache.test", &[ANOTHER_V4]);
    rechecks.expect_up();
    does_not.expect_down("write_blocked");
    names.give("cache.test", &[]);
    rechecks.expect_down("unresolvable");
    names.give("cache.test", &[ANOTHER_V4]);
    rechecks.expect_up();
}

#[test]
fn many_names_are_resolved_by_a_few_threads() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    let aliases = (0..100).map(|number| {
        let name = format!("cache-{number}.test");
        names.give(&name, &[V4]);
        format!("[caches.number-{number}]\nurl = \"redis://{name}:{}\"\n", redis.port())
    });
    let aliases: String = aliases.collect();
    let sidecar = Sidecar::start_knowing(&names, "reconnect_every = \"0s\"", aliases);
    (0..3).for_each(|_| sidecar.expect_up());
    let threads = threads(&sidecar);
    // One for all else, one for the log, sixteen for names, and on a busy machine some more for those that are late.
    assert!((2..=50).contains(&threads), "{threads} threads for a hundred names");
}

fn threads(sidecar: &Sidecar) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", sidecar.pid())).expect("its threads").count()
}

/// The aliases whose names do not hang.
const HEALTHY: [&str; 3] = ["by-file", "by-dns", "by-address"];

/// One Redis by three ways that do not hang and by so many names that do, whose aliases come first.
fn beside_hung(names: &Names, redis: &Redis, hung: usize) -> String {
    let port = redis.port();
    names.give("cache.test", &[V4]);
    names.hang((0..hung).map(|number| format!("hung-{number}.test")), V4);
    let hung = (0..hung)
        .map(|number| format!("[caches.hung-{number}]\nurl = \"redis://hung-{number}.test:{port}\"\n"));
    let healthy = HEALTHY.iter().zip(["localhost", "cache.test", V4]);
    let healthy = healthy.map(|(alias, host)| format!("[caches.{alias}]\nurl = \"redis://{host}:{port}\"\n"));
    hung.chain(healthy).collect()
}

/// The status of an alias, and the first fault of a server of its.
fn status(health: &Health, alias: &str) -> (String, String) {
    let check = format!("cache.{alias}");
    let fault = health.fault_of(&check).map(|(cause, words)| format!("{cause} {words}"));
    (health.body["checks"][&check].as_str().unwrap_or_default().to_owned(), fault.unwrap_or_default())
}

fn expect_hung_down_and_healthy_up(health: &Health, hung: usize) {
    for alias in HEALTHY {
        assert_eq!(status(health, alias), ("UP".to_owned(), String::new()), "{alias} beside {hung}");
    }
    for number in 0..hung {
        let (_, said) = status(health, &format!("hung-{number}"));
        assert!(said.starts_with("timed_out ") && said.contains(" resolve "), "{said}");
    }
}

#[test]
fn names_that_hang_take_no_verdict_away_from_those_that_do_not() {
    let redis = Redis::start(&[]);
    for hung in [16, 64, 1000] {
        let names = Names::new();
        let caches = beside_hung(&names, &redis, hung);
        let sidecar = Sidecar::start_knowing(&names, "reconnect_every = \"0s\"", caches);
        expect_hung_down_and_healthy_up(&sidecar.health_in_time(), hung);
        expect_hung_down_and_healthy_up(&sidecar.health_in_time(), hung);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sidecar.health();
                }
            });
            let asked: Vec<_> =
                (0..35).flat_map(|_| HEALTHY).map(|alias| sidecar.get(&format!("/health/{alias}"))).collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(asked.iter().filter(|health| health.code == 200).count(), 105, "beside {hung}");
        });
        let (threads, memory) = (threads(&sidecar), sidecar.resident_kib());
        println!("{hung} names that hang: {threads} threads, {memory} kB");
        assert!(threads <= 1 + hung + 64 + 16, "{threads} beside {hung}");
        names.answered();
        eventually("every name is answered", || sidecar.health().code == 200);
    }
}

#[test]
fn after_a_lost_packet_the_same_check_is_up_and_after_an_outage_the_first_one() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    names.give_by_network("cache.test", V4);
    let settings = "reconnect_every = \"0s\"\ndns_recheck = \"0s\"";
    let start = || Sidecar::start_knowing(&names, settings, main_at("cache.test", redis.port()));
    let sidecar = start();
    sidecar.expect_up();
    for outage in [0, 1200, 3300, 5600] {
        names.lose(true);
        let began = Instant::now();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Requests that follow each other join the lookups that wait.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sidecar.health();
                    thread::sleep(Duration::from_millis(200));
                }
            });
            let lost_one = start();
            // The lookup of the first check has begun by then.
            let first = scope.spawn(move || lost_one.health());
            thread::sleep(Duration::from_millis(100.max(outage)));
            names.lose(false);
            println!("name servers lost packets for {:?}", began.elapsed());
            sidecar.expect_up();
            is_over.store(true, Ordering::Relaxed);
            if outage == 0 {
                assert_eq!(first.join().expect("an answer").code, 200, "its second lookup is answered");
            }
        });
        assert!(threads(&sidecar) <= 2 + 16 + 1, "{} threads", threads(&sidecar));
    }
}

/// A limit is for a process what a full process table is for a container: no thread can be started.
fn limit_threads(sidecar: &Sidecar, most: &str) {
    let mut prlimit = as_somebody("prlimit");
    prlimit.arg(format!("--pid={}", sidecar.pid())).arg(format!("--nproc={most}:"));
    assert!(prlimit.status().expect("prlimit, of util-linux").success());
}

#[test]
fn a_sidecar_without_another_thread_says_so_and_goes_on() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    names.give("cache.test", &[V4]);
    let mut command = as_somebody(env!("CARGO_BIN_EXE_cache-canary"));
    command.envs(names.environment());
    let settings = "reconnect_every = \"0s\"\ndns_recheck = \"0s\"";
    let main = main_at("cache.test", redis.port());
    let sidecar = Sidecar::start_by(command, &Port::reserve(), settings, main);
    sidecar.expect_up();
    eventually("its threads for names have ended", || threads(&sidecar) == 2);
    for _ in 0..2 {
        limit_threads(&sidecar, "1");
        // In this time it looks at its files, for which it needs a thread too.
        thread::sleep(Duration::from_secs(3));
        sidecar.signal(Signal::HUP);
        for _ in 0..3 {
            let words = sidecar.expect_down("unresolvable");
            assert!(words.contains("cache-canary has no free thread"), "{words}");
            let page = sidecar.raw("/health?format=text");
            assert!(page.contains("cache-canary lacks a resource"), "{page}");
            assert_eq!(sidecar.get("/livez").code, 200);
        }
        let most = getrlimit(Resource::Nproc).maximum;
        limit_threads(&sidecar, &most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string()));
        sidecar.expect_up();
        eventually("its threads for names have ended", || threads(&sidecar) == 2);
    }
}

#[test]
fn a_changed_configuration_is_taken_over_while_names_hang() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    let caches = beside_hung(&names, &redis, 64);
    let sidecar = Sidecar::start_knowing(&names, "", &caches);
    expect_hung_down_and_healthy_up(&sidecar.health_in_time(), 64);
    let before = threads(&sidecar);
    for times in 1..=3 {
        let settings = format!("timeout = \"{}ms\"", 600 + times);
        sidecar.configure(&settings, &caches);
        sidecar.signal(Signal::HUP);
        sidecar.wait_for_log("the new configuration is in force", times);
        expect_hung_down_and_healthy_up(&sidecar.health_in_time(), 64);
    }
    // Each name has a second lookup, whichever configuration asks for it.
    assert!(threads(&sidecar) <= before + 64 + 16, "{before}, then {}", threads(&sidecar));
}

#[test]
fn a_name_is_resolved_for_all_its_ports_together() {
    let servers = [(); 8].map(|()| Redis::start(&[]));
    let names = Names::new();
    names.hang(["cache.test".to_owned()], V4);
    let caches = servers
        .iter()
        .map(|redis| format!("[caches.at-{0}]\nurl = \"redis://cache.test:{0}\"\n", redis.port()));
    let sidecar = Sidecar::start_knowing(&names, "", caches.collect::<String>());
    assert_eq!(sidecar.health_in_time().code, 503);
    // One for the log, one for all else, and two for the name; a third lookup is due as the deadline strikes.
    let threads = threads(&sidecar);
    assert!((4..=5).contains(&threads), "{threads}");
    names.answered();
    eventually("the name is answered", || sidecar.health().code == 200);
}

#[test]
fn the_hint_for_a_name_that_hangs_points_to_name_servers_and_not_to_the_cache() {
    let redis = Redis::start(&[]);
    let names = Names::new();
    let sidecar = Sidecar::start_knowing(&names, "", beside_hung(&names, &redis, 1));
    let words = sidecar.raw("/health/hung-0?format=text");
    assert!(words.contains("timed_out") && words.contains("DNS servers answer"), "{words}");
    assert!(!words.contains("firewall"), "{words}");
}
