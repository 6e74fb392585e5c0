//! The settings at the top of the file: what they are if nobody says anything, and what they may be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::address::MAX_SOCKET_PATH;
use super::environment::Environment;
use super::load::Reader;
use super::place::{Origin, Place, Problem};
use super::value::{Entry, Kind, Value};
use super::{Access, Backend, Cache, Config, Listen, Redis, RedisServers};

/// The keys at the top of the file.
pub(super) const KEYS: &[&str] = &[
    "listen",
    "prefix",
    "instance",
    "timeout",
    "max_age",
    "reconnect_every",
    "dns_recheck",
    "access",
    "django_caches",
    "caches",
];

/// The keys of `[access]`.
pub(super) const ACCESS_KEYS: &[&str] = &["allow", "details"];

const LISTEN: &str = "this is no address to listen at; write \"[::]:8080\", \"127.0.0.1:8080\" or \
                      \"unix:/run/cache-canary.sock\"";
const PREFIX: &str = "a prefix is 1 to 64 printable ASCII characters without a space, since any other could \
                      break a protocol";
const INSTANCE: &str = "an instance is called by 1 to 128 letters, digits, `_`, `.`, `:` or `-`; without \
                        this line it is called by the host's name";

impl Reader {
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
        let access = self.access(default.access);
        self.timeout = timeout;
        let caches = self.caches();
        self.problems.extend(self.hash_tag_in_prefix(&prefix, &caches));
        Config {
            listen,
            prefix,
            instance,
            timeout,
            max_age,
            reconnect_every,
            dns_recheck,
            access,
            caches,
            interval: default.interval,
            drain: default.drain,
            tls: default.tls,
            metrics: default.metrics,
            groups: default.groups,
        }
    }

    /// A problem if the prefix would choose the slot of every key in a cluster: of a key, the first `{` with
    /// the next `}` is its hash tag ("Redis cluster specification", Hash tags), and that is the canary's own.
    fn hash_tag_in_prefix(&self, prefix: &str, caches: &[Cache]) -> Option<Problem> {
        let is_cluster = |cache: &&Cache| {
            matches!(&cache.backend, Backend::Redis(Redis { servers: RedisServers::Cluster { .. }, .. }))
        };
        let value = self.table.get("prefix").filter(|_| prefix.contains('{'))?;
        let cluster = caches.iter().find(is_cluster)?;
        Some(value.problem(format_args!(
            "with `{{` in the prefix, keys could not be spread over the cluster `{}`; leave it out",
            cluster.alias
        )))
    }

    /// The value of a key at the top, or its default; and in case of a problem too, since that is reported.
    fn setting<T>(&mut self, key: &str, default: T, read: impl FnOnce(&Value) -> Result<T, Problem>) -> T {
        let Some(value) = self.table.get(key) else { return default };
        self.origins.insert(key.to_owned(), value.place.origin());
        read(value).unwrap_or_else(|problem| {
            self.problems.push(problem);
            default
        })
    }

    fn listen(&mut self, flags: &[String], default: Vec<Listen>) -> Vec<Listen> {
        if !flags.is_empty() {
            let flag = Place::Flag("--listen");
            let flags =
                flags.iter().map(|flag_value| Value::new(Kind::Text(flag_value.clone()), flag.clone()));
            let value = Value::new(Kind::List(flags.collect()), flag.clone());
            self.table.0.retain(|entry| entry.key != "listen");
            self.table.0.push(Entry { key: "listen".to_owned(), key_place: flag, value });
        }
        self.setting("listen", default, |value| {
            let addresses = value.texts()?;
            if addresses.is_empty() {
                return Err(value.problem("there is no address to listen at; write \"[::]:8080\""));
            }
            addresses.into_iter().map(listen).collect()
        })
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

    fn access(&mut self, mut access: Access) -> Access {
        let Some(value) = self.table.get("access") else { return access };
        let Kind::Table(table) = &value.kind else {
            let problem = value.problem(format_args!("a table belongs here, not {}", value.noun()));
            self.problems.push(problem);
            return access;
        };
        self.problems.extend(table.unknown(ACCESS_KEYS));
        for (key, networks) in [("allow", &mut access.allow), ("details", &mut access.details)] {
            let Some(value) = table.get(key) else { continue };
            self.origins.insert(format!("access.{key}"), value.place.origin());
            let read = value.texts().and_then(|texts| texts.into_iter().map(network).collect());
            match read {
                Ok(read) => *networks = read,
                Err(problem) => self.problems.push(problem),
            }
        }
        access
    }
}

fn listen((text, place): (&str, &Place)) -> Result<Listen, Problem> {
    let socket = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match (socket, text.parse()) {
        (Some(path), _) if (1..=MAX_SOCKET_PATH).contains(&path.len()) => {
            Ok(Listen::Unix(PathBuf::from(path)))
        }
        (None, Ok(address)) => Ok(Listen::Tcp(address)),
        _ => Err(place.problem(LISTEN)),
    }
}

fn prefix(value: &Value) -> Result<String, Problem> {
    let text = value.text()?;
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err(value.problem(PREFIX)) }
}

fn network((text, place): (&str, &Place)) -> Result<IpNet, Problem> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| {
        place.problem("this is no network; write \"10.0.0.0/8\", \"2001:db8::/32\" or a single address")
    })
}
