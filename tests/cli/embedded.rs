//! The embedded caches at their sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod beside_real;
mod faults;

use std::io::ErrorKind;
use std::time::Duration;

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Longer than any answer takes here, for what must come.
const SOON: Duration = Duration::from_secs(10);
/// Long enough to see an answer that must not come.
const A_WHILE: Duration = Duration::from_millis(60);

/// One protocol's words for the same few commands.
#[derive(Debug)]
struct Words {
    set: &'static str,
    stored: &'static str,
    get: &'static str,
    hit: &'static str,
    miss: &'static str,
    delete: &'static str,
    deleted: &'static str,
}

const REDIS: Words = Words {
    set: "SET key value\r\n",
    stored: "+OK\r\n",
    get: "GET key\r\n",
    hit: "$5\r\nvalue\r\n",
    miss: "$-1\r\n",
    delete: "DEL key\r\n",
    deleted: ":1\r\n",
};

const CLASSIC: Words = Words {
    set: "set key 0 0 5\r\nvalue\r\n",
    stored: "STORED\r\n",
    get: "get key\r\n",
    hit: "VALUE key 0 5\r\nvalue\r\nEND\r\n",
    miss: "END\r\n",
    delete: "delete key\r\n",
    deleted: "DELETED\r\n",
};

const META: Words = Words {
    set: "ms key 5\r\nvalue\r\n",
    stored: "HD\r\n",
    get: "mg key v\r\n",
    hit: "VA 5\r\nvalue\r\n",
    miss: "EN\r\n",
    delete: "md key\r\n",
    deleted: "HD\r\n",
};

/// A server for each protocol, with the words to speak to it.
async fn servers() -> [(EmbeddedServer, Words); 3] {
    [
        (EmbeddedServer::redis().await.unwrap(), REDIS),
        (EmbeddedServer::memcached().await.unwrap(), CLASSIC),
        (EmbeddedServer::memcached().await.unwrap(), META),
    ]
}

async fn dial(server: &EmbeddedServer) -> TcpStream {
    TcpStream::connect(server.addr()).await.unwrap()
}

