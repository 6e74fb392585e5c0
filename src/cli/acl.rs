//! `acl`: the least users of Redis that the configured checks need, as commands for it.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::config::joined;
use super::{Failure, FileArgs, load, print};
use crate::alias::Alias;
use crate::catalog::Catalog;
use crate::config::{Address, Backend, Cache, Config, Redis, RedisServers, WhichReplicas};

const AFTER_HELP: &str = "\
Examples:
  cache-canary acl -c cache-canary.toml                every Redis
  cache-canary acl -c cache-canary.toml main           one of them
  CACHE_URL=redis://canary@cache:6379/0 cache-canary acl

Each line is a command for redis-cli. Passwords are not printed.

Exit codes: 0 if the users were printed, 2 if the arguments or the configuration are not valid.";

/// The user's name where none is configured.
const USER: &str = "cache-canary";

/// Print the least Redis users that the configured checks need
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct AclArgs {
    /// The caches to print users for; without any, all
    #[arg(value_name = "ALIAS")]
    aliases: Vec<String>,
    #[command(flatten)]
    config: FileArgs,
}

/// Prints the users.
pub(super) fn run(args: AclArgs) -> Result<ExitCode, Failure> {
    let config = load(args.config.config, Vec::new())?.config;
    let catalog = Catalog::new(&config.caches);
    let selection = catalog.select(&args.aliases).map_err(Failure::usage)?;
    let chosen: Vec<_> = catalog.selected(&selection).collect();
    print(users(&config, &chosen).as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// A user and what it may do, on some servers.
struct Grant<'a> {
    aliases: Vec<&'a Alias>,
    user: Option<&'a str>,
    /// The key of the configuration that names the user.
    setting: &'static str,
    servers: Vec<Servers<'a>>,
    /// Of replicas, their primary.
    primary: Option<&'a Address>,
    /// Whether it has to do with keys.
    keys: bool,
    /// In the order of their names, with ACL's names for subcommands.
    commands: BTreeSet<&'static str>,
}

/// Servers that a user is for.
#[derive(PartialEq)]
enum Servers<'a> {
    One(&'a Address),
    ReplicasOf(&'a Address),
    Cluster(&'a [Address]),
    /// The primary and its replicas, each of which may become the primary.
    Watched {
        name: &'a str,
        sentinels: &'a [Address],
    },
    Sentinels(&'a [Address]),
}

/// A line for each user that the checks of these aliases need, with a comment before it.
fn users(config: &Config, chosen: &[&Alias]) -> String {
    let mut grants: Vec<Grant<'_>> = Vec::new();
    let mut memcached = Vec::new();
    for Cache { alias, backend, .. } in config.caches.iter().filter(|cache| chosen.contains(&&cache.alias)) {
        match backend {
            Backend::Redis(redis) => {
                for grant in granted(alias, redis) {
                    add(&mut grants, grant);
                }
            }
            Backend::Memcached(_) => memcached.push(alias.as_str()),
            Backend::LocalMemory | Backend::Forwarding { .. } | Backend::NoServer { .. } => {}
        }
    }
    let mut text = String::new();
    if !memcached.is_empty() {
        let memcached = memcached.join(", ");
        let _ = writeln!(text, "# {memcached}: nothing to allow, in memcached a user may do everything");
    }
    if !grants.is_empty() {
        text.push_str("# A user that is new needs a password: add >PASSWORD behind `on`.\n");
    }
    let pattern = format!("~{}canary:*", literally(&config.prefix));
    for grant in &grants {
        grant.write(&pattern, &mut text);
    }
    text
}

/// What one alias needs.
fn granted<'a>(alias: &'a Alias, redis: &'a Redis) -> Vec<Grant<'a>> {
    let user = redis.login.username.as_deref();
    let grant = |servers: Vec<Servers<'a>>, commands: &[&'static str]| Grant {
        aliases: vec![alias],
        user,
        setting: "username",
        servers,
        primary: None,
        keys: true,
        commands: commands.iter().copied().collect(),
    };
    // PING is asked only to say more of a fault.
    let mut primary = vec!["get", "ping", "set"];
    let mut replica = vec!["get"];
    if redis.login.database != 0 {
        primary.push("select");
        replica.push("select");
    }
    match &redis.servers {
        RedisServers::Standalone(address) => {
            let replicas = match &redis.replicas.which {
                WhichReplicas::Named(replicas) => replicas.iter().map(Servers::One).collect(),
                WhichReplicas::Discovered => {
                    primary.push("role");
                    vec![Servers::ReplicasOf(address)]
                }
            };
            let mut grants = vec![grant(vec![Servers::One(address)], &primary)];
            if !replicas.is_empty() {
                grants.push(Grant { primary: Some(address), ..grant(replicas, &replica) });
            }
            grants
        }
        RedisServers::Cluster { seeds, .. } => {
            primary.extend(["asking", "cluster|info", "cluster|slots"]);
            vec![grant(vec![Servers::Cluster(seeds)], &primary)]
        }
        RedisServers::Sentinel { sentinels, name, login } => {
            primary.push("role");
            let sentinel = Grant {
                user: login.username.as_deref(),
                setting: "sentinel_username",
                keys: false,
                ..grant(vec![Servers::Sentinels(sentinels)], &["sentinel|get-master-addr-by-name"])
            };
            vec![grant(vec![Servers::Watched { name, sentinels }], &primary), sentinel]
        }
    }
}

/// Adds a grant. Where another one has the user on one of its servers already the two become one, since the
/// later line would take away what the earlier one gave.
fn add<'a>(grants: &mut Vec<Grant<'a>>, mut grant: Grant<'a>) {
    let mut place = grants.len();
    while let Some(position) = grants.iter().position(|other| other.meets(&grant)) {
        let mut other = grants.remove(position);
        place = position.min(grants.len());
        other.take_over(grant);
        grant = other;
    }
    grants.insert(place.min(grants.len()), grant);
}

impl Servers<'_> {
    /// Whether some server may be one of both.
    fn meet(&self, other: &Self) -> bool {
        let meet = |ours: &[Address], theirs: &[Address]| ours.iter().any(|one| theirs.contains(one));
        match (self, other) {
            (Self::Cluster(ours), Self::Cluster(theirs))
            | (Self::Sentinels(ours), Self::Sentinels(theirs)) => meet(ours, theirs),
            (
                Self::Watched { name: our_name, sentinels: ours },
                Self::Watched { name: their_name, sentinels: theirs },
            ) => our_name == their_name && meet(ours, theirs),
            (
                Self::One(_)
                | Self::ReplicasOf(_)
                | Self::Cluster(_)
                | Self::Sentinels(_)
                | Self::Watched { .. },
                _,
            ) => self == other,
        }
    }
}

impl fmt::Display for Servers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::ReplicasOf(primary) => write!(f, "each replica of {primary}"),
            Self::Cluster(seeds) => write!(f, "every node of the cluster at {}", joined(seeds)),
            Self::Watched { name, .. } => {
                write!(f, "every server of {name}, since each may become the primary")
            }
            Self::Sentinels(sentinels) => write!(f, "the Sentinels at {}", joined(sentinels)),
        }
    }
}

