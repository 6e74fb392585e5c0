//! The output of `config show` and `config check` for the checks besides the round trip.

use std::fmt::Display;
use std::mem;
use std::time::Duration;

use humantime::format_duration;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{TomlLines, key, list, quoted};
use crate::config::checks::{
    CheckConfig, ClockConfig, EfficiencyConfig, IdentityConfig, PolicyConfig, QueueConfig, QueueGroup,
    QueueState, Thresholds, Unit, ViewConfig, VisibilityConfig,
};
use crate::config::{
    Address, Backend, CacheConfig, MASK, MemcachedConfig, Password, RedisConfig, RedisServers, RespVersion,
    Tls,
};
use crate::outcome::CheckKind;

/// The characters of a user or a path that are escaped in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The checks in a few words, such as `queue (17 keys), efficiency`.
pub(super) fn in_short(checks: &[CheckConfig]) -> String {
    let counted = |many: u64, what: &str| format!("{many} {what}{}", if many == 1 { "" } else { "s" });
    let words = checks.iter().map(|check| {
        let kind = check.kind();
        let many = match check {
            CheckConfig::Visibility(visibility) => Some(counted(visibility.views.len() as u64, "view")),
            CheckConfig::Queue(queue) => {
                let keys = queue.groups.iter().flat_map(|group| &group.keys);
                Some(counted(keys.map(|(_, keys)| keys.many()).sum(), "key"))
            }
            CheckConfig::Clock(clock) => clock.expected.map(|many| counted(u64::from(many), "partition")),
            CheckConfig::Efficiency(_) | CheckConfig::Identity(_) => None,
            CheckConfig::Policy(policy) => Some(policy.usage.name().to_owned()),
        };
        many.map_or_else(|| kind.to_string(), |many| format!("{kind} ({many})"))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The lines of one kind of check, under its header.
struct CheckSection<'p, 'a> {
    page: &'p mut TomlLines<'a>,
    header: String,
    /// The prefix of the paths of its values.
    path: String,
}

impl TomlLines<'_> {
    pub(super) fn checks(&mut self, cache: &CacheConfig) {
        for check in &cache.checks {
            let kind = check.kind();
            if let CheckConfig::Policy(PolicyConfig { usage, is_implied }) = check {
                let usage = quoted(usage.name());
                if *is_implied {
                    self.lines.push((format!("# a preset of queues implies use = {usage}"), None));
                } else {
                    self.value("use", usage, &format!("caches.{}.use", cache.alias));
                }
                continue;
            }
            let table = if kind == CheckKind::Identity { kind.to_string() } else { format!("checks.{kind}") };
            let header = format!("caches.{}.{table}", key(cache.alias.as_str()));
            self.header(&header);
            let path = format!("caches.{}.{table}", cache.alias);
            let mut section = CheckSection { page: &mut *self, header, path };
            match check {
                CheckConfig::Visibility(visibility) => section.visibility(visibility, &cache.backend),
                CheckConfig::Queue(queue) => section.queue(queue),
                CheckConfig::Clock(clock) => section.clock(clock),
                CheckConfig::Efficiency(efficiency) => section.efficiency(efficiency),
                CheckConfig::Identity(IdentityConfig { number, lost_for }) => {
                    if let Some(number) = number {
                        section.value("number", quoted(&format!("{number:016x}")));
                    }
                    section.value("lost_for", duration(*lost_for));
                }
                CheckConfig::Policy(_) => {}
            }
        }
    }
}

impl CheckSection<'_, '_> {
    fn value(&mut self, key: &str, value: impl Display) {
        let path = format!("{}.{key}", self.path);
        self.page.value(key, value, &path);
    }

    /// Limits, if there are any, and the rest of their table.
    fn limits<T: Copy>(&mut self, key: &str, limits: Thresholds<T>, show: impl Fn(T) -> String, more: &str) {
        let limit = |name, limit: Option<T>| limit.map(|limit| format!("{name} = {}", show(limit)));
        let limits: Vec<_> =
            [limit("degraded", limits.degraded), limit("down", limits.down)].into_iter().flatten().collect();
        if !limits.is_empty() {
            self.value(key, format_args!("{{ {}{more} }}", limits.join(", ")));
        }
    }

    fn visibility(&mut self, visibility: &VisibilityConfig, alias: &Backend) {
        let VisibilityConfig { views, write_within, delete_within, client, canaries } = visibility;
        let views: Vec<_> = views.iter().map(|view| written(self.page, view, alias)).collect();
        self.value("views", format_args!("[{}]", views.join(", ")));
        self.value("write_within", duration(*write_within));
        self.value("delete_within", duration(*delete_within));
        self.value("client", quoted(client.name()));
        self.value("canaries", canaries);
    }

    fn queue(&mut self, queue: &QueueConfig) {
        let QueueConfig { groups, lock, lock_within, witness } = queue;
        let (own, named): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.name.is_none());
        for group in own {
            self.queues(group);
        }
        if let Some(lock) = lock {
            self.value("lock", quoted(lock));
            self.value("lock_within", duration(*lock_within));
        }
        if !witness.is_empty() {
            self.value("witness", list(witness));
        }
        for group in named {
            let name = group.name.as_deref().unwrap_or_default();
            let path = format!("{}.queues.{name}", self.path);
            self.page.header(&format!("{}.queues.{}", self.header, key(name)));
            CheckSection { page: &mut *self.page, header: String::new(), path }.queues(group);
        }
    }

    fn queues(&mut self, group: &QueueGroup) {
        #[rustfmt::skip]
        let QueueGroup {
            name: _, keys, summed, unit: counts, length, age, taken, scheduled, failed, lost, visibility_timeout, skew,
            skew_floor,
        } = group;
        let number = |number: u64| number.to_string();
        if *summed {
            let of =
                |state: QueueState| Some(group.of(state)).filter(|_| keys.iter().any(|(of, _)| *of == state));
            let states = QueueState::ALL.into_iter().filter_map(|state| Some((state.name(), of(state)?)));
            let states: Vec<_> = states.map(|(name, keys)| format!("{name} = {}", list(keys))).collect();
            self.value("keys", format_args!("{{ {} }}", states.join(", ")));
        } else {
            self.value("keys", list(keys.iter().map(|(_, keys)| keys)));
        }
        self.limits("length", *length, number, "");
        self.limits("age", *age, duration, "");
        self.value("unit", counts.map_or_else(|| quoted("none"), unit));
        self.limits("taken", *taken, number, "");
        self.limits("scheduled", *scheduled, number, "");
        self.limits("failed", *failed, number, "");
        self.limits("lost", *lost, number, "");
        if let Some(timeout) = visibility_timeout {
            self.value("visibility_timeout", duration(*timeout));
        }
        self.limits("skew", *skew, |times| times.to_string(), &format!(", floor = {skew_floor}"));
    }

    fn clock(&mut self, clock: &ClockConfig) {
        #[rustfmt::skip]
        let ClockConfig {
            partitions, global, expected, unit: counts, resolution, lag, skew, drought, standstill, backwards,
        } = clock;
        self.value("partitions", quoted(partitions));
        if let Some(global) = global {
            self.value("global", quoted(global));
        }
        if let Some(expected) = expected {
            self.value("expected", expected);
        }
        self.value("unit", unit(*counts));
        self.value("resolution", duration(*resolution));
        self.limits("lag", *lag, duration, "");
        self.limits("skew", *skew, duration, "");
        self.limits("drought", *drought, |missing| missing.to_string(), "");
        self.limits("standstill", *standstill, duration, "");
        self.limits("backwards", *backwards, duration, "");
    }

    fn efficiency(&mut self, efficiency: &EfficiencyConfig) {
        let EfficiencyConfig {
            hit_ratio,
            evictions_per_second,
            evicted_age,
            memory_ratio,
            connections_ratio,
            ttl,
        } = efficiency;
        self.limits("evicted_age", *evicted_age, duration, "");
        for (key, limits) in [
            ("hit_ratio", hit_ratio),
            ("evictions_per_second", evictions_per_second),
            ("memory_ratio", memory_ratio),
            ("connections_ratio", connections_ratio),
        ] {
            self.limits(key, *limits, |number| number.to_string(), "");
        }
        if let Some(ttl) = ttl {
            let (pattern, max) = (quoted(&ttl.pattern), duration(ttl.max));
            let ttl = format!("{{ pattern = {pattern}, max = {max}, sample = {} }}", ttl.sample);
            self.value("ttl", ttl);
        }
    }
}

fn duration(duration: Duration) -> String {
    quoted(&format_duration(duration).to_string())
}

fn unit(unit: Unit) -> String {
    quoted(match unit {
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
    })
}

/// A view, as it is written.
fn written(page: &mut TomlLines<'_>, view: &ViewConfig, alias: &Backend) -> String {
    match &view.backend {
        Backend::Redis(
            redis @ RedisConfig {
                servers: RedisServers::Shards { shards, sharding: Some(sharding), .. }, ..
            },
        ) => {
            let servers = page.shards(redis, shards, Some(sharding));
            let client = quoted(sharding.client.name());
            format!("{{ servers = {servers}, client = {client} }}")
        }
        _ => quoted(&url(view, alias)),
    }
}

/// The URL of a view, in which a password of its own is masked.
fn url(view: &ViewConfig, alias: &Backend) -> String {
    let same_kind = mem::discriminant(&view.backend) == mem::discriminant(alias);
    let of_alias = if same_kind { Userinfo::at(alias) } else { Userinfo::default() };
    let userinfo = user(&Userinfo::at(&view.backend), &of_alias);
    let scheme = |tls: Option<&Tls>| if tls.is_some() { "s://" } else { "://" };
    match &view.backend {
        Backend::Redis(RedisConfig { servers: RedisServers::Standalone(address), login, tls, .. }) => {
            let database = login.database;
            let protocol = match login.protocol {
                RespVersion::Resp2 => None,
                RespVersion::Resp3 => Some("protocol=3"),
            };
            match address {
                Address::Unix(path) => {
                    let path = path.display().to_string();
                    let path = utf8_percent_encode(&path, ESCAPED);
                    let protocol = protocol.map(|protocol| format!("&{protocol}")).unwrap_or_default();
                    format!("redis+unix://{userinfo}{path}?db={database}{protocol}")
                }
                Address::Tcp { .. } => {
                    let protocol = protocol.map(|protocol| format!("?{protocol}")).unwrap_or_default();
                    format!("redis{}{userinfo}{address}/{database}{protocol}", scheme(tls.as_ref()))
                }
            }
        }
        Backend::Memcached(memcached) => {
            format!("memcached{}{userinfo}{}", scheme(memcached.tls.as_ref()), view.name)
        }
        // A view has none of these backends.
        Backend::Redis(_) | Backend::Unchecked(_) => view.name.to_string(),
    }
}

/// The credentials at some servers.
#[derive(Default)]
struct Userinfo<'a> {
    username: Option<&'a str>,
    password: Option<Password>,
}

impl<'a> Userinfo<'a> {
    fn at(backend: &'a Backend) -> Self {
        match backend {
            Backend::Redis(RedisConfig { login, .. }) => {
                Self { username: login.username.as_deref(), password: login.password.clone() }
            }
            Backend::Memcached(MemcachedConfig { login: Some((username, password)), .. }) => {
                Self { username: Some(username), password: Some(Password::Fixed(password.clone())) }
            }
            Backend::Memcached(_) | Backend::Unchecked(_) => Self::default(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.username == other.username && self.password == other.password
    }
}

/// The user part before the address of a view; empty if the view has the alias's credentials.
fn user(view: &Userinfo<'_>, alias: &Userinfo<'_>) -> String {
    if view.is(alias) {
        return String::new();
    }
    let username = utf8_percent_encode(view.username.unwrap_or_default(), ESCAPED);
    let password = view.password.as_ref().map(|_| format!(":{MASK}")).unwrap_or_default();
    format!("{username}{password}@")
}
