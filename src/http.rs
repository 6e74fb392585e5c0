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
use axum::body::HttpBody as _;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, Path, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, options};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tower::{Service as _, ServiceExt as _};

use crate::app::{App, Life, Setup};
use crate::catalog::Selection;
use crate::config::Access;
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
mod host;
pub(crate) mod openapi;
mod proxies;
mod refusal;
mod representation;
pub mod server;
mod token;
mod transport;

use access::{AccessLevel, WrongToken, admit};
use bodies::{Bodies, Writing};
use format::Representation;
use format::kubernetes::{KubernetesProbe, Own};
use format::metrics::Scrape;
use format::page::Page;
use grpc::Call;
use host::Host;
use refusal::Refusal;
use representation::{Choice, ProbeRequest, Wanted, aged};
use transport::Answering;
use transport::places::{Places, Traffic};
use transport::writing::Writers;

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

/// Every path, behind what each request passes on its way to it.
pub fn router(app: Arc<App>) -> Router {
    over_no_connection(guarded(everything(), app, None))
}

fn everything() -> Router<AppState> {
    probes()
        .route("/", get(start_page).options(health))
        .route("/events", events::route())
        .route("/transitions", get(last_changes))
        .route("/openapi.json", get(describe))
        .route("/metrics", get(scrape_beside_everything))
        .fallback(async || Refusal::NoSuchPath)
}

/// The paths that load balancers, orchestrators and monitors poll.
fn probes() -> Router<AppState> {
    Router::new()
        .route("/health", verdict(health))
        .route("/healthz", verdict(health))
        .route("/health/{alias}", verdict(health_of))
        .route("/health/group/{name}", verdict(health_of_group))
        .route("/livez", verdict(livez))
        .route("/readyz", verdict(readyz))
        .route("/startupz", verdict(startupz))
        .route(grpc::PATH, grpc::route())
}

/// A path whose code is a verdict. OPTIONS is the method of HAProxy's `option httpchk`, of `/` if no path is set.
fn verdict<H: Handler<T, AppState>, T: 'static>(handler: H) -> MethodRouter<AppState> {
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), handler)
}

/// The routes of listeners that serve only probes.
fn probes_alone() -> Router<AppState> {
    let refuse = async || Refusal::ProbesAlone;
    probes().route("/", options(health).fallback(refuse)).fallback(refuse)
}

/// The routes of listeners that serve only metrics.
pub fn metrics_router(app: Arc<App>) -> Router {
    over_no_connection(guarded(metrics_alone(), app, None))
}

/// The same as a router, for requests that come over no connection.
fn over_no_connection(answering: Answering) -> Router {
    let service = tower::service_fn(move |request| answering(request).map(Ok::<_, Infallible>));
    Router::new().fallback_service(service)
}

/// The functions that answer on the listeners for everything, for probes alone and for metrics alone, each with its own connections.
fn answering_beside(app: &Arc<App>, traffic: &Traffic) -> [Answering; 3] {
    let [main, probe, metrics] = traffic.places().map(|places| Some((traffic.clone(), places)));
    [
        guarded(everything(), app.clone(), main),
        guarded(probes_alone(), app.clone(), probe),
        guarded(metrics_alone(), app.clone(), metrics),
    ]
}

fn metrics_alone() -> Router<AppState> {
    Router::new().route("/metrics", get(scrape)).fallback(async || Refusal::MetricsAlone)
}

