//! Errors of TLS as faults: by cause, with words and a hint.

use std::io;

use tokio_rustls::rustls::{
    self, AlertDescription as Alert, CertificateError, PeerIncompatible, PeerMisbehaved,
};

use super::distrust::{self, Distrust};
use crate::cache::foreign::ForeignServer;
use crate::outcome::{Cause, Fault, advice};
use crate::progress::NodeProgress;
use crate::redaction;

/// The course of a handshake that failed.
pub(super) struct Handshake<'a> {
    /// The first bytes that the server sent.
    pub(super) first: &'a [u8],
    /// `true` if the server asked for a certificate that the client does not have.
    pub(super) misses_certificate: bool,
}

/// The fault of a handshake that failed.
pub(super) fn handshake_fault(progress: &NodeProgress, error: &io::Error, seen: &Handshake<'_>) -> Fault {
    if let Some(plain) = plain_answer(progress, seen.first) {
        return plain_fault(progress, &plain);
    }
    // TLS 1.2 has no alert of its own for it.
    let misses_certificate =
        || tls_fault(progress, &rustls::Error::AlertReceived(Alert::CertificateRequired));
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(Alert::HandshakeFailure)) if seen.misses_certificate => {
            misses_certificate()
        }
        Some(error) => tls_fault(progress, error),
        None if is_close(error) && seen.misses_certificate => misses_certificate(),
        None if is_close(error) => {
            let said = "the server closed the connection during the handshake";
            progress.fault(Cause::Tls, said).with_advice(advice::CLOSED_IN_HANDSHAKE)
        }
        None => progress.fault(Cause::Tls, &error.to_string()),
    }
}

fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe
    )
}

/// The same error, whose text is the reason in words if it is the TLS library's.
pub(crate) fn in_words(error: io::Error) -> io::Error {
    match tls_error(&error) {
        Some(of_tls) => io::Error::new(error.kind(), told(of_tls).0),
        None => error,
    }
}

/// The error of the TLS library in this one, if there is one.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The fault of an error of the TLS library, in the handshake or after it: with TLS 1.3 a server refuses a client's
/// certificate in place of its first answer.
pub(in crate::cache::dial) fn tls_fault(progress: &NodeProgress, error: &rustls::Error) -> Fault {
    let (said, advice) = told(error);
    // It may quote any name from a certificate.
    progress.fault(Cause::Tls, &progress.redaction().host(&said)).with_advice(advice)
}

/// An error of the TLS library in words, none of which are names from its source; and the hint that goes with it.
fn told(error: &rustls::Error) -> (String, Option<&'static str>) {
    match error {
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::PeerIncompatible(what) => (
            format!("the server has nothing in common with cache-canary{}", incompatible(what)),
            Some(advice::NOTHING_IN_COMMON),
        ),
        // For TLS 1.2, RSA keys that are for RSA-PSS alone have schemes that the library does not know.
        rustls::Error::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm) => {
            let said = "the server's key (RSA-PSS alone) is supported with TLS 1.3 only, and the server speaks TLS 1.2";
            (said.to_owned(), Some(advice::NOTHING_IN_COMMON))
        }
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            ("the server's certificate is not encoded in DER".to_owned(), None)
        }
        rustls::Error::InvalidMessage(_) => {
            ("the server's answer is not one of TLS".to_owned(), Some(advice::NO_TLS))
        }
        rustls::Error::InvalidCertificate(reason) => {
            if let Some(distrust) = Distrust::of(error) {
                (distrust.to_string(), distrust.advice)
            } else {
                let said = format!("the server's certificate is not accepted: {}", distrust::reason(reason));
                (said, Some(advice::TRUST_ITSELF))
            }
        }
        rustls::Error::NoCertificatesPresented => ("the server shows no certificate".to_owned(), None),
        rustls::Error::DecryptError | rustls::Error::PeerSentOversizedRecord => (error.to_string(), None),
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerMisbehaved(_) => ("the server breaks the rules of TLS".to_owned(), None),
        _ => ("the TLS library of cache-canary failed".to_owned(), None),
    }
}

/// The part of TLS that is not in common, as far as it is known.
fn incompatible(what: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as Lack;
    match what {
        Lack::ServerDoesNotSupportTls12Or13 | Lack::ServerTlsVersionIsDisabledByOurConfig => {
            ": its version of TLS is older than 1.2"
        }
        Lack::NoCipherSuitesInCommon => ": no cipher suite",
        Lack::NoKxGroupsInCommon | Lack::NamedGroupsExtensionRequired | Lack::KeyShareExtensionRequired => {
            ": no curve for the key exchange"
        }
        Lack::NoSignatureSchemesInCommon | Lack::NoCertificateRequestSignatureSchemesInCommon => {
            ": no signature algorithm"
        }
        _ => "",
    }
}

