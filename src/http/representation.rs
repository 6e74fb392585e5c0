//! [`Choice`]: the representation that a request asks for; [`Wanted`]: the response that a report becomes in it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::time::Instant;
use url::form_urlencoded;

use super::accept;
use super::access::AccessLevel;
use super::bodies::{Bodies, Writing};
use super::format::kubernetes::{self, KubernetesProbe};
use super::format::{Background, Representation, djblets, health_json, page, text};
use super::refusal::Refusal;
use crate::app::Setup;
use crate::catalog::Selection;
use crate::outcome::{Report, Status};

/// The headers that choose a format.
const VARY: HeaderValue = HeaderValue::from_static("Accept, Sec-Fetch-Mode, Upgrade-Insecure-Requests");

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The format that a request has chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) format: Representation,
    /// `true` if another `Accept` could have chosen another one.
    by_accept: bool,
}

impl Choice {
    /// The one of `offered` that `request` asks for: by name, else by `Accept`. If `Accept` matches none, it is the
    /// default: a report says more than a 406.
    pub(super) fn of(request: &Request, offered: &'static [Representation]) -> Result<Self, Refusal> {
        if let Some(choice) = Self::named(request, offered)? {
            return Ok(choice);
        }
        let is_for_html = || accept::insists(request.headers()) || navigates(request);
        let offered = offered.iter().filter(|&&format| format != Representation::Html || is_for_html());
        let offers = offered.filter_map(|&format| Some((format, format.media_type()?)));
        let format = accept::preferred(request.headers(), offers).unwrap_or(Representation::Json);
        Ok(Self { format, by_accept: true })
    }

    /// The one that the query names, if it names one.
    fn named(request: &Request, offered: &'static [Representation]) -> Result<Option<Self>, Refusal> {
        let Some(name) = parameters(request, "format").next() else { return Ok(None) };
        // In a query, a plus that is not encoded is a space.
        let name = if name == "health json" || name == "health+json" { "health-json".into() } else { name };
        let format = offered.iter().find(|format| format.name() == name);
        format.map(|&format| Some(Self { format, by_accept: false })).ok_or(Refusal::Format(offered))
    }

    /// A text in this format.
    pub(super) fn response(self, body: impl Into<Body>) -> Response {
        let mut response = self.format.response(body);
        if self.by_accept {
            response.headers_mut().insert(header::VARY, VARY);
        }
        response
    }
}

/// The form in which a request wants a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    choice: Choice,
    verbose: bool,
    view: AccessLevel,
}

/// The named format, else the one that `Accept` prefers.
impl<S: Sync> FromRequest<S> for Wanted {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        Self::of(&request, AccessLevel::of(&request))
    }
}

/// What a request wants of a probe.
#[derive(Debug)]
pub(super) struct ProbeRequest {
    pub(super) wanted: Wanted,
    /// The names to exclude: every `exclude` of the query, without duplicates.
    pub(super) excluded: BTreeSet<String>,
}

impl ProbeRequest {
    /// That of `request`, whose caller may see `view`.
    pub(super) fn of(request: &Request, view: AccessLevel) -> Result<Self, Refusal> {
        let excluded = parameters(request, "exclude").map(Cow::into_owned).collect();
        Ok(Self { wanted: Wanted::of_probe(request, view)?, excluded })
    }
}

impl Wanted {
    /// The form in which `request` wants a report, whose caller may see `view`.
    pub(super) fn of(request: &Request, view: AccessLevel) -> Result<Self, Refusal> {
        Ok(Self::as_chosen(request, Choice::of(request, Representation::OF_REPORTS)?, view))
    }

    /// The named format, if there is one.
    pub(super) fn by_name(request: &Request, view: AccessLevel) -> Result<Option<Self>, Refusal> {
        let choice = Choice::named(request, Representation::OF_REPORTS)?;
        Ok(choice.map(|choice| Self::as_chosen(request, choice, view)))
    }

    /// The named format, else a probe's default, which is Kubernetes' text.
    fn of_probe(request: &Request, view: AccessLevel) -> Result<Self, Refusal> {
        let default = Choice { format: Representation::Kubernetes, by_accept: false };
        let named = Self::by_name(request, view)?;
        Ok(named.unwrap_or_else(|| Self::as_chosen(request, default, view)))
    }

    fn as_chosen(request: &Request, choice: Choice, view: AccessLevel) -> Self {
        let verbose = parameters(request, "verbose").next().is_some();
        Self { choice, verbose, view }
    }

    /// The number of entries that are written in full, of a report with `outcomes`. Kubernetes' text has a few words of
    /// each, or none.
    pub(super) fn entries(self, outcomes: usize) -> usize {
        match self.choice.format {
            Representation::Json
            | Representation::HealthJson
            | Representation::Text
            | Representation::Html => outcomes,
            Representation::Kubernetes => 0,
        }
    }

    /// The response that states `report`, the report of `selection`.
    pub(super) fn response(
        self,
        bodies: &Bodies,
        probe: &KubernetesProbe,
        setup: &Setup,
        selection: &Selection,
        report: &Arc<Report>,
    ) -> Response {
        let Self { choice, verbose, view } = self;
        let now = Instant::now();
        let format = choice.format;
        let shared = |write: &dyn Fn(Instant) -> String| {
            Body::from(bodies.of(report, (Writing::Report(format), view), now, write))
        };
        let background = || Background::of(setup, selection);
        let (format, body) = match (format, probe.wrong()) {
            (Representation::Json, None) => {
                let body = |now| djblets::body_before(report, &background(), view, now);
                (format, shared(&body))
            }
            (Representation::Json, Some((name, wrong))) => (format, djblets::unready(name, wrong).into()),
            (Representation::HealthJson, None) => (format, shared(&|_| health_json::body(report, view))),
            (Representation::HealthJson, Some((name, wrong))) => {
                (format, health_json::unready(name, wrong).into())
            }
            (Representation::Text, None) => {
                (format, shared(&|now| text::body_before(report, &background(), view, now)))
            }
            (Representation::Html, None) => {
                (format, shared(&|now| page::body(setup, report, selection, view, now)))
            }
            (Representation::Kubernetes, _) | (Representation::Text | Representation::Html, Some(_)) => {
                (Representation::Kubernetes, kubernetes::body(probe, report, verbose, now).into())
            }
        };
        let mut response = Choice { format, ..choice }.response(body);
        *response.status_mut() = code(probe.status(report));
        aged(response, report, now)
    }
}

/// The response to `report`, with its age (RFC 9111, section 5.1). That counts whole seconds, and is rounded up: no
/// result is made to look newer than it is.
pub(super) fn aged(mut response: Response, report: &Report, now: Instant) -> Response {
    if let Some(age) = report.age(now) {
        let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
        response.headers_mut().insert(header::AGE, seconds.into());
    }
    response
}

/// `true` if a person opens the URL in a browser. Uptime Kuma sends the `Accept` of Chrome, and Java's client one that
/// begins with HTML; only browsers send these headers, the first of them to https and to loopback alone.
fn navigates(request: &Request) -> bool {
    let header = |name: HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    match header(SEC_FETCH_MODE) {
        Some(mode) => mode == b"navigate",
        None => header(header::UPGRADE_INSECURE_REQUESTS) == Some(b"1"),
    }
}

/// The parameters of that name in the query.
fn parameters<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).filter_map(move |(key, value)| (key == name).then_some(value))
}

/// The code that goes with `status`. Degraded still works, so nothing may be restarted or removed for it.
fn code(status: Status) -> StatusCode {
    match status {
        Status::Skipped | Status::Up | Status::Degraded => StatusCode::OK,
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    }
}
