//! TLS: who has to show what to whom, and what is said where it is not shown.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Authority, Identity, Memcached, Redis, Sidecar};
use tempfile::TempDir;

/// The files of an alias' TLS settings.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `cert_file` and `key_file` for this identity.
    fn identity(&self, name: &str, identity: &Identity) -> String {
        let cert_file = self.write(&format!("{name}.pem"), identity.certificate());
        let key_file = self.write(&format!("{name}.key"), identity.key());
        pair(&cert_file, &key_file)
    }
}

fn pair(cert_file: &Path, key_file: &Path) -> String {
    format!("cert_file = \"{}\", key_file = \"{}\"", cert_file.display(), key_file.display())
}

/// A server that speaks TLS, whichever it is.
trait Server {
    /// The scheme of a URL with TLS, and of one without.
    const SCHEMES: [&str; 2];
    fn start() -> Self;
    fn start_tls(server: &Identity, clients: Option<&Authority>) -> Self;
    fn port(&self) -> u16;
    fn kill(&mut self);
    fn restart(&mut self);
}

macro_rules! server {
    ($server:ty, $tls:literal, $plain:literal) => {
        impl Server for $server {
            const SCHEMES: [&str; 2] = [$tls, $plain];

            fn start() -> Self {
                Self::start(&[])
            }

            fn start_tls(server: &Identity, clients: Option<&Authority>) -> Self {
                Self::start_tls(server, clients)
            }

            fn port(&self) -> u16 {
                self.port()
            }

            fn kill(&mut self) {
                self.kill();
            }

            fn restart(&mut self) {
                self.restart();
            }
        }
    };
}

server!(Redis, "rediss", "redis");
server!(Memcached, "memcacheds", "memcached");

/// The rules for every server. One that does not speak TLS is down with this cause and these words.
fn tls_is_spoken_and_the_fault_of_a_certificate_is_reported<S: Server>(without: (&str, &str)) {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let files = Files::new();
    let ca_file = files.write("ca.pem", &trusted.certificate());
    let [with_tls, plain] = S::SCHEMES;
    let sidecar = |server: &S| {
        Sidecar::start(format!(
            "[caches.main]\nurl = \"{with_tls}://localhost:{}\"\ntls = {{ ca_file = \"{}\" }}",
            server.port(),
            ca_file.display()
        ))
    };
    let good = trusted.issue(&["localhost"]);
    let mut server = S::start_tls(&good, None);
    let beside = sidecar(&server);
    (0..3).for_each(|_| beside.expect_up());
    assert!(
        beside.health().body["details"]["cache.main"]["nodes"][0]["phases_ms"]["tls"].is_null(),
        "it is kept"
    );
    server.kill();
    beside.expect_down("refused");
    server.restart();
    beside.expect_up();
    for (identity, clients, said) in [
        (trusted.issue_expired(&["localhost"]), None, "expired"),
        (trusted.issue(&["elsewhere.example"]), None, "not valid for name"),
        (unknown.issue(&["localhost"]), None, "unknown issuer"),
        (trusted.issue(&["localhost"]), Some(&trusted), "CertificateRequired"),
    ] {
        let words = sidecar(&S::start_tls(&identity, clients)).expect_down("tls");
        assert!(words.contains(said), "{words}");
    }
    let (cause, said) = without;
    let words = sidecar(&S::start()).expect_down(cause);
    assert!(words.contains(said), "{words}");
    let server = S::start_tls(&good, None);
    let at_plain = format!("[caches.main]\nurl = \"{plain}://127.0.0.1:{}\"", server.port());
    Sidecar::start(at_plain).expect_down("unreachable");
}

#[test]
fn a_redis_speaks_tls_and_the_fault_of_its_certificate_is_reported() {
    // One that does not speak it waits for the end of what it takes for a command, and answers a PING.
    tls_is_spoken_and_the_fault_of_a_certificate_is_reported::<Redis>(("tls", "no TLS there? The handshake"));
}

