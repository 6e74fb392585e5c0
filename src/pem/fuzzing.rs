//! The properties of certificates, in DER and in PEM.

#![allow(clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use std::path::Path;
use std::time::Duration;

use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore};

use super::{PemFile, Wanted};
use crate::outcome::Expiring;
use crate::x509::{self, Certificate, DerKind, PublicKey};

/// Certificates, as a server shows them, and as a file holds them.
///
/// A certificate that the TLS library takes, and that has a key, is read. Its names are of printable characters, and it is no longer than its bytes. Of a
/// file without a certificate there is always something to say.
pub fn certificates(bytes: &[u8]) {
    let der = CertificateDer::from(bytes);
    certificate(&der);
    let file = PemFile::of(bytes.to_vec());
    for der in file.certificates().into_iter().flatten() {
        certificate(&der);
    }
    for wanted in [Wanted::Trusted, Wanted::Certificate, Wanted::Key] {
        assert!(file.unusable(Path::new("file.pem"), wanted).to_string().len() < 1024);
    }
}

/// `true` if the TLS library can read a certificate, with its dates and its key, whoever signed it.
fn is_taken(der: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(der) else { return false };
    // It does not look into the key before it verifies a signature by it.
    if PublicKey::of_info(&parsed.subject_public_key_info()).is_none() {
        return false;
    }
    let (nobody, algorithms) = (RootCertStore::empty(), default_provider().signature_verification_algorithms);
    let now = UnixTime::since_unix_epoch(Duration::ZERO);
    let verified = verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms.all);
    !matches!(verified, Err(Error::InvalidCertificate(CertificateError::BadEncoding)))
}

fn certificate(der: &CertificateDer<'_>) {
    let read = Certificate::read(der);
    assert!(read.is_some() || !is_taken(der), "the TLS library takes it");
    assert!(Certificate::length(der).is_none_or(|length| length <= der.len()));
    PublicKey::of_info(der);
    if let Some(certificate) = read {
        assert_eq!(DerKind::of(der), Some(DerKind::Certificate));
        certificate.is_for_servers();
        let _words = [certificate.shown_subject()];
        let mut words = vec![certificate.shown_subject(), certificate.shown_issuer()];
        words.extend(certificate.names().into_iter().chain(certificate.unsupported_critical()));
        words.push(x509::described(certificate.key.algorithm));
        words.push(x509::described(certificate.signed.algorithm));
    }
    let shown = [der.clone(), der.clone()];
    let dates = x509::of_server(&shown, str::to_owned);
    let own = x509::of_identity(&shown, Expiring::ServerCertificate);
    for date in dates.iter().chain(&own) {
        assert!(!date.name.chars().any(char::is_control), "{:?}", date.name);
        crate::span::timestamp(date.at);
    }
}
