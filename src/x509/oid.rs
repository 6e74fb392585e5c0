//! Object identifiers, as bytes and in words.

use super::der::Reader;
use super::tag;

/// `id-at-commonName` (RFC 5280, appendix A.1).
pub(super) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// `id-ce-subjectAltName` (RFC 5280, section 4.2.1.6).
pub(super) const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];
/// `id-ce-extKeyUsage` (RFC 5280, section 4.2.1.12).
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 29, 37];
/// `id-kp-serverAuth` (RFC 5280, section 4.2.1.12).
pub(super) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// `id-RSASSA-PSS` (RFC 4055, section 3.1).
pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// An object identifier with dots.
fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in oid {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// The algorithm of a signature or of a key in words, by the content of its `AlgorithmIdentifier`, or by that with its
/// parameters.
pub(crate) fn described(algorithm: &[u8]) -> String {
    const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
    let mut parts = Reader(algorithm);
    let name = dotted(parts.take(tag::OID).unwrap_or_default());
    let name = match (name.as_str(), parts.take(tag::OID)) {
        (EC_PUBLIC_KEY, Some(curve)) => dotted(curve),
        _ => name,
    };
    known(&name).map(str::to_owned).unwrap_or(name)
}

/// An object identifier in words, or with dots if there are none.
pub(super) fn described_oid(oid: &[u8]) -> String {
    let name = dotted(oid);
    known(&name).map(str::to_owned).unwrap_or(name)
}

/// The usual words for an object identifier.
fn known(oid: &str) -> Option<&'static str> {
    // RFC 3279, RFC 4055, RFC 5480, RFC 5639, RFC 5758, RFC 8410, and RFC 5280 for extensions.
    Some(match oid {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.14" => "RSA with SHA-224",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10045.3.1.1" => "P-192",
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.10" => "secp256k1",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.5.29.15" => "keyUsage",
        "2.5.29.32" => "certificatePolicies",
        "2.5.29.33" => "policyMappings",
        "2.5.29.36" => "policyConstraints",
        "2.5.29.54" => "inhibitAnyPolicy",
        _ => return None,
    })
}
