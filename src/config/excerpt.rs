//! How much of a source line an error may show: what is no secret for certain.

use super::place::FileFormat;
use super::value::nearest;
use super::{access, breaker, caches, checks, fleet, groups, listeners, redis, settings, tls};

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
    "hosts",
    "trusted_proxies",
    "include",
    "exclude",
    "via",
    "for",
    "role",
    "backend",
    "topology",
    "announce",
    "database",
    "protocol",
    "replica_within",
    "required",
    "quorum",
    "spray",
    "after",
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
pub(super) fn shown(before: &str, line: &str, format: FileFormat) -> Shown {
    if line.len() > MAX_LINE {
        return Shown { visible: 0, hidden: true };
    }
    let (visible, whole) = match format {
        FileFormat::Toml => shown_toml(before, line),
        FileFormat::Json => shown_json(line),
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
    let parts =
        if name == "breaker" { Some(breaker::KEYS) } else { is_of_a_kind(name).then_some(checks::LIMITS) };
    if HARMLESS.contains(&name) && plain || parts.is_some_and(|keys| are_limits(value, keys)) {
        (key.len() + 1 + value.trim_end().len(), true)
    } else {
        (value_start, false)
    }
}

/// Whether a word is a key of some kind of check.
fn is_of_a_kind(word: &str) -> bool {
    checks::keys_of_kinds().any(|key| key == word)
}

/// Whether a value is a table of limits, of which each is a number or a duration; `keys` are what they are called.
fn are_limits(value: &str, keys: &[&str]) -> bool {
    let inner = value.trim().strip_prefix('{').and_then(|value| value.strip_suffix('}'));
    let is_limit = |part: &str| {
        let Some((name, limit)) = part.split_once('=') else { return false };
        let (name, limit) = (name.trim(), limit.trim());
        let is_duration = |text: &str| humantime::parse_duration(text).is_ok();
        let harmless = limit.parse::<f64>().is_ok() || quoted(limit).is_some_and(is_duration);
        name.bytes().all(is_bare) && nearest(name, keys).is_some() && harmless
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
        | [
            "access" | "breaker" | "caches" | "tls" | "limits" | "probes" | "metrics" | "groups" | "fleet"
            | "debounce",
        ]
        | ["caches" | "groups", _]
        | ["caches", _, "breaker" | "tls" | "replicas"] => true,
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
        breaker::KEYS,
        listeners::TLS_KEYS,
        listeners::LIMITS_KEYS,
        listeners::OWN_KEYS,
        groups::KEYS,
        fleet::KEYS,
        tls::KEYS,
        redis::REPLICA_KEYS,
        checks::KINDS,
        &of_kinds,
        checks::LIMITS,
        checks::SKEW,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MASK;

    /// What is shown of a line.
    fn seen(before: &str, line: &str, format: FileFormat) -> String {
        let shown = shown(before, line, format);
        format!("{}{}", &line[..shown.visible], if shown.hidden { MASK } else { "" })
    }

    /// In every line here `hunter2` is a secret, or may be one.
    #[test]
    fn what_may_be_a_secret_in_a_toml_file_is_hidden() {
        for (before, line, expected) in [
            ("", r#"token = "hunter2""#, "token = ***"),
            ("", "token = hunter2", "token = ***"),
            ("[access]\n", r"  token = 'hunter2'", "  token = ***"),
            ("", r#"access.token = "hunter2""#, "access.token = ***"),
            ("", r#"access = { token = "hunter2" }"#, "access = ***"),
            ("", r#"tokn = "hunter2""#, "tokn = ***"),
            ("", r#"token_file = "hunter2""#, "token_file = ***"),
            ("", r#"key_file = "hunter2""#, "key_file = ***"),
            ("", r#"tls.key_file = "hunter2""#, "tls.key_file = ***"),
            ("", r#"url = "redis://:hunter2@host""#, "url = ***"),
            ("", r#"username = "hunter2""#, "username = ***"),
            ("", r#"sentinel_password = "hunter2""#, "sentinel_password = ***"),
            ("", r#"views = ["redis://:hunter2@host"]"#, "views = ***"),
            ("", r#"servers = ["app:hunter2@mc-1"]"#, "servers = ***"),
            // A value that is none of this key's.
            ("", r#"prefix = "redis://hunter2""#, "prefix = ***"),
            ("", r#"allow = ["app:hunter2@10.0.0.1"]"#, "allow = ***"),
            ("", r#"include = ["app:hunter2@main"]"#, "include = ***"),
            ("", "instance = token=hunter2", "instance = ***"),
            ("", r#"timeout = { password "hunter2" }"#, "timeout = ***"),
            ("", r#"keys = ["a?password=hunter2"]"#, "keys = ***"),
            // The old one in a comment.
            ("", r#"timeout = "1s" # it was hunter2"#, r#"timeout = "1s""#),
            ("", r#"token = "new" # it was hunter2"#, "token = ***"),
            ("", "# token = hunter2", "***"),
            // Limits that are none.
            ("", r#"lag = { degraded = "hunter2" }"#, "lag = ***"),
            ("", r#"lag = { degraded = "1m", down = hunter2 }"#, "lag = ***"),
            ("", r#"lag = { hunter2 = "1m" }"#, "lag = ***"),
            ("", r#"breaker = { after = "hunter2" }"#, "breaker = ***"),
            ("", r#"lag = { degraded = "1m" } hunter2"#, "lag = ***"),
            // The rest of a password in which there was an equals sign, a full stop or a line's end.
            ("", r#"hunter2 = "1s""#, "***"),
            ("", r#"caches.main.hunter2 = "1s""#, "***"),
            ("", r#"hunter2.timeout = "1s""#, "***"),
            ("", r#"caches.main.hunter2.url = "1s""#, "***"),
            ("", r#"caches.main.checks.hunter2.keys = "1s""#, "***"),
            ("", r#"groups.front.hunter2.include = "1s""#, "***"),
            ("", r#""hunter2" = "1s""#, "***"),
            ("", r#"hunter2@host.url = "1s""#, "***"),
            ("", r#"caches.hunter2@host.url = "1s""#, "***"),
            ("", "hunter2", "***"),
            ("", "  hunter2]", "  ***"),
            ("", "[hunter2]", "***"),
            ("", "[hunter2.main]", "***"),
            ("", "[caches.hunter2@host]", "***"),
            ("password = [\n", "[caches.hunter2]", "***"),
            ("password = [\"a\",\n", "[caches.hunter2]", "***"),
            // A string of several lines.
            ("password = \"\"\"\n", "timeout = hunter2", "***"),
            ("password = '''\n", "timeout = hunter2", "***"),
            ("password = \"\"\"\n", "[caches.hunter2]", "***"),
        ] {
            assert_eq!(seen(before, line, FileFormat::Toml), expected, "{before}{line}");
        }
        let long = format!("prefix = \"{}\"", "p".repeat(MAX_LINE));
        assert_eq!(seen("", &long, FileFormat::Toml), "***");
    }

    #[test]
    fn what_is_no_secret_in_a_toml_file_is_shown() {
        for line in [
            r#"interval = "10ms""#,
            r#"drain = "1 day""#,
            r#"trusted_proxies = ["10.0.0.0/8", "unx"]"#,
            r#"access.allow = ["10.0.0.0/33"]"#,
            r#"metrics.listen = [":9090"]"#,
            r#"include = ["main.queu"]"#,
            r#"groups.liveness.exclude = ["main"]"#,
            r#"keys = ["b:p:{0..x}"]"#,
            r#"lag = { degraded = "1m", down = 5 }"#,
            r#"breaker = { after = 0, for = "30s" }"#,
            r#"caches.main.breaker.for = "0s""#,
            r#"caches.main.checks.clock.lag = { degraded = "1m" }"#,
            "[groups.liveness]",
            r#"via = "mian""#,
            r#"fleet.for = "2""#,
            "[fleet]",
            "[metrics]",
            "[tls]",
            "[caches.main.checks.queue]",
        ] {
            assert_eq!(seen("", line, FileFormat::Toml), line);
        }
    }

    #[test]
    fn what_may_be_a_secret_in_djangos_setting_is_hidden() {
        for (line, expected) in [
            (r#"  "PASSWORD": "hunter2","#, r#"  "PASSWORD": ***"#),
            (r#""password": "hunter2""#, r#""password": ***"#),
            (r#""LOCATION": "redis://:hunter2@host","#, r#""LOCATION": ***"#),
            (r#""LOCATION": ["redis://:hunter2@host"],"#, r#""LOCATION": ***"#),
            (r#""OPTIONS": {"PASSWORD": "hunter2"}"#, r#""OPTIONS": ***"#),
            (r#""BACKEND": "redis://:hunter2@host","#, r#""BACKEND": ***"#),
            (r#""BACKEND": "a.b", "PASSWORD": "hunter2""#, r#""BACKEND": ***"#),
            (r#""hunter2": "a""#, "***"),
            (r#""app:hunter2@host": {"#, "***"),
            (r#""hunter2@host": {"#, "***"),
            (r#""redis://:hunter2@host","#, "***"),
            ("hunter2", "***"),
        ] {
            assert_eq!(seen("", line, FileFormat::Json), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_secret_in_djangos_setting_is_shown() {
        for line in
            [r#""BACKEND": "django.core.cache.backends.redis.RedisCache","#, r#""site.main": {"#, "}],"]
        {
            assert_eq!(seen("", line, FileFormat::Json).trim_end_matches(','), line.trim_end_matches(','));
        }
    }
}
