//! Every way to a memcached: credentials in text and by SASL, the binary protocol, TLS, sockets, IPv6. For
//! each healthy before, the right cause at the first request after the fault begins, within the deadline,
//! and up again at the first request after it ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Authority, Liar, Memcached, PASSWORD, Port, Relay, Sidecar, USER};

fn main_at(server: impl Display) -> String {
    format!("[caches.main]\nurl = \"memcached://{server}\"")
}

fn as_user(server: impl Display, password: &str) -> String {
    format!("{}\nusername = \"{USER}\"\npassword = \"{password}\"", main_at(server))
}

#[test]
fn credentials_are_given_in_text() {
    credentials_are_given(Memcached::start_with_auth_file(), "authentication failure", "unauthenticated");
}

#[test]
fn credentials_are_given_by_sasl() {
    credentials_are_given(Memcached::start_with_sasl(), "status 0x0020", "status 0x0020");
}

fn credentials_are_given(mut server: Memcached, wrong: &str, missing: &str) {
    let kept = Sidecar::start(as_user(server.addr(), PASSWORD));
    let dialing = Sidecar::start_with("reconnect_every = \"0s\"", as_user(server.addr(), PASSWORD));
    for _ in 0..4 {
        kept.expect_up();
        dialing.expect_up();
    }
    assert!(kept.health().body["details"]["cache.main"]["nodes"][0]["phases_ms"]["auth"].is_null());
    for (caches, said) in [(as_user(server.addr(), "wrong"), wrong), (main_at(server.addr()), missing)] {
        let sidecar = Sidecar::start(caches);
        for _ in 0..3 {
            let words = sidecar.expect_down("auth");
            assert!(words.contains(" auth ") && words.contains(said), "{words}");
            let next = &sidecar.health().body["details"]["cache.main"]["nodes"][0]["next"];
            let (host, port) = (server.addr().ip(), server.port());
            assert_eq!(*next, format!("printf 'version\\r\\nquit\\r\\n' | nc -w 2 {host} {port}"));
        }
    }
    server.kill();
    kept.expect_down("refused");
    server.restart();
    kept.expect_up();
    server.stop();
    assert!(kept.expect_down("timed_out").contains(" write "));
    assert!(dialing.expect_down("timed_out").contains(" auth "));
    server.cont();
    kept.expect_up();
    dialing.expect_up();
}

#[test]
fn a_server_that_wants_no_credentials_is_told_from_one_that_does_though_they_take_turns() {
    for mut server in [Memcached::start_with_auth_file(), Memcached::start_with_sasl()] {
        let (with, without) =
            (Sidecar::start(as_user(server.addr(), PASSWORD)), Sidecar::start(main_at(server.addr())));
        for _ in 0..2 {
            with.expect_up();
            without.expect_down("auth");
            server.kill();
            server.restart_plain();
            assert!(
                with.expect_down("auth")
                    .contains("the server has no authentication, but credentials are configured")
            );
            assert_eq!(server.command("get auth"), "END");
            without.expect_up();
            server.kill();
            server.restart();
        }
        with.expect_up();
    }
}

#[test]
fn a_server_that_hangs_as_its_credentials_are_read_times_out_in_that_phase() {
    for server in [Memcached::start_with_auth_file(), Memcached::start_with_sasl()] {
        let sidecar = Sidecar::start(as_user(server.addr(), PASSWORD));
        server.stop();
        for _ in 0..2 {
            assert!(sidecar.expect_down("timed_out").contains(" auth "));
        }
        server.cont();
        sidecar.expect_up();
    }
}

/// A way to the server for binary alone: text is cut off. `before` sees each request.
fn in_binary(server: &Memcached, before: impl Fn(&[u8]) + Send + Sync + 'static) -> Relay {
    Relay::start(server.addr(), move |piece| {
        before(piece);
        piece.starts_with(&[0x80])
    })
}

#[test]
fn in_binary_a_full_server_is_out_of_memory_on_every_check_and_keeps_the_canaries() {
    let server = Memcached::start(&["-m", "2", "-M"]);
    let relay = in_binary(&server, |_| ());
    let sidecar = Sidecar::start(main_at(relay.addr()));
    for _ in 0..3 {
        sidecar.expect_up();
    }
    server.fill();
    let touched = || server.stat("cmd_touch").parse::<u32>().unwrap();
    for _ in 0..20 {
        let before = touched();
        assert!(sidecar.expect_down("out_of_memory").contains("Out of memory"));
        assert_eq!(touched(), before + 2);
    }
    server.make_room();
    sidecar.expect_up();
}

