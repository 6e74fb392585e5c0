//! [`Dialer`]: resolves, connects and agrees on TLS, with a phase for each, for every backend.

mod gate;
mod hosts;
mod names;
mod shortage;
mod threads;
mod tls;

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::sign::CertifiedKey;
use tower::{Service as _, service_fn};

use crate::config::{Address, Config, Tls};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, Phase};
use crate::progress::NodeProgress;

use gate::{Gate, Silence};
use names::{LookupError, Stage};
use threads::Threads;
use tls::{TlsTarget, tls_fault};

pub(crate) use names::Resolver;
pub(crate) use shortage::Shortage;
pub use tls::SetupError;
pub(crate) use tls::{client_config, in_words, pinned_config, tls_error};

/// A transport of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// The address and the transport of a node.
#[derive(Debug)]
pub(crate) struct DialTarget {
    pub(super) address: Address,
    /// Boxed, because thousands of nodes have none.
    pub(super) tls: Option<Box<TlsTarget>>,
    silence: Silence,
}

/// The settings of every connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialSettings {
    /// A connection serves for this long.
    pub(crate) reconnect_every: Duration,
    /// The host of a kept connection is resolved again after this long.
    pub(crate) dns_recheck: Duration,
    /// The deadline of a check, within which all addresses of a host have their turns.
    pub(crate) timeout: Duration,
}

/// A connection that was made, and the address at its other end.
pub(crate) struct Dialed {
    pub(crate) stream: Box<dyn Stream>,
    /// `None` for a unix socket.
    pub(crate) peer: Option<IpAddr>,
}

/// Makes connections. One dialer serves all caches.
#[derive(Debug)]
pub(crate) struct Dialer {
    settings: DialSettings,
    gate: Gate,
    names: Arc<Resolver>,
    tls_configs: Mutex<HashMap<Tls, Arc<ClientConfig>>>,
}

