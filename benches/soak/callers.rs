//! Callers of every representation, on connections that they keep for a while.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::Until;

/// The targets that a caller asks in turn. Each answers 200 all the time: the caches that break are in none of these verdicts.
const TARGETS: [&str; 9] = [
    "/health/group/steady",
    "/health/group/steady?format=health-json",
    "/health/group/steady?format=text",
    "/health/group/steady?format=html",
    "/readyz?verbose",
    "/livez",
    "/health/main",
    "/metrics",
    "/",
];

/// The requests on one connection.
const KEPT_FOR: usize = 500;

/// Asks until the end, and gives the number of answers. Panics at the first that is not 200.
pub(crate) fn ask(addr: &str, until: Until) -> u64 {
    let mut answers = 0;
    while !until.is_reached() {
        let mut stream = BufReader::new(TcpStream::connect(addr).unwrap());
        for target in TARGETS.iter().cycle().take(KEPT_FOR) {
            if until.is_reached() {
                break;
            }
            ask_on(&mut stream, target);
            answers += 1;
        }
    }
    answers
}

fn ask_on(stream: &mut BufReader<TcpStream>, target: &str) {
    write!(stream.get_mut(), "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let up = line.starts_with("HTTP/1.1 200");
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    assert!(up, "a false alarm at {target}: {}", String::from_utf8_lossy(&body));
}
