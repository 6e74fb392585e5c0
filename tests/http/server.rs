//! The server at its sockets: limits on time and connections, and the stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_canary::app::{App, Life};
use cache_canary::config::{Config, Listen, Metrics, Probes};
use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::http::server::{Listener, Listeners, ServerLimits, serve_app};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{app, closed_port, config};

/// Much longer than anything here takes; a test that waits for it has failed.
const FOREVER: Duration = Duration::from_secs(30);

/// A server that runs in the background.
struct Running {
    address: SocketAddr,
    app: Arc<App>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn run(limits: ServerLimits) -> Running {
    run_app(app(), limits)
}

fn run_app(app: Arc<App>, limits: ServerLimits) -> Running {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    let served = tokio::spawn(serve_app(app.clone(), listener.into(), limits, shutdown));
    Running { address, app, stop, served }
}

/// A listener on a free port.
fn listener() -> Listener {
    Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap()
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Reads until the server closes, or has nothing to say any more.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too, when the server closes on bytes that it has not read.
    let _ = timeout(FOREVER, stream.read_to_end(&mut bytes)).await.expect("the server does not close");
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer, of a known body, on a connection that stays open.
async fn one_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin), body: &str) -> String {
    let mut text = String::new();
    let end = format!("\r\n\r\n{body}");
    while !text.ends_with(&end) {
        let byte = timeout(FOREVER, stream.read_u8()).await.expect("no answer").expect("closed early");
        text.push(char::from(byte));
    }
    text
}

async fn asks_livez(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    one_answer(stream, "ok\n").await
}

#[tokio::test]
async fn a_request_is_answered_with_the_right_headers() {
    let server = run(ServerLimits::default());
    let mut stream = server.connect().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut head: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    head[1..].sort_unstable();
    let expected = [
        "HTTP/1.1 200 OK",
        "cache-control: no-store",
        "connection: close",
        "content-length: 3",
        "content-type: text/plain; charset=utf-8",
        "x-content-type-options: nosniff",
    ];
    assert_eq!(head, expected);
    assert_eq!(body, "ok\n");
}

#[tokio::test]
async fn head_has_no_body_on_the_wire() {
    let server = run(ServerLimits::default());
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-length: 3\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = run(ServerLimits::default());
    let mut stream = server.connect().await;
    let requests = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n\
                     GET /livez?verbose HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests).await.unwrap();
    let answer = rest(&mut stream).await;
    let codes: Vec<_> = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    assert_eq!(codes, ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"]);
    assert!(answer.ends_with("livez check passed\n"), "{answer}");
}

#[tokio::test]
async fn a_body_is_not_read_and_closes_the_connection() {
    let server = run(ServerLimits::default());
    for (request, code) in [
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "413"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "413"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "413"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "413"),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "405"),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{request}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_body_without_a_byte_is_none() {
    let server = run(ServerLimits::default());
    let chunked = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n";
    for (head, rest_of_it) in [
        (format!("{chunked}\r\n"), "0\r\n\r\n"),
        (format!("{chunked}Expect: 100-continue\r\n\r\n"), "0\r\n\r\n"),
        (format!("{chunked}\r\n"), "0\r\nTrailer: x\r\n\r\n"),
        // Its end never comes.
        (format!("{chunked}\r\n"), ""),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(), ""),
        ("OPTIONS /livez HTTP/1.0\r\n\r\n".to_owned(), ""),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(rest_of_it.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("ok\n"), "{head}: {answer}");
    }
    // The next request on the same connection is answered too.
    let mut stream = server.connect().await;
    let chunked = "GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(chunked.as_bytes()).await.unwrap();
    one_answer(&mut stream, "ok\n").await;
    asks_livez(&mut stream).await;
}