/// Sends `request` and reads as many bytes as `expected` has.
async fn ask(stream: &mut TcpStream, request: &str, expected: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; expected.len()];
    let read = timeout(SOON, stream.read_exact(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("no answer to {request:?}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected, "to {request:?}");
}

/// Reads to the end of the connection; a reset is an end, too.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the connection stayed open");
    if let Err(error) = end {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    bytes
}

async fn assert_silent(stream: &mut TcpStream) {
    let read = timeout(A_WHILE, stream.read(&mut [0; 64])).await;
    assert!(read.is_err(), "bytes or an end where silence was due: {read:?}");
}

/// Writes and reads on a new connection, as a healthy server must let anybody.
async fn assert_healthy(server: &EmbeddedServer, words: &Words) {
    let mut stream = dial(server).await;
    ask(&mut stream, words.set, words.stored).await;
    ask(&mut stream, words.get, words.hit).await;
}

#[tokio::test]
async fn keys_expire() {
    let mut streams = Vec::new();
    let redis = EmbeddedServer::redis().await.unwrap();
    let memcached = EmbeddedServer::memcached().await.unwrap();
    let written = [
        (&redis, "SET key value PX 1500\r\n", &REDIS),
        (&memcached, "set key 0 2 5\r\nvalue\r\n", &CLASSIC),
        (&memcached, "ms key 5 T2\r\nvalue\r\n", &META),
    ];
    for (server, set, words) in written {
        let mut stream = dial(server).await;
        ask(&mut stream, set, words.stored).await;
        ask(&mut stream, words.get, words.hit).await;
        streams.push((server, stream, words));
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    ask(&mut dial(&redis).await, "TTL key\r\n", ":").await;
    for (server, stream, words) in &mut streams {
        ask(stream, words.get, words.hit).await;
        assert_eq!(server.keys(), 1);
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    for (server, stream, words) in &mut streams {
        ask(stream, words.get, words.miss).await;
        assert_eq!(server.keys(), 0);
    }
}

#[tokio::test]
async fn connections_and_commands_are_counted() {
    let server = EmbeddedServer::redis().await.unwrap();
    assert_eq!((server.accepted(), server.commands(), server.writes(), server.keys()), (0, 0, 0, 0));
    let mut first = dial(&server).await;
    ask(&mut first, "PING\r\n", "+PONG\r\n").await;
    let mut second = dial(&server).await;
    ask(&mut second, REDIS.set, REDIS.stored).await;
    ask(&mut second, REDIS.get, REDIS.hit).await;
    assert_eq!((server.accepted(), server.commands(), server.writes(), server.keys()), (2, 3, 1, 1));
    assert_eq!(server.connections(), 2);
    server.set_fault(InjectedFault::Masking).unwrap();
    ask(&mut second, REDIS.set, REDIS.stored).await;
    assert_eq!((server.commands(), server.writes(), server.keys()), (4, 2, 1));
    drop(first);
    timeout(SOON, async {
        while server.connections() > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn more_connections_than_it_serves_wait_for_their_turn() {
    let server = EmbeddedServer::redis().await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..256 {
        let mut stream = dial(&server).await;
        ask(&mut stream, "PING\r\n", "+PONG\r\n").await;
        taken.push(stream);
    }
    let mut waiting = dial(&server).await;
    waiting.write_all(b"PING\r\n").await.unwrap();
    assert_silent(&mut waiting).await;
    taken.pop();
    ask(&mut waiting, "", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = EmbeddedServer::redis().await.unwrap();
    let mut stream = dial(&server).await;
    ask(&mut stream, "PING\r\n", "+PONG\r\n").await;
    let addr = server.addr();
    drop(server);
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_in_force_for_the_very_next_command_also_on_several_threads() {
    let server = EmbeddedServer::redis().await.unwrap();
    let mut stream = dial(&server).await;
    ask(&mut stream, REDIS.set, REDIS.stored).await;
    for _ in 0..500 {
        server.set_fault(InjectedFault::Masking).unwrap();
        ask(&mut stream, REDIS.get, REDIS.miss).await;
        server.repair().unwrap();
        ask(&mut stream, REDIS.get, REDIS.hit).await;
    }
}

#[tokio::test]
async fn no_bytes_make_a_server_fall_over() {
    let parts: &[&[u8]] = &[
        b"*",
        b"$",
        b"\r\n",
        b"-1",
        b"3",
        b"99999999999999999999",
        b"SET",
        b" ",
        b"set",
        b"ms",
        b"mg",
        b"k",
        b"0",
        b"\n",
        b"GET",
        b"HELLO",
        b"AUTH",
        b"v",
        b"T",
        b"noreply",
        b"\0",
        b"\xff",
        b"add",
        b"cas",
        b"md",
        b"C",
        b"PX",
    ];
    let mut random = fastrand::Rng::with_seed(2);
    for (server, words) in servers().await {
        for _ in 0..300 {
            let input: Vec<u8> =
                (0..random.usize(1..40)).flat_map(|_| parts[random.usize(..parts.len())]).copied().collect();
            let mut stream = dial(&server).await;
            stream.write_all(&input).await.unwrap();
            stream.shutdown().await.unwrap();
            rest(&mut stream).await;
        }
        assert_healthy(&server, &words).await;
    }
}

#[tokio::test]
async fn a_connection_that_never_ends_its_command_is_closed() {
    for (server, words) in servers().await {
        let mut stream = dial(&server).await;
        let sending = async { while stream.write_all(&[b'x'; 16 << 10]).await.is_ok() {} };
        timeout(SOON, sending).await.expect("it is read for ever");
        assert_healthy(&server, &words).await;
    }
}

/// Debug output of a server is for failed assertions, and says which one it is.
#[tokio::test]
async fn a_server_shows_its_address_and_fault() {
    let server = EmbeddedServer::redis().await.unwrap();
    assert!(format!("{server:?}").contains("Healthy"));
    server.set_fault(InjectedFault::Masking).unwrap();
    assert!(format!("{server:?}").contains("Masking"));
    assert!(format!("{server:?}").contains(&server.addr().to_string()));
}
