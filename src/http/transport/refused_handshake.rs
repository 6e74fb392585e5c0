//! [`refused_handshake`]: a TLS handshake that one side has ended, in words for the log.

use std::io;

use tokio_rustls::rustls::{self, AlertDescription as Alert, CertificateError};

/// The reason for the end of a handshake, unless the client merely went away.
pub(super) fn refused_handshake(error: &io::Error) -> Option<String> {
    use rustls::Error;
    match error.get_ref()?.downcast_ref()? {
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity,
        ) => Some(NOTHING_IN_COMMON.to_owned()),
        Error::NoApplicationProtocol => Some("it offers neither h2 nor http/1.1 by ALPN".to_owned()),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Some("it sent bytes that are no valid TLS".to_owned()),
        Error::NoCertificatesPresented => {
            Some("it shows no client certificate, and tls.client_ca_file requires one".to_owned())
        }
        Error::InvalidCertificate(reason) => {
            Some(format!("its client certificate {}", of_certificate(reason)))
        }
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate),
        ) => Some(format!("it does not accept the certificate in tls.cert_file (alert: {alert:?})")),
        _ => None,
    }
}

const NOTHING_IN_COMMON: &str = "it and this listener have no TLS version, cipher suite, curve or signature in common: the listener speaks TLS \
                                 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20";

/// The reason against a client's certificate, as the end of a sentence.
fn of_certificate(reason: &CertificateError) -> &'static str {
    use CertificateError as Reason;
    match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => "has expired",
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => "is not valid yet",
        Reason::UnknownIssuer | Reason::BadSignature => "is of no authority in tls.client_ca_file",
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => {
            "is not for clients (extended key usage)"
        }
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "or its issuer's has a signature of an algorithm that is not supported"
        }
        // Its errors have no public type.
        Reason::Other(other) => {
            let other = format!("{other:?}");
            OTHERS.iter().find(|(name, _)| other.contains(name)).map_or(DAMAGED, |(_, words)| words)
        }
        _ => DAMAGED,
    }
}

const DAMAGED: &str = "is damaged or of a form that is not supported: see `openssl x509 -noout -text`";

/// Names of the library's errors, with their words.
const OTHERS: [(&str, &str); 6] = [
    (
        "CaUsedAsEndEntity",
        "is an authority's own (CA:TRUE), as self-signed ones are: issue one for the client, and put its issuer into \
         tls.client_ca_file",
    ),
    ("EndEntityUsedAsCa", "is issued by one that is no authority (CA:FALSE)"),
    (
        "UnsupportedCertVersion",
        "is of X.509 version 1: issue one with extensions (openssl x509 -req -extfile)",
    ),
    ("UnsupportedCriticalExtension", "or its issuer's has a critical extension that is not supported"),
    ("NameConstraintViolation", "has a name that its authority must not give (name constraints)"),
    ("PathLenConstraintViolated", "is below more intermediates than its authority allows (path length)"),
];
