//! The configured aliases, resolved: their checks, the reasons for skipping some, and the selection of a request.

use std::collections::HashMap;

use crate::alias::Alias;
use crate::config::{Backend, CacheConfig, CheckId, Group, numbered};
use crate::outcome::{CheckKind, SkipReason, Skipped};

/// Every configured alias with its checks, in the configured order.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    positions: HashMap<Alias, usize>,
}

/// One alias.
#[derive(Debug)]
struct CatalogEntry {
    alias: Alias,
    /// Its checks, the round trip first; those at the end of the chain if it forwards.
    checks: Vec<(CheckKind, CheckId)>,
    /// The reason for which it is not checked itself.
    skipped: Option<SkipReason>,
}

/// The checks that a request asks for, and the skipped ones among its aliases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The checks, each at most once, in the configured order.
    pub checks: Vec<CheckId>,
    /// The requested aliases that are not checked.
    pub skipped: Vec<Skipped>,
}

impl From<&Group> for Selection {
    fn from(group: &Group) -> Self {
        Self { checks: group.checks.clone(), skipped: group.skipped.clone() }
    }
}

impl Selection {
    /// `true` if it selects nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.skipped.is_empty()
    }

    /// The part of it that `other` selects, too.
    #[must_use]
    pub fn within(mut self, other: &Self) -> Self {
        // They are in order.
        self.checks.retain(|check| other.checks.binary_search(check).is_ok());
        self.skipped.retain(|skipped| other.skipped.contains(skipped));
        self
    }

    /// The part of it that `other` does not select.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.checks.retain(|check| other.checks.binary_search(check).is_err());
        rest.skipped.retain(|skipped| !other.skipped.contains(skipped));
        rest
    }

    /// Asks also for everything in `other`.
    pub fn add(&mut self, other: Self) {
        self.checks.extend(other.checks);
        self.checks.sort_unstable();
        self.checks.dedup();
        self.skipped.extend(other.skipped);
    }
}

impl Catalog {
    /// Resolves the configured caches.
    #[must_use]
    pub fn new(caches: &[CacheConfig]) -> Self {
        let mut checks = HashMap::<&Alias, Vec<_>>::new();
        for (id, cache, kind) in numbered(caches) {
            checks.entry(&cache.alias).or_default().push((kind, id));
        }
        let entries = caches.iter().map(|cache| {
            let skipped = match &cache.backend {
                Backend::Redis(_) | Backend::Memcached(_) => None,
                Backend::Unchecked(reason) => Some(reason.clone()),
            };
            let checked = cache.forwarding().map_or(&cache.alias, |forwarding| &forwarding.end);
            let checks = checks.get(checked).cloned().unwrap_or_default();
            CatalogEntry { alias: cache.alias.clone(), checks, skipped }
        });
        let positions = caches.iter().enumerate().map(|(place, cache)| (cache.alias.clone(), place));
        Self { entries: entries.collect(), positions: positions.collect() }
    }

    fn checked_entries(&self) -> impl Iterator<Item = &CatalogEntry> {
        self.entries.iter().filter(|entry| entry.skipped.is_none())
    }

    /// The aliases that are checked, in order.
    pub fn checked(&self) -> impl Iterator<Item = &Alias> {
        self.checked_entries().map(|entry| &entry.alias)
    }

    /// Those of them that have a check in this selection.
    pub fn selected(&self, selection: &Selection) -> impl Iterator<Item = &Alias> {
        // They are in order.
        let is_selected = |entry: &&CatalogEntry| {
            entry.checks.iter().any(|(_, id)| selection.checks.binary_search(id).is_ok())
        };
        self.checked_entries().filter(is_selected).map(|entry| &entry.alias)
    }

    /// Every alias, in the configured order.
    pub fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.entries.iter().map(|entry| &entry.alias)
    }

    /// Everything: each backend once, however many aliases forward to it.
    #[must_use]
    pub fn all(&self) -> Selection {
        choose(self.entries.iter(), Vec::new())
    }

    /// Some aliases, or single checks of one, such as `main.queue` or `main.round_trip`; an alias that forwards selects
    /// its target's checks.
    ///
    /// A name that is neither is returned as the error.
    pub fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Selection, &'a str> {
        let (mut entries, mut single) = (Vec::new(), Vec::new());
        for name in names {
            match (self.entry(name), self.check(name)) {
                (Some(entry), _) => entries.push(entry),
                (None, Some(check)) => single.push(check),
                (None, None) => return Err(name),
            }
        }
        Ok(choose(entries, single))
    }

    fn entry(&self, alias: &str) -> Option<&CatalogEntry> {
        let alias = Alias::try_from(alias).ok()?;
        self.positions.get(&alias).map(|&place| &self.entries[place])
    }

    /// The check that is named by its alias and its kind.
    fn check(&self, name: &str) -> Option<CheckId> {
        let (alias, kind) = name.rsplit_once('.')?;
        let entry = self.entry(alias).filter(|entry| entry.skipped.is_none())?;
        entry.checks.iter().find_map(|(known, id)| (known.name() == kind).then_some(*id))
    }

    /// The selection named on a command line: these aliases, or everything if `names` is empty. The error is a sentence
    /// that lists the configured names.
    pub fn select(&self, names: &[String]) -> Result<Selection, String> {
        if names.is_empty() {
            return Ok(self.all());
        }
        self.named(names.iter().map(String::as_str)).map_err(|unknown| {
            let known: Vec<_> = self.aliases().map(ToString::to_string).collect();
            format!("no cache is named `{unknown}`; the configured ones are {}", known.join(", "))
        })
    }
}

