//! Lists of targets that a server has, as Prometheus fetches them ("Writing HTTP service discovery" in its documentation).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use secrecy::ExposeSecret as _;
use tokio::time;
use tokio_rustls::TlsConnector;

use super::client::{self, ConnectError};
use crate::cache::{SetupError, client_config};
use crate::config::{FetchedTargets, HttpTargets, MAX_LIST, Tls, Verify};

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
    let port = url.port_or_known_default().unwrap_or_default();
    let tls = (url.scheme() == "https").then(|| connector(from)).transpose()?;
    let stream = client::connect(host, port, tls.as_ref()).await?;
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = client::get(&path, &authority)
        .header(header::ACCEPT, "application/json")
        .header(INTERVAL, from.every.as_secs());
    if let Some(token) = &from.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
    }
    let mut response = client::send(stream, request.body(Empty::new())?).await?;
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

fn connector(from: &HttpTargets) -> Result<TlsConnector, SetupError> {
    let tls = Tls { ca_file: from.ca_file.clone(), client: None, server_name: None, verify: Verify::Full };
    Ok(TlsConnector::from(Arc::new(client_config(&tls)?)))
}

impl From<ConnectError> for FetchProblem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Tcp(error) => Self::Connect(error),
            ConnectError::Name(error) => Self::Tls(io::Error::other(error)),
            ConnectError::Tls(error) => Self::Tls(error),
        }
    }
}

/// The interval that a server asks for, from a second to a day.
fn interval(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(INTERVAL)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_hours(24)))
}
