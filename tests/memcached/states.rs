//! Real memcached servers in every state that a health check must see: healthy before, the right cause at the
//! first request after the fault begins, within the deadline, and up again at the first request after it
//! ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{BlackHole, Memcached, Port, Relay, Sidecar, eventually};

fn ring(addrs: &[std::net::SocketAddr]) -> String {
    let servers: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    format!("[caches.main]\nbackend = \"memcached\"\nservers = {servers:?}")
}

/// A sidecar that looks after this server.
fn beside(memcached: &Memcached) -> Sidecar {
    Sidecar::start(ring(&[memcached.addr()]))
}

#[test]
fn a_killed_server_is_refused() {
    let mut memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    sidecar.expect_up();
    memcached.kill();
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&format!("{} connect", memcached.addr())), "{words}");
    memcached.restart();
    sidecar.expect_up();
}

#[test]
fn a_restart_between_two_checks_is_no_fault() {
    let mut memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    sidecar.expect_up();
    memcached.kill();
    memcached.restart();
    sidecar.expect_up();
}

#[test]
fn a_stopped_server_times_out_in_the_write() {
    let memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    sidecar.expect_up();
    memcached.stop();
    for _ in 0..3 {
        let words = sidecar.expect_down("timed_out");
        assert!(words.contains(" write "), "{words}");
    }
    memcached.cont();
    sidecar.expect_up();
}

#[test]
fn a_server_that_is_stopped_before_the_first_check_times_out_too() {
    let memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    memcached.stop();
    let words = sidecar.expect_down("timed_out");
    assert!(words.contains(" auth "), "its dialect was never found out: {words}");
    memcached.cont();
    sidecar.expect_up();
}

#[test]
fn a_black_hole_and_a_refusing_port_are_told_apart() {
    Sidecar::start(ring(&[BlackHole::open().addr()])).expect_down("timed_out");
    Sidecar::start(ring(&[Port::reserve().addr()])).expect_down("refused");
}

#[test]
fn a_full_server_that_may_not_evict_is_out_of_memory_on_every_check_and_not_on_every_second_one() {
    let memcached = Memcached::start(&["-m", "2", "-M"]);
    let sidecar = beside(&memcached);
    for _ in 0..3 {
        sidecar.expect_up();
    }
    memcached.fill();
    for _ in 0..20 {
        assert!(sidecar.expect_down("out_of_memory").contains("out of memory storing object"));
    }
    memcached.make_room();
    sidecar.expect_up();
}

#[test]
fn a_full_server_keeps_the_canaries_because_a_freed_place_would_show_it_up_once() {
    let memcached = Memcached::start(&["-m", "2", "-M"]);
    let sidecar = beside(&memcached);
    sidecar.expect_up();
    sidecar.expect_up();
    memcached.fill();
    let touched = || memcached.stat("cmd_touch").parse::<u32>().unwrap();
    let before = touched();
    sidecar.expect_down("out_of_memory");
    assert_eq!(touched(), before + 2);
}

#[test]
fn a_connection_limit_is_seen_by_the_next_dial_and_not_by_a_kept_connection() {
    let memcached = Memcached::start(&["-c", "64"]);
    let kept = beside(&memcached);
    let dialing = Sidecar::start_with("reconnect_every = \"0s\"", ring(&[memcached.addr()]));
    kept.expect_up();
    dialing.expect_up();
    let held = memcached.reach_connection_limit();
    kept.expect_up();
    for _ in 0..4 {
        assert!(dialing.expect_down("refused").contains("Too many open connections"));
    }
    drop(held);
    dialing.expect_up();
}

#[test]
fn a_full_server_that_lets_clients_wait_is_told_by_the_hint_for_its_limit() {
    let memcached = Memcached::start(&["-c", "64", "-o", "no_maxconns_fast"]);
    let dialing = Sidecar::start_with("reconnect_every = \"0s\"", ring(&[memcached.addr()]));
    dialing.expect_up();
    // A full server has the system drop further connections.
    let connect = |_| TcpStream::connect_timeout(&memcached.addr(), Duration::from_millis(200)).ok();
    let held: Vec<_> = (0..80).map_while(connect).collect();
    dialing.expect_down("timed_out");
    let hint = dialing.health().body["errors"]["cache.main"].to_string();
    assert!(hint.contains("at its connection limit (`-c`)"), "{hint}");
    drop(held);
    eventually("it takes connections again", || dialing.health().code == 200);
}

