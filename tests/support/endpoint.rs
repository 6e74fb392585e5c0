//! A configuration endpoint, as those of ElastiCache are, that says what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::Port;

/// Answers `config get cluster`, and nothing else.
#[derive(Debug)]
pub struct Endpoint {
    port: Port,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    answer: String,
    open: Vec<TcpStream>,
    ended: bool,
}

impl Endpoint {
    /// Listens on a free port, and names these servers.
    pub fn start(servers: &[String]) -> Self {
        let port = Port::reserve();
        let endpoint = Self { port, state: Arc::default() };
        endpoint.name(servers);
        endpoint.listen();
        endpoint
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Names these servers from now on, each as `host|ip|port`.
    pub fn name(&self, servers: &[String]) {
        self.name_in(12, servers);
    }

    /// The same, in this version of its configuration.
    pub fn name_in(&self, version: u64, servers: &[String]) {
        let text = format!("{version}\n{}\n", servers.join(" "));
        self.answer(&format!("CONFIG cluster 0 {}\r\n{text}\r\nEND\r\n", text.len()));
    }

    /// Answers this from now on, whatever it is.
    pub fn answer(&self, answer: &str) {
        answer.clone_into(&mut self.state.lock().expect("no panic while it was held").answer);
    }

    /// Closes every connection and takes no more, until [`Self::listen`].
    pub fn close(&self) {
        let mut state = self.state.lock().expect("no panic while it was held");
        state.ended = true;
        for client in state.open.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the listener, which then sees that it is to end; until it has, connections are made.
        super::eventually("the endpoint refuses", || TcpStream::connect(self.addr()).is_err());
    }

    /// Takes connections.
    pub fn listen(&self) {
        let listener: TcpListener = self.port.listen();
        self.state.lock().expect("no panic while it was held").ended = false;
        let shared = Arc::clone(&self.state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut state = shared.lock().expect("no panic while it was held");
                if state.ended {
                    return;
                }
                let Ok(client) = client else { continue };
                state.open.push(client.try_clone().expect("a handle"));
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(client, &state));
            }
        });
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(client: TcpStream, state: &Mutex<State>) {
    let mut answers = client.try_clone().expect("a handle");
    for line in BufReader::new(client).lines() {
        let Ok(line) = line else { return };
        let answer = match line.as_str() {
            "config get cluster" => state.lock().expect("no panic while it was held").answer.clone(),
            _ => "ERROR\r\n".to_owned(),
        };
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
