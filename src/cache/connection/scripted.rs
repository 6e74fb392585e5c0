//! [`ScriptedServer`]: a server in memory, whose answers come in pieces of any size.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use super::{Connection, DialTarget, Dialed, Dialer};
use crate::cache::Cache;
use crate::canary::{CanaryVerdict, Series, Unset};
use crate::config::{Address, Config};
use crate::outcome::Role;
use crate::progress::Progress;

/// The line between two answers of a conversation.
const NEXT: &[u8] = b"---\n";

/// The pieces in which answers come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// As large as the reader takes.
    Whole,
    /// A byte at a time.
    Bytes,
    /// At random places, which this seed decides.
    Random(u8),
}

/// The end of a connection, once every answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    /// Nothing more comes.
    Open,
    /// The last answer is repeated forever.
    Endless,
}

/// A server that answers each write by a function. It says nothing before.
pub(crate) struct ScriptedServer<A> {
    answer: A,
    end: End,
    random: fastrand::Rng,
    cut: Cut,
    last: Vec<u8>,
    unread: VecDeque<u8>,
    /// `true` if the next read has to wait for a turn.
    is_late: bool,
    read: Arc<AtomicUsize>,
}

impl<A: FnMut(&[u8]) -> Vec<u8> + Send + Sync + Unpin + 'static> ScriptedServer<A> {
    pub(crate) fn new(cut: Cut, end: End, answer: A) -> Self {
        let random = fastrand::Rng::with_seed(if let Cut::Random(seed) = cut { seed.into() } else { 0 });
        let (last, unread, read) = (Vec::new(), VecDeque::new(), Arc::default());
        Self { answer, end, random, cut, last, unread, is_late: true, read }
    }

    /// A new connection to it, and the number of bytes that were read of it.
    pub(crate) fn connect(self) -> (Connection, Arc<AtomicUsize>) {
        let read = self.read.clone();
        let dialed = Dialed { stream: Box::new(self), peer: None };
        (Connection::new(dialed, Duration::from_hours(1)), read)
    }
}

/// The other side of a connection, which sends these bytes and closes it.
pub(crate) fn speaking(bytes: &[u8], cut: Cut) -> impl AsyncRead + Unpin {
    let mut speaking = ScriptedServer::new(cut, End::Closed, |_: &[u8]| Vec::new());
    speaking.unread.extend(bytes);
    speaking
}

/// A server that answers each command with the next part of a conversation, which `adapt` makes fit.
pub(crate) fn conversation(
    answers: &[u8],
    cut: Cut,
    adapt: fn(&[u8], Vec<u8>) -> Vec<u8>,
) -> ScriptedServer<impl FnMut(&[u8]) -> Vec<u8> + Send + Sync + Unpin + 'static> {
    let answers = answers.to_vec();
    let mut taken = 0;
    ScriptedServer::new(cut, End::Closed, move |command| {
        let rest = answers.get(taken..).unwrap_or_default();
        let end = rest.windows(NEXT.len()).position(|window| window == NEXT).unwrap_or(rest.len());
        taken += end + NEXT.len();
        adapt(command, rest[..end].to_vec())
    })
}

/// A target that no one listens at, and its dialer.
pub(crate) fn link_target() -> (DialTarget, Arc<Dialer>) {
    let dialer = Arc::new(Dialer::new(&Config::default(), Arc::default()));
    let address = Address::Unix("/nonexistent".into());
    // Without TLS there is nothing that could fail.
    let target = dialer.target(&address, None, None).unwrap_or_else(|_| unreachable!());
    (target, dialer)
}

impl Connection {
    /// A connection to a server that answers everything with these bytes and then closes it, or goes on with them forever.
    pub(crate) fn scripted(answer: &[u8], cut: Cut, end: End) -> (Self, Arc<AtomicUsize>) {
        let answer = answer.to_vec();
        ScriptedServer::new(cut, end, move |_: &[u8]| answer.clone()).connect()
    }
}

thread_local! {
    /// Timers need one, though nothing here waits for them.
    static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_all().build().ok();
}

/// The result of a future that waits for nothing but a scripted server; `None` if it takes more than `most` turns.
pub(crate) fn within<F: Future>(most: usize, future: F) -> Option<F::Output> {
    RUNTIME.with(|runtime| {
        let _entered = runtime.as_ref().map(Runtime::enter);
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        (0..most).find_map(|_| match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
}

/// Wants the canaries of a series back from a cache that is healthy.
pub(crate) fn expect_round_trips(cache: &impl Cache, series: &Series) {
    for _ in 0..3 {
        let canary = series.next();
        let node = Progress::begin().node(&"node".into(), Role::Server);
        let round = async {
            cache.set(&canary, &node).await.ok()?;
            cache.get(canary.key(), Unset::new(), &node).await.ok()
        };
        let read = within(4096, round).flatten();
        assert_eq!(read.map(|read| canary.judge(&read)), Some(CanaryVerdict::Intact));
        series.settle(&canary);
    }
}

impl<A: Unpin> AsyncRead for ScriptedServer<A> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let server = &mut *self;
        if std::mem::replace(&mut server.is_late, false) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if server.unread.is_empty() && server.end == End::Endless {
            server.unread.extend(&server.last);
        }
        if server.unread.is_empty() && server.end == End::Open {
            return Poll::Pending;
        }
        let most = buf.remaining().min(server.unread.len());
        let piece = match server.cut {
            Cut::Whole => most,
            Cut::Bytes => most.min(1),
            Cut::Random(_) if most == 0 => 0,
            Cut::Random(_) => {
                let longest = 1 << server.random.u8(..8);
                server.random.usize(1..=most.min(longest))
            }
        };
        server.is_late = matches!(server.cut, Cut::Random(_)) && server.random.bool();
        for byte in server.unread.drain(..piece) {
            buf.put_slice(&[byte]);
        }
        server.read.fetch_add(piece, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<A: FnMut(&[u8]) -> Vec<u8> + Unpin> AsyncWrite for ScriptedServer<A> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.last = (self.answer)(bytes);
        let server = &mut *self;
        server.unread.extend(&server.last);
        server.is_late = false;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
