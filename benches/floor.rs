//! The floor: the smallest server that does the same SET, GET and HTTP, one request after the other, in
//! blocking code without a library: `floor LISTEN REDIS`. It understands no answer but the one it hopes for.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "a part of a benchmark")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

pub fn main() {
    let address = |place| std::env::args().nth(place).unwrap().parse::<SocketAddr>().unwrap();
    let listener = TcpListener::bind(address(1)).unwrap();
    let mut bare = Bare::connect(address(2));
    loop {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        if client.read(&mut request).unwrap_or(0) > 0 {
            let code = if bare.round_trip() { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(client, "HTTP/1.1 {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    }
}

/// SET and GET, by hand.
pub struct Bare {
    redis: TcpStream,
    number: u64,
}

impl Bare {
    /// Connects, once.
    pub fn connect(redis: SocketAddr) -> Self {
        let redis = TcpStream::connect(redis).unwrap();
        redis.set_nodelay(true).unwrap();
        Self { redis, number: 0 }
    }

    /// Writes a value and reads it back.
    pub fn round_trip(&mut self) -> bool {
        self.number += 1;
        let value = format!("{:020}", self.number);
        let set = format!(
            "*5\r\n$3\r\nSET\r\n$12\r\nbench-canary\r\n$20\r\n{value}\r\n$2\r\nPX\r\n$6\r\n120000\r\n"
        );
        self.ask(&set) == b"+OK\r\n"
            && self.ask("*2\r\n$3\r\nGET\r\n$12\r\nbench-canary\r\n")
                == format!("$20\r\n{value}\r\n").as_bytes()
    }

    fn ask(&mut self, command: &str) -> Vec<u8> {
        self.redis.write_all(command.as_bytes()).unwrap();
        let mut answer = vec![0; 128];
        let length = self.redis.read(&mut answer).unwrap();
        answer.truncate(length);
        answer
    }
}
