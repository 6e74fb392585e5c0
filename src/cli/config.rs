//! `config check`, `config show` and `config schema`: validation of the configuration, its effective values, and its
//! schema.

mod checks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod settings;
mod unavailable;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{self, Path};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use humantime::format_duration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use tokio_rustls::rustls::pki_types::UnixTime;

use super::output::print;
use super::{Failure, FileArgs, certificates, load, rings};
use crate::alias::Alias;
use crate::app::App;
use crate::catalog::Catalog;
use crate::config::{
    Address, Announce, AwsAuth, Backend, BreakerConfig, CacheConfig, Config, Loaded, Login, MASK,
    MemcachedConfig, Minting, NamedServer, Origin, Password, PasswordSource, RedisConfig, RedisServers,
    RespVersion, SCHEMA, Shard, Sharding, TargetList, Tls, Verify, WhichReplicas,
};
use crate::outcome::{Forwarding, Quorum, SkipReason};
use crate::span::setting;

const AFTER_HELP: &str = "\
Exit codes: 0 success; 1 output was lost, as on a full disk; 2 invalid arguments or configuration.";

/// Validate or print the configuration
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

/// The commands on the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Validate the configuration and its certificates, and list the checked caches
    Check(FileArgs),
    /// Print the effective configuration with the origin of each value; secrets are masked as "***"
    Show(FileArgs),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
}

