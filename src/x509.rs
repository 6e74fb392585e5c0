//! The parts of a certificate that the TLS library does not give: dates, names, and the algorithms in words (RFC 5280).
//!
//! Nothing is verified here. A certificate that cannot be read has none of the parts.

mod dates;
mod der;
mod oid;

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};

use der::Reader;

pub(crate) use dates::{of_identity, of_server};
pub(crate) use oid::described;

/// The tags of ASN.1 that are read (X.690, section 8).
mod tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const UTF8_STRING: u8 = 0x0c;
    pub(super) const TELETEX_STRING: u8 = 0x14;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    /// `[0] EXPLICIT Version` and `[3] EXPLICIT Extensions` of a certificate.
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
    /// `dNSName [2]` and `iPAddress [7]` of a general name.
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const IP_ADDRESS: u8 = 0x87;
}

/// A certificate as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate<'a> {
    /// The version: 1 or 3, as a rule.
    pub(crate) version: u8,
    /// The content of its issuer's name.
    pub(crate) issuer: &'a [u8],
    /// The content of its subject's name.
    pub(crate) subject: &'a [u8],
    /// The time in which it is valid.
    pub(crate) validity: Validity,
    /// The key of its holder.
    pub(crate) key: PublicKey<'a>,
    extensions: &'a [u8],
    /// The part of it that its issuer has signed, and the signature.
    pub(crate) signed: Signed<'a>,
}

/// Bytes with their signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The bytes.
    pub(crate) message: &'a [u8],
    /// The content of the signature's `AlgorithmIdentifier`.
    pub(crate) algorithm: &'a [u8],
    /// The bits of the signature.
    pub(crate) bits: &'a [u8],
}

/// A public key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublicKey<'a> {
    /// The content of its `AlgorithmIdentifier`.
    pub(crate) algorithm: &'a [u8],
    /// Its bits.
    pub(crate) bits: &'a [u8],
}

/// The time in which a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    not_before: u64,
    not_after: u64,
}

/// One extension.
struct Extension<'a> {
    oid: &'a [u8],
    is_critical: bool,
    value: &'a [u8],
}

/// The kind of a file in DER, as far as its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DerKind {
    Certificate,
    PublicKey,
    /// In any of its forms, which begin with their version (RFC 5208, RFC 5915, RFC 8017).
    PrivateKey,
    /// An archive of certificates and keys, of version 3 (RFC 7292).
    Pkcs12,
    /// Another one, such as a private key with a passphrase.
    Other,
}

