//! [`Advice`]: a hint that is more precise than that of a cause.

/// A hint that is more precise than that of a cause, for faults whose words tell more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Advice {
    /// The cause's hint is as precise.
    #[default]
    None,
    /// An algorithm of a certificate is not supported.
    Algorithm,
    /// The certificate is not accepted, but would be if it were trusted itself.
    TrustItself,
    /// The server refuses the sidecar's own certificate, or misses one.
    ClientCertificate,
    /// Nothing that both sides speak was found.
    NothingInCommon,
    /// The server closed the connection in place of a handshake.
    ClosedInHandshake,
    /// The server closed the connection in place of an answer.
    ClosedWithoutAnswer,
    /// The server speaks without TLS.
    NoTls,
    /// The host is not a name of the certificate, or cannot be one.
    ServerName,
}

impl Advice {
    /// One sentence that tells the operator where to look.
    pub(super) fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Algorithm => {
                "The certificate uses an algorithm that cache-canary does not support: reissue it with RSA (2048 to 8192 bits), P-256, P-384 or Ed25519 keys, with SHA-256 or, for P-384, SHA-384; if only its issuer's signature is unsupported, put the certificate itself into tls.ca_file."
            }
            Self::TrustItself => {
                "The server's certificate is not accepted: put its issuer's certificate, or the certificate itself, into tls.ca_file; `openssl s_client -showcerts -connect HOST:PORT` prints what the server shows."
            }
            Self::ClientCertificate => {
                "The server does not accept the client certificate of cache-canary: set tls.cert_file and tls.key_file to a certificate that is valid now and issued by an authority that the server trusts (Redis: tls-ca-cert-file; memcached: ssl_ca_cert)."
            }
            Self::NothingInCommon => {
                "Both sides have no TLS version, cipher suite, curve or signature in common: cache-canary speaks TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20, on X25519, P-256 and P-384, with RSA, P-256, P-384 and Ed25519 keys; allow one of each on the server (Redis: tls-protocols, tls-ciphers)."
            }
            Self::ClosedInHandshake => {
                "The server closed the connection before the TLS handshake ended: check that it is below its connection limit (Redis: maxclients; memcached: -c), and that this port speaks TLS."
            }
            Self::ClosedWithoutAnswer => {
                "The connection was closed in place of an answer: check that both sides use TLS or neither does (rediss:// and memcacheds:// use it), then the server's log and any proxy in front of it."
            }
            Self::NoTls => {
                "The server speaks without TLS on this port, and the configuration asks for TLS: point the address at the server's TLS port, or begin the URL with redis:// or memcached:// (without the s)."
            }
            Self::ServerName => {
                "The host is not a name of the server's certificate: set tls.server_name to a name that the certificate has, or reissue it for the host."
            }
        })
    }
}
