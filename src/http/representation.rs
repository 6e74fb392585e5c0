//! [`Format`]: which representation a request asks for, and the response that it makes of a report.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use url::form_urlencoded;

use super::access::View;
use super::kubernetes::{self, Own};
use super::refusal::Refusal;
use super::{djblets, text};
use crate::outcome::{Report, Status};

/// A representation that a request can ask for by `Accept`, or by `?format=` with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Djblets' JSON; the default.
    Json,
    /// A line an alias.
    Text,
}

impl Format {
    /// Every format.
    pub(super) const ALL: [Self; 2] = [Self::Json, Self::Text];

    /// Its name in `?format=`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    /// The format that `request` asks for: by name, else by `Accept`, else JSON.
    pub(super) fn of(request: &Request) -> Result<Self, Refusal> {
        Ok(Self::named(request)?.unwrap_or_else(|| Self::accepted(request.headers())))
    }

    /// The format that the query names, if it names one.
    pub(super) fn named(request: &Request) -> Result<Option<Self>, Refusal> {
        let Some(name) = parameter(request, "format") else { return Ok(None) };
        let format = Self::ALL.into_iter().find(|format| format.name() == name);
        format.map(Some).ok_or(Refusal::Format)
    }

    /// The first format of those that `Accept` lists; what it does not know, it answers in JSON.
    fn accepted(headers: &HeaderMap) -> Self {
        let types = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        types
            .flat_map(|types| types.split(','))
            .find_map(|item| match item.split(';').next()?.trim() {
                "application/json" => Some(Self::Json),
                "text/plain" => Some(Self::Text),
                _ => None,
            })
            .unwrap_or(Self::Json)
    }

    /// The response that says `report` to one who may see `view`.
    pub(super) fn response(self, report: &Report, view: View) -> Response {
        let status = report.status();
        match self {
            Self::Json => (code(status), json(djblets::body(report, view, Instant::now()))).into_response(),
            Self::Text => answer(status, text::body(report, view)),
        }
    }
}

/// Whether the query has `verbose`, with or without a value.
fn verbose(request: &Request) -> bool {
    parameter(request, "verbose").is_some()
}

/// The first parameter of that name in the query.
fn parameter<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then_some(value))
}

/// The answer to a probe of Kubernetes'.
pub(super) fn probed(
    request: &Request,
    probe: &str,
    own: &Own,
    report: &Report,
) -> Result<Response, Refusal> {
    let status = if own.wrong.is_some() { Status::Down } else { report.status() };
    Ok(match (Format::named(request)?, &own.wrong) {
        (Some(Format::Json), Some(wrong)) => {
            (code(status), json(djblets::unready(own.name, wrong))).into_response()
        }
        (Some(format), None) => format.response(report, View::of(request)),
        (Some(Format::Text), Some(_)) | (None, _) => {
            answer(status, kubernetes::body(probe, own, report, verbose(request)))
        }
    })
}

/// A text that goes with `status`.
pub(super) fn answer(status: Status, body: impl Into<Body>) -> Response {
    (code(status), plain(body)).into_response()
}

/// The code that goes with `status`. Degraded still works, so whoever restarts or removes what is unhealthy
/// must not.
fn code(status: Status) -> StatusCode {
    match status {
        Status::Skipped | Status::Up | Status::Degraded => StatusCode::OK,
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn json(body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
}

/// A plain text.
pub(super) fn plain(body: impl Into<Body>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], body.into())
}
