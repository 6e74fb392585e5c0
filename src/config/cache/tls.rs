//! `tls` of a cache: the choice of TLS or none, and its settings.

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::cache::reader::CacheReader;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind as Typed, unless};
use crate::config::{
    Address, Backend, ClientCertificate, MemcachedServers, NamedServer, RedisServers, Tls, Verify, address,
    keys,
};

/// The hints about TLS in the rest of the configuration.
#[derive(Clone, Copy)]
pub(in crate::config) struct TlsHints<'a> {
    /// The scheme of the URL asks for it, or for none; `None` where there is no such scheme.
    pub(in crate::config) by_scheme: Option<bool>,
    /// The scheme with TLS, and the one without.
    pub(in crate::config) schemes: (&'a str, &'a str),
    /// Some server is reached over a unix socket.
    pub(in crate::config) socket: bool,
    /// The server, if these are not the settings of the alias.
    pub(in crate::config) server: Option<&'a Address>,
}

/// The TLS settings, if TLS is spoken.
pub(in crate::config) fn read(
    reading: &mut CacheReader,
    value: Option<&Value>,
    said: TlsHints<'_>,
) -> Result<Option<Tls>, ConfigProblem> {
    let by_scheme = said.by_scheme.unwrap_or_default().then(Tls::default);
    let Some(value) = value else { return Ok(by_scheme) };
    let (secure, plain) = said.schemes;
    let table = match (&value.kind, value.boolean()) {
        (Typed::Table(table), _) => Some(table),
        (_, Some(true)) => {
            unless(
                said.by_scheme == Some(true),
                value,
                "the URL already enables TLS; remove this, or write a table such as { ca_file = \
                 \"ca.pem\" }",
            )?;
            None
        }
        (_, Some(false)) => {
            unless(
                said.by_scheme == Some(true),
                value,
                format_args!(
                    "the URL enables TLS, but `tls` is false; remove `tls`, or begin the URL with {plain}"
                ),
            )?;
            return Ok(None);
        }
        (_, None) => {
            return Err(value.problem("expected true or a table such as { ca_file = \"ca.pem\" }"));
        }
    };
    unless(said.socket, value, "TLS is not supported over a unix socket; remove this")?;
    unless(
        said.by_scheme == Some(false),
        value,
        format_args!("the URL does not enable TLS; begin it with {secure}"),
    )?;
    if said.server.is_none() {
        reading.came_from(&["tls"], &value.place);
    }
    let tls = table.map(parts).transpose()?.unwrap_or_default();
    let of = said.server.map(|server| format!(" of {server}")).unwrap_or_default();
    match (tls.verify, &tls.ca_file) {
        (Verify::None, _) => note_unverified(reading, &of),
        (Verify::Ca, None) => reading.notes.push(format!(
            "{}: certificates{of} are accepted under any name (tls.verify = \"ca\") from every authority of the system, so \
             anybody's certificate is accepted; set tls.ca_file to the server's own authority",
            reading.alias
        )),
        (Verify::Full | Verify::Ca, _) => {}
    }
    Ok(Some(tls))
}

/// Takes note of hosts whose names cannot be verified in a certificate.
pub(in crate::config) fn note_names(reading: &mut CacheReader, backend: &Backend) {
    let servers: Vec<(Option<&Tls>, &Address)> = match backend {
        Backend::Redis(redis) => {
            let (alias, named): (Vec<&Address>, &[NamedServer]) = match &redis.servers {
                RedisServers::Standalone(address) => (vec![address], &[]),
                RedisServers::Cluster { seeds: addresses, .. }
                | RedisServers::Sentinel { sentinels: addresses, .. } => (addresses.iter().collect(), &[]),
                RedisServers::Shards { shards, .. } => (Vec::new(), shards),
            };
            let named = named.iter().chain(redis.named_replicas());
            let named = named.map(|server| (redis.way_to(server).1, &server.address));
            alias.into_iter().map(|address| (redis.tls.as_ref(), address)).chain(named).collect()
        }
        Backend::Memcached(memcached) => {
            let addresses = memcached.servers.iter().filter_map(|servers| match servers {
                MemcachedServers::One(address) => Some((memcached.tls.as_ref(), address)),
                MemcachedServers::EveryAddress { .. } | MemcachedServers::Endpoint(_) => None,
            });
            addresses.collect()
        }
        Backend::Unchecked(_) => return,
    };
    let is_unknown = |(tls, address): &(Option<&Tls>, &Address)| match (tls, address) {
        (Some(Tls { server_name: None, verify: Verify::Full, .. }), Address::Tcp { host, .. }) => {
            ServerName::try_from(host.as_str()).is_err()
        }
        _ => false,
    };
    let unknown: Vec<_> =
        servers.into_iter().filter(is_unknown).map(|(_, address)| address.to_string()).collect();
    if !unknown.is_empty() {
        reading.notes.push(format!(
            "{}: the host of {} cannot be verified in a certificate, so its check is down; set tls.server_name to \
             a name that the certificate has",
            reading.alias,
            unknown.join(", ")
        ));
    }
}

fn note_unverified(reading: &mut CacheReader, of: &str) {
    reading.notes.push(format!(
        "{}: certificates{of} are not verified (tls.verify = \"none\"): an attacker on the network can read the password and forge answers",
        reading.alias
    ));
}

fn parts(table: &Table) -> Result<Tls, ConfigProblem> {
    table.only(keys::CACHE_TLS)?;
    let server_name = table.get("server_name").map(|value| {
        address::server_name(value.text()?).ok_or_else(|| {
            value.problem("not a valid server name for a certificate; write a host name or an IP address")
        })
    });
    let verify = table.get("verify").map(|value| match value.text()? {
        "full" => Ok(Verify::Full),
        "ca" => Ok(Verify::Ca),
        "none" => Ok(Verify::None),
        _ => Err(value.problem(
            "`verify` must be \"full\", \"ca\" to accept any name, or \"none\" to accept any certificate (with a \
             warning in the log)",
        )),
    });
    Ok(Tls {
        ca_file: file(table, "ca_file")?,
        client: identity(table)?,
        server_name: server_name.transpose()?,
        verify: verify.transpose()?.unwrap_or_default(),
    })
}

/// The file that a key names.
pub(in crate::config) fn file(table: &Table, key: &str) -> Result<Option<PathBuf>, ConfigProblem> {
    table.get(key).map(|value| Ok(value.place.resolve(value.text()?))).transpose()
}

/// The certificate to show and its key, both or neither.
pub(in crate::config) fn identity(table: &Table) -> Result<Option<ClientCertificate>, ConfigProblem> {
    match (file(table, "cert_file")?, file(table, "key_file")?) {
        (Some(cert_file), Some(key_file)) => Ok(Some(ClientCertificate { cert_file, key_file })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(lonely(table, "cert_file", "key_file")),
        (None, Some(_)) => Err(lonely(table, "key_file", "cert_file")),
    }
}

fn lonely(table: &Table, key: &str, other: &str) -> ConfigProblem {
    let what = format!("`{key}` requires `{other}`; set both, to the same file if it holds both");
    table.get(key).map_or_else(|| ConfigProblem::new(&what), |value| value.problem(&what))
}
