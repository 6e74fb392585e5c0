//! [`Distrust`]: the reason why a server's certificate is not accepted, in words with the cure.

use std::path::Path;
use std::sync::Arc;

use humantime::format_rfc3339_seconds;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, OtherError};

use crate::outcome::advice;
use crate::x509::{self, Certificate, PublicKey, Validity};

/// The reason why a server's certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(super) struct Distrust {
    said: String,
    /// The hint that goes with it.
    pub(super) advice: Option<&'static str>,
}

impl From<Distrust> for rustls::Error {
    fn from(distrust: Distrust) -> Self {
        CertificateError::Other(OtherError(Arc::new(distrust))).into()
    }
}

impl Distrust {
    fn new(advice: Option<&'static str>, said: String) -> Self {
        Self { said, advice }
    }

    /// The reason in an error of the TLS library, if it is one.
    pub(super) fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref()
            }
            _ => None,
        }
    }

    pub(super) fn not_pinned(file: &Path) -> Self {
        Self::new(None, format!("the server's certificate is not in {}", file.display()))
    }

    /// The certificate is not valid yet, or no more.
    pub(super) fn dates(certificate: &Certificate<'_>, whose: &str, now: UnixTime) -> Self {
        let (validity, subject) = (certificate.validity, certificate.shown_subject());
        let said = if validity.is_over(now) {
            format!("{whose} certificate {subject:?} expired at {}", format_rfc3339_seconds(validity.end()))
        } else {
            let begin = format_rfc3339_seconds(validity.begin());
            format!("{whose} certificate {subject:?} is not valid before {begin}; compare the clocks")
        };
        Self::new(None, said)
    }

    /// A trusted authority is not valid now.
    pub(super) fn authority(
        certificate: &Certificate<'_>,
        authority: Option<Validity>,
        now: UnixTime,
    ) -> Self {
        let issuer = certificate.shown_issuer();
        let when = match authority {
            Some(validity) if validity.is_over(now) => {
                format!("has expired at {}", format_rfc3339_seconds(validity.end()))
            }
            Some(validity) => format!("is not valid before {}", format_rfc3339_seconds(validity.begin())),
            None => "is not valid now".to_owned(),
        };
        let said = format!(
            "the server's certificate is valid, but the trusted certificate of its authority {when} (issuer {issuer:?})"
        );
        Self::new(Some(advice::AUTHORITY_DATES), said)
    }

    pub(super) fn purpose(certificate: &Certificate<'_>) -> Self {
        let subject = certificate.shown_subject();
        let said = format!(
            "the certificate {subject:?} is not for servers: its extended key usage lacks serverAuth"
        );
        Self::new(None, said)
    }

    /// It has a critical extension that nobody here knows.
    pub(super) fn extension(extension: &str) -> Self {
        let said = format!(
            "a certificate of the server has the critical extension {extension}, which is not supported"
        );
        Self::new(Some(advice::TRUST_ITSELF), said)
    }

    pub(super) fn name(certificate: &Certificate<'_>, name: &ServerName<'_>) -> Self {
        let (names, name) = (certificate.names(), name.to_str());
        if names.iter().any(|other| *other == name) {
            let said =
                format!("the server's certificate has {name} as the name of a host, not as an IP address");
            return Self::new(Some(advice::ADDRESS_AS_NAME), said);
        }
        let names = names.join(", ");
        let said = format!("the server's certificate is not valid for name {name:?}, only for {names}");
        Self::new(Some(advice::SERVER_NAME), said)
    }

    /// The key of the server is of a kind that cannot be verified.
    pub(super) fn key(key: PublicKey<'_>) -> Self {
        let algorithm = x509::described(key.algorithm);
        let said =
            format!("the server's certificate has a key of an algorithm that is not supported: {algorithm}");
        Self::new(Some(advice::ALGORITHM), said)
    }

    /// The server did not prove that it holds the key.
    pub(super) fn signature(key: PublicKey<'_>) -> Self {
        let algorithm = x509::described(key.algorithm);
        let said = format!(
            "the handshake's signature does not fit the key of the certificate ({algorithm}), or the key is shorter \
             than 2048 bits or longer than 8192"
        );
        Self::new(Some(advice::ALGORITHM), said)
    }

    /// An error of the library that verifies the chain, in words.
    pub(super) fn explained(
        error: rustls::Error,
        certificate: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        file: Option<&Path>,
        now: UnixTime,
    ) -> rustls::Error {
        use CertificateError as Reason;
        let rustls::Error::InvalidCertificate(reason) = error else { return error };
        let distrust = match reason {
            Reason::Expired
            | Reason::ExpiredContext { .. }
            | Reason::NotValidYet
            | Reason::NotValidYetContext { .. } => {
                let mut intermediates = intermediates.iter().filter_map(|der| Certificate::read(der));
                let is_invalid = |certificate: &Certificate<'_>| !certificate.validity.includes(now);
                match intermediates.find(is_invalid).filter(|_| !is_invalid(certificate)) {
                    Some(intermediate) => Self::dates(&intermediate, "the intermediate", now),
                    None => Self::dates(certificate, "the server's", now),
                }
            }
            Reason::UnknownIssuer => Self::issuer(certificate, intermediates, file),
            Reason::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
                Self::algorithm(&x509::described(&signature_algorithm_id))
            }
            Reason::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id,
                public_key_algorithm_id,
            } => {
                let (signed, key) = (signature_algorithm_id, public_key_algorithm_id);
                Self::algorithm(&format!("{} by a {} key", x509::described(&signed), x509::described(&key)))
            }
            Reason::InvalidPurposeContext { .. } | Reason::InvalidPurpose => Self::purpose(certificate),
            // A trusted authority has the same name, and another key. The library's error for this has no public type.
            Reason::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                Self::issuer(certificate, intermediates, file)
            }
            reason => Self::form(certificate, intermediates, &reason),
        };
        distrust.into()
    }

    /// A certificate has a form that the library does not take.
    fn form(
        certificate: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        reason: &CertificateError,
    ) -> Self {
        let subject = certificate.shown_subject();
        let intermediates = intermediates.iter().filter_map(|der| Certificate::read(der));
        let all: Vec<_> = std::iter::once(*certificate).chain(intermediates).collect();
        if let Some(critical) = all.iter().flat_map(Certificate::unsupported_critical).next() {
            return Self::extension(&critical);
        }
        let said = if all.iter().any(|certificate| certificate.version < 3) {
            format!("the server's certificate {subject:?} or its issuer's is of X.509 version 1")
        } else {
            format!("the server's certificate {subject:?} is not accepted: {}", self::reason(reason))
        };
        Self::new(Some(advice::TRUST_ITSELF), said)
    }

    fn algorithm(signed: &str) -> Self {
        let said = format!(
            "a certificate of the server is signed with an algorithm that is not supported: {signed}"
        );
        Self::new(Some(advice::ALGORITHM), said)
    }

    /// No trusted authority has issued it.
    pub(super) fn issuer(
        certificate: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        file: Option<&Path>,
    ) -> Self {
        let trusted = file.map_or_else(
            || "the system's certificates".to_owned(),
            |file| format!("the certificates in {}", file.display()),
        );
        let last = intermediates.last().and_then(|der| Certificate::read(der)).unwrap_or(*certificate);
        let said = if certificate.is_self_issued() {
            let subject = certificate.shown_subject();
            format!("the server's certificate {subject:?} is self-signed, and not among {trusted}")
        } else {
            let issuer = last.shown_issuer();
            format!("the server's certificate is of an unknown issuer: {issuer:?} is not among {trusted}")
        };
        Self::new(Some(advice::TRUST_ITSELF), said)
    }
}

