//! [`Representation`]: the formats that a request can ask for, each by its name and its media type, and a file a format.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use mediatype::names::{APPLICATION, HTML, JSON, PLAIN, TEXT};
use mediatype::{MediaType, Name};

mod background;
pub mod djblets;
pub mod health_json;
mod json;
pub mod kubernetes;
pub mod metrics;
pub mod page;
pub mod text;
pub mod transitions;
mod words;

pub use background::Background;

const HEALTH: Name<'_> = Name::new_unchecked("health");

/// A representation that a request can ask for by `Accept`, or by `?format=` with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// Djblets' JSON, the default.
    Json,
    /// The IETF draft's JSON.
    HealthJson,
    /// A line an alias.
    Text,
    /// The page.
    Html,
    /// Kubernetes' text.
    Kubernetes,
}

impl Representation {
    /// The formats of a report, the default first.
    pub(super) const OF_REPORTS: &[Self] =
        &[Self::Json, Self::HealthJson, Self::Text, Self::Html, Self::Kubernetes];
    /// The formats of a list, the default first.
    pub(super) const OF_LISTS: &[Self] = &[Self::Json, Self::Text];

    /// Its name in `?format=`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::HealthJson => "health-json",
            Self::Text => "text",
            Self::Html => "html",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Its media type in `Accept`; `None` for Kubernetes' text, which only its name selects.
    pub(super) fn media_type(self) -> Option<MediaType<'static>> {
        match self {
            Self::Json => Some(MediaType::new(APPLICATION, JSON)),
            Self::HealthJson => Some(MediaType::from_parts(APPLICATION, HEALTH, Some(JSON), &[])),
            Self::Text => Some(MediaType::new(TEXT, PLAIN)),
            Self::Html => Some(MediaType::new(TEXT, HTML)),
            Self::Kubernetes => None,
        }
    }

    /// A text in this format.
    pub(super) fn response(self, body: impl Into<Body>) -> Response {
        let content_type = match self {
            Self::Json => const { HeaderValue::from_static("application/json") },
            Self::HealthJson => const { HeaderValue::from_static("application/health+json") },
            Self::Text | Self::Kubernetes => const { HeaderValue::from_static("text/plain; charset=utf-8") },
            Self::Html => return page::response(StatusCode::OK, body.into()),
        };
        let mut response = Response::new(body.into());
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}
