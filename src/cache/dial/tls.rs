//! TLS configurations for the settings of aliases.

mod agree;
mod distrust;
mod verifier;
mod witness;
mod words;

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{self, ClientConfig};

use crate::alias::Alias;
use crate::config::{ClientCertificate, Tls, Verify};
use crate::pem::{self, PemError};
use crate::trust::Roots;

use verifier::{Accepted, Verifier};

pub(super) use agree::TlsTarget;
pub(super) use words::tls_fault;
pub(crate) use words::{in_words, tls_error};

/// The reason why a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of certificates or of a key cannot be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The TLS files of a cache cannot be used.
    #[error("cannot use the files in `tls` of [caches.{alias}] (ca_file, cert_file, key_file)")]
    Cache {
        /// The cache.
        alias: Alias,
        /// The cause.
        source: Box<Self>,
    },
    /// This build cannot speak TLS with these settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The TLS configuration for these settings.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, SetupError> {
    let roots = || tls.ca_file.as_deref().map_or_else(|| Ok(Roots::of_the_system()), Roots::in_file);
    let accepted = match tls.verify {
        Verify::None => Accepted::Any,
        verify @ (Verify::Full | Verify::Ca) => {
            Accepted::Trusted { roots: roots()?, file: tls.ca_file.clone(), any_name: verify == Verify::Ca }
        }
    };
    config(accepted, tls.client.as_ref())
}

/// The TLS configuration for a server that shows one of the certificates in this file, with any issuer and any
/// name.
pub(crate) fn pinned_config(
    cert_file: &Path,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, SetupError> {
    let certificates = pem::certificates(cert_file)?;
    config(Accepted::These { certificates, file: cert_file.to_owned() }, client)
}

fn config(accepted: Accepted, client: Option<&ClientCertificate>) -> Result<ClientConfig, SetupError> {
    // The provider is named, so that no feature of another crate can change the choice.
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let verifier = Verifier::new(accepted, &provider);
    let client = client.map(|client| pem::identity(client, &provider)).transpose()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        Some(client) => builder.with_client_cert_resolver(Arc::new(client)),
        None => builder.with_no_client_auth(),
    };
    // A server shows no certificate in a session that is resumed, so one that has expired since would not be noticed.
    config.resumption = Resumption::disabled();
    Ok(config)
}
