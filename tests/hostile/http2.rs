//! HTTP/2, rudely: frames (RFC 9113, section 6), and what a connection sends in each step.

use crate::http1::first;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// The number of streams of a connection that asks on many.
const STREAMS: u32 = 4;

/// The size of a window that is not limited by the client.
const WINDOW: u32 = 65_535;

/// The first bytes of a client whose window for each answer has this size (RFC 9113, sections 3.4 and 6.5.2).
pub(crate) fn opening(window: u32) -> Vec<u8> {
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &setting)].concat()
}

/// A request for `path` on this stream.
pub(crate) fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &get(path))
}

/// requests for `path` on several streams.
pub(crate) fn requests(path: &str) -> Vec<u8> {
    streams(0).map(|stream| request(stream, path)).collect::<Vec<_>>().concat()
}

pub(crate) fn nothing(step: u32) -> Vec<u8> {
    first(step, || opening(WINDOW))
}

pub(crate) fn metrics_for_no_window(step: u32) -> Vec<u8> {
    first(step, || [opening(0), requests("/metrics")].concat())
}

pub(crate) fn events(step: u32) -> Vec<u8> {
    first(step, || [opening(0), requests("/events")].concat())
}

pub(crate) fn watches(step: u32) -> Vec<u8> {
    let message = [0; 5];
    let call = |stream| {
        [frame(HEADERS, END_HEADERS, stream, &watch()), frame(DATA, END_STREAM, stream, &message)].concat()
    };
    first(step, || on_all_streams(0, call))
}

/// Streams that are reset as soon as they are opened, as a client does that gives up.
pub(crate) fn streams_reset(step: u32) -> Vec<u8> {
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    let reset = |stream| [request(stream, "/health"), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
    let resets = if step.is_multiple_of(10) { streams(step / 10).map(reset).collect() } else { Vec::new() };
    [nothing(step), resets.concat()].concat()
}

/// Pings and settings, each of which wants an answer.
pub(crate) fn pings_and_settings(step: u32) -> Vec<u8> {
    let both = [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat();
    [nothing(step), both.repeat(10)].concat()
}

/// A head in pieces, a field in each step, without an end.
pub(crate) fn a_head_in_pieces(step: u32) -> Vec<u8> {
    if step == 0 {
        return [opening(WINDOW), frame(HEADERS, END_STREAM, 1, &get("/health"))].concat();
    }
    frame(CONTINUATION, 0, 1, &field(b"x-piece", b"y"))
}

/// Heads of nearly the most bytes that are allowed, whose answers are not read.
pub(crate) fn full_heads(step: u32) -> Vec<u8> {
    let full =
        |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[get("/events"), filling()].concat());
    first(step, || on_all_streams(0, full))
}

/// Requests with nearly as many bytes of bodies as the window of the connection allows, without an end.
pub(crate) fn bodies(step: u32) -> Vec<u8> {
    let body = |stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &[get("/health"), filling()].concat());
        [head, frame(DATA, 0, stream, &[b'x'; 2000])].concat()
    };
    first(step, || on_all_streams(WINDOW, body))
}

/// The same with as many fields as a head may have, on as many streams as a connection may have.
pub(crate) fn many_fields() -> Vec<u8> {
    const MOST_STREAMS: u32 = 32;
    let fields = [get("/health"), field(b"x-field", b"y").repeat(190)].concat();
    let body = |number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, &fields), frame(DATA, 0, stream, &[b'x'; 1900])].concat()
    };
    [opening(WINDOW), (0..MOST_STREAMS).map(body).collect::<Vec<_>>().concat()].concat()
}

/// A connection with this window, and these frames on each stream.
fn on_all_streams(window: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let frames: Vec<_> = streams(0).map(frames).collect();
    [opening(window), frames.concat()].concat()
}

/// The numbers of the streams of this step.
fn streams(step: u32) -> impl Iterator<Item = u32> {
    (0..STREAMS).map(move |number| 2 * (step * STREAMS + number) + 1)
}

/// The fields of a request (RFC 7541, section 6 and appendix A).
fn get(path: &str) -> Vec<u8> {
    const GET: u8 = 0x82;
    fields(GET, path)
}

/// The fields of a call that watches everything.
fn watch() -> Vec<u8> {
    const POST: u8 = 0x83;
    /// A literal value of the name 31, `content-type`.
    const CONTENT_TYPE: [u8; 2] = [0x0f, 0x10];
    let grpc = b"application/grpc";
    [&fields(POST, "/grpc.health.v1.Health/Watch")[..], &CONTENT_TYPE, &[length(grpc)], grpc].concat()
}

fn fields(method: u8, path: &str) -> Vec<u8> {
    const HTTP: u8 = 0x86;
    const PATH: u8 = 0x04;
    const AUTHORITY: u8 = 0x01;
    let mut fields = vec![method, HTTP];
    for (name, value) in [(PATH, path), (AUTHORITY, "localhost")] {
        fields.extend([name, length(value.as_bytes())]);
        fields.extend(value.as_bytes());
    }
    fields
}

/// Fields with nearly as many bytes as are allowed.
fn filling() -> Vec<u8> {
    field(b"x-field", &[b'y'; 1000]).repeat(7)
}

/// A field that enters no table (RFC 7541, section 6.2.2).
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &[length(name)], name, &integer(value.len()), value].concat()
}

/// A length as an integer with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(length: usize) -> Vec<u8> {
    const PREFIX: usize = 0x7f;
    let byte = |number: usize| u8::try_from(number).expect("a byte");
    let Some(mut rest) = length.checked_sub(PREFIX) else { return vec![byte(length)] };
    let mut bytes = vec![byte(PREFIX)];
    while rest > PREFIX {
        bytes.push(byte(rest & PREFIX) | 0x80);
        rest >>= 7;
    }
    bytes.push(byte(rest));
    bytes
}

fn length(value: &[u8]) -> u8 {
    u8::try_from(value.len()).ok().filter(|&length| length < 0x7f).expect("a short value")
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
