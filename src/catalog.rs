//! The configured aliases, resolved: which are checked, which are skipped and why, and what a request
//! selects.

use std::collections::HashMap;
use std::ops::Range;

use crate::alias::Alias;
use crate::config::{Backend, CacheConfig, Group, checks};
use crate::outcome::{CheckKind, SkipReason, Skipped};

/// Every configured alias with its checks, in the configured order.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    positions: HashMap<Alias, usize>,
}

/// What becomes of one alias.
#[derive(Debug)]
enum CatalogEntry {
    /// It is checked; the numbers are the places of its checks: the round trip, and then those of these kinds.
    Checked { alias: Alias, checks: Range<usize>, others: Box<[CheckKind]> },
    /// It is not checked; one that forwards to a checked alias has the places of its target's checks.
    Skipped { skipped: Skipped, target: Option<Range<usize>> },
}

/// Which checks a request asks for, and which of the aliases that it asked for are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Places among the checks, each at most once, in the configured order.
    pub checks: Vec<usize>,
    /// The requested aliases that are not checked.
    pub skipped: Vec<Skipped>,
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

    /// Asks also for what `other` asks for.
    pub fn add(&mut self, other: Self) {
        self.checks.extend(other.checks);
        self.checks.sort_unstable();
        self.checks.dedup();
        self.skipped.extend(other.skipped);
    }
}

impl Catalog {
    /// Resolves the configured caches. What is checked is numbered in the configured order.
    #[must_use]
    pub fn new(caches: &[CacheConfig]) -> Self {
        let backends: HashMap<&Alias, &Backend> =
            caches.iter().map(|cache| (&cache.alias, &cache.backend)).collect();
        let mut next = 0;
        let places: HashMap<&Alias, Range<usize>> = caches
            .iter()
            .filter(|cache| skip_reason(&cache.backend, &backends).is_none())
            .map(|cache| {
                // The round trip, and what is checked besides.
                let checks = next..next + 1 + cache.checks.len();
                next = checks.end;
                (&cache.alias, checks)
            })
            .collect();
        let entries = caches
            .iter()
            .map(|cache| match skip_reason(&cache.backend, &backends) {
                None => {
                    let (alias, checks) = (cache.alias.clone(), places[&cache.alias].clone());
                    let others = cache.checks.iter().map(checks::CheckConfig::kind).collect();
                    CatalogEntry::Checked { alias, checks, others }
                }
                Some(reason) => {
                    let target = match &reason {
                        SkipReason::Forwards { to } => places.get(to).cloned(),
                        SkipReason::LocalMemory | SkipReason::NoServer { .. } => None,
                    };
                    CatalogEntry::Skipped { skipped: Skipped { alias: cache.alias.clone(), reason }, target }
                }
            })
            .collect();
        let positions =
            caches.iter().enumerate().map(|(place, cache)| (cache.alias.clone(), place)).collect();
        Self { entries, positions }
    }

    /// The aliases that are checked, in order.
    pub fn checked(&self) -> impl Iterator<Item = &Alias> {
        self.entries.iter().filter_map(|entry| match entry {
            CatalogEntry::Checked { alias, .. } => Some(alias),
            CatalogEntry::Skipped { .. } => None,
        })
    }

    /// Those of them that have a check in this selection.
    pub fn selected(&self, selection: &Selection) -> impl Iterator<Item = &Alias> {
        self.entries.iter().filter_map(|entry| match entry {
            CatalogEntry::Checked { alias, checks, .. } => {
                selection.checks.iter().any(|check| checks.contains(check)).then_some(alias)
            }
            CatalogEntry::Skipped { .. } => None,
        })
    }

    /// Every alias, in the configured order.
    pub fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.entries.iter().map(|entry| match entry {
            CatalogEntry::Checked { alias, .. }
            | CatalogEntry::Skipped { skipped: Skipped { alias, .. }, .. } => alias,
        })
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

    /// The checks that a group selects.
    #[must_use]
    pub fn group(&self, group: &Group) -> Selection {
        let named = |names: &[String]| {
            // The configuration has found that each of them is there.
            self.named(names.iter().map(String::as_str)).unwrap_or_default()
        };
        let included = group.include.as_deref().map_or_else(|| self.all(), named);
        included.without(&named(&group.exclude))
    }

    fn entry(&self, alias: &str) -> Option<&CatalogEntry> {
        let alias = Alias::try_from(alias).ok()?;
        self.positions.get(&alias).map(|&place| &self.entries[place])
    }

