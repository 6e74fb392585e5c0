//! `acl`: the Redis users that the configured checks need, with minimal rights, as Redis commands.

mod patterns;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::config::joined;
use super::output::print;
use super::{Failure, FileArgs, draft, select};
use crate::alias::Alias;
use crate::catalog::Catalog;
use crate::config::checks::{CheckConfig, ViewConfig};
use crate::config::{
    Address, Backend, CacheConfig, Config, Login, NamedServer, RedisConfig, RedisServers, Source,
    WhichReplicas,
};

const AFTER_HELP: &str = "\
Examples:
  cache-canary acl -c cache-canary.toml                all Redis caches
  cache-canary acl -c cache-canary.toml main           one cache
  CACHE_URL=redis://canary@cache:6379/0 cache-canary acl

Each line is an ACL SETUSER command for redis-cli. Passwords are not printed.

Exit codes: 0 success; 1 output was lost, as on a full disk; 2 invalid arguments or configuration.";

/// The user's name if none is configured.
const USER: &str = "cache-canary";

/// Print Redis users with the minimal ACL for the configured checks
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct AclArgs {
    /// Caches to print users for [default: all]
    #[arg(value_name = "ALIAS")]
    aliases: Vec<String>,
    #[command(flatten)]
    config: FileArgs,
}

/// Prints the users.
pub(super) fn run(args: AclArgs) -> Result<ExitCode, Failure> {
    let source = Source::from_process(args.config.config, Vec::new());
    let (draft, targets) = draft(&source)?;
    let config = draft.load_for_users(targets).map_err(Failure::usage)?.config;
    let catalog = Catalog::new(&config.caches);
    let selection = select(&catalog, &config, &args.aliases)?;
    let chosen: Vec<_> = catalog.selected(&selection).collect();
    print(users(&config, &chosen).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A user and its rights on some servers.
struct Grant<'a> {
    aliases: Vec<&'a Alias>,
    user: Option<&'a str>,
    /// The place of the user in the configuration.
    named: Named,
    servers: Vec<AclServers<'a>>,
    /// The primary, if the servers are its replicas.
    primary: Option<&'a Address>,
    /// The patterns of the keys that it reads or writes.
    keys: Vec<String>,
    /// The commands by name; subcommands are named as ACL names them.
    commands: BTreeSet<&'static str>,
    databases: BTreeSet<u32>,
}

/// The command that tells how many primaries a cluster has, if the server is a node of one.
const IN_CLUSTER: &str = "cluster|info";

/// The place of a user in the configuration.
#[derive(Clone, Copy)]
enum Named {
    /// The key with this name.
    In(&'static str),
    /// The URL of a view.
    InView,
    /// The URL of a replica.
    InReplica,
    /// The URL of a shard.
    InShard,
}

/// Servers that a user is for.
#[derive(PartialEq)]
enum AclServers<'a> {
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
    let canaries = format!("{}canary:*", patterns::literally(&config.prefix));
    for cache in config.caches.iter().filter(|cache| chosen.contains(&&cache.alias)) {
        match &cache.backend {
            Backend::Redis(redis) => {
                for grant in granted(cache, redis, &canaries) {
                    add(&mut grants, grant);
                }
            }
            Backend::Memcached(_) => memcached.push(cache.alias.as_str()),
            Backend::Unchecked(_) => {}
        }
        if let Some(grant) = granted_to_share(cache, config) {
            add(&mut grants, grant);
        }
        for view in views(cache) {
            for grant in granted_to_view(cache, view, &canaries) {
                add(&mut grants, grant);
            }
        }
    }
    let mut text = String::new();
    if !memcached.is_empty() {
        let memcached = memcached.join(", ");
        let _ = writeln!(text, "# {memcached}: memcached has no ACL, so no rights are needed");
    }
    if !grants.is_empty() {
        text.push_str("# For a new user, set a password: add >PASSWORD after `on`.\n");
    }
    for grant in &grants {
        grant.write(&mut text);
    }
    text
}

/// The views of a cache, if a check compares them.
fn views(cache: &CacheConfig) -> &[ViewConfig] {
    let views = cache.checks.iter().map(CheckConfig::views).find(|views| !views.is_empty());
    views.unwrap_or_default()
}

/// The rights to read a cache's canaries through a view, if the view is of Redis.
fn granted_to_view<'a>(cache: &'a CacheConfig, view: &'a ViewConfig, canaries: &str) -> Vec<Grant<'a>> {
    let Backend::Redis(redis) = &view.backend else { return Vec::new() };
    let at = |address: &'a Address, login: &'a Login| {
        let select = (login.database != 0).then_some("select");
        Grant {
            aliases: vec![&cache.alias],
            user: login.username.as_deref(),
            named: Named::InView,
            servers: vec![AclServers::One(address)],
            primary: None,
            keys: vec![canaries.to_owned()],
            commands: [IN_CLUSTER, "get"].into_iter().chain(select).collect(),
            databases: BTreeSet::from([login.database]),
        }
    };
    match &redis.servers {
        RedisServers::Standalone(address) => vec![at(address, &redis.login)],
        RedisServers::Shards { shards, .. } => {
            by_user(redis, shards.iter(), |shard| at(&shard.address, redis.way_to(shard).0))
        }
        RedisServers::Cluster { .. } | RedisServers::Sentinel { .. } => Vec::new(),
    }
}

/// The rights to share verdicts through this cache, if that is configured.
fn granted_to_share<'a>(cache: &'a CacheConfig, config: &Config) -> Option<Grant<'a>> {
    config.fleet.as_ref().filter(|fleet| fleet.store == cache.alias)?;
    let Backend::Redis(RedisConfig { servers: RedisServers::Standalone(address), login, .. }) =
        &cache.backend
    else {
        return None;
    };
    let mut commands = BTreeSet::from([IN_CLUSTER, "del", "eval", "get", "pttl", "set"]);
    if login.database != 0 {
        commands.insert("select");
    }
    Some(Grant {
        aliases: vec![&cache.alias],
        user: login.username.as_deref(),
        named: Named::In("username"),
        servers: vec![AclServers::One(address)],
        primary: None,
        keys: vec![format!("{}verdict:*", patterns::literally(&config.prefix))],
        commands,
        databases: BTreeSet::from([login.database]),
    })
}

