//! The endpoints for machines, in `OpenAPI` 3.1 (<https://spec.openapis.org/oas/v3.1.1.html>).

/// The description as it is written; the version is filled in.
const WRITTEN: &str = include_str!("openapi.json");

/// The description of this version's endpoints.
#[must_use]
pub(crate) fn body() -> String {
    WRITTEN.replacen("\"$version\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""), 1)
}
