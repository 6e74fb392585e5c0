//! TLS with who asks the sidecar, by a real client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the message")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use crate::support::openssl::{OpenSsl, RSA};
use crate::support::{Authority, Identity, Redis, Sidecar, run, tls_client};
use tokio_rustls::rustls::HandshakeKind;

/// A sidecar that speaks TLS, and the files that it and its callers have.
struct Secured {
    dir: tempfile::TempDir,
    _redis: Redis,
    sidecar: Sidecar,
}

impl Secured {
    /// One with this identity, that asks for certificates of `clients` if those are given.
    fn start(authority: &Authority, clients: Option<&Authority>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("{:?}", path.to_str().unwrap())
        };
        let server = authority.issue(&["localhost"]);
        write("ca.pem", &authority.certificate());
        let (cert, key) = (write("server.pem", server.certificate()), write("server.key", server.key()));
        let clients = clients.map(|clients| write("clients.pem", &clients.certificate()));
        let clients = clients.map(|path| format!("client_ca_file = {path}\n")).unwrap_or_default();
        let tls = format!("[tls]\ncert_file = {cert}\nkey_file = {key}\n{clients}");
        let redis = Redis::start(&[]);
        let sidecar = Sidecar::start_with(&tls, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
        Self { dir, _redis: redis, sidecar }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Asks `/livez` with curl, which trusts the authority.
    fn ask(&self, arguments: &[&str]) -> Output {
        self.ask_without_trust(&[&["--cacert", self.path("ca.pem").to_str().unwrap()], arguments].concat())
    }

    fn ask_without_trust(&self, arguments: &[&str]) -> Output {
        let (_, port) = self.sidecar.addr().rsplit_once(':').unwrap();
        let url = format!("https://localhost:{port}/livez");
        let words = "%{http_code} %{http_version}";
        let common = ["--silent", "--ipv4", "--max-time", "30", "--write-out", words, &url];
        Command::new("curl").args(common).args(arguments).output().unwrap()
    }

    /// Asks with this certificate.
    fn ask_as(&self, client: &Identity, arguments: &[&str]) -> Output {
        let (cert, key) = (self.path("client.pem"), self.path("client.key"));
        std::fs::write(&cert, client.certificate()).unwrap();
        std::fs::write(&key, client.key()).unwrap();
        let shown = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
        self.ask(&[&shown[..], arguments].concat())
    }
}

/// The answer, and its version of HTTP.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_caller_that_trusts_the_authority_is_answered_in_each_version_of_tls_and_of_http() {
    let secured = Secured::start(&Authority::new(), None);
    for (version, most) in [("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")] {
        for (http, answer) in [("--http1.1", "ok\n200 1.1"), ("--http2", "ok\n200 2")] {
            let output = secured.ask(&[version, "--tls-max", most, http]);
            assert_eq!(said(&output), answer, "{version} {http}: {output:?}");
        }
    }
    let output = secured.ask_without_trust(&[]);
    // The certificate is none that it knows.
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(60), "000 0"));
    let output = secured.ask(&["--tls-max", "1.1"]);
    assert_eq!(said(&output), "000 0", "{output:?}");
}

#[test]
fn a_caller_that_comes_back_resumes_its_session() {
    let authority = Authority::new();
    let secured = Secured::start(&authority, None);
    let client = tls_client::client(&authority);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let mut stream = tls_client::over(TcpStream::connect(secured.sidecar.addr()).unwrap(), &client);
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(stream.conn.handshake_kind(), Some(expected));
    }
}

#[test]
fn a_client_without_a_certificate_of_the_right_authority_is_not_answered() {
    let clients = Authority::new();
    let secured = Secured::start(&Authority::new(), Some(&clients));
    let (right, expired) = (clients.issue(&["prober"]), clients.issue_expired(&["prober"]));
    let stranger = Authority::new().issue(&["prober"]);
    for version in ["1.2", "1.3"] {
        let limits = ["--tls-max", version];
        assert_eq!(said(&secured.ask_as(&right, &limits)), "ok\n200 2", "{version}");
        for refused in
            [secured.ask(&limits), secured.ask_as(&stranger, &limits), secured.ask_as(&expired, &limits)]
        {
            assert!(!refused.status.success(), "{version}: {refused:?}");
            assert!(!said(&refused).contains("ok"), "{version}: {refused:?}");
        }
    }
}

