//! The callers behind a trusted proxy.
//!
//! Any client can write `X-Forwarded-For` and `Forwarded` (RFC 7239), so they count only from a trusted proxy, and only
//! as far as trusted proxies wrote them: each appends the address of its client, so they are read from the end, up to
//! the first address that is not a trusted proxy's.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{self, HeaderMap, HeaderName};

use super::transport::caller::Caller;
use crate::config::Proxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The callers of a request with these headers: those that the headers name if `peer` is a trusted proxy, else `peer`.
///
/// That is one caller, or two if both headers are there. A proxy writes one of them and may pass on the other as its
/// client wrote it, and they cannot be told apart. So the request gets the access that both of them have.
pub(super) fn callers(
    trusted: &Proxies,
    peer: Caller,
    headers: &HeaderMap,
) -> impl Iterator<Item = Caller> + use<> {
    if !is_trusted(trusted, peer) {
        return [Some(peer), None].into_iter().flatten();
    }
    let lines = |name| headers.get_all(name).iter().rev().map(|value| value.to_str().ok());
    let x_forwarded_for = lines(X_FORWARDED_FOR).flat_map(|line| match line {
        Some(line) => line.rsplit(',').map(caller).collect(),
        None => vec![Caller::Unknown],
    });
    let forwarded = lines(header::FORWARDED).flat_map(|line| match line.and_then(forwarded_for) {
        Some(callers) => callers.into_iter().rev().collect(),
        None => vec![Caller::Unknown],
    });
    let told = [nearest(trusted, x_forwarded_for), nearest(trusted, forwarded)];
    // A proxy that names no client asks for itself, as its own health checks do.
    let told = if told == [None, None] { [Some(peer), None] } else { told };
    told.into_iter().flatten()
}

/// `true` if the headers of `caller` are trusted.
pub(super) fn is_trusted(trusted: &Proxies, caller: Caller) -> bool {
    match caller {
        Caller::Remote(ip) => trusted.networks.iter().any(|network| network.contains(&ip.to_canonical())),
        Caller::Local => trusted.unix,
        Caller::Unknown => false,
    }
}

/// The first of these that is not a trusted proxy; the last if all of them are.
fn nearest(trusted: &Proxies, callers: impl Iterator<Item = Caller>) -> Option<Caller> {
    let mut callers = callers.peekable();
    loop {
        let caller = callers.next()?;
        if !is_trusted(trusted, caller) || callers.peek().is_none() {
            return Some(caller);
        }
    }
}

/// The caller at this address, which may have brackets and a port.
fn caller(text: &str) -> Caller {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let ip = match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok().or_else(with_port),
    };
    ip.map_or(Caller::Unknown, Caller::Remote)
}

/// The caller that each element of a `Forwarded` names, in their order (RFC 7239, section 4). `None` if the line is
/// malformed: a quotation mark of the client's could hide the part that the proxy wrote behind it.
fn forwarded_for(line: &str) -> Option<Vec<Caller>> {
    split(line, ',')?.into_iter().map(element).collect()
}

/// The caller that one element names: `for="[2001:db8::1]:4711";proto=https`.
fn element(text: &str) -> Option<Caller> {
    let mut named = None;
    for pair in split(text, ';')? {
        if pair.trim().is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let value = unquoted(value.trim())?;
        if name.trim().eq_ignore_ascii_case("for") && named.replace(caller(value)).is_some() {
            return None;
        }
    }
    Some(named.unwrap_or(Caller::Unknown))
}

/// The parts between these separators, except those in quotation marks; `None` if a quotation mark is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            char if char == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// A value without its quotation marks; no character of an address needs to be escaped in it.
fn unquoted(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'))?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}
