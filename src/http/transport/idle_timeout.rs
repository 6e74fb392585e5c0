//! [`IdleTimeout`]: the state of a connection, and the time that its client has left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{self, Instant};

use crate::mutex::Mutex;

/// The time without a request after which a connection of HTTP/1 gives its buffers back. A caller that asks more often
/// keeps them.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// A client that has taken nothing of an answer for this long, or sent nothing of a head, is slower than any honest one
/// on a network that works.
pub(super) const STALLED: Duration = Duration::from_secs(1);

/// The timeouts of one connection.
///
/// Hyper's own limit on the time for a request's head also counts the time in which a kept connection is idle. With a
/// limit of seconds, a prober with an interval of as many seconds would meet the closing every so often, and report a
/// reset as an outage. So the two waits are told apart here, by a request's first byte.
#[derive(Debug)]
pub(super) struct IdleTimeout {
    wait: Wait,
    /// `true` if requests are concurrent, as in HTTP/2. Bytes do not tell then that a request begins.
    is_multiplexed: AtomicBool,
    tracked: Mutex<Tracked>,
    /// Wakes the connection when it is to close.
    closing: Notify,
}

/// The limits on the waits for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// For a request's head.
    pub(super) head: Duration,
    /// For another request, or for progress with an answer.
    pub(super) idle: Duration,
}

named! {
    /// The state of a connection, by what it waits for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum ConnectionState {
        /// Waits for the rest of a request's head, or on a new connection for all of it.
        ReadingHead = "reading_head",
        /// Waits until the answer is made, or taken.
        Answering = "answering",
        /// Waits for another request.
        Idle = "idle",
    }
}

/// The state of a connection, with its times and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionSnapshot {
    pub(super) state: ConnectionState,
    /// The start of the state, or the time at which the client last took a part of an answer.
    pub(super) since: Instant,
    /// The number of bytes of answers that its client has not taken.
    pub(super) unread: usize,
}

#[derive(Debug)]
struct Tracked {
    snapshot: ConnectionSnapshot,
    /// The number of requests whose answers are not fully sent.
    open: usize,
    /// The number of those whose answers are not made yet.
    unanswered: usize,
    /// `true` if the system accepts no bytes for now.
    is_blocked: bool,
    /// `true` if the connection has buffers that it could give back.
    has_buffers: bool,
    is_closing: bool,
}

impl Tracked {
    fn enter(&mut self, state: ConnectionState) {
        self.snapshot.state = state;
        self.snapshot.since = Instant::now();
    }
}

impl IdleTimeout {
    /// The timeout of a new connection.
    pub(super) fn begin(wait: Wait) -> Self {
        let snapshot =
            ConnectionSnapshot { state: ConnectionState::ReadingHead, since: Instant::now(), unread: 0 };
        let tracked = Tracked {
            snapshot,
            open: 0,
            unanswered: 0,
            is_blocked: false,
            has_buffers: false,
            is_closing: false,
        };
        let is_multiplexed = AtomicBool::new(false);
        Self { wait, is_multiplexed, tracked: Mutex::new(tracked), closing: Notify::new() }
    }

    /// Notes that the client speaks HTTP/2, whose connections may be opened long before they are needed.
    pub(super) fn multiplex(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
        self.tracked.lock().enter(ConnectionState::Idle);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.load(Ordering::Relaxed)
    }

    /// Notes that a request's head is complete.
    pub(super) fn ask(self: &Arc<Self>) -> Exchange {
        let mut tracked = self.tracked.lock();
        tracked.open += 1;
        tracked.enter(ConnectionState::Answering);
        Exchange(self.clone())
    }

    /// Notes that bytes arrived.
    fn received(&self) {
        let mut tracked = self.tracked.lock();
        if tracked.snapshot.state == ConnectionState::Idle && !self.is_multiplexed() {
            tracked.enter(ConnectionState::ReadingHead);
        }
    }

    /// Tells the connection to close.
    pub(super) fn close(&self) {
        self.tracked.lock().is_closing = true;
        self.closing.notify_one();
    }

    /// Ends when the client has taken too long, or the connection was told to close.
    pub(super) async fn exhausted(&self) {
        loop {
            let look_again = {
                let tracked = self.tracked.lock();
                let now = Instant::now();
                let ends = self.ends(&tracked);
                if tracked.is_closing || ends.is_some_and(|ends| ends <= now) {
                    return;
                }
                // The first byte of a request brings the limit nearer, never nearer than this.
                let soon = if tracked.has_buffers { PARK_AFTER.min(self.wait.head) } else { self.wait.head };
                ends.map_or(now + soon, |ends| ends.min(now + soon))
            };
            // The cause of the wakeup does not matter: both are checked again.
            let _ = time::timeout_at(look_again, self.closing.notified()).await;
        }
    }