impl DerKind {
    /// The kind of these bytes; `None` if they are not in DER.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        Some(match Reader(Reader(der).take(tag::SEQUENCE)?).any()? {
            (tag::INTEGER, [0 | 1]) => Self::PrivateKey,
            (tag::INTEGER, [3]) => Self::Pkcs12,
            _ if Certificate::read(der).is_some() => Self::Certificate,
            _ if PublicKey::of_info(der).is_some() => Self::PublicKey,
            _ => Self::Other,
        })
    }
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. Bytes after it, as in OpenSSL's `TRUSTED CERTIFICATE`, are ignored.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Reader(Reader(der).take(tag::SEQUENCE)?);
        let whole = certificate.0;
        let mut parts = Reader(certificate.take(tag::SEQUENCE)?);
        let message = &whole[..whole.len() - certificate.0.len()];
        let signature_algorithm = certificate.take(tag::SEQUENCE)?;
        let signed = Signed { message, algorithm: signature_algorithm, bits: certificate.bits()? };
        let version = match parts.take(tag::VERSION) {
            None => 1,
            Some(version) => version.last()?.checked_add(1)?,
        };
        let _serial = parts.any()?;
        let _signature = parts.take(tag::SEQUENCE)?;
        let issuer = parts.take(tag::SEQUENCE)?;
        let mut validity = Reader(parts.take(tag::SEQUENCE)?);
        let validity = Validity { not_before: validity.time()?, not_after: validity.time()? };
        let subject = parts.take(tag::SEQUENCE)?;
        let key = PublicKey::read(parts.take(tag::SEQUENCE)?)?;
        let mut extensions = &[][..];
        while let Some((tag, value)) = parts.any() {
            if tag == tag::EXTENSIONS {
                extensions = Reader(value).take(tag::SEQUENCE)?;
            }
        }
        Some(Self { version, issuer, subject, validity, key, extensions, signed })
    }

    /// `true` if it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The name of its subject, for people.
    pub(crate) fn shown_subject(&self) -> String {
        shown_name(self.subject)
    }

    /// The name of its issuer, for people.
    pub(crate) fn shown_issuer(&self) -> String {
        shown_name(self.issuer)
    }

    /// The length of the certificate that the bytes begin with.
    pub(crate) fn length(der: &[u8]) -> Option<usize> {
        let mut reader = Reader(der);
        reader.take(tag::SEQUENCE)?;
        Some(der.len() - reader.0.len())
    }

    /// The critical extensions that the library which verifies a chain does not know, in words: it knows key usage,
    /// alternative names, basic constraints, name constraints, distribution points and extended key usage.
    pub(crate) fn unsupported_critical(&self) -> impl Iterator<Item = String> + use<'a> {
        self.critical(|oid| matches!(oid, [0x55, 29, 15 | 17 | 19 | 30 | 31 | 37]))
    }

    /// The critical extensions that OpenSSL does not know either; it knows those of policies.
    pub(crate) fn unknown_critical(&self) -> impl Iterator<Item = String> + use<'a> {
        self.critical(|oid| matches!(oid, [0x55, 29, 15 | 17 | 19 | 30..=33 | 36 | 37 | 54]))
    }

    fn critical(&self, is_known: fn(&[u8]) -> bool) -> impl Iterator<Item = String> + use<'a> {
        let critical = self.all_extensions().filter(|extension| extension.is_critical);
        let unknown = critical.filter(move |extension| !is_known(extension.oid));
        unknown.map(|extension| oid::described_oid(extension.oid))
    }

    /// `true` if a server may use it: no extended key usage is given, or that of a server (RFC 5280, section 4.2.1.12).
    pub(crate) fn is_for_servers(&self) -> bool {
        let Some(usages) = self.extension(oid::EXTENDED_KEY_USAGE) else { return true };
        let mut usages = Reader(Reader(usages).take(tag::SEQUENCE).unwrap_or_default());
        std::iter::from_fn(|| usages.take(tag::OID)).any(|usage| usage == oid::SERVER_AUTH)
    }

    /// `true` if it is one for this name. As with OpenSSL, the common name counts if it has no DNS name (RFC 6125,
    /// section 6.4.4).
    pub(crate) fn is_for(&self, name: &ServerName<'_>) -> bool {
        match name {
            ServerName::DnsName(host) => {
                let host = host.as_ref().trim_end_matches('.');
                self.dns_names().iter().any(|presented| is_match(presented, host))
            }
            ServerName::IpAddress(address) => {
                let address = match IpAddr::from(*address) {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                self.alternative_names().any(|(tag, value)| tag == tag::IP_ADDRESS && value == address)
            }
            _ => false,
        }
    }

    /// The names that it is for, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = self.dns_names();
        let addresses = self.alternative_names().filter(|&(tag, _)| tag == tag::IP_ADDRESS);
        names.extend(addresses.filter_map(|(_, octets)| {
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
            Some(v4.or_else(|_| v6()).ok()?.to_string())
        }));
        names
    }

    fn dns_names(&self) -> Vec<String> {
        let names = self.alternative_names().filter(|&(tag, _)| tag == tag::DNS_NAME);
        let names: Vec<_> = names.map(|(_, name)| String::from_utf8_lossy(name).into_owned()).collect();
        if names.is_empty() { common_names(self.subject).collect() } else { names }
    }

    fn alternative_names(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let names = self.extension(oid::ALTERNATIVE_NAMES).unwrap_or_default();
        let mut names = Reader(Reader(names).take(tag::SEQUENCE).unwrap_or_default());
        std::iter::from_fn(move || names.any())
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.all_extensions().find(|extension| extension.oid == oid).map(|extension| extension.value)
    }

    fn all_extensions(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut extensions = Reader(self.extensions);
        std::iter::from_fn(move || {
            let mut parts = Reader(extensions.take(tag::SEQUENCE)?);
            let oid = parts.take(tag::OID)?;
            let is_critical = parts.take(tag::BOOLEAN).is_some_and(|value| value != [0]);
            Some(Extension { oid, is_critical, value: parts.take(tag::OCTET_STRING)? })
        })
    }
}

