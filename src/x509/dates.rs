//! The dates of certificates, as [`Expiry`].

use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::pki_types::CertificateDer;

use super::Certificate;
use crate::outcome::{Expiring, Expiry, printable};

/// The dates of the certificates that a server has shown: its own, and the first to end of the others. An accepted chain
/// does not need a certificate that has ended. `redacted` gives a name as far as it may be shown.
pub(crate) fn of_server(shown: &[CertificateDer<'_>], redacted: impl Fn(&str) -> String) -> Arc<[Expiry]> {
    let now = SystemTime::now();
    let date = |der: &CertificateDer<'_>, what| {
        let date = expiry(der, what)?;
        Some(Expiry { name: printable(&redacted(&date.name)), ..date })
    };
    let (own, others) = shown.split_at(shown.len().min(1));
    let others = others.iter().filter_map(|der| date(der, Expiring::Chain)).filter(|date| date.at > now);
    let own = own.iter().filter_map(|der| date(der, Expiring::ServerCertificate));
    own.chain(others.min_by_key(|date| date.at)).collect()
}

/// The date of the first certificate to end of an identity: its own certificate and its intermediates.
pub(crate) fn of_identity(chain: &[CertificateDer<'_>], what: Expiring) -> Option<Expiry> {
    chain.iter().filter_map(|der| expiry(der, what)).min_by_key(|date| date.at)
}

fn expiry(der: &CertificateDer<'_>, what: Expiring) -> Option<Expiry> {
    let certificate = Certificate::read(der)?;
    let name = certificate.names().into_iter().next().unwrap_or_else(|| {
        if certificate.subject.is_empty() {
            format!("issuer {}", certificate.shown_issuer())
        } else {
            certificate.shown_subject()
        }
    });
    Some(Expiry { what, name: printable(&name), at: certificate.validity.end() })
}
