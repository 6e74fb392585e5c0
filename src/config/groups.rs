//! `[groups.NAME]`: some of the checks under a name, in words that each stand for checks that there are.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use super::cache::Elsewhere;
use super::place::{ConfigProblem, Place};
use super::reader::{ConfigReader, Section};
use super::value::{TableEntry, Value, ValueKind as Typed, nearest};
use super::{Backend, CacheConfig, CheckId, Group, keys, numbered};
use crate::alias::Alias;
use crate::outcome::Skipped;

/// The group that `/livez` asks for.
const LIVENESS: &str = "liveness";

const BAD_NAME: &str = "a group name must have 1 to 64 letters, digits, `_`, `-` or `.`";

/// The meaning of each word in a group: an alias stands for its checks, or those of its target if it forwards, and a
/// check's name for that check.
struct Words<'a> {
    caches: &'a [CacheConfig],
    meanings: HashMap<String, Meaning>,
    /// `true` if a word may stand for checks of another shard, which are not in its meaning.
    has_others: bool,
}

#[derive(Clone, Default)]
struct Meaning {
    checks: BTreeSet<CheckId>,
    /// The caches that are not checked, by their places.
    skipped: BTreeSet<usize>,
}

impl Meaning {
    fn and(mut self, other: &Self) -> Self {
        self.checks.extend(&other.checks);
        self.skipped.extend(&other.skipped);
        self
    }
}

/// The groups, in the order in which they were written.
pub(super) fn read(reader: &mut ConfigReader, caches: &[CacheConfig], elsewhere: &[Elsewhere]) -> Vec<Group> {
    let written = reader.take_table("groups");
    // A cache that could not be read would be missed here, and is no mistake of a group.
    let words = (!written.0.is_empty() && reader.problems.is_empty()).then(|| Words::of(caches, elsewhere));
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
    let mut group = Group { name, include, exclude, checks: Vec::new(), skipped: Vec::new() };
    if let Some(words) = words {
        words.resolve(&mut group);
        reader.notes.extend(note(&group, words));
    }
    Some(group)
}

/// The words of a list, each of which is one of `words`.
fn list(value: &Value, words: Option<&Words<'_>>) -> Result<Vec<String>, ConfigProblem> {
    let known = |(word, place): (&str, &Place)| match words {
        Some(words) if !words.meanings.contains_key(word) => Err(words.unknown(word, place)),
        Some(_) | None => Ok(word.to_owned()),
    };
    value.texts()?.into_iter().map(known).collect()
}

impl<'a> Words<'a> {
    fn of(caches: &'a [CacheConfig], elsewhere: &[Elsewhere]) -> Self {
        let mut words = HashMap::<String, Meaning>::new();
        for Elsewhere { alias, kinds, .. } in elsewhere {
            words.insert(alias.to_string(), Meaning::default());
            words.extend(kinds.iter().map(|kind| (format!("{alias}.{kind}"), Meaning::default())));
        }
        for (id, cache, kind) in numbered(caches) {
            words.entry(cache.alias.to_string()).or_default().checks.insert(id);
            let single = Meaning { checks: BTreeSet::from([id]), ..Meaning::default() };
            words.insert(format!("{}.{kind}", cache.alias), single);
        }
        for (place, cache) in caches.iter().enumerate() {
            if let Backend::Unchecked(_) = &cache.backend {
                let target = cache.forwarding().and_then(|forwarding| words.get(forwarding.end.as_str()));
                let checks = target.map(|target| target.checks.clone()).unwrap_or_default();
                words.insert(cache.alias.to_string(), Meaning { checks, skipped: BTreeSet::from([place]) });
            }
        }
        Self { caches, meanings: words, has_others: !elsewhere.is_empty() }
    }

    /// Finds what a group asks for, now that each of its words is known.
    fn resolve(&self, group: &mut Group) {
        let all = |words: &mut dyn Iterator<Item = &Meaning>| words.fold(Meaning::default(), Meaning::and);
        let named = |words: &[String]| all(&mut words.iter().filter_map(|word| self.meanings.get(word)));
        let included = group.include.as_deref().map_or_else(|| all(&mut self.meanings.values()), named);
        let excluded = named(&group.exclude);
        group.checks = included.checks.difference(&excluded.checks).copied().collect();
        let skipped = included.skipped.difference(&excluded.skipped).map(|place| &self.caches[*place]);
        let skipped = skipped.filter_map(|cache| match &cache.backend {
            Backend::Unchecked(reason) => {
                Some(Skipped { alias: cache.alias.clone(), reason: reason.clone() })
            }
            Backend::Redis(_) | Backend::Memcached(_) => None,
        });
        group.skipped = skipped.collect();
    }

