//! [`Caller`]: the other end of a connection, or the client that a proxy names.

use std::net::IpAddr;

/// The origin of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Over TCP, from this address.
    Remote(IpAddr),
    /// Over a unix socket, whose file's permissions admit the caller.
    Local,
    /// The client of a proxy whose headers give no valid address.
    Unknown,
}