impl<'a> PublicKey<'a> {
    /// Reads the content of a `SubjectPublicKeyInfo`.
    pub(crate) fn read(info: &'a [u8]) -> Option<Self> {
        let mut parts = Reader(info);
        Some(Self { algorithm: parts.take(tag::SEQUENCE)?, bits: parts.bits()? })
    }

    /// Reads a `SubjectPublicKeyInfo`.
    pub(crate) fn of_info(der: &'a [u8]) -> Option<Self> {
        Self::read(Reader(der).take(tag::SEQUENCE)?)
    }

    /// `true` if it is an RSA key that makes no signatures but those of RSA-PSS (RFC 4055, section 1.2).
    pub(crate) fn is_for_pss(&self) -> bool {
        Reader(self.algorithm).take(tag::OID) == Some(oid::RSA_PSS)
    }
}

impl Validity {
    /// `true` if it is over.
    pub(crate) fn is_over(self, now: UnixTime) -> bool {
        self.not_after < now.as_secs()
    }

    /// `true` if it has begun and is not over.
    pub(crate) fn includes(self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_secs())
    }

    /// Its last second.
    pub(crate) fn end(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after)
    }

    /// Its first second.
    pub(crate) fn begin(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_before)
    }
}

/// `true` if a name in a certificate is the host's. A star stands for the first label alone (RFC 6125, section 6.4.3).
fn is_match(presented: &str, host: &str) -> bool {
    if let Some(parent) = presented.strip_prefix("*.") {
        let is_below = |(label, rest): (&str, &str)| !label.is_empty() && rest.eq_ignore_ascii_case(parent);
        return parent.contains('.') && host.split_once('.').is_some_and(is_below);
    }
    presented.eq_ignore_ascii_case(host)
}

/// The common names of a distinguished name.
fn common_names(name: &[u8]) -> impl Iterator<Item = String> {
    attributes(name).filter(|(oid, _)| *oid == oid::COMMON_NAME).map(|(_, value)| value)
}

/// A distinguished name for people: the common name, or else its last attribute.
fn shown_name(name: &[u8]) -> String {
    let name = common_names(name).last().or_else(|| attributes(name).last().map(|(_, value)| value));
    name.unwrap_or_else(|| "without a name".to_owned())
}

fn attributes(name: &[u8]) -> impl Iterator<Item = (&[u8], String)> {
    let mut sets = Reader(name);
    std::iter::from_fn(move || {
        let mut attribute = Reader(Reader(sets.take(tag::SET)?).take(tag::SEQUENCE)?);
        let oid = attribute.take(tag::OID)?;
        let (tag, value) = attribute.any()?;
        let value = match tag {
            // Other strings are subsets of ASCII; those of two or four bytes a character are not used in practice.
            tag::UTF8_STRING..=tag::TELETEX_STRING | 0x16 | 0x1a => {
                String::from_utf8_lossy(value).into_owned()
            }
            _ => String::new(),
        };
        Some((oid, value))
    })
}

#[cfg(test)]
mod tests;