impl Dialer {
    /// The dialer for this configuration.
    pub(crate) fn new(config: &Config, names: Arc<Resolver>) -> Self {
        let &Config { reconnect_every, dns_recheck, timeout, .. } = config;
        let settings = DialSettings { reconnect_every, dns_recheck, timeout };
        let gate = Gate::new(timeout);
        Self { settings, gate, names, tls_configs: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> DialSettings {
        self.settings
    }

    /// Prepares a target before anything is dialed. The server's certificate must have the name that `tls`
    /// gives, or else `name`, or else the address' host.
    pub(crate) fn target(
        &self,
        address: &Address,
        name: Option<&str>,
        tls: Option<&Tls>,
    ) -> Result<DialTarget, SetupError> {
        let tls = match tls {
            None => None,
            Some(tls) => {
                let host = match address {
                    Address::Tcp { host, .. } => host.as_str(),
                    Address::Unix(_) => "localhost",
                };
                let host = tls.server_name.as_deref().or(name).unwrap_or(host);
                Some(Box::new(TlsTarget::new(self.client_config(tls)?, tls, host)))
            }
        };
        Ok(DialTarget { address: address.clone(), tls, silence: Silence::default() })
    }

    /// Makes a new connection.
    pub(crate) async fn dial(&self, target: &DialTarget, progress: &NodeProgress) -> Result<Dialed, Fault> {
        if let Some(tls) = &target.tls {
            tls.name(progress)?;
        }
        let (host, port) = match &target.address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix(path) => {
                progress.enter(Phase::Connect);
                let stream = UnixStream::connect(path).await.map_err(|error| io_fault(progress, &error))?;
                progress.connected();
                return Ok(Dialed { stream: Box::new(stream), peer: None });
            }
        };
        let addresses = self.resolve(host, port, progress).await?;
        progress.enter(Phase::Connect);
        let connect = connect(&addresses, self.settings.timeout);
        let stream = self.gate.pass(connect, &target.silence, progress).await?;
        let stream = stream.map_err(|error| io_fault(progress, &error))?;
        progress.connected();
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let Some(tls) = target.tls.as_deref() else { return Ok(Dialed { stream: Box::new(stream), peer }) };
        progress.enter(Phase::Tls);
        let stream = Box::pin(tls.agree(stream, self.settings.timeout, progress)).await?;
        Ok(Dialed { stream, peer })
    }

    /// `true` if a connection to `peer` still is one to the target after its host was resolved again.
    pub(crate) async fn leads_to(
        &self,
        target: &DialTarget,
        peer: IpAddr,
        progress: &NodeProgress,
    ) -> Result<bool, Fault> {
        match &target.address {
            Address::Tcp { host, port } => {
                let addresses = self.resolve(host, *port, progress).await?;
                Ok(addresses.iter().any(|address| address.ip() == peer))
            }
            Address::Unix(_) => Ok(true),
        }
    }

    /// The addresses of a host, at least one. An IP address needs no lookup.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
        progress: &NodeProgress,
    ) -> Result<Arc<[SocketAddr]>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(ip, port)].into());
        }
        progress.enter(Phase::Resolve);
        let found = match self.names.in_files(host) {
            Some(found) => found.into(),
            None => self.look_up(host, progress).await?,
        };
        if found.is_empty() {
            let host = progress.redaction().host(host);
            return Err(progress.fault(Cause::Unresolvable, &format!("{host} has no address")));
        }
        let at_port = |&address: &SocketAddr| {
            let mut address = address;
            address.set_port(port);
            address
        };
        Ok(found.iter().map(at_port).collect())
    }

    async fn look_up(&self, host: &str, progress: &NodeProgress) -> Result<Arc<[SocketAddr]>, Fault> {
        let mut stage = self.names.look_up(host, self.settings.timeout);
        let shown = || progress.redaction().host(host);
        if matches!(*stage.borrow(), Stage::Queued) {
            let others = self.names.under_way();
            let said = format!(
                "{} was not looked up: {NO_THREAD}, because {others} other look-ups have no answer yet",
                shown()
            );
            let before = progress.foresee(Some(progress.fault(Cause::TimedOut, &said).of_our_own()));
            // The sender is not dropped before the lookup is over.
            let _ = stage.wait_for(|stage| !matches!(stage, Stage::Queued)).await;
            progress.foresee(before);
        }
        let over = stage.wait_for(|stage| matches!(stage, Stage::Over(_))).await;
        match over.as_deref() {
            Ok(Stage::Over(Ok(addresses))) => Ok(addresses.clone()),
            Ok(Stage::Over(Err(LookupError::Unresolvable(error)))) => {
                Err(progress.fault(Cause::Unresolvable, &format!("{}: {error}", shown())))
            }
            Ok(Stage::Over(Err(LookupError::Shortage(error, shortage)))) => {
                let said = format!("{} was not looked up: {error}: {shortage}", shown());
                Err(progress.fault(Cause::Unresolvable, &said).of_our_own())
            }
            Ok(Stage::Over(Err(LookupError::NoThread(error)))) => {
                let said = format!(
                    "{} was not looked up: {NO_THREAD}: {error}; raise the limit (ulimit -u, TasksMax=, pids)",
                    shown()
                );
                Err(progress.fault(Cause::Unresolvable, &said).of_our_own())
            }
            Ok(Stage::Queued | Stage::UnderWay) | Err(_) => {
                Err(progress.fault(Cause::Unresolvable, &format!("{}: the look-up was aborted", shown())))
            }
        }
    }

    /// The certificate that servers are shown with these settings, with its intermediates.
    pub(crate) fn identity(&self, tls: &Tls) -> Result<Option<Arc<CertifiedKey>>, SetupError> {
        let config = tls.client.as_ref().map(|_| self.client_config(tls)).transpose()?;
        Ok(config.and_then(|config| config.client_auth_cert_resolver.resolve(&[], &[])))
    }

    /// The TLS configuration for these settings, made once: reading the system's certificates takes
    /// milliseconds.
    fn client_config(&self, tls: &Tls) -> Result<Arc<ClientConfig>, SetupError> {
        let mut made = self.tls_configs.lock();
        if let Some(config) = made.get(tls) {
            return Ok(config.clone());
        }
        let config = tls::client_config(tls)?;
        let config = Arc::new(config);
        made.insert(tls.clone(), config.clone());
        Ok(config)
    }
}

