//! Ports of the loopback address: reserved, refusing, a black hole, all connections taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::eventually;

/// A port that is held for a server of the test's. While no server listens there, connections are refused.
///
/// The socket is bound and does not listen. Linux then gives the port to nobody who asks for any free port,
/// and lets a server that sets `SO_REUSEADDR`, as Redis and memcached do, have it by its number: a server can
/// be restarted on its port, and a refusing port stays one, whatever else runs on the machine.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    addr: SocketAddr,
}

impl Port {
    /// Takes a free port and holds it.
    pub fn reserve() -> Self {
        Self::reserve_at((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port")
    }

    /// Takes the same free port of each of these addresses.
    pub fn reserve_each<const N: usize>(addresses: [IpAddr; N]) -> [Self; N] {
        let mut reserved = None;
        eventually("a port is free on each address", || {
            let first = Self::reserve_at((addresses[0], 0).into()).expect("a free port");
            let number = first.number();
            let others = addresses[1..].iter().map(|&address| Self::reserve_at((address, number).into()));
            let all: io::Result<Vec<_>> = std::iter::once(Ok(first)).chain(others).collect();
            reserved = all.ok();
            reserved.is_some()
        });
        reserved.and_then(|ports| ports.try_into().ok()).expect("a port for each address")
    }

    /// Takes this port of this address and holds it.
    pub fn reserve_at(addr: SocketAddr) -> io::Result<Self> {
        let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        // A process that is started meanwhile must not hold it as well.
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &addr)?;
        let addr = rustix::net::getsockname(&socket)?.try_into()?;
        Ok(Self { socket, addr })
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.addr.port()
    }

    /// The address, `127.0.0.1` unless another was asked for, and the port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens on the port, as a server of the test's own.
    pub fn listen(&self) -> TcpListener {
        TcpListener::bind(self.addr).expect("the reserved port")
    }
}

/// A listener whose backlog is full: to connect takes for ever.
#[derive(Debug)]
pub struct BlackHole {
    port: Port,
    queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens, and connects until a connection is not taken any more.
    pub fn open() -> Self {
        Self::open_at(Port::reserve())
    }

    /// The same at this port.
    pub fn open_at(port: Port) -> Self {
        listen(&port.socket, 0).expect("to listen");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&port.addr, Duration::from_millis(250)) {
            assert!(queued.len() < 16, "a backlog of none takes connections without end");
            queued.push(stream);
        }
        Self { port, queued }
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address, `127.0.0.1` and the port.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

/// Connections that use up a server's limit; dropped, they make room again.
#[derive(Debug)]
pub struct HeldConnections {
    held: Vec<TcpStream>,
    served: fn(SocketAddr) -> Option<TcpStream>,
    addr: SocketAddr,
}

impl HeldConnections {
    /// Connects until `served` says, by `None`, that the server turned a connection away.
    pub(super) fn up_to_the_limit(addr: SocketAddr, served: fn(SocketAddr) -> Option<TcpStream>) -> Self {
        let mut held = Vec::new();
        // A place may still be held by a client that has closed, and be free a moment after.
        let mut turned_away = 0;
        while turned_away < 5 {
            assert!(held.len() < 512, "the server takes 512 connections: start it with a lower limit");
            if let Some(stream) = served(addr) {
                held.push(stream);
                turned_away = 0;
            } else {
                turned_away += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
        Self { held, served, addr }
    }
}

impl Drop for HeldConnections {
    fn drop(&mut self) {
        self.held.clear();
        // The server sees the closed ones when it gets to it, which may be after it sees the next client.
        eventually("a server takes connections again", || (self.served)(self.addr).is_some());
    }
}
