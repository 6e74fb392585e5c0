//! `[access]`: the callers that get an answer, those that see more than verdicts, and the proxies that are believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::place::{ConfigProblem, Origin, Place};
use super::reader::{ConfigReader, Section};
use super::value::{Value, one_of};
use super::{Access, Listen, ListenerTls, Proxies, Secret, keys, text_file};

/// The word among the networks for proxies that come over a unix socket.
const UNIX: &str = "unix";

/// The fewest characters of a token; if they are random, so many are not found by trying.
const MIN_TOKEN: usize = 16;

const A_NETWORK: &str = "not a network; write \"10.0.0.0/8\", \"2001:db8::/32\" or a single address";
const A_PROXY: &str = "not a network; write \"10.0.0.0/8\", \"2001:db8::/32\", a single address, or \"unix\" \
                       for a proxy that connects through a unix socket";
const A_HOST: &str = "not a host name; write it as \"canary.internal\", without scheme and port";
const A_TOKEN: &str = "a token must have at least 16 printable ASCII characters without spaces; `openssl rand -hex 16` \
                       makes one";

/// The callers' rights; those that are not written are as in `default`.
pub(super) fn read(reader: &mut ConfigReader, default: Access) -> Access {
    let section = reader.section("access", keys::ACCESS);
    let trusted_proxies = reader.said(&section, "trusted_proxies", proxies).unwrap_or_default();
    reader.notes.extend(note_open_proxies(&trusted_proxies));
    Access {
        allow: reader.said(&section, "allow", networks).unwrap_or(default.allow),
        details: reader.said(&section, "details", networks).unwrap_or(default.details),
        hosts: reader.said(&section, "hosts", hosts).unwrap_or(default.hosts),
        trusted_proxies,
        token: token(reader, &section),
    }
}

fn token(reader: &mut ConfigReader, section: &Section) -> Option<Secret> {
    let (key, value) = reader.told(one_of(&section.table, keys::alternatives(keys::ACCESS, "token")))??;
    let origin = value.place.origin();
    if let ("token", true, Origin::File { .. }) = (key, value.literal, &origin) {
        reader.notes.push(format!(
            "access: the token is in {origin}; use token_file or ${{NAME}} to keep it out of the file"
        ));
    }
    reader.origins.insert("access.token".to_owned(), origin);
    let text = match key {
        "token_file" => text_file::secret(value, &mut reader.files),
        _ => value.text().map(str::to_owned),
    };
    let token = text.and_then(|text| {
        let valid = text.len() >= MIN_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Secret::from(text)) } else { Err(value.problem(A_TOKEN)) }
    });
    reader.told(token)
}

fn networks(value: &Value) -> Result<Vec<IpNet>, ConfigProblem> {
    value.texts()?.into_iter().map(|(text, place)| network(text, place, A_NETWORK)).collect()
}

fn proxies(value: &Value) -> Result<Proxies, ConfigProblem> {
    let (unix, networks): (Vec<_>, Vec<_>) = value.texts()?.into_iter().partition(|(text, _)| *text == UNIX);
    let networks = networks.into_iter().map(|(text, place)| network(text, place, A_PROXY));
    Ok(Proxies { networks: networks.collect::<Result<_, _>>()?, unix: !unix.is_empty() })
}

fn network(text: &str, place: &Place, wanted: &str) -> Result<IpNet, ConfigProblem> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| place.problem(wanted))
}

fn hosts(value: &Value) -> Result<Vec<String>, ConfigProblem> {
    value.texts()?.into_iter().map(|(text, place)| host(text).ok_or_else(|| place.problem(A_HOST))).collect()
}

/// A name in lower case without the dot of the root.
fn host(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    let name = text.strip_suffix('.').unwrap_or(text);
    name.split('.').all(is_label).then(|| name.to_ascii_lowercase())
}

/// Takes note of a proxy network that holds every address, so that anybody's word on an address counts.
fn note_open_proxies(proxies: &Proxies) -> Option<String> {
    let everyone = proxies.networks.iter().find(|network| network.prefix_len() == 0)?;
    Some(format!(
        "access.trusted_proxies: {everyone} contains every address, so any client can claim an address in \
         `allow` or `details`; list only the proxies"
    ))
}

/// Takes note of a token that comes over a network for everybody in between to read.
pub(super) fn note_open_token(
    access: &Access,
    listen: &[Listen],
    tls: Option<&ListenerTls>,
) -> Option<String> {
    let open = listen.iter().find(|listen| match listen {
        Listen::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => false,
    });
    let (Some(_), None, Some(open)) = (&access.token, tls, open) else { return None };
    Some(format!(
        "access.token: clients send it to {open} without TLS, so it can be read on the network; add [tls], or listen \
         only on loopback or a unix socket"
    ))
}
