//! TLS configurations for the settings of aliases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::{ClientCertificate, Tls, Verify};
use crate::pem::{self, PemError};

/// The reason why a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of certificates or of a key cannot be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// This build cannot speak TLS with these settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The TLS configuration for these settings.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, SetupError> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match tls.verify {
        Verify::Full => builder.with_root_certificates(match &tls.ca_file {
            Some(path) => pem::roots(path)?,
            None => system_roots(),
        }),
        Verify::None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified { taken: Taken::Any, provider })),
    };
    with_client(builder, tls.client.as_ref())
}

/// The TLS configuration for a server that shows one of the certificates in this file, with any issuer and any
/// name.
pub(crate) fn pinned_config(
    cert_file: &Path,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, SetupError> {
    let certificates = pem::certificates(cert_file)?;
    let provider = provider();
    let taken = Taken::These { certificates, file: cert_file.to_owned() };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified { taken, provider }));
    with_client(builder, client)
}

/// The provider is named, so that no feature of another crate can change the choice.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The configuration with the certificate to show, if there is one.
fn with_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, SetupError> {
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = pem::identity(client)?;
    let config = builder.with_client_auth_cert(chain, key);
    Ok(config.map_err(|source| pem::mismatch(client, source))?)
}

/// The system's certificates; if there are none, as in an image made from scratch, Mozilla's.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Verifies neither a certificate's issuer nor its dates and name. The server must still prove that it holds the key.
#[derive(Debug)]
struct Unverified {
    taken: Taken,
    provider: Arc<CryptoProvider>,
}

/// The certificates that are accepted.
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
                Err(rustls::Error::General(format!("the server's certificate is not in {}", file.display())))
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
