//! Addresses of servers, as they are written: `cache:6379`, `unix:/run/redis.sock`,
//! `redis://user:password@cache:6379/0`.
//!
//! The text may hold a password, in the right place or in a wrong one. So every error here is a fixed text, which
//! cannot repeat a part of it.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::keys::RedisTopology;
use super::{Address, MemcachedServers, RespVersion, Secret};

/// The default port of a Redis.
const REDIS_PORT: u16 = 6379;
/// The default port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;
/// The default port of a memcached.
const MEMCACHED_PORT: u16 = 11211;
/// The longest path of a unix socket: `sun_path` of Linux has 108 bytes, the last of them a NUL (unix(7)).
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// A Redis URL, taken apart.
#[derive(Default)]
pub(super) struct RedisUrl {
    /// The servers, or the Sentinels; at least one.
    pub(super) addresses: Vec<Address>,
    /// The Sentinels' name for the primary, if there are Sentinels.
    pub(super) name: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<u32>,
    pub(super) protocol: Option<RespVersion>,
    /// TLS is asked for by the scheme; `None` where there is no scheme that could.
    pub(super) tls: Option<bool>,
    /// Parameters after the `?` that do not name the server, in their order.
    pub(super) others: Vec<(String, String)>,
}

/// A URL of memcached servers, taken apart.
pub(super) struct MemcachedUrl {
    /// At least one.
    pub(super) servers: Vec<MemcachedServers>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    /// TLS is asked for by the scheme.
    pub(super) tls: bool,
}

/// The meaning of a redis URL's scheme.
struct Scheme {
    /// The topology, if the scheme tells it.
    topology: Option<RedisTopology>,
    unix: bool,
    tls: Option<bool>,
}

pub(super) const NO_SCHEME: &str = "the URL must begin with redis://, rediss:// (TLS), redis+cluster://, redis+sentinel://, redis+unix://, the \
     same with valkey, memcached:// or memcacheds:// (TLS)";
const NOT_REDIS: &str = "not a Redis URL: it must begin with redis://, rediss:// (TLS), \
                         redis+cluster://, redis+sentinel:// or redis+unix://, or the same with valkey";
const BAD_URL: &str = "invalid URL: write redis://user:password@host:6379/0, \
                       and in user and password write / ? # @ : % as %2F %3F %23 %40 %3A \
                       %25";
const BAD_MEMCACHED_URL: &str = "invalid URL: write \
                                 memcached://user:password@one:11211,two:11211, and in user and password \
                                 write / ? # @ : % as %2F %3F %23 %40 %3A %25";
pub(super) const SEVERAL: &str = "several servers need a topology: begin the URL with redis+cluster:// or \
                       redis+sentinel://, or keep only the primary here and list the others in `replicas`";
const ONE_SERVER: &str = "expected one server, found a cluster or Sentinels";
const DATABASE: &str = "the part after `host:port/` must be the database number, as in redis://host:6379/0";
const NAME: &str = "the primary's name in Sentinel must follow the addresses, in letters, digits, `.`, \
                    `-` and `_`: redis+sentinel://user:password@one:26379,two:26379/mymaster/0";
const PROTOCOL: &str = "`protocol` in this URL must be 2 or 3";
const NO_SOCKETS: &str = "cluster nodes and Sentinels need addresses such as host:port, not a unix socket";
const HOST: &str = "not a server address; write host, host:port, [IPv6 address]:port or \
                    unix:/path, separated by commas";
const PORT: &str = "the port must be a number from 1 to 65535";
const SOCKET: &str = "the path of a unix socket must begin with / and have at most 107 bytes";
const MANY_SERVERS: &str = "write host:port after `dns+all:` and `discover:`";
const DECODED: &str = "user, password or path in this URL is not UTF-8 after percent-decoding";

impl RedisUrl {
    /// The keys of `[caches.ALIAS]` that this URL answers besides the address.
    pub(super) fn says(&self) -> Vec<&'static str> {
        let said = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("database", self.database.is_some()),
            ("protocol", self.protocol.is_some()),
            ("tls", self.tls == Some(true)),
        ];
        said.into_iter().filter_map(|(key, said)| said.then_some(key)).collect()
    }
}