    fn unknown(&self, word: &str, place: &Place) -> ConfigProblem {
        let mut known: Vec<_> = self.meanings.keys().map(String::as_str).collect();
        known.sort_unstable();
        // A file's line is shown, as far as it may be; of a variable nothing else is.
        let called = match place {
            Place::Variable(_) if Alias::try_from(word).is_ok() => format!("is named `{word}`"),
            Place::Variable(_) | Place::File(..) | Place::Flag(_) => "has this name".to_owned(),
        };
        place.problem(match nearest(word, &known) {
            Some(nearest) => format!("no cache or check {called}; did you mean `{nearest}`?"),
            None => format!("no cache or check {called}; known are {}", known.join(", ")),
        })
    }
}

fn no_table(name: &str, place: &Place) -> ConfigProblem {
    place.problem(match place {
        Place::Variable(variable) => {
            format!("this is the name of a group; did you mean {variable}__INCLUDE?")
        }
        Place::File(..) | Place::Flag(_) => {
            format!("a group must be a table; write [groups.{name}] and include = [\"...\"] under it")
        }
    })
}

/// A note on a group: on caches that a liveness probe asks for, or on a group that has no check.
fn note(group: &Group, words: &Words<'_>) -> Option<String> {
    let Group { name, checks, .. } = group;
    match (name == LIVENESS, checks.is_empty()) {
        (true, true) | (false, false) => None,
        (false, true) if words.has_others => None,
        (false, true) => Some(format!("groups.{name}: it contains no check, so it never fails")),
        (true, false) => {
            let asked = numbered(words.caches).filter(|(id, cache, _)| cache.required && checks.contains(id));
            let aliases: BTreeSet<_> = asked.map(|(_, cache, _)| cache.alias.as_str()).collect();
            if aliases.is_empty() {
                return None;
            }
            let aliases = aliases.into_iter().collect::<Vec<_>>().join(", ");
            Some(format!(
                "groups.liveness: it includes {aliases}, but a restart does not repair a cache. If a shared cache goes \
                 down, the kubelet restarts every pod that has it in its liveness probe, all at once and repeatedly, and \
                 CrashLoopBackOff keeps them down for minutes after the cache is back; move it to \
                 groups.readiness, where the pods are only taken out of service until then"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MemcachedConfig;
    use crate::outcome::SkipReason;

    #[test]
    fn a_group_has_its_included_checks_without_the_excluded_ones() {
        let alias = |name: &str| Alias::try_from(name).unwrap();
        let checked = || Backend::Memcached(MemcachedConfig::at([]));
        let caches = [
            ("default", Backend::forwarding_to(alias("main"))),
            ("main", checked()),
            ("local", Backend::Unchecked(SkipReason::LocalMemory)),
            ("other", checked()),
        ];
        let caches = caches.map(|(name, backend)| CacheConfig::new(alias(name), backend));
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let members = |include: Option<&[&str]>, exclude: &[&str]| {
            let (checks, skipped) = (Vec::new(), Vec::new());
            let (name, include, exclude) = ("some".to_owned(), include.map(names), names(exclude));
            let mut group = Group { name, include, exclude, checks, skipped };
            Words::of(&caches, &[]).resolve(&mut group);
            let skipped: Vec<_> = group.skipped.iter().map(|skipped| skipped.alias.to_string()).collect();
            (group.checks.iter().map(|id| id.place()).collect::<Vec<_>>(), skipped.join(" "))
        };
        assert_eq!(members(None, &["main"]), (vec![1], "default local".to_owned()));
        assert_eq!(members(Some(&["default", "local"]), &["local"]), (vec![0], "default".to_owned()));
        assert_eq!(members(Some(&["other.round_trip"]), &[]), (vec![1], String::new()));
        assert_eq!(members(Some(&[]), &[]), (Vec::new(), String::new()));
    }
}
