//! The router, the representations, and the server under them.
//!
//! | path | what | code |
//! | --- | --- | --- |
//! | `/health`, `/healthz` | every alias | 200 up, degraded or skipped, 503 down |
//! | `/health/{alias}` | one, or `main.queue`, one check of it; a forwarding alias answers with its target's outcome | the same, 404 unknown |
//! | `/livez` | the sidecar itself; no cache is asked | 200 |
//! | `/readyz` | every alias, in Kubernetes' text; no cache is asked while starting or draining | 200, 503 |
//! | `/metrics` | every alias, for Prometheus; also when caches are down | 200 |
//!
//! Each answers GET and HEAD, and each answer, a refusal too, says `Cache-Control: no-store`.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::{Catalog, Selection};
use crate::checker::{Checker, SetupError};
use crate::config::{self, Config};
use crate::outcome::Status;

/// Who is asking, and what they may see.
pub mod access;
/// The default JSON, a superset of Djblets'.
pub mod djblets;
/// Kubernetes' text.
pub mod kubernetes;
mod listener;
/// Prometheus' metrics.
pub mod metrics;
mod patience;
mod refusal;
mod representation;
/// The accept loop, its limits, and the stop.
pub mod server;
/// A line an alias, for a person with curl.
pub mod text;
pub(crate) mod words;

use access::View;
use refusal::Refusal;
use representation::Format;

/// What every request is answered from.
#[derive(Debug)]
pub struct App {
    checker: Checker,
    everything: Selection,
    access: config::Access,
    life: watch::Sender<Life>,
}

/// Where in its life the sidecar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It does not take requests yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It was told to stop, and finishes the requests that are open.
    Draining,
}

impl Life {
    /// The stable name, as in JSON and Kubernetes' text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

impl App {
    /// An app that is starting. The error is of the checks, for example a CA file that cannot be read.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let checker = Checker::new(config)?;
        let everything = checker.catalog().all();
        Ok(Self {
            checker,
            everything,
            access: config.access.clone(),
            life: watch::Sender::new(Life::Starting),
        })
    }

    /// The configured aliases.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        self.checker.catalog()
    }

    /// Where in its life it is.
    #[must_use]
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Enters another part of its life; whoever waits for it is woken.
    pub fn enter(&self, life: Life) {
        self.life.send_replace(life);
    }
}

/// Every path, and what each request passes on its way to it.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/health/{alias}", get(health_of))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .fallback(async || Refusal::NoSuchPath)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Lets in who may ask, refuses bodies, and forbids that an answer is kept.
async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = match access::view(&app.access, request.extensions().get()) {
        None => Refusal::Access.into_response(),
        Some(_) if has_body && matches!(*request.method(), Method::GET | Method::HEAD) => {
            Refusal::Body.into_response()
        }
        Some(view) => {
            request.extensions_mut().insert(view);
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if has_body {
        // The body is not read, so no other request can follow it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn health(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let format = Format::of(&request)?;
    let report = app.checker.check(&app.everything, arrived).await;
    Ok(format.response(&report, View::of(&request)))
}

async fn health_of(
    State(app): State<Arc<App>>,
    alias: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let format = Format::of(&request)?;
    let catalog = app.catalog();
    let name = alias.as_ref().map_or("", |Path(name)| name);
    let selection = catalog.named([name]).map_err(|_| Refusal::no_such_alias(catalog))?;
    let report = app.checker.check(&selection, arrived).await;
    Ok(format.response(&report, View::of(&request)))
}

/// A scrape checks everything, as a request for `/health` does: figures of an earlier check would say UP during an
/// outage that nobody else has asked about.
async fn scrape(State(app): State<Arc<App>>, request: Request) -> impl IntoResponse {
    let report = app.checker.check(&app.everything, Instant::now()).await;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))];
    (content_type, metrics::body(&report, View::of(&request)))
}

async fn livez(request: Request) -> Response {
    representation::answer(Status::Up, kubernetes::livez(representation::verbose(&request)))
}

async fn readyz(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let format = Format::named(&request)?;
    match app.life() {
        Life::Ready => {}
        life @ (Life::Starting | Life::Draining) => return Ok(representation::unready(life, format)),
    }
    let report = app.checker.check(&app.everything, arrived).await;
    Ok(match format {
        Some(format) => format.response(&report, View::of(&request)),
        None => representation::answer(
            report.status(),
            kubernetes::readyz(&report, representation::verbose(&request)),
        ),
    })
}
