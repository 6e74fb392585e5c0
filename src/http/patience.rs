//! [`Patience`]: how long a connection waits for its client.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{self, Instant};

/// How long a connection waits for its client.
///
/// Hyper's own limit on the time for a request's head also counts the time in which a kept connection is
/// idle. With a limit of seconds, a prober that comes back after as many seconds would meet the closing every
/// so often, and take a reset for an outage. So the two waits are told apart here, by a request's first byte.
#[derive(Debug)]
pub(super) struct Patience {
    for_head: Duration,
    for_request: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    /// Requests whose answers have not gone out whole.
    open: usize,
    /// Whether requests come side by side, as in HTTP/2. Bytes do not tell then that a request begins.
    multiplexed: bool,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// For the rest of a request's head, or on a new connection for all of it.
    ForHead { until: Instant },
    /// For another request.
    ForRequest { until: Instant },
    /// For nothing of its client's: an answer is being made.
    No,
}

impl Patience {
    /// The patience of a connection that was just made: with a client that takes `for_head` to send a
    /// request's head, and takes `for_request` to come back with another, or to take an answer.
    pub(super) fn begin(for_head: Duration, for_request: Duration) -> Self {
        let until = Instant::now() + for_head;
        let state = State { waiting: Waiting::ForHead { until }, open: 0, multiplexed: false };
        Self { for_head, for_request, state: Mutex::new(state) }
    }

    /// The client speaks HTTP/2, whose connections may be opened long before they are needed. Whether it still takes
    /// answers is found out by pings.
    pub(super) fn multiplex(&self) {
        let mut state = self.state();
        state.multiplexed = true;
        state.waiting = self.for_request();
    }

    /// A request's head came in whole.
    pub(super) fn ask(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        state.open += 1;
        state.waiting = Waiting::No;
        Exchange(self.clone())
    }

    /// Bytes came in.
    fn received(&self) {
        let mut state = self.state();
        if let (Waiting::ForRequest { .. }, false) = (state.waiting, state.multiplexed) {
            state.waiting = Waiting::ForHead { until: Instant::now() + self.for_head };
        }
    }

    /// Ends when the client has taken too long.
    pub(super) async fn exhausted(&self) {
        loop {
            // The first byte of a request brings the limit nearer, never nearer than this.
            let look_again = Instant::now() + self.for_head;
            let waiting = self.state().waiting;
            let until = match waiting {
                Waiting::ForHead { until } | Waiting::ForRequest { until } if until <= Instant::now() => {
                    return;
                }
                Waiting::ForHead { until } | Waiting::ForRequest { until } => until.min(look_again),
                Waiting::No => look_again,
            };
            time::sleep_until(until).await;
        }
    }

    /// Whether there is no request whose answer has not gone out.
    pub(super) fn has_none_open(&self) -> bool {
        self.state().open == 0
    }

    fn for_request(&self) -> Waiting {
        Waiting::ForRequest { until: Instant::now() + self.for_request }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request and its answer, until that went out or was given up.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Patience>);

impl Exchange {
    /// There is a part of the answer for the client to take.
    fn answering(&self) {
        let mut state = self.0.state();
        if !state.multiplexed {
            state.waiting = self.0.for_request();
        }
    }

    /// An answer with this body, each part of which the client has as long to take.
    pub(super) fn answer<B>(self, body: B) -> Answer<B> {
        self.answering();
        Answer { body, exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        if state.open == 0 {
            state.waiting = self.0.for_request();
        }
    }
}

/// The body of an answer. It may be one that goes on for as long as somebody watches.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    exchange: Exchange,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.exchange.answering();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The reading half of a connection, which tells its [`Patience`] when bytes come in.
pub(super) struct Watched<R> {
    pub(super) reader: R,
    pub(super) patience: Arc<Patience>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.patience.received();
        }
        read
    }
}
