//! [`Refusal`]: why a request gets no verdict.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::representation::{Format, plain};
use crate::app::Setup;
use crate::catalog::Catalog;

/// Why a request gets no verdict. No cache was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The caller is not among those who may ask.
    Access,
    /// A path that is none of ours.
    NoSuchPath,
    /// An alias that is not configured; the text names those that are.
    NoSuchAlias(String),
    /// A group that is not configured; the text names those that there are.
    NoSuchGroup(String),
    /// A method other than GET and HEAD.
    Method,
    /// A request with a body.
    Body,
    /// A format that is not known.
    Format,
    /// As many pages are fed as may be.
    Feeds,
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

impl IntoResponse for Refusal {
    /// Says nothing of what was asked: it is the caller's text.
    fn into_response(self) -> Response {
        match self {
            // Without a body, as Djblets does.
            Self::Access => StatusCode::FORBIDDEN.into_response(),
            Self::NoSuchPath => {
                let body = "no such path; there are /health, /health/{alias}, /health/group/{name}, /livez, /readyz, /startupz, /metrics and the page at /\n";
                (StatusCode::NOT_FOUND, plain(body)).into_response()
            }
            Self::NoSuchAlias(known) => {
                (StatusCode::NOT_FOUND, plain(format!("no such alias; there are {known}\n"))).into_response()
            }
            Self::NoSuchGroup(known) => {
                (StatusCode::NOT_FOUND, plain(format!("no such group; there are {known}\n"))).into_response()
            }
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, plain("only GET and HEAD are answered\n")).into_response()
            }
            Self::Body => {
                let body = "a request must not have a body here\n";
                (StatusCode::PAYLOAD_TOO_LARGE, plain(body)).into_response()
            }
            Self::Feeds => {
                let body = "too many pages are live already: close some, or load this one without its feed\n";
                (StatusCode::SERVICE_UNAVAILABLE, plain(body)).into_response()
            }
            Self::Format => {
                let known = Format::ALL.map(Format::name).join(" and ");
                (StatusCode::BAD_REQUEST, plain(format!("no such format; there are {known}\n")))
                    .into_response()
            }
        }
    }
}