#[test]
fn who_speaks_no_tls_is_told_so_and_the_next_is_answered() {
    let secured = Secured::start(&Authority::new(), None);
    let url = format!("http://{}/livez", secured.sidecar.addr());
    let plain = |version: &str| {
        let arguments = ["--silent", "--verbose", "--max-time", "30", version, &url];
        Command::new("curl").args(arguments).output().unwrap()
    };
    let refusal = "this connection sent HTTP without TLS, but this address serves HTTPS: use https://\n";
    assert_eq!(said(&plain("--http1.1")), refusal);
    let http2 = plain("--http2-prior-knowledge");
    assert!(!said(&http2).contains("ok"), "{http2:?}");
    secured.sidecar.wait_for_log("sent HTTP without TLS, but this address serves HTTPS", 1);
    secured.sidecar.wait_for_log("sent HTTP/2 without TLS, but this address serves HTTPS", 1);
    assert_eq!(said(&secured.ask(&[])), "ok\n200 2");
}

#[test]
fn a_client_that_never_ends_its_handshake_delays_no_other_and_is_closed() {
    let secured = Secured::start(&Authority::new(), None);
    let mut stalled = TcpStream::connect(secured.sidecar.addr()).unwrap();
    // The first bytes of a handshake.
    stalled.write_all(&[22, 3, 1, 2, 0]).unwrap();
    assert_eq!(said(&secured.ask(&[])), "ok\n200 2");
    stalled.set_read_timeout(Some(crate::support::MAX_WAIT)).unwrap();
    let mut rest = Vec::new();
    // Within the time that a request's head may take; a reset is an end too.
    let end = stalled.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?} {rest:?}");
}

#[test]
fn files_that_cannot_be_used_are_named_and_nothing_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = Authority::new();
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let (cert, key) = (write("one.pem", one.certificate()), write("one.key", one.key()));
    let (other, empty) = (write("two.key", two.key()), write("empty.pem", ""));
    let missing = "/nowhere/tls.pem".to_owned();
    let cannot = |what: &str, path: &str| format!("cannot read the {what} in {path}");
    for (cert, key, clients, said) in [
        (&missing, &key, None, cannot("certificate", &missing)),
        (&cert, &missing, None, cannot("private key", &missing)),
        (&cert, &empty, None, format!("no usable private key in {empty}; the file is empty")),
        (&empty, &key, None, format!("no usable certificate in {empty}")),
        (
            &cert,
            &other,
            None,
            format!("the private key in {other} does not belong to the certificate in {cert}"),
        ),
        (&cert, &key, Some(&missing), cannot("trusted certificate", &missing)),
        (&cert, &key, Some(&empty), format!("no usable trusted certificate in {empty}")),
    ] {
        let clients = clients.map(|path| format!("client_ca_file = {path:?}\n")).unwrap_or_default();
        let config = format!(
            "listen = \"127.0.0.1:0\"\n[tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n{clients}\
             [caches.main]\nurl = \"redis://127.0.0.1:1\"\n"
        );
        let output = run(&["serve"], &config);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("error: {said}")), "{stderr}");
        assert!(!stderr.contains("listening"), "{stderr}");
    }
}

#[test]
fn a_refusal_of_either_sides_certificate_is_logged_with_its_reason_and_at_a_bounded_rate() {
    let clients = Authority::new();
    let secured = Secured::start(&Authority::new(), Some(&clients));
    let right = clients.issue(&["prober"]);
    assert_eq!(said(&secured.ask_as(&right, &[])), "ok\n200 2");
    let sidecar = &secured.sidecar;
    assert!(sidecar.logged("refused a connection").is_empty(), "{}", sidecar.log());
    secured.ask(&[]);
    sidecar.wait_for_log("refused a connection of 127.0.0.1: it shows no client certificate", 1);
    secured.ask_as(&clients.issue_expired(&["prober"]), &[]);
    sidecar.wait_for_log("its client certificate has expired", 1);
    secured.ask_as(&Authority::new().issue(&["prober"]), &[]);
    sidecar.wait_for_log("its client certificate is of no authority in tls.client_ca_file", 1);
    let files = OpenSsl::new();
    files.write("clients.pem", clients.certificate());
    files.write("clients.key", clients.key());
    for (client, said) in [
        (
            files.self_signed("own", RSA, ""),
            "its client certificate is an authority's own (CA:TRUE), as self-signed",
        ),
        (files.issue("v1", "clients", RSA, "", ""), "its client certificate is of X.509 version 1"),
        (
            files.issue("critical", "clients", RSA, "1.2.3.4.5=critical,ASN1:NULL", ""),
            "has a critical extension that is not supported",
        ),
        (
            files.issue("server", "clients", RSA, "extendedKeyUsage=serverAuth", ""),
            "is not for clients (extended key usage)",
        ),
    ] {
        secured.ask_as(&client, &[]);
        sidecar.wait_for_log(said, 1);
    }
    assert!(sidecar.logged("Other").is_empty(), "{}", sidecar.log());
    secured.ask_without_trust(&[]);
    sidecar.wait_for_log("it does not accept the certificate in tls.cert_file (alert: UnknownCA)", 1);
    assert!(sidecar.logged("refused a connection").iter().all(|line| line.contains("WARN")));

    let (_, port) = sidecar.addr().rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}/livez");
    let many: Vec<_> = std::iter::repeat_n(url.as_str(), 60).collect();
    let curl = ["--silent", "--ipv4", "--insecure", "--max-time", "60", "--parallel", "--parallel-immediate"];
    let before = sidecar.logged("refused a connection").len();
    let began = std::time::Instant::now();
    let _ = Command::new("curl").args(curl).args(&many).output().unwrap();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    let lines = sidecar.logged("refused a connection").len() - before;
    assert!(lines <= 10 * seconds, "{lines} lines in {seconds} s");
    assert_eq!(said(&secured.ask_as(&right, &[])), "ok\n200 2");
}

