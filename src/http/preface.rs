//! Which HTTP a client speaks, from the first bytes that it sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// What a client that speaks HTTP/2 begins with (RFC 9113, section 3.4). No request of HTTP/1 begins so.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1 or HTTP/1.0, or something else that is refused in it.
    Http1,
    /// HTTP/2, known before the first request: with TLS, or by prior knowledge.
    Http2,
}

/// A reader whose first bytes were looked at, and are read once more.
#[derive(Debug)]
pub(super) struct Peeked<R> {
    first: [u8; PREFACE.len()],
    /// How many of them there are.
    len: usize,
    /// How many of them were read once more.
    taken: usize,
    reader: R,
}

impl<R: AsyncRead + Unpin> Peeked<R> {
    /// A reader that was not read yet.
    pub(super) fn new(reader: R) -> Self {
        Self { first: [0; PREFACE.len()], len: 0, taken: 0, reader }
    }

    /// Waits until it is clear what the client speaks.
    pub(super) async fn version(&mut self) -> io::Result<Version> {
        while self.first[..self.len] == PREFACE[..self.len] {
            if self.len == PREFACE.len() {
                return Ok(Version::Http2);
            }
            match self.reader.read(&mut self.first[self.len..]).await? {
                0 => break,
                read => self.len += read,
            }
        }
        Ok(Version::Http1)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Peeked<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken == self.len {
            return Pin::new(&mut self.reader).poll_read(cx, buf);
        }
        let end = self.len.min(self.taken + buf.remaining());
        buf.put_slice(&self.first[self.taken..end]);
        self.taken = end;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn look(parts: &[&[u8]]) -> (Version, Vec<u8>) {
        let mut reader = tokio_test_reader(parts);
        let version = reader.version().await.unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        (version, all)
    }

    /// A reader that gives one part after the other.
    fn tokio_test_reader(parts: &[&[u8]]) -> Peeked<impl AsyncRead + Unpin> {
        let (first, second) = (parts[0].to_vec(), parts[1..].concat());
        Peeked::new(io::Cursor::new(first).chain(io::Cursor::new(second)))
    }

    #[tokio::test]
    async fn the_preface_is_told_from_a_request_wherever_it_is_cut_and_nothing_is_lost() {
        let http2 = [PREFACE.as_slice(), b"\0\0\0\x04"].concat();
        let others: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.1\r\n\r\n", b"PRI * HT", b""];
        let wanted = [(http2.as_slice(), Version::Http2)]
            .into_iter()
            .chain(others.map(|bytes| (bytes, Version::Http1)));
        for (bytes, version) in wanted {
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(look(&[first, second]).await, (version, bytes.to_vec()), "cut at {cut}");
            }
        }
    }
}
