//! Where a server is, as it is written: `cache:6379`, `unix:/run/redis.sock`,
//! `redis://user:password@cache:6379/0`.
//!
//! What is written may hold a password, in the right place or in a wrong one. So every error here is a fixed
//! text, which cannot repeat a part of it.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::Address;

/// The port on which a Redis listens if nothing else is said.
const REDIS_PORT: u16 = 6379;
/// The port on which a memcached listens if nothing else is said.
const MEMCACHED_PORT: u16 = 11211;
/// The longest path of a unix socket: `sun_path` of Linux has 108 bytes, the last of them a NUL (unix(7)).
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// What a Redis URL says.
pub(super) struct RedisUrl {
    pub(super) address: Address,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) database: Option<u32>,
    /// TLS is asked for by the scheme; `None` where there is no scheme that could.
    pub(super) tls: Option<bool>,
    /// Parameters after the `?` that say nothing about where the server is, in their order.
    pub(super) others: Vec<(String, String)>,
}

pub(super) const NO_SCHEME: &str =
    "a URL begins with redis://, rediss:// (TLS), valkey://, valkeys://, redis+unix:// or memcached://";
const NOT_REDIS: &str = "this is no URL of a Redis: it begins with redis://, rediss:// (TLS), valkey://, \
                         valkeys:// or redis+unix://";
const BAD_URL: &str = "this URL cannot be understood: it has the form redis://user:password@host:6379/0, \
                       and in user and password the characters / ? # @ : % are written %2F %3F %23 %40 %3A \
                       %25";
const SEVERAL: &str = "this URL names several servers: name the primary here and the others in `replicas` \
                       (clusters and sentinels are not supported yet)";
const DATABASE: &str = "after the host and the `/` comes the database's number, as in redis://host:6379/0";
const HOST: &str = "this is no address of a server; write host, host:port, [IPv6 address]:port or \
                    unix:/path, and a comma between several";
const PORT: &str = "the port is a number from 1 to 65535";
const SOCKET: &str = "the path of a unix socket begins with / and has at most 107 bytes";

impl RedisUrl {
    /// The keys of `[caches.ALIAS]` that this URL answers besides the address.
    pub(super) fn says(&self) -> Vec<&'static str> {
        let said = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("database", self.database.is_some()),
        ];
        said.into_iter().filter_map(|(key, said)| said.then_some(key)).collect()
    }
}

/// Whether a text begins like a URL of memcached servers.
pub(super) fn is_memcached_url(text: &str) -> bool {
    memcached_authority(text).is_some()
}

/// Whether a text looks like a URL, whatever its scheme.
pub(super) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A redis URL, or an address without a scheme.
pub(super) fn redis_location(text: &str) -> Result<RedisUrl, &'static str> {
    if is_url(text) {
        return redis_url(text);
    }
    let address = address(text, REDIS_PORT)?;
    Ok(RedisUrl { address, username: None, password: None, database: None, tls: None, others: Vec::new() })
}

