//! [`Expiry`]: the time at which a certificate or a token ends.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::span::{greatest, timestamp};

named! {
    /// The things that end at a known time.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Expiring {
        /// The certificate that a server shows.
        ServerCertificate = "server_certificate",
        /// The certificate that ends first of those that a server sends with its own.
        Chain = "chain",
        /// The certificate that is shown to servers.
        ClientCertificate = "client_certificate",
        /// The certificate of the sidecar's own listeners.
        ListenerCertificate = "listener_certificate",
        /// A password that is a token.
        Token = "token",
        /// A token that is replaced before its end, so it is shown and not judged.
        RenewedToken = "renewed_token",
    }
}

/// Something that ends at a known time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Its kind.
    pub what: Expiring,
    /// The name in the certificate, or the setting of the token. It may come from a server, so it is redacted and one
    /// line.
    pub name: Box<str>,
    /// Its end.
    pub at: SystemTime,
}

/// The dates of one node or of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiries {
    /// The node; `None` if they are those of the alias, whatever the node.
    pub node: Option<Arc<str>>,
    /// The dates.
    pub dates: Arc<[Expiry]>,
}

impl Expiry {
    /// Its end in words: `ends at 2026-12-03T00:00:00Z, in 3 d 2 h`.
    pub(crate) fn when(&self, now: SystemTime) -> String {
        let end = timestamp(self.at);
        match (self.at.duration_since(now), now.duration_since(self.at)) {
            (Ok(left), _) => format!("ends at {end}, in {}", greatest(left)),
            (Err(_), ago) => format!("ended at {end}, {} ago", greatest(ago.unwrap_or_default())),
        }
    }
}

impl fmt::Display for Expiry {
    /// `server certificate "cache.example"`, or `token (password)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, .. } = self;
        match what {
            Expiring::ServerCertificate => write!(f, "server certificate {name:?}"),
            Expiring::Chain => write!(f, "certificate {name:?} in the server's chain"),
            Expiring::ClientCertificate => write!(f, "client certificate {name:?}"),
            Expiring::ListenerCertificate => write!(f, "certificate {name:?} of the listener"),
            Expiring::Token | Expiring::RenewedToken => write!(f, "token ({name})"),
        }
    }
}
