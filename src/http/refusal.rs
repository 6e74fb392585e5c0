//! [`Refusal`]: why a request gets no verdict.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::access::Denied;
use super::format::Representation;
use super::host::InvalidHost;
use crate::app::Setup;
use crate::catalog::Catalog;

/// Why a request gets no verdict. No cache was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The caller is not among those who may ask.
    Access,
    /// The caller's token is not the configured one.
    Token,
    /// The request does not say for which host it is.
    Host(InvalidHost),
    /// A path that is none of ours.
    NoSuchPath,
    /// Metrics, where they have listeners of their own.
    MetricsElsewhere,
    /// Anything else, where metrics have listeners of their own.
    MetricsAlone,
    /// Anything but a probe, where probes have listeners of their own.
    ProbesAlone,
    /// An alias that is not configured; the text names those that are.
    NoSuchAlias(String),
    /// A group that is not configured; the text names those that there are.
    NoSuchGroup(String),
    /// A method other than GET and HEAD.
    Method,
    /// A method other than POST, where gRPC is spoken.
    NotACall,
    /// A call of gRPC's over HTTP/1.
    NotHttp2,
    /// A call of something else's than gRPC.
    NotGrpc,
    /// A request with a body.
    Body,
    /// A format that is none of these.
    Format(&'static [Representation]),
    /// As many pages are fed as may be.
    Feeds,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Caller => Self::Access,
            Denied::Token => Self::Token,
        }
    }
}

impl From<InvalidHost> for Refusal {
    fn from(invalid: InvalidHost) -> Self {
        Self::Host(invalid)
    }
}

impl Refusal {
    /// The refusal of an alias that is not in `catalog`.
    pub(super) fn no_such_alias(catalog: &Catalog) -> Self {
        let known: Vec<_> = catalog.aliases().map(ToString::to_string).collect();
        Self::NoSuchAlias(known.join(", "))
    }

    /// The refusal of a group that is not in `setup`.
    pub(super) fn no_such_group(setup: &Setup) -> Self {
        Self::NoSuchGroup(setup.groups().collect::<Vec<_>>().join(", "))
    }
}

fn plain(body: impl Into<Body>) -> Response {
    Representation::Text.response(body)
}

impl IntoResponse for Refusal {
    /// Says nothing of what was asked: it is the caller's text.
    fn into_response(self) -> Response {
        match self {
            // Without a body, as Djblets does.
            Self::Access => StatusCode::FORBIDDEN.into_response(),
            Self::Token => {
                let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
                let body = "the bearer token is not the configured access.token\n";
                (StatusCode::UNAUTHORIZED, challenge, plain(body)).into_response()
            }
            Self::Host(invalid) => (StatusCode::BAD_REQUEST, plain(invalid.said())).into_response(),
            Self::MetricsElsewhere => {
                let body = "metrics are not served here, only on metrics.listen\n";
                (StatusCode::NOT_FOUND, plain(body)).into_response()
            }
            Self::MetricsAlone => {
                (StatusCode::NOT_FOUND, plain("no such path; this address serves only /metrics\n"))
                    .into_response()
            }
            Self::ProbesAlone => {
                let body = "no such path; this address serves only /health, /health/{alias}, /health/group/{name}, /livez, /readyz and /startupz\n";
                (StatusCode::NOT_FOUND, plain(body)).into_response()
            }
            Self::NoSuchPath => {
                let body = "no such path; the paths are /health, /health/{alias}, /health/group/{name}, /livez, /readyz, /startupz, /metrics, /transitions, /openapi.json, /events and the page at /\n";
                (StatusCode::NOT_FOUND, plain(body)).into_response()
            }
            Self::NoSuchAlias(known) => {
                (StatusCode::NOT_FOUND, plain(format!("no such alias; the configured ones are {known}\n")))
                    .into_response()
            }
            Self::NoSuchGroup(known) => {
                (StatusCode::NOT_FOUND, plain(format!("no such group; the configured ones are {known}\n")))
                    .into_response()
            }
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, plain("only GET and HEAD are allowed\n")).into_response()
            }
            Self::NotACall => {
                let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
                let body = "gRPC calls require POST\n";
                (StatusCode::METHOD_NOT_ALLOWED, allow, plain(body)).into_response()
            }
            Self::NotHttp2 => {
                let body = "gRPC calls require HTTP/2\n";
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, plain(body)).into_response()
            }
            Self::NotGrpc => {
                let body = "gRPC calls require the Content-Type application/grpc\n";
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, plain(body)).into_response()
            }
            Self::Body => {
                let body = "requests must not have a body\n";
                (StatusCode::PAYLOAD_TOO_LARGE, plain(body)).into_response()
            }
            Self::Feeds => {
                let body =
                    "too many live pages are open: close one, or reload this page without its live feed\n";
                (StatusCode::SERVICE_UNAVAILABLE, plain(body)).into_response()
            }
            Self::Format(offered) => {
                let known: Vec<_> = offered.iter().map(|format| format.name()).collect();
                let body = format!("no such format; the formats are {}\n", known.join(", "));
                (StatusCode::BAD_REQUEST, plain(body)).into_response()
            }
        }
    }
}
