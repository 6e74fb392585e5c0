//! The names of environment variables that are settings, and of those that programs of `password_command` do not inherit.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::MASK;
use super::source::platform;
use crate::mutex::Mutex;

/// The beginning of each.
pub(super) const PREFIX: &str = "CACHE_CANARY_";

/// The beginning of each variable that is the URL of a cache.
pub(super) const SHORT_URL: &str = "CACHE_URL";

/// Variables that begin like a setting and are read elsewhere: the config file's path, the level of the log,
/// and the URL that `healthcheck` asks.
pub(super) const RESERVED: &[&str] = &["config", "log", "url"];

/// A variable's name, as far as it may be shown: only letters, digits, `_`, `-` and `.` are sure to be no part of a value.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    match name.find(|char| !is_plain(char)) {
        Some(end) => format!("{}{MASK}", &name[..end]).into(),
        None => name.into(),
    }
}

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

/// The variables that a configuration of this process has taken logins from, as `${NAME}`.
static LOGINS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Takes note that a login comes from this variable.
pub(super) fn withhold(name: &str) {
    LOGINS.lock().insert(name.to_owned());
}

/// `true` if a variable may hold a login of this process, which other programs do not get.
pub(crate) fn is_withheld(name: &str) -> bool {
    let is_setting = name.starts_with(PREFIX) || name.starts_with(SHORT_URL);
    is_setting || platform::is_variable(name) || LOGINS.lock().contains(name)
}
