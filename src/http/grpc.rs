//! gRPC's health protocol, `grpc.health.v1.Health`, on the port of everything else
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! | call | what | answer |
//! | --- | --- | --- |
//! | `Check` | a check, as a request for `/health` makes one | `SERVING` if up, degraded or skipped, `NOT_SERVING` if down |
//! | `Watch` | the status at once, and then each change | the same; `NOT_SERVING` while draining |
//! | `List` | a check of everything | the status of each service by its name |
//!
//! What a service is called stands in `service`. The two messages of the protocol have one field each, and `wire`
//! writes them by hand: a library for them was a tenth of the whole program.

mod service;
mod watch;
mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Version, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::access::Subscriber;
use super::refusal::Refusal;
use crate::app::App;
use service::Service;
use wire::{Code, Failed};

/// The path of every call.
pub(super) const PATH: &str = "/grpc.health.v1.Health/{method}";

/// Answers one call.
pub(super) async fn call(
    State(app): State<Arc<App>>,
    Path(method): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let arrived = Instant::now();
    if request.method() != Method::POST {
        return Err(Refusal::NotACall);
    }
    if request.version() != Version::HTTP_2 {
        return Err(Refusal::NotHttp2);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| wire::is_grpc(value.as_bytes())) {
        return Err(Refusal::NotGrpc);
    }
    let caller = Subscriber::of(&request);
    let answer = answer(app, &method, request.into_body(), caller, arrived).await;
    Ok(answer.unwrap_or_else(IntoResponse::into_response))
}

async fn answer(
    app: Arc<App>,
    method: &str,
    body: Body,
    caller: Subscriber,
    arrived: Instant,
) -> Result<Response, Failed> {
    match method {
        "Check" => {
            let name = wire::service(&wire::message(body).await?)?;
            let setup = app.setup();
            let unknown = || Failed::new(Code::NotFound, "no such service; List names those that there are");
            let service = Service::named(&name, &setup).ok_or_else(unknown)?;
            Ok(wire::answer(&service.check(&app, &setup, arrived).await.message()))
        }
        "Watch" => {
            let name = wire::service(&wire::message(body).await?)?;
            Ok(wire::stream(watch::watch(app, name, caller)))
        }
        "List" => {
            wire::message(body).await?;
            let setup = app.setup();
            setup.checker.check(&setup.everything, arrived).await;
            let names = service::names(&setup);
            let mut statuses = Vec::with_capacity(names.len());
            for name in &names {
                if let Some(service) = Service::named(name, &setup) {
                    statuses.push((name.as_str(), service.latest(&app, &setup).await));
                }
            }
            Ok(wire::answer(&wire::list(statuses)))
        }
        _ => Err(Failed::new(Code::Unimplemented, "there are Check, Watch and List")),
    }
}
