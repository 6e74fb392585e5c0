//! [`Call`]: a call whose refusal must be in the words of gRPC, whichever part of the sidecar refuses it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::wire::{self, Code};
use crate::http::transport::body::is_of_grpc;

/// The most bytes of a refusal that are passed on.
const MAX_TEXT: usize = 4096;

/// The characters that a message must not have as they are ("Responses", in gRPC's PROTOCOL-HTTP2.md).
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// A call of gRPC over HTTP/2, or of gRPC-Web over any version.
pub(in crate::http) struct Call {
    content_type: HeaderValue,
}

impl Call {
    pub(in crate::http) fn of(request: &Request) -> Option<Self> {
        let content_type = request.headers().get(header::CONTENT_TYPE)?;
        let is_for_browsers = content_type.as_bytes().starts_with(b"application/grpc-web");
        let is_call = request.method() == Method::POST
            && is_of_grpc(request.headers())
            && (is_for_browsers || request.version() == Version::HTTP_2);
        is_call.then(|| Self { content_type: content_type.clone() })
    }

    /// `response`, if it is gRPC's own; otherwise its code and text as a status of gRPC.
    pub(in crate::http) async fn answer(self, response: Response) -> Response {
        if is_of_grpc(response.headers()) {
            return response;
        }
        let (head, body) = response.into_parts();
        let code = code(head.status);
        let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
        let text = String::from_utf8_lossy(text.trim_ascii());
        let message = HeaderValue::try_from(utf8_percent_encode(&text, ENCODED).to_string());
        let mut refusal = Response::new(Body::empty());
        refusal.headers_mut().extend(wire::status(code));
        refusal.headers_mut().extend(message.map(|message| (wire::MESSAGE, message)));
        refusal.headers_mut().insert(header::CONTENT_TYPE, self.content_type);
        // The log tells of some refusals by them.
        *refusal.extensions_mut() = head.extensions;
        refusal
    }
}

/// The code of a refusal with `status` (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>). A path
/// of HTTP and a wrong type of content are not implemented.
fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Code::Unimplemented
        }
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Unknown,
    }
}
