//! The environment: settings in `CACHE_CANARY_*` and `CACHE_URL*`, and `${NAME}` in the file.

use std::collections::BTreeMap;

use crate::config::keys;
use crate::config::place::{ConfigProblem, Place};
use crate::config::text_file::BOM;
use crate::config::value::{Table, TableEntry, Value, ValueKind, is_quoted};
use crate::config::variable::{self, PREFIX, RESERVED, SHORT_URL, shown};

/// The environment's variables, by name.
pub(in crate::config) struct Environment<'a>(pub(in crate::config) &'a BTreeMap<String, String>);

impl Environment<'_> {
    /// A variable's value. An empty one counts as not set, since `NAME=` is how Compose and Kubernetes leave
    /// one out. White space at its ends is dropped, and a byte order mark: a secret that was made by `echo` ends in a newline.
    pub(in crate::config) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim_matches(|char: char| char.is_whitespace() || char == BOM))
            .filter(|value| !value.is_empty())
    }

    /// The host's name: `HOSTNAME`, which containers set to the name that the operator sees, or else the system's.
    pub(in crate::config) fn host_name(&self) -> String {
        let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.get("HOSTNAME").map_or_else(system, str::to_owned)
    }

    /// Fills in each `${NAME}` and `${NAME:-default}`; `$${` stands for `${` itself, and any other `$` for
    /// itself.
    ///
    /// `${HOSTNAME}` is the host's name also where nothing sets it: shells have it without exporting it.
    ///
    /// In a template of targets, the braces of what is filled in are doubled: they stand for themselves, and for no label.
    pub(in crate::config) fn expand(&self, text: &str, is_template: bool) -> Result<String, String> {
        let filled = |value: &str| {
            if is_template { value.replace('{', "{{").replace('}', "}}") } else { value.to_owned() }
        };
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str(&filled("${"));
                rest = after;
                continue;
            }
            expanded.push_str(before);
            let (reference, after) = after.split_once('}').ok_or(BAD_REFERENCE)?;
            let (name, default) = match reference.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (reference, None),
            };
            let is_name = !name.starts_with(|char: char| char.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if name.is_empty() || !is_name {
                return Err(BAD_REFERENCE.to_owned());
            }
            match (self.get(name), default) {
                (Some(value), _) | (None, Some(value)) => expanded.push_str(&filled(value)),
                (None, None) if name == "HOSTNAME" => expanded.push_str(&filled(&self.host_name())),
                (None, None) if self.0.contains_key(name) => {}
                (None, None) => {
                    return Err(format!(
                        "the environment variable {name} is not set; set it, or add a default with \
                         ${{{name}:-default}}"
                    ));
                }
            }
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// Withholds the variables that this text, the value of `key`, takes a login from. In a URL these are the ones before the `@`, and
    /// those that have one.
    pub(in crate::config) fn withhold_logins(&self, key: &str, text: &str) {
        let login = match key {
            "password" | "sentinel_password" | "token" => text.len(),
            "url" | "servers" | "location" | "replicas" | "views" => text.rfind('@').unwrap_or_default(),
            _ => return,
        };
        for (at, _) in text.match_indices("${") {
            let name = text[at + 2..].split(['}', ':']).next().unwrap_or_default();
            if at < login || self.get(name).is_some_and(|value| value.contains('@')) {
                variable::withhold(name);
            }
        }
    }

    /// Puts every setting of the environment into `table`, over those of the file.
    pub(in crate::config) fn merge_into(&self, table: &mut Table, problems: &mut Vec<ConfigProblem>) {
        let set = self.0.keys().filter_map(|name| Some((name, self.get(name)?)));
        for (name, value) in set {
            let place = Place::Variable(shown(name).into());
            let Some(path) = setting(name, value) else { continue };
            // A password may have quotes; its reader takes note of them.
            if is_quoted(value) && !path.last().is_some_and(|key| key.ends_with("password") || key == "token")
            {
                problems.push(place.problem(QUOTED));
                continue;
            }
            if path.iter().any(String::is_empty) {
                problems.push(place.problem(EMPTY_LEVEL));
                continue;
            }
            if let Err(problem) = insert(table, &path, value, &place) {
                problems.push(problem);
            }
        }
    }
}

