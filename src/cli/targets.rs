//! Lists of targets that a server has, as Prometheus fetches them ("Writing HTTP service discovery" in its documentation).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::cache::{SetupError, Stream, client_config, in_words};
use crate::config::{FetchedTargets, HttpTargets, MAX_LIST, Source, Tls, Verify, load_http_targets};

/// The time limit for a list.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The header with the interval of Prometheus, in seconds. The server may set it in its answer as well.
const INTERVAL: &str = "x-prometheus-refresh-interval-seconds";

/// The reason why there is no list.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch the targets of {from}")]
pub(super) struct FetchError {
    from: String,
    source: FetchProblem,
}

#[derive(Debug, thiserror::Error)]
enum FetchProblem {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("the certificates cannot be used")]
    Setup(#[from] SetupError),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the request is not possible")]
    Request(#[from] axum::http::Error),
    #[error("no answer")]
    Answer(#[from] hyper::Error),
    #[error("the answer is {0}, where 200 is needed")]
    Status(StatusCode),
    #[error("the answer is larger than {} MiB", MAX_LIST >> 20)]
    Large,
    #[error("the answer is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
}

/// Fetches the list of targets that `source` names, if it names one. It blocks, so a task must not call it.
pub(super) fn fill(source: &mut Source) -> Result<(), FetchError> {
    source.targets = load_http_targets(source).as_ref().map(fetch).transpose()?;
    Ok(())
}

/// Fetches a list of targets. It blocks, so a task must not call it.
pub(super) fn fetch(from: &HttpTargets) -> Result<FetchedTargets, FetchError> {
    let fetched = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map_err(FetchProblem::Runtime)?
            .block_on(async { time::timeout(TIMEOUT, ask(from)).await.unwrap_or(Err(FetchProblem::Timeout)) })
    };
    let (body, every) = fetched().map_err(|source| FetchError { from: from.to_string(), source })?;
    Ok(FetchedTargets { from: from.clone(), every, body })
}

async fn ask(from: &HttpTargets) -> Result<(Arc<str>, Duration), FetchProblem> {
    let url = &from.url;
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address has brackets in a URL, and none in a connect.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    let tcp = TcpStream::connect((bare, port)).await.map_err(FetchProblem::Connect)?;
    // One type for all streams, so that the large code for HTTP over it is compiled once.
    let stream: Box<dyn Stream> = if url.scheme() == "https" {
        let tls =
            Tls { ca_file: from.ca_file.clone(), client: None, server_name: None, verify: Verify::Full };
        let connector = TlsConnector::from(Arc::new(client_config(&tls)?));
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|error| FetchProblem::Tls(io::Error::other(error)))?;
        Box::new(connector.connect(name, tcp).await.map_err(|error| FetchProblem::Tls(in_words(error)))?)
    } else {
        Box::new(tcp)
    };
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("cache-canary/", env!("CARGO_PKG_VERSION")))
        .header(INTERVAL, from.every.as_secs());
    if let Some(token) = &from.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection also fails the request below.
    tokio::spawn(connection);
    let mut response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchProblem::Status(response.status()));
    }
    let every = interval(response.headers()).unwrap_or(from.every);
    let mut body = Vec::new();
    while let Some(frame) = response.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            body.extend_from_slice(&bytes);
        }
        if body.len() as u64 > MAX_LIST {
            return Err(FetchProblem::Large);
        }
    }
    Ok((String::from_utf8(body)?.into(), every))
}

/// The interval that a server asks for, from a second to a day.
fn interval(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(INTERVAL)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_hours(24)))
}
