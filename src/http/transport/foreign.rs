//! [`Foreign`]: a client that does not speak this listener's protocol, by its first bytes; and the answer that it can read.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time;

/// The time, and the most bytes, for which the rest of what the client sends is read: a connection that is closed with bytes
/// unread is reset, and the answer may be lost.
const LINGER: Duration = Duration::from_secs(1);
const MAX_REST: u64 = 64 * 1024;

/// The beginnings of protocols that no request of HTTP begins with, each with its name. None of them can read the answer.
const OTHERS: &[(&[u8], &str)] = &[
    (b"AMQP", "AMQP"),
    (b"ZBXD", "the Zabbix protocol"),
    (b"EHLO ", "SMTP"),
    (b"HELO ", "SMTP"),
    (b"\x10", "MQTT"),
    (b"\x03\x00\x00", "RDP"),
    // A length, and then the code of an SSLRequest or of version 3 ("Message Formats", PostgreSQL's manual).
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "the PostgreSQL protocol"),
    (b"\x00\x00\x00", "a binary protocol, perhaps PostgreSQL's or Kafka's"),
];

/// The signature of the PROXY protocol, version 2 (proxy-protocol.txt, section 2.2).
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first words of memcached's text protocols (protocol.txt of memcached). They are lower-case, Redis' may be upper-case.
const MEMCACHED: &[&str] = &[
    "version",
    "mn",
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "get",
    "gets",
    "gat",
    "gats",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "delete",
    "incr",
    "decr",
    "touch",
    "stats",
    "flush_all",
    "verbosity",
];

/// The first words of inline commands of Redis that clients, checks and people begin with.
const REDIS: &[&str] =
    &["PING", "AUTH", "HELLO", "INFO", "CLIENT", "SELECT", "ROLE", "EXISTS", "COMMAND", "QUIT", "CLUSTER"];

/// The name of a head that cannot be parsed.
pub(super) const INVALID: &str = "a request that is not valid HTTP";

/// What a client speaks in place of HTTP, or does wrong in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// The PROXY protocol, of this version.
    Proxy(u8),
    /// TLS on a listener without it.
    Tls,
    /// Commands of Redis.
    Redis,
    /// Commands of memcached in text.
    Memcached,
    /// The binary protocol of memcached.
    MemcachedBinary,
    Ssh,
    /// A protocol of this name.
    Other(&'static str),
    /// Nothing, or half a head, for as long as a client may take.
    Late {
        is_silent: bool,
    },
    /// HTTP/1 without the TLS that the listener requires.
    PlainHttp1,
    /// HTTP/2 without it.
    PlainHttp2,
    /// HTTP/2, for which there is no room.
    NoRoom,
    /// A head that cannot be parsed.
    Malformed(httparse::Error),
}

impl Foreign {
    /// The protocol that begins with these bytes, which are no head of HTTP because of `error`.
    pub(super) fn of(first: &[u8], error: httparse::Error) -> Self {
        let word = first.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let is_in = |words: &[&str], is_same: fn(&[u8], &[u8]) -> bool| {
            words.iter().any(|known| is_same(word, known.as_bytes()))
        };
        let other = || OTHERS.iter().find(|(beginning, _)| first.starts_with(beginning));
        match first {
            _ if first.starts_with(b"PROXY ") => Self::Proxy(1),
            _ if first.len() > 4 && first.starts_with(&PROXY_2[..first.len().min(PROXY_2.len())]) => {
                Self::Proxy(2)
            }
            [0x16, 0x03, ..] | [0x16] => Self::Tls,
            [b'*', b'0'..=b'9', ..] => Self::Redis,
            [0x80, ..] => Self::MemcachedBinary,
            _ if first.starts_with(b"SSH-") => Self::Ssh,
            _ if is_in(MEMCACHED, |word, known| word == known) => Self::Memcached,
            _ if is_in(REDIS, <[u8]>::eq_ignore_ascii_case) => Self::Redis,
            _ => other().map_or(Self::Malformed(error), |(_, name)| Self::Other(name)),
        }
    }