    /// The place of the check that is called by its alias and its kind.
    fn check(&self, name: &str) -> Option<usize> {
        let (alias, kind) = name.rsplit_once('.')?;
        match self.entry(alias)? {
            CatalogEntry::Checked { checks, others, .. } => {
                let mut kinds = std::iter::once(&CheckKind::RoundTrip).chain(others);
                Some(checks.start + kinds.position(|known| known.name() == kind)?)
            }
            CatalogEntry::Skipped { .. } => None,
        }
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

/// What these entries stand for, and these single checks.
fn choose<'a>(entries: impl IntoIterator<Item = &'a CatalogEntry>, checks: Vec<usize>) -> Selection {
    let mut selection = Selection { checks, skipped: Vec::new() };
    for entry in entries {
        match entry {
            CatalogEntry::Checked { checks, .. } => selection.checks.extend(checks.clone()),
            CatalogEntry::Skipped { skipped, target } => {
                selection.skipped.push(skipped.clone());
                selection.checks.extend(target.clone().into_iter().flatten());
            }
        }
    }
    selection.checks.sort_unstable();
    selection.checks.dedup();
    selection
}

/// Why a backend is not checked, or `None` if it is. A forwarding one is followed to the end of its chain,
/// which the configuration has found to exist and to be no loop.
fn skip_reason(backend: &Backend, backends: &HashMap<&Alias, &Backend>) -> Option<SkipReason> {
    match backend {
        Backend::Redis(_) | Backend::Memcached(_) => None,
        Backend::LocalMemory => Some(SkipReason::LocalMemory),
        Backend::NoServer { kind } => Some(SkipReason::NoServer { kind }),
        Backend::Forwarding { to } => {
            let mut end = to;
            while let Some(Backend::Forwarding { to: next }) = backends.get(end) {
                end = next;
            }
            Some(SkipReason::Forwards { to: end.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MemcachedConfig;

    fn alias(name: &str) -> Alias {
        Alias::try_from(name).unwrap()
    }

    fn catalog() -> Catalog {
        let forwarding = |to| Backend::Forwarding { to: alias(to) };
        let checked = || Backend::Memcached(MemcachedConfig::at([]));
        let caches = [
            ("default", forwarding("again")),
            ("main", checked()),
            ("again", forwarding("main")),
            ("local", Backend::LocalMemory),
            ("to-local", forwarding("local")),
            // A name is only a name.
            ("forwarded_backend", checked()),
        ];
        let caches = caches.map(|(name, backend)| CacheConfig::new(alias(name), backend));
        Catalog::new(&caches)
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
        assert_eq!(all.checks, [0, 1]);
        assert_eq!(
            all.skipped,
            [
                skipped("default", SkipReason::Forwards { to: alias("main") }),
                skipped("again", SkipReason::Forwards { to: alias("main") }),
                skipped("local", SkipReason::LocalMemory),
                skipped("to-local", SkipReason::Forwards { to: alias("local") }),
            ]
        );
    }

    #[test]
    fn a_forwarding_alias_selects_the_check_at_the_end_of_its_chain() {
        let selection = catalog().named(["default", "main"]).unwrap();
        assert_eq!(selection.checks, [0]);
        assert_eq!(selection.skipped, [skipped("default", SkipReason::Forwards { to: alias("main") })]);
        assert_eq!(catalog().named(["to-local"]).unwrap().checks, [0; 0]);
    }

    #[test]
    fn a_single_check_is_called_by_its_alias_and_its_kind() {
        let checked = || Backend::Memcached(MemcachedConfig::at([]));
        let queue = checks::CheckConfig::Queue(checks::QueueConfig::of(Vec::new()));
        let main = CacheConfig { checks: vec![queue], ..CacheConfig::new(alias("main"), checked()) };
        let catalog = Catalog::new(&[CacheConfig::new(alias("a.queue"), checked()), main]);
        let checks = |names: &[&'static str]| catalog.named(names.iter().copied()).map(|named| named.checks);
        assert_eq!(checks(&["main"]), Ok(vec![1, 2]));
        assert_eq!(checks(&["main.queue"]), Ok(vec![2]));
        assert_eq!(checks(&["main.round_trip"]), Ok(vec![1]));
        assert_eq!(checks(&["main.queue", "a.queue", "main"]), Ok(vec![0, 1, 2]));
        assert_eq!(checks(&["main.clock"]), Err("main.clock"));
        assert_eq!(checks(&["a.queue.queue"]), Err("a.queue.queue"));
    }

    #[test]
    fn a_group_is_what_it_includes_less_what_it_excludes() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let group = |include: Option<&[&str]>, exclude: &[&str]| {
            let group =
                Group { name: "some".to_owned(), include: include.map(names), exclude: names(exclude) };
            let Selection { checks, skipped } = catalog().group(&group);
            let skipped: Vec<_> = skipped.iter().map(|skipped| skipped.alias.to_string()).collect();
            (checks, skipped.join(" "))
        };
        assert_eq!(group(None, &["main"]), (vec![1], "default again local to-local".to_owned()));
        assert_eq!(group(Some(&["default", "local"]), &["local"]), (vec![0], "default".to_owned()));
        assert_eq!(group(Some(&[]), &[]), (Vec::new(), String::new()));
    }

    #[test]
    fn what_is_in_another_selection_can_be_kept_or_left_out() {
        let all = catalog().all();
        let some = catalog().named(["default", "local"]).unwrap();
        let names = |selection: &Selection| {
            let skipped = selection.skipped.iter().map(|skipped| skipped.alias.to_string());
            (selection.checks.clone(), skipped.collect::<Vec<_>>().join(" "))
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
