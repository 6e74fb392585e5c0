//! [`Patience`]: how long a connection waits for its client.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

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
    waiting: Mutex<Waiting>,
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
        Self { for_head, for_request, waiting: Mutex::new(Waiting::ForHead { until }) }
    }

    /// A request's head came in whole.
    pub(super) fn asked(&self) {
        self.set(Waiting::No);
    }

    /// The answer is there.
    pub(super) fn answered(&self) {
        self.set(Waiting::ForRequest { until: Instant::now() + self.for_request });
    }

    /// Bytes came in.
    fn received(&self) {
        if let Waiting::ForRequest { .. } = self.waiting() {
            self.set(Waiting::ForHead { until: Instant::now() + self.for_head });
        }
    }

    /// Ends when the client has taken too long.
    pub(super) async fn exhausted(&self) {
        loop {
            // The first byte of a request brings the limit nearer, never nearer than this.
            let look_again = Instant::now() + self.for_head;
            let until = match self.waiting() {
                Waiting::ForHead { until } | Waiting::ForRequest { until } if until <= Instant::now() => {
                    return;
                }
                Waiting::ForHead { until } | Waiting::ForRequest { until } => until.min(look_again),
                Waiting::No => look_again,
            };
            time::sleep_until(until).await;
        }
    }

    fn waiting(&self) -> Waiting {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, waiting: Waiting) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
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
