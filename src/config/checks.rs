//! `[caches.ALIAS.checks.KIND]`: the checks of a cache besides the round trip.

mod clock;
mod efficiency;
pub(in crate::config) mod identity;
pub(in crate::config) mod policy;
mod presets;
mod queue;
pub(in crate::config) mod read;
mod table;
mod visibility;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Backend;
use crate::outcome::{CheckKind, Status};

/// A check of a cache besides the round trip.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum CheckConfig {
    /// Every way into the cache shows the writes and deletions made through the alias.
    Visibility(VisibilityConfig),
    /// Queues in it are drained.
    Queue(QueueConfig),
    /// Clocks in it are in step.
    Clock(ClockConfig),
    /// The cache is of use.
    Efficiency(EfficiencyConfig),
    /// The servers hold the data that they held before.
    Identity(IdentityConfig),
    /// The settings of the servers fit the use.
    Policy(PolicyConfig),
}

/// The limits from which on something is degraded or down. A limit that is not given is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds<T> {
    /// From there on it is degraded.
    pub degraded: Option<T>,
    /// From there on it is down.
    pub down: Option<T>,
}

/// The ways into the cache that must agree, and the time that they have for it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct VisibilityConfig {
    /// The ways besides the alias; at least one.
    pub views: Vec<ViewConfig>,
    /// The time within which each must show a write through the alias; later is degraded.
    pub write_within: Duration,
    /// The time within which each must no longer show a key deleted through the alias; later is down.
    pub delete_within: Duration,
    /// The client's way to spread keys over several memcached servers, for the alias and for each view.
    pub client: Client,
    /// The number of canaries written to each server in a round; at least 1.
    pub canaries: usize,
}

/// A way into a cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewConfig {
    /// Its name: its address or addresses, without credentials.
    pub name: Arc<str>,
    /// The cache at its end: one Redis, or memcached servers that are all named.
    pub backend: Backend,
    /// The client whose way to spread keys it has, if that is another than the alias'.
    pub client: Option<Client>,
}

/// A client's way to spread keys over several memcached servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Client {
    /// As pymemcache's `HashClient`, and so Django's `PyMemcacheCache`: rendezvous hashing with `MurmurHash3`. The order
    /// of the servers does not matter.
    #[default]
    Pymemcache,
    /// As python-memcached: CRC-32, modulo the number of servers in their order.
    PythonMemcached,
    /// As libmemcached and so pylibmc, if nothing else is set: Jenkins' one-at-a-time, modulo the number of servers in
    /// their order.
    Libmemcached,
    /// As pylibmc with the behavior `ketama` or a consistent distribution: a circle of 100 points a server. Points and keys
    /// are hashed by one-at-a-time all the same.
    LibmemcachedKetama,
    /// As pylibmc with the behavior `ketama_weighted`: a circle of about 160 points a server, by MD5.
    LibmemcachedKetamaWeighted,
}

/// The queues that are looked at, and their limits.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub struct QueueConfig {
    /// The queues, in groups with limits of their own; at least one.
    pub groups: Vec<QueueGroup>,
    /// The key of the lock that the consumers hold.
    pub lock: Option<String>,
    /// The time for which the lock may be held while nothing is drained.
    pub lock_within: Duration,
    /// Keys that must exist.
    pub witness: Vec<String>,
}