/// Has every request pass `guard`, on any path. As a layer of axum's it would take 6,000 instructions more, a seventh of an answer
/// without a check.
fn guarded(router: Router<AppState>, app: Arc<App>, beside: Option<(Traffic, Arc<Places>)>) -> Answering {
    let (traffic, places) = beside.unzip();
    let parts =
        AppStateParts { app: app.clone(), bodies: Bodies::default(), writers: Writers::new(places), traffic };
    let exact =
        router.method_not_allowed_fallback(async || Refusal::Method).with_state(AppState(Arc::new(parts)));
    let tidied = exact.clone();
    let tidying = exact.fallback(async move |request: Request| tidied.oneshot(with_tidy_path(request)).await);
    let guarded = Arc::new(Guarded { app, router: tidying });
    Arc::new(move |request| Box::pin(guard(guarded.clone(), request)))
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

/// Adds the slash that a target such as `health` lacks, as in HAProxy's `option httpchk GET health`: it is read as a host
/// otherwise, and its path as `/`, which is 200 during an outage.
fn with_slash(request: &mut Request) {
    let uri = request.uri();
    let is_path = request.version() < Version::HTTP_2 && uri.scheme().is_none();
    let target = uri.authority().filter(|_| is_path && *request.method() != Method::CONNECT);
    if let Some(Ok(uri)) = target.map(|target| Uri::try_from(format!("/{target}"))) {
        *request.uri_mut() = uri;
    }
}

/// The router behind the guard, and the state that the guard asks.
struct Guarded {
    app: Arc<App>,
    router: Router,
}

/// Admits callers, refuses requests without a valid host or with a body, and forbids caching of responses.
async fn guard(guarded: Arc<Guarded>, mut request: Request) -> Response {
    let Guarded { app, router } = &*guarded;
    let has_body = !request.body().is_end_stream();
    let is_http1 = request.version() < Version::HTTP_2;
    let is_options = *request.method() == Method::OPTIONS;
    let call = Call::of(&request);
    with_slash(&mut request);
    let setup = app.setup();
    let judged = judged(app, &setup.access, &request);
    let wrong_token = matches!(judged, Err(Refusal::Token)).then(|| access::client(&setup.access, &request));
    let mut response = match judged {
        Err(refusal) => refusal.into_response(),
        Ok(_) if has_body && matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) => {
            Refusal::Body.into_response()
        }
        Ok(view) => {
            request.extensions_mut().insert(view);
            let Ok(response) = router.clone().call(request).await;
            response
        }
    };
    if is_options && !response.status().is_client_error() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,OPTIONS"));
    }
    if let Some(call) = call {
        response = call.answer(response).await;
    }
    if let Some(client) = wrong_token {
        response.extensions_mut().insert(WrongToken(client));
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some texts repeat input of the caller, and none is a page because it looks like one.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if has_body && is_http1 {
        // The body is not read, so no other request can follow it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The access level of the caller of `request`. A denied one is counted.
fn judged(app: &App, access: &Access, request: &Request) -> Result<AccessLevel, Refusal> {
    let host = Host::of(request)?;
    let admitted = admit(access, request.extensions().get(), &host, request.headers());
    Ok(admitted.inspect_err(|&denied| app.denials().count(denied))?)
}

async fn health(State(state): State<AppState>, wanted: Wanted) -> Response {
    let arrived = Instant::now();
    let setup = state.app.setup();
    report(&state, &setup, &setup.everything, wanted, arrived).await
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
    let wanted = Wanted::by_name(&request)?;
    let AppStateParts { app, bodies, writers, .. } = &*state;
    let (setup, view) = (app.setup(), AccessLevel::of(&request));
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

async fn livez(State(state): State<AppState>, asked: ProbeRequest) -> Response {
    let arrived = Instant::now();
    let AppStateParts { app, .. } = &*state;
    let setup = app.setup();
    let name = if setup.interval.is_some() { "rounds" } else { "ping" };
    let own = Own { name, wrong: app.overdue().map(|overdue| overdue.to_string()) };
    let (probe, selection) = KubernetesProbe::of("livez", own, &asked.excluded, &setup, setup.liveness());
    let report = setup.checker.check(&selection, arrived).await;
    state.write(asked.wanted, &probe, &setup, &selection, &report).await
}

async fn readyz(State(state): State<AppState>, asked: ProbeRequest) -> Response {
    let arrived = Instant::now();
    let AppStateParts { app, .. } = &*state;
    let wrong = match app.life() {
        Life::Ready => None,
        life @ (Life::Starting | Life::Draining | Life::Stopping) => Some(life.name().to_owned()),
    };
    let setup = app.setup();
    let own = Own { name: "sidecar", wrong };
    let (probe, selection) = KubernetesProbe::of("readyz", own, &asked.excluded, &setup, setup.readiness());
    let report = match probe.wrong() {
        None => setup.checker.check(&selection, arrived).await,
        // No check can make the sidecar ready.
        Some(_) => Arc::default(),
    };
    state.write(asked.wanted, &probe, &setup, &selection, &report).await
}

async fn startupz(State(state): State<AppState>, asked: ProbeRequest) -> Response {
    let arrived = Instant::now();
    let AppStateParts { app, .. } = &*state;
    let setup = app.setup();
    let own = Own { name: "sidecar", wrong: None };
    let (probe, selection) = KubernetesProbe::of("startupz", own, &asked.excluded, &setup, setup.startup());
    let awaited = app.awaited(&setup, &selection);
    let report = setup.checker.check(&awaited, arrived).await;
    app.note_start(&setup);
    state.write(asked.wanted, &probe, &setup, &awaited, &report).await
}
