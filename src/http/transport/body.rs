//! The body of a request, read before the request takes its turn: a slow one must not keep others waiting.

use std::future::ready;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Version, header};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, stream};
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

/// The memory of a request, in bytes, as measured with 4,096 requests in a release: in HTTP/2 its task, its stream and a body; each
/// field; and the number of bytes for each of a head, since a field that is kept keeps the whole read with it.
const STREAM: usize = 6 * 1024;
const FIELD: usize = 200;
const COPIES: usize = 3;

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

/// A request in memory, which counts as an unread answer does until its answer is made. It is counted when its head is read: a
/// task of its own would count it after the heads of all connections were read.
pub(super) struct Arrived {
    idle_timeout: Arc<IdleTimeout>,
    /// The bytes for which its client is blamed, until the body is complete.
    incomplete: usize,
    _held: HeldRequest,
}

impl Arrived {
    pub(super) fn new(request: &Request<Incoming>, idle_timeout: &Arc<IdleTimeout>, places: &Places) -> Self {
        let fields = request.headers().iter();
        let fields: usize =
            fields.map(|(name, value)| FIELD + COPIES * (name.as_str().len() + value.len())).sum();
        let is_multiplexed = request.version() == Version::HTTP_2;
        let bytes = fields + COPIES * request.uri().path().len() + if is_multiplexed { STREAM } else { 0 };
        let incomplete = if request.body().is_end_stream() { 0 } else { bytes };
        idle_timeout.begin_answer();
        if incomplete > 0 {
            idle_timeout.wait_for(incomplete);
        }
        Self { idle_timeout: idle_timeout.clone(), incomplete, _held: places.hold_request(bytes) }
    }

    /// Notes that nothing more of it is waited for.
    pub(super) fn complete(&mut self) {
        if self.incomplete > 0 {
            self.idle_timeout.give_up(mem::take(&mut self.incomplete));
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.complete();
        // Before the bytes are given back, which wakes a connection that waits for this.
        self.idle_timeout.end_answer();
    }
}

/// The body of `request` in memory, except for one that HTTP/1 announces and nobody will read. A body without a byte, as
/// Envoy's and linkerd's chunked ones, is none.
pub(super) fn taken(request: &Request<Body>, body: Incoming) -> BoxFuture<'static, Body> {
    match request.version() {
        Version::HTTP_2 if is_of_grpc(request.headers()) => call(body).boxed(),
        Version::HTTP_2 => other(body).boxed(),
        _ if body.size_hint().lower() > 0 => ready(Body::new(body)).boxed(),
        _ => first_byte(body).boxed(),
    }
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
