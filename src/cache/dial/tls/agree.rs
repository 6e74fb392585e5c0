//! [`TlsTarget::agree`]: the handshake, and what is found out if the other side does not speak TLS.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, SignatureScheme};

use super::super::Stream;
use super::witness::{MOST, Witness};
use super::words::{Handshake, PlainAnswer, handshake_fault, plain_answer};
use crate::budget;
use crate::config::{Tls, Verify};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Expiry, Fault, Phase, advice};
use crate::progress::NodeProgress;
use crate::x509;

/// The TLS of a node.
#[derive(Debug)]
pub(in crate::cache) struct TlsTarget {
    config: Arc<ClientConfig>,
    /// The name in the server's certificate, or the host that cannot be one.
    name: Result<ServerName<'static>, String>,
    /// The dates of the certificates in the last handshake, for checks on the connection that it made.
    dates: Mutex<Option<Arc<[Expiry]>>>,
}

/// A question that Redis answers, and memcached with an error, so that either shows that it does not wait for TLS.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl TlsTarget {
    pub(in crate::cache::dial) fn new(config: Arc<ClientConfig>, tls: &Tls, host: &str) -> Self {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => Ok(name),
            // No name is verified; that of an IP address is not sent either (RFC 6066, section 3).
            Err(_) if tls.verify != Verify::Full => Ok(ServerName::from(SocketAddr::from(([0; 4], 0)).ip())),
            Err(_) => Err(host.to_owned()),
        };
        Self { config, name, dates: Mutex::default() }
    }

    /// The name in the server's certificate; an error if the host cannot be one.
    pub(in crate::cache::dial) fn name(
        &self,
        progress: &NodeProgress,
    ) -> Result<&ServerName<'static>, Fault> {
        self.name.as_ref().map_err(|host| {
            progress.enter(Phase::Tls);
            let host = progress.redaction().host(host);
            let said = format!("{host:?} is not a valid TLS server name; set tls.server_name");
            progress.fault(Cause::Tls, &said).with_advice(advice::SERVER_NAME)
        })
    }

    /// Records the dates of the certificates in the last handshake.
    pub(in crate::cache) fn record_dates(&self, progress: &NodeProgress) {
        if let Some(dates) = &*self.dates.lock() {
            progress.expires(dates.clone());
        }
    }

    /// Agrees on TLS over `stream`, within a check with this deadline.
    pub(in crate::cache::dial) async fn agree(
        &self,
        stream: TcpStream,
        deadline: Duration,
        progress: &NodeProgress,
    ) -> Result<Box<dyn Stream>, Fault> {
        let name = self.name(progress)?.clone();
        let peer = stream.peer_addr().ok();
        let asked = Arc::new(Asked::before(&self.config));
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = asked.clone();
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(name, Witness::new(stream)).into_fallible();
        let agreed = tokio::select! {
            biased;
            agreed = connecting => agreed,
            PlainAnswer { line, hint } = answer_in_plain(peer, budget::PLAIN_PING.of(deadline), progress) => {
                let said = format!("no TLS there? The handshake has no answer, but PING without TLS has: {line}");
                return Err(progress.fault(Cause::Tls, &said).with_advice(hint));
            }
        };
        match agreed {
            Ok(mut stream) => {
                stream.get_mut().0.forget();
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let redacted = |name: &str| progress.redaction().host(name).into_owned();
                *self.dates.lock() = Some(x509::of_server(shown, redacted));
                self.record_dates(progress);
                Ok(Box::<TlsStream<Witness>>::new(stream))
            }
            Err((error, witness)) => {
                let seen = Handshake { first: witness.first(), misses_certificate: asked.in_vain() };
                Err(handshake_fault(progress, &error, &seen))
            }
        }
    }
}

/// The answer that the server at `peer` sends to a PING without TLS, on a connection of its own that begins `after` a while.
/// It never ends if there is no such answer: a server that speaks TLS closes the connection.
async fn answer_in_plain(peer: Option<SocketAddr>, after: Duration, progress: &NodeProgress) -> PlainAnswer {
    sleep(after).await;
    let answer = async {
        let mut stream = TcpStream::connect(peer?).await.ok()?;
        progress.connected();
        stream.write_all(PING).await.ok()?;
        let mut bytes = [0; MOST];
        let length = stream.read(&mut bytes).await.ok()?;
        plain_answer(progress, &bytes[..length])
    };
    match answer.await {
        Some(answer) => answer,
        None => pending().await,
    }
}

/// Gives the client's certificate, and notes whether it was asked for.
#[derive(Debug)]
struct Asked {
    resolver: Arc<dyn ResolvesClientCert>,
    was_asked: AtomicBool,
}

impl Asked {
    fn before(config: &ClientConfig) -> Self {
        Self { resolver: config.client_auth_cert_resolver.clone(), was_asked: AtomicBool::default() }
    }

    /// `true` if the server asked for a certificate and there was none.
    fn in_vain(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed) && !self.resolver.has_certs()
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.resolver.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}
