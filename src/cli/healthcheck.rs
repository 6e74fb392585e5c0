use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time;
use url::Url;

use super::{Failure, block_on, print};

/// The most bytes of an answer that are printed: Docker keeps no more of them.
const MAX_BODY: usize = 4096;

const URL_VARIABLE: &str = "CACHE_CANARY_URL";
const LISTEN_VARIABLE: &str = "CACHE_CANARY_LISTEN";
const DEFAULT_URL: &str = "http://127.0.0.1:8080/health";

const AFTER_HELP: &str = "\
Without --url and --socket it asks the URL in CACHE_CANARY_URL; without that, /health at the first address in
CACHE_CANARY_LISTEN (on loopback, if that is a wildcard); without that, http://127.0.0.1:8080/health.

Examples:
  cache-canary healthcheck --url http://127.0.0.1:8080/health/main
  cache-canary healthcheck --socket /run/cache-canary.sock
  HEALTHCHECK CMD [\"/cache-canary\", \"healthcheck\"]          in a Dockerfile

Exit codes: 0 if the answer's code is 2xx, 1 for anything else, wrong usage included: Docker reserves the others.";

/// Ask a running server, and print what it answers: for HEALTHCHECK where no shell is
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct HealthcheckArgs {
    /// The URL to ask
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    url: Option<String>,
    /// The unix socket to ask, for /health
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How long to wait for the whole answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Where to ask, and for what.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Tcp { host: String, port: u16, path: String },
    Unix { socket: PathBuf },
}

/// Asks once and prints the answer.
pub(super) fn run(args: &HealthcheckArgs) -> Result<ExitCode, Failure> {
    let target = target(args, |name| std::env::var(name).ok()).map_err(Failure::other)?;
    let (status, body) = block_on(async {
        match time::timeout(args.timeout, ask(&target)).await {
            Ok(answer) => answer.map_err(Failure::other),
            Err(_) => Err(Failure::other(format!("no answer from {target} within {:?}", args.timeout))),
        }
    })?;
    print(&body);
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    if body.is_empty() {
        return Err(Failure::other(format!("{target} answered {status}")));
    }
    Ok(ExitCode::FAILURE)
}

/// Where to ask, from what was typed and else from the environment.
fn target(args: &HealthcheckArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Target, TargetError> {
    if let Some(socket) = &args.socket {
        return Ok(Target::Unix { socket: socket.clone() });
    }
    if let Some(url) = &args.url {
        return from_url("--url", url);
    }
    if let Some(url) = variable(URL_VARIABLE) {
        return from_url(URL_VARIABLE, &url);
    }
    match variable(LISTEN_VARIABLE) {
        Some(listen) => from_listen(&listen),
        None => from_url("the default", DEFAULT_URL),
    }
}

/// Why it is not clear where to ask. Nothing of a URL is shown, it may have a password in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum TargetError {
    #[error("{0} is not a URL such as {DEFAULT_URL}")]
    Url(&'static str, #[source] url::ParseError),
    #[error("{0} has the scheme {1}, and only http is spoken here, as in {DEFAULT_URL}")]
    Scheme(&'static str, String),
    #[error(
        "{LISTEN_VARIABLE} is `{0}`, and must be an address such as 127.0.0.1:8080 or unix:/run/cache-canary.sock"
    )]
    Listen(String),
}

fn from_url(origin: &'static str, url: &str) -> Result<Target, TargetError> {
    let url = Url::parse(url).map_err(|error| TargetError::Url(origin, error))?;
    if url.scheme() != "http" {
        return Err(TargetError::Scheme(origin, url.scheme().to_owned()));
    }
    let host = url.host_str().ok_or(TargetError::Url(origin, url::ParseError::EmptyHost))?;
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    Ok(Target::Tcp { host: host.to_owned(), port: url.port().unwrap_or(80), path })
}

/// The first of the addresses that a server with the same environment listens on.
fn from_listen(listen: &str) -> Result<Target, TargetError> {
    let first = listen.split(',').next().unwrap_or_default().trim();
    if let Some(socket) = first.strip_prefix("unix:") {
        return Ok(Target::Unix { socket: socket.into() });
    }
    let address: SocketAddr = first.parse().map_err(|_| TargetError::Listen(first.to_owned()))?;
    // A wildcard of IPv6 takes IPv4 too, and IPv4's loopback is there when IPv6 is switched off.
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let url = format!("http://{}/health", SocketAddr::new(ip, address.port()));
    from_url(LISTEN_VARIABLE, &url)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, path } => write!(f, "http://{host}:{port}{path}"),
            Self::Unix { socket } => write!(f, "unix:{}", socket.display()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot connect to {0} (is the server running?)")]
    Connect(String, #[source] std::io::Error),
    #[error("no answer from {0}")]
    Answer(String, #[source] hyper::Error),
    #[error("{0} cannot be asked for")]
    Request(String, #[source] axum::http::Error),
}

/// The code of the answer, and the beginning of its body.
async fn ask(target: &Target) -> Result<(StatusCode, Vec<u8>), AskError> {
    let cannot_connect = |error| AskError::Connect(target.to_string(), error);
    match target {
        Target::Tcp { host, port, path } => {
            // An IPv6 address is in brackets in a URL, and is not when it is connected to.
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, *port)).await.map_err(cannot_connect)?;
            ask_over(stream, &format!("{host}:{port}"), path, target).await
        }
        Target::Unix { socket } => {
            let stream = UnixStream::connect(socket).await.map_err(cannot_connect)?;
            ask_over(stream, "localhost", "/health", target).await
        }
    }
}

async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    target: &Target,
) -> Result<(StatusCode, Vec<u8>), AskError> {
    let no_answer = |error| AskError::Answer(target.to_string(), error);
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("cache-canary/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| AskError::Request(target.to_string(), error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    // What goes wrong with the connection, the request below is told as well.
    tokio::spawn(connection);
    let mut response = sender.send_request(request).await.map_err(no_answer)?;
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
