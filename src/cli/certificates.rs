//! Notes on TLS that the configuration and its files tell before any handshake.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use humantime::format_rfc3339_seconds;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use crate::config::checks::CheckConfig;
use crate::config::{Config, Listen, ListenerTls, Verify, is_quoted};
use crate::pem;
use crate::trust::Roots;
use crate::x509::Certificate;

/// A certificate that ends within this time is noted: what renews certificates has usually done so by then.
const SOON: Duration = Duration::from_hours(14 * 24);

/// The most certificates of a file that are named.
const NAMED: usize = 3;

const NO_SOCKET: &str = "the listener: tls.client_ca_file requires a certificate of every caller, also of `healthcheck` (--cert-file, \
                         --key-file) and of the kubelet, which has none: add a unix socket to probes.listen for them, and probe \
                         by `healthcheck --socket`";

/// The notes: certificates that are not valid, or soon will not be; system certificates that are not found. Files that cannot be read are errors elsewhere.
pub(super) fn notes(config: &Config, now: UnixTime) -> Vec<String> {
    let mut notes = BTreeSet::new();
    if let Some(ListenerTls { identity, client_ca_file }) = &config.tls {
        notes.extend(of_identity("the listener", &identity.cert_file, now));
        notes.extend(client_ca_file.iter().flat_map(|path| of_trusted("the listener", path, now)));
        let has_socket =
            config.listen.iter().chain(&config.probes.listen).any(|listen| matches!(listen, Listen::Unix(_)));
        if client_ca_file.is_some() && !has_socket {
            notes.insert(NO_SOCKET.to_owned());
        }
    }
    let mut needs_system = false;
    for cache in &config.caches {
        let views = cache.checks.iter().flat_map(CheckConfig::views).map(|view| &view.backend);
        for backend in std::iter::once(&cache.backend).chain(views) {
            let whose = cache.alias.as_str();
            for tls in backend.tls() {
                notes.extend(tls.client.iter().flat_map(|client| of_identity(whose, &client.cert_file, now)));
                if tls.verify != Verify::None {
                    notes.extend(tls.ca_file.iter().flat_map(|path| of_trusted(whose, path, now)));
                    needs_system |= tls.ca_file.is_none();
                }
            }
        }
    }
    if needs_system {
        notes.extend(of_the_system());
    }
    notes.into_iter().collect()
}

fn of_identity(whose: &str, path: &Path, now: UnixTime) -> Vec<String> {
    of_dates(&format!("{whose}: cert_file {}", path.display()), &pem::chain(path).unwrap_or_default(), now)
}

fn of_trusted(whose: &str, path: &Path, now: UnixTime) -> Vec<String> {
    of_dates(
        &format!("{whose}: CA file {}", path.display()),
        &pem::certificates(path).unwrap_or_default(),
        now,
    )
}

/// The notes on the dates of these certificates.
fn of_dates(place: &str, certificates: &[CertificateDer<'_>], now: UnixTime) -> Vec<String> {
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
    let notes = certificates.iter().filter_map(|der| {
        let certificate = Certificate::read(der)?;
        let (validity, subject) = (certificate.validity, certificate.shown_subject());
        let (begin, end) = (format_rfc3339_seconds(validity.begin()), format_rfc3339_seconds(validity.end()));
        Some(if validity.is_over(now) {
            format!("{place}: the certificate {subject:?} expired at {end}; replace it")
        } else if !validity.includes(now) {
            format!("{place}: the certificate {subject:?} is not valid before {begin}; check the clock")
        } else if validity.is_over(soon) {
            format!("{place}: the certificate {subject:?} expires at {end}; replace it before")
        } else {
            return None;
        })
    });
    notes.take(NAMED).collect()
}

/// The notes on variables that name the system's certificates, as OpenSSL reads them.
fn of_the_system() -> impl Iterator<Item = String> {
    Roots::empty_places().into_iter().map(|place| {
        let in_quotes = place.split_once('=').is_some_and(|(_, path)| is_quoted(path));
        let hint = if in_quotes { " (its quotes are part of it: remove them)" } else { "" };
        format!(
            "{place} has no certificate{hint}; if no other place has one, Mozilla's authorities are trusted: correct it, or set \
             tls.ca_file"
        )
    })
}