#[tokio::test]
async fn another_protocol_is_named_in_its_own_words_and_the_next_client_served() {
    let server = run(ServerLimits::default());
    let proxy_2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[1; 12], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    for (bytes, begins, named) in [
        (&b"*1\r\n$4\r\nPING\r\n"[..], "-ERR ", "a Redis command"),
        (b"PING\r\n", "-ERR ", "a Redis command"),
        (b"version\r\n", "SERVER_ERROR ", "a memcached command"),
        (b"get a\r\n", "SERVER_ERROR ", "a memcached command"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this connection ", "sent SSH"),
        (
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 400 ",
            "the PROXY protocol, version 1",
        ),
        (&proxy_2, "HTTP/1.1 400 ", "the PROXY protocol, version 2"),
        (b"\x16\x03\x01\0\x05hello", "HTTP/1.1 400 ", "sent TLS, but this address serves HTTP"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400 ", "not valid HTTP (invalid header name)"),
        (b"GET /health\r\n", "HTTP/1.1 400 ", "not valid HTTP"),
        (b"EHLO mail\r\n", "HTTP/1.1 400 ", "sent SMTP"),
        (b"\xff\xfe\xfd", "HTTP/1.1 400 ", "not valid HTTP"),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(bytes).await.unwrap();
        let answer = rest(&mut stream).await;
        let shown = String::from_utf8_lossy(bytes);
        assert!(answer.starts_with(begins) && answer.contains(named), "{shown}: {answer}");
    }
    asks_livez(&mut server.connect().await).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = run(ServerLimits::default());
    let (mut reader, mut writer) = server.connect().await.into_split();
    let flood = async {
        writer.write_all(b"GET / HTTP/1.1\r\n").await?;
        loop {
            writer.write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await?;
        }
    };
    let flooded: std::io::Result<()> = timeout(FOREVER, flood).await.expect("the server reads on and on");
    flooded.unwrap_err();
    let answer = rest(&mut reader).await;
    // The answer is lost when the system resets a connection that was closed with bytes unread.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    asks_livez(&mut server.connect().await).await;
}

/// Limits under which a client has a fifth of a second for a request's head.
fn impatient() -> ServerLimits {
    ServerLimits { head: Duration::from_millis(200), ..ServerLimits::default() }
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed() {
    let server = run(impatient());
    let began = Instant::now();
    let mut stream = server.connect().await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("agent-check"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    asks_livez(&mut server.connect().await).await;
}

#[tokio::test]
async fn a_client_that_sends_a_byte_now_and_then_is_closed() {
    let server = run(impatient());
    for requests_before in [0, 1] {
        let mut stream = server.connect().await;
        for _ in 0..requests_before {
            asks_livez(&mut stream).await;
        }
        let began = Instant::now();
        let (mut reader, mut writer) = stream.split();
        let trickle = async {
            loop {
                // Each byte comes well within the limit; all of them together do not.
                let _ = writer.write_all(b"G").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = trickle => {}
            // A reset, since more bytes come, may take the answer.
            answer = rest(&mut reader) => {
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
        assert!(began.elapsed() < FOREVER);
    }
}

#[tokio::test]
async fn a_kept_connection_may_idle_for_longer_than_a_head_may_take() {
    let server = run(impatient());
    let mut stream = server.connect().await;
    asks_livez(&mut stream).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    asks_livez(&mut stream).await;
}

#[tokio::test]
async fn a_kept_connection_that_idles_for_too_long_is_closed() {
    let idle = Duration::from_millis(300);
    let server = run(ServerLimits { idle, ..impatient() });
    let mut stream = server.connect().await;
    asks_livez(&mut stream).await;
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_closed() {
    let server = run(ServerLimits { idle: Duration::from_millis(300), ..impatient() });
    let mut stream = server.connect().await;
    let request = "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // Nothing is read, so the answers fill the buffers on the way, then the requests do.
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(FOREVER, flood).await.expect("the server does not close");
}

#[tokio::test]
async fn at_the_limit_of_connections_the_one_that_is_idle_for_longest_is_closed_for_the_next() {
    let server = run(ServerLimits { connections: 2, ..ServerLimits::default() });
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    asks_livez(&mut first).await;
    asks_livez(&mut second).await;
    asks_livez(&mut second).await;
    asks_livez(&mut first).await;

    let mut third = server.connect().await;
    asks_livez(&mut third).await;
    assert_eq!(rest(&mut second).await, "");
    asks_livez(&mut first).await;
    asks_livez(&mut third).await;
}

#[tokio::test]
async fn the_stop_closes_idle_connections_and_finishes_the_open_request() {
    let server = run(ServerLimits::default());
    let mut idle = server.connect().await;
    asks_livez(&mut idle).await;
    let mut open = server.connect().await;
    open.write_all(b"GET /readyz HTTP/1.1\r\nHo").await.unwrap();
    // The server has read the half request once it answers a request that was sent after it.
    asks_livez(&mut idle).await;

    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "it still accepts");
    assert!(!server.served.is_finished(), "it did not wait for the open request");
    open.write_all(b"st: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut open).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("[-]sidecar failed: stopping\nreadyz check failed\n"), "{answer}");
    timeout(FOREVER, server.served).await.expect("it does not stop").unwrap();
}

/// A server whose cache hangs, so that a check takes until its deadline.
async fn run_before_a_hung_cache() -> (Running, EmbeddedServer) {
    let cache = EmbeddedServer::redis().await.unwrap();
    cache.set_fault(InjectedFault::Hung).unwrap();
    let app = Arc::new(App::new(&config(cache.addr())).unwrap());
    (run_app(app, ServerLimits::default()), cache)
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_is_answered() {
    let (server, _cache) = run_before_a_hung_cache().await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn the_stop_waits_for_a_check_that_runs() {
    let (server, cache) = run_before_a_hung_cache().await;
    let mut open = server.connect().await;
    open.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    while cache.accepted() == 0 {
        tokio::task::yield_now().await;
    }
    server.stop.send(()).unwrap();
    let answer = rest(&mut open).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains("\"cause\":\"timed_out\""), "{answer}");
    timeout(FOREVER, server.served).await.expect("it does not stop").unwrap();
}

#[tokio::test]
async fn the_stop_does_not_wait_for_a_request_without_end() {
    let stop = Duration::from_millis(200);
    let server = run(ServerLimits { head: FOREVER, stop, ..ServerLimits::default() });
    let mut open = server.connect().await;
    open.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    asks_livez(&mut server.connect().await).await;

    let began = Instant::now();
    server.stop.send(()).unwrap();
    timeout(FOREVER, server.served).await.expect("it does not stop").unwrap();
    assert!(began.elapsed() >= stop, "{:?}", began.elapsed());
    assert_eq!(rest(&mut open).await, "");
}

#[tokio::test]
async fn the_app_is_ready_when_it_serves_and_stopping_after() {
    let server = run(ServerLimits::default());
    assert_eq!(server.app.life(), Life::Starting);
    asks_livez(&mut server.connect().await).await;
    assert_eq!(server.app.life(), Life::Ready);
    server.stop.send(()).unwrap();
    timeout(FOREVER, server.served).await.expect("it does not stop").unwrap();
    assert_eq!(server.app.life(), Life::Stopping);
}

#[tokio::test]
async fn the_ipv6_wildcard_takes_ipv4_too() {
    let listener = Listener::bind(&Listen::Tcp("[::]:0".parse().unwrap())).unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve_app(app(), listener.into(), ServerLimits::default(), std::future::pending()));
    asks_livez(&mut TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(listener.url(), format!("http://{address}"));
    let error = Listener::bind(&Listen::Tcp(address)).unwrap_err();
    let expected = format!(
        "cannot listen on {address} (stop the process that listens there, or choose another address with --listen)"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_unix_socket_that_was_left_behind_is_replaced_and_one_that_is_served_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let listen = Listen::Unix(path.clone());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());

    let listener = Listener::bind(&listen).unwrap();
    assert_eq!(listener.url(), format!("unix:{}", path.display()));
    assert_eq!(listener.local_addr(), None);
    let error = Listener::bind(&listen).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot listen on unix:{} (stop", path.display())),
        "{error}"
    );

    tokio::spawn(serve_app(app(), listener.into(), ServerLimits::default(), std::future::pending()));
    asks_livez(&mut UnixStream::connect(&path).await.unwrap()).await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "keep").unwrap();
    Listener::bind(&Listen::Unix(path.clone())).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "keep");
}

#[tokio::test]
async fn a_flood_at_one_listener_does_not_shut_out_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let tcp = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = Listener::bind(&Listen::Unix(path.clone())).unwrap();
    // All of them are waiting to be accepted when the server begins.
    let mut flood = Vec::new();
    for _ in 0..8 {
        flood.push(TcpStream::connect(address).await.unwrap());
    }
    let mut local = UnixStream::connect(&path).await.unwrap();
    let limits = ServerLimits { connections: 4, ..ServerLimits::default() };
    let listeners = Listeners { main: vec![tcp, unix], ..Listeners::default() };
    tokio::spawn(serve_app(app(), listeners, limits, std::future::pending()));
    asks_livez(&mut local).await;
    assert_eq!(flood.len(), 8);
}

#[tokio::test]
async fn probes_with_listeners_of_their_own_are_answered_there_while_the_main_one_is_full() {
    let config = Config {
        listen: vec![Listen::Tcp("127.0.0.1:0".parse().unwrap())],
        probes: Probes { listen: vec![Listen::Tcp("127.0.0.1:0".parse().unwrap())] },
        ..config(closed_port())
    };
    let listeners = Listeners::bind(&config).unwrap();
    let [main, probes] =
        [&listeners.main[0], &listeners.probes[0]].map(|listener| listener.local_addr().unwrap());
    let app = Arc::new(App::new(&config).unwrap());
    let limits = ServerLimits { connections: 1, ..ServerLimits::default() };
    tokio::spawn(serve_app(app, listeners, limits, std::future::pending()));

    let mut flood = TcpStream::connect(main).await.unwrap();
    asks_livez(&mut flood).await;
    let mut kubelet = TcpStream::connect(probes).await.unwrap();
    for other in ["/", "/metrics", "/events", "/transitions", "/openapi.json"] {
        let request = format!("GET {other} HTTP/1.1\r\nHost: x\r\n\r\n");
        kubelet.write_all(request.as_bytes()).await.unwrap();
        let body = "no such path; this address serves only /health, /health/{alias}, /health/group/{name}, /livez, /readyz and /startupz\n";
        let answer = one_answer(&mut kubelet, body).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{other}: {answer}");
    }
    for (path, code) in
        [("/livez", 200), ("/readyz", 503), ("/startupz", 503), ("/health", 503), ("/health/main", 503)]
    {
        let mut kubelet = TcpStream::connect(probes).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        kubelet.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut kubelet).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{path}: {answer}");
    }
    // Neither took a place of the other's.
    asks_livez(&mut kubelet).await;
    asks_livez(&mut flood).await;
}

#[tokio::test]
async fn metrics_with_listeners_of_their_own_are_served_there_alone_and_to_their_own_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let config = Config {
        listen: vec![Listen::Tcp("127.0.0.1:0".parse().unwrap())],
        metrics: Metrics { listen: vec![Listen::Unix(path.clone())] },
        ..config(closed_port())
    };
    let listeners = Listeners::bind(&config).unwrap();
    let address = listeners.main[0].local_addr().unwrap();
    let app = Arc::new(App::new(&config).unwrap());
    let limits = ServerLimits { connections: 1, own_connections: 1, ..ServerLimits::default() };
    tokio::spawn(serve_app(app, listeners, limits, std::future::pending()));

    let mut main = TcpStream::connect(address).await.unwrap();
    main.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let elsewhere = "metrics are not served here, only on metrics.listen\n";
    let answer = one_answer(&mut main, elsewhere).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    asks_livez(&mut main).await;

    // The main listener is at its limit, and that is nothing to who scrapes.
    let mut scraper = UnixStream::connect(&path).await.unwrap();
    for other in ["/livez", "/health", "/"] {
        let request = format!("GET {other} HTTP/1.1\r\nHost: x\r\n\r\n");
        scraper.write_all(request.as_bytes()).await.unwrap();
        let answer = one_answer(&mut scraper, "no such path; this address serves only /metrics\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let metrics = rest(&mut scraper).await;
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    assert!(metrics.contains("cache_up{alias=\"main\",check=\"round_trip\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn readyz_reports_the_drain_first_and_everything_else_goes_on_until_its_end() {
    let drain = Duration::from_secs(1);
    let app = Arc::new(App::new(&Config { drain, ..config(closed_port()) }).unwrap());
    let server = run_app(app, ServerLimits::default());
    let mut kept = server.connect().await;
    asks_livez(&mut kept).await;

    let began = Instant::now();
    server.stop.send(()).unwrap();
    while server.app.life() != Life::Draining {
        tokio::task::yield_now().await;
    }
    // On connections that were open, and on new ones.
    asks_livez(&mut kept).await;
    let mut new = TcpStream::connect(server.address).await.unwrap();
    new.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = one_answer(&mut new, "[-]sidecar failed: draining\nreadyz check failed\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    asks_livez(&mut new).await;

    assert_eq!(rest(&mut kept).await, "");
    assert!(began.elapsed() >= drain, "{:?}", began.elapsed());
    timeout(FOREVER, server.served).await.expect("it does not stop").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "it still accepts");
}
