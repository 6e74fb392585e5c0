//! The fewest lines of RESP and of memcached's text that a writer needs, so that none of the product's code is behind
//! the judgment of it.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// A stream, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connection to a server.
pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

/// The response of a Redis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Nothing,
    Error(String),
    Array(Vec<Reply>),
}

impl Connection {
    pub(crate) async fn dial(addr: SocketAddr, tls: Option<&Arc<TlsConnector>>) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::from(addr.ip()), stream).await?),
        };
        Ok(Self(BufReader::new(stream)))
    }

    /// Gives a Redis a command.
    pub(crate) async fn ask(&mut self, command: &[&str]) -> io::Result<Reply> {
        let mut bytes = format!("*{}\r\n", command.len());
        for word in command {
            let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
        }
        self.send(&bytes).await?;
        self.reply().await
    }

    /// Gives a memcached a command; the first line of the response.
    pub(crate) async fn ask_memcached(&mut self, command: &str) -> io::Result<String> {
        self.send(command).await?;
        self.line().await
    }

    pub(crate) async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    async fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.0.write_all(bytes.as_bytes()).await?;
        self.0.flush().await
    }

    fn reply(&mut self) -> BoxFuture<'_, io::Result<Reply>> {
        Box::pin(async {
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
            let length = || rest.parse::<usize>().map_err(io::Error::other);
            Ok(match kind {
                "+" | ":" => Reply::Text(rest.to_owned()),
                "-" => Reply::Error(rest.to_owned()),
                "$" | "*" if rest == "-1" => Reply::Nothing,
                "$" => {
                    let mut bulk = vec![0; length()? + 2];
                    self.0.read_exact(&mut bulk).await?;
                    bulk.truncate(bulk.len() - 2);
                    Reply::Text(String::from_utf8(bulk).map_err(io::Error::other)?)
                }
                "*" => {
                    let mut elements = Vec::new();
                    for _ in 0..length()? {
                        elements.push(self.reply().await?);
                    }
                    Reply::Array(elements)
                }
                _ => return Err(io::Error::other(format!("not a response of Redis: {line:?}"))),
            })
        })
    }
}
