//! Where the server listens, for everything and for metrics alone, and the TLS that it speaks there.

use std::path::PathBuf;

use super::address::MAX_SOCKET_PATH;
use super::load::Reader;
use super::place::{Place, Problem};
use super::value::{Entry, Kind, Table, Value};
use super::{ClientCertificate, Listen, ListenerTls, Metrics, tls};

/// The keys of `[metrics]`.
pub(super) const METRICS_KEYS: &[&str] = &["listen"];

/// The keys of `[tls]`.
pub(super) const TLS_KEYS: &[&str] = &["cert_file", "key_file", "client_ca_file"];

const LISTEN: &str = "this is no address to listen at; write \"[::]:8080\", \"127.0.0.1:8080\" or \
                      \"unix:/run/cache-canary.sock\"";

const TAKEN: &str =
    "the server listens there for everything else; give metrics an address of their own, or remove this";

const NO_CERTIFICATE: &str = "TLS needs a certificate to show; add cert_file and key_file";

impl Reader {
    /// Where it listens: where the flags say it, or else the settings.
    pub(super) fn listen(&mut self, flags: &[String], default: Vec<Listen>) -> Vec<Listen> {
        if !flags.is_empty() {
            let flag = Place::Flag("--listen");
            let flags =
                flags.iter().map(|flag_value| Value::new(Kind::Text(flag_value.clone()), flag.clone()));
            let value = Value::new(Kind::List(flags.collect()), flag.clone());
            self.table.0.retain(|entry| entry.key != "listen");
            self.table.0.push(Entry { key: "listen".to_owned(), key_place: flag, value });
        }
        self.setting("listen", default, |value| {
            let addresses = value.texts()?;
            if addresses.is_empty() {
                return Err(value.problem("there is no address to listen at; write \"[::]:8080\""));
            }
            addresses.into_iter().map(listen).collect()
        })
    }

    /// `[metrics]`: listeners of their own, none of which is one of `others`.
    pub(super) fn metrics(&mut self, others: &[Listen]) -> Metrics {
        let section = self.section("metrics", METRICS_KEYS);
        let metrics = self.said(&section, "listen", |value| {
            let own = |(text, place)| {
                let address = listen((text, place))?;
                let taken = others.contains(&address) && !is_any_port(&address);
                if taken { Err(place.problem(TAKEN)) } else { Ok(address) }
            };
            value.texts()?.into_iter().map(own).collect()
        });
        Metrics { listen: metrics.unwrap_or_default() }
    }

    /// `[tls]`: the sidecar's own certificate. Its files are read when the server is set up, as those of caches are.
    pub(super) fn listener_tls(&mut self) -> Option<ListenerTls> {
        let value = self.table.take("tls")?;
        let place = value.place.clone();
        let read = value.into_table().and_then(|table| Ok((listener_tls(&table, &place)?, table)));
        let (tls, table) = self.told(read)?;
        for Entry { key, value, .. } in table.0 {
            self.origins.insert(format!("tls.{key}"), value.place.origin());
        }
        let ListenerTls { identity: ClientCertificate { cert_file, key_file }, client_ca_file } = &tls;
        self.files.extend([cert_file, key_file].into_iter().chain(client_ca_file).cloned());
        Some(tls)
    }
}

fn listener_tls(table: &Table, place: &Place) -> Result<ListenerTls, Problem> {
    if let Some(problem) = table.unknown(TLS_KEYS).next() {
        return Err(problem);
    }
    let identity = tls::identity(table)?.ok_or_else(|| place.problem(NO_CERTIFICATE))?;
    Ok(ListenerTls { identity, client_ca_file: tls::file(table, "client_ca_file")? })
}

fn listen((text, place): (&str, &Place)) -> Result<Listen, Problem> {
    let socket = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match (socket, text.parse()) {
        (Some(path), _) if (1..=MAX_SOCKET_PATH).contains(&path.len()) => {
            Ok(Listen::Unix(PathBuf::from(path)))
        }
        (None, Ok(address)) => Ok(Listen::Tcp(address)),
        _ => Err(place.problem(LISTEN)),
    }
}

/// Whether the system chooses the port, which is never one that is taken.
fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}