/// The words for an alert of the server (RFC 8446, section 6.2). Those about certificates are about the client's.
fn of_alert(alert: Alert) -> (String, Option<&'static str>) {
    let refused = match alert {
        Alert::CertificateRequired => {
            let said = "the server requires a client certificate (CertificateRequired), and tls.cert_file is not set";
            return (said.to_owned(), Some(advice::CLIENT_CERTIFICATE));
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            let said = format!(
                "the server found nothing in common with what cache-canary speaks (alert: {alert:?})"
            );
            return (said, Some(advice::NOTHING_IN_COMMON));
        }
        Alert::CertificateExpired => "it has expired, or is not valid yet by the server's clock",
        Alert::UnknownCA => "the server does not trust its issuer",
        Alert::CertificateRevoked => "it is revoked",
        Alert::UnsupportedCertificate => "it is of a kind or for a purpose that the server does not take",
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::AccessDenied | Alert::DecryptError => {
            "see its log"
        }
        _ => return (format!("the server ended the handshake (alert: {alert:?})"), None),
    };
    let said =
        format!("the server refuses the client certificate in tls.cert_file: {refused} (alert: {alert:?})");
    (said, Some(advice::CLIENT_CERTIFICATE))
}

/// An answer without TLS, for people, and the hint that goes with it.
pub(super) struct PlainAnswer {
    pub(super) line: String,
    pub(super) hint: &'static str,
}

/// The first line of what a server sent without TLS, with its kind if that is known; `None` if it was no text of an unknown
/// one.
pub(super) fn plain_answer(progress: &NodeProgress, bytes: &[u8]) -> Option<PlainAnswer> {
    let first = bytes.first()?;
    let server = ForeignServer::of(bytes);
    // A record of TLS begins with a number from 20 to 23 (RFC 8446, section 5.1).
    if (20..=23).contains(first) || server.is_none() && !first.is_ascii_graphic() {
        return None;
    }
    let line = bytes.split(|byte| b"\r\n".contains(byte)).next()?;
    let mut line = progress.redaction().line(&redaction::raw(line));
    if let Some(server) = server {
        line = format!("{line}, as from {}", server.name);
    }
    let hint = server.filter(|server| !server.is_cache()).map_or(advice::NO_TLS, |server| server.hint);
    Some(PlainAnswer { line, hint })
}

/// The fault of a server that sent this in place of a handshake. One at its connection limit says so without TLS.
fn plain_fault(progress: &NodeProgress, PlainAnswer { line, hint }: &PlainAnswer) -> Fault {
    if line.contains("Too many open connections") || line.contains("max number of clients") {
        return progress.fault(Cause::Refused, line);
    }
    let said = format!("no TLS there? The server answers without it: {line}");
    progress.fault(Cause::Tls, &said).with_advice(*hint)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use tokio_rustls::rustls::{InconsistentKeys, InvalidMessage, OtherError};

    use super::*;

    /// An error whose texts are names from the source of a library, as those of webpki are.
    struct Raw(&'static str);

    impl fmt::Debug for Raw {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl fmt::Display for Raw {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Raw {}

    fn other(name: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(Raw(name))))
    }

    #[test]
    fn no_name_from_the_source_of_a_library_reaches_a_user() {
        use rustls::Error;
        // The variants of webpki's error that rustls gives no name of its own.
        let webpki = [
            "CaUsedAsEndEntity",
            "EmptyEkuExtension",
            "EndEntityUsedAsCa",
            "ExtensionValueInvalid",
            "InvalidNetworkMaskConstraint",
            "MalformedDnsIdentifier",
            "MalformedExtensions",
            "MalformedNameConstraint",
            "MaximumNameConstraintComparisonsExceeded",
            "MaximumPathBuildCallsExceeded",
            "MaximumPathDepthExceeded",
            "MaximumSignatureChecksExceeded",
            "NameConstraintViolation",
            "PathLenConstraintViolated",
            "UnsupportedCertVersion",
            "UnsupportedCriticalExtension",
            "UnsupportedNameType",
            "SomethingNew(AndDeeper)",
        ];
        let certificate = [
            CertificateError::BadEncoding,
            CertificateError::BadSignature,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ExpiredRevocationList,
            CertificateError::NotValidForName,
            CertificateError::InvalidPurpose,
            CertificateError::InvalidOcspResponse,
            CertificateError::ApplicationVerificationFailure,
        ];
        let incompatible = [
            PeerIncompatible::ServerDoesNotSupportTls12Or13,
            PeerIncompatible::NoCipherSuitesInCommon,
            PeerIncompatible::NoKxGroupsInCommon,
            PeerIncompatible::NoSignatureSchemesInCommon,
            PeerIncompatible::ExtendedMasterSecretExtensionRequired,
            PeerIncompatible::Tls12NotOffered,
        ];
        let whole = [
            Error::InappropriateMessage { expect_types: Vec::new(), got_type: rustls::ContentType::Alert },
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::NoCertificatesPresented,
            Error::UnsupportedNameType,
            Error::DecryptError,
            Error::EncryptError,
            Error::PeerMisbehaved(PeerMisbehaved::InvalidMaxEarlyDataSize),
            Error::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm),
            Error::General("FromTheLibrary".to_owned()),
            Error::HandshakeNotComplete,
            Error::PeerSentOversizedRecord,
            Error::BadMaxFragmentSize,
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
            Error::Other(OtherError(Arc::new(Raw("FromTheLibrary")))),
        ];
        let certificate = certificate.into_iter().chain(webpki.map(other)).map(Error::InvalidCertificate);
        let all = certificate.chain(incompatible.map(Error::PeerIncompatible)).chain(whole);
        for error in all {
            let (said, _) = told(&error);
            let is_of_source = |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
            assert!(!said.as_bytes().windows(2).any(is_of_source), "{error:?}: {said}");
            assert!(!said.ends_with([' ', ':']), "{error:?}: {said}");
        }
    }
}
