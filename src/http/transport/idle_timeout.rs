//! [`IdleTimeout`]: how long a connection waits for its client, and what it waits for.

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

/// After how long without a request a connection of HTTP/1 gives its buffers back. A caller that asks more often than
/// that keeps them.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// A client that has taken nothing of an answer for so long, or sent nothing of a head, is slower than any honest one on
/// a network that works.
pub(super) const STALLED: Duration = Duration::from_secs(1);

/// How long a connection waits for its client.
///
/// Hyper's own limit on the time for a request's head also counts the time in which a kept connection is
/// idle. With a limit of seconds, a prober that comes back after as many seconds would meet the closing every
/// so often, and take a reset for an outage. So the two waits are told apart here, by a request's first byte.
#[derive(Debug)]
pub(super) struct IdleTimeout {
    wait: Wait,
    /// Whether requests come side by side, as in HTTP/2. Bytes do not tell then that a request begins.
    is_multiplexed: AtomicBool,
    tracked: Mutex<Tracked>,
    /// Wakes the connection when it is to close.
    closing: Notify,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// For a request's head.
    pub(super) head: Duration,
    /// For another request, or for a part of an answer to be taken.
    pub(super) idle: Duration,
}

named! {
    /// The state of a connection, by what it waits for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum ConnectionState {
        /// For the rest of a request's head, or on a new connection for all of it.
        ReadingHead = "reading_head",
        /// For its answer to be made, or to be taken.
        Answering = "answering",
        /// For another request.
        Idle = "idle",
    }
}

/// How a connection stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionSnapshot {
    pub(super) state: ConnectionState,
    /// Since when, or when its client last took a part of an answer.
    pub(super) since: Instant,
    /// How many bytes of answers its client has not taken.
    pub(super) unread: usize,
}

#[derive(Debug)]
struct Tracked {
    snapshot: ConnectionSnapshot,
    /// Requests whose answers have not gone out whole.
    open: usize,
    /// Whether the system takes no bytes for now.
    is_blocked: bool,
    /// Whether the connection has buffers that it could give back.
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
    /// That of a connection that was just made.
    pub(super) fn begin(wait: Wait) -> Self {
        let snapshot =
            ConnectionSnapshot { state: ConnectionState::ReadingHead, since: Instant::now(), unread: 0 };
        let tracked = Tracked { snapshot, open: 0, is_blocked: false, has_buffers: false, is_closing: false };
        let is_multiplexed = AtomicBool::new(false);
        Self { wait, is_multiplexed, tracked: Mutex::new(tracked), closing: Notify::new() }
    }

    /// The client speaks HTTP/2, whose connections may be opened long before they are needed.
    pub(super) fn multiplex(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
        self.tracked.lock().enter(ConnectionState::Idle);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.load(Ordering::Relaxed)
    }

    /// A request's head came in whole.
    pub(super) fn ask(self: &Arc<Self>) -> Exchange {
        let mut tracked = self.tracked.lock();
        tracked.open += 1;
        tracked.enter(ConnectionState::Answering);
        Exchange(self.clone())
    }

    /// Bytes came in.
    fn received(&self) {
        let mut tracked = self.tracked.lock();
        if tracked.snapshot.state == ConnectionState::Idle && !self.is_multiplexed() {
            tracked.enter(ConnectionState::ReadingHead);
        }
    }

    /// The connection is to close.
    pub(super) fn close(&self) {
        self.tracked.lock().is_closing = true;
        self.closing.notify_one();
    }

    /// Ends when the client has taken too long, or the connection is to close.
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
            // Neither is of interest by itself: either may have happened.
            let _ = time::timeout_at(look_again, self.closing.notified()).await;
        }
    }

    /// When the client has taken too long, if it is waited for.
    fn ends(&self, tracked: &Tracked) -> Option<Instant> {
        let ConnectionSnapshot { state, since, unread } = tracked.snapshot;
        match state {
            ConnectionState::ReadingHead => Some(since + self.wait.head),
            ConnectionState::Idle => Some(since + self.wait.idle),
            // A client of HTTP/2 answers pings though it takes nothing.
            ConnectionState::Answering => (unread > 0).then_some(since + self.wait.idle),
        }
    }

    /// Whether there is no request whose answer has not gone out.
    pub(super) fn has_none_open(&self) -> bool {
        self.tracked.lock().open == 0
    }

    /// The connection takes buffers, or gives them back.
    pub(super) fn set_buffers(&self, has_buffers: bool) {
        self.tracked.lock().has_buffers = has_buffers;
    }

    /// Whether the connection's buffers are of no use for now: everything was sent and nothing has come since, for a while
    /// or, where others want the memory, for however short.
    pub(super) fn is_parkable(&self, is_crowded: impl FnOnce() -> bool) -> bool {
        let tracked = self.tracked.lock();
        let ConnectionSnapshot { state, since, .. } = tracked.snapshot;
        let is_idle = state == ConnectionState::Idle && !tracked.is_blocked;
        is_idle && (is_crowded() || since.elapsed() >= PARK_AFTER)
    }

    /// So many more bytes wait for the client.
    pub(super) fn wait_for(&self, bytes: usize) {
        let mut tracked = self.tracked.lock();
        if tracked.snapshot.unread == 0 {
            tracked.snapshot.since = Instant::now();
        }
        tracked.snapshot.unread += bytes;
    }

    /// The client has taken so many of them.
    pub(super) fn took(&self, bytes: usize) {
        let mut tracked = self.tracked.lock();
        tracked.snapshot.unread -= bytes;
        tracked.snapshot.since = Instant::now();
    }

    /// So many will never be taken.
    pub(super) fn give_up(&self, bytes: usize) {
        self.tracked.lock().snapshot.unread -= bytes;
    }

    /// How the connection stands.
    pub(super) fn snapshot(&self) -> ConnectionSnapshot {
        self.tracked.lock().snapshot
    }
}

/// A request and its answer, until that went out or was given up.
#[derive(Debug)]
pub(super) struct Exchange(Arc<IdleTimeout>);

impl Exchange {
    /// That of its connection.
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

/// A connection's two halves, which tell its [`IdleTimeout`] when bytes come in, and when the system takes none.
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
