//! [`Listener`]: a bound address; [`Acceptor`]: the connections that arrive, one after another.

use std::fmt;
use std::fs::FileType;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{self, Instant};
use tracing::{debug, warn};

use super::caller::Caller;
use crate::config::{Config, Listen};
use crate::telemetry::CALLERS;

/// The most connections that wait to be accepted; Linux takes no more by default (`net.core.somaxconn`). Above it, the
/// system drops the next, and its client tries again a second later.
const BACKLOG: i32 = 4096;

/// The number of bytes of an answer that may wait in the system before more are written to it, besides those that are on their way
/// over TCP. Otherwise a client that does not read makes it hold megabytes.
const MAX_UNSENT: u16 = 16 * 1024;

/// The pause after the system cannot give another connection, such as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The least time between two warnings about that.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The listeners of a sidecar.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For everything.
    pub main: Vec<Listener>,
    /// For probes alone.
    pub probes: Vec<Listener>,
    /// For metrics alone.
    pub metrics: Vec<Listener>,
}

impl Listeners {
    /// Binds every address of `config`. It must be called in a runtime.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let bind = |all: &[Listen]| all.iter().map(Listener::bind).collect::<Result<_, _>>();
        Ok(Self {
            main: bind(&config.listen)?,
            probes: bind(&config.probes.listen)?,
            metrics: bind(&config.metrics.listen)?,
        })
    }
}

impl From<Listener> for Listeners {
    /// One listener, for everything.
    fn from(listener: Listener) -> Self {
        Self { main: vec![listener], ..Self::default() }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener(Bound);

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// The error when an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub struct BindError {
    address: Listen,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Listen::Tcp(address) => write!(f, "cannot listen on {address}")?,
            Listen::Unix(path) => write!(f, "cannot listen on unix:{}", path.display())?,
        }
        match self.cure() {
            Some(cure) => write!(f, " ({cure}, or choose another address with --listen)"),
            None => Ok(()),
        }
    }
}

impl BindError {
    /// The first remedy for the operator.
    fn cure(&self) -> Option<&'static str> {
        match (&self.address, self.source.kind()) {
            (_, ErrorKind::AddrInUse) => Some("stop the process that listens there"),
            (Listen::Unix(_), ErrorKind::AlreadyExists) => Some("remove it"),
            (Listen::Unix(_), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some("create its directory"),
            (Listen::Unix(_), ErrorKind::PermissionDenied) => Some("give this user the right to write there"),
            (Listen::Unix(_), ErrorKind::ReadOnlyFilesystem) => {
                Some("mount a volume there that can be written")
            }
            (Listen::Tcp(_), ErrorKind::AddrNotAvailable) => Some("give this host that address"),
            (Listen::Tcp(_) | Listen::Unix(_), _) => None,
        }
    }

    /// The system's error.
    pub(crate) fn into_source(self) -> io::Error {
        self.source
    }
}

impl Listener {
    /// Binds `address`. It must be called in a runtime.
    ///
    /// A wildcard of IPv6 accepts IPv4 too; without IPv6, it becomes a wildcard of IPv4. The file of a unix socket that
    /// a server left behind is replaced, if nothing answers on it; any other file is left alone.
    pub fn bind(address: &Listen) -> Result<Self, BindError> {
        let bound = match address {
            Listen::Tcp(address) => bind_tcp(*address),
            Listen::Unix(path) => bind_unix(path),
        };
        bound.map(Self).map_err(|source| BindError { address: address.clone(), source })
    }

    /// The address that it listens on, with the port that the system chose if port 0 was configured; none on a unix
    /// socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(_, address) => Some(*address),
            Bound::Unix(..) => None,
        }
    }

    /// `http://127.0.0.1:8080`, or `unix:/run/cache-canary.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_with("http")
    }

    /// The same with this scheme, except for a unix socket.
    pub(crate) fn url_with(&self, scheme: &str) -> String {
        match &self.0 {
            Bound::Tcp(_, address) => format!("{scheme}://{address}"),
            Bound::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(match &self.0 {
            Bound::Tcp(listener, _) => {
                ready!(listener.poll_accept(cx)).map(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Bound::Unix(listener, _) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                // Not inherited; the default bounds it otherwise.
                let _ = SockRef::from(&stream).set_send_buffer_size(MAX_UNSENT.into());
                Ok(Accepted::Unix(stream))
            }
        })
    }
}

fn bind_tcp(mut address: SocketAddr) -> io::Result<Bound> {
    let mut socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    if socket.is_err() && address.is_ipv6() && address.ip().is_unspecified() {
        // If the system has no IPv6, all callers come by IPv4.
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    }
    let socket = socket?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier run that are still closing must not keep a new one from its address.
    socket.set_reuse_address(true)?;
    // Connections inherit it. A system that does not know it bounds them by the buffer of a socket.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT.into());
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok(Bound::Tcp(listener, address))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    // A symbolic link is not followed: a file is removed below, and it must be this one.
    if let Ok(file) = path.symlink_metadata() {
        if let Some(other) = other_than_socket(file.file_type()) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{other} exists at this path")));
        }
        if nothing_answers(path)? {
            std::fs::remove_file(path)?;
        }
    }
    Ok(Bound::Unix(UnixListener::bind(path)?, path.to_owned()))
}

/// The kind of a file that is no socket.
fn other_than_socket(file: FileType) -> Option<&'static str> {
    if file.is_socket() {
        None
    } else if file.is_dir() {
        Some("a directory")
    } else if file.is_symlink() {
        Some("a symbolic link")
    } else {
        Some("a file that is not a socket")
    }
}

fn nothing_answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server with a full backlog answers too, but late.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        // Without permission, it is unknown whether a server answers there.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Ok(false),
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Over TCP, with the other end's address.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Accepted {
    /// The origin of a request.
    pub(super) fn caller(&self) -> Caller {
        match self {
            Self::Tcp(_, peer) => Caller::Remote(peer.ip()),
            Self::Unix(_) => Caller::Local,
        }
    }
}

/// Several listeners as one.
#[derive(Debug)]
pub(super) struct Acceptor {
    all: Vec<Listener>,
    /// The place of the listener to ask first: a flood at one must not shut out the others.
    turn: usize,
    /// The time of the last warning that the system gives no connection.
    warned: Option<Instant>,
}

impl Acceptor {
    /// An acceptor of all of them.
    pub(super) fn new(all: Vec<Listener>) -> Self {
        Self { all, turn: 0, warned: None }
    }

    /// The next connection. Errors before it are logged, and it waits on; nothing is lost if this is dropped before it
    /// ends.
    pub(super) async fn accept(&mut self) -> Accepted {
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(accepted) => return accepted,
                // The client was gone before its connection was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
                    debug!(target: CALLERS, "{error}");
                }
                Err(error) => {
                    if self.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
                        warn!("cannot accept connections for now: {error}");
                        self.warned = Some(Instant::now());
                    }
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.turn = self.turn.wrapping_add(1);
        let count = self.all.len();
        for place in 0..count {
            let listener = &self.all[self.turn.wrapping_add(place) % count];
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}
