//! `[targets]`: caches from a list in Prometheus' format, each made from a template over the labels of its target.
//!
//! The settings say where the list is. [`Targets::each_cache`] turns each target into the table that `[caches.ALIAS]` would have.
//! Labels are the text of whoever writes the list, so they fill in texts and never add a setting.

mod template;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::keys::{self, BackendKind};
use super::place::{ConfigProblem, Place};
use super::reader::{ConfigReader, Section};
use super::source::targets::{Target, each};
use super::value::{Table, TableEntry, Value, ValueKind as Typed, one_of, unless};
use super::{MASK, Secret, address, text_file};
use crate::alias::Alias;

/// The interval at which a list is fetched, unless it is set.
const EVERY: Duration = Duration::from_mins(1);

/// The most bytes of a list.
pub(crate) const MAX_LIST: u64 = 64 << 20;

/// The most problems with targets that are shown; a fault of the template is one of every target.
const MOST: usize = 10;

const NO_LIST: &str =
    "no list of targets is given; add file = \"targets.json\" or http = \"https://host/targets\"";
const YAML: &str = "YAML is not read; write the list as JSON, which file_sd of Prometheus reads as well";
const URL: &str = "this is a URL; write targets = { http = \"https://host/targets\" }";
const NOT_HTTP: &str =
    "expected an http:// or https:// URL, without a user and a password; use token_file for a token";
const OF_HTTP: &str = "this is a setting of a list that is fetched, with `http`; remove it";
const PLAIN_TOKEN: &str = "the token would be sent without TLS; use https://, or http:// to this host alone";
const NOT_FETCHED: &str = "the list of targets was not fetched";

/// The list of targets that a configuration was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetList {
    /// Where it is.
    pub source: TargetSource,
    /// The number of its targets.
    pub count: usize,
}

/// The place of a list of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSource {
    /// A file.
    File(PathBuf),
    /// A server that is asked for it.
    Http(HttpTargets),
}

/// A server that is asked for a list of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTargets {
    /// The URL, with the scheme `http` or `https` and a host.
    pub url: Url,
    /// The interval.
    pub every: Duration,
    /// The bearer token, if there is one.
    pub token: Option<Secret>,
    /// The trusted certificates in place of the system's, in a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// A list of targets that was fetched from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedTargets {
    /// The server.
    pub(crate) from: HttpTargets,
    /// The time after which it is asked again.
    pub(crate) every: Duration,
    /// Its answer.
    pub(crate) body: Arc<str>,
}

impl fmt::Display for TargetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Http(http) => http.fmt(f),
        }
    }
}

impl fmt::Display for HttpTargets {
    /// The URL without its query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        let masked = url.query().map(|_| MASK);
        url.set_query(masked);
        url.set_fragment(None);
        url.fmt(f)
    }
}

/// `[targets]`, as it was written.
pub(super) struct Targets {
    source: TargetSource,
    place: Place,
    /// The template of an alias.
    alias: Option<Value>,
    /// The template of a cache.
    cache: Table,
}

/// A cache that a target stands for.
pub(super) struct TargetCache {
    pub(super) alias: String,
    pub(super) place: Place,
    pub(super) table: Table,
}

/// `[targets]`, if there is one.
pub(super) fn read(reader: &mut ConfigReader) -> Option<Targets> {
    let place = reader.table.get("targets")?.place.clone();
    reader.origins.insert("targets".to_owned(), place.origin());
    if let Some(value) = reader.table.get("targets").filter(|value| matches!(value.kind, Typed::Text(_))) {
        let value = value.clone();
        let path = file(&value);
        let source = TargetSource::File(reader.told(path)?);
        return Some(Targets { source, place, alias: None, cache: Table::default() });
    }
    let mut section = reader.section("targets", keys::TARGETS);
    let cache = section.table.take("cache").map(Value::into_table);
    let cache = cache.and_then(|cache| reader.told(cache)).unwrap_or_default();
    let unknown: Vec<_> = cache.unknown(keys::CACHE).collect();
    let alias = reader.said(&section, "alias", |value| value.text().map(|_| value.clone()));
    let checked = template::check(&cache);
    let source = source(reader, &section, &place);
    // It would be wrong once more for each target.
    let is_right = unknown.is_empty() & reader.told(checked).is_some();
    reader.problems.extend(unknown);
    is_right.then_some(())?;
    Some(Targets { source: source?, place, alias, cache })
}

