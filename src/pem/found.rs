//! [`found`]: the content of a file that is not the wanted one, in words with the cure.

use std::fmt;
use std::path::Path;

use crate::x509::DerKind;

/// The content that a file is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Certificates of authorities, or of servers that are trusted themselves.
    Trusted,
    /// A certificate with its intermediates.
    Certificate,
    /// The private key of a certificate.
    Key,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted certificate",
            Self::Certificate => "certificate",
            Self::Key => "private key",
        })
    }
}

impl Wanted {
    /// The PEM labels for it, the usual one first.
    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Trusted | Self::Certificate => &["CERTIFICATE"],
            Self::Key => &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"],
        }
    }

    /// The command of OpenSSL that reads it.
    fn command(self) -> &'static str {
        match self {
            Self::Trusted | Self::Certificate => "x509",
            Self::Key => "pkey",
        }
    }
}

/// The content of a file that lacks the wanted one. Only known labels are quoted, since the rest may be a secret.
pub(super) fn found(wanted: Wanted, path: &Path, bytes: &[u8], text: &str) -> String {
    let (shown, command, usual) = (path.display(), wanted.command(), wanted.labels()[0]);
    if text.trim().is_empty() {
        return "the file is empty".to_owned();
    }
    if !text.contains("-----BEGIN ") {
        return match DerKind::of(bytes) {
            Some(kind) => of_der(kind, wanted, path),
            None => format!("it has no line -----BEGIN {usual}-----, with which PEM begins"),
        };
    }
    let labels: Vec<_> = text.lines().filter_map(label).collect();
    let own = labels.iter().find(|label| wanted.labels().contains(label));
    match (own, labels.first()) {
        (Some(label), _) if !text.contains(&format!("-----END {label}-----")) => {
            format!("its {label} has no END line, so the file is cut off")
        }
        (Some(label), _) => {
            format!(
                "its {label} cannot be decoded: check it with `openssl {command} -in {shown} -noout -text`"
            )
        }
        (None, Some(&label)) => {
            format!("it holds {label}: {}", cure(label, wanted, path))
        }
        (None, None) => {
            format!("its line breaks are lost: -----BEGIN {usual}----- must be a line of its own")
        }
    }
}

/// The label of a PEM block, from a line that begins one.
fn label(line: &str) -> Option<&str> {
    let label = line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
    label
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ')
        .then_some(label)
}

fn cure(label: &str, wanted: Wanted, path: &Path) -> String {
    let path = path.display();
    match (label, wanted) {
        ("OPENSSH PRIVATE KEY", Wanted::Key) => {
            format!("convert a copy of it with `ssh-keygen -p -m PKCS8 -f {path}`")
        }
        ("PKCS7", Wanted::Trusted | Wanted::Certificate) => {
            format!("convert it with `openssl pkcs7 -print_certs -in {path} -out {path}.pem`")
        }
        _ => format!("name the file that holds the {wanted}"),
    }
}

fn of_der(kind: DerKind, wanted: Wanted, path: &Path) -> String {
    let is_key = wanted == Wanted::Key;
    let (what, is_wanted) = match kind {
        DerKind::Certificate => ("a certificate in DER", !is_key),
        DerKind::PublicKey => ("a public key in DER", false),
        DerKind::PrivateKey => ("a private key in DER", is_key),
        DerKind::Pkcs12 => ("a PKCS #12 archive", true),
        DerKind::Other => ("binary (DER)", true),
    };
    if !is_wanted {
        return format!("it is {what}: name the file that holds the {wanted}");
    }
    let command = match (kind, is_key) {
        (DerKind::Pkcs12, true) => "pkcs12 -nocerts -nodes",
        (DerKind::Pkcs12, false) => "pkcs12 -nokeys",
        _ if is_key => "pkey -inform der",
        _ => "x509 -inform der",
    };
    let path = path.display();
    format!(
        "it is {what}, and PEM is expected: convert it with `openssl {command} -in {path} -out {path}.pem`"
    )
}