/// Queues with the same unit and limits.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct QueueGroup {
    /// The name of its table in `queues`; `None` for the table of the check itself.
    pub name: Option<Arc<str>>,
    /// The keys, each with the state of its entries; at least one.
    pub keys: Vec<(QueueState, Keys)>,
    /// `true` if the keys together are one queue, `false` if each is a queue by itself.
    pub summed: bool,
    /// The unit of a score; `None` if a score is no time, but a priority.
    pub unit: Option<Unit>,
    /// The number of entries that wait.
    pub length: Thresholds<u64>,
    /// The time that the oldest entry may have waited, where a score or an id is a time.
    pub age: Thresholds<Duration>,
    /// The number of entries that workers have taken.
    pub taken: Thresholds<u64>,
    /// The number of entries that are for later.
    pub scheduled: Thresholds<u64>,
    /// The number of entries that failed.
    pub failed: Thresholds<u64>,
    /// The number of entries that have been taken for longer than `visibility_timeout`.
    pub lost: Thresholds<u64>,
    /// The time after which a taken entry counts as lost; `None` if no entry does.
    pub visibility_timeout: Option<Duration>,
    /// The length of a partition in relation to the median of its siblings.
    pub skew: Thresholds<f64>,
    /// A partition with fewer entries than this is never judged out of proportion.
    pub skew_floor: u64,
}

named! {
    /// The state of the entries of a key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum QueueState {
        /// They wait for a worker.
        Waiting = "waiting",
        /// A worker has them.
        Taken = "taken",
        /// They are for later.
        Scheduled = "scheduled",
        /// They failed, and nobody tries again.
        Failed = "failed",
        /// They wait, or a worker has them.
        Unfinished = "unfinished",
    }
}

/// One key, or a family of keys with numbers in them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    /// The text before the number; if there is none, the key itself.
    pub before: String,
    /// The numbers.
    pub numbers: Option<RangeInclusive<u32>>,
    /// The text behind the number.
    pub after: String,
}

/// The unit of a clock or a score, since 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds; fractions of them may stand behind a point.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The clocks that are looked at, and their limits.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct ClockConfig {
    /// The key of the sorted set that has a member a partition, whose score is that partition's clock.
    pub partitions: String,
    /// The key of the string that is the global clock.
    pub global: Option<String>,
    /// The number of partitions.
    pub expected: Option<u32>,
    /// The unit of the clocks.
    pub unit: Unit,
    /// The least step of a clock that moves: a minute where seconds are cut off.
    pub resolution: Duration,
    /// The time by which the least of the clocks may be behind now.
    pub lag: Thresholds<Duration>,
    /// The time by which the clocks may be apart.
    pub skew: Thresholds<Duration>,
    /// The number of expected partitions that may be missing.
    pub drought: Thresholds<u32>,
    /// The time for which a partition may stand still while another moves.
    pub standstill: Thresholds<Duration>,
    /// The time by which a clock may go backwards between two looks.
    pub backwards: Thresholds<Duration>,
}

/// The figures of a cache's use that are judged. All figures are kept in any case.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct EfficiencyConfig {
    /// Hits in relation to look-ups; less is worse.
    pub hit_ratio: Thresholds<f64>,
    /// Entries that are thrown out in a second to make room.
    pub evictions_per_second: Thresholds<f64>,
    /// The time for which entries that are thrown out had not been used, where a memcached tells it; less is worse.
    pub evicted_age: Thresholds<Duration>,
    /// Memory in use in relation to the limit.
    pub memory_ratio: Thresholds<f64>,
    /// Connections in relation to the limit.
    pub connections_ratio: Thresholds<f64>,
    /// Entries whose time to live is looked at.
    pub ttl: Option<Ttl>,
}

/// The use of a Redis, by which its settings are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyConfig {
    /// The use.
    pub usage: Usage,
    /// `true` if only a preset of queues tells the use: less is judged, and a server may refuse to tell its settings.
    pub is_implied: bool,
}

named! {
    /// The use of a Redis.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Usage {
        /// Entries may be lost, and there may be any number of them.
        Cache = "cache",
        /// Entries wait for workers.
        Queue = "queue",
        /// Entries are the sessions of users.
        Session = "session",
        /// Entries are locks.
        Lock = "lock",
    }
}

/// A promise about the time to live of some entries, and how it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ttl {
    /// The pattern of the entries, glob-style as in Redis.
    pub pattern: String,
    /// The longest that they may live.
    pub max: Duration,
    /// The most entries that are looked at in a round.
    pub sample: usize,
}