/// `true` if a text begins like a URL of memcached servers.
pub(super) fn is_memcached_url(text: &str) -> bool {
    memcached_authority(text).is_some()
}

/// `true` if a text looks like a URL of any scheme.
pub(super) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// `true` if a URL without a user leaves the login open, so that the login of the alias is used. A URL with an `@` and
/// nothing before it asks for no login.
pub(super) fn leaves_the_login_open(text: &str) -> bool {
    !text.contains('@')
}

/// The topology of a Redis, if the scheme of its URL, or its address without one, tells it.
pub(super) fn topology(text: &str) -> Result<Option<RedisTopology>, &'static str> {
    Ok(match text.split_once("://") {
        Some((name, _)) => scheme(name)?.topology,
        None => None,
    })
}

fn scheme(name: &str) -> Result<Scheme, &'static str> {
    let (name, way) = name.split_once('+').map_or((name, None), |(name, way)| (name, Some(way)));
    let tls = match name {
        "redis" | "valkey" | "unix" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(NOT_REDIS),
    };
    let topology = match (name, way) {
        ("unix", None) | ("redis" | "valkey", Some("unix")) => {
            return Ok(Scheme { topology: Some(RedisTopology::Standalone), unix: true, tls: None });
        }
        ("redis" | "rediss" | "valkey" | "valkeys", None) => None,
        ("redis" | "rediss" | "valkey" | "valkeys", Some("cluster")) => Some(RedisTopology::Cluster),
        ("redis" | "rediss" | "valkey" | "valkeys", Some("sentinel")) => Some(RedisTopology::Sentinel),
        _ => return Err(NOT_REDIS),
    };
    Ok(Scheme { topology, unix: false, tls: Some(tls) })
}

/// A redis URL, or addresses without a scheme.
pub(super) fn redis_location(text: &str, topology: RedisTopology) -> Result<RedisUrl, &'static str> {
    if is_url(text) {
        return redis_url(text, topology);
    }
    let addresses = match topology {
        RedisTopology::Standalone | RedisTopology::Shards => vec![address(text, REDIS_PORT)?],
        RedisTopology::Cluster => {
            text.split(',').map(|text| address(text.trim(), REDIS_PORT)).collect::<Result<_, _>>()?
        }
        RedisTopology::Sentinel => return Err(NAME),
    };
    let socket = addresses.iter().any(|address| matches!(address, Address::Unix(_)));
    if socket && topology != RedisTopology::Standalone {
        return Err(NO_SOCKETS);
    }
    Ok(RedisUrl { addresses, ..RedisUrl::default() })
}

