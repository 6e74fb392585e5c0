//! Certificates and keys from PEM files, for TLS in either direction.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, InconsistentKeys};

use crate::config::ClientCertificate;
use crate::x509::{self, Certificate, PublicKey};

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
    #[error("no usable certificate in {}{found}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// The content in place of one, as the end of a sentence.
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
    /// A certificate and its key do not belong together, or are of an unknown kind.
    #[error(
        "the certificate in {} cannot be used with the key in {} (the certificate's key: {algorithm}; supported are RSA \
         from 2048 bits, P-256, P-384 and Ed25519)",
        cert_file.display(), key_file.display()
    )]
    Mismatch {
        /// The file of the certificate.
        cert_file: PathBuf,
        /// The file of the key.
        key_file: PathBuf,
        /// The algorithm of the certificate's key.
        algorithm: String,
        /// The cause.
        source: Box<rustls::Error>,
    },
}

/// Reads a certificate with its intermediates, and its key. They are not verified otherwise: the other side does that.
pub(crate) fn identity(
    files: &ClientCertificate,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, PemError> {
    let ClientCertificate { cert_file, key_file } = files;
    let (chain, key) = (chain(cert_file)?, key(key_file)?);
    let certified = chain.first().and_then(|der| Certificate::read(der)).map(|certificate| certificate.key);
    let algorithm = certified.map_or_else(|| "unreadable".to_owned(), |key| x509::described(key.algorithm));
    let mismatch = |source| {
        let (cert_file, key_file) = (cert_file.clone(), key_file.clone());
        PemError::Mismatch { cert_file, key_file, algorithm, source: Box::new(source) }
    };
    let key = match provider.key_provider.load_private_key(key) {
        Ok(key) => key,
        Err(source) => return Err(mismatch(source)),
    };
    let public = key.public_key();
    let own = public.as_ref().and_then(|info| PublicKey::of_info(info));
    match own.zip(certified) {
        Some((own, certified)) if own.bits != certified.bits => {
            Err(mismatch(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)))
        }
        Some(_) | None => Ok(CertifiedKey::new(chain, key).into()),
    }
}

/// Reads the certificate of an identity, with its intermediates.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let unreadable = |source| PemError::Identity { path: path.to_owned(), source };
    let chain = PemFile::read(path).and_then(|file| file.certificates()).map_err(unreadable)?;
    if chain.is_empty() { Err(unusable(path)) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let unreadable = |source| PemError::Identity { path: path.to_owned(), source };
    let file = PemFile::read(path).map_err(unreadable)?;
    match PrivateKeyDer::from_pem_slice(file.0.as_bytes()) {
        Ok(key) => Ok(key),
        Err(_) if file.has_passphrase() => Err(PemError::Passphrase { path: path.to_owned() }),
        Err(source) => Err(unreadable(source)),
    }
}

/// Reads trusted certificates, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = PemFile::read(path).and_then(|file| file.certificates());
    let certificates = certificates.map_err(|source| PemError::CaFile { path: path.to_owned(), source })?;
    if certificates.is_empty() { Err(unusable(path)) } else { Ok(certificates) }
}

/// The error for a file without a certificate, which says what it holds in place of one.
pub(crate) fn unusable(path: &Path) -> PemError {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut labels =
        text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let found = match (labels.next(), bytes.first()) {
        (Some(label), _) => format!("; it holds a {label}"),
        // The tag of a SEQUENCE, as in certificates and PKCS #12 without PEM around them.
        (None, Some(0x30)) => {
            "; it is binary (DER or PKCS #12), and PEM is expected: convert it with `openssl x509 \
             -inform der` or `openssl pkcs12`"
                .to_owned()
        }
        (None, _) => String::new(),
    };
    PemError::NoCertificate { path: path.to_owned(), found }
}

/// The text of a file in PEM, as the library reads it.
struct PemFile(String);

impl PemFile {
    /// Reads a file. Windows' editors begin a text with a byte order mark, or write it as UTF-16, and OpenSSL has two more
    /// labels for a certificate.
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::Io)?;
        let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let units: Vec<_> = bytes.as_chunks().0.iter().map(|&pair| unit(pair)).collect();
            String::from_utf16_lossy(&units)
        };
        let text = match &bytes[..] {
            [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
            [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
            text => String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).into_owned(),
        };
        Ok(Self(["TRUSTED", "X509"].iter().fold(text, |text, kind| {
            text.replace(&format!(" {kind} CERTIFICATE-----"), " CERTIFICATE-----")
        })))
    }

    /// The certificates, without the settings that follow a `TRUSTED CERTIFICATE`.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates = CertificateDer::pem_slice_iter(self.0.as_bytes());
        let alone = |der: CertificateDer<'static>| match Certificate::length(&der) {
            Some(length) if length < der.len() => der[..length].to_vec().into(),
            Some(_) | None => der,
        };
        certificates.map(|der| der.map(alone)).collect()
    }

    /// `true` if a private key in it is encrypted, in either of the two forms (RFC 5958 and RFC 1421).
    fn has_passphrase(&self) -> bool {
        self.0.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || self.0.contains("Proc-Type: 4,ENCRYPTED")
    }
}