/// The commands that a check other than the round trip sends to the cache's own servers, and the patterns of its keys
/// other than the canaries.
fn asked(check: &CheckConfig) -> (Vec<&'static str>, Vec<String>) {
    match check {
        CheckConfig::Visibility(_) => (vec!["set", "get", "del"], Vec::new()),
        CheckConfig::Queue(queue) => {
            let mut commands = vec!["type", "llen", "scard", "hlen", "zcard", "zcount", "zrange"];
            commands.extend(["xlen", "xinfo|groups", "xpending", "xrange"]);
            let groups = queue.groups.iter().flat_map(|group| &group.keys);
            let mut keys: Vec<_> = groups.flat_map(|(_, keys)| patterns::of(keys)).collect();
            if !queue.witness.is_empty() {
                commands.push("exists");
                keys.extend(queue.witness.iter().map(|key| patterns::literally(key)));
            }
            if let Some(lock) = &queue.lock {
                commands.push("pttl");
                keys.push(patterns::literally(lock));
            }
            (commands, keys)
        }
        CheckConfig::Clock(clock) => {
            let mut commands = vec!["zcard", "zrange"];
            let mut keys = vec![patterns::literally(&clock.partitions)];
            if let Some(global) = &clock.global {
                commands.push("get");
                keys.push(patterns::literally(global));
            }
            (commands, keys)
        }
        CheckConfig::Efficiency(efficiency) => match &efficiency.ttl {
            Some(ttl) => (vec!["info", "scan", "pttl"], vec![patterns::without_spaces(&ttl.pattern)]),
            None => (vec!["info"], Vec::new()),
        },
        // The key of the marker is one of the canaries' pattern.
        CheckConfig::Identity(_) => (vec!["get", "set", "pexpire"], Vec::new()),
        CheckConfig::Policy(_) => (vec!["info"], Vec::new()),
    }
}

