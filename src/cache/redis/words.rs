//! The words with which servers of Redis' protocol refuse a command, and the cause that each of them means.
//!
//! An error that is well formed was understood, so `protocol` is not its cause. memcached's words are in
//! `cache/memcached/words.rs`.

use crate::cache::vocabulary::{self, Vocabulary};
use crate::outcome::{Cause, Phase, advice};

/// Every known error, without the `-` before it. If an error is none of these, [`cause`] has its meaning.
const KNOWN: &[Vocabulary] = &[
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, server.c, createSharedObjects and processCommand",
        lines: &[
            ("NOAUTH", Cause::Auth),
            ("ERR operation not permitted", Cause::Auth),
            ("NOPERM", Cause::Forbidden),
            ("READONLY", Cause::ReadOnly),
            ("OOM", Cause::OutOfMemory),
            ("MISCONF", Cause::WriteBlocked),
            ("NOREPLICAS", Cause::WriteBlocked),
            ("BUSY", Cause::WriteBlocked),
            ("LOADING", Cause::Loading),
            ("MASTERDOWN", Cause::PrimaryDown),
            ("WRONGTYPE", Cause::WrongType),
            ("ERR unknown command", Cause::Forbidden),
            ("ERR unknown subcommand", Cause::Forbidden),
            ("ERR Unknown subcommand", Cause::Forbidden),
            ("ERR wrong number of arguments", Cause::Forbidden),
            ("ERR string exceeds maximum allowed size", Cause::NotStored),
            ("ERR invalid expire time", Cause::NotStored),
        ],
    },
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, networking.c and cluster.c: before the first command",
        lines: &[
            ("ERR max number of clients reached", Cause::Refused),
            ("ERR max number of clients + cluster connections reached", Cause::Refused),
            ("DENIED", Cause::Forbidden),
        ],
    },
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, acl.c, networking.c and server.c: AUTH and HELLO",
        lines: &[
            ("WRONGPASS", Cause::Auth),
            ("ERR invalid password", Cause::Auth),
            ("ERR Client sent AUTH, but no password is set", Cause::Auth),
            ("ERR AUTH <password> called without any password configured", Cause::Auth),
            ("ERR wrong number of arguments for 'auth' command", Cause::Auth),
            ("NOPROTO", Cause::Forbidden),
        ],
    },
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, db.c, selectCommand",
        lines: &[
            ("ERR DB index is out of range", Cause::Database),
            ("ERR invalid DB index", Cause::Database),
            ("ERR SELECT is not allowed in cluster mode", Cause::Database),
        ],
    },
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, cluster.c and cluster_legacy.c",
        lines: &[
            ("MOVED", Cause::Redirected),
            ("ASK", Cause::Redirected),
            ("TRYAGAIN", Cause::Redirected),
            ("CROSSSLOT", Cause::Redirected),
            ("REDIRECT", Cause::Redirected),
            ("CLUSTERDOWN", Cause::ClusterDown),
            ("ERR This instance has cluster support disabled", Cause::ClusterDown),
        ],
    },
    Vocabulary {
        source: "Redis 5.0 to 8.2 and Valkey 7.2 to 9.1, sentinel.c",
        lines: &[
            ("ERR No such master with that name", Cause::Unresolvable),
            ("ERR No such primary with that name", Cause::Unresolvable),
            ("IDONTKNOW", Cause::Unresolvable),
            ("INPROG", Cause::WriteBlocked),
            ("NOGOODSLAVE", Cause::PrimaryDown),
            ("NOQUORUM", Cause::PrimaryDown),
        ],
    },
    Vocabulary {
        source: "twemproxy 0.5, src/nc_message.c, msg_get_error: strerror(3) of an upstream's connection, or of an \
                 answer that it does not understand",
        lines: &[
            ("ERR Connection refused", Cause::Unreachable),
            ("ERR Connection reset", Cause::Unreachable),
            ("ERR Connection timed out", Cause::Unreachable),
            ("ERR Broken pipe", Cause::Unreachable),
            ("ERR Host is down", Cause::Unreachable),
            ("ERR Invalid argument", Cause::Unreachable),
            ("ERR Network is", Cause::Unreachable),
            ("ERR No route to host", Cause::Unreachable),
            ("ERR Software caused connection abort", Cause::Unreachable),
            ("ERR unknown", Cause::Unreachable),
            ("NOAUTH Authentication required", Cause::Auth),
        ],
    },
    Vocabulary {
        source: "predixy, src/Response.cpp, as it spells them",
        lines: &[
            ("ERR no server avaliable", Cause::Unreachable),
            ("ERR no server connection avaliable", Cause::Unreachable),
            ("ERR server connection close", Cause::Unreachable),
            ("ERR deliver request fail", Cause::Unreachable),
            ("ERR auth permission deny", Cause::Forbidden),
        ],
    },
    Vocabulary {
        source: "Envoy 1.40, redis_proxy, command_splitter_impl.cc and proxy_filter.cc",
        lines: &[
            ("no upstream host", Cause::Unreachable),
            ("upstream failure", Cause::Unreachable),
            ("upstream protocol error", Cause::Unreachable),
            ("finished with", Cause::Unreachable),
            ("Fault Injected", Cause::Unreachable),
            ("invalid request", Cause::Forbidden),
            ("ERR Client sent AUTH, but no username-password pair is set", Cause::Auth),
            ("ERR external authentication failed", Cause::Auth),
            ("ERR unauthorized", Cause::Auth),
        ],
    },
];