#[test]
fn a_memcached_speaks_tls_and_the_fault_of_its_certificate_is_reported() {
    // One that does not speak it finds the end of a line in the handshake, and answers ERROR.
    tls_is_spoken_and_the_fault_of_a_certificate_is_reported::<Memcached>(("tls", "without it: ERROR"));
}

fn main_at(redis: &Redis, tls: &str) -> String {
    format!("[caches.main]\nurl = \"rediss://localhost:{}\"\ntls = {{ {tls} }}", redis.port())
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_the_configured_one() {
    let (authority, another) = (Authority::new(), Authority::new());
    let files = Files::new();
    let ca_file = files.write("ca.pem", &authority.certificate());
    let ca_file = format!("ca_file = {ca_file:?}");
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), Some(&authority));
    let sidecar = |client: &str| Sidecar::start(main_at(&redis, &format!("{ca_file}{client}")));

    let shown = format!(", {}", files.identity("client", &authority.issue(&["cache-canary"])));
    let up = sidecar(&shown);
    (0..3).for_each(|_| up.expect_up());

    let words = sidecar("").expect_down("tls");
    assert!(words.contains("CertificateRequired"), "{words}");
    let expired = format!(", {}", files.identity("expired", &authority.issue_expired(&["cache-canary"])));
    let words = sidecar(&expired).expect_down("tls");
    assert!(words.contains("the client certificate in tls.cert_file"), "{words}");
    let unknown = format!(", {}", files.identity("unknown", &another.issue(&["cache-canary"])));
    let words = sidecar(&unknown).expect_down("tls");
    assert!(words.contains("the client certificate in tls.cert_file"), "{words}");
    up.expect_up();
}

#[test]
fn a_certificate_may_have_another_name_than_the_host_if_configured() {
    let authority = Authority::new();
    let files = Files::new();
    let ca_file = files.write("ca.pem", &authority.certificate());
    let redis = Redis::start_tls(&authority.issue(&["cache.example"]), None);
    let sidecar = |name: &str| Sidecar::start(main_at(&redis, &format!("ca_file = {ca_file:?}{name}")));
    sidecar(", server_name = \"cache.example\"").expect_up();
    for name in ["", ", server_name = \"elsewhere.example\""] {
        let words = sidecar(name).expect_down("tls");
        assert!(words.contains("not valid for name"), "{words}");
    }
}

#[test]
fn an_unverified_certificate_is_accepted_only_if_configured_and_every_start_warns_of_it() {
    let unknown = Authority::new();
    let redis = Redis::start_tls(&unknown.issue_expired(&["elsewhere.example"]), None);
    let verifying = Sidecar::start(main_at(&redis, ""));
    verifying.expect_down("tls");
    assert!(!verifying.logged_at_start().contains("verif"), "{}", verifying.logged_at_start());
    let trusting = Sidecar::start(main_at(&redis, "verify = \"none\""));
    trusting.expect_up();
    let warning = trusting.logged_at_start().lines().find(|line| line.contains("verif")).unwrap();
    assert!(warning.contains("WARN") && warning.contains("main"), "{warning}");
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let files = Files::new();
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let missing = Path::new("/nowhere/ca.pem");
    let empty = files.write("empty.pem", "");
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let (certificate, key) = (files.write("one.pem", one.certificate()), files.write("two.key", two.key()));
    for (tls, said) in [
        (
            format!("ca_file = {missing:?}"),
            "cannot read the trusted certificate in /nowhere/ca.pem".to_owned(),
        ),
        (format!("ca_file = {empty:?}"), format!("no usable trusted certificate in {}", empty.display())),
        (pair(missing, &key), "cannot read the certificate in /nowhere/ca.pem".to_owned()),
        (
            pair(&certificate, &empty),
            format!("no usable private key in {}; the file is empty", empty.display()),
        ),
        (
            pair(&certificate, &key),
            format!(
                "the private key in {} does not belong to the certificate in {}",
                key.display(),
                certificate.display()
            ),
        ),
    ] {
        let config = files.write("cache-canary.toml", &main_at(&redis, &tls));
        let mut check = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
        let output = check.arg("check").arg("-c").arg(config).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&said), "{stderr}");
    }
}
