//! [`Caller`]: the other end of a connection, or the client that a proxy names.

use std::net::IpAddr;

/// The origin of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Over TCP, from this address.
    Remote(IpAddr),
    /// Over a unix socket, whose file's permissions let them in.
    Local,
    /// Somebody whose proxy says nothing that could be read of them.
    Unknown,
}
