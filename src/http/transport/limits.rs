//! [`ServerLimits`]: the bounds on connections, on waits for clients and on unread answers.

use std::time::Duration;

use crate::config::{self, Config};

/// The limits for clients, and the time that a stop may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The most connections that are open at a time; for the next, another one is closed (`places`). The same number of
    /// requests of HTTP/2 is answered at a time: a connection of it has many, and each costs memory.
    pub connections: usize,
    /// The same at listeners for metrics alone, and at those for probes alone. They have places of their own, so that
    /// no flood elsewhere blinds monitoring or fails a probe.
    pub own_connections: usize,
    /// The time in which a request's head must arrive, from its first byte or from the start of a new connection, TLS
    /// included.
    pub head: Duration,
    /// The time in which a connection's client must take an answer, and send another request.
    pub idle: Duration,
    /// The most bytes of answers that clients may leave unread, on all connections together.
    pub unread_bytes: usize,
    /// The same on one connection: above it, the connection gets no other answer until its client reads.
    pub unread_bytes_per_connection: usize,
    /// The time that open requests get to finish when the server stops.
    pub stop: Duration,
}

impl ServerLimits {
    /// The limits of `config`, with defaults for the rest.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let config::CallerLimits { connections, unread_bytes, unread_bytes_per_connection } = config.limits;
        Self { connections, unread_bytes, unread_bytes_per_connection, ..Self::default() }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        let config::CallerLimits { connections, unread_bytes, unread_bytes_per_connection } =
            config::CallerLimits::default();
        Self {
            connections,
            own_connections: 64,
            head: Duration::from_secs(5),
            // Longer than the minute that probers and balancers keep a connection, so that they close first.
            idle: Duration::from_secs(75),
            unread_bytes,
            unread_bytes_per_connection,
            stop: Duration::from_secs(10),
        }
    }
}