/// The cause that an error means, by its longest known beginning.
///
/// Redis' own errors begin with a code in capitals. Of an unknown one, the phase tells what was refused. An error
/// without a code is a proxy's, and in practice its word that no server is behind it.
pub(super) fn cause(line: &str, phase: Phase) -> Cause {
    let known = KNOWN.iter().flat_map(|vocabulary| vocabulary.lines);
    match (vocabulary::meaning(known, line), phase) {
        (Some(cause), _) => cause,
        (None, _) if !has_code(line) => Cause::Unreachable,
        (None, Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Auth) => Cause::Auth,
        (None, Phase::Write) => Cause::NotStored,
        (None, Phase::Read) => Cause::Forbidden,
    }
}

/// The hints for errors that tell more than their cause.
const ADVICE: &[(&str, &str)] = &[
    ("DENIED", advice::PROTECTED_MODE),
    ("ERR unknown command", advice::UNKNOWN_COMMAND),
    ("ERR unknown subcommand", advice::UNKNOWN_COMMAND),
    ("ERR Unknown subcommand", advice::UNKNOWN_COMMAND),
    ("invalid request", advice::UNKNOWN_COMMAND),
    ("NOPERM No permissions to access database", advice::DATABASE),
    ("NOPROTO", advice::NO_RESP3),
    ("ERR This instance has cluster support disabled", advice::NO_CLUSTER),
    ("ERR AUTH <password> called without any password configured", advice::NO_PASSWORD),
    ("ERR Client sent AUTH, but no password is set", advice::NO_PASSWORD),
];

/// The hint for an error, if it tells more than its cause.
pub(super) fn advice(line: &str) -> Option<&'static str> {
    vocabulary::meaning(ADVICE, line)
}

/// `true` for an error that stands in place of any answer, before the server closes the connection.
pub(super) fn turns_away(line: &str) -> bool {
    line.starts_with("ERR max number of clients") || line.starts_with("DENIED")
}

fn has_code(line: &str) -> bool {
    let code = line.split(' ').next().unwrap_or_default();
    !code.is_empty() && code.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::vocabulary::tests::expect_each_cause;
    use crate::config::{Address, Backend, RedisConfig, RedisServers};
    use crate::embedded::EmbeddedServer;

    #[tokio::test]
    async fn every_known_error_has_its_cause_at_the_first_check() {
        let server = EmbeddedServer::redis().await.unwrap();
        let address = Address::Tcp { host: server.addr().ip().to_string(), port: server.addr().port() };
        let backend = Backend::Redis(RedisConfig::at(RedisServers::Standalone(address)));
        let spellings = |line: &str| ["", " and more"].map(|rest| format!("-{line}{rest}")).into();
        expect_each_cause(backend, &server, KNOWN, spellings).await;
    }

    #[test]
    fn an_unknown_error_means_what_its_phase_or_the_lack_of_a_code_tells() {
        assert_eq!(cause("ERR something new", Phase::Auth), Cause::Auth);
        assert_eq!(cause("ERR something new", Phase::Write), Cause::NotStored);
        assert_eq!(cause("NEWCODE something new", Phase::Read), Cause::Forbidden);
        assert_eq!(cause("something new", Phase::Write), Cause::Unreachable);
        assert_eq!(cause("", Phase::Write), Cause::Unreachable);
        assert_eq!(cause("OOMPH is another word", Phase::Write), Cause::NotStored);
        assert_eq!(cause("ERR unknown command 'SELECTED'", Phase::Auth), Cause::Forbidden);
    }
}
