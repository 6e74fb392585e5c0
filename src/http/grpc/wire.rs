//! gRPC over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), as much of it as the health
//! protocol needs, with its messages in Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use tokio::time;

use super::service::Health;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// A flag and the length, before every message.
const PREFIX: usize = 5;

/// The most bytes of a message that is read. A name of a service is all that is in one.
const MAX_MESSAGE: usize = 4096;

/// The time in which a message must come in.
const MESSAGE_WITHIN: Duration = Duration::from_secs(5);

/// The codes that calls end with (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    code: Code,
    /// Plain ASCII without `%`, so that nothing of it has to be encoded.
    said: &'static str,
}

impl Failed {
    pub(super) fn new(code: Code, said: &'static str) -> Self {
        Self { code, said }
    }

    fn trailers(self) -> HeaderMap {
        let mut trailers = status(self.code);
        trailers.insert(MESSAGE, HeaderValue::from_static(self.said));
        trailers
    }
}

impl IntoResponse for Failed {
    /// The trailers and nothing else, which stand in the head then.
    fn into_response(self) -> Response {
        let mut response = respond(Body::empty());
        response.headers_mut().extend(self.trailers());
        response
    }
}

/// Whether this is the type of a call whose message is in Protocol Buffers.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    let bare = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    bare.eq_ignore_ascii_case(b"application/grpc") || bare.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// The one message of a call.
pub(super) async fn message(body: Body) -> Result<Bytes, Failed> {
    let body = time::timeout(MESSAGE_WITHIN, Limited::new(body, PREFIX + MAX_MESSAGE).collect()).await;
    let body = body.map_err(|_| Failed::new(Code::DeadlineExceeded, "the message did not come in"))?;
    let mut body = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Failed::new(Code::ResourceExhausted, "the message is too long"));
        }
        Err(_) => return Err(Failed::new(Code::InvalidArgument, "the message broke off")),
    };
    let garbled = Failed::new(Code::InvalidArgument, "there must be one message");
    let Some((&[flag, ref length @ ..], _)) = body.split_first_chunk::<PREFIX>() else { return Err(garbled) };
    if flag != 0 {
        return Err(Failed::new(Code::Unimplemented, "no compression is known here"));
    }
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let message = body.split_off(PREFIX);
    if usize::try_from(length).is_ok_and(|length| length == message.len()) {
        Ok(message)
    } else {
        Err(garbled)
    }
}

/// `service`, the first field of a `HealthCheckRequest`. Fields that are not known are passed over, and of several the
/// last counts, as Protocol Buffers want it.
pub(super) fn service(message: &[u8]) -> Result<String, Failed> {
    let garbled = || Failed::new(Code::InvalidArgument, "the message is no HealthCheckRequest");
    let mut name = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest).ok_or_else(garbled)?;
        // The wire types: a number, eight bytes, bytes with their length, four bytes.
        let length = match tag & 7 {
            0 => {
                varint(&mut rest).ok_or_else(garbled)?;
                0
            }
            1 => 8,
            2 => varint(&mut rest).ok_or_else(garbled)?,
            5 => 4,
            _ => return Err(garbled()),
        };
        let length = usize::try_from(length).map_err(|_| garbled())?;
        let (value, behind) = rest.split_at_checked(length).ok_or_else(garbled)?;
        rest = behind;
        if tag == u64::from(field(1)) {
            name = value.to_vec();
        }
    }
    String::from_utf8(name).map_err(|_| garbled())
}

/// The tag of a field that holds bytes.
const fn field(number: u8) -> u8 {
    number << 3 | 2
}

/// A number, seven bits a byte, the least first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The same, written behind `bytes`.
fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn put_field(bytes: &mut Vec<u8>, number: u8, value: &[u8]) {
    bytes.push(field(number));
    put_varint(bytes, value.len());
    bytes.extend_from_slice(value);
}

impl Health {
    /// A `HealthCheckResponse`, whose first field is a number.
    pub(super) fn message(self) -> Vec<u8> {
        let number = match self {
            Self::Serving => 1,
            Self::NotServing => 2,
            Self::Unknown => 3,
        };
        vec![1 << 3, number]
    }
}

/// A `HealthListResponse`: a map from names to `HealthCheckResponse`s, which is a list of pairs on the wire.
pub(super) fn list<'a>(statuses: impl IntoIterator<Item = (&'a str, Health)>) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, status) in statuses {
        let mut pair = Vec::new();
        put_field(&mut pair, 1, name.as_bytes());
        put_field(&mut pair, 2, &status.message());
        put_field(&mut message, 1, &pair);
    }
    message
}

/// The answer of a call that has one.
pub(super) fn answer(message: &[u8]) -> Response {
    let trailers = std::future::ready(Some(Ok(status(Code::Ok))));
    respond(Body::new(Full::new(framed(message)).with_trailers(trailers)))
}

/// The answer of a call that has many, which ends with what the stream fails with.
pub(super) fn stream(messages: impl Stream<Item = Result<Vec<u8>, Failed>> + Send + 'static) -> Response {
    let frames = messages.map(|message| match message {
        Ok(message) => Frame::data(framed(&message)),
        Err(failed) => Frame::trailers(failed.trailers()),
    });
    respond(Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>))))
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    // What is sent is far from four gigabytes.
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

fn status(code: Code) -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from(code as u16))])
}
