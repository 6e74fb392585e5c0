//! The link between a replica and its primary, which can be made slow and held.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Passes on what is sent either way; what the primary sends takes as long as it is told.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In milliseconds, for each piece that the primary sends.
    delay: AtomicU64,
    held: AtomicBool,
    closed: AtomicBool,
}

impl Link {
    /// Listens on a free port, as the primary for its replica.
    pub fn start(primary: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let of_listener = state.clone();
        thread::spawn(move || {
            for replica in listener.incoming() {
                if of_listener.closed.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(replica), Ok(primary)) = (replica, TcpStream::connect(primary)) else { continue };
                let back = (replica.try_clone().expect("a handle"), primary.try_clone().expect("a handle"));
                let state = of_listener.clone();
                thread::spawn(move || pass_on(primary, replica, || state.wait()));
                thread::spawn(move || pass_on(back.0, back.1, || ()));
            }
        });
        Self { addr, state }
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Lets everything that the primary sends take this long.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(u64::try_from(delay.as_millis()).expect("a short delay"), Ordering::SeqCst);
    }

    /// Holds what the primary sends, until it is released; the connections stay.
    pub fn hold(&self) {
        self.state.held.store(true, Ordering::SeqCst);
    }

    /// Ends [`Self::hold`].
    pub fn release(&self) {
        self.state.held.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn wait(&self) {
        thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
        while self.held.load(Ordering::SeqCst) && !self.closed.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is to end.
        let _ = TcpStream::connect(self.addr);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, wait: impl Fn()) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        wait();
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
