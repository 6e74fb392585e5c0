//! Names and addresses: what a name leads to is found out at every dial, and in between.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use support::{BlackHole, Names, Port, Redis, Sidecar};

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
fn localhost_is_up_where_the_system_has_it() {
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
fn where_no_address_of_a_name_answers_that_is_said_in_time() {
    let holes = ports([V6, V4]).map(BlackHole::open_at);
    let names = Names::new();
    names.give("cache.test", &[V6, V4]);
    let sidecar = Sidecar::start_knowing(&names, "", main_at("cache.test", holes[0].port()));
    let words = sidecar.expect_down("timed_out");
    assert!(words.contains(" connect "), "{words}");
    drop(holes);
    sidecar.expect_down("refused");
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
fn many_names_are_looked_up_by_a_few_threads() {
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
    let threads = std::fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap().count();
    assert!((2..=17).contains(&threads), "one for all else, and sixteen for names: {threads}");
}
