//! The words with which servers of memcached refuse a command, and the cause that each of them means.

use crate::cache::vocabulary::{self, Vocabulary};
use crate::outcome::Cause;

/// Every known line. A line that is none of these is judged by [`KINDS`].
const KNOWN: &[Vocabulary] = &[
    Vocabulary {
        source: "memcached 1.6.18 to 1.6.45, memcached.c",
        lines: &[
            ("ERROR Too many open connections", Cause::Refused),
            ("SERVER_ERROR out of memory", Cause::OutOfMemory),
            ("SERVER_ERROR out of memory reading request", Cause::OutOfMemory),
            ("SERVER_ERROR Out of memory during read", Cause::OutOfMemory),
            ("SERVER_ERROR output line too long", Cause::Unreachable),
        ],
    },
    Vocabulary {
        source: "memcached 1.6.18 to 1.6.45, proto_text.c and proto_parser.c",
        lines: &[
            ("ERROR", Cause::Forbidden),
            ("CLIENT_ERROR unauthenticated", Cause::Auth),
            ("CLIENT_ERROR authentication failure", Cause::Auth),
            ("CLIENT_ERROR bad authentication token format", Cause::Auth),
            ("CLIENT_ERROR bad command line format", Cause::Forbidden),
            ("CLIENT_ERROR bad command line termination", Cause::Forbidden),
            ("CLIENT_ERROR bad token in command line format", Cause::Forbidden),
            ("CLIENT_ERROR invalid flag", Cause::Forbidden),
            ("CLIENT_ERROR invalid or duplicate flag", Cause::Forbidden),
            ("CLIENT_ERROR duplicate flag", Cause::Forbidden),
            ("CLIENT_ERROR options flags are too long", Cause::Forbidden),
            ("CLIENT_ERROR error decoding key", Cause::Forbidden),
            ("CLIENT_ERROR bad data chunk", Cause::NotStored),
            ("CLIENT_ERROR invalid exptime argument", Cause::NotStored),
            ("SERVER_ERROR object too large for cache", Cause::NotStored),
            ("SERVER_ERROR out of memory storing object", Cause::OutOfMemory),
            ("SERVER_ERROR out of memory writing get response", Cause::OutOfMemory),
            ("SERVER_ERROR Out of memory allocating item", Cause::OutOfMemory),
            ("SERVER_ERROR Out of memory allocating new item", Cause::OutOfMemory),
            ("SERVER_ERROR Unhandled storage type.", Cause::NotStored),
            ("SERVER_ERROR refcount overflow during fetch", Cause::Unreachable),
        ],
    },
    Vocabulary {
        source: "memcached 1.6.45 as a proxy, proto_proxy.c",
        lines: &[("SERVER_ERROR backend failure", Cause::Unreachable)],
    },
    Vocabulary {
        source: "mcrouter 0.41, mcrouter/lib/mc/msg.c, mc_res_to_response_string",
        lines: &[
            ("SERVER_ERROR unknown result", Cause::Unreachable),
            ("SERVER_ERROR unexpected result", Cause::Unreachable),
            ("SERVER_ERROR out of order", Cause::Unreachable),
            ("SERVER_ERROR timeout", Cause::Unreachable),
            ("SERVER_ERROR connection timeout", Cause::Unreachable),
            ("SERVER_ERROR connection error", Cause::Unreachable),
            ("SERVER_ERROR 307 busy", Cause::Unreachable),
            ("SERVER_ERROR 302 try again", Cause::Unreachable),
            ("SERVER_ERROR 301 shutdown", Cause::Unreachable),
            ("SERVER_ERROR unavailable", Cause::Unreachable),
            ("SERVER_ERROR aborted", Cause::Unreachable),
            ("SERVER_ERROR local error", Cause::Unreachable),
            ("SERVER_ERROR remote error", Cause::Unreachable),
            ("SERVER_ERROR waiting", Cause::Unreachable),
            ("SERVER_ERROR bad value", Cause::NotStored),
            ("SERVER_ERROR Command disabled", Cause::Forbidden),
            ("CLIENT_ERROR malformed request", Cause::Forbidden),
            ("CLIENT_ERROR bad command", Cause::Forbidden),
            ("CLIENT_ERROR bad key", Cause::Forbidden),
            ("CLIENT_ERROR bad flags", Cause::NotStored),
            ("CLIENT_ERROR bad exptime", Cause::NotStored),
            ("CLIENT_ERROR", Cause::Forbidden),
        ],
    },
    Vocabulary {
        source: "twemproxy 0.5, src/nc_message.c, msg_get_error: strerror(3) of an upstream's connection",
        lines: &[
            ("SERVER_ERROR Connection refused", Cause::Unreachable),
            ("SERVER_ERROR Connection timed out", Cause::Unreachable),
            ("SERVER_ERROR Connection reset by peer", Cause::Unreachable),
            ("SERVER_ERROR Host is down", Cause::Unreachable),
            ("SERVER_ERROR No route to host", Cause::Unreachable),
            ("SERVER_ERROR Invalid argument", Cause::Unreachable),
            ("SERVER_ERROR unknown", Cause::Unreachable),
        ],
    },
    Vocabulary {
        source: "moxi 2.5, its manual, \"Moxi Error Responses\"",
        lines: &[
            ("SERVER_ERROR proxy downstream closed", Cause::Unreachable),
            ("SERVER_ERROR proxy downstream timeout", Cause::Unreachable),
            ("SERVER_ERROR proxy write to downstream", Cause::Unreachable),
            ("SERVER_ERROR a2b not_my_vbucket", Cause::Unreachable),
            ("SERVER_ERROR unauthorized, null bucket", Cause::Auth),
        ],
    },
];

