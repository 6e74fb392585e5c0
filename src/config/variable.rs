//! The names of environment variables that are settings.

/// The beginning of each.
pub(super) const PREFIX: &str = "CACHE_CANARY_";

/// Variables that begin like a setting and are read elsewhere: the config file's path, the level of the log,
/// and the URL that `healthcheck` asks.
pub(super) const RESERVED: &[&str] = &["config", "log", "url"];

/// The keys that a variable may have besides those of the file, at the level of this one.
pub(super) fn also_known(name: &str) -> &'static [&'static str] {
    if name.contains("__") { &[] } else { RESERVED }
}

/// The name of a variable in which one level is called otherwise.
pub(super) fn renamed(name: &str, level: &str, meant: &str) -> String {
    let levels = name.strip_prefix(PREFIX).unwrap_or(name).split("__");
    let levels: Vec<String> = levels
        .map(|part| if part.eq_ignore_ascii_case(level) { meant.to_uppercase() } else { part.to_owned() })
        .collect();
    format!("{PREFIX}{}", levels.join("__"))
}
