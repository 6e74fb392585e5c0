//! The version of HTTP that a client speaks, from the first bytes that it sends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::foreign::Foreign;

/// The beginning of every connection of HTTP/2 (RFC 9113, section 3.4). No request of HTTP/1 begins so.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2, known before the first request: with TLS, or by prior knowledge.
    Http2,
    /// None.
    Foreign(Foreign),
}

/// The most bytes that are read at a time.
const PIECE: usize = 1024;

/// The most fields of a head that short, as many as hyper takes.
const MAX_FIELDS: usize = 100;

/// A reader whose first bytes were examined, and are read once more.
#[derive(Debug)]
pub(super) struct Peeked<R> {
    first: Vec<u8>,
    /// The number of them that are known not to be the end of a head.
    seen: usize,
    reader: R,
}

impl<R: AsyncRead + Unpin> Peeked<R> {
    /// A reader of which `first` has been read already.
    pub(super) fn new(first: &[u8], reader: R) -> Self {
        Self { first: first.to_vec(), seen: 0, reader }
    }

    /// The reader, without the examined bytes.
    pub(super) fn into_reader(self) -> R {
        self.reader
    }

    /// Waits until the client's version is clear, and until a request's head is complete or has `most` bytes: a
    /// connection has no other memory until then.
    pub(super) async fn version(&mut self, most: usize) -> io::Result<Version> {
        loop {
            let may_be_preface = self.first.iter().eq(PREFACE.iter().take(self.first.len()));
            if may_be_preface && self.first.len() == PREFACE.len() {
                return Ok(Version::Http2);
            }
            if !may_be_preface && let Some(version) = self.head(most) {
                return Ok(version);
            }
            let wanted = if may_be_preface { PREFACE.len() - self.first.len() } else { PIECE };
            if poll_fn(|cx| self.poll_more(wanted, cx)).await? == 0 {
                return Ok(Version::Http1);
            }
        }
    }

    /// Reads some more bytes; none at the end.
    fn poll_more(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that it is there only while there is something to read.
        let mut bytes = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut bytes[..wanted]);
        ready!(Pin::new(&mut self.reader).poll_read(cx, &mut buffer))?;
        self.first.reserve_exact(buffer.filled().len());
        self.first.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// The version, if a request's head is complete or has `most` bytes, or if the bytes are no head at all.
    fn head(&mut self, most: usize) -> Option<Version> {
        // A long head is not parsed again and again. Its end is searched instead (RFC 9112, section 2.1; a lone LF
        // counts as the end of a line, section 2.2).
        if self.first.len() <= PIECE {
            let parsed = httparse::Request::new(&mut [httparse::EMPTY_HEADER; MAX_FIELDS]).parse(&self.first);
            return match parsed {
                Ok(httparse::Status::Partial) => None,
                Ok(httparse::Status::Complete(_)) => Some(Version::Http1),
                Err(error @ httparse::Error::TooManyHeaders) => {
                    Some(Version::Foreign(Foreign::Malformed(error)))
                }
                Err(error) => Some(Version::Foreign(Foreign::of(&self.first, error))),
            };
        }
        let is_end = |at: &[u8]| matches!(at, [b'\n', b'\n', ..] | [b'\n', b'\r', b'\n', ..]);
        let has_end = (self.seen..self.first.len()).any(|at| is_end(&self.first[at..]));
        // The last bytes may be the beginning of an end.
        self.seen = self.first.len().saturating_sub(2);
        (has_end || self.first.len() >= most).then_some(Version::Http1)
    }

    /// `true` if every examined byte has been read once more.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Takes the examined bytes, which are then not read once more.
    pub(super) fn take_first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.first)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Peeked<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.reader).poll_read(cx, buf);
        }
        let taken = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..taken]);
        self.first.drain(..taken);
        if self.first.is_empty() {
            self.first = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const MOST: usize = 16 * 1024;

    async fn look(parts: &[&[u8]]) -> (Version, Vec<u8>) {
        let mut reader = reader_of(parts);
        let version = reader.version(MOST).await.unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        (version, all)
    }

    /// A reader that gives one part after the other.
    fn reader_of(parts: &[&[u8]]) -> Peeked<impl AsyncRead + Unpin> {
        let (first, second) = (parts[0].to_vec(), parts[1..].concat());
        Peeked::new(&[], io::Cursor::new(first).chain(io::Cursor::new(second)))
    }

    #[tokio::test]
    async fn the_preface_is_told_from_a_request_at_any_cut_and_nothing_is_lost() {
        let http2 = [PREFACE.as_slice(), b"\0\0\0\x04"].concat();
        let others: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.1\r\n\r\n", b"PRI * HT", b""];
        let proxy: &[u8] = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n";
        let wanted = [(http2.as_slice(), Version::Http2), (proxy, Version::Foreign(Foreign::Proxy(1)))]
            .into_iter()
            .chain(others.map(|bytes| (bytes, Version::Http1)));
        for (bytes, version) in wanted {
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(look(&[first, second]).await, (version, bytes.to_vec()), "cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_head_is_waited_for_until_it_ends_or_is_too_long() {
        for head in
            ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\n\r\n"]
        {
            for cut in 0..head.len() {
                let (mut client, server) = tokio::io::duplex(64);
                let mut reader = Peeked::new(&[], server);
                client.write_all(&head.as_bytes()[..cut]).await.unwrap();
                let waits = tokio::time::timeout(Duration::from_millis(1), reader.version(MOST)).await;
                assert!(waits.is_err(), "{:?}", &head[..cut]);
                client.write_all(&head.as_bytes()[cut..]).await.unwrap();
                assert_eq!(reader.version(MOST).await.unwrap(), Version::Http1);
            }
        }
        let long = "GET / HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(MOST);
        assert_eq!(look(&[long.as_bytes(), b""]).await.0, Version::Http1);
    }
}
