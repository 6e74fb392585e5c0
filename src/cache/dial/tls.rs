//! TLS configurations for the settings of aliases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::{ClientCertificate, Tls, Verify};

/// Why a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of trusted certificates cannot be used.
    #[error("cannot read the trusted certificates in {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The file of the client's certificate or of its key cannot be used.
    #[error("cannot read the client certificate or its key in {}", path.display())]
    ClientFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// A file of certificates holds none that can be used.
    #[error("no usable certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The client's certificate and its key do not belong together, or are of a kind that is not known.
    #[error("the client certificate in {} cannot be used with the key in {}", cert_file.display(), key_file.display())]
    ClientCertificate {
        /// The file of the certificate.
        cert_file: PathBuf,
        /// The file of the key.
        key_file: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// This build cannot speak TLS with these settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The name of the server cannot stand in a certificate.
    #[error("{host:?} cannot be the name of a TLS server")]
    ServerName {
        /// The name.
        host: String,
    },
}

/// The TLS configuration for these settings.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, SetupError> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match tls.verify {
        Verify::Full => builder.with_root_certificates(match &tls.ca_file {
            Some(path) => roots_in(path)?,
            None => system_roots(),
        }),
        Verify::None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified { taken: Taken::Any, provider })),
    };
    with_client(builder, tls.client.as_ref())
}

/// The TLS configuration for a server that shows one of the certificates in this file, whoever signed it and for
/// whatever name.
pub(crate) fn pinned_config(
    cert_file: &Path,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, SetupError> {
    let unreadable = |source| SetupError::CaFile { path: cert_file.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(cert_file).and_then(Iterator::collect).map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(SetupError::NoCertificate { path: cert_file.to_owned() });
    }
    let provider = provider();
    let taken = Taken::These { certificates, file: cert_file.to_owned() };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified { taken, provider }));
    with_client(builder, client)
}

/// Named, so that no feature of another crate can change or unsettle the choice.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The configuration with the certificate to show, if there is one.
fn with_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, SetupError> {
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| SetupError::ClientFile { path, source }
    };
    let (cert_file, key_file) = (&client.cert_file, &client.key_file);
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(unreadable(cert_file))?;
    if chain.is_empty() {
        return Err(SetupError::NoCertificate { path: cert_file.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(unreadable(key_file))?;
    builder.with_client_auth_cert(chain, key).map_err(|source| SetupError::ClientCertificate {
        cert_file: cert_file.clone(),
        key_file: key_file.clone(),
        source,
    })
}

fn roots_in(path: &PathBuf) -> Result<RootCertStore, SetupError> {
    let unreadable = |source| SetupError::CaFile { path: path.clone(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|_| SetupError::NoCertificate { path: path.clone() })?;
    }
    if roots.is_empty() { Err(SetupError::NoCertificate { path: path.clone() }) } else { Ok(roots) }
}

/// The system's certificates; where there are none, as in an image made from scratch, Mozilla's.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Verifies neither who signed a certificate nor its dates and name. That the server holds its key is verified still.
#[derive(Debug)]
struct Unverified {
    taken: Taken,
    provider: Arc<CryptoProvider>,
}

/// Which certificates are taken.
#[derive(Debug)]
enum Taken {
    /// Any, for `verify = "none"`.
    Any,
    /// Those that are known.
    These { certificates: Vec<CertificateDer<'static>>, file: PathBuf },
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.taken {
            Taken::These { certificates, file } if !certificates.contains(shown) => {
                Err(rustls::Error::General(format!("its certificate is not in {}", file.display())))
            }
            Taken::Any | Taken::These { .. } => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