impl<'a> Grant<'a> {
    /// Whether the two are of one user on one server.
    fn meets(&self, other: &Self) -> bool {
        let one_primary = self.primary.is_some() && self.primary == other.primary;
        let one_server = self.servers.iter().any(|ours| other.servers.iter().any(|theirs| ours.meet(theirs)));
        self.user == other.user && (one_primary || one_server)
    }

    fn take_over(&mut self, other: Grant<'a>) {
        for alias in other.aliases {
            if !self.aliases.contains(&alias) {
                self.aliases.push(alias);
            }
        }
        for servers in other.servers {
            if !self.servers.contains(&servers) {
                self.servers.push(servers);
            }
        }
        self.commands.extend(other.commands);
    }

    /// Writes the comment and the line.
    fn write(&self, pattern: &str, text: &mut String) {
        let _ = write!(text, "# {}: on {}", joined(&self.aliases), joined(&self.servers));
        if self.user.is_none() {
            let _ = write!(text, "; to log in as it, say {} = \"{USER}\" and its password", self.setting);
        }
        let keys = if self.keys { format!("{} ", argument(pattern)) } else { String::new() };
        let commands: Vec<_> = self.commands.iter().map(|command| format!("+{command}")).collect();
        let user = argument(self.user.unwrap_or(USER));
        let _ = writeln!(
            text,
            "\nACL SETUSER {user} on resetkeys {keys}resetchannels -@all {}",
            commands.join(" ")
        );
    }
}

/// A pattern of keys that matches this text and nothing else (Redis' documentation, KEYS, on glob-style
/// patterns).
fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// An argument as redis-cli reads it (`sdssplitargs` in Redis' sds.c): in quotes where it would
/// be taken apart without.
fn argument(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => {
                let _ = write!(quoted, "\\x{byte:02x}");
            }
        }
    }
    quoted.push('"');
    quoted
}
