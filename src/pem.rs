//! Certificates and keys from PEM files, for TLS in either direction.

mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::path::{Path, PathBuf};
use std::{fs, io};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::config::ClientCertificate;
use crate::x509::{Certificate, PublicKey};
use found::Wanted;

/// The reason why certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// A file cannot be read.
    #[error("cannot read the {wanted} in {}", path.display())]
    File {
        /// The content that is wanted.
        wanted: Wanted,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file has nothing of the wanted content.
    #[error("no usable {wanted} in {}; {found}", path.display())]
    Unusable {
        /// The content that is wanted.
        wanted: Wanted,
        /// The file.
        path: PathBuf,
        /// The content in place of it, with the cure.
        found: String,
    },
    /// A private key is encrypted.
    #[error(
        "the private key in {path} is protected by a passphrase, which cannot be given here; write the key without \
         one: openssl pkey -in {path} -out ...",
        path = path.display()
    )]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// A private key is of an unknown kind.
    #[error(
        "the private key in {path} is damaged or of a kind that is not supported (supported are RSA from 2048 bits, \
         P-256, P-384 and Ed25519); check it with `openssl pkey -in {path} -noout -text`",
        path = path.display()
    )]
    Algorithm {
        /// The file.
        path: PathBuf,
    },
    /// A certificate and a key do not belong together.
    #[error(
        "the private key in {key_file} does not belong to the certificate in {cert_file}: their public keys differ \
         (compare `openssl pkey -in {key_file} -pubout` with `openssl x509 -in {cert_file} -noout -pubkey`); the \
         server's own certificate must be the first in its file",
        cert_file = cert_file.display(), key_file = key_file.display()
    )]
    Mismatch {
        /// The file of the certificate.
        cert_file: PathBuf,
        /// The file of the key.
        key_file: PathBuf,
    },
}

impl PemError {
    /// The error for a file whose certificates are none that can stand for an authority.
    pub(crate) fn no_anchor(path: &Path) -> Self {
        let found = "its certificates are of a form that no authority has".to_owned();
        Self::Unusable { wanted: Wanted::Trusted, path: path.to_owned(), found }
    }
}

/// Reads a certificate with its intermediates, and its key. They are not verified otherwise: the other side does that.
pub(crate) fn identity(
    files: &ClientCertificate,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, PemError> {
    let ClientCertificate { cert_file, key_file } = files;
    let (chain, key) = (chain(cert_file)?, key(key_file)?);
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| PemError::Algorithm { path: key_file.clone() })?;
    let certified = chain.first().and_then(|der| Certificate::read(der)).map(|certificate| certificate.key);
    let public = key.public_key();
    let own = public.as_ref().and_then(|info| PublicKey::of_info(info));
    if own.is_some_and(|own| certified.is_none_or(|certified| certified.bits != own.bits)) {
        return Err(PemError::Mismatch { cert_file: cert_file.clone(), key_file: key_file.clone() });
    }
    Ok(CertifiedKey::new(chain, key).into())
}

/// Reads the certificate of an identity, with its intermediates.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    certificates_in(path, Wanted::Certificate)
}

/// Reads trusted certificates, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    certificates_in(path, Wanted::Trusted)
}

fn certificates_in(path: &Path, wanted: Wanted) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let file = PemFile::read(path, wanted)?;
    match file.certificates() {
        Ok(certificates) if certificates.iter().any(|der| Certificate::read(der).is_some()) => {
            Ok(certificates)
        }
        Ok(_) | Err(_) => Err(file.unusable(path, wanted)),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let file = PemFile::read(path, Wanted::Key)?;
    match PrivateKeyDer::from_pem_slice(file.text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(_) if file.has_passphrase() => Err(PemError::Passphrase { path: path.to_owned() }),
        Err(_) => Err(file.unusable(path, Wanted::Key)),
    }
}

/// A file in PEM.
struct PemFile {
    bytes: Vec<u8>,
    /// Its text, as the library reads it.
    text: String,
}

impl PemFile {
    /// Reads a file. Windows' editors begin a text with a byte order mark, or write it as UTF-16, and OpenSSL has two more
    /// labels for a certificate.
    fn read(path: &Path, wanted: Wanted) -> Result<Self, PemError> {
        let read = fs::read(path).map_err(|source| PemError::File { wanted, path: path.to_owned(), source });
        read.map(Self::of)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let units: Vec<_> = bytes.as_chunks().0.iter().map(|&pair| unit(pair)).collect();
            String::from_utf16_lossy(&units)
        };
        let text = match &bytes[..] {
            [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
            [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
            text => String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).into_owned(),
        };
        let text = ["TRUSTED", "X509"]
            .iter()
            .fold(text, |text, kind| text.replace(&format!(" {kind} CERTIFICATE-----"), " CERTIFICATE-----"));
        Self { bytes, text }
    }

    fn unusable(&self, path: &Path, wanted: Wanted) -> PemError {
        let found = found::found(wanted, path, &self.bytes, &self.text);
        PemError::Unusable { wanted, path: path.to_owned(), found }
    }

    /// The certificates, without the settings that follow a `TRUSTED CERTIFICATE`.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates = CertificateDer::pem_slice_iter(self.text.as_bytes());
        let alone = |der: CertificateDer<'static>| match Certificate::length(&der) {
            Some(length) if length < der.len() => der[..length].to_vec().into(),
            Some(_) | None => der,
        };
        certificates.map(|der| der.map(alone)).collect()
    }

    /// `true` if a private key in it is encrypted, in either of the two forms (RFC 5958 and RFC 1421).
    fn has_passphrase(&self) -> bool {
        self.text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || self.text.contains("Proc-Type: 4,ENCRYPTED")
    }
}
