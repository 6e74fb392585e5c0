//! The settings at the top of the file: what they are if nobody says anything, and what they may be; and how a table of
//! settings is read.

use std::borrow::Cow;
use std::time::Duration;

use humantime::format_duration;

use super::caches::unless;
use super::environment::Environment;
use super::keys::Key;
use super::load::ConfigReader;
use super::place::{ConfigProblem, Origin};
use super::value::{Table, Value};
use super::{Backend, CacheConfig, Config, RedisConfig, RedisServers, access};

const PREFIX: &str = "a prefix is 1 to 64 printable ASCII characters without a space, since any other could \
                      break a protocol";
const INSTANCE: &str = "an instance is called by 1 to 128 letters, digits, `_`, `.`, `:` or `-`; without \
                        this line it is called by the host's name";

/// A table of settings, while it is read.
pub(super) struct Section {
    /// What its values are called by: `access`, `groups.liveness`.
    pub(super) name: Cow<'static, str>,
    pub(super) table: Table,
}

impl ConfigReader {
    /// Everything, from its parts.
    pub(super) fn config(&mut self, flags: &[String], environment: &Environment<'_>) -> Config {
        let default = Config::default();
        let listen = self.listen(flags, default.listen);
        let prefix = self.setting("prefix", default.prefix, prefix);
        let instance = self.instance(environment);
        let timeout = self.duration("timeout", default.timeout, Duration::from_millis(1), 600);
        let max_age = self.duration("max_age", default.max_age, Duration::ZERO, 60);
        let reconnect_every = self.duration("reconnect_every", default.reconnect_every, Duration::ZERO, 3600);
        let dns_recheck = self.duration("dns_recheck", default.dns_recheck, Duration::ZERO, 3600);
        let interval = self.setting("interval", default.interval, interval);
        let drain = self.duration("drain", default.drain, Duration::ZERO, 600);
        let access = self.access(default.access);
        let tls = self.listener_tls();
        let limits = self.limits(default.limits);
        let probes = self.probes(&listen);
        let metrics = self.metrics(&[&*listen, &*probes.listen].concat());
        self.timeout = timeout;
        let caches = self.caches();
        self.problems.extend(self.hash_tag_in_prefix(&prefix, &caches));
        let groups = self.groups(&caches);
        let fleet = self.fleet(&caches, max_age);
        self.notes.extend(note_short_interval(interval, timeout));
        self.notes.extend(access::note_open_token(&access, &listen, tls.as_ref()));
        Config {
            listen,
            prefix,
            instance,
            timeout,
            max_age,
            reconnect_every,
            dns_recheck,
            interval,
            drain,
            access,
            tls,
            limits,
            probes,
            metrics,
            groups,
            fleet,
            caches,
        }
    }

    /// A problem if the prefix would choose the slot of every key in a cluster: of a key, the first `{` with
    /// the next `}` is its hash tag ("Redis cluster specification", Hash tags), and that is the canary's own.
    fn hash_tag_in_prefix(&self, prefix: &str, caches: &[CacheConfig]) -> Option<ConfigProblem> {
        let is_cluster = |cache: &&CacheConfig| {
            matches!(
                &cache.backend,
                Backend::Redis(RedisConfig { servers: RedisServers::Cluster { .. }, .. })
            )
        };
        let value = self.table.get("prefix").filter(|_| prefix.contains('{'))?;
        let cluster = caches.iter().find(is_cluster)?;
        Some(value.problem(format_args!(
            "with `{{` in the prefix, keys could not be spread over the cluster `{}`; leave it out",
            cluster.alias
        )))
    }

    /// The value of a key at the top, or its default; and in case of a problem too, since that is reported.
    pub(super) fn setting<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, ConfigProblem>,
    ) -> T {
        let Some(value) = self.table.get(key) else { return default };
        self.origins.insert(key.to_owned(), value.place.origin());
        let read = read(value);
        self.told(read).unwrap_or(default)
    }

    /// The table of this name at the top, which then has no key that is not known; an empty one if there is none.
    pub(super) fn section(&mut self, name: &'static str, keys: &[Key]) -> Section {
        let table = self.table.take(name).map(Value::into_table);
        let table = table.and_then(|table| self.told(table)).unwrap_or_default();
        self.problems.extend(table.unknown(keys));
        Section { name: Cow::Borrowed(name), table }
    }

    /// What a key of a section says, if it is there and right.
    pub(super) fn said<T>(
        &mut self,
        section: &Section,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, ConfigProblem>,
    ) -> Option<T> {
        let value = section.table.get(key)?;
        self.origins.insert(format!("{}.{key}", section.name), value.place.origin());
        self.told(read(value))
    }

    /// What was read, unless there is a problem with it, which is reported.
    pub(super) fn told<T>(&mut self, read: Result<T, ConfigProblem>) -> Option<T> {
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn instance(&mut self, environment: &Environment<'_>) -> String {
        self.origins.insert("instance".to_owned(), Origin::HostName);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        let host_name = environment.host_name();
        let host_name = host_name.chars().take(128);
        let host_name: String =
            host_name.map(|char| if u8::try_from(char).is_ok_and(fits) { char } else { '-' }).collect();
        let host_name = if host_name.is_empty() { "unknown".to_owned() } else { host_name };
        self.setting("instance", host_name, |value| {
            let text = value.text()?;
            let valid = (1..=128).contains(&text.len()) && text.bytes().all(fits);
            if valid { Ok(text.to_owned()) } else { Err(value.problem(INSTANCE)) }
        })
    }

    fn duration(&mut self, key: &str, default: Duration, least: Duration, most: u64) -> Duration {
        self.setting(key, default, |value| value.duration(key, least, Duration::from_secs(most)))
    }
}

fn prefix(value: &Value) -> Result<String, ConfigProblem> {
    let text = value.text()?;
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err(value.problem(PREFIX)) }
}

/// How often every cache is checked when nobody asks; `0s` for not at all.
fn interval(value: &Value) -> Result<Option<Duration>, ConfigProblem> {
    let interval = value.duration("interval", Duration::ZERO, Duration::MAX)?;
    let fits = (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&interval);
    unless(!interval.is_zero() && !fits, value, "`interval` is from 1s to 1h, or 0s for none")?;
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

fn note_short_interval(interval: Option<Duration>, timeout: Duration) -> Option<String> {
    let [interval, timeout] =
        [interval.filter(|interval| *interval < timeout)?, timeout].map(format_duration);
    Some(format!(
        "interval: {interval} is shorter than the timeout of {timeout}, so that while a cache hangs the next round is due \
         before the last one has ended; give it at least the timeout"
    ))
}
