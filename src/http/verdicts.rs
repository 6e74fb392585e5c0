//! [`Verdict`]: a verdict at a path without a parameter, as load balancers, orchestrators and monitors poll it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::access::AccessLevel;
use super::format::kubernetes::{KubernetesProbe, Own};
use super::refusal::Refusal;
use super::representation::{ProbeRequest, Wanted};
use super::{AppState, report};
use crate::app::{Life, Setup};

/// A verdict and the form in which it is asked for.
#[derive(Debug)]
pub(super) enum Verdict {
    Health(Wanted),
    Livez(ProbeRequest),
    Readyz(ProbeRequest),
    Startupz(ProbeRequest),
}

impl Verdict {
    /// The verdict at the path of `request`; `None` if that has none. Each of these paths is one of the router's, too: for HEAD,
    /// and for the path in another spelling.
    pub(super) fn of(request: &Request, view: AccessLevel) -> Option<Result<Self, Refusal>> {
        Some(match request.uri().path() {
            "/health" | "/healthz" => Wanted::of(request, view).map(Self::Health),
            // The path of HAProxy's `option httpchk`, if none is set.
            "/" if *request.method() == Method::OPTIONS => Wanted::of(request, view).map(Self::Health),
            "/livez" => ProbeRequest::of(request, view).map(Self::Livez),
            "/readyz" => ProbeRequest::of(request, view).map(Self::Readyz),
            "/startupz" => ProbeRequest::of(request, view).map(Self::Startupz),
            _ => return None,
        })
    }

    /// The response that states it.
    pub(super) async fn response(self, state: &AppState, setup: &Setup) -> Response {
        let arrived = Instant::now();
        match self {
            Self::Health(wanted) => report(state, setup, &setup.everything, wanted, arrived).await,
            Self::Livez(asked) => livez(state, setup, asked, arrived).await,
            Self::Readyz(asked) => readyz(state, setup, asked, arrived).await,
            Self::Startupz(asked) => startupz(state, setup, asked, arrived).await,
        }
    }
}

/// The router's way to them.
pub(super) async fn polled(State(state): State<AppState>, request: Request) -> Response {
    let verdict = Verdict::of(&request, AccessLevel::of(&request)).unwrap_or(Err(Refusal::NoSuchPath));
    drop(request);
    match verdict {
        Ok(verdict) => verdict.response(&state, &state.app.setup()).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn livez(state: &AppState, setup: &Setup, asked: ProbeRequest, arrived: Instant) -> Response {
    let name = if setup.interval.is_some() { "rounds" } else { "ping" };
    let own = Own { name, wrong: state.app.overdue().map(|overdue| overdue.to_string()) };
    let (probe, selection) = KubernetesProbe::of("livez", own, &asked.excluded, setup, setup.liveness());
    let report = setup.checker.check(&selection, arrived).await;
    state.write(asked.wanted, &probe, setup, &selection, &report).await
}

async fn readyz(state: &AppState, setup: &Setup, asked: ProbeRequest, arrived: Instant) -> Response {
    let wrong = match state.app.life() {
        Life::Ready => None,
        life @ (Life::Starting | Life::Draining | Life::Stopping) => Some(life.name().to_owned()),
    };
    let own = Own { name: "sidecar", wrong };
    let (probe, selection) = KubernetesProbe::of("readyz", own, &asked.excluded, setup, setup.readiness());
    let report = match probe.wrong() {
        None => setup.checker.check(&selection, arrived).await,
        // No check can make the sidecar ready.
        Some(_) => Arc::default(),
    };
    state.write(asked.wanted, &probe, setup, &selection, &report).await
}

async fn startupz(state: &AppState, setup: &Setup, asked: ProbeRequest, arrived: Instant) -> Response {
    let own = Own { name: "sidecar", wrong: None };
    let (probe, selection) = KubernetesProbe::of("startupz", own, &asked.excluded, setup, setup.startup());
    let awaited = state.app.awaited(setup, &selection);
    let report = setup.checker.check(&awaited, arrived).await;
    state.app.note_start(setup);
    state.write(asked.wanted, &probe, setup, &awaited, &report).await
}
