//! The router, the representations, and the server under them.
//!
//! | path | what | code |
//! | --- | --- | --- |
//! | `/health`, `/healthz`, and OPTIONS of `/` | every alias | 200 up, degraded or skipped, 503 down |
//! | `/health/{alias}` | one, or `main.queue`, one check of it; a forwarding alias answers with its target's outcome | the same, 404 unknown |
//! | `/health/group/{name}` | a group | the same |
//! | `/livez` | the sidecar itself, and the group `liveness`, in Kubernetes' text | 200, 503 |
//! | `/readyz` | the group `readiness`, in Kubernetes' text; no cache is asked while starting or draining | 200, 503 |
//! | `/startupz` | the group `startup`, in Kubernetes' text: the checks that have not been up once | 200, 503 |
//! | `/metrics` | every alias, for Prometheus; also when caches are down; perhaps on listeners of its own | 200 |
//! | `/` | every alias, as a page for a browser | 200 |
//! | `/events` | the page's live feed, as server-sent events | 200 |
//! | `/transitions` | the last changes, for callers with access to details | 200, 403 |
//! | `/openapi.json` | this table, for machines | 200 |
//! | `/grpc.health.v1.Health/{method}` | gRPC's health protocol, by POST over HTTP/2 | 200 with a status of gRPC's |
//!
//! A report can be had in each of the formats of `representation`. Each path but the last answers GET and HEAD, the ones
//! with a verdict OPTIONS too, and each answer, a refusal too, says `Cache-Control: no-store`. Slashes at the end of a path
//! and doubled ones count for nothing.
//!
//! No handler keeps its request while it waits for a check: a thousand long heads take 45 MB while a cache hangs.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, Path, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, options};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::app::{App, Setup};
use crate::catalog::Selection;
use crate::outcome::Report;

mod accept;
pub mod access;
mod bodies;
mod events;
pub mod exclusion;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grpc;
mod guard;
mod host;
pub(crate) mod openapi;
mod proxies;
mod refusal;
mod representation;
pub mod server;
mod token;
mod transport;
mod verdicts;

use access::AccessLevel;
use bodies::{Bodies, Writing};
use format::Representation;
use format::kubernetes::KubernetesProbe;
use format::metrics::Scrape;
use format::page::Page;
use guard::Guard;
use refusal::Refusal;
use representation::{Choice, Wanted, aged};
use transport::Answering;
use transport::places::{Places, Traffic};
use transport::writing::Writers;
use verdicts::polled;

pub use format::{Background, djblets, health_json, kubernetes, metrics, page, text, transitions};

/// The state behind every request. Its clones share it, and each request has one.
#[derive(Clone)]
struct AppState(Arc<AppStateParts>);

struct AppStateParts {
    app: Arc<App>,
    bodies: Bodies,
    writers: Writers,
    /// The open connections; none if requests come over no connection.
    traffic: Option<Traffic>,
}

impl AppState {
    /// The response that states `report`.
    async fn write(
        &self,
        wanted: Wanted,
        probe: &KubernetesProbe,
        setup: &Setup,
        selection: &Selection,
        report: &Arc<Report>,
    ) -> Response {
        let write = || wanted.response(&self.bodies, probe, setup, selection, report);
        self.writers.write_verdict(wanted.entries(report.outcomes.len()), write).await
    }
}

impl Deref for AppState {
    type Target = AppStateParts;

    fn deref(&self) -> &AppStateParts {
        &self.0
    }
}

impl FromRef<AppState> for Arc<App> {
    fn from_ref(state: &AppState) -> Self {
        state.app.clone()
    }
}

/// The paths that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paths {
    Everything,
    /// Probes alone.
    Probes,
    /// Metrics alone.
    Metrics,
}

impl Paths {
    fn router(self) -> Router<AppState> {
        match self {
            Self::Everything => probes()
                .route("/", get(start_page).options(polled))
                .route("/events", events::route())
                .route("/transitions", get(last_changes))
                .route("/openapi.json", get(describe))
                .route("/metrics", get(scrape_beside_everything))
                .fallback(async || Refusal::NoSuchPath),
            Self::Probes => {
                let refuse = async || Refusal::ProbesAlone;
                probes().route("/", options(polled).fallback(refuse)).fallback(refuse)
            }
            Self::Metrics => {
                Router::new().route("/metrics", get(scrape)).fallback(async || Refusal::MetricsAlone)
            }
        }
    }
}

/// Every path, behind what each request passes on its way to it.
pub fn router(app: Arc<App>) -> Router {
    over_no_connection(guarded(Paths::Everything, app, None))
}

/// The paths that load balancers, orchestrators and monitors ask for.
fn probes() -> Router<AppState> {
    Router::new()
        .route("/health", verdict(polled))
        .route("/healthz", verdict(polled))
        .route("/health/{alias}", verdict(health_of))
        .route("/health/group/{name}", verdict(health_of_group))
        .route("/livez", verdict(polled))
        .route("/readyz", verdict(polled))
        .route("/startupz", verdict(polled))
        .route(grpc::PATH, grpc::route())
}

/// A path whose code is a verdict. OPTIONS is the method of HAProxy's `option httpchk`, of `/` if no path is set.
fn verdict<H: Handler<T, AppState>, T: 'static>(handler: H) -> MethodRouter<AppState> {
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), handler)
}

/// The routes of listeners that serve only metrics.
pub fn metrics_router(app: Arc<App>) -> Router {
    over_no_connection(guarded(Paths::Metrics, app, None))
}

/// The same as a router, for requests that come over no connection.
fn over_no_connection(answering: Answering) -> Router {
    let service = tower::service_fn(move |request: Request| {
        let caller = request.extensions().get().copied();
        answering(Box::new(request), caller).map(Ok::<_, Infallible>)
    });
    Router::new().fallback_service(service)
}

