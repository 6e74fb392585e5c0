//! A real memcached, and the states that it can be put into.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::MAX_WAIT;
use super::net::{HeldConnections, Port};
use super::process::Process;
use super::saslauthd;
use super::tls::{Authority, Identity};

/// A memcached on a port of its own.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    port: Port,
    args: Vec<String>,
    /// How many of them are the harness' own.
    own: usize,
    listener: Listener,
    /// The port for the harness, where a test's takes no text.
    beside: Option<Port>,
}

/// How one gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listener {
    /// In text, on the port.
    Text,
    /// On the port, in a way that the harness does not know.
    Other,
    /// On a socket, and not on the port.
    Socket(PathBuf),
}

/// The user whom servers that want credentials let in.
pub const USER: &str = "canary";
/// The password of that user.
pub const PASSWORD: &str = "correct-horse";

impl Memcached {
    /// Starts a server with these arguments after the harness' own, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        Self::start_at(Port::reserve(), args)
    }

    /// The same, on this port and its address.
    pub fn start_at(port: Port, args: &[&str]) -> Self {
        Self::start_in(directory(), port, Listener::Text, args)
    }

    /// Starts a server on a unix socket alone.
    pub fn start_on_socket() -> Self {
        let dir = directory();
        let path = dir.path().join("memcached.sock");
        let args = ["-s", path.to_str().expect("a path in UTF-8")].map(str::to_owned);
        Self::start_in(dir, Port::reserve(), Listener::Socket(path), &[&args[0], &args[1]])
    }

    /// Starts a server that speaks TLS alone, but to the harness; given `clients`, it wants a certificate
    /// that this authority issued.
    pub fn start_tls(server: &Identity, clients: Option<&Authority>) -> Self {
        Self::start_tls_with(server, clients, &[])
    }

    /// The same, with these arguments.
    pub fn start_tls_with(server: &Identity, clients: Option<&Authority>, more: &[&str]) -> Self {
        let dir = directory();
        let file = |name: &str, pem: &str| {
            let path = dir.path().join(name);
            fs::write(&path, pem).expect("a file");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let (chain, key) = (file("chain.pem", server.certificate()), file("key.pem", server.key()));
        let mut options = format!("ssl_chain_cert={chain},ssl_key={key}");
        if let Some(clients) = clients {
            let clients = file("clients.pem", &clients.certificate());
            // 2: the client must show one.
            let _ = write!(options, ",ssl_verify_mode=2,ssl_ca_cert={clients}");
        }
        let beside = Port::reserve();
        let listen = format!("notls:{}", beside.addr());
        let args = ["-Z", "-o", &options, "-l", &listen];
        let args = [&args, more].concat();
        let mut memcached = Self::start_in(dir, Port::reserve(), Listener::Other, &args);
        memcached.beside = Some(beside);
        memcached
    }

    /// Starts a server that wants credentials in text, [`USER`] and [`PASSWORD`].
    pub fn start_with_auth_file() -> Self {
        let dir = directory();
        let file = dir.path().join("users");
        fs::write(&file, format!("{USER}:{PASSWORD}\n")).expect("a file");
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        Self::start_in(dir, Port::reserve(), Listener::Text, &["-Y", &file])
    }

    /// Starts a server that speaks binary alone and wants credentials by SASL, [`USER`] and [`PASSWORD`].
    pub fn start_with_sasl() -> Self {
        let dir = directory();
        saslauthd::start(dir.path());
        Self::start_in(dir, Port::reserve(), Listener::Other, &["-S"])
    }

    fn start_in(dir: TempDir, port: Port, listener: Listener, args: &[&str]) -> Self {
        let (ip, number) = (port.addr().ip().to_string(), port.number().to_string());
        let listen = if port.addr().is_ipv6() { format!("[{ip}]") } else { ip };
        // The configuration of SASL; without it, SASL has no effect.
        let own = format!("SASL_CONF_PATH={} memcached -U 0", dir.path().display());
        // It does not run as root unless it is told to; for others `-u` has no effect.
        let mut all: Vec<&str> = own.split(' ').chain(["-u", "root"]).collect();
        if !matches!(listener, Listener::Socket(_)) {
            all.extend(["-l", &listen, "-p", &number]);
        }
        let args: Vec<String> = all.iter().chain(args).map(|&arg| arg.to_owned()).collect();
        let process = Process::spawn("env", &args, dir);
        let mut memcached = Self { process, port, args, own: all.len(), listener, beside: None };
        memcached.wait_until_it_answers();
        memcached
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address, `127.0.0.1` unless another was asked for, and the port.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        match &self.listener {
            Listener::Socket(path) => path,
            Listener::Text | Listener::Other => panic!("it listens on a port"),
        }
    }

    /// The process' id; another one after [`Self::restart`].
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends the server with SIGKILL. Its port refuses connections until [`Self::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a killed server again on its port, with its arguments, and waits until it answers.
    pub fn restart(&mut self) {
        self.process.respawn(&self.args);
        self.wait_until_it_answers();
    }

    /// Gives a killed server that speaks TLS another certificate.
    pub fn install(&self, identity: &Identity) {
        for (name, pem) in [("chain.pem", identity.certificate()), ("key.pem", identity.key())] {
            fs::write(self.process.dir().join(name), pem).expect("a file");
        }
    }

    /// Starts a killed server again without the arguments that a test gave it: in text, and without
    /// credentials.
    pub fn restart_plain(&mut self) {
        self.process.respawn(&self.args[..self.own]);
        self.wait_until_it_answers();
    }

    /// Stops the server with SIGSTOP: connections are made by the kernel and nothing is answered.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets a stopped server go on.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// The answer to a command of the text protocol, without the last line's end. A value goes on a
    /// line of its own: `set key 0 0 5\r\nvalue`.
    pub fn command(&self, command: &str) -> String {
        ask(self.plain_addr(), command).unwrap_or_else(|error| panic!("no answer to {command:?}: {error}"))
    }

    /// The address of the harness, which speaks no TLS.
    fn plain_addr(&self) -> SocketAddr {
        self.beside.as_ref().map_or(self.addr(), Port::addr)
    }

    /// The value of a line of `stats`.
    pub fn stat(&self, name: &str) -> String {
        let stats = self.command("stats");
        let value =
            stats.lines().find_map(|line| line.strip_prefix("STAT ")?.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("stats has no {name}")).to_owned()
    }

    /// Fills a server that was started with `-M`, so that it may not evict: an item of any size up to a page
    /// is refused until [`Self::make_room`].
    pub fn fill(&self) {
        let stream = connect(self.plain_addr()).expect("a connection");
        let mut stream = BufReader::new(stream);
        let mut size = 512 * 1024;
        // Each class of sizes owns at least one page, so each is filled, the big ones first, as they take the
        // memory.
        while size > 0 {
            fill_class(&mut stream, size).expect("to fill");
            size = size * 9 / 10;
        }
    }

    /// Ends [`Self::fill`] by forgetting everything.
    pub fn make_room(&self) {
        assert_eq!(self.command("flush_all"), "OK");
    }

    /// Holds as many connections as the server takes: further ones are turned away until the answer is
    /// dropped. Start the server with a small limit, such as `-c 64`.
    pub fn reach_connection_limit(&self) -> HeldConnections {
        HeldConnections::up_to_the_limit(self.addr(), |addr| {
            let mut stream = BufReader::new(connect(addr).ok()?);
            match ask_on(&mut stream, "version") {
                Ok(said) if !said.contains("Too many open connections") => Some(stream.into_inner()),
                _ => None,
            }
        })
    }

    fn wait_until_it_answers(&mut self) {
        let (addr, listener) = (self.addr(), self.listener.clone());
        self.process.wait_until(|| match &listener {
            Listener::Text => ask(addr, "version").is_ok(),
            Listener::Other => connect(addr).is_ok(),
            Listener::Socket(path) => UnixStream::connect(path).is_ok(),
        });
    }
}

/// Stores items of `size` bytes until the server refuses one.
fn fill_class(stream: &mut BufReader<TcpStream>, size: usize) -> io::Result<()> {
    let value = "x".repeat(size);
    // Many at once and without an answer: what is refused of them is refused at the one that is answered too.
    let batch = (256 * 1024 / size).clamp(1, 512);
    for round in 0.. {
        let mut request = String::new();
        for item in 0..batch {
            let quiet = if item + 1 == batch { "" } else { " noreply" };
            let _ = write!(request, "set fill:{size}:{round}:{item} 0 0 {size}{quiet}\r\n{value}\r\n");
        }
        stream.get_mut().write_all(request.as_bytes())?;
        // An error is answered to `noreply` as well.
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line != "STORED\r\n" {
            // An item that would take several pages is refused with other words than a small one.
            assert!(line.to_lowercase().contains("out of memory"), "a set was answered with {line:?}");
            return drain(stream);
        }
    }
    Ok(())
}

/// Reads past the answers to everything that was sent.
fn drain(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.get_mut().write_all(b"mn\r\n")?;
    let mut line = String::new();
    while line != "MN\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
    }
    Ok(())
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, MAX_WAIT)?;
    stream.set_read_timeout(Some(MAX_WAIT))?;
    Ok(stream)
}

fn ask(addr: SocketAddr, command: &str) -> io::Result<String> {
    ask_on(&mut BufReader::new(connect(addr)?), command)
}

fn ask_on(stream: &mut BufReader<TcpStream>, command: &str) -> io::Result<String> {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = String::new();
    loop {
        let begin = answer.len();
        if stream.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Only these begin an answer of several lines, which END ends.
        let several = answer.starts_with("VALUE ") || answer.starts_with("STAT ");
        if !several || answer[begin..].trim_end() == "END" {
            return Ok(answer.trim_end().to_owned());
        }
    }
}
