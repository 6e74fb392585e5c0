//! `healthcheck` of a server that speaks TLS: whom it believes, and whom it does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use tempfile::TempDir;

use crate::support::{Authority, Identity, https};
use crate::{cache_canary, stderr, stdout};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nup\n";

/// A server that speaks TLS, an authority that it may have its certificate from, and a directory for PEM files.
struct Tls {
    authority: Authority,
    files: TempDir,
}

impl Tls {
    fn new() -> Self {
        Self { authority: Authority::new(), files: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    }

    fn ca_file(&self) -> PathBuf {
        self.file("ca.pem", &self.authority.certificate())
    }

    /// Serves with this certificate. If an authority is named, only clients with a certificate of it are served.
    fn serve(identity: &Identity, clients: Option<&Authority>) -> SocketAddr {
        https::serve(identity, clients, ANSWER)
    }
}

fn ask(address: SocketAddr, arguments: &[&str]) -> Output {
    let url = format!("https://{address}/health");
    cache_canary().args(["healthcheck", "--url", &url]).args(arguments).output().unwrap()
}

fn expect_up(output: &Output) {
    assert_eq!((output.status.code(), &*stdout(output)), (Some(0), "up\n"), "{}", stderr(output));
}

fn expect_refused(output: &Output, words: &str) {
    assert_eq!((output.status.code(), &*stdout(output)), (Some(1), ""));
    assert!(stderr(output).starts_with("error: "), "{}", stderr(output));
    assert!(stderr(output).contains(words), "{}", stderr(output));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn https_is_believed_with_the_right_authority_and_name_alone() {
    let tls = Tls::new();
    let ca_file = tls.ca_file();
    let right = Tls::serve(&tls.authority.issue(&["127.0.0.1"]), None);
    expect_up(&ask(right, &["--ca-file", text(&ca_file)]));
    expect_refused(&ask(right, &[]), "of an unknown issuer");
    expect_refused(&ask(right, &[]), "--ca-file has its CA certificate");

    let other_name = Tls::serve(&tls.authority.issue(&["cache-canary.internal"]), None);
    expect_refused(&ask(other_name, &["--ca-file", text(&ca_file)]), "only for cache-canary.internal");
    let expired = Tls::serve(&tls.authority.issue_expired(&["127.0.0.1"]), None);
    expect_refused(&ask(expired, &["--ca-file", text(&ca_file)]), "expired at 2001-12-31");

    for address in [other_name, expired] {
        expect_up(&ask(address, &["--insecure"]));
    }
    let nowhere = tls.files.path().join("nowhere.pem");
    expect_refused(&ask(right, &["--ca-file", text(&nowhere)]), "cannot read the trusted certificate in ");
}

#[test]
fn the_system_s_certificates_are_those_that_the_environment_names() {
    let tls = Tls::new();
    let address = Tls::serve(&tls.authority.issue(&["127.0.0.1"]), None);
    let url = format!("https://{address}/health");
    let mut command = cache_canary();
    command.arg("healthcheck").env("CACHE_CANARY_URL", url).env("SSL_CERT_FILE", tls.ca_file());
    expect_up(&command.output().unwrap());
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() {
    let tls = Tls::new();
    let clients = Authority::new();
    let address = Tls::serve(&tls.authority.issue(&["127.0.0.1"]), Some(&clients));
    let client = clients.issue(&["probe"]);
    let cert_file = tls.file("client.pem", client.certificate());
    let key_file = tls.file("client.key", client.key());
    let shown = ["--cert-file", text(&cert_file), "--key-file", text(&key_file)];
    expect_up(&ask(address, &[&["--insecure"], &shown[..]].concat()));
    expect_up(&ask(address, &[&["--ca-file", text(&tls.ca_file())], &shown[..]].concat()));
    expect_refused(&ask(address, &["--insecure"]), "CertificateRequired");
}

#[test]
fn beside_a_server_with_tls_only_its_own_certificate_is_accepted_under_any_name() {
    let tls = Tls::new();
    let identity = tls.authority.issue(&["cache-canary.internal"]);
    let address = Tls::serve(&identity, None);
    let own = tls.file("own.pem", identity.certificate());
    let other = tls.file("other.pem", tls.authority.issue(&["cache-canary.internal"]).certificate());
    let beside = |cert_file: &Path, arguments: &[&str]| {
        let mut command = cache_canary();
        command.arg("healthcheck").args(arguments).env("CACHE_CANARY_TLS__CERT_FILE", cert_file);
        command.env("CACHE_CANARY_LISTEN", format!("0.0.0.0:{}", address.port())).output().unwrap()
    };
    expect_up(&beside(&own, &[]));
    // Issued by the same authority for the same name, and still not the server's.
    expect_refused(&beside(&other, &[]), &format!("the server's certificate is not in {}", other.display()));
    expect_up(&beside(&other, &["--insecure"]));
    expect_refused(&beside(&own, &["--ca-file", text(&tls.ca_file())]), "is not valid for name ");
    let file = tls.files.path().join("canary.toml");
    let listener = format!(
        "listen = \"0.0.0.0:{}\"\ntls.cert_file = {own:?}\ntls.key_file = \"/nowhere\"",
        address.port()
    );
    std::fs::write(&file, listener).unwrap();
    expect_up(&cache_canary().args(["healthcheck", "-c", text(&file)]).output().unwrap());
    // An empty variable is none, and then it is asked without TLS.
    let plain = beside(Path::new(""), &[]);
    expect_refused(&plain, &format!("no answer from http://127.0.0.1:{}/health", address.port()));
}

#[test]
fn a_server_without_tls_is_not_taken_for_one_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(ANSWER));
        }
    });
    expect_refused(
        &ask(address, &["--insecure"]),
        &format!("the TLS handshake with https://{address}/health failed"),
    );
}
