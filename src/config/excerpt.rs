//! How much of a source line an error may show: what is no secret for certain.

use super::place::Format;
use super::value::nearest;
use super::{access, caches, checks, groups, listeners, redis, settings, tls};

/// The longest line that is shown, in bytes; in a longer one, such as JSON without newlines, nobody finds a
/// caret.
const MAX_LINE: usize = 200;

/// How much of a source line may be shown.
pub(super) struct Shown {
    /// That many bytes from its beginning.
    pub(super) visible: usize,
    /// Something after them is not shown, and [`MASK`](super::MASK) stands for it.
    pub(super) hidden: bool,
}

/// The keys of the TOML file whose values are never secrets. A key that is not here, or not known, is one
/// whose value may be.
const HARMLESS: &[&str] = &[
    "listen",
    "prefix",
    "instance",
    "timeout",
    "max_age",
    "reconnect_every",
    "dns_recheck",
    "interval",
    "drain",
    "allow",
    "details",
    "trusted_proxies",
    "include",
    "exclude",
    "backend",
    "topology",
    "announce",
    "database",
    "protocol",
    "replica_within",
    "required",
    "quorum",
    "spray",
    "verify",
    "django_caches",
    "preset",
    "degraded",
    "down",
    "floor",
    "write_within",
    "delete_within",
    "client",
    "canaries",
    "keys",
    "unit",
    "lock",
    "lock_within",
    "partitions",
    "global",
    "expected",
    "resolution",
    "pattern",
    "max",
    "sample",
];

/// The keys of Django's `CACHES` that may be shown, though not their values.
const DJANGO_KEYS: &[&str] = &[
    "BACKEND",
    "LOCATION",
    "OPTIONS",
    "TIMEOUT",
    "KEY_PREFIX",
    "KEY_FUNCTION",
    "VERSION",
    "USERNAME",
    "PASSWORD",
    "CLIENT_CLASS",
    "CONNECTION_FACTORY",
    "CONNECTION_POOL_CLASS",
    "CONNECTION_POOL_KWARGS",
    "SENTINELS",
    "SENTINEL_KWARGS",
    "REDIS_CLIENT_KWARGS",
    "BASE_CLIENT_KWARGS",
    "protocol",
    "db",
    "username",
    "password",
];

/// How much of `line` may be shown, where `before` is the text in front of it.
///
/// A broken file cannot be relied on to say what is a value, so this looks at the one line and, in doubt,
/// hides it.
pub(super) fn shown(before: &str, line: &str, format: Format) -> Shown {
    if line.len() > MAX_LINE {
        return Shown { visible: 0, hidden: true };
    }
    let (visible, whole) = match format {
        Format::Toml => shown_toml(before, line),
        Format::Json => shown_json(line),
    };
    if whole {
        return Shown { visible, hidden: false };
    }
    Shown { visible, hidden: !line[visible..].trim().is_empty() }
}

/// The bytes that may be shown, and whether nothing is hidden behind them.
fn shown_toml(before: &str, line: &str) -> (usize, bool) {
    let indent = line.len() - line.trim_start().len();
    // Within a string of several lines anything may look like a key.
    if before.contains("\"\"\"") || before.contains("'''") {
        return (0, false);
    }
    let Some((key, value)) = line.split_once('=') else {
        return if is_header(before, line.trim()) { (line.len(), true) } else { (indent, false) };
    };
    let Some(name) = bare_key(key.trim()) else { return (indent, false) };
    // A comment is nobody's business, and may hold the old password.
    let value = value.split_once('#').map_or(value, |(value, _comment)| value);
    let value_start = key.len() + 1 + (value.len() - value.trim_start().len());
    // The numbers of a family of keys stand in braces.
    let table = name != "keys" && value.contains('{');
    let plain = !table && !value.contains(['@', '=']) && !value.contains("://");
    if HARMLESS.contains(&name) && plain || is_of_a_kind(name) && are_limits(value) {
        (key.len() + 1 + value.trim_end().len(), true)
    } else {
        (value_start, false)
    }
}