#[test]
fn in_binary_a_canary_that_is_flushed_between_write_and_read_is_masked() {
    let server = Arc::new(Memcached::start(&[]));
    let flush = Arc::new(AtomicBool::new(false));
    let relay = in_binary(&server, {
        let (server, flush) = (server.clone(), flush.clone());
        // 0x0c reads.
        move |piece| {
            if flush.load(Ordering::SeqCst) && piece.get(1) == Some(&0x0c) {
                server.command("flush_all");
            }
        }
    });
    let sidecar = Sidecar::start(main_at(relay.addr()));
    for _ in 0..5 {
        sidecar.expect_up();
        assert!(server.stat("curr_items").parse::<u32>().unwrap() <= 2);
    }
    flush.store(true, Ordering::SeqCst);
    sidecar.expect_down("masked");
    flush.store(false, Ordering::SeqCst);
    sidecar.expect_up();
}

/// Changes an answer in binary; none closes the connection.
type Lie = fn(&[u8]) -> Option<Vec<u8>>;

fn with(answer: &[u8], place: usize, bytes: &[u8]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    answer[place..place + bytes.len()].copy_from_slice(bytes);
    answer
}

#[test]
fn every_lie_in_binary_is_seen_at_the_first_check() {
    // The places are those of the header ("Packet Structure").
    let lies: &[(&str, &str, Lie)] = &[
        ("protocol", "not memcached's binary protocol", |_| Some(b"ERROR\r\n".to_vec())),
        ("protocol", "for another request", |answer| Some(with(answer, 1, &[0x0b]))),
        ("protocol", "for another request", |answer| Some(with(answer, 12, b"opaq"))),
        ("protocol", "longer than the whole", |answer| Some(with(answer, 2, &[1, 0]))),
        ("protocol", "longer than this command allows", |answer| Some(with(answer, 8, &[0xff; 4]))),
        ("protocol", "the server sent more data", |answer| Some([answer, answer].concat())),
        ("unreachable", "the connection without an answer", |_| None),
        ("timed_out", "no answer", |answer| Some(answer[..12].to_vec())),
        ("timed_out", "no answer", |answer| Some(with(answer, 8, &[0, 0, 0xff, 0]))),
        ("not_stored", "status 0x0003", |answer| Some(with(answer, 6, &[0, 3]))),
        ("not_stored", "status 0x0005", |answer| Some(with(answer, 6, &[0, 5]))),
        ("auth", "status 0x0020", |answer| Some(with(answer, 6, &[0, 0x20]))),
        ("out_of_memory", "status 0x0082", |answer| Some(with(answer, 6, &[0, 0x82]))),
        ("unreachable", "status 0x0084", |answer| Some(with(answer, 6, &[0, 0x84]))),
        ("forbidden", "status 0x0081", |answer| Some(with(answer, 6, &[0, 0x81]))),
        ("protocol", "status 0xffff", |answer| Some(with(answer, 6, &[0xff, 0xff]))),
    ];
    let server = Memcached::start(&[]);
    let told = Arc::new(Mutex::new(None::<Lie>));
    let tells = told.clone();
    let relay = Relay::start_lying(
        server.addr(),
        |piece| piece.starts_with(&[0x80]),
        // 0x0a is the question whether binary is spoken.
        move |answer| match *tells.lock().unwrap() {
            Some(lie) if answer.get(1) != Some(&0x0a) => lie(answer),
            Some(_) | None => Some(answer.to_vec()),
        },
    );
    let sidecar = Sidecar::start(main_at(relay.addr()));
    for (cause, said, lie) in lies {
        for healthy_before in [1, 2] {
            (0..healthy_before).for_each(|_| sidecar.expect_up());
            *told.lock().unwrap() = Some(*lie);
            for _ in 0..2 {
                let words = sidecar.expect_down(cause);
                assert!(words.contains(said), "{cause}, {said}: {words}");
            }
            *told.lock().unwrap() = None;
            sidecar.expect_up();
        }
    }
}

