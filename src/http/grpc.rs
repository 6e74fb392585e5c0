//! gRPC's health protocol, `grpc.health.v1.Health`, on the port of everything else
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! | call | what | answer |
//! | --- | --- | --- |
//! | `Check` | a check, as a request for `/health` makes one | `SERVING` if up, degraded or skipped, `NOT_SERVING` if down |
//! | `Watch` | the status at once, and then each change | the same |
//! | `List` | a check of everything | the status of each service by its name |
//!
//! While the sidecar drains, everything but itself (`livez`, `startupz` and their groups) is `NOT_SERVING`.
//!
//! `service` has the names of services. `prost` reads and writes the messages; `wire` has their framing, a prefix and a
//! trailer: a library for that was a tenth of the whole program.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod messages;
mod refused;
mod service;
mod watch;
mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::AppState;
use super::access::Subscriber;
use super::refusal::Refusal;
use crate::app::App;
use messages::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};
use service::{HealthStatus, Service};
use wire::{CallError, Code};

pub(super) use refused::Call;

/// The path of every call.
pub(super) const PATH: &str = "/grpc.health.v1.Health/{method}";

/// The most watches at a time: each looks at its service whenever any check has ended.
const WATCHES: usize = 256;

/// The route of the calls.
pub(super) fn route() -> MethodRouter<AppState> {
    let places = Arc::new(Semaphore::new(WATCHES));
    any(
        async move |State(app): State<Arc<App>>,
                    method: Result<Path<String>, PathRejection>,
                    request: Request| {
            // A name that is not UTF-8 is no method either.
            let method = method.map_or_else(|_| String::new(), |Path(method)| method);
            call(app, &method, request, places).await
        },
    )
}

/// Answers one call.
async fn call(
    app: Arc<App>,
    method: &str,
    request: Request,
    places: Arc<Semaphore>,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    if request.method() != Method::POST {
        return Err(Refusal::NotACall);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| wire::is_grpc(value.as_bytes())) {
        return Err(Refusal::NotGrpc);
    }
    if request.version() != Version::HTTP_2 {
        return Err(Refusal::NotHttp2);
    }
    let caller = Subscriber::of(&request);
    let body = request.into_body();
    let answer = match method {
        "Check" => check(&app, body, arrived).await,
        "Watch" => watch(app, body, caller, places).await,
        "List" => list(&app, body, arrived).await,
        _ => Err(CallError::new(Code::Unimplemented, "the methods are Check, Watch and List")),
    };
    Ok(answer.unwrap_or_else(IntoResponse::into_response))
}

async fn check(app: &App, body: Body, arrived: Instant) -> Result<Response, CallError> {
    let HealthCheckRequest { service: name } = wire::message(body).await?;
    let setup = app.setup();
    let unknown = || CallError::new(Code::NotFound, "no such service; List returns the known ones");
    let service = Service::named(&name, &setup).ok_or_else(unknown)?;
    let status = if service::is_drained(&name, app) {
        HealthStatus::NotServing
    } else {
        service.check(app, &setup, arrived).await
    };
    Ok(wire::answer(&HealthCheckResponse::from(status)))
}

async fn watch(
    app: Arc<App>,
    body: Body,
    caller: Subscriber,
    places: Arc<Semaphore>,
) -> Result<Response, CallError> {
    let HealthCheckRequest { service: name } = wire::message(body).await?;
    let full = |_| CallError::new(Code::ResourceExhausted, "too many Watch streams are open");
    let place = places.try_acquire_owned().map_err(full)?;
    Ok(wire::stream(watch::watch(app, name, caller, place)))
}

async fn list(app: &App, body: Body, arrived: Instant) -> Result<Response, CallError> {
    // A request for a list is empty.
    wire::message::<()>(body).await?;
    let setup = app.setup();
    setup.checker.check(&setup.everything, arrived).await;
    let mut answer = HealthListResponse::default();
    for name in service::names(&setup) {
        if let Some(service) = Service::named(&name, &setup) {
            let status = if service::is_drained(&name, app) {
                HealthStatus::NotServing
            } else {
                service.latest(app, &setup).await
            };
            answer.statuses.insert(name, status.into());
        }
    }
    Ok(wire::answer(&answer))
}