/// A redis URL, of the forms that redis-py's `from_url` takes and their synonyms for Valkey, with several hosts if
/// there is more than one to ask.
fn redis_url(text: &str, topology: RedisTopology) -> Result<RedisUrl, &'static str> {
    let (name, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
    let Scheme { topology: said, unix, tls } = scheme(name)?;
    if said.is_some_and(|said| said != topology) {
        return Err(ONE_SERVER);
    }
    // The parser would drop tabs and newlines without a word.
    if text.chars().any(char::is_control) {
        return Err(BAD_URL);
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let (user, path) = (&authority[..authority.len() - hosts.len()], &rest[authority.len()..]);
    let (first, others) = hosts.split_once(',').map_or((hosts, None), |(first, rest)| (first, Some(rest)));
    // redis-py takes a URL without a host for one of this host, and writes a socket's user so: unix://user@/path.
    let is_hostless = hosts.is_empty() || hosts.strip_prefix(':').is_some_and(|port| !port.starts_with(':'));
    let has_default = if unix { hosts.is_empty() && !user.is_empty() } else { is_hostless && said.is_none() };
    let host = if has_default { format!("localhost{first}") } else { first.to_owned() };
    let parse = |url: String| {
        Url::parse(&url).map_err(|error| match error {
            // Without an @ there is no password that could look like a port.
            url::ParseError::InvalidPort if !text.contains('@') => PORT,
            _ => BAD_URL,
        })
    };
    let url = parse(format!("redis://{user}{host}{path}"))?;
    // The rest of a password behind an unescaped / ? or # looks like a path, a parameter or a fragment.
    let spilt = url.fragment().is_some() || if unix { !hosts.is_empty() } else { path.contains('@') };
    if spilt {
        return Err(BAD_URL);
    }
    if others.is_some() && topology == RedisTopology::Standalone {
        return Err(SEVERAL);
    }

    let mut said = Parameters::of(&url)?;
    let mut name = None;
    let addresses = if unix {
        vec![socket(&decoded(url.path())?)?]
    } else {
        let path = url.path();
        let mut parts = path.strip_prefix('/').unwrap_or(path).splitn(2, '/');
        if topology == RedisTopology::Sentinel {
            name = Some(parts.next().and_then(primary_name).ok_or(NAME)?);
        }
        let number = parts.collect::<Vec<_>>().join("/");
        if !number.is_empty() {
            // As in redis-py, ?db= wins over the path.
            let number = number.parse().map_err(|_| DATABASE)?;
            said.database = said.database.or(Some(number));
        }
        let port = if topology == RedisTopology::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let at = |url: &Url| tcp(url.host_str().unwrap_or_default(), url.port().unwrap_or(port));
        let others = others.into_iter().flat_map(|others| others.split(','));
        let others = others.map(|host| at(&parse(format!("redis://{host}"))?));
        std::iter::once(at(&url)).chain(others).collect::<Result<_, _>>()?
    };
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(RedisUrl {
        addresses,
        name,
        username: given(said.username),
        password: given(said.password).map(Secret::from),
        database: said.database,
        protocol: said.protocol,
        tls,
        others: said.others,
    })
}

/// The user, the password and the parameters of a redis URL.
struct Parameters {
    username: String,
    password: String,
    database: Option<u32>,
    protocol: Option<RespVersion>,
    others: Vec<(String, String)>,
}

impl Parameters {
    fn of(url: &Url) -> Result<Self, &'static str> {
        let mut said = Self {
            username: decoded(url.username())?,
            password: decoded(url.password().unwrap_or_default())?,
            database: None,
            protocol: None,
            others: Vec::new(),
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => said.database = Some(value.parse().map_err(|_| DATABASE)?),
                "protocol" => said.protocol = Some(protocol(&value).ok_or(PROTOCOL)?),
                // What stands before the host wins, as in redis-py.
                "username" if said.username.is_empty() => said.username = value.into_owned(),
                "password" if said.password.is_empty() => said.password = value.into_owned(),
                "username" | "password" => {}
                _ => said.others.push((name.into_owned(), value.into_owned())),
            }
        }
        Ok(said)
    }
}

/// Parameters that clients of Redis know, each with what takes its place. No other is named: it may be a part of a password.
const OTHERS: &[(&str, &str)] = &[
    ("ssl_cert_reqs", "set tls.verify"),
    ("ssl_check_hostname", "set tls.verify = \"ca\" to accept any name"),
    ("ssl_ca_certs", "set tls.ca_file"),
    ("ssl_ca_path", "set tls.ca_file"),
    ("ssl_ca_data", "set tls.ca_file"),
    ("ssl_certfile", "set tls.cert_file"),
    ("ssl_keyfile", "set tls.key_file"),
    ("verify", "set tls.verify"),
    ("insecure", "set tls.verify"),
    ("skip_verify", "set tls.verify"),
    ("insecure_skip_verify", "set tls.verify"),
    ("sslmode", "set tls.verify"),
    ("ssl", "begin the URL with rediss:// for TLS"),
    ("tls", "begin the URL with rediss:// for TLS"),
    ("timeout", "set `timeout` above the caches"),
    ("socket_timeout", "set `timeout` above the caches"),
    ("socket_connect_timeout", "set `timeout` above the caches"),
];

