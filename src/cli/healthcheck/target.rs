//! [`Target`]: the address of the server that `healthcheck` queries, and the certificates that it trusts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use url::Url;

use super::HealthcheckArgs;
use super::server::ServerFlags;
use crate::config::{ConfigError, Listen, OwnListeners, Source, is_quoted, load_listeners};

/// The ways to a listener that requires a client certificate.
pub(super) const CERTIFICATE_CURE: &str =
    "set --cert-file and --key-file, or add a unix socket to probes.listen, which requires none";

const URL_VARIABLE: &str = "CACHE_CANARY_URL";
const EXAMPLE_URL: &str = "http://127.0.0.1:8080/health";

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

/// The target: as the arguments or [`URL_VARIABLE`] say, else the listener of the configuration that the server has, by
/// `serving` if its command line is known.
pub(super) fn target(
    args: &HealthcheckArgs,
    environment: BTreeMap<String, String>,
    serving: Option<ServerFlags>,
) -> Result<Target, TargetError> {
    if let Some(socket) = &args.socket {
        return Ok(Target::Unix { socket: socket.clone() });
    }
    if let Some(url) = &args.url {
        return from_url("--url", url);
    }
    let url = environment.get(URL_VARIABLE).map(|url| url.trim()).filter(|url| !url.is_empty());
    if let (None, Some(url)) = (&args.config.config, url) {
        return if is_quoted(url) { Err(TargetError::Quotes) } else { from_url(URL_VARIABLE, url) };
    }
    let ServerFlags { file, listen } = match &args.config.config {
        Some(file) => ServerFlags { file: Some(file.clone()), listen: Vec::new() },
        None => serving.unwrap_or_default(),
    };
    from_listeners(load_listeners(&Source { file, listen, environment })?, args.cert_file.is_some())
}

/// The error for an unclear target. No part of a URL is shown, since it may contain a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("{0} is not a URL such as {EXAMPLE_URL}")]
    Url(&'static str, #[source] url::ParseError),
    #[error("{URL_VARIABLE} begins and ends with quotes, which are part of it; remove them")]
    Quotes,
    #[error("{0} has the scheme {1}; use http or https, as in {EXAMPLE_URL}")]
    Scheme(&'static str, String),
    #[error("the configuration listens on port 0, which the system replaces by another; use --url")]
    AnyPort,
    #[error("{0} requires a client certificate (tls.client_ca_file); {CERTIFICATE_CURE}")]
    Certificate(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
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

/// The first address for probes, which have places of their own, else the first for everything. A unix socket comes first
/// if TCP needs a certificate and there is none.
fn from_listeners(listeners: OwnListeners, has_certificate: bool) -> Result<Target, TargetError> {
    let OwnListeners { main, probes, cert_file, wants_certificate } = listeners;
    let all = || probes.iter().chain(&main);
    let needs_socket = wants_certificate && !has_certificate;
    let socket = all().find(|listen| needs_socket && matches!(listen, Listen::Unix(_)));
    let address = match socket.or_else(|| all().next()) {
        Some(Listen::Unix(socket)) => return Ok(Target::Unix { socket: socket.clone() }),
        Some(Listen::Tcp(address)) if address.port() != 0 => address,
        Some(Listen::Tcp(_)) | None => return Err(TargetError::AnyPort),
    };
    // An IPv6 wildcard accepts IPv4 too, and IPv4's loopback exists even if IPv6 is off.
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let tls = cert_file.map(Trust::Pinned);
    let target = Target::Tcp { host, port: address.port(), path: "/health".to_owned(), tls };
    if needs_socket { Err(TargetError::Certificate(target.to_string())) } else { Ok(target) }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, path, tls } => {
                let s = if tls.is_some() { "s" } else { "" };
                // A query may have a token in it.
                let path = path.split('?').next().unwrap_or_default();
                write!(f, "http{s}://{host}:{port}{path}")
            }
            Self::Unix { socket } => write!(f, "unix:{}", socket.display()),
        }
    }
}
