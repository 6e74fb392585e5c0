//! The floor: the smallest server that does the same SET, GET and HTTP, one request after the other, in
//! blocking code without a library: `floor LISTEN REDIS`. It understands no answer but the one it hopes for, and
//! serves one connection at a time, for as long as that asks.

#![allow(clippy::unwrap_used, reason = "a part of a benchmark")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    let address = |place| std::env::args().nth(place).unwrap().parse::<SocketAddr>().unwrap();
    let listener = TcpListener::bind(address(1)).unwrap();
    let mut bare = Bare::connect(address(2));
    loop {
        let (client, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        serve(client, &mut bare);
    }
}

/// Answers one client until it closes.
fn serve(mut client: TcpStream, bare: &mut Bare) {
    let mut request = [0; 4096];
    let mut length = 0;
    while let Ok(read @ 1..) = client.read(&mut request[length..]) {
        length += read;
        if !request[..length].ends_with(b"\r\n\r\n") {
            continue;
        }
        length = 0;
        let (code, body) = match bare.round_trip() {
            true => ("200 OK", "{\"status\":\"UP\",\"checks\":{\"cache.default\":\"UP\"}}\n"),
            false => {
                ("503 Service Unavailable", "{\"status\":\"DOWN\",\"checks\":{\"cache.default\":\"DOWN\"}}\n")
            }
        };
        let answer = format!(
            "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// SET and GET, by hand.
struct Bare {
    redis: TcpStream,
    /// As long as a canary's, and two of them as it has.
    keys: [String; 2],
    number: u64,
}

impl Bare {
    /// Connects, once.
    fn connect(address: SocketAddr) -> Self {
        let redis = TcpStream::connect(address).unwrap();
        redis.set_nodelay(true).unwrap();
        let key = |slot| format!("djblets-canary:bench:default:{address}:9f86d081884c7d65:{slot}");
        Self { redis, keys: ["a", "b"].map(key), number: 0 }
    }

    /// Writes a value and reads it back.
    fn round_trip(&mut self) -> bool {
        self.number += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let value = format!("cache-canary/1 bench 9f86d081884c7d65 {} {now}", self.number);
        let key = &self.keys[usize::from(self.number.is_multiple_of(2))];
        let (key_len, len) = (key.len(), value.len());
        let set = format!(
            "*5\r\n$3\r\nSET\r\n${key_len}\r\n{key}\r\n${len}\r\n{value}\r\n$2\r\nPX\r\n$6\r\n120000\r\n"
        );
        let get = format!("*2\r\n$3\r\nGET\r\n${key_len}\r\n{key}\r\n");
        self.answers(&set, b"+OK\r\n") && self.answers(&get, format!("${len}\r\n{value}\r\n").as_bytes())
    }

    /// Whether a command is answered with just these bytes.
    fn answers(&mut self, command: &str, wanted: &[u8]) -> bool {
        let mut answer = [0; 256];
        self.redis.write_all(command.as_bytes()).is_ok()
            && self.redis.read(&mut answer).is_ok_and(|length| &answer[..length] == wanted)
    }
}