/// Validates the configuration, or prints it or its schema.
pub(super) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    match command {
        ConfigCommand::Check(args) => {
            let mut loaded = load(args.config, Vec::new())?;
            // `serve` does the same first, which reads the certificates.
            App::new(&loaded.config).map_err(Failure::usage)?;
            loaded.notes.extend(certificates::notes(&loaded.config, UnixTime::now()));
            loaded.notes.extend(rings::notes(&loaded.config));
            check(&loaded, &mut page)
        }
        ConfigCommand::Show(args) => show(&load(args.config, Vec::new())?, &mut page),
        ConfigCommand::Schema => page.write_all(SCHEMA.as_bytes()),
    }
    .map_err(Failure::other)?;
    print(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes that the configuration is valid, and lists the checked caches, the groups and the notes.
pub fn check(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    match &loaded.file {
        Some(file) => writeln!(out, "{} is valid", file.display())?,
        None => writeln!(out, "the configuration is valid; it comes from the environment")?,
    }
    let Config { caches, groups, targets, shard, .. } = &loaded.config;
    if let Some(TargetList { source, count }) = targets {
        writeln!(out, "{count} targets of {source}")?;
    }
    if let Some(Shard { index, of, aliases, configured, .. }) = shard {
        writeln!(out, "shard {index} of {of} has {aliases} of {configured} aliases")?;
    }
    let catalog = Catalog::new(caches);
    let skipped = catalog.all().skipped;
    let names = caches.iter().map(|cache| cache.alias.as_str());
    let names = names.chain(groups.iter().map(|group| group.name.as_str()));
    let width = names.map(str::len).max().unwrap_or_default();
    for cache in caches {
        let alias = &cache.alias;
        if let Some(skipped) = skipped.iter().find(|skipped| skipped.alias == *alias) {
            writeln!(out, "  {alias:width$}  skipped: {}", skipped.reason)?;
        } else {
            let more = if cache.checks.is_empty() { "" } else { ", with " };
            let (described, checks) = (described(&cache.backend), checks::in_short(&cache.checks));
            let breaker = cache.breaker.map(|BreakerConfig { after, open_for }| {
                format!(", breaker after {after}, for {}", format_duration(open_for))
            });
            let breaker = breaker.unwrap_or_default();
            let required = if cache.required { "" } else { ", not required" };
            writeln!(out, "  {alias:width$}  checked: {described}{required}{breaker}{more}{checks}")?;
        }
    }
    for group in groups {
        writeln!(out, "  {:width$}  group: {}", group.name, settings::members(group))?;
    }
    writeln!(out, "{}", unavailable::line(&loaded.config, &catalog))?;
    for note in &loaded.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// The servers of a checked cache, in a few words.
fn described(backend: &Backend) -> String {
    match backend {
        Backend::Redis(redis) => {
            let database = redis.login.database;
            let at = match &redis.servers {
                RedisServers::Standalone(address) => format!("redis at {address}, database {database}"),
                RedisServers::Cluster { seeds, .. } if database == 0 => {
                    format!("redis cluster at {}", joined(seeds))
                }
                RedisServers::Cluster { seeds, .. } => {
                    format!("redis cluster at {}, database {database}", joined(seeds))
                }
                RedisServers::Sentinel { sentinels, name, .. } => {
                    format!("redis {name} of the Sentinels at {}, database {database}", joined(sentinels))
                }
                RedisServers::Shards { shards, quorum: needed, .. } => {
                    let names: Vec<_> = shards.iter().map(|shard| redis.name_of(shard, shards)).collect();
                    format!("redis shards at {}{}", joined(&names), quorum(*needed))
                }
            };
            let named: Vec<_> = redis.named_replicas().collect();
            let replicas = match &redis.replicas.which {
                WhichReplicas::Discovered => ", its replicas".to_owned(),
                WhichReplicas::Named(_) if named.is_empty() => String::new(),
                WhichReplicas::Named(_) => format!(", replicas at {}", joined(&named)),
            };
            format!("{at}{}{replicas}", security(redis.least_tls()))
        }
        Backend::Memcached(memcached) => {
            let quorum = quorum(memcached.quorum);
            format!("memcached at {}{}{quorum}", joined(&memcached.servers), security(memcached.tls.as_ref()))
        }
        Backend::Unchecked(reason) => reason.to_string(),
    }
}

fn quorum(quorum: Quorum) -> String {
    match quorum {
        Quorum::All => String::new(),
        Quorum::AtLeast(least) => format!(", quorum {least}"),
    }
}

/// The kind of TLS, in a few words.
fn security(tls: Option<&Tls>) -> &'static str {
    match tls.map(|tls| tls.verify) {
        None => "",
        Some(Verify::Full) => ", TLS",
        Some(Verify::Ca) => ", TLS, name not verified",
        Some(Verify::None) => ", TLS, certificate not verified",
    }
}

pub(super) fn joined<T: Display>(servers: &[T]) -> String {
    servers.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Writes the effective configuration as TOML, each value with its origin.
pub fn show(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    let mut page = TomlLines { loaded, lines: Vec::new() };
    page.settings(&loaded.config);
    for cache in &loaded.config.caches {
        page.cache(cache);
    }
    page.write(out)
}

const RING_OF_SECRETS: &str = "# The client places keys by these texts with their secrets, which are masked: read again, they give another ring.";

/// The lines of a TOML file, each with a comment behind it.
struct TomlLines<'a> {
    loaded: &'a Loaded,
    lines: Vec<(String, Option<&'a Origin>)>,
}

impl TomlLines<'_> {
    /// A line for a key; `path` names the value whose origin is shown.
    fn value(&mut self, key: &str, value: impl Display, path: &str) {
        self.lines.push((format!("{key} = {value}"), Some(self.loaded.origin(path))));
    }

    fn header(&mut self, name: &str) {
        self.lines.push((String::new(), None));
        self.lines.push((format!("[{name}]"), None));
    }

    /// `true` if a word names a cache of another shard, or a check of one.
    fn is_of_another_shard(&self, word: &str) -> bool {
        self.loaded.config.shard.as_ref().is_some_and(|shard| shard.elsewhere(word).is_some())
    }

    /// `true` unless a word names a cache that is only a comment, since the config file has no words for its backend, or
    /// one of another shard.
    fn is_shown(&self, word: &str) -> bool {
        if self.is_of_another_shard(word) {
            return false;
        }
        let end = |alias: &Alias| self.loaded.config.caches.iter().find(|cache| cache.alias == *alias);
        let cache = self.loaded.config.caches.iter().find(|cache| cache.alias.as_str() == word);
        let end = cache.map(|cache| cache.forwarding().and_then(|to| end(&to.end)).unwrap_or(cache));
        !matches!(
            end.map(|cache| &cache.backend),
            Some(Backend::Unchecked(SkipReason::NoServer { .. } | SkipReason::Unknown { .. }))
        )
    }

    fn cache(&mut self, cache: &CacheConfig) {
        let CacheConfig {
            alias,
            backend,
            checks: _,
            breaker,
            required,
            slow,
            expires_within,
            certificates: _,
        } = cache;
        let table = format!("caches.{}", key(alias.as_str()));
        let path = |key: &str| format!("caches.{alias}.{key}");
        let name = match backend {
            Backend::Redis(_) => "redis",
            Backend::Memcached(_) => "memcached",
            Backend::Unchecked(reason) if !self.is_shown(alias.as_str()) => {
                self.lines.push((String::new(), None));
                let line = format!("# [{table}] {reason}, so it is not checked");
                self.lines.push((line, Some(self.loaded.origin(&path("backend")))));
                return;
            }
            Backend::Unchecked(SkipReason::Forwards(_)) => "forwarding",
            Backend::Unchecked(_) => "local-memory",
        };
        self.header(&table);
        self.value("backend", quoted(name), &path("backend"));
        match backend {
            Backend::Redis(redis) => self.redis(redis, &path),
            Backend::Memcached(memcached) => self.memcached(memcached, &path),
            Backend::Unchecked(SkipReason::Forwards(Forwarding { to, .. })) => {
                self.value("location", quoted(to.as_str()), &path("location"));
            }
            Backend::Unchecked(_) => {}
        }
        if !matches!(backend, Backend::Unchecked(_)) {
            self.value("required", required, &path("required"));
            let written = path("slow");
            let origin = if self.loaded.origin(&written) == &Origin::Default { "slow" } else { &written };
            let slow = quoted(&format_duration(slow.unwrap_or_default()).to_string());
            self.value("slow", slow, origin);
        }
        if let Some(BreakerConfig { after, open_for }) = breaker {
            let open_for = quoted(&format_duration(*open_for).to_string());
            self.value("breaker", format_args!("{{ after = {after}, for = {open_for} }}"), &path("breaker"));
        }
        if let Some(within) = expires_within {
            let within = quoted(&setting(*within));
            self.value("expires_within", within, &path("expires_within"));
        }
        self.checks(cache);
    }

    fn redis(&mut self, redis: &RedisConfig, path: &impl Fn(&str) -> String) {
        let RedisConfig { servers, login, tls, replicas: _, spray, consensus, login_source: _ } = redis;
        let Login { username, password, database, protocol } = login;
        let s = if tls.is_some() { "s" } else { "" };
        let (key, url) = match servers {
            RedisServers::Standalone(address @ Address::Tcp { .. }) => {
                ("url", format!("redis{s}://{address}"))
            }
            RedisServers::Standalone(address @ Address::Unix(_)) => ("location", address.to_string()),
            RedisServers::Cluster { seeds, .. } => ("url", format!("redis{s}+cluster://{}", commas(seeds))),
            RedisServers::Sentinel { sentinels, name, .. } => {
                ("url", format!("redis{s}+sentinel://{}/{name}", commas(sentinels)))
            }
            RedisServers::Shards { .. } => ("topology", "shards".to_owned()),
        };
        let origin = if key == "topology" { key } else { "url" };
        self.value(key, quoted(&url), &path(origin));
        if let RedisServers::Shards { shards, quorum, sharding } = servers {
            let servers = self.shards(redis, shards, sharding.as_ref());
            self.value("servers", servers, &path("servers"));
            if let Some(Sharding { client, .. }) = sharding {
                self.value("client", quoted(client.name()), &path("client"));
            }
            self.quorum(*quorum, path);
        }
        self.login(username.as_deref(), password.as_ref(), "", path);
        self.value("database", database, &path("database"));
        let protocol = match protocol {
            RespVersion::Resp2 => "resp2",
            RespVersion::Resp3 => "resp3",
        };
        self.value("protocol", quoted(protocol), &path("protocol"));
        match tls {
            Some(tls) if *tls != Tls::default() => self.value("tls", tls_table(tls), &path("tls")),
            // No scheme says so.
            Some(_) if matches!(servers, RedisServers::Shards { .. }) => {
                self.value("tls", true, &path("tls"));
            }
            Some(_) | None => {}
        }
        match servers {
            RedisServers::Standalone(_) | RedisServers::Shards { .. } => {}
            // A cluster has neither checked replicas nor a choice of keys.
            RedisServers::Cluster { announce, .. } => {
                let announce = match announce {
                    Announce::AsIs => "as-is",
                    Announce::SeedHost => "seed-host",
                };
                self.value("announce", quoted(announce), &path("announce"));
                self.value("consensus", consensus, &path("consensus"));
                return;
            }
            RedisServers::Sentinel { login, .. } => {
                self.login(login.username.as_deref(), login.password.as_ref(), "sentinel_", path);
                self.value("consensus", consensus, &path("consensus"));
            }
        }
        self.replicas(redis, path);
        self.value("spray", spray, &path("spray"));
    }

    /// Shards as their client spreads keys over them, below a comment if their ring depends on a secret.
    fn shards(&mut self, redis: &RedisConfig, shards: &[NamedServer], sharding: Option<&Sharding>) -> String {
        let mut is_masked = false;
        let servers = named_servers(shards, redis.tls.as_ref(), &mut |place, plain| {
            let Some(sharding) = sharding else { return plain };
            let (shown, masked) = sharding.shown(place, redis, &shards[place], plain);
            is_masked |= masked;
            shown
        });
        self.lines.extend(is_masked.then(|| (RING_OF_SECRETS.to_owned(), None)));
        servers
    }

    fn replicas(&mut self, redis: &RedisConfig, path: &impl Fn(&str) -> String) {
        let RedisConfig { replicas, tls, .. } = redis;
        let named = |servers| named_servers(servers, tls.as_ref(), &mut |_, text| text);
        if redis.replicas.which == WhichReplicas::Named(Vec::new()) && redis.named_replicas().next().is_none()
        {
            return;
        }
        let which = match (&replicas.which, replicas.required) {
            // Those of shards alone.
            (WhichReplicas::Named(servers), false) if servers.is_empty() => None,
            (WhichReplicas::Named(servers), true) if servers.is_empty() => {
                Some("{ required = true }".to_owned())
            }
            (WhichReplicas::Named(servers), false) => Some(named(servers)),
            (WhichReplicas::Named(servers), true) => {
                Some(format!("{{ servers = {}, required = true }}", named(servers)))
            }
            (WhichReplicas::Discovered, false) => Some(quoted("discover")),
            (WhichReplicas::Discovered, true) => Some(quoted("required")),
        };
        if let Some(which) = which {
            self.value("replicas", which, &path("replicas"));
        }
        let within = format_duration(replicas.within).to_string();
        self.value("replica_within", quoted(&within), &path("replica_within"));
    }

    fn memcached(&mut self, memcached: &MemcachedConfig, path: &impl Fn(&str) -> String) {
        let MemcachedConfig { servers, quorum, login, tls, spray } = memcached;
        self.value("servers", list(servers), &path("servers"));
        if let Some((username, password)) = login {
            self.login(Some(username), Some(&Password::Fixed(password.clone())), "", path);
        }
        match tls {
            None => {}
            Some(tls) if *tls == Tls::default() => self.value("tls", true, &path("tls")),
            Some(tls) => self.value("tls", tls_table(tls), &path("tls")),
        }
        self.quorum(*quorum, path);
        self.value("spray", spray, &path("spray"));
    }

    fn quorum(&mut self, quorum: Quorum, path: &impl Fn(&str) -> String) {
        match quorum {
            Quorum::All => self.value("quorum", quoted("all"), &path("quorum")),
            Quorum::AtLeast(least) => self.value("quorum", least, &path("quorum")),
        }
    }

    /// A user and a password, under keys that begin with `whose`.
    fn login(
        &mut self,
        username: Option<&str>,
        password: Option<&Password>,
        prefix: &str,
        path: &impl Fn(&str) -> String,
    ) {
        if let Some(username) = username.filter(|_| password.and_then(Password::aws).is_none()) {
            let key = format!("{prefix}username");
            self.value(&key, quoted(username), &path(&key));
        }
        match password {
            None => {}
            Some(Password::Fixed(_)) => {
                let key = format!("{prefix}password");
                self.value(&key, quoted(MASK), &path(&key));
            }
            Some(Password::ShortLived(source)) => self.short_lived(source, path),
        }
    }

    /// The source of a password. Only the program of a command is shown: its arguments may be secrets.
    fn short_lived(&mut self, source: &PasswordSource, path: &impl Fn(&str) -> String) {
        let key = source.setting();
        match &source.minting {
            Minting::Command { command, ttl } => {
                let shown = command.iter().enumerate().map(|(number, word)| match number {
                    0 => word.expose_secret(),
                    _ => MASK,
                });
                self.value(key, list(shown), &path(key));
                let ttl = format_duration(*ttl).to_string();
                self.value("password_ttl", quoted(&ttl), &path("password_ttl"));
            }
            Minting::Aws(aws) => {
                let AwsAuth { cluster, user, region, service, serverless } = &**aws;
                let region =
                    region.as_ref().map(|name| format!("region = {}, ", quoted(name))).unwrap_or_default();
                let names = format!("cluster = {}, user = {}, {region}", quoted(cluster), quoted(user));
                let kind = format!("service = {}, serverless = {serverless}", quoted(service.name()));
                self.value("auth", format_args!("{{ aws = {{ {names}{kind} }} }}"), &path("auth"));
            }
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        /// The widest line that moves the comments of the others to the right.
        const WIDEST: usize = 60;
        let widths = self.lines.iter().filter(|(_, origin)| origin.is_some()).map(|(line, _)| line.len());
        let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or_default();
        for (line, origin) in &self.lines {
            match origin {
                Some(origin) => writeln!(out, "{line:width$}  # {origin}")?,
                None => writeln!(out, "{line}")?,
            }
        }
        Ok(())
    }
}

/// A TOML string with this text. JSON's escapes are all valid in TOML, and only TOML requires DEL to be escaped. Text
/// that resembles a reference to the environment is escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f").replace("${", "$${")
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
    format!("[{}]", values.join(", "))
}

/// Replicas or shards of an alias, each as a `text`, or as a table if it has TLS settings or replicas of its own.
fn named_servers(
    servers: &[NamedServer],
    alias: Option<&Tls>,
    text: &mut dyn FnMut(usize, String) -> String,
) -> String {
    let servers = servers.iter().enumerate().map(|(place, server)| {
        let tls = server.own.as_deref().and_then(|(_, tls)| tls.as_ref());
        let of_replicas = if server.own.is_some() { tls } else { alias };
        let tls = tls.filter(|tls| **tls != alias.cloned().unwrap_or_default());
        let url = quoted(&text(place, named_server(server)));
        let tls = tls.map(|tls| format!("tls = {}", tls_table(tls)));
        let replicas = || named_servers(&server.replicas, of_replicas, &mut |_, text| text);
        let replicas = (!server.replicas.is_empty()).then(|| format!("replicas = {}", replicas()));
        let own: Vec<_> = [tls, replicas].into_iter().flatten().collect();
        if own.is_empty() { url } else { format!("{{ url = {url}, {} }}", own.join(", ")) }
    });
    format!("[{}]", servers.collect::<Vec<_>>().join(", "))
}

/// A replica or a shard, with its own login in a URL that can be read again.
fn named_server(NamedServer { address, own, replicas: _ }: &NamedServer) -> String {
    let Some((login, tls)) = own.as_deref() else { return address.to_string() };
    let user = login.username.as_deref().map(|user| utf8_percent_encode(user, NON_ALPHANUMERIC).to_string());
    let login_there = match &login.password {
        // It is the alias', which a URL without `@` leaves open.
        Some(Password::ShortLived(_)) => String::new(),
        Some(Password::Fixed(_)) => format!("{}:{MASK}@", user.unwrap_or_default()),
        None => format!("{}@", user.unwrap_or_default()),
    };
    let protocol = match login.protocol {
        RespVersion::Resp2 => 2,
        RespVersion::Resp3 => 3,
    };
    let (scheme, path) = match address {
        Address::Unix(path) => ("redis+unix", path.display().to_string()),
        Address::Tcp { .. } if tls.is_some() => ("rediss", format!("{address}/")),
        Address::Tcp { .. } => ("redis", format!("{address}/")),
    };
    let database = login.database;
    format!("{scheme}://{login_there}{path}?db={database}&protocol={protocol}")
}

/// The addresses, as a URL has them.
fn commas(servers: &[Address]) -> String {
    servers.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
}

/// A TOML table of the TLS settings that are not the defaults.
fn tls_table(tls: &Tls) -> String {
    let of_file = |key: &str, path: &Path| format!("{key} = {}", file(path));
    let verify = match tls.verify {
        Verify::Full => None,
        Verify::Ca => Some("verify = \"ca\"".to_owned()),
        Verify::None => Some("verify = \"none\"".to_owned()),
    };
    let parts = [
        tls.ca_file.as_ref().map(|path| of_file("ca_file", path)),
        tls.client.as_ref().map(|client| of_file("cert_file", &client.cert_file)),
        tls.client.as_ref().map(|client| of_file("key_file", &client.key_file)),
        tls.server_name.as_ref().map(|name| format!("server_name = {}", quoted(name))),
        verify,
    ];
    format!("{{ {} }}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The path of a file: the whole of it, since in a variable it is relative to the working directory, and in a file to the
/// directory of that.
fn file(path: &Path) -> String {
    quoted(&path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string())
}

/// An alias as a TOML key: one with a dot in it needs quotes.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}