/// The reasons of the libraries, which have public types for some of them alone, by the names in their source.
const REASONS: &[(&str, &str)] = &[
    ("ApplicationVerificationFailure", "its verification failed"),
    ("BadEncoding", "it is not encoded in DER"),
    ("BadSignature", "an issuer's signature does not fit: authorities of the same name have different keys"),
    ("CaUsedAsEndEntity", "it is the certificate of an authority"),
    ("EndEntityUsedAsCa", "an issuer in its chain is no authority (CA:TRUE is missing)"),
    ("Expired", "it has expired"),
    ("InvalidPurpose", "it is not for servers"),
    ("MaximumPathBuildCallsExceeded", "its chain is too complex"),
    ("MaximumPathDepthExceeded", "its chain is too long"),
    ("MaximumSignatureChecksExceeded", "its chain is too complex"),
    ("NameConstraintViolation", "an authority in its chain may not issue for this name (name constraints)"),
    ("NotValidForName", "it is for another name"),
    ("NotValidYet", "it is not valid yet"),
    (
        "PathLenConstraintViolated",
        "an authority in its chain may have fewer authorities below it (path length)",
    ),
    ("Revoked", "it is revoked"),
    ("UnknownIssuer", "its issuer is not known"),
    ("UnsupportedCertVersion", "a certificate in its chain is of a version of X.509 that is not supported"),
    (
        "UnsupportedCriticalExtension",
        "a certificate in its chain has a critical extension that is not supported",
    ),
];

/// The reason why the library does not accept a certificate, in words.
pub(super) fn reason(error: &CertificateError) -> &'static str {
    let debug = format!("{error:?}");
    let mut names = debug.split(|char: char| !char.is_ascii_alphanumeric());
    let known = names.find_map(|name| REASONS.iter().find(|(known, _)| *known == name));
    known
        .map_or("its chain has a form that is not supported; `openssl verify` may tell more", |(_, words)| {
            words
        })
}
