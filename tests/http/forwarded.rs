//! A real proxy before the sidecar: who its clients are, and what they can pretend to be.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::process::Command;

use crate::support::{Haproxy, Redis, Sidecar};
use serde_json::Value;

/// The answer to a client that asks the proxy from 127.0.0.1, or from another address of the loopback network.
fn ask(proxy: &Haproxy, from: &str, headers: &[&str]) -> (String, Value) {
    let url = format!("http://{}/health", proxy.addr());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--interface", from, "--max-time", "30", "--write-out", "\n%{http_code}", &url]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

fn shows_details(answer: &(String, Value)) -> bool {
    assert_eq!((answer.0.as_str(), &answer.1["status"]), ("200", &"UP".into()));
    answer.1.get("details").is_some()
}

/// Headers with which a client pretends to be 127.0.0.8, which sees the details.
const SPOOFED: [&str; 2] = ["X-Forwarded-For: 127.0.0.8", "Forwarded: for=127.0.0.8"];

/// The proxy asks from 127.0.0.1; 127.0.0.8 sees the details, 127.0.0.7 may not ask.
const ACCESS: &str = "[access]\nallow = [\"127.0.0.1\", \"127.0.0.8/29\"]\ndetails = [\"127.0.0.8\"]\n";

fn before(trusted: &str) -> (Redis, Sidecar, Haproxy) {
    let redis = Redis::start(&[]);
    let access = format!("{ACCESS}trusted_proxies = [{trusted}]\n");
    let sidecar = Sidecar::start_with(&access, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let proxy = Haproxy::forwarding(sidecar.addr(), "option forwardfor");
    (redis, sidecar, proxy)
}

#[test]
fn behind_a_trusted_haproxy_each_client_keeps_its_address_and_cannot_forge_another() {
    let (_redis, _sidecar, proxy) = before("\"127.0.0.1\"");
    assert!(shows_details(&ask(&proxy, "127.0.0.8", &[])));
    assert!(!shows_details(&ask(&proxy, "127.0.0.9", &[])));
    assert_eq!(ask(&proxy, "127.0.0.7", &[]), ("403".to_owned(), Value::Null));

    assert!(!shows_details(&ask(&proxy, "127.0.0.9", &SPOOFED)));
    assert!(!shows_details(&ask(&proxy, "127.0.0.9", &SPOOFED[..1])));
    assert!(!shows_details(&ask(&proxy, "127.0.0.9", &SPOOFED[1..])));
    assert_eq!(ask(&proxy, "127.0.0.7", &SPOOFED), ("403".to_owned(), Value::Null));
    // Nor can one header take away what another client may see.
    assert!(shows_details(&ask(&proxy, "127.0.0.8", &SPOOFED)));
}

#[test]
fn behind_a_haproxy_that_is_not_trusted_every_client_is_the_proxy() {
    let (_redis, _sidecar, proxy) = before("");
    for from in ["127.0.0.7", "127.0.0.8", "127.0.0.9"] {
        assert!(!shows_details(&ask(&proxy, from, &SPOOFED)), "{from}");
    }
}
