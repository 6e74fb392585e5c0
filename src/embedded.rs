//! Embedded caches on real loopback sockets, for the demo and for tests that need faults which a real server cannot
//! be made to have.
//!
//! `bytes -> session -> view -> answer -> bytes`: a session speaks one of the two protocols, a view is the
//! store as the [`InjectedFault`] lets a command see it, and the fault then changes the answer on its way out.
//! The session itself knows nothing of faults.

mod answer;
mod connection;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod memcached;
mod resp;
mod store;

pub use fault::InjectedFault;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use store::Store;

use crate::mutex::Mutex;

/// The most connections that one server serves at once; more wait to be accepted. A hung server keeps all its
/// connections, and its process needs file descriptors for other uses too.
const MAX_CONNECTIONS: usize = 256;

/// The number of connections that the system completes before they are accepted.
const BACKLOG: u32 = 1024;

/// A cache server on its own loopback port, with faults on demand. Dropping it stops it.
///
/// It must be made on a tokio runtime, and serves while that runs.
#[derive(Debug)]
pub struct EmbeddedServer {
    shared: Arc<ServerParts>,
    accepting: JoinHandle<()>,
    runtime: Handle,
}

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Redis,
    Memcached,
}

/// The state shared by the server, its accepting task and its connections.
struct ServerParts {
    protocol: Protocol,
    addr: SocketAddr,
    fault: watch::Sender<InjectedFault>,
    network: Mutex<NetworkSide>,
    state: Mutex<StoreState>,
    accepted: AtomicU64,
}

/// The listener and the connections. Accepting and shutting exclude each other, so that no connection slips
/// through.
struct NetworkSide {
    listener: Option<TcpListener>,
    /// A socket that is bound to the port and never listens, so that the port stays reserved while the server is killed.
    /// Only Linux lets two sockets share a port like this; on other systems another process could take it for a moment.
    _reserved: Option<TcpSocket>,
    connections: JoinSet<()>,
}

/// The stored items, and the counters.
#[derive(Default)]
struct StoreState {
    store: Store,
    commands: u64,
    writes: u64,
}

impl EmbeddedServer {
    /// Starts a server that speaks RESP, as far as a cache's clients need it: PING, AUTH, HELLO, SELECT, SET,
    /// GET, DEL, EXISTS, PTTL, INFO, ROLE and QUIT.
    ///
    /// Fails if no loopback port can be bound.
    #[expect(clippy::unused_async, reason = "it needs a runtime, and to await it says so")]
    pub async fn redis() -> io::Result<Self> {
        Self::start(Protocol::Redis)
    }

    /// Starts a server that speaks memcached's text protocol, classic and meta: get, gets, set, add, replace,
    /// cas, delete, touch, version and quit; mn, mg, ms and md.
    ///
    /// Fails if no loopback port can be bound.
    #[expect(clippy::unused_async, reason = "it needs a runtime, and to await it says so")]
    pub async fn memcached() -> io::Result<Self> {
        Self::start(Protocol::Memcached)
    }

    fn start(protocol: Protocol) -> io::Result<Self> {
        let first = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let addr = first.local_addr()?;
        let (reserved, socket) = match bound(addr) {
            Ok(second) => (Some(first), second),
            Err(_) => (None, first),
        };
        let listener = socket.listen(BACKLOG)?;
        let shared = Arc::new(ServerParts {
            protocol,
            addr,
            fault: watch::Sender::new(InjectedFault::Healthy),
            network: Mutex::new(NetworkSide {
                listener: Some(listener),
                _reserved: reserved,
                connections: JoinSet::new(),
            }),
            state: Mutex::default(),
            accepted: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(shared.clone()));
        Ok(Self { shared, accepting, runtime: Handle::current() })
    }

    /// The address that it listens on. A killed server listens there again once it is healthy.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Switches to `fault`. It is in force when this returns: for new connections and, on those that are
    /// open, for the very next command.
    ///
    /// Fails only if a killed server cannot get its port back.
    pub fn set_fault(&self, fault: InjectedFault) -> io::Result<()> {
        let mut network = self.shared.network.lock();
        let mut state = self.shared.state.lock();
        if fault == InjectedFault::Killed {
            self.shared.fault.send_replace(fault);
            network.shut();
            // A killed server loses its data, since neither kind of cache writes to disk here.
            state.store = Store::default();
        } else {
            let _runtime = self.runtime.enter();
            network.open(self.shared.addr)?;
            state.store.set_full(fault == InjectedFault::Full);
            self.shared.fault.send_replace(fault);
        }
        Ok(())
    }

    /// Makes it healthy again, on the same port. Fails only if a killed server cannot get its port back.
    pub fn repair(&self) -> io::Result<()> {
        self.set_fault(InjectedFault::Healthy)
    }

    /// The fault in force.
    #[must_use]
    pub fn fault(&self) -> InjectedFault {
        self.shared.fault.borrow().clone()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.network.lock().reap()
    }

    /// The number of accepted connections so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// The number of commands read so far, of any kind, answered or not.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.shared.state.lock().commands
    }

    /// The number of commands that asked to store a value, whether it was stored or not.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.state.lock().writes
    }

    /// The number of keys, without expired ones.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.state.lock().store.len()
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.network.lock().shut();
    }
}

impl NetworkSide {
    /// Closes the listener, the connections that wait to be accepted, and every open connection.
    fn shut(&mut self) {
        self.listener = None;
        self.connections = JoinSet::new();
    }

    fn open(&mut self, addr: SocketAddr) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(bound(addr)?.listen(BACKLOG)?);
        }
        Ok(())
    }

    /// Drops the connections that have ended, and counts the others.
    fn reap(&mut self) -> usize {
        while self.connections.try_join_next().is_some() {}
        self.connections.len()
    }
}

/// A socket bound to `addr`, even if connections of an earlier listener have not quite ended.
fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts connections, for as long as the server lives.
async fn accept(shared: Arc<ServerParts>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut fault = shared.fault.subscribe();
    while let Ok(slot) = slots.clone().acquire_owned().await {
        let mut slot = Some(slot);
        let accepted = tokio::select! {
            accepted = poll_fn(|cx| shared.poll_accept(cx, &mut slot)) => accepted,
            // The listener may be a new one now.
            _ = fault.changed() => Ok(()),
        };
        if accepted.is_err() {
            // An error such as too many open files would recur at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl ServerParts {
    /// Accepts one connection and starts to serve it. Without a listener it is pending, and the caller waits for a new
    /// fault.
    fn poll_accept(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        slot: &mut Option<OwnedSemaphorePermit>,
    ) -> Poll<io::Result<()>> {
        let mut network = self.network.lock();
        let Some(listener) = &network.listener else { return Poll::Pending };
        let (stream, _) = ready!(listener.poll_accept(cx))?;
        let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        network.reap();
        network.connections.spawn(connection::serve(stream, number, self.clone(), slot.take()));
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ServerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerParts")
            .field("protocol", &self.protocol)
            .field("addr", &self.addr)
            .field("fault", &*self.fault.borrow())
            .finish_non_exhaustive()
    }
}