    /// Its name, for the log and for a limit of lines for each.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Proxy(1) => "the PROXY protocol, version 1",
            Self::Proxy(_) => "the PROXY protocol, version 2",
            Self::Tls => "TLS",
            Self::Redis => "a Redis command",
            Self::Memcached => "a memcached command",
            Self::MemcachedBinary => "the binary protocol of memcached",
            Self::Ssh => "SSH",
            Self::Other(name) => name,
            Self::Late { is_silent: true } => "nothing",
            Self::Late { is_silent: false } => "only a part of a request",
            Self::PlainHttp1 => "HTTP without TLS",
            Self::PlainHttp2 => "HTTP/2 without TLS",
            Self::NoRoom => "HTTP/2",
            Self::Malformed(_) => INVALID,
        }
    }

    /// The action of the connection and its cure, for a line after its name; `protocol` is the listener's.
    pub(super) fn said(self, protocol: &str) -> String {
        let name = self.name();
        let did = match self {
            Self::Malformed(error) => format!("sent {name} ({error})"),
            Self::Late { .. } => format!("sent {name} in time"),
            Self::NoRoom => {
                format!("sent {name}, of which too many connections are open: use HTTP/1.1, or close some")
            }
            _ => format!("sent {name}, but this address serves {protocol}"),
        };
        match self.advice() {
            Some(advice) => format!("{did}: {advice}"),
            None => did,
        }
    }

    fn advice(self) -> Option<&'static str> {
        match self {
            Self::Proxy(_) => Some(
                "turn it off for this server (HAProxy: send-proxy, check-send-proxy; curl: --haproxy-protocol)",
            ),
            Self::Tls => Some("use http:// here, or set tls.cert_file"),
            Self::Redis | Self::Memcached | Self::MemcachedBinary => {
                Some("check the port, since no cache is here")
            }
            Self::Late { is_silent: true } => Some(
                "a caller that waits for the server to begin, such as HAProxy's agent-check, must send a request (option httpchk)",
            ),
            Self::PlainHttp1 | Self::PlainHttp2 => Some("use https://"),
            Self::Late { is_silent: false }
            | Self::NoRoom
            | Self::Ssh
            | Self::Other(_)
            | Self::Malformed(_) => None,
        }
    }

    /// The answer, in the protocol that the client speaks if that has one; otherwise in HTTP.
    pub(super) fn answer(self, first: &[u8], protocol: &str) -> Vec<u8> {
        let said = format!("this connection {}", self.said(protocol));
        match self {
            Self::Redis => format!("-ERR {said}\r\n").into(),
            Self::Memcached => format!("SERVER_ERROR {said}\r\n").into(),
            Self::MemcachedBinary => memcached_binary(first, &said),
            // Lines before the identification are shown by clients (RFC 4253, section 4.2).
            Self::Ssh => format!("{said}\r\n").into(),
            // INADEQUATE_SECURITY and ENHANCE_YOUR_CALM (RFC 9113, section 7).
            Self::PlainHttp2 => go_away(0xc, &said),
            Self::NoRoom => go_away(0xb, &said),
            Self::Late { .. } => http("408 Request Timeout", &said),
            // A client of TLS says then that the server speaks none; some, such as Go's, that it speaks HTTP.
            Self::Malformed(httparse::Error::TooManyHeaders) => {
                http("431 Request Header Fields Too Large", &said)
            }
            Self::Tls | Self::Proxy(_) | Self::Other(_) | Self::PlainHttp1 | Self::Malformed(_) => {
                http("400 Bad Request", &said)
            }
        }
    }

    /// Answers, and closes the connection when the client has read it.
    pub(super) async fn refuse(
        self,
        first: &[u8],
        protocol: &str,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) {
        let exchange = async {
            writer.write_all(&self.answer(first, protocol)).await?;
            writer.shutdown().await?;
            tokio::io::copy(&mut (&mut reader).take(MAX_REST), &mut tokio::io::sink()).await
        };
        let _ = time::timeout(LINGER, exchange).await;
    }
}