fn source(reader: &mut ConfigReader, section: &Section, place: &Place) -> Option<TargetSource> {
    let every = reader.said(section, "every", |value| {
        value.duration("every", Duration::from_secs(1), Duration::from_hours(24))
    });
    let ca_file = reader.said(section, "ca_file", |value| Ok(value.place.resolve(value.text()?)));
    let mut files = Vec::new();
    let token = reader.said(section, "token_file", |value| text_file::secret(value, &mut files));
    reader.files.append(&mut files);
    reader.files.extend(ca_file.clone());
    let named = one_of(&section.table, keys::alternatives(keys::TARGETS, "file"));
    match reader.told(named)? {
        None => {
            reader.problems.push(place.problem(NO_LIST));
            None
        }
        Some(("http", _)) => {
            let has_token = token.is_some();
            let url = reader.said(section, "http", |value| http(value, has_token))?;
            let (every, token) = (every.unwrap_or(EVERY), token.map(Secret::from));
            Some(TargetSource::Http(HttpTargets { url, every, token, ca_file }))
        }
        Some(_) => {
            for key in ["every", "token_file", "ca_file"] {
                let problem = section.table.get(key).map(|value| value.problem(OF_HTTP));
                reader.problems.extend(problem);
            }
            reader.said(section, "file", file).map(TargetSource::File)
        }
    }
}

/// The path of a list.
fn file(value: &Value) -> Result<PathBuf, ConfigProblem> {
    unless(value.text()?.contains("://"), value, URL)?;
    let path = value.place.resolve(value.text()?);
    let is_yaml = path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    unless(is_yaml, value, YAML)?;
    Ok(path)
}

/// The URL of a list.
fn http(value: &Value, has_token: bool) -> Result<Url, ConfigProblem> {
    let is_ours = |url: &Url| {
        let has_login = !url.username().is_empty() || url.password().is_some();
        matches!(url.scheme(), "http" | "https") && url.has_host() && !has_login
    };
    let url = Url::parse(value.text()?).ok().filter(is_ours).ok_or_else(|| value.problem(NOT_HTTP))?;
    let is_near = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    unless(has_token && url.scheme() == "http" && !is_near, value, PLAIN_TOKEN)?;
    Ok(url)
}

impl Targets {
    /// Where the list is.
    pub(super) fn source(&self) -> &TargetSource {
        &self.source
    }

    /// Takes the cache of each target; `taken` has the aliases of other sources, with the setting that names each.
    pub(super) fn each_cache(
        self,
        reader: &mut ConfigReader,
        taken: &HashMap<String, &'static str>,
        mut take: impl FnMut(&mut ConfigReader, TargetCache),
    ) -> Option<TargetList> {
        let content = self.content(reader);
        let (path, content) = reader.told(content)?;
        let (mut count, mut problems) = (0, Vec::new());
        let mut seen = HashMap::<String, Place>::new();
        let read = each(&path, content, |target| {
            count += 1;
            let made = self.cache(&target).and_then(|cache| {
                let alias = cache.alias.as_str();
                let other = match (taken.get(alias), seen.get(alias)) {
                    (None, None) => return Ok(cache),
                    (Some(setting), _) => format!("{setting} has a cache of this name"),
                    (None, Some(other)) => format!("it is also that of the target at {}", other.origin()),
                };
                Err(target.place.problem(format_args!(
                    "the alias of this target is `{alias}`, and {other}; set targets.alias to labels that tell them apart"
                )))
            });
            match made {
                Ok(cache) => {
                    seen.insert(cache.alias.clone(), cache.place.clone());
                    take(reader, cache);
                }
                Err(problem) => problems.push(problem),
            }
        });
        reader.problems.extend(first(problems));
        reader.told(read)?;
        Some(TargetList { count, source: self.source })
    }

