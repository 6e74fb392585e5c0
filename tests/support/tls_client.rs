//! TLS as a client speaks it: whole handshakes, and the beginnings of some.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Authority;

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// The time that a peer gives the server for a handshake.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client that trusts this authority.
pub fn client(authority: &Authority) -> Arc<ClientConfig> {
    trusting(&[CertificateDer::from_pem_slice(authority.certificate().as_bytes()).expect("a certificate")])
}

fn trusting(authorities: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).expect("an authority");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(config.clone(), name).expect("a connection")
}

/// The client's end of TLS over `stream`.
pub fn over(stream: TcpStream, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(connection(config), stream)
}

/// Shakes hands, and sends these bytes.
pub fn begin(stream: &mut TcpStream, config: &Arc<ClientConfig>, says: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut client = connection(config);
    while client.is_handshaking() {
        client.complete_io(stream)?;
    }
    client.writer().write_all(says)?;
    while client.wants_write() {
        client.write_tls(stream)?;
    }
    Ok(())
}

/// The first message of a handshake (RFC 8446, section 4.1.2).
pub fn client_hello() -> Vec<u8> {
    let (mut hello, mut client) = (Vec::new(), connection(&trusting(&[])));
    client.write_tls(&mut hello).expect("a vector takes it");
    hello
}
