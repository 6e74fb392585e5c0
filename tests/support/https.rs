//! A server that speaks TLS and answers everybody the same.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::{Authority, Identity};

/// Serves with this certificate, and gives every request these bytes, for as long as the tests run. If an authority
/// `clients` is named, only clients with a certificate of it are served.
pub fn serve(identity: &Identity, clients: Option<&Authority>, answer: &'static [u8]) -> SocketAddr {
    let config = Arc::new(config(identity, clients));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let stream = StreamOwned::new(connection, stream.expect("a client"));
            // A client that does not believe the certificate goes away.
            thread::spawn(move || respond(stream, answer));
        }
    });
    address
}

fn config(identity: &Identity, clients: Option<&Authority>) -> ServerConfig {
    let certificate =
        CertificateDer::from_pem_slice(identity.certificate().as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key().as_bytes()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let pem = authority.certificate();
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    builder.with_single_cert(vec![certificate], key).expect("a configuration")
}

fn respond(mut stream: impl Read + Write, answer: &[u8]) -> std::io::Result<()> {
    let mut byte = [0];
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    stream.write_all(answer)?;
    stream.flush()
}