/// The functions that answer on the listeners for everything, for probes alone and for metrics alone, each with its own connections.
fn answering_beside(app: &Arc<App>, traffic: &Traffic) -> [Answering; 3] {
    let [main, probe, metrics] = traffic.places().map(|places| Some((traffic.clone(), places)));
    [
        guarded(Paths::Everything, app.clone(), main),
        guarded(Paths::Probes, app.clone(), probe),
        guarded(Paths::Metrics, app.clone(), metrics),
    ]
}

/// The function that answers on listeners that serve these paths.
fn guarded(paths: Paths, app: Arc<App>, beside: Option<(Traffic, Arc<Places>)>) -> Answering {
    let (traffic, places) = beside.unzip();
    let (bodies, writers) = (Bodies::default(), Writers::new(places));
    let state = AppState(Arc::new(AppStateParts { app, bodies, writers, traffic }));
    let exact =
        paths.router().method_not_allowed_fallback(async || Refusal::Method).with_state(state.clone());
    let tidied = exact.clone();
    let router = exact.fallback(async move |request: Request| tidied.oneshot(with_tidy_path(request)).await);
    let guard = Arc::new(Guard { state, router, has_verdicts: paths != Paths::Metrics });
    Arc::new(move |request, peer| guard.answer(request, peer))
}

/// The request without the slashes that a base URL leaves at the end of a path or doubles. `*`, which OPTIONS may ask for
/// (RFC 9112, section 3.2.4), is `/`.
fn with_tidy_path(mut request: Request) -> Request {
    let asked = if *request.method() == Method::OPTIONS && request.uri().path() == "*" {
        "/"
    } else {
        request.uri().path()
    };
    let segments: Vec<_> = asked.split('/').filter(|part| !part.is_empty()).collect();
    let mut path = format!("/{}", segments.join("/"));
    if let Some(query) = request.uri().query() {
        path = format!("{path}?{query}");
    }
    if let Ok(uri) = Uri::try_from(path) {
        *request.uri_mut() = uri;
    }
    request
}

async fn health_of(
    State(state): State<AppState>,
    alias: Result<Path<String>, PathRejection>,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let setup = state.app.setup();
    let catalog = setup.checker.catalog();
    let name = alias.as_ref().map_or("", |Path(name)| name);
    let selection = catalog.named([name]).map_err(|_| Refusal::no_such_alias(&setup, name))?;
    Ok(report(&state, &setup, &selection, wanted, arrived).await)
}

async fn health_of_group(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let setup = state.app.setup();
    let name = name.as_ref().map_or("", |Path(name)| name);
    let selection = setup.group(name).ok_or_else(|| Refusal::no_such_group(&setup))?;
    Ok(report(&state, &setup, selection, wanted, arrived).await)
}

async fn report(
    state: &AppState,
    setup: &Setup,
    selection: &Selection,
    wanted: Wanted,
    arrived: Instant,
) -> Response {
    let report = setup.checker.check(selection, arrived).await;
    state.write(wanted, &KubernetesProbe::of_caches("health"), setup, selection, &report).await
}

async fn scrape_beside_everything(state: State<AppState>, request: Request) -> Result<Response, Refusal> {
    if state.app.setup().metrics_elsewhere {
        return Err(Refusal::MetricsElsewhere);
    }
    Ok(scrape(state, request).await.into_response())
}

/// A scrape checks everything, as a request for `/health` does: figures of an earlier check would report UP during an
/// outage that only the scrape can see.
async fn scrape(State(state): State<AppState>, request: Request) -> impl IntoResponse {
    let AppStateParts { app, bodies, writers, traffic } = &*state;
    let (format, view) = (metrics::MetricsFormat::of(request.headers()), AccessLevel::of(&request));
    drop(request);
    let setup = app.setup();
    let report = setup.checker.check(&setup.everything, Instant::now()).await;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))];
    let write = || {
        let body = bodies.of(&report, (Writing::Metrics(format), view), Instant::now(), |_| {
            metrics::body(Scrape::of(report.clone(), &setup, app, traffic.as_ref()), view, format)
        });
        (content_type, body).into_response()
    };
    writers.write(report.outcomes.len(), write).await
}

/// The page, unless another format is named in the query; `Accept` is ignored.
async fn start_page(State(state): State<AppState>, request: Request) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    let view = AccessLevel::of(&request);
    let wanted = Wanted::by_name(&request, view)?;
    let AppStateParts { app, bodies, writers, .. } = &*state;
    let setup = app.setup();
    drop(request);
    if let Some(wanted) = wanted {
        return Ok(report(&state, &setup, &setup.everything, wanted, arrived).await);
    }
    let (selection, report) = (&setup.everything, setup.checker.check(&setup.everything, arrived).await);
    let write = || {
        let now = Instant::now();
        let body = bodies.of(&report, (Writing::StartPage, view), now, |now| {
            Page { setup: &setup, report: &report, selection, view, now, notice: page::notice(app) }
                .document()
        });
        aged(page::response(StatusCode::OK, body), &report, now)
    };
    Ok(writers.write(report.outcomes.len(), write).await)
}

/// No cache is asked.
async fn last_changes(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    match AccessLevel::of(&request) {
        AccessLevel::Verdicts => Err(Refusal::Access),
        AccessLevel::Details => {
            let choice = Choice::of(&request, Representation::OF_LISTS)?;
            let text = choice.format == Representation::Text;
            let body = if text { transitions::text } else { transitions::json };
            Ok(choice.response(body(&app.journal().transitions())))
        }
    }
}

async fn describe() -> Response {
    Representation::Json.response(openapi::body())
}