/// The problem with quotes around a whole value.
pub(in crate::config) const QUOTED: &str = "the value begins and ends with quotes, which are part of it; remove them (Docker's --env-file and \
                      Kubernetes keep quotes, which a shell would drop)";
const EMPTY_LEVEL: &str =
    "a part of the name is empty; two underscores separate levels, as in CACHE_CANARY_CACHES__MAIN__URL";
const BAD_REFERENCE: &str = "`${` must start a reference to an environment variable, as in ${NAME} or \
                             ${NAME:-default}; write $${ for the two characters themselves";

/// The path of the setting that a variable stands for, or `None` if it stands for none.
fn setting(name: &str, value: &str) -> Option<Vec<String>> {
    if let Some(rest) = name.strip_prefix(PREFIX) {
        let key = rest.to_ascii_lowercase();
        let other = RESERVED.contains(&key.as_str()) || is_service_link(rest, value);
        return (!other).then(|| key.split("__").map(str::to_owned).collect());
    }
    let rest = name.strip_prefix(SHORT_URL)?;
    let (rest, key) = rest.strip_suffix("_FILE").map_or((rest, "url"), |rest| (rest, "url_file"));
    let alias =
        if rest.is_empty() { "default".to_owned() } else { rest.strip_prefix('_')?.to_ascii_lowercase() };
    Some(vec!["caches".to_owned(), alias, key.to_owned()])
}

/// `true` if Kubernetes sets this variable in every container because of a Service called `cache-canary`, or something
/// that begins so ("Environment variables" in its documentation of Services).
fn is_service_link(rest: &str, value: &str) -> bool {
    let host = rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT");
    let port = rest.split('_').any(|part| part == "PORT");
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    // The settings of a cache have two underscores in a row, and it may well be called `port_1`.
    !rest.contains("__") && (host || port && (url || rest.split('_').any(digits)))
}

/// Puts a text at a path, over the file's value for it and for any key of the same meaning.
fn insert(table: &mut Table, path: &[String], value: &str, place: &Place) -> Result<(), ConfigProblem> {
    let [key, deeper @ ..] = path else { return Ok(()) };
    let position = table.0.iter().position(|entry| entry.key == *key);
    if deeper.is_empty() {
        if let Some(Place::Variable(other)) = position.map(|position| &table.0[position].value.place) {
            return Err(place.problem(format_args!("{other} sets the same; keep one of the two")));
        }
        let of_file = |entry: &TableEntry| !matches!(entry.value.place, Place::Variable(_));
        table.0.retain(|entry| !(of_file(entry) && keys::say_the_same(&entry.key, key)));
        let value = Value::new(ValueKind::Text(value.to_owned()), place.clone());
        table.0.push(TableEntry { key: key.clone(), key_place: place.clone(), value });
        return Ok(());
    }
    let position = position.unwrap_or_else(|| {
        let value = Value::new(ValueKind::Table(Table::default()), place.clone());
        table.0.push(TableEntry { key: key.clone(), key_place: place.clone(), value });
        table.0.len() - 1
    });
    let whole = &mut table.0[position].value;
    if keys::has_parts_too(key) && !matches!(whole.kind, ValueKind::Table(_)) {
        if let Place::Variable(other) = &whole.place {
            return Err(place.problem(format_args!("{other} is its short form; keep one of the two")));
        }
        *whole = Value::new(ValueKind::Table(Table::default()), place.clone());
    }
    match &mut whole.kind {
        ValueKind::Table(inner) => insert(inner, deeper, value, place),
        _ => Err(place.problem(format_args!("unknown setting; `{key}` has no parts"))),
    }
}
