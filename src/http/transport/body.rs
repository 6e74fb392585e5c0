//! The body of a request, read before the request takes its turn: a slow one must not keep others waiting.

use std::future::ready;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Version, header};
use futures_util::stream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time;

use super::idle_timeout::IdleTimeout;
use super::places::Places;
use super::unread::HeldRequest;

/// The most bytes of the body of a call, whose message holds only the name of a service; and the time for them.
const MAX_CALL: usize = 5 + 4096;
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// The most bytes of another body that are read, and the time for them.
const MAX_OTHER: usize = 16 * 1024;
const OTHER_WITHIN: Duration = Duration::from_secs(1);

/// The reason why the body of a call is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum BodyFault {
    #[error("the body did not arrive in time")]
    Late,
    #[error("the body is too long")]
    TooLong,
    #[error("the body is incomplete")]
    Incomplete,
}

/// `true` if the body of such a request is gRPC's, of any kind.
pub(in crate::http) fn is_of_grpc(headers: &HeaderMap) -> bool {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
}

/// A request of HTTP/2 that is not complete, and counts as an unread answer does until it is.
struct Incomplete<'a> {
    idle_timeout: &'a IdleTimeout,
    bytes: usize,
    _held: HeldRequest,
}

impl<'a> Incomplete<'a> {
    fn new(head: &Parts, idle_timeout: &'a IdleTimeout, places: &Places) -> Self {
        let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = fields + head.uri.path().len() + MAX_CALL;
        idle_timeout.wait_for(bytes);
        Self { idle_timeout, bytes, _held: places.hold_request(bytes) }
    }
}

impl Drop for Incomplete<'_> {
    fn drop(&mut self) {
        self.idle_timeout.give_up(self.bytes);
    }
}

/// The request with a body that is in memory, except for one that HTTP/1 announces and nobody will read. A body without a
/// byte, as Envoy's and linkerd's chunked ones, is none.
pub(super) async fn taken(
    request: Request<Incoming>,
    idle_timeout: &IdleTimeout,
    places: &Places,
) -> Request<Body> {
    let (head, body) = request.into_parts();
    let body = match (head.version, body.is_end_stream()) {
        (_, true) => Body::empty(),
        (Version::HTTP_2, false) => {
            let _incomplete = Incomplete::new(&head, idle_timeout, places);
            if is_of_grpc(&head.headers) { Box::pin(call(body)).await } else { Box::pin(other(body)).await }
        }
        (_, false) if body.size_hint().lower() > 0 => Body::new(body),
        (_, false) => Box::pin(first_byte(body)).await,
    };
    Request::from_parts(head, body)
}

/// The body of a call, or the fault in its place.
async fn call(body: Incoming) -> Body {
    let fault = match time::timeout(CALL_WITHIN, Limited::new(body, MAX_CALL).collect()).await {
        Ok(Ok(body)) => return body.to_bytes().into(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => BodyFault::TooLong,
        Ok(Err(_)) => BodyFault::Incomplete,
        Err(_) => BodyFault::Late,
    };
    Body::from_stream(stream::once(ready(Err::<Bytes, _>(fault))))
}

/// The first byte of a body that nobody needs. The rest is read too: HTTP/2 resets the stream of a request that was not
/// read to its end, and curl reports that in place of the response. Of a longer or later one it is not waited for.
async fn other(mut body: Incoming) -> Body {
    let mut first = Bytes::new();
    let rest = async {
        first = first_of(&mut body).await;
        let mut read = first.len();
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_OTHER {
                break;
            }
        }
    };
    let _ = time::timeout(OTHER_WITHIN, rest).await;
    first.into()
}

async fn first_byte(mut body: Incoming) -> Body {
    time::timeout(OTHER_WITHIN, first_of(&mut body)).await.unwrap_or_default().into()
}

/// The first byte of `body`; none at its end. The others are not kept with it.
async fn first_of(body: &mut Incoming) -> Bytes {
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(first) = frame.data_ref().and_then(|bytes| bytes.get(..1)) {
            return Bytes::copy_from_slice(first);
        }
    }
    Bytes::new()
}
