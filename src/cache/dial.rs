//! [`Dialer`]: resolves, connects and agrees on TLS, with a phase for each, for every backend.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::config::{Address, Tls};
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

/// A transport, whichever it is.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Why a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of trusted certificates cannot be used.
    #[error("cannot read the trusted certificates in {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The file of trusted certificates holds none that can be used.
    #[error("no usable certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// This build cannot speak TLS with these settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The name of the server cannot stand in a certificate.
    #[error("{host:?} cannot be the name of a TLS server")]
    ServerName {
        /// The name.
        host: String,
    },
}

/// Where and how a node is dialled.
#[derive(Debug)]
pub(crate) struct Target {
    address: Address,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Makes connections. One dialer serves all caches.
#[derive(Debug)]
pub(crate) struct Dialer {
    reconnect_every: Duration,
    lookups: Mutex<HashMap<(String, u16), AwaitedLookup>>,
    tls: Mutex<HashMap<Tls, Arc<ClientConfig>>>,
}

/// What a look-up of a name came to; the error's text, because an [`io::Error`] cannot be shared.
type Lookup = Result<Arc<[SocketAddr]>, Arc<str>>;

/// What a look-up will have come to.
type AwaitedLookup = watch::Receiver<Option<Lookup>>;

impl Dialer {
    /// A dialer for connections that serve for `reconnect_every`.
    pub(crate) fn new(reconnect_every: Duration) -> Self {
        Self { reconnect_every, lookups: Mutex::default(), tls: Mutex::default() }
    }

    /// How long a connection serves.
    pub(crate) fn reconnect_every(&self) -> Duration {
        self.reconnect_every
    }

    /// Prepares what can be prepared before anything is dialled. The server's certificate must have the name
    /// that `tls` says, or else `name`, or else the address' host.
    pub(crate) fn target(
        &self,
        address: &Address,
        name: Option<&str>,
        tls: Option<&Tls>,
    ) -> Result<Target, SetupError> {
        let tls = match tls {
            None => None,
            Some(tls) => {
                let host = match address {
                    Address::Tcp { host, .. } => host.as_str(),
                    Address::Unix(_) => "localhost",
                };
                let host = tls.server_name.as_deref().or(name).unwrap_or(host);
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| SetupError::ServerName { host: host.to_owned() })?;
                Some((self.client_config(tls)?, name))
            }
        };
        Ok(Target { address: address.clone(), tls })
    }

    /// Makes a new connection.
    pub(crate) async fn dial(
        self: &Arc<Self>,
        target: &Target,
        progress: &NodeProgress,
    ) -> Result<Box<dyn Stream>, Fault> {
        let stream: Box<dyn Stream> = match &target.address {
            Address::Tcp { host, port } => {
                let addresses = self.resolve(host, *port, progress).await?;
                progress.enter(Phase::Connect);
                Box::new(connect(&addresses).await.map_err(|error| io_fault(progress, &error))?)
            }
            Address::Unix(path) => {
                progress.enter(Phase::Connect);
                Box::new(UnixStream::connect(path).await.map_err(|error| io_fault(progress, &error))?)
            }
        };
        let Some((config, name)) = &target.tls else { return Ok(stream) };
        progress.enter(Phase::Tls);
        match TlsConnector::from(config.clone()).connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(progress.fault(Cause::Tls, &tls_words(&error))),
        }
    }

    async fn resolve(
        self: &Arc<Self>,
        host: &str,
        port: u16,
        progress: &NodeProgress,
    ) -> Result<Arc<[SocketAddr]>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(ip, port)].into());
        }
        progress.enter(Phase::Resolve);
        let mut lookup = self.look_up(host, port);
        let found = match lookup.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            Err(_) => None,
        };
        match found {
            Some(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Some(Err(error)) => Err(progress.fault(Cause::Unresolvable, &format!("{host}: {error}"))),
            Some(Ok(_)) | None => Err(progress.fault(Cause::Unresolvable, &format!("{host}: no address"))),
        }
    }

    /// Looks a name up, or joins the look-up of that name that is under way: with a resolver that hangs, each
    /// check would otherwise leave another one behind, and the first checks after its recovery would wait for
    /// all of them.
    fn look_up(self: &Arc<Self>, host: &str, port: u16) -> AwaitedLookup {
        let key = (host.to_owned(), port);
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(&key) {
            return lookup.clone();
        }
        let (sender, receiver) = watch::channel(None);
        lookups.insert(key.clone(), receiver.clone());
        let dialer = self.clone();
        tokio::spawn(async move {
            let found = tokio::net::lookup_host((key.0.as_str(), key.1)).await;
            dialer.lookups.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            sender.send_replace(Some(match found {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => Err(error.to_string().into()),
            }));
        });
        receiver
    }

    /// The TLS configuration for these settings, made once: reading the system's certificates takes
    /// milliseconds.
    fn client_config(&self, tls: &Tls) -> Result<Arc<ClientConfig>, SetupError> {
        let mut made = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(tls) {
            return Ok(config.clone());
        }
        let roots = match &tls.ca_file {
            Some(path) => roots_in(path)?,
            None => system_roots(),
        };
        // Named, so that no feature of another crate can change or unsettle the choice.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        made.insert(tls.clone(), config.clone());
        Ok(config)
    }
}

/// Connects to the first of the addresses that accepts.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // The end of a TLS handshake and the first command are two small segments in a row, and the second
                // must not wait until the first was acknowledged.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn roots_in(path: &PathBuf) -> Result<RootCertStore, SetupError> {
    let unreadable = |source| SetupError::CaFile { path: path.clone(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|_| SetupError::NoCertificate { path: path.clone() })?;
    }
    if roots.is_empty() { Err(SetupError::NoCertificate { path: path.clone() }) } else { Ok(roots) }
}

/// The system's certificates; where there are none, as in an image made from scratch, Mozilla's.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The fault that an error of the network's is, in the phase that was entered last.
pub(crate) fn io_fault(progress: &NodeProgress, error: &io::Error) -> Fault {
    use io::ErrorKind as Kind;
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        // With TLS 1.3 a server refuses a client's certificate after the handshake, in what should be its
        // first answer.
        return progress.fault(Cause::Tls, &tls_words(error));
    }
    let cause = match error.kind() {
        // A unix socket whose file is not there is a port at which nothing listens.
        Kind::ConnectionRefused | Kind::NotFound => Cause::Refused,
        Kind::TimedOut => Cause::TimedOut,
        _ => Cause::Unreachable,
    };
    progress.fault(cause, &error.to_string())
}

fn tls_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection during the handshake".to_owned(),
        _ => error.to_string(),
    }
}
