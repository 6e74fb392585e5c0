//! A real memcached, and the states that it can be put into.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use super::net::{HeldConnections, Port};
use super::process::Process;

/// A memcached on a port of its own.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    port: Port,
    args: Vec<String>,
}

impl Memcached {
    /// Starts a server with these arguments after the harness' own, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.number().to_string();
        // It does not run as root unless it is told to; for others `-u` has no effect.
        let own = ["-l", "127.0.0.1", "-p", &number, "-U", "0", "-u", "root"];
        let args: Vec<String> = own.iter().chain(args).map(|&arg| arg.to_owned()).collect();
        let process = Process::spawn("memcached", &args, tempfile::tempdir().expect("a directory"));
        let mut memcached = Self { process, port, args };
        memcached.wait_until_it_answers();
        memcached
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address, `127.0.0.1` and the port.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The process' id; another one after [`Self::restart`].
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends the server with SIGKILL. Its port refuses connections until [`Self::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a killed server anew on its port, with its arguments, and waits until it answers.
    pub fn restart(&mut self) {
        self.process.respawn(&self.args);
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

    /// The answer to a command of the text protocol, without the last line's end. What is stored goes on a
    /// line of its own: `set key 0 0 5\r\nvalue`.
    pub fn command(&self, command: &str) -> String {
        ask(self.addr(), command).unwrap_or_else(|error| panic!("no answer to {command:?}: {error}"))
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
        let stream = connect(self.addr()).expect("a connection");
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
        let addr = self.addr();
        self.process.wait_until(|| ask(addr, "version").is_ok());
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

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
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