fn http(status: &str, said: &str) -> Vec<u8> {
    let length = said.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}\n"
    )
    .into()
}

/// A preface of the server and a GOAWAY with this code (RFC 9113, sections 3.4 and 6.8), whose text clients of gRPC show.
fn go_away(code: u8, said: &str) -> Vec<u8> {
    // The length of a line fits.
    let length = u16::try_from(8 + said.len()).unwrap_or(u16::MAX).to_be_bytes();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let head = [0, length[0], length[1], 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, code];
    [&settings[..], &head, said.as_bytes()].concat()
}

/// An "Unknown command" with the opcode and the opaque of the request (memcached's wiki, `BinaryProtocolRevamped`).
fn memcached_binary(request: &[u8], said: &str) -> Vec<u8> {
    let mut head = [0; 24];
    let length = u32::try_from(said.len()).unwrap_or(u32::MAX).to_be_bytes();
    head[0] = 0x81;
    head[1] = request.get(1).copied().unwrap_or_default();
    head[7] = 0x81;
    head[8..12].copy_from_slice(&length);
    if let Some(opaque) = request.get(12..16) {
        head[12..16].copy_from_slice(opaque);
    }
    [&head, said.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &[u8]) -> Foreign {
        Foreign::of(first, httparse::Error::Token)
    }

    #[test]
    fn a_protocol_is_known_by_its_first_bytes() {
        for (first, expected) in [
            (&b"PROXY TCP4 10.0.0.1 10.0.0.2 5 80\r\n"[..], Foreign::Proxy(1)),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", Foreign::Proxy(2)),
            (b"\r\n\r\n\0\r\n", Foreign::Proxy(2)),
            (b"\x16\x03\x01\x02\0", Foreign::Tls),
            (b"*1\r\n$4\r\nPING\r\n", Foreign::Redis),
            (b"PING\r\n", Foreign::Redis),
            (b"info\r\n", Foreign::Redis),
            (b"version\r\n", Foreign::Memcached),
            (b"mn\r\n", Foreign::Memcached),
            (b"get a\r\n", Foreign::Memcached),
            (b"\x80\x0b\0\0", Foreign::MemcachedBinary),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Foreign::Ssh),
            (b"EHLO mail\r\n", Foreign::Other("SMTP")),
            (b"GET a\r\n", Foreign::Malformed(httparse::Error::Token)),
            (b"\r\n\r\n", Foreign::Malformed(httparse::Error::Token)),
            (b"versions", Foreign::Malformed(httparse::Error::Token)),
        ] {
            assert_eq!(of(first), expected, "{:?}", String::from_utf8_lossy(first));
        }
    }

    #[test]
    fn an_answer_is_in_the_protocol_of_the_client() {
        let begins = |first: &[u8], beginning: &[u8]| {
            let answer = of(first).answer(first, "HTTP");
            assert!(answer.starts_with(beginning), "{:?}", String::from_utf8_lossy(&answer));
        };
        begins(
            b"PING\r\n",
            b"-ERR this connection sent a Redis command, but this address serves HTTP: check the port",
        );
        begins(b"stats\r\n", b"SERVER_ERROR this connection sent a memcached command");
        begins(b"SSH-2.0-x\r\n", b"this connection sent SSH");
        begins(b"\x16\x03\x01", b"HTTP/1.1 400 Bad Request\r\n");
        let binary = [&b"\x80\x0b\0\0\0\0\0\0\0\0\0\0abcd"[..], &[0; 8]].concat();
        begins(&binary, b"\x81\x0b\0\0\0\0\0\x81\0\0\0");
        assert_eq!(&of(&binary).answer(&binary, "HTTP")[12..16], b"abcd");
        assert!(go_away(0xc, "words").ends_with(b"\x0cwords"));
    }
}
