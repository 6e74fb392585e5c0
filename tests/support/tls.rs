//! Certificates, newly made for each test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    /// A new authority, that nobody trusts yet.
    pub fn new() -> Self {
        // Another name for each: a certificate names the authority that issued it.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("cache-canary's tests, {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"),
        )
    }

    /// The authority's certificate in PEM, for those who are to trust it.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// The authority's private key in PEM.
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Issues a certificate for these names or IP addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| ())
    }

    /// Issues a certificate that was valid in the year 2001.
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2001, 12, 31);
        })
    }

    /// Issues a certificate that is valid until then.
    pub fn issue_until(&self, names: &[&str], end: SystemTime) -> Identity {
        let end = end.duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
        self.issue_with(names, |params| params.not_after = date_time_ymd(1970, 1, 1) + end)
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Identity {
    /// A certificate and its key in PEM.
    pub fn of(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    /// The certificate in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }
}
