//! [`Target`]: the address of the server that `healthcheck` queries, and the certificates that it trusts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use url::Url;

use super::HealthcheckArgs;

const URL_VARIABLE: &str = "CACHE_CANARY_URL";
const LISTEN_VARIABLE: &str = "CACHE_CANARY_LISTEN";
/// The variable with the server's own certificate. If it is set, the server speaks TLS over TCP.
const CERT_VARIABLE: &str = "CACHE_CANARY_TLS__CERT_FILE";
const DEFAULT_URL: &str = "http://127.0.0.1:8080/health";
/// The default address of a server, as seen from the same container.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The address and path of the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tcp { host: String, port: u16, path: String, tls: Option<Trust> },
    Unix { socket: PathBuf },
}

/// The certificates that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Certificates that pass the verification chosen by the arguments.
    AsTyped,
    /// The certificates of this file only.
    Pinned(PathBuf),
}

/// The target, from the arguments or else from the environment.
pub(super) fn target(
    args: &HealthcheckArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Target, TargetError> {
    // An empty variable counts as unset, as everywhere in the configuration.
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(socket) = &args.socket {
        return Ok(Target::Unix { socket: socket.clone() });
    }
    if let Some(url) = &args.url {
        return from_url("--url", url);
    }
    if let Some(url) = variable(URL_VARIABLE) {
        return from_url(URL_VARIABLE, &url);
    }
    let listen = variable(LISTEN_VARIABLE);
    let certificate = variable(CERT_VARIABLE).map(PathBuf::from);
    from_listen(listen.as_deref().unwrap_or(DEFAULT_LISTEN), certificate)
}

/// The error for an unclear target. No part of a URL is shown, since it may contain a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TargetError {
    #[error("{0} is not a URL such as {DEFAULT_URL}")]
    Url(&'static str, #[source] url::ParseError),
    #[error("{0} has the scheme {1}; use http or https, as in {DEFAULT_URL}")]
    Scheme(&'static str, String),
    #[error(
        "{LISTEN_VARIABLE} is `{0}`, but must be an address such as 127.0.0.1:8080 or unix:/run/cache-canary.sock"
    )]
    Listen(String),
}

fn from_url(origin: &'static str, url: &str) -> Result<Target, TargetError> {
    let url = Url::parse(url).map_err(|error| TargetError::Url(origin, error))?;
    let tls = match url.scheme() {
        "http" => None,
        "https" => Some(Trust::AsTyped),
        other => return Err(TargetError::Scheme(origin, other.to_owned())),
    };
    let host = url.host_str().ok_or(TargetError::Url(origin, url::ParseError::EmptyHost))?;
    let port = url.port_or_known_default().ok_or(TargetError::Url(origin, url::ParseError::InvalidPort))?;
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    Ok(Target::Tcp { host: host.to_owned(), port, path, tls })
}

/// The first of the addresses that a server with the same environment listens on.
fn from_listen(listen: &str, certificate: Option<PathBuf>) -> Result<Target, TargetError> {
    let first = listen.split(',').next().unwrap_or_default().trim();
    if let Some(socket) = first.strip_prefix("unix:") {
        return Ok(Target::Unix { socket: socket.into() });
    }
    let address: SocketAddr = first.parse().map_err(|_| TargetError::Listen(first.to_owned()))?;
    // An IPv6 wildcard accepts IPv4 too, and IPv4's loopback exists even if IPv6 is off.
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let tls = certificate.map(Trust::Pinned);
    Ok(Target::Tcp { host, port: address.port(), path: "/health".to_owned(), tls })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, path, tls } => {
                let s = if tls.is_some() { "s" } else { "" };
                write!(f, "http{s}://{host}:{port}{path}")
            }
            Self::Unix { socket } => write!(f, "unix:{}", socket.display()),
        }
    }
}
