//! Certificates and keys from PEM files, for TLS in either direction.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::config::ClientCertificate;

/// The reason why certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file of trusted certificates cannot be used.
    #[error("cannot read the trusted certificates in {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Error,
    },
    /// The file of a certificate or of its key cannot be used.
    #[error("cannot read the certificate or its key in {}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Error,
    },
    /// A file of certificates has none that can be used.
    #[error("no usable certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate and its key do not belong together, or are of an unknown kind.
    #[error("the certificate in {} cannot be used with the key in {}", cert_file.display(), key_file.display())]
    Mismatch {
        /// The file of the certificate.
        cert_file: PathBuf,
        /// The file of the key.
        key_file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// A certificate with its intermediates, and its key; at least one certificate.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a certificate and its key.
pub(crate) fn identity(files: &ClientCertificate) -> Result<Identity, PemError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PemError::Identity { path, source }
    };
    let (cert_file, key_file) = (&files.cert_file, &files.key_file);
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(unreadable(cert_file))?;
    if chain.is_empty() {
        return Err(unusable(cert_file));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(unreadable(key_file))?;
    Ok((chain, key))
}

/// The error for an identity that was read but cannot be used.
pub(crate) fn mismatch(files: &ClientCertificate, source: rustls::Error) -> PemError {
    let ClientCertificate { cert_file, key_file } = files.clone();
    PemError::Mismatch { cert_file, key_file, source }
}

/// Reads trusted certificates, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = certificates.map_err(|source| PemError::CaFile { path: path.to_owned(), source })?;
    if certificates.is_empty() { Err(unusable(path)) } else { Ok(certificates) }
}

/// Reads the certificates of trusted authorities, at least one.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| unusable(path))?;
    }
    Ok(roots)
}

fn unusable(path: &Path) -> PemError {
    PemError::NoCertificate { path: path.to_owned() }
}
