//! The host that a request asks for: which requests say none, and what a web page sees that is not the operator's.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use cache_canary::app::App;
use cache_canary::config::Listen;
use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::http::server::{Listener, Listeners, ServerLimits, serve_app};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::support::Sidecar;
use crate::{closed_port, config};

/// Much longer than anything here takes.
const FOREVER: Duration = Duration::from_secs(30);

/// A server with a cache and a listener of each kind.
struct Running {
    cache: EmbeddedServer,
    main: SocketAddr,
    metrics: SocketAddr,
    socket: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let cache = EmbeddedServer::redis().await.unwrap();
        let app = Arc::new(App::new(&config(cache.addr())).unwrap());
        let socket = tempfile::tempdir().unwrap();
        let tcp = || Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let unix = Listener::bind(&Listen::Unix(Self::path(&socket))).unwrap();
        let (tcp, metrics) = (tcp(), tcp());
        let addresses = (tcp.local_addr().unwrap(), metrics.local_addr().unwrap());
        let listeners = Listeners { main: vec![tcp, unix], metrics: vec![metrics], ..Listeners::default() };
        tokio::spawn(serve_app(app, listeners, ServerLimits::default(), std::future::pending()));
        Self { cache, main: addresses.0, metrics: addresses.1, socket }
    }

    fn path(socket: &tempfile::TempDir) -> std::path::PathBuf {
        socket.path().join("canary.sock")
    }

    /// The answer of each listener to these bytes.
    async fn answers(&self, request: &str) -> [String; 3] {
        let socket: &Path = &Self::path(&self.socket);
        [
            answer(TcpStream::connect(self.main).await.unwrap(), request).await,
            answer(TcpStream::connect(self.metrics).await.unwrap(), request).await,
            answer(UnixStream::connect(socket).await.unwrap(), request).await,
        ]
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(FOREVER, stream.read_to_end(&mut answer)).await.expect("the server does not close").unwrap();
    String::from_utf8(answer).unwrap()
}

const PATHS: [&str; 12] = [
    "/health",
    "/healthz/",
    "/health/main",
    "/health/group/readiness",
    "/livez",
    "/readyz",
    "/startupz",
    "/metrics",
    "/",
    "/events",
    "/transitions",
    "/nope",
];

const MISSING: &str = "HTTP/1.1 requests must have a Host header\n";
const SEVERAL: &str = "requests must not have more than one Host header\n";

/// A request's version, the lines of its head, and why it is refused.
const REFUSED: [(&str, &str, &str); 5] = [
    ("1.1", "", MISSING),
    ("1.1", "Host: localhost\r\nHost: localhost\r\n", SEVERAL),
    ("1.1", "Host: localhost\r\nhost: evil.test\r\n", SEVERAL),
    ("1.1", "Host:\r\nHost:\r\n", SEVERAL),
    ("1.0", "Host: localhost\r\nHost: evil.test\r\n", SEVERAL),
];

#[tokio::test]
async fn a_request_without_exactly_one_host_is_400_everywhere_and_nothing_is_checked() {
    let server = Running::start().await;
    for path in PATHS {
        for (version, lines, why) in REFUSED {
            let request = format!("GET {path} HTTP/{version}\r\nConnection: close\r\n{lines}\r\n");
            for answer in server.answers(&request).await {
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                assert!(head.starts_with(&format!("HTTP/{version} 400 ")), "{request}{answer}");
                assert!(head.contains("cache-control: no-store"), "{request}{answer}");
                assert!(head.contains("content-type: text/plain"), "{request}{answer}");
                assert_eq!(body, why, "{request}");
            }
        }
    }
    assert_eq!(server.cache.accepted(), 0, "the cache was asked");
}