/// The first words of errors ("Error strings", memcached's protocol.txt), and what they mean of a line that is not
/// known: a server's inability is in practice a proxy's word that no server is behind it.
const KINDS: &[(&str, Cause)] =
    &[("SERVER_ERROR", Cause::Unreachable), ("CLIENT_ERROR", Cause::Forbidden), ("ERROR", Cause::Forbidden)];

/// The cause that an error line means; `None` if it is no error line. The longest known beginning counts.
pub(super) fn cause(line: &str) -> Option<Cause> {
    let known = KNOWN.iter().flat_map(|vocabulary| vocabulary.lines);
    vocabulary::meaning(known.chain(KINDS), line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::vocabulary::tests::expect_each_cause;
    use crate::config::{Address, Backend, MemcachedConfig, MemcachedServers};
    use crate::embedded::EmbeddedServer;

    #[tokio::test]
    async fn every_known_line_has_its_cause_at_the_first_check() {
        let server = EmbeddedServer::memcached().await.unwrap();
        let address = Address::Tcp { host: server.addr().ip().to_string(), port: server.addr().port() };
        let backend = Backend::Memcached(MemcachedConfig::at([MemcachedServers::One(address)]));
        expect_each_cause(backend, &server, KNOWN, |line| vec![line.to_owned()]).await;
    }

    #[test]
    fn a_line_means_what_its_longest_known_beginning_means() {
        assert_eq!(cause("SERVER_ERROR out of memory storing object"), Some(Cause::OutOfMemory));
        assert_eq!(cause("SERVER_ERROR out of memoryless"), Some(Cause::Unreachable));
        assert_eq!(cause("SERVER_ERROR something new"), Some(Cause::Unreachable));
        assert_eq!(cause("CLIENT_ERROR something new"), Some(Cause::Forbidden));
        assert_eq!(cause("ERROR something new"), Some(Cause::Forbidden));
        for line in ["", "ERRORS", "error", "STORED", "-ERR unknown command", "HTTP/1.1 400 Bad Request"] {
            assert_eq!(cause(line), None, "{line}");
        }
    }
}
