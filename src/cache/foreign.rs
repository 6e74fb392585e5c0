//! [`ForeignServer`]: a server that does not speak the expected protocol, by the first bytes that it sends.

use crate::outcome::advice;

/// A server of another kind than the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForeignServer {
    /// The kind, for a sentence.
    pub(super) name: &'static str,
    /// The hint that goes with it.
    pub(super) hint: &'static str,
}

const REDIS: ForeignServer = ForeignServer { name: "a Redis", hint: advice::IS_REDIS };
const MEMCACHED: ForeignServer = ForeignServer { name: "a memcached", hint: advice::IS_MEMCACHED };
const TLS: ForeignServer = ForeignServer { name: "a server that speaks TLS", hint: advice::NEEDS_TLS };

const fn other(name: &'static str) -> ForeignServer {
    ForeignServer { name, hint: advice::OTHER_SERVER }
}

/// The beginnings of greetings and of answers to a command that was not understood.
const BEGINNINGS: &[(&[u8], ForeignServer)] = &[
    (b"HTTP/", other("a web server")),
    (b"<", other("a web server")),
    (b"SSH-", other("an SSH server")),
    (b"220", other("an SMTP or FTP server")),
    (b"421", other("an SMTP or FTP server")),
    (b"500", other("an SMTP or FTP server")),
    (b"554", other("an SMTP or FTP server")),
    (b"* OK", other("an IMAP server")),
    (b"+OK ", other("a POP3 server")),
    (b"AMQP", other("an AMQP broker")),
    (b"INFO {", other("a NATS server")),
    (b"UNKNOWN_COMMAND", other("a beanstalkd")),
    (b"E\0\0\0", other("a PostgreSQL server")),
    // The commands of Telnet (RFC 854).
    (b"\xff", other("a Telnet server")),
    (b"ERROR\r", MEMCACHED),
    (b"CLIENT_ERROR", MEMCACHED),
    (b"SERVER_ERROR", MEMCACHED),
    (b"-", REDIS),
    (b"+PONG", REDIS),
    // An alert (RFC 8446, section 5.1).
    (b"\x15\x03", TLS),
];

impl ForeignServer {
    /// The server that begins so, if it is known.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        match first {
            // A packet's length and number, and then version 10 of the protocol, or an error ("Protocol::Handshake", MySQL's
            // manual).
            [_, _, 0, 0, 10 | 0xff, ..] => Some(other("a MySQL server")),
            // SETTINGS, of stream 0 (RFC 9113, section 6.5).
            [0, 0, _, 4, _, 0, 0, 0, 0, ..] => Some(other("an HTTP/2 server")),
            _ => BEGINNINGS.iter().find(|(known, _)| first.starts_with(known)).map(|(_, server)| *server),
        }
    }

    /// `true` if it is a cache.
    pub(super) fn is_cache(self) -> bool {
        self == REDIS || self == MEMCACHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_first_bytes() {
        let of = |first: &[u8]| ForeignServer::of(first).map(|server| server.name);
        for (first, name) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "a web server"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH server"),
            (b"220 mail ESMTP\r\n", "an SMTP or FTP server"),
            (b"J\0\0\0\n8.0.36\0", "a MySQL server"),
            (b"E\0\0\0\xffj\x04Host", "a MySQL server"),
            (b"E\0\0\0\x8cSFATAL\0", "a PostgreSQL server"),
            (b"\0\0\x12\x04\0\0\0\0\0", "an HTTP/2 server"),
            (b"\x15\x03\x01\0\x02\x02\x46", "a server that speaks TLS"),
            (b"ERROR\r\n", "a memcached"),
            (b"-NOAUTH Authentication required.\r\n", "a Redis"),
        ] {
            assert_eq!(of(first), Some(name), "{first:?}");
        }
        assert_eq!((of(b""), of(b"what?\r\n"), of(b"\x15"), of(b"ERRORS")), (None, None, None, None));
    }
}
