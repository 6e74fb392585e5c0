//! The smallest client of Redis that the tests need, so that no redis-cli is needed.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::MAX_WAIT;

/// The answer of a server: the text, or its error. An integer is its digits, a null is `(nil)`, an array is a
/// line for each of its elements.
pub type Answer = Result<String, String>;

/// One connection, on which commands are asked one after the other.
#[derive(Debug)]
pub struct Client<S: Read + Write>(BufReader<S>);

impl Client<TcpStream> {
    /// Connects, without credentials.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, MAX_WAIT)?;
        stream.set_read_timeout(Some(MAX_WAIT))?;
        Ok(Self::over(stream))
    }
}

impl<S: Read + Write> Client<S> {
    /// A client over a stream that is connected.
    pub fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// Sends a command and reads its answer; panics when the connection fails.
    pub fn ask(&mut self, command: &[&str]) -> Answer {
        self.try_ask(command).unwrap_or_else(|error| panic!("no answer to {command:?}: {error}"))
    }

    /// Sends a command and reads its answer.
    pub fn try_ask(&mut self, command: &[&str]) -> io::Result<Answer> {
        self.send(command)?;
        self.read()
    }

    /// Sends a command and leaves the answer unread.
    pub fn send(&mut self, command: &[&str]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", command.len());
        for word in command {
            let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(bytes.as_bytes())?;
        self.0.get_mut().flush()
    }

    /// The stream, when nothing is to be asked any more.
    pub fn into_stream(self) -> S {
        self.0.into_inner()
    }

    fn read(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        match kind {
            "+" | ":" => Ok(Ok(rest.to_owned())),
            "-" => Ok(Err(rest.to_owned())),
            "$" if rest == "-1" => Ok(Ok("(nil)".to_owned())),
            "$" => {
                let mut bulk = vec![0; length(rest)? + 2];
                self.0.read_exact(&mut bulk)?;
                bulk.truncate(bulk.len() - 2);
                Ok(Ok(String::from_utf8_lossy(&bulk).into_owned()))
            }
            "*" => {
                let elements: Result<Vec<String>, String> = (0..length(rest)?)
                    .map(|_| self.read())
                    .collect::<io::Result<Vec<_>>>()?
                    .into_iter()
                    .collect();
                Ok(elements.map(|elements| elements.join("\n")))
            }
            _ => Err(io::Error::other(format!("not an answer of Redis': {line:?}"))),
        }
    }
}

fn length(digits: &str) -> io::Result<usize> {
    digits.parse().map_err(|_| io::Error::other(format!("not a length: {digits:?}")))
}