    /// The time at which the client has taken too long; `None` if it is not waited for.
    fn ends(&self, tracked: &Tracked) -> Option<Instant> {
        let ConnectionSnapshot { state, since, unread } = tracked.snapshot;
        match state {
            ConnectionState::ReadingHead => Some(since + self.wait.head),
            ConnectionState::Idle => Some(since + self.wait.idle),
            // A client of HTTP/2 may answer pings while it takes nothing.
            ConnectionState::Answering => (unread > 0).then_some(since + self.wait.idle),
        }
    }

    /// `true` if a request's head is not complete after all the time for it.
    pub(super) fn is_late(&self) -> bool {
        let ConnectionSnapshot { state, since, .. } = self.snapshot();
        state == ConnectionState::ReadingHead && since.elapsed() >= self.wait.head
    }

    /// `true` if every answer is fully sent.
    pub(super) fn has_none_open(&self) -> bool {
        self.tracked.lock().open == 0
    }

    /// Notes that an answer is to be made.
    pub(super) fn begin_answer(&self) {
        self.tracked.lock().unanswered += 1;
    }

    /// Notes that it is made.
    pub(super) fn end_answer(&self) {
        self.tracked.lock().unanswered -= 1;
    }

    /// `true` if answers are to be made and nothing waits for the client.
    pub(super) fn is_busy(&self) -> bool {
        let tracked = self.tracked.lock();
        tracked.unanswered > 0 && tracked.snapshot.unread == 0
    }

    /// Notes that the connection takes buffers, or gives them back.
    pub(super) fn set_buffers(&self, has_buffers: bool) {
        self.tracked.lock().has_buffers = has_buffers;
    }

    /// `true` if the connection's buffers are of no use for now: everything is sent and nothing has arrived since, for
    /// a while or, if memory is short, for any time.
    pub(super) fn is_parkable(&self, is_crowded: impl FnOnce() -> bool) -> bool {
        let tracked = self.tracked.lock();
        let ConnectionSnapshot { state, since, .. } = tracked.snapshot;
        let is_idle = state == ConnectionState::Idle && !tracked.is_blocked;
        is_idle && (is_crowded() || since.elapsed() >= PARK_AFTER)
    }

    /// Notes that `bytes` more wait for the client.
    pub(super) fn wait_for(&self, bytes: usize) {
        let mut tracked = self.tracked.lock();
        if tracked.snapshot.unread == 0 {
            tracked.snapshot.since = Instant::now();
        }
        tracked.snapshot.unread += bytes;
    }

    /// Notes that the client has taken `bytes`.
    pub(super) fn took(&self, bytes: usize) {
        let mut tracked = self.tracked.lock();
        tracked.snapshot.unread -= bytes;
        tracked.snapshot.since = Instant::now();
    }

    /// Notes that `bytes` will never be taken.
    pub(super) fn give_up(&self, bytes: usize) {
        self.tracked.lock().snapshot.unread -= bytes;
    }

    /// The current state of the connection.
    pub(super) fn snapshot(&self) -> ConnectionSnapshot {
        self.tracked.lock().snapshot
    }
}

/// A request and its answer, until that is sent or given up.
#[derive(Debug)]
pub(super) struct Exchange(Arc<IdleTimeout>);

impl Exchange {
    /// The timeout of its connection.
    pub(super) fn idle_timeout(&self) -> &Arc<IdleTimeout> {
        &self.0
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut tracked = self.0.tracked.lock();
        tracked.open -= 1;
        if tracked.open == 0 {
            tracked.enter(ConnectionState::Idle);
        }
    }
}

/// A connection's two halves, which tell its [`IdleTimeout`] when bytes arrive, and when the system accepts none.
pub(super) struct Watched<T> {
    pub(super) half: T,
    pub(super) idle_timeout: Arc<IdleTimeout>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.half).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.idle_timeout.received();
        }
        read
    }
}

impl<W: AsyncWrite + Unpin> Watched<W> {
    fn note<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.idle_timeout.tracked.lock().is_blocked = poll.is_pending();
        poll
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.half).poll_write(cx, buf);
        self.note(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.half).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.half).poll_write_vectored(cx, bufs);
        self.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.half.is_write_vectored()
    }
}
