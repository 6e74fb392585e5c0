//! The sidecar's own TLS: its certificate, and the CAs that must have signed its callers'.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use crate::checker::SetupError;
use crate::config::ListenerTls;
use crate::outcome::{Expiring, Expiry};
use crate::pem::{self, PemError};
use crate::trust::Roots;
use crate::x509;

/// The protocols offered in the handshake by ALPN (RFC 7301), which every client of gRPC requires.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The end of the first certificate to end in the file that `tls` names.
pub(super) fn expiry(tls: &ListenerTls) -> Result<Option<Expiry>, SetupError> {
    Ok(x509::of_identity(&pem::chain(&tls.identity.cert_file)?, Expiring::ListenerCertificate))
}

/// Reads the files that `tls` names.
pub(super) fn server_config(tls: &ListenerTls) -> Result<ServerConfig, SetupError> {
    // Named, so that no feature of another crate can change or unsettle the choice.
    let provider = Arc::new(ring::default_provider());
    let identity = pem::identity(&tls.identity, &provider)?;
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(Roots::in_file(path)?.anchors);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| PemError::no_anchor(path))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // A session is kept by its client (RFC 8446, section 4.6.1). Kept here, those of a flood would hold a page of memory each.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}
