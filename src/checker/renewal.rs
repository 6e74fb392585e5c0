//! The effect of a reload of the configuration on the checks.
//!
//! An unchanged check goes on with its connections and with its waiting callers. Any other is rebuilt. A record belongs
//! to the name of an entry, so it is kept also if the check is another one: a recovery after a corrected password is a
//! change that a caller may wait for.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{AliasCheck, CheckEntry, Checker};
use crate::alias::Alias;
use crate::cache::Resolver;
use crate::check::MarkerMemories;
use crate::config::{CacheConfig, Config, Fleet};
use crate::outcome::CheckKind;
use crate::record::{Journal, Record};

/// The most checks that are named in a sentence; there may be thousands.
const NAMED: usize = 10;

/// The settings that each check is made with, for every alias alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedSettings {
    prefix: String,
    instance: String,
    timeout: Duration,
    max_age: Duration,
    reconnect_every: Duration,
    dns_recheck: Duration,
    expires_within: Duration,
    /// With the fingerprint of the store.
    fleet: Option<(Fleet, Option<u64>)>,
}

impl SharedSettings {
    pub(super) fn of(config: &Config) -> Self {
        // Without `..`, a new setting does not compile until it stands in one of the two lists.
        #[rustfmt::skip]
        let Config {
            // Each check is made with these.
            prefix, instance, timeout, max_age, reconnect_every, dns_recheck, expires_within, fleet, caches,
            // No check reads these, so that a change of one keeps every check; `slow` is in each cache.
            slow: _,
            listen: _, interval: _, drain: _, access: _, tls: _, limits: _, probes: _, metrics: _, groups: _,
            skips_unknown: _, targets: _, shard: _,
        } = config;
        Self {
            prefix: prefix.clone(),
            instance: instance.clone(),
            timeout: *timeout,
            max_age: *max_age,
            reconnect_every: *reconnect_every,
            dns_recheck: *dns_recheck,
            expires_within: *expires_within,
            fleet: fleet.clone().map(|fleet| {
                let store = caches.iter().find(|cache| cache.alias == fleet.store);
                (fleet, store.map(CacheConfig::fingerprint))
            }),
        }
    }
}

/// The checks before the reload.
#[derive(Default)]
pub(super) struct Earlier<'a> {
    journal: Arc<Journal>,
    names: Arc<Resolver>,
    memories: Arc<MarkerMemories>,
    entries: HashMap<(&'a Alias, CheckKind), &'a CheckEntry>,
    /// `true` if the settings that all checks share are the same now.
    is_alike: bool,
}

impl<'a> Earlier<'a> {
    /// The checks of `checker`, for checks that are made with `shared` now.
    pub(super) fn of(checker: &'a Checker, shared: &SharedSettings) -> Self {
        let entries = checker.entries.iter().map(|entry| (entry.key(), entry));
        Self {
            journal: checker.journal.clone(),
            names: checker.names.clone(),
            memories: checker.memories.clone(),
            entries: entries.collect(),
            is_alike: checker.shared == *shared,
        }
    }

    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The resolver of host names.
    pub(super) fn names(&self) -> &Arc<Resolver> {
        &self.names
    }

    /// The identity markers that are remembered.
    pub(super) fn memories(&self) -> &Arc<MarkerMemories> {
        &self.memories
    }

    /// The record of this entry, or a new one.
    pub(super) fn record(&self, alias: &Alias, kind: CheckKind) -> Arc<Record> {
        let entry = self.entries.get(&(alias, kind));
        entry.map_or_else(|| Arc::new(Record::new(alias, kind, &self.journal)), |entry| entry.record.clone())
    }

    /// The check of this entry, if everything about it is the same.
    pub(super) fn check(&self, alias: &Alias, kind: CheckKind, fingerprint: u64) -> Option<AliasCheck> {
        let entry = self.entries.get(&(alias, kind)).filter(|_| self.is_alike)?;
        (entry.fingerprint == fingerprint).then(|| entry.check.clone())
    }
}

/// The effect of a reload on the checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// The number of checks that are kept unchanged.
    pub kept: usize,
    /// The names of those that were made.
    pub made: Vec<String>,
    /// The names of those that are no more.
    pub gone: Vec<String>,
}

impl Renewal {
    /// The effect of going from the checks of `before` to those of `now`.
    pub(crate) fn between(before: &Checker, now: &Checker) -> Self {
        let earlier: HashMap<_, _> = before.entries.iter().map(|entry| (entry.key(), entry)).collect();
        let is_kept = |entry: &&CheckEntry| {
            earlier.get(&entry.key()).is_some_and(|earlier| earlier.check.is_the_same_as(&entry.check))
        };
        let (kept, made): (Vec<_>, Vec<_>) = now.entries.iter().partition(is_kept);
        let names =
            |entries: Vec<&CheckEntry>| entries.into_iter().map(|entry| entry.record.entry()).collect();
        let still: HashSet<_> = now.entries.iter().map(CheckEntry::key).collect();
        let gone = before.entries.iter().filter(|entry| !still.contains(&entry.key())).collect();
        Self { kept: kept.len(), made: names(made), gone: names(gone) }
    }

    /// `true` if no check was added, rebuilt or removed.
    #[must_use]
    pub(crate) fn is_nothing(&self) -> bool {
        self.made.is_empty() && self.gone.is_empty()
    }
}

