//! `[groups.NAME]`: some of the checks under a name, in words that each stand for checks that there are.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use super::place::{ConfigProblem, Place};
use super::reader::{ConfigReader, Section};
use super::value::{TableEntry, Value, ValueKind as Typed, nearest};
use super::{Backend, CacheConfig, Group, keys};
use crate::alias::Alias;
use crate::outcome::CheckKind;

/// The group that `/livez` asks for.
const LIVENESS: &str = "liveness";

const BAD_NAME: &str = "a group is called by 1 to 64 letters, digits, `_`, `-` or `.`";

/// What each word in a group stands for: an alias for its checks, those of its target if it forwards, and the name of
/// a check for that one. A check is its alias and its kind.
struct Words<'a>(HashMap<String, Vec<(&'a Alias, CheckKind)>>);

/// The groups, in the order in which they were written.
pub(super) fn read(reader: &mut ConfigReader, caches: &[CacheConfig]) -> Vec<Group> {
    let written = reader.take_table("groups");
    // A cache that could not be read would be missed here, and is no mistake of a group.
    let words = (!written.0.is_empty() && reader.problems.is_empty()).then(|| Words::of(caches));
    written.0.into_iter().filter_map(|entry| group(reader, entry, words.as_ref())).collect()
}

fn group(reader: &mut ConfigReader, entry: TableEntry, words: Option<&Words<'_>>) -> Option<Group> {
    let TableEntry { key: name, key_place, value } = entry;
    if Alias::try_from(name.as_str()).is_err() {
        reader.problems.push(key_place.problem(BAD_NAME));
        return None;
    }
    let Typed::Table(table) = value.kind else {
        reader.problems.push(no_table(&name, &value.place));
        return None;
    };
    reader.problems.extend(table.unknown(keys::GROUP));
    let section = Section { name: Cow::Owned(format!("groups.{name}")), table };
    let read = |value: &Value| list(value, words);
    let include = reader.said(&section, "include", read);
    let exclude = reader.said(&section, "exclude", read).unwrap_or_default();
    let group = Group { name, include, exclude };
    reader.notes.extend(words.and_then(|words| note(&group, words)));
    Some(group)
}

/// The words of a list, each of which is one of `words`.
fn list(value: &Value, words: Option<&Words<'_>>) -> Result<Vec<String>, ConfigProblem> {
    let known = |(word, place): (&str, &Place)| match words {
        Some(words) if !words.0.contains_key(word) => Err(words.unknown(word, place)),
        Some(_) | None => Ok(word.to_owned()),
    };
    value.texts()?.into_iter().map(known).collect()
}

impl<'a> Words<'a> {
    fn of(caches: &'a [CacheConfig]) -> Self {
        let by_alias: HashMap<&Alias, &CacheConfig> =
            caches.iter().map(|cache| (&cache.alias, cache)).collect();
        let mut words = HashMap::new();
        for cache in caches {
            // No chain is a loop: that was looked at with the caches.
            let mut end = cache;
            while let Backend::Forwarding { to } = &end.backend
                && let Some(target) = by_alias.get(to)
            {
                end = target;
            }
            let checks = checks(end);
            if std::ptr::eq(cache, end) {
                words.extend(
                    checks.iter().map(|&(alias, kind)| (format!("{alias}.{kind}"), vec![(alias, kind)])),
                );
            }
            words.insert(cache.alias.to_string(), checks);
        }
        Self(words)
    }

    /// The checks of a group, in order.
    fn checks(&self, group: &Group) -> BTreeSet<(&'a Alias, CheckKind)> {
        let of = |words: &[String]| -> BTreeSet<_> {
            words.iter().filter_map(|word| self.0.get(word)).flatten().copied().collect()
        };
        let included = match &group.include {
            Some(include) => of(include),
            None => self.0.values().flatten().copied().collect(),
        };
        &included - &of(&group.exclude)
    }

    fn unknown(&self, word: &str, place: &Place) -> ConfigProblem {
        let mut known: Vec<_> = self.0.keys().map(String::as_str).collect();
        known.sort_unstable();
        // A file's line is shown, as far as it may be; of a variable nothing else is.
        let called = match place {
            Place::Variable(_) if Alias::try_from(word).is_ok() => format!("called `{word}`"),
            Place::Variable(_) | Place::File(..) | Place::Flag(_) => "called that".to_owned(),
        };
        place.problem(match nearest(word, &known) {
            Some(nearest) => format!("no cache or check is {called}; did you mean `{nearest}`?"),
            None => format!("no cache or check is {called}; there are {}", known.join(", ")),
        })
    }
}

/// Everything that is checked of a cache.
pub(super) fn checks(cache: &CacheConfig) -> Vec<(&Alias, CheckKind)> {
    match &cache.backend {
        Backend::Redis(_) | Backend::Memcached(_) => {
            let others = cache.checks.iter().map(super::checks::CheckConfig::kind);
            std::iter::once(CheckKind::RoundTrip).chain(others).map(|kind| (&cache.alias, kind)).collect()
        }
        Backend::LocalMemory | Backend::Forwarding { .. } | Backend::NoServer { .. } => Vec::new(),
    }
}

fn no_table(name: &str, place: &Place) -> ConfigProblem {
    place.problem(match place {
        Place::Variable(variable) => {
            format!("this is the name of a group; did you mean {variable}__INCLUDE?")
        }
        Place::File(..) | Place::Flag(_) => {
            format!("a group is a table; write [groups.{name}] and include = [\"...\"] under it")
        }
    })
}

/// What is worth a look in a group: caches that a liveness probe asks for, and one that nothing is in.
fn note(group: &Group, words: &Words<'_>) -> Option<String> {
    let checks = words.checks(group);
    let name = &group.name;
    match (name == LIVENESS, checks.is_empty()) {
        (true, true) | (false, false) => None,
        (false, true) => Some(format!("groups.{name}: nothing that is checked is in it, so it never fails")),
        (true, false) => {
            let aliases: BTreeSet<_> = checks.into_iter().map(|(alias, _)| alias.as_str()).collect();
            let aliases = aliases.into_iter().collect::<Vec<_>>().join(", ");
            Some(format!(
                "groups.liveness: it asks {aliases}, and a restart mends no cache. When a cache that pods share goes \
                 down, the kubelet restarts every pod that has it in its liveness, all at once and over and over, and \
                 CrashLoopBackOff keeps them down for minutes after the cache is back; in groups.readiness the pods \
                 would only be taken out of service until then"
            ))
        }
    }
}
