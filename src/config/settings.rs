//! The settings at the top of the file: their defaults and their bounds.

use std::time::Duration;

use humantime::format_duration;

use super::place::{ConfigProblem, Origin};
use super::reader::ConfigReader;
use super::value::{Value, unless};
use super::{
    Backend, CacheConfig, Config, RedisConfig, RedisServers, access, cache, fleet, groups, listeners, shard,
    targets,
};

const PREFIX: &str = "a prefix must have 1 to 64 printable ASCII characters without spaces, because others can \
                      break the protocol of a cache";
const INSTANCE: &str = "an instance name must have 1 to 128 letters, digits, `_`, `.`, `:` or `-`; without \
                        this setting, it is the host name";

/// Everything, from its parts.
pub(super) fn read(reader: &mut ConfigReader, flags: &[String], host_name: &str) -> Config {
    let default = Config::default();
    let listen = listeners::main(reader, flags, default.listen);
    let prefix = reader.setting("prefix", default.prefix, prefix);
    let instance = instance(reader, host_name);
    let timeout = duration(reader, "timeout", default.timeout, Duration::from_millis(1), 600);
    let max_age = duration(reader, "max_age", default.max_age, Duration::ZERO, 60);
    let reconnect_every = duration(reader, "reconnect_every", default.reconnect_every, Duration::ZERO, 3600);
    let dns_recheck = duration(reader, "dns_recheck", default.dns_recheck, Duration::ZERO, 3600);
    let interval = reader.setting("interval", default.interval, interval);
    let expires_within = reader.setting("expires_within", default.expires_within, cache::expiry::within);
    let drain = duration(reader, "drain", default.drain, Duration::ZERO, 600);
    let access = access::read(reader, default.access);
    let tls = listeners::own_tls(reader);
    let limits = listeners::limits(reader, default.limits);
    let probes = listeners::probes(reader, &listen);
    let metrics = listeners::metrics(reader, &[&*listen, &*probes.listen].concat());
    reader.timeout = timeout;
    reader.slow = reader.setting("slow", default.slow, |value| cache::slow::read(value, timeout));
    reader.skips_unknown = reader.setting("django_unknown", default.skips_unknown, |value| {
        value.word("choice", &[("skip", true), ("error", false)])
    });
    let mut shard = shard::read(reader);
    let targets = targets::read(reader);
    let cache::Caches { own: caches, elsewhere, targets } = cache::read(reader, targets, shard.as_ref());
    if let Some(shard) = &mut shard {
        shard.fill(caches.len(), &elsewhere);
    }
    let hash_tag = hash_tag_in_prefix(reader, &prefix, &caches);
    reader.problems.extend(hash_tag);
    let groups = groups::read(reader, &caches, &elsewhere);
    let fleet = fleet::read(reader, &caches, max_age);
    reader.notes.extend(note_short_interval(interval, timeout));
    reader.notes.extend(access::note_open_token(&access, &listen, tls.as_ref()));
    Config {
        listen,
        prefix,
        instance,
        timeout,
        slow: reader.slow,
        max_age,
        reconnect_every,
        dns_recheck,
        interval,
        expires_within,
        drain,
        access,
        tls,
        limits,
        probes,
        metrics,
        groups,
        skips_unknown: reader.skips_unknown,
        fleet,
        targets,
        shard,
        caches,
    }
}

/// A problem if the prefix would choose the slot of every key in a cluster: of a key, the first `{` with
/// the next `}` is its hash tag ("Redis cluster specification", Hash tags), and that is the canary's own.
fn hash_tag_in_prefix(reader: &ConfigReader, prefix: &str, caches: &[CacheConfig]) -> Option<ConfigProblem> {
    let is_cluster = |cache: &&CacheConfig| {
        matches!(&cache.backend, Backend::Redis(RedisConfig { servers: RedisServers::Cluster { .. }, .. }))
    };
    let value = reader.table.get("prefix").filter(|_| prefix.contains('{'))?;
    let cluster = caches.iter().find(is_cluster)?;
    Some(value.problem(format_args!(
        "`{{` in the prefix prevents spreading keys over the cluster `{}`; remove it",
        cluster.alias
    )))
}

fn instance(reader: &mut ConfigReader, host_name: &str) -> String {
    reader.origins.insert("instance".to_owned(), Origin::HostName);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    let host_name: String = host_name
        .chars()
        .take(128)
        .map(|char| if u8::try_from(char).is_ok_and(fits) { char } else { '-' })
        .collect();
    let host_name = if host_name.is_empty() { "unknown".to_owned() } else { host_name };
    reader.setting("instance", host_name, |value| {
        let text = value.text()?;
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(fits);
        if valid { Ok(text.to_owned()) } else { Err(value.problem(INSTANCE)) }
    })
}

fn duration(reader: &mut ConfigReader, key: &str, default: Duration, least: Duration, most: u64) -> Duration {
    reader.setting(key, default, |value| value.duration(key, least, Duration::from_secs(most)))
}

fn prefix(value: &Value) -> Result<String, ConfigProblem> {
    let text = value.text()?;
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err(value.problem(PREFIX)) }
}

/// The interval at which every cache is checked without a request; `0s` for not at all.
fn interval(value: &Value) -> Result<Option<Duration>, ConfigProblem> {
    let interval = value.duration("interval", Duration::ZERO, Duration::MAX)?;
    let fits = (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&interval);
    unless(!interval.is_zero() && !fits, value, "`interval` must be from 1s to 1h, or 0s for none")?;
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

fn note_short_interval(interval: Option<Duration>, timeout: Duration) -> Option<String> {
    let [interval, timeout] =
        [interval.filter(|interval| *interval < timeout)?, timeout].map(format_duration);
    Some(format!(
        "interval: {interval} is shorter than the timeout of {timeout}, so if a cache hangs, the next round is due \
         before the last one has ended; set it to at least the timeout"
    ))
}
