//! The listeners for everything, for probes alone and for metrics alone; their TLS; and the limits on callers.

use std::path::PathBuf;

use super::address::MAX_SOCKET_PATH;
use super::cache::tls;
use super::keys::{self, Key};
use super::place::{ConfigProblem, Place};
use super::reader::ConfigReader;
use super::value::{Table, TableEntry, Value, ValueKind};
use super::{CallerLimits, ClientCertificate, Listen, ListenerTls, Metrics, Probes};

const LISTEN: &str = "not an address to listen on; write \"[::]:8080\", \"127.0.0.1:8080\" or \
                      \"unix:/run/cache-canary.sock\"";

const TAKEN: &str =
    "another listener of this configuration uses this address; choose another address, or remove this";

const NO_CERTIFICATE: &str = "TLS requires a certificate; add cert_file and key_file";

/// The main listeners: those of the flags, or else those of the settings.
pub(super) fn main(reader: &mut ConfigReader, flags: &[String], default: Vec<Listen>) -> Vec<Listen> {
    if !flags.is_empty() {
        let flag = Place::Flag("--listen");
        let flags =
            flags.iter().map(|flag_value| Value::new(ValueKind::Text(flag_value.clone()), flag.clone()));
        let value = Value::new(ValueKind::List(flags.collect()), flag.clone());
        reader.table.0.retain(|entry| entry.key != "listen");
        reader.table.0.push(TableEntry { key: "listen".to_owned(), key_place: flag, value });
    }
    reader.setting("listen", default, |value| {
        let addresses = value.texts()?;
        if addresses.is_empty() {
            return Err(value.problem("the list of addresses is empty; write \"[::]:8080\""));
        }
        addresses.into_iter().map(listen).collect()
    })
}

/// `[probes]`: listeners of their own, none of which is one of `others`.
pub(super) fn probes(reader: &mut ConfigReader, others: &[Listen]) -> Probes {
    Probes { listen: own_listeners(reader, "probes", keys::PROBES, others) }
}

/// `[metrics]`: listeners of their own, none of which is one of `others`.
pub(super) fn metrics(reader: &mut ConfigReader, others: &[Listen]) -> Metrics {
    Metrics { listen: own_listeners(reader, "metrics", keys::METRICS, others) }
}

fn own_listeners(
    reader: &mut ConfigReader,
    name: &'static str,
    keys: &[Key],
    others: &[Listen],
) -> Vec<Listen> {
    let section = reader.section(name, keys);
    let listeners = reader.said(&section, "listen", |value| {
        let own = |(text, place)| {
            let address = listen((text, place))?;
            let taken = others.contains(&address) && !is_any_port(&address);
            if taken { Err(place.problem(TAKEN)) } else { Ok(address) }
        };
        value.texts()?.into_iter().map(own).collect()
    });
    listeners.unwrap_or_default()
}

/// `[limits]`: the limits on callers.
pub(super) fn limits(reader: &mut ConfigReader, default: CallerLimits) -> CallerLimits {
    let section = reader.section("limits", keys::LIMITS);
    let mut limit = |key, default, least, most| {
        let said = reader.said(&section, key, |value| value.number_between(key, least, most));
        said.map_or(default, |number| number as usize)
    };
    CallerLimits {
        connections: limit("connections", default.connections, 16, 65_536),
        unread_bytes: limit("unread_bytes", default.unread_bytes, 1 << 16, 1 << 30),
        unread_bytes_per_connection: limit(
            "unread_bytes_per_connection",
            default.unread_bytes_per_connection,
            1 << 14,
            1 << 30,
        ),
    }
}

/// `[tls]`: the sidecar's own certificate. Its files are read when the server is set up, as those of caches are.
pub(super) fn own_tls(reader: &mut ConfigReader) -> Option<ListenerTls> {
    let value = reader.table.take("tls")?;
    let place = value.place.clone();
    let read = value.into_table().and_then(|table| Ok((listener_tls(&table, &place)?, table)));
    let (tls, table) = reader.told(read)?;
    for TableEntry { key, value, .. } in table.0 {
        reader.origins.insert(format!("tls.{key}"), value.place.origin());
    }
    let ListenerTls { identity: ClientCertificate { cert_file, key_file }, client_ca_file } = &tls;
    reader.files.extend([cert_file, key_file].into_iter().chain(client_ca_file).cloned());
    Some(tls)
}

fn listener_tls(table: &Table, place: &Place) -> Result<ListenerTls, ConfigProblem> {
    table.only(keys::LISTENER_TLS)?;
    let identity = tls::identity(table)?.ok_or_else(|| place.problem(NO_CERTIFICATE))?;
    Ok(ListenerTls { identity, client_ca_file: tls::file(table, "client_ca_file")? })
}

fn listen((text, place): (&str, &Place)) -> Result<Listen, ConfigProblem> {
    let socket = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match (socket, text.parse()) {
        (Some(path), _) if (1..=MAX_SOCKET_PATH).contains(&path.len()) => {
            Ok(Listen::Unix(PathBuf::from(path)))
        }
        (None, Ok(address)) => Ok(Listen::Tcp(address)),
        _ => Err(place.problem(LISTEN)),
    }
}

/// `true` if the system chooses the port, which is never one that is taken.
fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}
