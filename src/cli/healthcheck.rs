//! The command `healthcheck`: queries a running server, for a container's HEALTHCHECK.

use std::error::Error as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use tokio::net::UnixStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::InvalidDnsNameError;
use tokio_rustls::rustls::{self, AlertDescription as Alert};

use super::client::{self, ConnectError};
use super::output::print;
use super::{Failure, FileArgs, block_on};
use crate::cache::{SetupError, Stream, client_config, pinned_config, tls_error};
use crate::config::{ClientCertificate, Source, Tls, Verify};
use target::{CERTIFICATE_CURE, Target, Trust, target};

mod server;
mod target;

/// The most bytes of a response that are printed, since Docker keeps no more.
const MAX_BODY: usize = 4096;

const AFTER_HELP: &str = "\
The address is the first of: --url or --socket; with -c, a listener of that configuration; CACHE_CANARY_URL; a listener of
the configuration that the server has. That is the one of the environment (CACHE_CANARY_CONFIG, CACHE_CANARY_LISTEN and
others), with the arguments of `serve` if that is the first process of this container. Of several listeners, the first of
probes.listen is queried, else the first of listen (a wildcard becomes loopback), for /health. With tls.cert_file, the
request uses https, and the server must present a certificate from that file (its name is not checked).

Examples:
  cache-canary healthcheck --url http://127.0.0.1:8080/health/main
  cache-canary healthcheck --url https://canary.internal:8443/health --ca-file /etc/ssl/internal.pem
  cache-canary healthcheck -c /etc/cache-canary/cache-canary.toml
  cache-canary healthcheck --socket /run/cache-canary.sock
  HEALTHCHECK CMD [\"/cache-canary\", \"healthcheck\"]          in a Dockerfile

Exit codes: 0 if the response is 2xx; 1 in every other case, including invalid arguments (Docker reserves other codes).";

/// Query a running server and print its response, for a HEALTHCHECK without a shell
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    config: FileArgs,
    /// URL to query
    #[arg(long, value_name = "URL", conflicts_with_all = ["socket", "config"])]
    url: Option<String>,
    /// Unix socket to query for /health
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// CA certificates (PEM) to trust instead of the system's, for https
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Accept any certificate; use only for a server on loopback
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
    /// Client certificate (PEM), if the server requires one
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Private key (PEM) of the client certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Timeout for the whole request
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Sends one request and prints the response.
pub(super) fn run(args: &HealthcheckArgs) -> Result<ExitCode, Failure> {
    let Source { environment, .. } = Source::from_process(None, Vec::new());
    let target = target(args, environment, server::of_first_process()).map_err(Failure::other)?;
    let tls = match &target {
        Target::Tcp { tls: Some(trust), .. } => Some(connector(args, trust).map_err(Failure::other)?),
        Target::Tcp { tls: None, .. } | Target::Unix { .. } => None,
    };
    let (status, body) = block_on(async {
        match time::timeout(args.timeout, ask(&target, tls.as_ref())).await {
            Ok(answer) => answer.map_err(Failure::other),
            Err(_) => Err(Failure::other(format!("no answer from {target} within {:?}", args.timeout))),
        }
    })?;
    print(&body)?;
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    if body.is_empty() {
        return Err(Failure::other(format!("{target} answered {status}")));
    }
    Ok(ExitCode::FAILURE)
}

/// The TLS connector for a server with this trust.
fn connector(args: &HealthcheckArgs, trust: &Trust) -> Result<TlsConnector, SetupError> {
    let client = args.cert_file.clone().zip(args.key_file.clone());
    let client = client.map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file });
    let config = match trust {
        // Arguments take precedence over the environment.
        Trust::Pinned(file) if !args.insecure && args.ca_file.is_none() => {
            pinned_config(file, client.as_ref())?
        }
        Trust::Pinned(_) | Trust::AsTyped => {
            let verify = if args.insecure { Verify::None } else { Verify::Full };
            client_config(&Tls { ca_file: args.ca_file.clone(), client, server_name: None, verify })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The error for a missing response.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot connect to {0} (is the server running?)")]
    Connect(String, #[source] std::io::Error),
    #[error(
        "the TLS handshake with {0} failed (check that it serves https, and that --ca-file has its CA certificate)"
    )]
    Tls(String, #[source] std::io::Error),
    #[error(
        "{0} does not accept this request without a client certificate of its authority (alert: {1:?}); {CERTIFICATE_CURE}"
    )]
    Certificate(String, Alert),
    #[error("{0} is not a valid TLS server name")]
    Name(String, #[source] InvalidDnsNameError),
    #[error("no answer from {0}")]
    Answer(String, #[source] hyper::Error),
    #[error("{0} cannot be asked for")]
    Request(String, #[source] axum::http::Error),
}

/// The status code of the response, and the beginning of its body.
async fn ask(target: &Target, tls: Option<&TlsConnector>) -> Result<(StatusCode, Vec<u8>), AskError> {
    let stream: Box<dyn Stream>;
    let (authority, path) = match target {
        Target::Tcp { host, port, path, tls: _ } => {
            let connected = client::connect(host, *port, tls).await;
            stream = connected.map_err(|error| match error {
                ConnectError::Tcp(error) => AskError::Connect(target.to_string(), error),
                ConnectError::Name(error) => AskError::Name(host.clone(), error),
                ConnectError::Tls(error) => AskError::Tls(target.to_string(), error),
            })?;
            (format!("{host}:{port}"), path.as_str())
        }
        Target::Unix { socket } => {
            let connected = UnixStream::connect(socket).await;
            stream = Box::new(connected.map_err(|error| AskError::Connect(target.to_string(), error))?);
            ("localhost".to_owned(), "/health")
        }
    };
    ask_over(stream, &authority, path, target).await
}

/// The alert by which the server refuses the client's certificate, or the lack of one. With TLS 1.3 it follows the handshake.
fn refused_certificate(error: &hyper::Error) -> Option<Alert> {
    let alert = match tls_error(error.source()?.downcast_ref()?)? {
        rustls::Error::AlertReceived(alert) => *alert,
        _ => return None,
    };
    let is_about_it = matches!(
        alert,
        Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
    );
    is_about_it.then_some(alert)
}

async fn ask_over(
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
    target: &Target,
) -> Result<(StatusCode, Vec<u8>), AskError> {
    let no_answer = |error: hyper::Error| match refused_certificate(&error) {
        Some(alert) => AskError::Certificate(target.to_string(), alert),
        None => AskError::Answer(target.to_string(), error),
    };
    let request = client::get(path, host).body(Empty::new());
    let request = request.map_err(|error| AskError::Request(target.to_string(), error))?;
    let mut response = client::send(stream, request).await.map_err(no_answer)?;
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        let Some(frame) = response.frame().await else { break };
        if let Ok(bytes) = frame.map_err(no_answer)?.into_data() {
            body.extend_from_slice(&bytes);
        }
    }
    body.truncate(MAX_BODY);
    Ok((response.status(), body))
}
