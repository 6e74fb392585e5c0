//! [`Refusal`]: the reason why a request is refused.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::format::Representation;
use super::host::InvalidHost;
use crate::app::{Denied, Setup};

/// The reason why a request is refused. No cache was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The caller is not allowed.
    Access,
    /// The caller's token is not the configured one.
    Token,
    /// The host of the request is invalid.
    Host(InvalidHost),
    /// A path that does not exist.
    NoSuchPath,
    /// Metrics on another listener, if they have listeners of their own.
    MetricsElsewhere,
    /// Anything else on a listener for metrics.
    MetricsAlone,
    /// Anything but a probe on a listener for probes.
    ProbesAlone,
    /// An alias that is not configured; the text names the configured ones.
    NoSuchAlias(String),
    /// An alias of another shard.
    OtherShard {
        /// The shard that has it.
        shard: u32,
        /// The shard of this replica, and the number of shards.
        own: u32,
        of: u32,
    },
    /// A group that is not configured; the text names the configured ones.
    NoSuchGroup(String),
    /// A method that the path does not take; the router adds `Allow`.
    Method,
    /// A method other than POST on a path of gRPC.
    NotACall,
    /// A call of gRPC over HTTP/1.
    NotHttp2,
    /// A call with another content type than gRPC's.
    NotGrpc,
    /// A request with a body.
    Body,
    /// A format that is none of these.
    Format(&'static [Representation]),
    /// The limit of feeds is reached.
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
    /// The refusal of an alias that `setup` does not have.
    pub(super) fn no_such_alias(setup: &Setup, name: &str) -> Self {
        let shard = setup.shard.as_ref().and_then(|own| Some((own.elsewhere(name)?, own)));
        if let Some((shard, own)) = shard {
            return Self::OtherShard { shard, own: own.index, of: own.of };
        }
        let known: Vec<_> = setup.checker.catalog().aliases().map(ToString::to_string).collect();
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
    /// The body repeats nothing of the request: it is the caller's text.
    fn into_response(self) -> Response {
        match self {
            // Without a body, as Djblets does.
            Self::Access => StatusCode::FORBIDDEN.into_response(),
            Self::Token => {
                let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
                let body = "the bearer token is not the configured access.token\n";
                (StatusCode::UNAUTHORIZED, challenge, plain(body)).into_response()
            }
            Self::Host(invalid) => {
                let mut response = (StatusCode::BAD_REQUEST, plain(invalid.said())).into_response();
                // For the log of the connection.
                response.extensions_mut().insert(invalid);
                response
            }
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
            Self::OtherShard { shard, own, of } => {
                let body = format!("this alias belongs to shard {shard} of {of}, and this is shard {own}\n");
                (StatusCode::NOT_FOUND, plain(body)).into_response()
            }
            Self::NoSuchGroup(known) => {
                (StatusCode::NOT_FOUND, plain(format!("no such group; the configured ones are {known}\n")))
                    .into_response()
            }
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                plain("this method is not allowed here; the header Allow names those that are\n"),
            )
                .into_response(),
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
