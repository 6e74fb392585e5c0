//! [`Roots`]: the trusted certificates, from a file or of the system.

use std::env;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use crate::pem::{self, PemError};
use crate::x509::{Certificate, Validity};

/// Trusted certificates: those of authorities, and others that stand for themselves.
#[derive(Debug)]
pub(crate) struct Roots {
    /// What may have issued a certificate.
    pub(crate) anchors: RootCertStore,
    /// The time in which each of the anchors is valid; none for those that have no dates.
    validities: Vec<Validity>,
    /// The certificates as SHA-256, which is a tenth of them.
    digests: Vec<Vec<u8>>,
}

impl Roots {
    /// Those in this file, at least one.
    pub(crate) fn in_file(path: &Path) -> Result<Self, PemError> {
        Ok(Self::of(pem::certificates(path)?))
    }

    /// The system's; if there are none, as in an image made from scratch, Mozilla's.
    pub(crate) fn of_the_system() -> Self {
        let mut roots = Self::of(rustls_native_certs::load_native_certs().certs);
        if roots.anchors.is_empty() {
            // They have no dates.
            roots.anchors.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots
    }

    /// The places that `SSL_CERT_FILE` and `SSL_CERT_DIR` name and that have no certificate, as they are written.
    pub(crate) fn empty_places() -> Vec<String> {
        let is_empty = |file: Option<&Path>, dir: Option<&Path>| {
            rustls_native_certs::load_certs_from_paths(file, dir).certs.is_empty()
        };
        let file = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let file = file.filter(|file| is_empty(Some(file), None));
        let dirs = env::var_os("SSL_CERT_DIR").unwrap_or_default();
        let dirs =
            env::split_paths(&dirs).filter(|dir| !dir.as_os_str().is_empty() && is_empty(None, Some(dir)));
        let files = file.iter().map(|file| format!("SSL_CERT_FILE={}", file.display()));
        files.chain(dirs.map(|dir| format!("SSL_CERT_DIR={}", dir.display()))).collect()
    }

    fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = Self { anchors: RootCertStore::empty(), validities: Vec::new(), digests: Vec::new() };
        for certificate in certificates {
            let Some(validity) = Certificate::read(&certificate).map(|read| read.validity) else { continue };
            roots.digests.extend(digest(&certificate));
            if roots.anchors.add(certificate).is_ok() {
                roots.validities.push(validity);
            }
        }
        roots
    }

    /// `true` if this certificate itself is trusted.
    pub(crate) fn hold(&self, certificate: &CertificateDer<'_>) -> bool {
        digest(certificate).is_some_and(|digest| self.digests.contains(&digest))
    }

    /// The time in which the anchor with this subject is valid, if that is not now.
    pub(crate) fn invalid(&self, subject: &[u8], now: UnixTime) -> Option<Validity> {
        let mut anchors = self.anchors.roots.iter().zip(&self.validities);
        let invalid =
            anchors.find(|(anchor, validity)| *anchor.subject == *subject && !validity.includes(now));
        invalid.map(|(_, validity)| *validity)
    }

    /// The anchors that are valid now; `None` if all are.
    pub(crate) fn without_invalid(&self, now: UnixTime) -> Option<RootCertStore> {
        let is_valid = |validity: &Validity| validity.includes(now);
        if self.validities.iter().all(is_valid) {
            return None;
        }
        let anchors = self.anchors.roots.iter().zip(&self.validities);
        let valid = anchors.filter(|(_, validity)| is_valid(validity)).map(|(anchor, _)| anchor.clone());
        Some(RootCertStore { roots: valid.collect() })
    }
}

/// The SHA-256. `None`, which no certificate is equal to, if the suite is not of TLS 1.3, which it is.
fn digest(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    Some(suite.common.hash_provider.hash(certificate).as_ref().to_vec())
}
