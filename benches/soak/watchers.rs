//! Clients of the page's feed and of gRPC's `Watch` that read for a while and go away.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Until;

/// The streams that are open at a time.
const STREAMS: usize = 32;

/// A `Watch` of all caches: an empty message, with its flag and length.
const WATCH_ALL: &[u8] = &[0; 5];

/// Opens streams and leaves them until the end, and gives their number.
pub(crate) fn come_and_go(addr: &str, until: Until) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clients = (0..STREAMS).map(|number| async move {
            let mut streams = 0;
            while !until.is_reached() {
                let stay = Duration::from_millis(fastrand::u64(10..3000));
                let ended = if number % 2 == 0 {
                    timeout(stay, read_feed(addr)).await
                } else {
                    timeout(stay, read_watch(addr)).await
                };
                assert!(ended.is_err(), "a stream has ended by itself");
                streams += 1;
                sleep(Duration::from_millis(20)).await;
            }
            streams
        });
        futures_util::future::join_all(clients).await.into_iter().sum()
    })
}

/// Reads the feed until it ends.
async fn read_feed(addr: &str) {
    let request = Request::get("/events").header(header::HOST, "localhost").body(Body::empty()).unwrap();
    let (mut client, connection) = http1::handshake(connect(addr).await).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    read(client.send_request(request).await.unwrap()).await;
}

/// Watches all caches until the call ends.
async fn read_watch(addr: &str) {
    let request = Request::post("http://localhost/grpc.health.v1.Health/Watch")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::from(WATCH_ALL))
        .unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), connect(addr).await).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    read(client.send_request(request).await.unwrap()).await;
}

async fn connect(addr: &str) -> TokioIo<TcpStream> {
    TokioIo::new(TcpStream::connect(addr).await.unwrap())
}

async fn read(answer: Response<Incoming>) {
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
}
