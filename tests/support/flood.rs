//! [`Flood`]: peers that hold connections, and open another for each that is closed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio_rustls::rustls::ClientConfig;

use super::{eventually, tls_client};

/// The time between two steps of a connection.
const STEP: Duration = Duration::from_millis(100);

/// The bytes of a request that one step may leave unsent before it adds no more.
const MOST_UNSENT: usize = 1 << 20;

/// The bytes that a connection sends in this step; the first step is 0.
pub type Says = fn(u32) -> Vec<u8>;

/// The behavior of a peer on each of its connections.
#[derive(Debug, Clone)]
pub struct Habit {
    /// The bytes of its requests.
    pub says: Says,
    /// `true` if it reads what it gets.
    pub reads: bool,
    /// The step after which it resets the connection, and opens another.
    pub resets_after: Option<u32>,
    /// The TLS that it speaks, if it does. After the handshake and step 0 it sends and reads nothing.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Habit {
    /// Sends these bytes in each step, and reads the answers.
    pub fn new(says: Says) -> Self {
        Self { says, reads: true, resets_after: None, tls: None }
    }

    /// The same, and reads nothing. Its connections last for five seconds: it does not see that one was closed.
    pub fn deaf(says: Says) -> Self {
        Self { reads: false, resets_after: Some(50), ..Self::new(says) }
    }

    /// The same, and resets each connection in this step.
    pub fn resetting(says: Says, after: u32) -> Self {
        Self { resets_after: Some(after), ..Self::new(says) }
    }
}

/// Connects to `addr` from `source`, with the smallest receive buffer that the system allows.
pub fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// Raises this process' limit of open files, which is inherited, as far as it may be.
pub fn raise_limit_of_files() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).expect("to raise a soft limit");
}

/// Peers with one habit, until this is dropped.
#[derive(Debug)]
pub struct Flood {
    peers: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    tried: Arc<AtomicUsize>,
}

impl Flood {
    /// Peers at these addresses, with so many connections each, of which all peers together open at most `a_second`. It
    /// returns when each was tried once.
    pub fn begin(
        addr: SocketAddr,
        sources: &[Ipv4Addr],
        each: usize,
        a_second: usize,
        habit: &Habit,
    ) -> Self {
        let steps = usize::try_from(Duration::from_secs(1).as_millis() / STEP.as_millis()).expect("a few");
        let most_new = (a_second / steps / sources.len()).max(1);
        let (is_over, tried) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let opening: Arc<[u8]> = (habit.says)(0).into();
        let peer = |&source: &Ipv4Addr| {
            let mut peer = Peer {
                source,
                addr,
                habit: habit.clone(),
                opening: opening.clone(),
                most_new,
                tried: tried.clone(),
                held: (0..each).map(|_| None).collect(),
            };
            let is_over = is_over.clone();
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    peer.step();
                    thread::sleep(STEP);
                }
            })
        };
        let peers = sources.iter().map(peer).collect();
        let flood = Self { peers, is_over: is_over.clone(), tried: tried.clone() };
        eventually("the flood has come in", || flood.tried() >= sources.len() * each);
        flood
    }

    /// The number of connections that were tried by now.
    pub fn tried(&self) -> usize {
        self.tried.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for peer in self.peers.drain(..) {
            let _ = peer.join();
        }
    }
}

#[derive(Debug)]
struct Peer {
    source: Ipv4Addr,
    addr: SocketAddr,
    habit: Habit,
    /// The bytes of step 0.
    opening: Arc<[u8]>,
    /// The most connections that it opens in a step.
    most_new: usize,
    tried: Arc<AtomicUsize>,
    held: Vec<Option<HeldConnection>>,
}

#[derive(Debug)]
struct HeldConnection {
    stream: TcpStream,
    step: u32,
    unsent: Vec<u8>,
}

impl Peer {
    /// Goes one step on with each connection, and opens some for those that have ended.
    fn step(&mut self) {
        let mut new = 0;
        for place in 0..self.held.len() {
            let ended = match &mut self.held[place] {
                Some(held) => !held.goes_on(&self.habit),
                None => true,
            };
            if !ended {
                continue;
            }
            self.held[place] = None;
            if new < self.most_new {
                new += 1;
                self.held[place] = self.open().ok();
            }
        }
    }

    fn open(&self) -> std::io::Result<HeldConnection> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let mut stream = connect_from(self.source, self.addr)?;
        if let Some(config) = &self.habit.tls {
            tls_client::begin(&mut stream, config, &self.opening)?;
        }
        stream.set_nonblocking(true)?;
        let unsent = if self.habit.tls.is_some() { Vec::new() } else { self.opening.to_vec() };
        let mut held = HeldConnection { stream, step: 0, unsent };
        if held.goes_on(&self.habit) { Ok(held) } else { Err(ErrorKind::ConnectionReset.into()) }
    }
}

impl HeldConnection {
    /// Goes one step on; `false` if the connection has ended.
    fn goes_on(&mut self, habit: &Habit) -> bool {
        if habit.tls.is_none() && self.step > 0 && self.unsent.len() < MOST_UNSENT {
            self.unsent.extend((habit.says)(self.step));
        }
        let is_open = self.sends() && (!habit.reads || self.reads());
        if habit.resets_after.is_some_and(|last| self.step >= last) {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            return false;
        }
        self.step += 1;
        is_open
    }

    fn sends(&mut self) -> bool {
        match self.stream.write(&self.unsent) {
            Ok(sent) => {
                self.unsent.drain(..sent);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn reads(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(read) if read < bytes.len() => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