/// The marker by which a server is known again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityConfig {
    /// The number that it must have; without it, the first that is found.
    pub number: Option<u64>,
    /// The time for which a lost marker is reported.
    pub lost_for: Duration,
}

impl CheckConfig {
    /// The kind of the check.
    #[must_use]
    pub fn kind(&self) -> CheckKind {
        match self {
            Self::Visibility(_) => CheckKind::Visibility,
            Self::Queue(_) => CheckKind::Queue,
            Self::Clock(_) => CheckKind::Clock,
            Self::Efficiency(_) => CheckKind::Efficiency,
            Self::Identity(_) => CheckKind::Identity,
            Self::Policy(_) => CheckKind::Policy,
        }
    }

    /// Its views of the cache, if it is a check of them.
    pub(crate) fn views(&self) -> &[ViewConfig] {
        match self {
            Self::Visibility(visibility) => &visibility.views,
            Self::Queue(_) | Self::Clock(_) | Self::Efficiency(_) | Self::Identity(_) | Self::Policy(_) => {
                &[]
            }
        }
    }
}

impl<T> Default for Thresholds<T> {
    /// Not judged.
    fn default() -> Self {
        Self { degraded: None, down: None }
    }
}

impl<T: fmt::Debug> Hash for Thresholds<T> {
    /// By the digits, since a float has no hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        format!("{self:?}").hash(state);
    }
}

impl<T: Copy + PartialOrd> Thresholds<T> {
    /// The status for a value of which more is worse, and the limit that it has reached; `None` below both.
    #[must_use]
    pub fn reached(&self, value: T) -> Option<(Status, T)> {
        self.first(|limit| value >= limit)
    }

    /// The same for a value of which less is worse, and which has fallen below the limit.
    #[must_use]
    pub(crate) fn undercut(&self, value: T) -> Option<(Status, T)> {
        self.first(|limit| value < limit)
    }

    fn first(&self, is_met: impl Fn(T) -> bool) -> Option<(Status, T)> {
        let limits = [(Status::Down, self.down), (Status::Degraded, self.degraded)];
        limits.into_iter().find_map(|(status, limit)| Some((status, limit.filter(|&limit| is_met(limit))?)))
    }
}

impl Client {
    /// Every client.
    pub(crate) const ALL: [Self; 5] = [
        Self::Pymemcache,
        Self::PythonMemcached,
        Self::Libmemcached,
        Self::LibmemcachedKetama,
        Self::LibmemcachedKetamaWeighted,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pymemcache => "pymemcache",
            Self::PythonMemcached => "python-memcached",
            Self::Libmemcached => "libmemcached",
            Self::LibmemcachedKetama => "libmemcached-ketama",
            Self::LibmemcachedKetamaWeighted => "libmemcached-ketama-weighted",
        }
    }
}

impl QueueConfig {
    /// These queues, without a lock.
    #[must_use]
    pub fn of(groups: Vec<QueueGroup>) -> Self {
        Self { groups, lock: None, lock_within: Duration::from_mins(1), witness: Vec::new() }
    }
}

impl QueueGroup {
    /// The default of `skew_floor`.
    pub(super) const SKEW_FLOOR: u64 = 100;

    /// These keys, each a queue by itself, of which nothing is judged yet.
    #[must_use]
    pub fn each(keys: Vec<Keys>) -> Self {
        Self {
            name: None,
            keys: keys.into_iter().map(|keys| (QueueState::Waiting, keys)).collect(),
            summed: false,
            unit: Some(Unit::default()),
            length: Thresholds::default(),
            age: Thresholds::default(),
            taken: Thresholds::default(),
            scheduled: Thresholds::default(),
            failed: Thresholds::default(),
            lost: Thresholds::default(),
            visibility_timeout: None,
            skew: Thresholds::default(),
            skew_floor: Self::SKEW_FLOOR,
        }
    }