#[test]
fn a_handshake_that_comes_to_nothing_is_logged_with_its_reason() {
    let secured = Secured::start(&Authority::new(), None);
    assert_eq!(said(&secured.ask(&[])), "ok\n200 2");
    let sidecar = &secured.sidecar;
    assert!(sidecar.logged("refused a connection").is_empty(), "{}", sidecar.log());
    let (_, port) = sidecar.addr().rsplit_once(':').unwrap();
    let address = format!("127.0.0.1:{port}");
    for (flags, reason) in [
        (&["-alpn", "foo"][..], "it offers neither h2 nor http/1.1 by ALPN"),
        (&["-tls1_2", "-cipher", "AES128-SHA"], "no TLS version, cipher suite, curve or signature in common"),
    ] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &address]).args(flags).stdin(std::process::Stdio::null());
        assert!(!client.output().unwrap().status.success());
        sidecar.wait_for_log(reason, 1);
    }
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut stream, b"\x16\x03\x01\x00\x05hello").unwrap();
    sidecar.wait_for_log("it sent bytes that are no valid TLS", 1);
    assert_eq!(said(&secured.ask(&[])), "ok\n200 2");
}

#[test]
fn a_listener_that_requires_certificates_names_the_ways_in_for_healthcheck_and_lets_them_in() {
    let clients = Authority::new();
    let secured = Secured::start(&Authority::new(), Some(&clients));
    let file = |name: &str, pem: &str| {
        std::fs::write(secured.path(name), pem).unwrap();
        secured.path(name)
    };
    let right = clients.issue(&["prober"]);
    let (cert, key) = (file("right.pem", right.certificate()), file("right.key", right.key()));
    let wrong = Authority::new().issue(&["prober"]);
    let (other, other_key) = (file("wrong.pem", wrong.certificate()), file("wrong.key", wrong.key()));
    let ca = secured.path("ca.pem");
    let (_, port) = secured.sidecar.addr().rsplit_once(':').unwrap();
    let healthcheck = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
        let output = command.arg("healthcheck").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let text = |path: &'_ PathBuf| path.to_str().unwrap().to_owned();
    let (url, ca) = (format!("https://localhost:{port}/health"), text(&ca));
    let by_url = ["--url", &url, "--ca-file", &ca];
    let with = |cert: &PathBuf, key: &PathBuf| {
        let (cert, key) = (text(cert), text(key));
        healthcheck(&[&by_url[..], &["--cert-file", &cert, "--key-file", &key]].concat())
    };
    assert_eq!(with(&cert, &key), (Some(0), String::new()));
    let (code, said) = with(&other, &other_key);
    assert!(
        code == Some(1) && said.contains("set --cert-file and --key-file, or add a unix socket"),
        "{said}"
    );

    let listener = |listen: &str| {
        let [cert, key, ca] = ["server.pem", "server.key", "clients.pem"].map(|name| secured.path(name));
        format!(
            "listen = {listen}\n[tls]\ncert_file = {cert:?}\nkey_file = {key:?}\nclient_ca_file = {ca:?}\n\
             [caches.main]\nurl = \"redis://127.0.0.1:1\"\n"
        )
    };
    let config = listener(&format!("\"127.0.0.1:{port}\""));
    let (code, said) = healthcheck(&["-c", &text(&file("canary.toml", &config))]);
    let expected = format!(
        "error: https://127.0.0.1:{port}/health requires a client certificate (tls.client_ca_file); set --cert-file"
    );
    assert!(code == Some(1) && said.starts_with(&expected), "{said}");
    let noted = |config: &str| {
        let output = run(&["config", "check"], config);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().contains("note: the listener: tls.client_ca_file requires")
    };
    assert!(noted(&config));
    assert!(!noted(&listener("[\"127.0.0.1:1\", \"unix:/run/canary.sock\"]")));
    assert!(!noted("[caches.main]\nurl = \"redis://127.0.0.1:1\"\n"));
}

