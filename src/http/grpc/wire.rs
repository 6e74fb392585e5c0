//! gRPC over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), only the part that the health
//! protocol needs.

use std::convert::Infallible;
use std::error::Error;
use std::iter::successors;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use prost::Message;

use crate::http::transport::body::BodyFault;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// The size of the flag and the length before every message.
const PREFIX: usize = 5;

/// The codes that calls end with (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The reason why a call has no response.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallError {
    code: Code,
    /// Plain ASCII without `%`, so that it needs no encoding.
    said: &'static str,
}

impl CallError {
    pub(super) fn new(code: Code, said: &'static str) -> Self {
        Self { code, said }
    }

    /// The fault of a body, as the connection has found it.
    fn of_body(error: &axum::Error) -> Self {
        let mut chain = successors(Some(error as &dyn Error), |&error| error.source());
        match chain.find_map(<dyn Error>::downcast_ref) {
            Some(BodyFault::Late) => {
                Self::new(Code::DeadlineExceeded, "the request message did not arrive in time")
            }
            Some(BodyFault::TooLong) => Self::new(Code::ResourceExhausted, "the message is too long"),
            Some(BodyFault::Incomplete) | None => {
                Self::new(Code::InvalidArgument, "the request message is incomplete")
            }
        }
    }

    fn trailers(self) -> HeaderMap {
        let mut trailers = status(self.code);
        trailers.insert(MESSAGE, HeaderValue::from_static(self.said));
        trailers
    }
}

impl IntoResponse for CallError {
    /// The trailers alone, which then stand in the head.
    fn into_response(self) -> Response {
        let mut response = respond(Body::empty());
        response.headers_mut().extend(self.trailers());
        response
    }
}

/// `true` for the type of a call whose message is in Protocol Buffers.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    let bare = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    bare.eq_ignore_ascii_case(b"application/grpc") || bare.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// The one message of a call.
pub(super) async fn message<M: Message + Default>(body: Body) -> Result<M, CallError> {
    let mut body = body.collect().await.map_err(|error| CallError::of_body(&error))?.to_bytes();
    let garbled = CallError::new(Code::InvalidArgument, "the call takes exactly one message");
    let Some((&[flag, ref length @ ..], _)) = body.split_first_chunk::<PREFIX>() else { return Err(garbled) };
    if flag != 0 {
        return Err(CallError::new(Code::Unimplemented, "compression is not supported"));
    }
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let message = body.split_off(PREFIX);
    if usize::try_from(length).is_ok_and(|length| length == message.len()) {
        M::decode(message)
            .map_err(|_| CallError::new(Code::InvalidArgument, "the message is not valid for this call"))
    } else {
        Err(garbled)
    }
}

/// The response to a call with one message.
pub(super) fn answer(message: &impl Message) -> Response {
    let trailers = std::future::ready(Some(Ok(status(Code::Ok))));
    respond(Body::new(Full::new(framed(message)).with_trailers(trailers)))
}

/// The response to a call with a stream of messages, whose error ends it.
pub(super) fn stream<M: Message>(
    messages: impl Stream<Item = Result<M, CallError>> + Send + 'static,
) -> Response {
    let frames = messages.map(|message| match message {
        Ok(message) => Frame::data(framed(&message)),
        Err(failed) => Frame::trailers(failed.trailers()),
    });
    respond(Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>))))
}

fn framed(message: &impl Message) -> Bytes {
    let mut framed = vec![0];
    // A message is far smaller than four gigabytes.
    framed.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message.encode_to_vec());
    framed.into()
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

pub(super) fn status(code: Code) -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from(code as u16))])
}