#[tokio::test]
async fn a_target_with_an_authority_needs_a_host_too_and_counts_before_it() {
    let server = Running::start().await;
    for (target, lines, code) in [
        ("http://localhost/livez", "", "400"),
        ("http://localhost/livez", "Host: localhost\r\nHost: localhost\r\n", "400"),
        ("http://evil.test@localhost/livez", "Host: localhost\r\n", "200"),
        ("http://evil.test@localhost/transitions", "Host: localhost\r\n", "403"),
        ("http://localhost/livez", "Host: evil.test\r\n", "200"),
        ("http://localhost/transitions", "Host: evil.test\r\n", "200"),
        ("http://evil.test/transitions", "Host: localhost\r\n", "403"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        let answer = answer(TcpStream::connect(server.main).await.unwrap(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}{answer}");
    }
}

#[tokio::test]
async fn a_host_that_is_no_name_gets_the_verdict_and_no_details() {
    let server = Running::start().await;
    for host in [
        // As Envoy's health checks send the name of a cluster.
        "httproute/default/backend/rule/0",
        "outbound|8080||canary.default.svc.cluster.local",
        "kube-svc:default-canary-8080",
        "a::b",
        "my canary",
        "http://localhost",
        "evil.test@localhost",
        "localhost, evil.test",
        "localhost:port",
        "<script>",
    ] {
        for (path, code) in [("/health", "200"), ("/livez", "200"), ("/transitions", "403")] {
            let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n");
            let answer = answer(TcpStream::connect(server.main).await.unwrap(), &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}{answer}");
            assert!(!answer.contains(host), "{request}{answer}");
        }
    }
}

#[tokio::test]
async fn a_target_without_a_slash_is_the_path_behind_it() {
    let server = Running::start().await;
    let ask = async |method: &str, target: &str| {
        let request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n");
        answer(TcpStream::connect(server.main).await.unwrap(), &request).await
    };
    let up = ask("GET", "health").await;
    assert!(up.starts_with("HTTP/1.1 200 "), "{up}");
    server.cache.set_fault(InjectedFault::Killed).unwrap();
    for (method, target, code) in [
        // As HAProxy's `option httpchk GET health` sends it.
        ("GET", "health", "503"),
        ("GET", "readyz", "503"),
        ("HEAD", "healthz", "503"),
        ("OPTIONS", "health", "503"),
        ("GET", "livez", "200"),
        ("GET", "nope", "404"),
        ("GET", "127.0.0.1:80", "404"),
        ("GET", "*", "404"),
        ("OPTIONS", "*", "503"),
    ] {
        let answer = ask(method, target).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{method} {target}: {answer}");
    }
}

#[tokio::test]
async fn probes_without_a_host_are_answered_if_their_version_allows_it() {
    let server = Running::start().await;
    for (version, lines) in [
        // As HAProxy's `option httpchk` and nginx' upstream checks ask.
        ("1.0", ""),
        ("1.0", "Host: canary\r\n"),
        ("1.1", "Host: canary\r\n"),
        ("1.1", "HOST: Canary.Internal.:8080\r\n"),
        ("1.1", "Host: [::1]:8080\r\n"),
        ("1.1", "Host:\r\n"),
    ] {
        let request = format!("GET /health HTTP/{version}\r\nConnection: close\r\n{lines}\r\n");
        let answer = answer(TcpStream::connect(server.main).await.unwrap(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/{version} 200 ")), "{request}{answer}");
    }
}

#[tokio::test]
async fn in_http2_the_authority_is_the_host_and_a_host_beside_it_must_not_differ() {
    let server = Running::start().await;
    let stream = TcpStream::connect(server.main).await.unwrap();
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (authority, host, code) in [
        ("localhost:8080", None, 200),
        ("localhost:8080", Some("LOCALHOST:8080"), 200),
        ("localhost:8080", Some("evil.test"), 400),
        ("localhost:8080", Some("localhost:8081"), 400),
        ("evil.test", Some("localhost"), 400),
        ("evil.test", None, 403),
    ] {
        let mut request = Request::get(format!("http://{authority}/transitions"));
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = timeout(FOREVER, client.send_request(request)).await.expect("no answer").unwrap();
        assert_eq!(answer.status(), code, "{authority} {host:?}");
        if code == 400 {
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "the Host header must equal :authority\n");
        }
    }
}

/// The response to curl for this URL, whose name it resolves to 127.0.0.1: the code, and the body. It reads an
/// answer without end for a while.
fn curl(sidecar: &Sidecar, host: &str, path: &str, more: &[&str]) -> (String, String) {
    let port = sidecar.addr().rsplit_once(':').unwrap().1;
    let resolve = format!("{host}:{port}:127.0.0.1");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", if path == "/events" { "1" } else { "30" }]);
    curl.args(["--noproxy", "*", "--resolve", &resolve, "--write-out", "\n%{http_code}"]).args(more);
    let output = curl.arg(format!("http://{host}:{port}{path}")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

/// Every path on which a caller with details sees the cache's address.
const DETAILED: [&str; 10] = [
    "/health",
    "/health/main",
    "/health?format=json",
    "/health?format=health-json",
    "/health?format=text",
    "/health?format=html",
    "/readyz?format=json",
    "/metrics",
    "/",
    "/events",
];

/// A sidecar with these settings before a cache that refuses connections, and the cache's address.
fn before_a_dead_cache(settings: &str) -> (Sidecar, String) {
    let cache = closed_port().to_string();
    (Sidecar::start_with(settings, format!("[caches.main]\nurl = \"redis://{cache}\"")), cache)
}

#[test]
fn a_page_of_a_name_rebound_to_loopback_reads_no_details_and_the_operator_does() {
    let (sidecar, cache) = before_a_dead_cache("");
    for host in ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test"] {
        for path in DETAILED {
            let (code, body) = curl(&sidecar, host, path, &[]);
            assert!(code == "200" || code == "503", "{host} {path}: {code} {body}");
            assert!(body.contains("main"), "{host} {path}: {body}");
            assert!(!body.contains(&cache) && !body.contains(host), "{host} {path}: {body}");
        }
        assert_eq!(curl(&sidecar, host, "/transitions", &[]), ("403".to_owned(), String::new()), "{host}");
    }
    for host in ["localhost", "canary.localhost", "127.0.0.1"] {
        for path in DETAILED {
            let (_, body) = curl(&sidecar, host, path, &[]);
            assert!(body.contains(&cache), "{host} {path}: {body}");
        }
        assert_eq!(curl(&sidecar, host, "/transitions", &[]).0, "200", "{host}");
    }
    let http2 = ["--http2-prior-knowledge"];
    assert!(!curl(&sidecar, "evil.test", "/health", &http2).1.contains(&cache));
    assert!(curl(&sidecar, "localhost", "/health", &http2).1.contains(&cache));
    // No browser leaves out the host; an empty one is nobody's.
    assert!(curl(&sidecar, "evil.test", "/health", &["--http1.0", "--header", "Host:"]).1.contains(&cache));
    assert!(!curl(&sidecar, "evil.test", "/health", &["--header", "Host;"]).1.contains(&cache));
}

#[test]
fn a_name_of_access_hosts_shows_details_on_loopback_and_so_does_the_token() {
    let settings = "[access]\nhosts = [\"Canary.Internal\"]\ntoken = \"0123456789abcdef\"";
    let (sidecar, cache) = before_a_dead_cache(settings);
    let shows_details = |host: &str, more: &[&str]| curl(&sidecar, host, "/health", more).1.contains(&cache);
    for host in ["canary.internal", "CANARY.INTERNAL", "localhost"] {
        assert!(shows_details(host, &[]), "{host}");
    }
    for host in ["evil.test", "a.canary.internal"] {
        assert!(!shows_details(host, &[]), "{host}");
        // A page does not know the token.
        assert!(shows_details(host, &["--header", "Authorization: Bearer 0123456789abcdef"]), "{host}");
    }
}