impl fmt::Display for Renewal {
    /// `checks kept: 3; rebuilt: main, main.queue; removed: sessions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checks kept: {}", self.kept)?;
        for (what, names) in [("rebuilt", &self.made), ("removed", &self.gone)] {
            if names.is_empty() {
                continue;
            }
            write!(f, "; {what}: {}", names[..names.len().min(NAMED)].join(", "))?;
            if names.len() > NAMED {
                write!(f, " and {} more", names.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::redis_at;
    use crate::config::BreakerConfig;
    use crate::config::checks::{CheckConfig, QueueConfig};

    /// Caches at these ports.
    fn config(caches: &[(&str, u16)]) -> Config {
        let caches = caches.iter().map(|&(alias, port)| redis_at(alias, port));
        Config { caches: caches.collect(), ..Config::default() }
    }

    #[tokio::test]
    async fn a_check_is_kept_if_neither_its_cache_nor_a_setting_of_all_checks_has_changed() {
        let earlier = config(&[("main", 1), ("pages", 2), ("old", 3)]);
        let checker = Checker::new(&earlier).unwrap();
        let between = |config: &Config| Renewal::between(&checker, &checker.renewed(config).unwrap());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let same = between(&earlier);
        assert_eq!(same, Renewal { kept: 3, ..Renewal::default() });
        assert!(same.is_nothing());
        let other = between(&config(&[("main", 1), ("pages", 4), ("new", 5)]));
        assert_eq!(other, Renewal { kept: 1, made: names(&["pages", "new"]), gone: names(&["old"]) });
        assert!(!other.is_nothing());
        let slower = between(&Config { timeout: earlier.timeout * 2, ..earlier.clone() });
        assert_eq!(slower, Renewal { made: names(&["main", "pages", "old"]), ..Renewal::default() });
        let fewer = between(&config(&[("main", 1), ("pages", 2)]));
        assert!(!fewer.is_nothing(), "{fewer}");
    }

    #[tokio::test]
    async fn a_reload_keeps_the_journal_the_resolver_and_the_markers_that_were_seen() {
        let earlier = Checker::new(&config(&[("main", 1)])).unwrap();
        let now = earlier.renewed(&config(&[("other", 2)])).unwrap();
        assert!(Arc::ptr_eq(earlier.journal(), now.journal()));
        assert!(Arc::ptr_eq(&earlier.names, &now.names));
        assert!(Arc::ptr_eq(&earlier.memories, &now.memories));
    }

    #[tokio::test]
    async fn every_check_is_made_again_if_the_store_of_the_fleet_is_another_one() {
        let with = |caches: &[(&str, u16)]| {
            let alias = |name: &str| Alias::try_from(name).unwrap();
            let (lasts, role) = (Duration::from_secs(4), String::new());
            let fleet = Fleet { via: alias("store"), store: alias("store"), lasts, role };
            Config { fleet: Some(fleet), ..config(caches) }
        };
        let checker = Checker::new(&with(&[("main", 1), ("store", 2)])).unwrap();
        let made = |caches| Renewal::between(&checker, &checker.renewed(&with(caches)).unwrap()).made;
        assert_eq!(made(&[("main", 1), ("store", 2)]), [""; 0]);
        assert_eq!(made(&[("main", 3), ("store", 2)]), ["main"]);
        assert_eq!(made(&[("main", 1), ("store", 3)]), ["main", "store"]);
    }

    #[tokio::test]
    async fn a_check_is_made_again_for_its_own_settings_alone() {
        let with = |lock: &str, change: &dyn Fn(&mut CacheConfig)| {
            let mut config = config(&[("main", 1)]);
            let queue = QueueConfig { lock: Some(lock.to_owned()), ..QueueConfig::default() };
            config.caches[0].checks = vec![CheckConfig::Queue(queue)];
            change(&mut config.caches[0]);
            config
        };
        let checker = Checker::new(&with("a", &|_| ())).unwrap();
        let made = |lock: &str, change: &dyn Fn(&mut CacheConfig)| {
            Renewal::between(&checker, &checker.renewed(&with(lock, change)).unwrap()).made
        };
        let time = Duration::from_secs(5);
        assert_eq!(made("a", &|_| ()), [""; 0]);
        assert_eq!(made("b", &|_| ()), ["main.queue"]);
        assert_eq!(made("a", &|cache| cache.slow = Some(time)), ["main"]);
        assert_eq!(made("a", &|cache| cache.expires_within = Some(time)), ["main"]);
        let breaker = BreakerConfig { after: 2, open_for: time };
        assert_eq!(made("a", &|cache| cache.breaker = Some(breaker)), ["main"]);
    }

    #[test]
    fn a_renewal_is_described_in_a_sentence_of_bounded_length() {
        let names = |count: usize| (0..count).map(|number| format!("cache-{number}")).collect();
        let told = |kept, made, gone| Renewal { kept, made: names(made), gone: names(gone) }.to_string();
        assert_eq!(told(3, 0, 0), "checks kept: 3");
        assert_eq!(told(0, 2, 1), "checks kept: 0; rebuilt: cache-0, cache-1; removed: cache-0");
        assert!(told(0, 0, NAMED).ends_with(", cache-9"));
        assert!(told(0, 0, 1000).ends_with("cache-9 and 990 more"));
    }
}
