//! HTTP/1.1, rudely: what a connection sends in each step.

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub(crate) fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

pub(crate) fn half_a_head(step: u32) -> Vec<u8> {
    first(step, || b"GET /health HTTP/1.1\r\nHost: loc".to_vec())
}

/// A head without an end, a byte a second.
pub(crate) fn a_byte_a_second(step: u32) -> Vec<u8> {
    match step {
        0 => b"GET /health HTTP/1.1\r\nX: ".to_vec(),
        step if step % 10 == 0 => b"x".to_vec(),
        _ => Vec::new(),
    }
}

pub(crate) fn one_request(step: u32) -> Vec<u8> {
    first(step, || REQUEST.to_vec())
}

/// Two requests a second.
pub(crate) fn requests(step: u32) -> Vec<u8> {
    first(step % 5, || REQUEST.to_vec())
}

/// Many requests in one piece.
pub(crate) fn pipeline(step: u32) -> Vec<u8> {
    first(step, || b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(30))
}

pub(crate) fn pipeline_of_metrics(step: u32) -> Vec<u8> {
    metrics(step).repeat(50)
}

pub(crate) fn metrics(step: u32) -> Vec<u8> {
    first(step, || b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec())
}

pub(crate) fn events(step: u32) -> Vec<u8> {
    first(step, || b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec())
}

/// Thousands of short fields.
pub(crate) fn many_fields(step: u32) -> Vec<u8> {
    first(step, || {
        let fields = b"x: y\r\n".repeat(5000);
        [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", &fields[..], b"\r\n"].concat()
    })
}

/// One field without an end.
pub(crate) fn a_long_field(step: u32) -> Vec<u8> {
    [first(step, || b"GET /health HTTP/1.1\r\nHost: localhost\r\nCookie: ".to_vec()), vec![b'x'; 64 * 1024]]
        .concat()
}

/// A request line without an end.
pub(crate) fn a_huge_target(step: u32) -> Vec<u8> {
    [first(step, || b"GET /health/".to_vec()), vec![b'x'; 256 * 1024]].concat()
}

/// A head of nearly the most bytes that are allowed, without its end.
pub(crate) fn a_full_head(step: u32) -> Vec<u8> {
    first(step, || {
        let field = [b"x: ", &[b'y'; 1021][..], b"\r\n"].concat();
        [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", &field.repeat(15)[..]].concat()
    })
}

/// A body of chunks without an end.
pub(crate) fn endless_chunks(step: u32) -> Vec<u8> {
    let chunk = [b"400\r\n", &[b'x'; 1024][..], b"\r\n"].concat();
    let head = b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    [first(step, || head.to_vec()), chunk].concat()
}

/// A body of a terabyte, a part in each step.
pub(crate) fn a_huge_body(step: u32) -> Vec<u8> {
    let head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\n";
    [first(step, || head.to_vec()), vec![b'x'; 1024]].concat()
}

/// These bytes in the first step, and nothing later.
pub(crate) fn first(step: u32, bytes: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    if step == 0 { bytes() } else { Vec::new() }
}
