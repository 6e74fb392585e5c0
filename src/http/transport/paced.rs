//! [`Paced`]: a connection of HTTP/2 that is not read while memory is short.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::unread::UnreadTexts;

/// A connection's incoming half, which waits while unread answers and incomplete requests are above their bound. Connections that
/// are closed for that soon give theirs back.
pub(super) struct Paced<R> {
    reader: R,
    unread: Arc<UnreadTexts>,
    room: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R> Paced<R> {
    pub(super) fn new(reader: R, unread: Arc<UnreadTexts>) -> Self {
        Self { reader, unread, room: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.room.is_none() && self.unread.excess() > 0 {
            let unread = self.unread.clone();
            self.room = Some(Box::pin(async move { unread.room().await }));
        }
        if let Some(room) = &mut self.room {
            ready!(room.as_mut().poll(cx));
            self.room = None;
        }
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}