    /// The path or the URL of the list, and its text.
    fn content(&self, reader: &mut ConfigReader) -> Result<(PathBuf, String), ConfigProblem> {
        match &self.source {
            TargetSource::File(path) => {
                reader.files.push(path.clone());
                let content = text_file::read_up_to(path, MAX_LIST);
                let cannot =
                    |error| self.place.problem(format_args!("cannot read {}: {error}", path.display()));
                Ok((path.clone(), content.map_err(cannot)?))
            }
            TargetSource::Http(http) => {
                let fetched = reader.fetched.take().filter(|fetched| fetched.from == *http);
                let body = fetched.ok_or_else(|| self.place.problem(NOT_FETCHED))?.body;
                Ok((http.to_string().into(), body.to_string()))
            }
        }
    }

    /// The cache of a target.
    fn cache(&self, target: &Target) -> Result<TargetCache, ConfigProblem> {
        let alias = match &self.alias {
            Some(template) => template::fill(template, "alias", target)
                .map_err(|problem| problem.at_target("the alias", &target.place))?,
            None => target.label("alias").map_or_else(|| alias_of(&target.address), str::to_owned),
        };
        if let Err(error) = Alias::try_from(alias.as_str()) {
            let from =
                if self.alias.is_some() { "targets.alias makes of this target" } else { "this target has" };
            return Err(target.place.problem(format_args!(
                "{from} no valid alias: {error}; set targets.alias to a text with labels, such as \"{{team}}-{{name}}\""
            )));
        }
        let about = format!("cache `{alias}`");
        let table = template::fill_table(&self.cache, target);
        let mut table = table.map_err(|problem| problem.at_target(&about, &target.place))?;
        if keys::alternatives(keys::CACHE, "url").all(|key| table.get(key).is_none()) {
            let value =
                Value { kind: Typed::Text(url(&table, target)), place: self.place.clone(), literal: false };
            table.0.push(TableEntry { key: "url".to_owned(), key_place: self.place.clone(), value });
        }
        Ok(TargetCache { alias, place: target.place.clone(), table })
    }
}

/// The first few of these problems, and one that counts the others.
pub(super) fn first(mut problems: Vec<ConfigProblem>) -> Vec<ConfigProblem> {
    let more = problems.len().saturating_sub(MOST);
    if more > 0 {
        problems.truncate(MOST);
        let last = problems.last().and_then(|problem| problem.place.clone());
        problems.push(ConfigProblem { place: last, what: format!("{more} more targets have problems") });
    }
    problems
}

/// The URL of a target. Without a scheme it gets that of Prometheus' label `__scheme__`, or else that of the backend.
fn url(table: &Table, target: &Target) -> String {
    if address::is_url(&target.address) {
        return target.address.clone();
    }
    let backend = table.get("backend").and_then(|backend| backend.text().ok());
    let scheme = target.label("__scheme__").or(backend).unwrap_or(BackendKind::Redis.name());
    format!("{scheme}://{}", target.address)
}

/// The alias of a target that nothing else names: its host and port, with `-` in place of other characters.
fn alias_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    // Before an `@` is a login, and behind a `?` may be a password: if each has the other, neither is known to end there.
    if rest.split_once('?').is_some_and(|(_, query)| query.contains('@')) {
        return String::new();
    }
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or_default();
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    let parts: Vec<_> = rest.split(|char| !plain(char)).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_made_into_an_alias_without_its_login() {
        for (address, alias) in [
            ("host:6379", "host-6379"),
            ("redis://user:sesame@cache-1.team:6379/0", "cache-1.team-6379-0"),
            ("[::1]:6379", "1-6379"),
            ("redis://cache?password=sesame", "cache"),
            ("memcached://a:11211,b:11211", "a-11211-b-11211"),
            ("://", ""),
            ("redis+unix:///run/redis.sock?password=open@sesame", ""),
            ("redis://user:open?sesame@cache", ""),
            ("redis://user:open@sesame@cache", "cache"),
        ] {
            assert_eq!(alias_of(address), alias);
        }
    }
}
