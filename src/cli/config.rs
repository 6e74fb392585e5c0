//! `config check` and `config show`: what the configuration says, before it is served.

use std::fmt::Display;
use std::io::{self, Write};

use std::process::ExitCode;

use clap::{Args, Subcommand};
use humantime::format_duration;

use super::{Failure, FileArgs, load, print};
use crate::catalog::Catalog;
use crate::config::{
    Address, Backend, Cache, Config, Listen, Loaded, MASK, Origin, Redis, RedisServers, WhichReplicas,
};

const AFTER_HELP: &str = "\
Exit codes: 0 if the configuration is valid, 2 if it is not.";

/// Check or show the configuration
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration is valid, and which caches it has checked
    Check(FileArgs),
    /// Print what is in force, each value with where it came from, secrets as "***"
    Show(FileArgs),
}

/// Checks or shows it.
pub(super) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    match command {
        ConfigCommand::Check(args) => check(&load(args.config, Vec::new())?, &mut page),
        ConfigCommand::Show(args) => show(&load(args.config, Vec::new())?, &mut page),
    }
    .map_err(Failure::other)?;
    print(&page);
    Ok(ExitCode::SUCCESS)
}

/// Writes that the configuration is valid, which caches are checked, and what is worth a look.
pub fn check(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    match &loaded.file {
        Some(file) => writeln!(out, "{} is valid", file.display())?,
        None => writeln!(out, "the configuration is valid; it comes from the environment")?,
    }
    let caches = &loaded.config.caches;
    let skipped = Catalog::new(caches).all().skipped;
    let width = caches.iter().map(|cache| cache.alias.as_str().len()).max().unwrap_or_default();
    for cache in caches {
        let alias = &cache.alias;
        match skipped.iter().find(|skipped| skipped.alias == *alias) {
            Some(skipped) => writeln!(out, "  {alias:width$}  skipped: {}", skipped.reason)?,
            None => writeln!(out, "  {alias:width$}  checked: {}", what(&cache.backend))?,
        }
    }
    for note in &loaded.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// What is behind a cache that is checked, in a few words.
fn what(backend: &Backend) -> String {
    match backend {
        Backend::Redis(redis) => {
            let tls = if redis.tls.is_some() { ", TLS" } else { "" };
            let database = redis.login.database;
            match &redis.servers {
                RedisServers::Standalone(address) => format!("redis at {address}, database {database}{tls}"),
                RedisServers::Cluster { seeds, .. } => format!("redis cluster at {}{tls}", joined(seeds)),
                RedisServers::Sentinel { sentinels, name, .. } => {
                    format!(
                        "redis {name}, of the sentinels at {}, database {database}{tls}",
                        joined(sentinels)
                    )
                }
            }
        }
        Backend::Memcached(memcached) => {
            format!("memcached at {}", joined(&memcached.servers))
        }
        Backend::LocalMemory => "local-memory".to_owned(),
        Backend::Forwarding { to } => format!("forwarding to {to}"),
        Backend::NoServer { kind } => (*kind).to_owned(),
    }
}

fn joined<T: Display>(servers: &[T]) -> String {
    servers.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Writes what is in force as TOML, each value with where it came from.
pub fn show(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { loaded, lines: Vec::new() };
    page.settings(&loaded.config);
    for cache in &loaded.config.caches {
        page.cache(cache);
    }
    page.write(out)
}

/// The lines of a TOML file, each with a comment behind it.
struct Page<'a> {
    loaded: &'a Loaded,
    lines: Vec<(String, Option<&'a Origin>)>,
}

impl Page<'_> {
    /// A line for a key; `path` names the value whose origin is told.
    fn value(&mut self, key: &str, value: impl Display, path: &str) {
        self.lines.push((format!("{key} = {value}"), Some(self.loaded.origin(path))));
    }

    fn header(&mut self, name: &str) {
        self.lines.push((String::new(), None));
        self.lines.push((format!("[{name}]"), None));
    }

    fn settings(&mut self, config: &Config) {
        let listen = config.listen.iter().map(|listen| match listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        });
        self.value("listen", list(listen), "listen");
        self.value("prefix", quoted(&config.prefix), "prefix");
        self.value("instance", quoted(&config.instance), "instance");
        for (key, duration) in [
            ("timeout", config.timeout),
            ("max_age", config.max_age),
            ("reconnect_every", config.reconnect_every),
            ("dns_recheck", config.dns_recheck),
        ] {
            self.value(key, quoted(&format_duration(duration).to_string()), key);
        }
        self.header("access");
        self.value("allow", list(&config.access.allow), "access.allow");
        self.value("details", list(&config.access.details), "access.details");
    }

    fn cache(&mut self, cache: &Cache) {
        let table = format!("caches.{}", key(cache.alias.as_str()));
        let path = |key: &str| format!("caches.{}.{key}", cache.alias);
        let backend = match &cache.backend {
            Backend::Redis(_) => "redis",
            Backend::Memcached(_) => "memcached",
            Backend::LocalMemory => "local-memory",
            Backend::Forwarding { .. } => "forwarding",
            Backend::NoServer { kind } => {
                self.lines.push((String::new(), None));
                let line = format!("# [{table}] is {kind}, which is not checked");
                self.lines.push((line, Some(self.loaded.origin(&path("backend")))));
                return;
            }
        };
        self.header(&table);
        self.value("backend", quoted(backend), &path("backend"));
        match &cache.backend {
            Backend::Redis(redis) => self.redis(redis, &path),
            Backend::Memcached(memcached) => {
                self.value("servers", list(&memcached.servers), &path("servers"));
            }
            Backend::Forwarding { to } => self.value("location", quoted(to.as_str()), &path("location")),
            Backend::LocalMemory | Backend::NoServer { .. } => {}
        }
    }

    fn redis(&mut self, redis: &Redis, path: &impl Fn(&str) -> String) {
        let s = if redis.tls.is_some() { "s" } else { "" };
        let url = match &redis.servers {
            RedisServers::Standalone(address @ Address::Tcp { .. }) => format!("redis{s}://{address}"),
            RedisServers::Standalone(address @ Address::Unix(_)) => address.to_string(),
            RedisServers::Cluster { seeds, .. } => format!("redis{s}+cluster://{}", joined(seeds)),
            RedisServers::Sentinel { sentinels, name, .. } => {
                format!("redis{s}+sentinel://{}/{name}", joined(sentinels))
            }
        };
        let key = if matches!(&redis.servers, RedisServers::Standalone(Address::Unix(_))) {
            "location"
        } else {
            "url"
        };
        self.value(key, quoted(&url), &path("url"));
        if let Some(username) = &redis.login.username {
            self.value("username", quoted(username), &path("username"));
        }
        if redis.login.password.is_some() {
            self.value("password", quoted(MASK), &path("password"));
        }
        self.value("database", redis.login.database, &path("database"));
        if let Some(ca_file) = redis.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
            let ca_file = quoted(&ca_file.display().to_string());
            self.value("tls", format_args!("{{ ca_file = {ca_file} }}"), &path("tls"));
        }
        if let WhichReplicas::Named(replicas) = &redis.replicas.which
            && !replicas.is_empty()
        {
            self.value("replicas", list(replicas), &path("replicas"));
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        /// A line that is longer than this does not push the comments of the others to the right.
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

/// A TOML string that means this text. JSON's escapes are all TOML's too; TOML alone wants DEL escaped, and
/// what looks like a reference to the environment is written as the text that it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f").replace("${", "$${")
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
    format!("[{}]", values.join(", "))
}

/// An alias as a TOML key: one with a dot in it needs quotes.
fn key(alias: &str) -> String {
    if alias.contains('.') { quoted(alias) } else { alias.to_owned() }
}