#[test]
fn a_unix_socket_is_a_way_in() {
    let mut server = Memcached::start_on_socket();
    let sidecar = Sidecar::start(main_at(server.socket().display()));
    (0..3).for_each(|_| sidecar.expect_up());
    server.kill();
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&format!("unix:{} connect", server.socket().display())), "{words}");
    server.restart();
    sidecar.expect_up();
    server.stop();
    sidecar.expect_down("timed_out");
    server.cont();
    sidecar.expect_up();
}

#[test]
fn ipv6_is_a_way_in() {
    let [port] = Port::reserve_each([Ipv6Addr::LOCALHOST.into()]);
    let mut server = Memcached::start_at(port, &[]);
    let sidecar = Sidecar::start(main_at(server.addr()));
    (0..3).for_each(|_| sidecar.expect_up());
    server.kill();
    let words = sidecar.expect_down("refused");
    assert!(words.contains(&format!("[::1]:{} connect", server.port())), "{words}");
    server.restart();
    sidecar.expect_up();
}

#[test]
fn the_next_command_of_a_fault_runs_over_tls_too() {
    let server = Memcached::start_tls_with(&Authority::new().issue(&["localhost"]), None, &["-m", "2", "-M"]);
    let caches = format!("[caches.main]\nurl = \"memcacheds://{}\"\ntls.verify = \"none\"", server.addr());
    let sidecar = Sidecar::start(caches);
    sidecar.expect_up();
    server.fill();
    sidecar.expect_down("out_of_memory");
    let health = sidecar.health();
    let next = health.body["details"]["cache.main"]["nodes"][0]["next"].as_str().unwrap();
    let told = Command::new("sh").args(["-c", next]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("STAT bytes "), "{next}: {told}");
    server.make_room();
    sidecar.expect_up();
}

#[test]
fn a_proxy_that_refuses_meta_commands_in_any_words_is_spoken_to_in_classic_text() {
    for refusal in [
        "CLIENT_ERROR malformed request\r\n",
        "CLIENT_ERROR bad command\r\n",
        "SERVER_ERROR Command disabled\r\n",
        "SERVER_ERROR unavailable\r\n",
        "ERROR unknown command\r\n",
        "ERROR\r\n",
    ] {
        for closes in [true, false] {
            let proxy = Liar::classic(refusal, closes);
            let (kept, dialling) = (
                Sidecar::start(main_at(proxy.addr)),
                Sidecar::start_with("reconnect_every = \"0s\"", main_at(proxy.addr)),
            );
            for sidecar in [&kept, &dialling] {
                (0..3).for_each(|_| sidecar.expect_up());
                proxy.lie(Some(b"SERVER_ERROR connection error\r\n"));
                assert!(sidecar.expect_down("unreachable").contains("connection error"), "{refusal}");
                proxy.lie(Some(b"SERVER_ERROR Command disabled\r\n"));
                sidecar.expect_down("forbidden");
                let hint = sidecar.health().body["errors"]["cache.main"].to_string();
                assert!(
                    hint.contains("does not take this command: `cache-canary check --explain`"),
                    "{hint}"
                );
                proxy.lie(None);
                sidecar.expect_up();
            }
        }
    }
}

#[test]
fn a_full_server_is_no_proxy_without_meta_commands() {
    for closes in [true, false] {
        let full = Liar::classic("ERROR Too many open connections\r\n", closes);
        let words = Sidecar::start(main_at(full.addr)).expect_down("refused");
        assert!(words.contains("Too many open connections"), "{words}");
    }
}

/// Early versions of memcached 1.6 know `mn`, and have the length of a value elsewhere in `ms`.
#[test]
fn a_server_with_other_meta_commands_is_spoken_to_in_classic_text() {
    let server = Memcached::start(&[]);
    let is_meta = Arc::new(AtomicBool::new(false));
    let asks = is_meta.clone();
    let relay = Relay::start_lying(
        server.addr(),
        move |piece| {
            asks.store(piece.starts_with(b"ms "), Ordering::SeqCst);
            true
        },
        move |answer| {
            let refused = b"CLIENT_ERROR invalid or duplicate flag\r\nERROR\r\n".to_vec();
            Some(if is_meta.load(Ordering::SeqCst) { refused } else { answer.to_vec() })
        },
    );
    let sidecar = Sidecar::start(main_at(relay.addr()));
    for _ in 0..3 {
        sidecar.expect_up();
    }
    server.stop();
    sidecar.expect_down("timed_out");
    server.cont();
    sidecar.expect_up();
}
