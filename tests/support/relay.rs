//! A relay between a client and a real server, for what must happen between two commands.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on every byte, and asks a function before what a client sent.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    closed: Arc<AtomicBool>,
    behind: Arc<Mutex<Behind>>,
}

/// The server behind a relay, and the clients' connections.
#[derive(Debug)]
struct Behind {
    server: SocketAddr,
    clients: Vec<TcpStream>,
}

impl Relay {
    /// Listens on a free port and relays to `server`. `before` sees each piece that a client sends, which
    /// from a client that waits for answers is one command, before the server does; where it says false the
    /// connection is closed.
    pub fn start(server: SocketAddr, before: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self::start_lying(server, before, |answer| Some(answer.to_vec()))
    }

    /// The same, where `lie` turns each piece that the server answers into what the client gets; where it
    /// says none the connection is closed.
    pub fn start_lying(
        server: SocketAddr,
        before: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
        lie: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let closed = Arc::new(AtomicBool::new(false));
        let (before, lie) = (Arc::new(before), Arc::new(lie));
        let ends = Arc::clone(&closed);
        let behind = Arc::new(Mutex::new(Behind { server, clients: Vec::new() }));
        let of_thread = Arc::clone(&behind);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let mut behind = of_thread.lock().expect("no panic");
                // A server that refuses closes the client's connection.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(behind.server)) else { continue };
                behind.clients.push(client.try_clone().expect("a handle"));
                let (before, lie) = (Arc::clone(&before), Arc::clone(&lie));
                let answers = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
                thread::spawn(move || pass_on(client, server, |piece| before(piece).then(|| piece.to_vec())));
                thread::spawn(move || pass_on(answers.0, answers.1, |piece| lie(piece)));
            }
        });
        Self { addr, closed, behind }
    }

    /// Closes all connections, and relays new ones to another server.
    pub fn switch_to(&self, server: SocketAddr) {
        let mut behind = self.behind.lock().expect("no panic");
        behind.server = server;
        for client in behind.clients.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The address, `127.0.0.1` and the port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to end.
        let _ = TcpStream::connect(self.addr);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let Some(changed) = change(&piece[..length]) else { break };
        if to.write_all(&changed).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