/// Whether a word is a key of some kind of check.
fn is_of_a_kind(word: &str) -> bool {
    checks::keys_of_kinds().any(|key| key == word)
}

/// Whether a value is a table of limits, of which each is a number or a duration.
fn are_limits(value: &str) -> bool {
    let inner = value.trim().strip_prefix('{').and_then(|value| value.strip_suffix('}'));
    let is_limit = |part: &str| {
        let Some((name, limit)) = part.split_once('=') else { return false };
        let (name, limit) = (name.trim(), limit.trim());
        let is_duration = |text: &str| humantime::parse_duration(text).is_ok();
        let harmless = limit.parse::<f64>().is_ok() || quoted(limit).is_some_and(is_duration);
        name.bytes().all(is_bare) && nearest(name, checks::LIMITS).is_some() && harmless
    };
    inner.is_some_and(|inner| inner.split(',').all(is_limit))
}

/// The last part of a key such as `timeout` or `caches.main.url`, if all of it may be shown.
fn bare_key(key: &str) -> Option<&str> {
    let parts: Vec<&str> = key.split('.').collect();
    let bare = parts.iter().all(|part| part.bytes().all(is_bare));
    let (name, tables) = parts.split_last()?;
    let places = match tables {
        []
        | ["access" | "caches" | "tls" | "metrics" | "groups"]
        | ["caches" | "groups", _]
        | ["caches", _, "tls" | "replicas"] => true,
        ["caches", _, "checks", within @ ..] | ["checks", within @ ..] => match within {
            [] => true,
            [kind] => checks::KINDS.contains(kind),
            [kind, key] => checks::KINDS.contains(kind) && is_of_a_kind(key),
            _ => false,
        },
        [key] => is_of_a_kind(key),
        _ => false,
    };
    // A word that is like no key may be the rest of a password in whose middle the line was broken.
    let of_kinds: Vec<_> = checks::keys_of_kinds().collect();
    let known = [
        settings::KEYS,
        caches::KEYS,
        access::KEYS,
        listeners::TLS_KEYS,
        listeners::METRICS_KEYS,
        groups::KEYS,
        tls::KEYS,
        redis::REPLICA_KEYS,
        checks::KINDS,
        &of_kinds,
        checks::LIMITS,
        checks::TTL,
    ];
    let like_a_key = || known.iter().any(|known| nearest(name, known).is_some());
    (bare && places && like_a_key()).then_some(name)
}

/// A table's header, such as `[caches.main]`, and no element of an array of several lines.
fn is_header(before: &str, line: &str) -> bool {
    let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) else { return false };
    let bare = name.bytes().all(|byte| is_bare(byte) || byte == b'.');
    let top = name.split('.').next().unwrap_or_default();
    bare && nearest(top, settings::KEYS).is_some() && !before.trim_end().ends_with(['[', ','])
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The bytes that may be shown, and whether nothing is hidden behind them.
fn shown_json(line: &str) -> (usize, bool) {
    let indent = line.len() - line.trim_start().len();
    let text = line.trim();
    if text.bytes().all(|byte| b"{}[],".contains(&byte)) {
        return (line.len(), true);
    }
    let Some((key, value)) = line.split_once(':') else { return (indent, false) };
    let Some(name) = quoted(key) else { return (indent, false) };
    let value_start = key.len() + 1 + (value.len() - value.trim_start().len());
    let value = value.trim().trim_end_matches(',').trim_end();
    let dotted = |text: &str| text.bytes().all(|byte| is_bare(byte) || byte == b'.');
    let plain = value == "{" || name == "BACKEND" && quoted(value).is_some_and(dotted);
    let key_may_show = DJANGO_KEYS.contains(&name) || value.starts_with('{') && dotted(name);
    match (key_may_show, plain) {
        (true, true) => (line.trim_end().len(), true),
        (true, false) => (value_start, false),
        (false, _) => (indent, false),
    }
}

fn quoted(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.strip_suffix('"')
}
