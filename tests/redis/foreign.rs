//! Servers of other protocols at a cache's address: the fault says what they sent, and what they are.

#![allow(clippy::expect_used, reason = "in a test a panic is the message")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::support::{Health, Memcached, Redis, Sidecar};

/// A server that greets each client, or waits for its first bytes, says this, and keeps the connection.
fn server(greets: bool, said: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                if greets || stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                    stream.write_all(said).ok();
                }
                while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
            });
        }
    });
    addr
}

/// The fault of a cache at this URL, and the hint and the next command for it.
fn met(url: &str, cause: &str) -> (String, String, String) {
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"{url}\"\n"));
    let words = sidecar.expect_down(cause);
    let Health { body, .. } = sidecar.health();
    let node = &body["details"]["cache.main"]["nodes"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (words, text(&body["errors"]["cache.main"]), text(&node["next"]))
}

#[test]
fn a_server_of_another_protocol_is_quoted_and_named() {
    let servers: [(bool, &[u8], &str, &str); 5] = [
        (false, b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "HTTP/1.1 400 Bad Request", "a web server"),
        (true, b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH-2.0-OpenSSH_9.2p1", "an SSH server"),
        (true, b"220 mail ESMTP\r\n", "220 mail ESMTP", "an SMTP or FTP server"),
        // It ends no line, and waits.
        (true, b"J\0\0\0\n8.0.36\0\x08\0\0\0", "8.0.36", "a MySQL server"),
        (true, b"\xff\xfd\x18\xff\xfd\x20", "", "a Telnet server"),
    ];
    for (greets, said, quoted, name) in servers {
        let addr = server(greets, said);
        for scheme in ["redis", "memcached"] {
            let (words, hint, _) = met(&format!("{scheme}://{addr}"), "protocol");
            assert!(words.contains("received `") && words.contains(quoted), "{scheme}: {words}");
            assert!(words.ends_with(&format!("`, as from {name}")), "{scheme}: {words}");
            assert!(hint.contains("Another kind of server"), "{hint}");
        }
        for scheme in ["rediss", "memcacheds"] {
            let (words, hint, _) = met(&format!("{scheme}://{addr}"), "tls");
            assert!(words.ends_with(&format!("as from {name}")), "{scheme}: {words}");
            assert!(hint.contains("Another kind of server") && !hint.contains("redis://"), "{hint}");
        }
    }
    let unknown = server(true, b"what?\r\n");
    let (words, hint, _) = met(&format!("redis://{unknown}"), "protocol");
    assert!(words.ends_with("is not Redis' protocol (RESP): received `what?`"), "{words}");
    assert!(hint.contains("The answer breaks the protocol"), "{hint}");
}

#[test]
fn the_text_of_a_foreign_server_may_repeat_a_password_and_is_withheld() {
    let addr = server(false, b"HTTP/1.1 400 sesame-opens\r\n\r\n");
    let (words, ..) = met(&format!("redis://:sesame-opens@{addr}"), "protocol");
    assert!(words.ends_with("(RESP), as from a web server"), "{words}");
    let addr = server(false, b"HTTP/1.1 400 sesame-opens\r\n\r\n");
    let (words, ..) = met(&format!("rediss://:sesame-opens@{addr}"), "tls");
    assert!(!words.contains("sesame") && words.contains("HTTP/1.1 400 ***"), "{words}");
}

#[test]
fn a_redis_and_a_memcached_are_told_apart() {
    let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
    let (words, hint, next) = met(&format!("redis://{}", memcached.addr()), "protocol");
    assert!(words.ends_with("received `ERROR`, as from a memcached"), "{words}");
    assert!(hint.contains("begin the URL with memcached://") && next.contains("version"), "{hint} {next}");
    let (words, hint, next) = met(&format!("memcached://{}", redis.addr()), "protocol");
    assert!(words.contains("received `-ERR unknown command"), "{words}");
    assert!(
        words.ends_with(", as from a Redis") && hint.contains("begin the URL with redis://"),
        "{words} {hint}"
    );
    assert!(next.starts_with("redis-cli ") && next.ends_with(" PING"), "{next}");
    let (words, ..) = met(&format!("rediss://{}", memcached.addr()), "tls");
    assert!(words.ends_with("ERROR, as from a memcached"), "{words}");
    for url in [format!("redis://{}", redis.addr()), format!("memcached://{}", memcached.addr())] {
        Sidecar::start(format!("[caches.main]\nurl = \"{url}\"\n")).expect_up();
    }
}