/// The problem with parameters that are not known, if there are some.
pub(super) fn unknown_parameter(others: &[(String, String)]) -> Option<String> {
    const KNOWN: &str = "in this URL; known are db, protocol, username, password";
    others.first()?;
    let known =
        others.iter().find_map(|(name, _)| OTHERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
    Some(known.map_or_else(
        || format!("unknown parameter {KNOWN}"),
        |(name, instead)| format!("unknown parameter `{name}` {KNOWN}; remove `{name}`, and {instead}"),
    ))
}

/// `true` if each parameter has a name that is known from clients of Redis, so that none is a secret.
pub(super) fn may_show(others: &[(String, String)]) -> bool {
    others.iter().all(|(name, _)| OTHERS.iter().any(|(known, _)| known == name))
}

/// The version of the protocol, by the number that redis-py gives it.
pub(super) fn protocol(number: &str) -> Option<RespVersion> {
    match number {
        "2" => Some(RespVersion::Resp2),
        "3" => Some(RespVersion::Resp3),
        _ => None,
    }
}

/// A name that Sentinels may have for a primary (the comment on `sentinel monitor` in sentinel.conf).
pub(super) fn primary_name(name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    ((1..=253).contains(&name.len()) && name.bytes().all(fits)).then(|| name.to_owned())
}

/// A Sentinel, without a scheme.
pub(super) fn sentinel(text: &str) -> Result<Address, &'static str> {
    match address(text, SENTINEL_PORT)? {
        Address::Unix(_) => Err(NO_SOCKETS),
        address @ Address::Tcp { .. } => Ok(address),
    }
}

/// A name in a certificate: a host, without a port.
pub(super) fn server_name(text: &str) -> Option<String> {
    match tcp(text, 1) {
        Ok(Address::Tcp { host, .. }) if !text.starts_with('[') => Some(host),
        Ok(_) | Err(_) => None,
    }
}

/// The servers that a URL such as `memcached://a:11211,b:11211` names, and the login there.
pub(super) fn memcached_url(text: &str) -> Result<MemcachedUrl, &'static str> {
    let (rest, tls) = memcached_authority(text)
        .ok_or("the URL of memcached servers must begin with memcached:// or memcacheds:// (TLS)")?;
    let (user, servers) = rest.rsplit_once('@').unwrap_or(("", rest));
    // The rest of a password behind an unescaped one of these characters looks like an address.
    if user.contains(['/', '?', '#']) || text.chars().any(char::is_control) {
        return Err(BAD_MEMCACHED_URL);
    }
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let servers = if servers.starts_with('/') { servers } else { servers.trim_end_matches('/') };
    let given = |text: &str| Ok::<_, &str>(Some(decoded(text)?).filter(|text| !text.is_empty()));
    Ok(MemcachedUrl {
        servers: servers.split(',').map(memcached_servers).collect::<Result<_, _>>()?,
        username: given(username)?,
        password: given(password)?.map(Secret::from),
        tls,
    })
}

/// The text behind `memcached://`, and `true` if the scheme asks for TLS.
fn memcached_authority(text: &str) -> Option<(&str, bool)> {
    match text.split_once("://")? {
        ("memcached" | "memcache", rest) => Some((rest, false)),
        ("memcacheds", rest) => Some((rest, true)),
        _ => None,
    }
}

/// A memcached server, or the source of some, without a scheme.
pub(super) fn memcached_servers(text: &str) -> Result<MemcachedServers, &'static str> {
    let text = text.trim();
    let (way, rest) = text.split_once(':').unwrap_or(("", text));
    match way {
        // A server may be called `discover`, and then only its port follows.
        "dns+all" | "discover" if rest.parse::<u16>().is_err() => {
            match (way, memcached_server(rest).map_err(|_| MANY_SERVERS)?) {
                ("discover", address @ Address::Tcp { .. }) => Ok(MemcachedServers::Endpoint(address)),
                (_, Address::Tcp { host, port }) => Ok(MemcachedServers::EveryAddress { host, port }),
                (_, Address::Unix(_)) => Err(MANY_SERVERS),
            }
        }
        _ => memcached_server(text).map(MemcachedServers::One),
    }
}

/// A memcached server, without a scheme.
fn memcached_server(text: &str) -> Result<Address, &'static str> {
    if is_url(text) {
        return Err("this is a URL; write the address of a memcached server, host:11211 or unix:/path");
    }
    let text = text.trim();
    let mut address = address(text, MEMCACHED_PORT)?;
    // Clients place keys by the name as it is written.
    if let Address::Tcp { host, .. } = &mut address
        && let Some(written) = text.get(..host.len()).filter(|written| written.eq_ignore_ascii_case(host))
    {
        written.clone_into(host);
    }
    Ok(address)
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
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| DECODED)
}
