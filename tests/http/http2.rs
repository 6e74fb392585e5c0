//! HTTP/2 at the server's sockets: its own limits on time and on requests side by side.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use cache_canary::app::App;
use cache_canary::config::{Config, Listen};
use cache_canary::http::server::{Listener, ServerLimits, serve_app};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::{app, config};

/// Much longer than anything here takes.
const FOREVER: Duration = Duration::from_secs(30);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An empty SETTINGS, which a client has to send after the preface.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn run(limits: ServerLimits) -> SocketAddr {
    let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_app(app(), listener.into(), limits, std::future::pending()));
    address
}

/// A client, and the task that ends when its connection does.
async fn client(address: SocketAddr) -> (SendRequest<Body>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(async { drop(connection.await) }))
}

async fn asks_livez(client: &mut SendRequest<Body>) {
    let request = Request::get("http://x/livez").body(Body::empty()).unwrap();
    let answer = timeout(FOREVER, client.send_request(request)).await.expect("no answer").unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok\n");
}

/// A request that watches everything: a frame of gRPC's with an empty message.
fn watch() -> Request<Body> {
    Request::post("http://x/grpc.health.v1.Health/Watch")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::from(&[0; 5][..]))
        .unwrap()
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_when_it_idles_for_too_long_and_not_before() {
    let limits = ServerLimits {
        head: Duration::from_millis(100),
        idle: Duration::from_secs(1),
        ..ServerLimits::default()
    };
    let address = run(limits);
    let began = Instant::now();
    // One that has not asked yet, as those that are opened ahead, and one that has.
    let (_ahead, ahead) = client(address).await;
    let (mut kept, connection) = client(address).await;
    sleep(Duration::from_millis(300)).await;
    asks_livez(&mut kept).await;
    timeout(FOREVER, ahead).await.expect("it is not closed").unwrap();
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    timeout(FOREVER, connection).await.expect("it is not closed").unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1290), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_watch_may_be_silent_for_longer_than_other_connections_may_idle() {
    let limits = ServerLimits {
        head: Duration::from_millis(100),
        idle: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let (mut client, connection) = client(run(limits)).await;
    let mut watching = client.send_request(watch()).await.unwrap().into_body();
    let first = timeout(FOREVER, watching.frame()).await.expect("no status").unwrap().unwrap();
    // NOT_SERVING: nobody listens for the cache.
    assert_eq!(first.into_data().unwrap(), [0, 0, 0, 0, 2, 8, 2][..]);
    let silence = timeout(Duration::from_secs(1), watching.frame()).await;
    assert!(silence.is_err(), "{silence:?}");
    asks_livez(&mut client).await;
    drop(watching);
    timeout(FOREVER, connection).await.expect("it is not closed once nobody watches").unwrap();
}

#[tokio::test]
async fn half_a_preface_is_half_a_head() {
    let address = run(ServerLimits { head: Duration::from_millis(200), ..ServerLimits::default() });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&PREFACE[..10]).await.unwrap();
    let mut said = Vec::new();
    timeout(FOREVER, stream.read_to_end(&mut said)).await.expect("it is not closed").unwrap();
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn the_server_announces_its_limits() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let mut stream = TcpStream::connect(run(ServerLimits::default())).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    // RFC 9113, section 6.5: the length, the type, the flags, the stream; then pairs of a number and a value.
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!((head[0], head[3]), (0, 4), "{head:?}");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).await.unwrap();
    let setting = |name: u16| {
        let mut pairs = settings.chunks_exact(6);
        let pair = pairs.find(|pair| pair[..2] == name.to_be_bytes()).expect("the setting");
        u32::from_be_bytes(pair[2..].try_into().unwrap())
    };
    assert_eq!(setting(MAX_CONCURRENT_STREAMS), 32);
    assert_eq!(setting(MAX_HEADER_LIST_SIZE), 8 * 1024);
}

#[tokio::test]
async fn more_watches_than_fit_on_a_connection_wait_for_one_to_end() {
    let (mut client, _connection) = client(run(ServerLimits::default())).await;
    let mut watching = Vec::new();
    for _ in 0..32 {
        watching.push(timeout(FOREVER, client.send_request(watch())).await.expect("no answer").unwrap());
    }
    let mut next = std::pin::pin!(client.send_request(watch()));
    assert!(timeout(Duration::from_millis(300), next.as_mut()).await.is_err(), "one too many is answered");
    watching.pop();
    timeout(FOREVER, next).await.expect("no answer").unwrap();
}

#[tokio::test]
async fn as_many_requests_are_answered_side_by_side_as_there_may_be_connections() {
    // It takes connections and says nothing, so a check ends with its time.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let check = Duration::from_millis(300);
    let config = Config { timeout: check, max_age: Duration::ZERO, ..config(silent.local_addr().unwrap()) };
    let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
    let app = Arc::new(App::new(&config).unwrap());
    tokio::spawn(serve_app(app, listener.into(), limits, std::future::pending()));

    let (client, _) = client(address).await;
    let ask = async || {
        let request = Request::get("http://x/health").body(Body::empty()).unwrap();
        let answer =
            timeout(FOREVER, client.clone().send_request(request)).await.expect("no answer").unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    };
    let began = Instant::now();
    tokio::join!(ask(), ask(), ask());
    assert!(began.elapsed() >= check * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_without_a_byte_is_none_and_one_that_does_not_come_takes_no_turn() {
    let (client, _) = client(run(ServerLimits { connections: 1, ..ServerLimits::default() })).await;
    let ask = async |request: Request<Body>| {
        timeout(FOREVER, client.clone().send_request(request)).await.expect("no answer").unwrap()
    };
    let of = |frames: Vec<Result<Bytes, Infallible>>| Body::from_stream(stream::iter(frames));
    for (body, code) in [
        (of(vec![]), StatusCode::OK),
        (of(vec![Ok(Bytes::new())]), StatusCode::OK),
        (of(vec![Ok(Bytes::new()), Ok(Bytes::from("x"))]), StatusCode::PAYLOAD_TOO_LARGE),
        (of(vec![Ok(Bytes::from(vec![b'x'; 10_000]))]), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = ask(Request::get("http://x/livez").body(body).unwrap()).await;
        assert_eq!(answer.status(), code);
    }

    // More calls than there are turns wait for messages that do not come.
    let never = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let mut slow = JoinSet::new();
    for _ in 0..4 {
        let call = Request::post("http://x/grpc.health.v1.Health/Check")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(never())
            .unwrap();
        slow.spawn(client.clone().send_request(call));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    asks_livez(&mut client.clone()).await;
    assert!(slow.try_join_next().is_none(), "a call was answered first");
    let late = timeout(FOREVER, slow.join_next()).await.expect("no answer").unwrap().unwrap().unwrap();
    assert_eq!(late.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn a_silent_client_does_not_delay_the_stop() {
    let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let limits = ServerLimits { stop: FOREVER, ..ServerLimits::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let server = tokio::spawn(serve_app(app(), listener.into(), limits, shutdown));
    // The server's own settings: it has taken the connection.
    assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
    stop.send(()).unwrap();
    timeout(FOREVER / 2, server).await.expect("it waits for a client that asks for nothing").unwrap();
}
