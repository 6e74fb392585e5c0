//! Callers who take places and memory and give nothing for them, each from an address of its own in 127.0.0.0/8.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// How often a peer looks which of its connections were closed, and sends a further byte on those that drip.
const EVERY: Duration = Duration::from_millis(100);

/// The number of new connections that a peer opens each time.
const MOST_NEW: usize = 20;

/// The behavior of a peer on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It sends nothing.
    Silent,
    /// It sends half a head.
    HalfHead,
    /// It sends a head byte by byte, without end.
    Dripping,
    /// It asks once and keeps the connection.
    Kept,
    /// It speaks HTTP/2 and asks nothing.
    Http2,
}

impl Habit {
    /// Every habit.
    pub const ALL: [Self; 5] = [Self::Silent, Self::HalfHead, Self::Dripping, Self::Kept, Self::Http2];

    fn opening(self) -> Vec<u8> {
        match self {
            Self::Silent => Vec::new(),
            Self::HalfHead => b"GET /health HTTP/1.1\r\nHost: loc".to_vec(),
            Self::Dripping => b"GET /health HTTP/1.1\r\nX: ".to_vec(),
            Self::Kept => b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Self::Http2 => http2_opening(65_535),
        }
    }
}

/// The first bytes of an HTTP/2 client whose window for each answer has this size (RFC 9113, sections 3.4 and 6.5.2).
pub fn http2_opening(window: u32) -> Vec<u8> {
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &setting)].concat()
}

/// A request of HTTP/2 for `path` on this stream (RFC 7541, section 6.2.2 and appendix A).
pub fn http2_request(stream: u32, path: &str) -> Vec<u8> {
    const GET: u8 = 0x82;
    const HTTP: u8 = 0x86;
    const PATH: u8 = 0x04;
    const AUTHORITY: u8 = 0x01;
    const END_STREAM_AND_HEADERS: u8 = 0x05;
    let mut fields = vec![GET, HTTP];
    for (name, value) in [(PATH, path), (AUTHORITY, "localhost")] {
        fields.extend([name, u8::try_from(value.len()).expect("a short value")]);
        fields.extend(value.as_bytes());
    }
    frame(1, END_STREAM_AND_HEADERS, stream, &fields)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Connects to `addr` from 127.0.0.`host`, and reads as little as the system lets it.
pub fn connect_from(host: u8, addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// Raises this process' limit of open files, which is inherited, as far as it may be.
pub fn raise_limit_of_files() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).expect("to raise a soft limit");
}

/// Peers that hold connections, and open another for each that is closed, until this is dropped.
#[derive(Debug)]
pub struct Flood {
    peers: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    /// How many connections were tried by now.
    tried: Arc<AtomicUsize>,
}

impl Flood {
    /// So many peers with so many connections each.
    pub fn begin(addr: SocketAddr, peers: u8, each: usize, habit: Habit) -> Self {
        let (is_over, tried) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let peer = |number: u8| {
            let (is_over, tried) = (is_over.clone(), tried.clone());
            thread::spawn(move || hold(10 + number, addr, each, habit, &is_over, &tried))
        };
        let flood =
            Self { peers: (0..peers).map(peer).collect(), is_over: is_over.clone(), tried: tried.clone() };
        super::eventually("the flood has come in", || flood.tried() >= usize::from(peers) * each);
        flood
    }

    /// How many connections were tried by now.
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

fn hold(host: u8, addr: SocketAddr, each: usize, habit: Habit, is_over: &AtomicBool, tried: &AtomicUsize) {
    let open = || {
        tried.fetch_add(1, Ordering::Relaxed);
        let mut stream = connect_from(host, addr).ok()?;
        stream.set_nonblocking(true).ok()?;
        stream.write_all(&habit.opening()).ok()?;
        Some(stream)
    };
    let mut held: Vec<Option<TcpStream>> = (0..each).map(|_| open()).collect();
    while !is_over.load(Ordering::Relaxed) {
        let mut new = 0;
        for place in &mut held {
            let is_open = place.as_mut().is_some_and(|stream| {
                let drips = habit == Habit::Dripping && stream.write_all(b"x").is_err();
                !drips && !is_closed(stream)
            });
            if !is_open && new < MOST_NEW {
                *place = open();
                new += 1;
            }
        }
        thread::sleep(EVERY);
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 512]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
