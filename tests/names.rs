//! Names and addresses: what a name leads to is found out at every dial, and in between.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use support::{BlackHole, Hosts, Redis, Sidecar};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANOTHER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn main_at(name: &str, port: u16) -> String {
    format!("[caches.main]\nurl = \"redis://{name}:{port}\"")
}

#[test]
fn a_name_with_both_families_is_up_whichever_of_them_listens() {
    let hosts = Hosts::new(&[("localhost", V4), ("localhost", V6)]);
    for address in ["127.0.0.1", "::1"] {
        let redis = Redis::start(&["--bind", address]);
        Sidecar::start_among(&hosts, "", main_at("localhost", redis.port())).expect_up();
    }
}

#[test]
fn an_ipv6_address_is_written_in_brackets() {
    let redis = Redis::start(&["--bind", "::1"]);
    Sidecar::start(main_at("[::1]", redis.port())).expect_up();
}

#[test]
fn an_address_that_does_not_answer_leaves_the_others_their_turn() {
    let redis = Redis::start(&["--bind", "127.0.0.1"]);
    for hung in [V6, ANOTHER_V4] {
        let hosts = Hosts::new(&[("cache.test", hung), ("cache.test", V4)]);
        let sidecar =
            Sidecar::start_among(&hosts, "reconnect_every = \"0s\"", main_at("cache.test", redis.port()));
        sidecar.expect_up();
        let hole = BlackHole::open_at(SocketAddr::new(hung, redis.port()));
        sidecar.expect_up();
        drop(hole);
        sidecar.expect_up();
    }
}

#[test]
fn where_no_address_of_a_name_answers_that_is_said_in_time() {
    let hole = BlackHole::open_at(SocketAddr::new(V6, 0));
    let also = BlackHole::open_at(SocketAddr::new(V4, hole.port()));
    let hosts = Hosts::new(&[("cache.test", V6), ("cache.test", V4)]);
    let sidecar = Sidecar::start_among(&hosts, "", main_at("cache.test", also.port()));
    let words = sidecar.expect_down("timed_out");
    assert!(words.contains(" connect "), "{words}");
    drop((hole, also));
    sidecar.expect_down("refused");
}

#[test]
fn a_name_that_is_given_later_is_up_at_the_next_request() {
    let redis = Redis::start(&[]);
    let hosts = Hosts::new::<IpAddr>(&[]);
    let sidecar = Sidecar::start_among(&hosts, "", main_at("cache.test", redis.port()));
    sidecar.expect_down("unresolvable");
    hosts.set(&[("cache.test", V4)]);
    sidecar.expect_up();
}

/// A failover by DNS: the server that the name led to takes no more writes, and the name leads elsewhere.
#[test]
fn a_kept_connection_is_dropped_once_its_name_leads_elsewhere() {
    let before = Redis::start(&["--bind", "127.0.0.1"]);
    let _after = Redis::start(&["--bind", "127.0.0.2", "--port", &before.port().to_string()]);
    let hosts = Hosts::new(&[("cache.test", V4)]);
    let start = |dns_recheck: &str| {
        let settings = format!("reconnect_every = \"1h\"\ndns_recheck = \"{dns_recheck}\"");
        Sidecar::start_among(&hosts, &settings, main_at("cache.test", before.port()))
    };
    let (rechecks, does_not) = (start("0s"), start("1h"));
    for sidecar in [&rechecks, &does_not] {
        sidecar.expect_up();
        sidecar.expect_up();
    }
    before.want_a_replica();
    rechecks.expect_down("write_blocked");
    hosts.set(&[("cache.test", ANOTHER_V4)]);
    rechecks.expect_up();
    does_not.expect_down("write_blocked");
    hosts.set::<IpAddr>(&[]);
    rechecks.expect_down("unresolvable");
    hosts.set(&[("cache.test", ANOTHER_V4)]);
    rechecks.expect_up();
}
