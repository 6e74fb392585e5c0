//! The status page, for a browser.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::access::View;
use super::text;
use crate::app::Setup;
use crate::catalog::Selection;
use crate::outcome::Report;

/// What is checked in `setup` of `selection`, as a page.
#[must_use]
pub fn body(_setup: &Setup, report: &Report, _selection: &Selection, view: View, now: Instant) -> String {
    let text = text::body(report, view, now).replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<title>{}</title>\n<pre>{text}</pre>\n</html>\n",
        report.status()
    )
}

/// The response of which `body` is the body.
pub(super) fn response(code: StatusCode, body: String) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    (code, content_type, body).into_response()
}
