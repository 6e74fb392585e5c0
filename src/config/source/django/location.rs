//! Locations and values as Python's clients read them, by the source of redis-py 8.1 and valkey-py 6.1.

use std::borrow::Cow;

use super::options::Library;
use crate::config::value::ValueKind as Typed;

/// The reason for which the application's client cannot read a location that the check can.
///
/// redis-py's `parse_url` looks at the first characters, in small letters, and Python's `urlsplit` drops newlines and
/// tabs but no blanks.
pub(super) fn unreadable(written: &str, library: Library) -> Option<&'static str> {
    const REDIS: &[&str] = &["redis://", "rediss://", "unix://"];
    const VALKEY: &[&str] = &["valkey://", "valkeys://", "redis://", "rediss://", "unix://"];
    if library.trims() {
        return None;
    }
    if written.trim().is_empty() {
        return Some("an address is empty, at a comma too many");
    }
    if written.starts_with(char::is_whitespace) {
        return Some("a blank stands before an address; remove it");
    }
    let (schemes, refused) = match library {
        Library::Django | Library::DjangoRedis => {
            (REDIS, "an address must begin with redis://, rediss:// or unix:// there")
        }
        Library::RedisCache => return None,
        Library::DjangoValkey
        | Library::Cachex
        | Library::Glide
        | Library::Aiodrf
        | Library::Vcache
        | Library::Unknown => {
            (VALKEY, "an address must begin with valkey://, valkeys://, redis://, rediss:// or unix:// there")
        }
    };
    let Some(scheme) = schemes.iter().find(|scheme| written.starts_with(**scheme)) else {
        return Some(refused);
    };
    // `int("0 ")` is 0, but a blank makes no port and no name of a host.
    let has_path = written[scheme.len()..].contains('/');
    (written.ends_with(' ') && !has_path).then_some("a blank stands behind an address; remove it")
}

/// The URL for a location of django-redis-cache, which takes `host:port` and the path of a socket too.
pub(super) fn of_redis_cache(written: &str) -> Cow<'_, str> {
    match written {
        url if url.contains("://") => Cow::from(url),
        address if address.contains(':') => Cow::from(format!("redis://{address}")),
        path => Cow::from(format!("unix://{path}")),
    }
}

/// The URL of django-vcache without what its driver ignores: every parameter but the protocol, and a fragment.
pub(super) fn of_vcache(written: &str) -> String {
    let url = written.split('#').next().unwrap_or_default();
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    match query.split('&').find_map(|pair| pair.strip_prefix("protocol=")) {
        Some(protocol) => format!("{base}?protocol={}", protocol.trim_start_matches("resp")),
        None => base.to_owned(),
    }
}

/// A location whose path is the database's number or nothing, and `true` if a path was dropped that redis-py ignores:
/// it takes `int(path.replace("/", ""))`, if that is a number.
pub(super) fn without_a_path(text: &str) -> (Cow<'_, str>, bool) {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains("unix")) else {
        return (Cow::from(text), false);
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let Some(start) = rest[..end].find('/') else { return (Cow::from(text), false) };
    let path = &rest[start..end];
    // The rest of a password with an unescaped slash is refused as such.
    if path.contains('@') || rest[end..].contains('@') && !rest[..start].contains('@') {
        return (Cow::from(text), false);
    }
    let number = path.replace('/', "");
    let number = number.trim();
    let (authority, query) = (&rest[..start], &rest[end..]);
    match number.parse::<u32>() {
        Ok(number) => (Cow::from(format!("{scheme}://{authority}/{number}{query}")), false),
        Err(_) => (Cow::from(format!("{scheme}://{authority}{query}")), !number.is_empty()),
    }
}

/// `true` if a value of `ssl_cert_reqs` asks for a certificate that is verified; nothing if redis-py refuses the value.
///
/// It takes `none`, `optional` and `required`, `None`, and members of `ssl.VerifyMode`, whose numbers JSON has. Other
/// spellings are those that `str()` and `repr()` of them have. For a client "optional" is "required" (Python's `ssl`,
/// `CERT_OPTIONAL`).
pub(in crate::config::source) fn verifies(value: &Typed) -> Option<bool> {
    match value {
        Typed::Null | Typed::Integer(0) | Typed::Boolean(false) => Some(false),
        Typed::Integer(1 | 2) | Typed::Boolean(true) => Some(true),
        Typed::Text(text) => {
            let word = text.to_lowercase();
            let word = word.trim();
            let is = |name: &str, number: &str| {
                word == number || word == name || word.contains(&format!("cert_{name}"))
            };
            if is("none", "0") {
                Some(false)
            } else if is("optional", "1") || is("required", "2") {
                Some(true)
            } else {
                None
            }
        }
        Typed::Integer(_) | Typed::Float(_) | Typed::List(_) | Typed::Table(_) | Typed::Other(_) => None,
    }
}

/// The reason for which a text is the picture of a password and not the password, if it is one.
pub(super) fn is_a_picture(text: &str) -> Option<&'static str> {
    let quoted = |quote: char| {
        let inner = text.strip_prefix(['b', 'B']).and_then(|text| text.strip_prefix(quote));
        inner.is_some_and(|inner| inner.ends_with(quote))
    };
    if quoted('\'') || quoted('"') {
        return Some("is the Python representation of bytes");
    }
    let is_object = text.starts_with('<') && text.ends_with('>') && text.contains([' ', '.']);
    if is_object || text.starts_with("SecretStr(") || text.starts_with("SecretBytes(") {
        return Some("is the Python representation of an object");
    }
    (text.len() >= 3 && text.bytes().all(|byte| byte == b'*'))
        .then_some("is a row of asterisks, which stands for one")
}
