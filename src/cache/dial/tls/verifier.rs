//! [`Verifier`]: the server certificates that are accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime, alg_id};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{self, CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::distrust::Distrust;
use crate::trust::Roots;
use crate::x509::{Certificate, PublicKey};

/// Verifies a server's certificate as OpenSSL does, with the algorithms of the provider.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) accepted: Accepted,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// The certificates that are accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Any, for `verify = "none"`. The key is not verified either: anybody can make a certificate for a key of their own.
    Any,
    /// Those that are known, with any issuer and any name.
    These { certificates: Vec<CertificateDer<'static>>, file: PathBuf },
    /// Those that lead to a trusted certificate, or are one, and have the name of the server unless any will do.
    Trusted { roots: Roots, file: Option<PathBuf>, any_name: bool },
}

/// Schemes of TLS 1.3 for RSA keys that are for RSA-PSS alone (RFC 8446, section 4.2.3), and what they are otherwise.
const PSS_KEYS: [(SignatureScheme, SignatureScheme); 3] = [
    (SignatureScheme::Unknown(0x0809), SignatureScheme::RSA_PSS_SHA256),
    (SignatureScheme::Unknown(0x080a), SignatureScheme::RSA_PSS_SHA384),
    (SignatureScheme::Unknown(0x080b), SignatureScheme::RSA_PSS_SHA512),
];

/// Schemes that are offered although the provider does not have them: a server that has no other key then shows its
/// certificate, so that the algorithm can be named. They are the last, so a server with another key takes that.
const NAMED_ONLY: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP521_SHA512, SignatureScheme::ED448];

