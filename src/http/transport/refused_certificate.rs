//! [`refused_certificate`]: a handshake that a certificate has ended, in words for the log.

use std::io;

use tokio_rustls::rustls::{self, AlertDescription as Alert, CertificateError};

/// The reason for the end of a handshake, if one side has refused the other's certificate.
pub(super) fn refused_certificate(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::NoCertificatesPresented => {
            Some("it shows no client certificate, and tls.client_ca_file requires one".to_owned())
        }
        rustls::Error::InvalidCertificate(reason) => {
            let why = match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "is not valid yet".to_owned()
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "is of no authority in tls.client_ca_file".to_owned()
                }
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    "is not for clients (extended key usage)".to_owned()
                }
                other => format!("is not accepted: {other:?}"),
            };
            Some(format!("its client certificate {why}"))
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate),
        ) => Some(format!("it does not accept the certificate in tls.cert_file (alert: {alert:?})")),
        _ => None,
    }
}