    /// The names of its queues: that of the table, or the keys.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let mut names = self.keys.iter().flat_map(|(_, keys)| keys.names());
        match &self.name {
            Some(name) if self.summed => vec![name.to_string()],
            None if self.summed => names.next().into_iter().collect(),
            Some(_) | None => names.collect(),
        }
    }

    /// The keys whose entries have this state.
    pub fn of(&self, state: QueueState) -> impl Iterator<Item = &Keys> {
        self.keys.iter().filter(move |(of, _)| *of == state).map(|(_, keys)| keys)
    }
}

impl ClockConfig {
    /// The clocks in this sorted set, in seconds, of which only one that goes backwards is judged.
    #[must_use]
    pub fn of(partitions: String) -> Self {
        let resolution = Duration::from_secs(1);
        Self {
            partitions,
            global: None,
            expected: None,
            unit: Unit::default(),
            resolution,
            lag: Thresholds::default(),
            skew: Thresholds::default(),
            drought: Thresholds::default(),
            standstill: Thresholds::default(),
            backwards: Thresholds { degraded: Some(resolution), down: None },
        }
    }
}

impl Keys {
    /// One key.
    #[must_use]
    pub fn one(key: &str) -> Self {
        Self { before: key.to_owned(), numbers: None, after: String::new() }
    }

    /// The number of keys.
    #[must_use]
    pub fn many(&self) -> u64 {
        self.numbers.as_ref().map_or(1, |numbers| u64::from(numbers.end() - numbers.start()) + 1)
    }

    /// Each key, in order.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let one = self.numbers.is_none().then(|| self.before.clone());
        let family = self.numbers.clone().into_iter().flatten();
        one.into_iter().chain(family.map(|number| format!("{}{number}{}", self.before, self.after)))
    }
}

impl fmt::Display for Keys {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.numbers {
            None => f.write_str(&self.before),
            Some(numbers) => {
                write!(f, "{}{{{}..{}}}{}", self.before, numbers.start(), numbers.end(), self.after)
            }
        }
    }
}

impl Unit {
    /// The time since 1970 by a clock or score; `None` if the score is no such time.
    #[must_use]
    pub(crate) fn since_epoch(self, score: f64) -> Option<Duration> {
        let seconds = match self {
            Self::Seconds => score,
            Self::Milliseconds => score / 1e3,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The score of a time since 1970.
    #[must_use]
    pub(crate) fn score(self, since_epoch: Duration) -> f64 {
        match self {
            Self::Seconds => since_epoch.as_secs_f64(),
            Self::Milliseconds => since_epoch.as_secs_f64() * 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_limit_that_is_met_counts() {
        let limits = Thresholds { degraded: Some(10), down: Some(20) };
        assert_eq!(
            [9, 10, 19, 20].map(|value| limits.reached(value)),
            [None, Some((Status::Degraded, 10)), Some((Status::Degraded, 10)), Some((Status::Down, 20)),]
        );
        let least = Thresholds { degraded: Some(0.8), down: Some(0.5) };
        assert_eq!(
            [0.8, 0.7, 0.4].map(|value| least.undercut(value)),
            [None, Some((Status::Degraded, 0.8)), Some((Status::Down, 0.5)),]
        );
        assert_eq!(Thresholds::default().reached(9), None);
    }

    #[test]
    fn a_family_has_a_key_for_each_number() {
        let keys = |before: &str, numbers| Keys { before: before.to_owned(), numbers, after: String::new() };
        assert_eq!(keys("b:p", None).names().collect::<Vec<_>>(), ["b:p"]);
        let family = keys("b:p:", Some(8..=10));
        assert_eq!(family.names().collect::<Vec<_>>(), ["b:p:8", "b:p:9", "b:p:10"]);
        assert_eq!(family.to_string(), "b:p:{8..10}");
    }
}
