//! [`Paced`]: a connection that is read little while memory is short.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::sleep;

use super::idle_timeout::IdleTimeout;
use super::unread::UnreadTexts;

/// The most bytes of a read while memory is short.
const SIP: usize = 4 * 1024;

/// The time from a sip to the next.
const BETWEEN_SIPS: Duration = Duration::from_millis(1);

/// A connection's incoming half. While unread answers and requests are above their bound, it is read in sips until a request is
/// complete, and then not until that has its answer: neither a pipeline nor many streams take more memory than one request.
pub(super) struct Paced<R> {
    reader: R,
    idle_timeout: Arc<IdleTimeout>,
    unread: Arc<UnreadTexts>,
    /// What the next read waits for.
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R> Paced<R> {
    pub(super) fn new(reader: R, idle_timeout: &Arc<IdleTimeout>, unread: &Arc<UnreadTexts>) -> Self {
        let (idle_timeout, unread) = (idle_timeout.clone(), unread.clone());
        Self { reader, idle_timeout, unread, pause: None }
    }

    pub(super) fn into_reader(self) -> R {
        self.reader
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.unread.excess() == 0 {
            return Pin::new(&mut self.reader).poll_read(cx, buf);
        }
        if self.idle_timeout.is_busy() {
            let (idle_timeout, unread) = (self.idle_timeout.clone(), self.unread.clone());
            let mut pause = Box::pin(async move { unread.room_or(|| !idle_timeout.is_busy()).await });
            if pause.as_mut().poll(cx).is_pending() {
                self.pause = Some(pause);
                return Poll::Pending;
            }
        }
        let most = buf.remaining().min(SIP);
        let mut sip = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.reader).poll_read(cx, &mut sip))?;
        let read = sip.filled().len();
        buf.advance(read);
        // Meanwhile the requests in it are counted, and connections closed: hyper would read on at once.
        self.pause = Some(Box::pin(sleep(BETWEEN_SIPS)));
        Poll::Ready(Ok(()))
    }
}
