//! [`ServerLimits`]: the bounds on connections, on waits for clients and on unread answers.

use std::time::Duration;

use crate::config::{self, Config};

/// The limits for clients, and the time that a stop may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The most connections that are open at a time; for the next one another is closed (`places`). And as many requests
    /// of HTTP/2 are answered at a time: a connection of it brings many, and each costs memory.
    pub connections: usize,
    /// The same at listeners for metrics alone, and at those for probes alone. They have places of their own, so that no
    /// flood elsewhere blinds monitoring or fails a probe.
    pub own_connections: usize,
    /// The time in which a request's head must come in, from its first byte or from a new connection's
    /// beginning, TLS included.
    pub head: Duration,
    /// The time in which a connection's client must take an answer, and come back with another request.
    pub idle: Duration,
    /// The most bytes of answers that may wait to be taken, on all connections together.
    pub unread_bytes: usize,
    /// The same on one connection: one that has more to take, and does not, is answered nothing else.
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