/// Connects to a host that is no server of a cache, such as one that gives credentials. tokio's own lookup is no alternative:
/// where no thread can be started, it panics.
pub(crate) async fn connect_beside(host: &str, port: u16, max_wait: Duration) -> io::Result<TcpStream> {
    let mut addresses = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(ip, port)]
    } else {
        let found = Arc::<Threads>::default().look_up(&host.into())?;
        found.await.map_err(io::Error::other)??
    };
    for address in &mut addresses {
        address.set_port(port);
    }
    connect(&addresses, max_wait).await
}

/// Connects to the first of the addresses that accepts, IPv6 and IPv4 in a race (RFC 8305). If one does not
/// answer, the next has its turn while `max_wait` lasts.
async fn connect(addresses: &[SocketAddr], max_wait: Duration) -> io::Result<TcpStream> {
    let stream = match addresses {
        &[address] => TcpStream::connect(address).await?,
        _ => Box::pin(connect_to_any(addresses, max_wait)).await?,
    };
    // The end of a TLS handshake and the first command are two small segments in a row, and the second must not
    // wait until the first was acknowledged.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to one of several addresses. If all fail, the error of one that this machine can reach says more about the
/// server than the last one does: in a container without IPv6, `::1` has no route while `127.0.0.1` refuses.
async fn connect_to_any(addresses: &[SocketAddr], max_wait: Duration) -> io::Result<TcpStream> {
    let last = match race(addresses, max_wait).await {
        Err(error) if has_no_route(&error) => error,
        connected => return connected,
    };
    for &address in addresses {
        match TcpStream::connect(address).await {
            Err(error) if has_no_route(&error) => {}
            connected => return connected,
        }
    }
    Err(last)
}

/// `true` if this machine has no way to the address (connect(2), "ERRORS").
fn has_no_route(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETUNREACH))
}

async fn race(addresses: &[SocketAddr], max_wait: Duration) -> io::Result<TcpStream> {
    /// The Connection Attempt Delay that RFC 8305 recommends (section 5).
    const DELAY: Duration = Duration::from_millis(250);
    let addresses = addresses.to_vec();
    let resolve = service_fn(move |_| ready(Ok::<_, Infallible>(addresses.clone().into_iter())));
    let mut connector = HttpConnector::new_with_resolver(resolve);
    connector.set_happy_eyeballs_timeout(Some(DELAY.min(max_wait / 3)));
    connector.set_connect_timeout(Some(max_wait));
    // The resolver ignores the name, and the connector keeps the ports of the addresses.
    let connected = connector.call(Uri::from_static("http://cache")).await;
    connected.map(TokioIo::into_inner).map_err(|error| {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause {
            Some(cause) => match cause.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(cause.kind(), cause.to_string()),
            },
            None => io::Error::other(error.to_string()),
        }
    })
}

/// The fault that a network error means, in the phase that was entered last.
pub(crate) fn io_fault(progress: &NodeProgress, error: &io::Error) -> Fault {
    use io::ErrorKind as Kind;
    if let Some(error) = tls_error(error) {
        return tls_fault(progress, error);
    }
    let cause = match error.kind() {
        // A unix socket without a file is like a port without a listener.
        Kind::ConnectionRefused | Kind::NotFound => Cause::Refused,
        Kind::TimedOut => Cause::TimedOut,
        _ => Cause::Unreachable,
    };
    if let Some(shortage) = Shortage::of(error) {
        return progress.fault(cause, &format!("{error}: {shortage}")).of_our_own();
    }
    progress.fault(cause, &error.to_string())
}

/// The reason why a name waits for its lookup.
const NO_THREAD: &str = "cache-canary has no free thread";
