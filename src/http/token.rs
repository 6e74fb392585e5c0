//! Bearer tokens (RFC 6750, section 2.1).

use axum::http::{HeaderMap, header};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// `Some(true)` if `headers` carry the bearer token `token`, `Some(false)` if they carry another one; `None` if they
/// carry none. Other schemes than `Bearer` are ignored: they may be meant for a proxy.
pub(super) fn shown(token: &Secret, headers: &HeaderMap) -> Option<bool> {
    let expected = token.expose_secret().as_bytes();
    let credentials =
        headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    // The time of the comparison must not tell how much of a wrong one is right. Of several, none may be wrong.
    credentials.map(|shown| shown.ct_eq(expected).into()).reduce(|all: bool, this| all && this)
}

/// The credentials of the scheme `Bearer`, whose name is case-insensitive (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, credentials) = value.split_at_checked(SCHEME.len())?;
    let ends = credentials.first().is_none_or(|&byte| byte == b' ');
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then(|| credentials.trim_ascii())
}