/// A redis URL, of the forms that redis-py's `from_url` takes and their synonyms for Valkey.
pub(super) fn redis_url(text: &str) -> Result<RedisUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
    let (unix, tls) = match scheme {
        "redis" | "valkey" => (false, Some(false)),
        "rediss" | "valkeys" => (false, Some(true)),
        "unix" | "redis+unix" => (true, None),
        _ => return Err(NOT_REDIS),
    };
    // The parser would drop tabs and newlines without a word.
    if text.chars().any(char::is_control) {
        return Err(BAD_URL);
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.contains(',') {
        return Err(SEVERAL);
    }
    // The parser takes no user without a host, which is how redis-py writes a socket's: unix://user@/path.
    let socket_host = if unix && hosts.is_empty() && !authority.is_empty() { "localhost" } else { "" };
    let (userinfo, path) = rest.split_at(authority.len());
    let url = Url::parse(&format!("redis://{userinfo}{socket_host}{path}")).map_err(|error| match error {
        // Without an @ there is no password that could look like a port.
        url::ParseError::InvalidPort if !text.contains('@') => PORT,
        _ => BAD_URL,
    })?;
    // What follows an unescaped / ? or # of a password looks like a path, a parameter or a fragment.
    let spilt = url.fragment().is_some() || if unix { !hosts.is_empty() } else { path.contains('@') };
    if spilt {
        return Err(BAD_URL);
    }

    let mut username = decoded(url.username())?;
    let mut password = decoded(url.password().unwrap_or_default())?;
    let mut database = None;
    let mut others = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => database = Some(value.parse().map_err(|_| DATABASE)?),
            "username" => username = value.into_owned(),
            "password" => password = value.into_owned(),
            _ => others.push((name.into_owned(), value.into_owned())),
        }
    }
    let address = if unix {
        socket(&decoded(url.path())?)?
    } else {
        if let Some(number) = url.path().strip_prefix('/').filter(|number| !number.is_empty()) {
            // As in redis-py, ?db= wins over the path.
            let number = number.parse().map_err(|_| DATABASE)?;
            database = database.or(Some(number));
        }
        tcp(url.host_str().unwrap_or_default(), url.port().unwrap_or(REDIS_PORT))?
    };
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(RedisUrl {
        address,
        username: given(username),
        password: given(password).map(SecretString::from),
        database,
        tls,
        others,
    })
}

/// The servers that a URL such as `memcached://a:11211,b:11211` names.
pub(super) fn memcached_url(text: &str) -> Result<Vec<Address>, &'static str> {
    let servers = memcached_authority(text).ok_or("a URL of memcached servers begins with memcached://")?;
    if servers.contains('@') {
        return Err("credentials for memcached are not supported yet; write memcached://host:11211");
    }
    let servers = if servers.starts_with('/') { servers } else { servers.trim_end_matches('/') };
    servers.split(',').map(memcached_server).collect()
}

/// What follows `memcached://`.
fn memcached_authority(text: &str) -> Option<&str> {
    text.strip_prefix("memcached://").or_else(|| text.strip_prefix("memcache://"))
}

/// A memcached server, without a scheme.
pub(super) fn memcached_server(text: &str) -> Result<Address, &'static str> {
    if is_url(text) {
        return Err(
            "this is a URL, not the address of a memcached server, which is host:11211 or unix:/path",
        );
    }
    address(text.trim(), MEMCACHED_PORT)
}

/// `host`, `host:port`, `[::1]:port`, `::1`, `unix:/path` or `/path`.
fn address(text: &str, default_port: u16) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(path.strip_prefix("//").unwrap_or(path));
    }
    if text.starts_with('/') {
        return socket(text);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return tcp(text, default_port);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().map_err(|_| PORT)?),
        _ => (text, default_port),
    };
    tcp(host, port)
}

/// A host of letters, digits, `-`, `_` and `.`, or an IPv6 address, and a port that is not 0.
fn tcp(host: &str, port: u16) -> Result<Address, &'static str> {
    if port == 0 {
        return Err(PORT);
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let v6 = bracketed.unwrap_or(host).parse::<Ipv6Addr>().ok();
    let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // 253 is the longest name that DNS has (RFC 1035, section 2.3.4).
    let name = name && (1..=253).contains(&host.len());
    match v6 {
        Some(v6) => Ok(Address::Tcp { host: v6.to_string(), port }),
        // Names are the same in capitals, and one server has one name here.
        None if name => Ok(Address::Tcp { host: host.to_ascii_lowercase(), port }),
        None => Err(HOST),
    }
}

fn socket(path: &str) -> Result<Address, &'static str> {
    // With a slash too many or too few, user and password are a part of the path.
    if path.rsplit_once('@').is_some_and(|(before, _)| before.contains(':')) {
        return Err(BAD_URL);
    }
    let fits = path.starts_with('/') && (2..=MAX_SOCKET_PATH).contains(&path.len()) && !path.contains('\0');
    if fits { Ok(Address::Unix(PathBuf::from(path))) } else { Err(SOCKET) }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(
        |_| "what stands for a user, password or path in this URL is not UTF-8 once it is percent-decoded",
    )
}