/// The rights that one alias needs on its own servers.
fn granted<'a>(cache: &'a CacheConfig, redis: &'a RedisConfig, canaries: &str) -> Vec<Grant<'a>> {
    let alias = &cache.alias;
    let user = redis.login.username.as_deref();
    let grant = |servers: Vec<AclServers<'a>>, commands: &[&'static str]| Grant {
        aliases: vec![alias],
        user,
        named: Named::In("username"),
        servers,
        primary: None,
        keys: vec![canaries.to_owned()],
        commands: commands.iter().copied().collect(),
        databases: BTreeSet::from([redis.login.database]),
    };
    // PING is sent only to diagnose a fault.
    let mut primary = vec!["get", "ping", "set"];
    let mut replica = vec!["get"];
    if redis.login.database != 0 {
        primary.push("select");
        replica.push("select");
    }
    let mut keys = vec![canaries.to_owned()];
    for check in &cache.checks {
        let (more_commands, more_keys) = asked(check);
        primary.extend(more_commands);
        keys.extend(more_keys);
    }
    let of_primary =
        |servers, primary: &[&'static str]| Grant { keys: keys.clone(), ..grant(vec![servers], primary) };
    match &redis.servers {
        RedisServers::Standalone(address) => {
            primary.push(IN_CLUSTER);
            let mut own = Vec::new();
            let replicas = match &redis.replicas.which {
                WhichReplicas::Named(replicas) => {
                    for NamedServer { address: at, own: login, replicas: _ } in replicas {
                        let Some((login, _)) = login.as_deref() else { continue };
                        let select = (login.database != 0).then_some("select");
                        let commands: Vec<_> = ["get"].into_iter().chain(select).collect();
                        let user = login.username.as_deref();
                        let grant = grant(vec![AclServers::One(at)], &commands);
                        own.push(Grant { primary: Some(address), user, named: Named::InReplica, ..grant });
                    }
                    let shared = replicas.iter().filter(|replica| replica.own.is_none());
                    shared.map(|replica| AclServers::One(&replica.address)).collect()
                }
                WhichReplicas::Discovered => {
                    primary.push("role");
                    vec![AclServers::ReplicasOf(address)]
                }
            };
            let mut grants = vec![of_primary(AclServers::One(address), &primary)];
            if !replicas.is_empty() {
                grants.push(Grant { primary: Some(address), ..grant(replicas, &replica) });
            }
            grants.extend(own);
            grants
        }
        RedisServers::Cluster { seeds, .. } => {
            primary.extend(["asking", "cluster|info", "cluster|slots"]);
            primary.extend(redis.consensus.then_some("cluster|nodes"));
            vec![of_primary(AclServers::Cluster(seeds), &primary)]
        }
        RedisServers::Shards { shards, .. } => {
            primary.push(IN_CLUSTER);
            let discovers = redis.replicas.which == WhichReplicas::Discovered;
            primary.extend(discovers.then_some("role"));
            let at = |shard: &'a NamedServer| of_primary(AclServers::One(&shard.address), &primary);
            let mut grants = by_user(redis, shards.iter(), at);
            if discovers {
                let at =
                    |shard: &'a NamedServer| grant(vec![AclServers::ReplicasOf(&shard.address)], &["get"]);
                let unnamed = shards.iter().filter(|shard| shard.replicas.is_empty());
                grants.extend(by_user(redis, unnamed, at));
            }
            for shard in shards {
                let at = |replica: &'a NamedServer| grant(vec![AclServers::One(&replica.address)], &["get"]);
                grants.extend(by_user(redis, shard.replicas.iter(), at));
            }
            grants
        }
        RedisServers::Sentinel { sentinels, name, login } => {
            primary.push("role");
            let sentinel = Grant {
                user: login.username.as_deref(),
                named: Named::In("sentinel_username"),
                keys: Vec::new(),
                databases: BTreeSet::new(),
                ..grant(
                    vec![AclServers::Sentinels(sentinels)],
                    &["sentinel|get-master-addr-by-name", "sentinel|master"],
                )
            };
            vec![of_primary(AclServers::Watched { name, sentinels }, &primary), sentinel]
        }
    }
}