impl Verifier {
    pub(super) fn new(accepted: Accepted, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self { accepted, algorithms: provider.signature_verification_algorithms })
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if matches!(self.accepted, Accepted::Any) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let Some(Certificate { key, .. }) = Certificate::read(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let (scheme, key_algorithm) = in_usual_terms(signed.scheme, key);
        let known = self.algorithms.mapping.iter().find(|(known, _)| *known == scheme);
        let known = known.map(|(_, algorithms)| *algorithms).unwrap_or_default();
        let Some(algorithm) = known.iter().find(|known| known.public_key_alg_id().as_ref() == key_algorithm)
        else {
            return Err(Distrust::key(key).into());
        };
        let verified = algorithm.verify_signature(key.bits, message, signed.signature());
        verified.map_err(|_| Distrust::signature(key))?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// A scheme and the algorithm of a key. A key for RSA-PSS alone is an RSA key for its schemes.
fn in_usual_terms(scheme: SignatureScheme, key: PublicKey<'_>) -> (SignatureScheme, &[u8]) {
    match PSS_KEYS.iter().find(|(restricted, _)| *restricted == scheme) {
        Some(&(_, scheme)) if key.is_for_pss() => (scheme, alg_id::RSA_ENCRYPTION.as_ref()),
        Some(_) | None => (scheme, key.algorithm),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.accepted {
            Accepted::Any => {}
            Accepted::These { certificates, file } => {
                if !certificates.contains(shown) {
                    return Err(Distrust::not_pinned(file).into());
                }
            }
            Accepted::Trusted { roots, file, any_name } => {
                let chain = Chain { shown, intermediates, roots, algorithms: &self.algorithms, now };
                chain.verify(Some(name).filter(|_| !any_name), file.as_deref())?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let usual = self.algorithms.supported_schemes();
        let restricted = PSS_KEYS.iter().map(|&(scheme, _)| scheme);
        usual.into_iter().chain(restricted).chain(NAMED_ONLY).collect()
    }
}

/// The certificates that a server has shown, and the ones to judge them by.
struct Chain<'a> {
    shown: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    roots: &'a Roots,
    algorithms: &'a WebPkiSupportedAlgorithms,
    now: UnixTime,
}

impl Chain<'_> {
    fn verify(&self, name: Option<&ServerName<'_>>, file: Option<&Path>) -> Result<(), rustls::Error> {
        let Some(certificate) = Certificate::read(self.shown) else {
            return Err(CertificateError::BadEncoding.into());
        };
        if self.roots.hold(self.shown) {
            self.verify_itself(&certificate)?;
        } else {
            self.verify_issuers(&certificate, file)?;
        }
        match name.filter(|name| !certificate.is_for(name)) {
            Some(name) => Err(Distrust::name(&certificate, name).into()),
            None => Ok(()),
        }
    }

    /// A certificate that is trusted itself needs no issuer. OpenSSL takes a self-signed one so, and any other with
    /// `X509_V_FLAG_PARTIAL_CHAIN`, which Python sets from 3.13 on.
    fn verify_itself(&self, certificate: &Certificate<'_>) -> Result<(), Distrust> {
        if !certificate.validity.includes(self.now) {
            return Err(Distrust::dates(certificate, "the server's", self.now));
        }
        if !certificate.is_for_servers() {
            return Err(Distrust::purpose(certificate));
        }
        certificate.unknown_critical().next().map_or(Ok(()), |unknown| Err(Distrust::extension(&unknown)))
    }

    fn verify_issuers(
        &self,
        certificate: &Certificate<'_>,
        file: Option<&Path>,
    ) -> Result<(), rustls::Error> {
        // OpenSSL checks the dates of a trusted authority too.
        let valid = self.roots.without_invalid(self.now);
        let Err(error) = self.verify_chain(valid.as_ref().unwrap_or(&self.roots.anchors)) else {
            return Ok(());
        };
        if valid.is_some() && self.verify_chain(&self.roots.anchors).is_ok() {
            let authority = self.shown().find_map(|shown| self.roots.invalid(shown.issuer, self.now));
            return Err(Distrust::authority(certificate, authority, self.now).into());
        }
        let anchors = &valid.as_ref().unwrap_or(&self.roots.anchors).roots;
        if self.verify_itself(certificate).is_ok()
            && anchors.iter().any(|anchor| self.has_issued(anchor, certificate))
        {
            return Ok(());
        }
        if !self.knows_an_issuer() {
            return Err(Distrust::issuer(certificate, self.intermediates, file).into());
        }
        Err(Distrust::explained(error, certificate, self.intermediates, file, self.now))
    }

    /// `true` if an issuer of what the server has shown has the name of a trusted authority.
    fn knows_an_issuer(&self) -> bool {
        let mut issuers = self.shown().map(|shown| shown.issuer);
        issuers.any(|issuer| self.roots.anchors.roots.iter().any(|anchor| *anchor.subject == *issuer))
    }

    /// The server's certificate, and its intermediates.
    fn shown(&self) -> impl Iterator<Item = Certificate<'_>> {
        let shown = std::iter::once(self.shown).chain(self.intermediates);
        shown.filter_map(|der| Certificate::read(der))
    }

    fn verify_chain(&self, roots: &RootCertStore) -> Result<(), rustls::Error> {
        let (shown, algorithms) = (ParsedCertificate::try_from(self.shown)?, self.algorithms.all);
        verify_server_cert_signed_by_trust_anchor(&shown, roots, self.intermediates, self.now, algorithms)
    }

    /// `true` if a trusted authority has signed the certificate itself. The library refuses some of those that OpenSSL
    /// takes: of version 1, with `CA:TRUE`, or with critical policies.
    fn has_issued(&self, anchor: &TrustAnchor<'_>, certificate: &Certificate<'_>) -> bool {
        if *anchor.subject != *certificate.issuer || anchor.name_constraints.is_some() {
            return false;
        }
        let (key, signed) = (PublicKey::read(&anchor.subject_public_key_info), certificate.signed);
        key.is_some_and(|key| {
            self.algorithms.all.iter().any(|algorithm| {
                *algorithm.public_key_alg_id() == *key.algorithm
                    && *algorithm.signature_alg_id() == *signed.algorithm
                    && algorithm.verify_signature(key.bits, signed.message, signed.bits).is_ok()
            })
        })
    }
}