#[test]
fn certificates_that_are_not_valid_are_noted_with_their_dates_before_any_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = Authority::new();
    let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60);
    let config = |listener: &Identity, client: &Identity| {
        let (cert, key) =
            (write("listener.pem", listener.certificate()), write("listener.key", listener.key()));
        let (own, own_key) = (write("client.pem", client.certificate()), write("client.key", client.key()));
        let ca = write("ca.pem", &authority.certificate());
        format!(
            "[tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n[caches.main]\nurl = \"rediss://127.0.0.1:1\"\n\
             tls = {{ ca_file = {ca:?}, cert_file = {own:?}, key_file = {own_key:?} }}\n"
        )
    };
    let check = |config: &str| {
        let output = run(&["config", "check"], config);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}");
        stdout.lines().filter(|line| line.starts_with("note: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let good = authority.issue_until(&["localhost"], in_days(30));
    assert_eq!(check(&config(&good, &good)), Vec::<String>::new());
    let noted =
        check(&config(&authority.issue_expired(&["localhost"]), &authority.issue_until(&["x"], in_days(3))));
    let [client, listener] = &noted[..] else { panic!("{noted:?}") };
    assert!(client.starts_with("note: main: cert_file ") && client.contains(" expires at 20"), "{client}");
    assert!(listener.starts_with("note: the listener: cert_file "), "{listener}");
    assert!(listener.contains(" expired at 2001-12-31T00:00:00Z"), "{listener}");

    // The authority itself.
    let old = authority.issue_expired(&["old authority"]);
    let ca = write("old.pem", old.certificate());
    let alias = format!("[caches.main]\nurl = \"rediss://127.0.0.1:1\"\ntls = {{ ca_file = {ca:?} }}\n");
    let noted = check(&alias);
    assert!(
        noted.len() == 1 && noted[0].contains("main: CA file") && noted[0].contains("2001-12-31"),
        "{noted:?}"
    );
    let sidecar = Sidecar::start(alias);
    assert!(sidecar.logged_at_start().contains("expired at 2001-12-31"), "{}", sidecar.logged_at_start());
}

#[test]
fn a_place_of_the_systems_certificates_without_any_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache-canary.toml");
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, Authority::new().certificate()).unwrap();
    std::fs::write(&file, "[caches.main]\nurl = \"rediss://127.0.0.1:1\"\n").unwrap();
    let noted_as = |variable: &str, value: &str, said: &str| {
        let mut check = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
        check.args(["config", "check", "-c"]).arg(&file);
        check.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env(variable, value);
        let output = check.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .contains(&format!("note: {variable}={value} has no certificate{said}"))
    };
    let noted = |variable: &str, value: &str| noted_as(variable, value, ";");
    let quoted = format!("{ca:?}");
    assert!(noted_as("SSL_CERT_FILE", &quoted, " (its quotes are part of it: remove them);"));
    assert!(noted("SSL_CERT_FILE", "/nowhere/ca.pem") && noted("SSL_CERT_DIR", "/nowhere"));
    assert!(
        !noted("SSL_CERT_FILE", ca.to_str().unwrap()) && !noted("SSL_CERT_DIR", dir.path().to_str().unwrap())
    );
}

#[test]
fn the_end_of_the_listener_s_own_certificate_is_shown_and_degrades_no_cache() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let end = SystemTime::now() + Duration::from_hours(3 * 24 + 1);
    let server = authority.issue_until(&["localhost"], end);
    let write = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (cert, key) = (write("server.pem", server.certificate()), write("server.key", server.key()));
    let ca = write("ca.pem", &authority.certificate());
    let redis = Redis::start(&[]);
    let settings = format!("expires_within = \"14d\"\ntls = {{ cert_file = {cert:?}, key_file = {key:?} }}");
    let sidecar =
        Sidecar::start_with(&settings, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let (_, port) = sidecar.addr().rsplit_once(':').unwrap();
    let get = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--ipv4", "--max-time", "30", "--cacert"]).arg(&ca);
        let output = curl.arg(format!("https://localhost:{port}{path}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let metrics = get("/metrics");
    let series = "cache_expiry_timestamp_seconds{what=\"listener_certificate\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    let value: f64 = value.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    assert!(
        (value - end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()).abs() < 1.0,
        "{value}"
    );
    let page = get("/");
    assert!(
        page.contains("certificate &quot;localhost&quot; of the listener") && page.contains(", in 3 d 0 h"),
        "{page}"
    );
    assert!(get("/health").starts_with("{\"status\":\"UP\""));
}
