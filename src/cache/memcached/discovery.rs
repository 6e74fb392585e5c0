//! The list of servers from a configuration endpoint ("Adding Auto Discovery to your client library" in the
//! documentation of Amazon ElastiCache).

use std::net::IpAddr;
use std::sync::Arc;

use super::super::connection::{AnswerError, Connection};
use super::{Dialect, Memcached, StoreRefusal, binary, classic, refusal, word};
use crate::config::Address;
use crate::outcome::{Fault, Phase};
use crate::progress::NodeProgress;

/// The most servers that an endpoint may list; ElastiCache has at most 60.
pub(crate) const MAX_MEMBERS: usize = 1000;

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    /// Its name, which is also the one in its certificate.
    pub(crate) host: Arc<str>,
    /// Its address, if that is known.
    pub(crate) ip: Option<IpAddr>,
    /// Its port.
    pub(crate) port: u16,
}

/// An endpoint's answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// A number that grows with each change of the servers.
    pub(crate) version: u64,
    /// The servers that can be used; at least one.
    pub(crate) members: Vec<Member>,
    /// The number of entries that are no servers.
    pub(crate) unusable: usize,
}

impl Member {
    /// The address at which it is dialed.
    pub(crate) fn address(&self) -> Address {
        let host = self.ip.map_or_else(|| self.host.to_string(), |ip| ip.to_string());
        Address::Tcp { host, port: self.port }
    }
}

impl Memcached {
    /// Asks a configuration endpoint for its servers. If a kept connection turns out to have been
    /// closed, a new one is used.
    pub(crate) async fn configuration(&self, progress: &NodeProgress) -> Result<Configuration, Fault> {
        loop {
            let mut connection = self.link.begin(progress, || self.dial(progress)).await?;
            progress.enter(Phase::Read);
            match ask(&mut connection, self.dialect()).await {
                Ok(configuration) => {
                    self.link.keep(connection).map_err(|error| error.fault(progress))?;
                    return Ok(configuration);
                }
                Err(refusal) => self.closed_before(&connection, &refusal, progress)?,
            }
        }
    }
}

/// The key under which engines before 1.4.14 hold the text that `config get cluster` returns since.
const KEY: &str = "AmazonElastiCache:cluster";

pub(super) async fn ask(
    connection: &mut Connection,
    dialect: Dialect,
) -> Result<Configuration, StoreRefusal> {
    let text = match dialect {
        Dialect::Meta | Dialect::Classic => match config_get(connection).await? {
            Configured::Text(text) => Some(text),
            Configured::Unknown => classic::get(connection, KEY).await?,
        },
        Dialect::Binary => binary::get(connection, KEY).await?,
    };
    let Some(text) = text else {
        return Err(malformed("the server lists no servers, so it is not a configuration endpoint"));
    };
    parse(&text).map_err(malformed)
}

enum Configured {
    Text(Vec<u8>),
    /// The server does not know the command.
    Unknown,
}

async fn config_get(connection: &mut Connection) -> Result<Configured, StoreRefusal> {
    connection.send(b"config get cluster\r\n").await?;
    let line = super::line(connection).await?;
    if line == b"ERROR" {
        return Ok(Configured::Unknown);
    }
    if word(&line, 0) != Some("CONFIG") || word(&line, 1) != Some("cluster") {
        return Err(refusal(&line));
    }
    let Some(len) = word(&line, 3).and_then(|len| len.parse().ok()) else {
        return Err(malformed("the length of the configuration is not a number"));
    };
    let text = connection.data(len).await?;
    match connection.line().await?.as_slice() {
        b"END" => Ok(Configured::Text(text)),
        _ => Err(malformed("the configuration is not followed by END")),
    }
}

fn malformed(what: &'static str) -> StoreRefusal {
    AnswerError::Malformed(what).into()
}

/// The fault of an entry.
pub(crate) const NO_MEMBER: &str = "a server in the configuration is not in the form host|ip|port";

/// Reads an endpoint's answer: a line with the version, and one with the servers, as `host|ip|port` with a
/// space between. The address may be missing. An entry that cannot be used hides none of the others.
pub(super) fn parse(text: &[u8]) -> Result<Configuration, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "the configuration is not UTF-8")?;
    let (version, servers) = text.split_once('\n').ok_or("the configuration has no line of servers")?;
    let version = version.trim().parse().map_err(|_| "the configuration's version is not a number")?;
    let entries: Vec<_> = servers.split_ascii_whitespace().take(MAX_MEMBERS + 1).collect();
    if entries.len() > MAX_MEMBERS {
        return Err("the configuration lists more than 1000 servers");
    }
    let members: Vec<_> = entries.iter().filter_map(|entry| member(entry)).collect();
    match (members.len(), entries.len() - members.len()) {
        (0, 0) => Err("the configuration lists no server"),
        (0, _) => Err(NO_MEMBER),
        (_, unusable) => Ok(Configuration { version, members, unusable }),
    }
}

fn member(text: &str) -> Option<Member> {
    let mut parts = text.split('|');
    let (host, ip, port) = (parts.next()?, parts.next()?, parts.next()?);
    // The longest name in DNS (RFC 1035, section 2.3.4), and the characters of names and addresses.
    let named = (1..=253).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    let ip = if ip.is_empty() { None } else { Some(ip.parse().ok()?) };
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (named && parts.next().is_none()).then(|| Member { host: host.into(), ip, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_is_documented() {
        let text = b"12\nmc.0001.example|10.82.235.120|11211 mc.0002.example||11212\n";
        let Configuration { version, members, unusable } = parse(text).unwrap();
        assert_eq!((version, unusable), (12, 0));
        let addresses: Vec<_> = members.iter().map(|member| member.address().to_string()).collect();
        assert_eq!(addresses, ["10.82.235.120:11211", "mc.0002.example:11212"]);
        assert_eq!(&*members[0].host, "mc.0001.example");
        assert_eq!(parse(b"3\nmc|::1|11211").unwrap().members[0].address().to_string(), "[::1]:11211");
    }

    #[test]
    fn an_entry_that_cannot_be_used_hides_no_other_one() {
        let text = b"12\n||1 a||0 mc.0001.example|10.82.235.120|11211 a|b|1 a@b||1 one\n";
        let Configuration { members, unusable, .. } = parse(text).unwrap();
        assert_eq!((members.len(), unusable), (1, 5));
        assert_eq!(members[0].address().to_string(), "10.82.235.120:11211");
    }

    #[test]
    fn a_response_that_is_no_configuration_is_reported() {
        let many = format!("1\n{}", "a||1 ".repeat(MAX_MEMBERS + 1));
        for (text, said) in [
            ("", "the configuration has no line of servers"),
            ("12", "the configuration has no line of servers"),
            ("twelve\na||1\n", "the configuration's version is not a number"),
            ("12\n\n", "the configuration lists no server"),
            ("12\na|1\n", "a server in the configuration is not in the form host|ip|port"),
            ("12\n||1\n", "a server in the configuration is not in the form host|ip|port"),
            ("12\na||0\n", "a server in the configuration is not in the form host|ip|port"),
            ("12\na|b|1\n", "a server in the configuration is not in the form host|ip|port"),
            ("12\na||1|x\n", "a server in the configuration is not in the form host|ip|port"),
            ("12\na@b||1\n", "a server in the configuration is not in the form host|ip|port"),
            (&many, "the configuration lists more than 1000 servers"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(said), "{text:.40}");
        }
    }
}