#[test]
fn one_dead_server_of_three_takes_the_alias_down_and_is_named() {
    let mut servers = [(); 3].map(|()| Memcached::start(&[]));
    let addrs = servers.each_ref().map(Memcached::addr);
    let sidecar = Sidecar::start(ring(&addrs));
    sidecar.expect_up();
    for (dead, server) in servers.iter_mut().enumerate() {
        server.kill();
        let health = sidecar.health();
        assert_eq!(health.code, 503);
        let nodes = health.body["details"]["cache.main"]["nodes"].as_array().unwrap();
        for (place, node) in nodes.iter().enumerate() {
            assert_eq!(node["node"], addrs[place].to_string());
            assert_eq!(node["status"], if place == dead { "DOWN" } else { "UP" });
        }
        server.restart();
        sidecar.expect_up();
    }
}

#[test]
fn hung_servers_are_waited_for_together() {
    let servers = [(); 3].map(|()| Memcached::start(&[]));
    let sidecar = Sidecar::start(ring(&servers.each_ref().map(Memcached::addr)));
    sidecar.expect_up();
    servers.iter().for_each(Memcached::stop);
    // Within one deadline, and not within three.
    sidecar.expect_down("timed_out");
    servers.iter().for_each(Memcached::cont);
    sidecar.expect_up();
}

#[test]
fn a_canary_that_is_flushed_between_write_and_read_is_masked() {
    let memcached = Arc::new(Memcached::start(&[]));
    let flush = Arc::new(AtomicBool::new(false));
    let relay = Relay::start(memcached.addr(), {
        let (memcached, flush) = (memcached.clone(), flush.clone());
        move |piece| {
            if flush.load(Ordering::SeqCst) && piece.starts_with(b"mg ") {
                memcached.command("flush_all");
            }
            true
        }
    });
    let sidecar = Sidecar::start(ring(&[relay.addr()]));
    sidecar.expect_up();
    sidecar.expect_up();
    flush.store(true, Ordering::SeqCst);
    let words = sidecar.expect_down("masked");
    assert!(words.contains(" read "), "{words}");
    flush.store(false, Ordering::SeqCst);
    sidecar.expect_up();
}

#[test]
fn at_most_two_keys_are_left_behind_and_they_expire() {
    let memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    for _ in 0..25 {
        sidecar.expect_up();
    }
    assert_eq!(memcached.stat("curr_items"), "2");
    let dump = memcached.command("lru_crawler metadump all");
    assert!(dump.contains("key=djblets-canary") && !dump.contains("exp=-1"), "{dump}");
}

#[test]
fn evicted_canaries_are_no_fault() {
    let memcached = Memcached::start(&[]);
    let sidecar = beside(&memcached);
    for _ in 0..5 {
        sidecar.expect_up();
        memcached.command("flush_all");
    }
}

#[test]
fn a_server_without_meta_commands_is_spoken_to_in_classic_text() {
    let memcached = Arc::new(Memcached::start(&[]));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    // Cuts the connection on what it does not know, as proxies do: meta commands, and the binary protocol.
    let relay = Relay::start(memcached.addr(), {
        let seen = seen.clone();
        move |piece| {
            seen.lock().unwrap().extend_from_slice(piece);
            !piece.starts_with(b"m") && !piece.starts_with(&[0x80])
        }
    });
    let sidecar = Sidecar::start(ring(&[relay.addr()]));
    for _ in 0..3 {
        sidecar.expect_up();
    }
    assert!(String::from_utf8_lossy(&seen.lock().unwrap()).contains("get djblets-canary"));
    memcached.stop();
    sidecar.expect_down("timed_out");
    memcached.cont();
    sidecar.expect_up();
}
