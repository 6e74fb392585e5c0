//! Bearer tokens (RFC 6750, section 2.1).

use axum::http::{HeaderMap, header};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// Whether the bearer token that `headers` show is this one; `None` where they show none. Other schemes than `Bearer`
/// are for somebody else, such as a proxy.
pub(super) fn shown(token: &Secret, headers: &HeaderMap) -> Option<bool> {
    let expected = token.expose_secret().as_bytes();
    let credentials =
        headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    // How long a wrong one is compared must not say how much of it is right. Of several, none may be wrong.
    credentials.map(|shown| shown.ct_eq(expected).into()).reduce(|all: bool, this| all && this)
}

/// The credentials of the scheme `Bearer`, whose name may be written in either case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, credentials) = value.split_at_checked(SCHEME.len())?;
    let ends = credentials.first().is_none_or(|&byte| byte == b' ');
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then(|| credentials.trim_ascii())
}
