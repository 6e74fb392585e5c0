//! Callers that ask for `/health` back to back on kept connections, with as little of the core as they can.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use super::sample::micros;

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Some callers of one server.
pub(crate) enum Callers {
    /// One, which blocks.
    One(std::net::TcpStream),
    Many(Vec<tokio::net::TcpStream>),
}

/// The results of one turn.
pub(crate) struct Turn {
    /// How long each request took, in microseconds.
    pub(crate) latencies: Vec<f64>,
    pub(crate) took: Duration,
}

impl Turn {
    pub(crate) fn requests_a_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

impl Callers {
    pub(crate) fn connect(runtime: &Runtime, server: SocketAddr, number: usize) -> Self {
        if number == 1 {
            let stream = std::net::TcpStream::connect(server).unwrap();
            stream.set_nodelay(true).unwrap();
            return Self::One(stream);
        }
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..number {
                let stream = tokio::net::TcpStream::connect(server).await.unwrap();
                stream.set_nodelay(true).unwrap();
                streams.push(stream);
            }
            Self::Many(streams)
        })
    }

    /// Has them ask for so long.
    pub(crate) fn ask(&mut self, runtime: &Runtime, span: Duration) -> Turn {
        let began = Instant::now();
        let end = began + span;
        let latencies = match self {
            Self::One(stream) => ask_blocking(stream, end),
            Self::Many(streams) => runtime.block_on(async {
                let callers: Vec<_> = std::mem::take(streams)
                    .into_iter()
                    .map(|stream| tokio::spawn(ask_until(stream, end)))
                    .collect();
                let mut all = Vec::new();
                for caller in callers {
                    let (stream, latencies) = caller.await.unwrap();
                    streams.push(stream);
                    all.extend(latencies);
                }
                all
            }),
        };
        Turn { latencies, took: began.elapsed() }
    }
}

fn ask_blocking(stream: &mut std::net::TcpStream, end: Instant) -> Vec<f64> {
    let (mut answer, mut latencies) = ([0; 8192], Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        stream.write_all(REQUEST).unwrap();
        let mut length = 0;
        while !is_whole(&answer[..length]) {
            let read = stream.read(&mut answer[length..]).unwrap();
            assert!(read > 0, "the connection was closed");
            length += read;
        }
        latencies.push(micros(began.elapsed()));
    }
    latencies
}

async fn ask_until(mut stream: tokio::net::TcpStream, end: Instant) -> (tokio::net::TcpStream, Vec<f64>) {
    let (mut answer, mut latencies) = ([0; 4096], Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        stream.write_all(REQUEST).await.unwrap();
        let mut length = 0;
        while !is_whole(&answer[..length]) {
            let read = stream.read(&mut answer[length..]).await.unwrap();
            assert!(read > 0, "the connection was closed");
            length += read;
        }
        latencies.push(micros(began.elapsed()));
    }
    (stream, latencies)
}

/// An answer that is there as a whole.
struct Answer<'a> {
    is_ok: bool,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// None where there is more to come.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..head]).unwrap();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        let body = bytes[head..].get(..length.expect("a length"))?;
        Some(Self { is_ok: text.starts_with("HTTP/1.1 200"), body })
    }
}

/// Whether the answer is there as a whole; it is to be 200.
fn is_whole(bytes: &[u8]) -> bool {
    Answer::parse(bytes).is_some_and(|answer| {
        assert!(answer.is_ok, "{}", String::from_utf8_lossy(bytes));
        true
    })
}

/// Asks once, whatever the answer is.
pub(crate) fn ask(stream: &mut std::net::TcpStream) -> (bool, Vec<u8>) {
    stream.write_all(REQUEST).unwrap();
    let (mut bytes, mut length) = ([0; 8192], 0);
    loop {
        let read = stream.read(&mut bytes[length..]).unwrap();
        assert!(read > 0, "the connection was closed");
        length += read;
        if let Some(Answer { is_ok, body }) = Answer::parse(&bytes[..length]) {
            return (is_ok, body.to_vec());
        }
    }
}