/// The selection of these entries, and of these single checks.
fn choose<'a>(entries: impl IntoIterator<Item = &'a CatalogEntry>, checks: Vec<CheckId>) -> Selection {
    let mut selection = Selection { checks, skipped: Vec::new() };
    for CatalogEntry { alias, checks, skipped } in entries {
        selection.checks.extend(checks.iter().map(|(_, id)| id));
        let skipped = skipped.clone().map(|reason| Skipped { alias: alias.clone(), reason });
        selection.skipped.extend(skipped);
    }
    selection.checks.sort_unstable();
    selection.checks.dedup();
    selection
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MemcachedConfig, checks};
    use crate::outcome::Forwarding;

    fn alias(name: &str) -> Alias {
        Alias::try_from(name).unwrap()
    }

    fn catalog() -> Catalog {
        let forwarding = |to, end| Backend::Unchecked(forwards(to, end));
        let checked = || Backend::Memcached(MemcachedConfig::at([]));
        let caches = [
            ("default", forwarding("again", "main")),
            ("main", checked()),
            ("again", forwarding("main", "main")),
            ("local", Backend::Unchecked(SkipReason::LocalMemory)),
            ("to-local", forwarding("local", "local")),
            // A name is only a name.
            ("forwarded_backend", checked()),
        ];
        let caches = caches.map(|(name, backend)| CacheConfig::new(alias(name), backend));
        Catalog::new(&caches)
    }

    fn forwards(to: &str, end: &str) -> SkipReason {
        SkipReason::Forwards(Forwarding { to: alias(to), end: alias(end) })
    }

    fn places(selection: &Selection) -> Vec<usize> {
        selection.checks.iter().map(|id| id.place()).collect()
    }

    fn skipped(name: &str, reason: SkipReason) -> Skipped {
        Skipped { alias: alias(name), reason }
    }

    #[test]
    fn everything_has_each_backend_once_however_many_aliases_forward_to_it() {
        let catalog = catalog();
        let checked: Vec<_> = catalog.checked().map(Alias::as_str).collect();
        assert_eq!(checked, ["main", "forwarded_backend"]);
        let all = catalog.all();
        assert_eq!(places(&all), [0, 1]);
        assert_eq!(
            all.skipped,
            [
                skipped("default", forwards("again", "main")),
                skipped("again", forwards("main", "main")),
                skipped("local", SkipReason::LocalMemory),
                skipped("to-local", forwards("local", "local")),
            ]
        );
    }

    #[test]
    fn a_forwarding_alias_selects_the_check_at_the_end_of_its_chain() {
        let selection = catalog().named(["default", "main"]).unwrap();
        assert_eq!(places(&selection), [0]);
        assert_eq!(selection.skipped, [skipped("default", forwards("again", "main"))]);
        assert!(catalog().named(["to-local"]).unwrap().checks.is_empty());
    }

    #[test]
    fn a_single_check_is_named_by_its_alias_and_its_kind() {
        let checked = || Backend::Memcached(MemcachedConfig::at([]));
        let queue = checks::CheckConfig::Queue(checks::QueueConfig::of(Vec::new()));
        let main = CacheConfig { checks: vec![queue], ..CacheConfig::new(alias("main"), checked()) };
        let catalog = Catalog::new(&[CacheConfig::new(alias("a.queue"), checked()), main]);
        let checks =
            |names: &[&'static str]| catalog.named(names.iter().copied()).map(|named| places(&named));
        assert_eq!(checks(&["main"]), Ok(vec![1, 2]));
        assert_eq!(checks(&["main.queue"]), Ok(vec![2]));
        assert_eq!(checks(&["main.round_trip"]), Ok(vec![1]));
        assert_eq!(checks(&["main.queue", "a.queue", "main"]), Ok(vec![0, 1, 2]));
        assert_eq!(checks(&["main.clock"]), Err("main.clock"));
        assert_eq!(checks(&["a.queue.queue"]), Err("a.queue.queue"));
    }

    #[test]
    fn the_checks_of_another_selection_can_be_kept_or_left_out() {
        let all = catalog().all();
        let some = catalog().named(["default", "local"]).unwrap();
        let names = |selection: &Selection| {
            let skipped = selection.skipped.iter().map(|skipped| skipped.alias.to_string());
            (places(selection), skipped.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(&all.without(&some)), (vec![1], "again to-local".to_owned()));
        assert_eq!(names(&all.clone().within(&some)), (vec![0], "default local".to_owned()));
        assert!(all.without(&all).is_empty());
        let mut added = catalog().named(["forwarded_backend", "local"]).unwrap();
        added.add(some.without(&added));
        assert_eq!(names(&added), (vec![0, 1], "local default".to_owned()));
    }

    #[test]
    fn an_alias_that_is_not_configured_is_named() {
        assert_eq!(catalog().named(["main", "mian"]), Err("mian"));
    }
}