/// A grant for each user of the shards, for those where it logs in.
fn by_user<'a>(
    redis: &'a RedisConfig,
    shards: impl Iterator<Item = &'a NamedServer>,
    at: impl Fn(&'a NamedServer) -> Grant<'a>,
) -> Vec<Grant<'a>> {
    let mut grants: Vec<Grant<'a>> = Vec::new();
    for shard in shards {
        let (login, _) = redis.way_to(shard);
        let named = if shard.own.is_some() { Named::InShard } else { Named::In("username") };
        let (user, databases) = (login.username.as_deref(), BTreeSet::from([login.database]));
        let mut grant = Grant { user, named, databases, ..at(shard) };
        grant.commands.extend((login.database != 0).then_some("select"));
        match grants.iter_mut().find(|other| other.user == user) {
            Some(other) => other.take_over(grant),
            None => grants.push(grant),
        }
    }
    grants
}

/// Adds a grant. If another grant has the same user on one of its servers, the two are merged, since the later line
/// would revoke the rights of the earlier one.
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

impl AclServers<'_> {
    /// `true` if a server may belong to both.
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

impl fmt::Display for AclServers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::ReplicasOf(primary) => write!(f, "each replica of {primary}"),
            Self::Cluster(seeds) => write!(f, "every node of the cluster at {}", joined(seeds)),
            Self::Watched { name, .. } => {
                write!(f, "every server of {name}, because each may become the primary")
            }
            Self::Sentinels(sentinels) => write!(f, "the Sentinels at {}", joined(sentinels)),
        }
    }
}

impl<'a> Grant<'a> {
    /// `true` if both are for the same user on the same server.
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
        for pattern in other.keys {
            if !self.keys.contains(&pattern) {
                self.keys.push(pattern);
            }
        }
        self.commands.extend(other.commands);
        self.databases.extend(other.databases);
    }

    /// Writes the comment and the line.
    fn write(&self, text: &mut String) {
        let _ = write!(text, "# {}: on {}", joined(&self.aliases), joined(&self.servers));
        if self.user.is_none() {
            let _ = match self.named {
                Named::In(key) => {
                    write!(text, "; to log in with it, set {key} = \"{USER}\" and its password")
                }
                Named::InReplica => {
                    write!(text, "; to log in with it, add the user and its password to the replica's URL")
                }
                Named::InShard => {
                    write!(
                        text,
                        "; to log in with it, add the user and its password to the URL of each shard"
                    )
                }
                Named::InView => {
                    write!(text, "; to log in with it, add the user and its password to the view's URL")
                }
            };
        }
        let keys: String = self.keys.iter().map(|pattern| argument(&format!("~{pattern}")) + " ").collect();
        let commands: Vec<_> = self.commands.iter().map(|command| format!("+{command}")).collect();
        let user = argument(self.user.unwrap_or(USER));
        let _ = writeln!(
            text,
            "\nACL SETUSER {user} on resetkeys {keys}resetchannels -@all {}",
            commands.join(" ")
        );
        let databases: Vec<_> = self.databases.iter().map(u32::to_string).collect();
        let rule = format!("ACL SETUSER {user} resetdbs db={}", databases.join(","));
        let _ = match databases.as_slice() {
            [] => Ok(()),
            // A new user may use every database.
            [only] if only == "0" && self.user.is_none() => Ok(()),
            [only] if only == "0" => {
                writeln!(text, "# if a Valkey (9.1 or later) limits this user to other databases: {rule}")
            }
            _ => writeln!(
                text,
                "# only for Valkey 9.1 or later, which limits users to databases; other servers reject this line\n{rule}"
            ),
        };
    }
}

/// An argument as redis-cli reads it (`sdssplitargs` in Redis' sds.c), quoted if redis-cli would split it otherwise.
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
