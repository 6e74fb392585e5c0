//! [`Connection`]: asks and reads answers, within bounds; and [`Link`], which keeps one and dials if it
//! must.

#[cfg(any(test, fuzzing))]
pub(crate) mod scripted;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::dial::{DialTarget, Dialed, Dialer, Stream, io_fault};
use super::foreign::ForeignServer;
use super::{SetError, activity, spelling};
use crate::mutex::Mutex;
use crate::outcome::{Cause, Fault, advice};
use crate::progress::NodeProgress;

/// The most bytes that are read of an answer to one command.
pub(crate) const ANSWER_LIMIT: usize = 64 * 1024;

/// The end of a line, in Redis' protocol and in memcached's.
pub(crate) const LINE_END: &[u8; 2] = b"\r\n";

/// The most bytes that are read at a time.
const PIECE: usize = 4 * 1024;

/// A connection to a node. It holds no buffer while nothing is awaited.
///
/// It is moved often, so it is only a pointer.
pub(crate) struct Connection(Box<Wire>);

struct Wire {
    stream: Box<dyn Stream>,
    /// The address at the other end, unless that is a unix socket.
    peer: Option<IpAddr>,
    /// The time at which it has served its time.
    expires: Instant,
    /// The time at which its host was resolved last.
    resolved: Instant,
    /// `true` if it was kept from an earlier check.
    kept: bool,
    /// Bytes of the answer that were received and not taken yet.
    received: Vec<u8>,
    /// The number of bytes that the answer may still have.
    allowance: usize,
}

/// The reason why there is no answer.
#[derive(Debug)]
pub(crate) enum AnswerError {
    /// The connection was closed before any byte of the answer came.
    Closed(io::Error),
    /// The transport failed.
    Io(io::Error),
    /// The protocol does not allow the answer; the text names the mistake.
    Malformed(&'static str),
    /// The answer is not of this protocol; its first bytes.
    Foreign(&'static str, Vec<u8>),
}

impl AnswerError {
    /// The same error in a further part of an answer: a close there cuts the answer short.
    pub(crate) fn midway(self) -> Self {
        match self {
            Self::Closed(_) => Self::Malformed(CLOSED_MIDWAY),
            Self::Io(_) | Self::Malformed(_) | Self::Foreign(..) => self,
        }
    }

    /// The fault that the error means, in the phase that was entered last.
    pub(crate) fn fault(&self, progress: &NodeProgress) -> Fault {
        match self {
            Self::Closed(error) if error.kind() == io::ErrorKind::UnexpectedEof => progress
                .fault(Cause::Unreachable, "the server closed the connection without an answer")
                .with_advice(advice::CLOSED_WITHOUT_ANSWER),
            Self::Closed(error) => {
                let fault = io_fault(progress, error);
                // A fault of TLS has a hint of its own.
                let unknown = fault.cause == Cause::Unreachable && !fault.is_own;
                if unknown { fault.with_advice(advice::CLOSED_WITHOUT_ANSWER) } else { fault }
            }
            Self::Io(error) => io_fault(progress, error),
            Self::Malformed(what) => progress.fault(Cause::Protocol, what),
            Self::Foreign(protocol, first) => foreign_fault(progress, protocol, first),
        }
    }

    /// The error for bytes that are not of this protocol.
    pub(crate) fn foreign(protocol: &'static str, first: &[u8]) -> Self {
        /// More than is shown.
        const MOST: usize = 256;
        Self::Foreign(protocol, first[..first.len().min(MOST)].to_vec())
    }
}

/// The fault of a server that does not speak this protocol, with the first line of its bytes and its kind if that is known.
fn foreign_fault(progress: &NodeProgress, protocol: &str, first: &[u8]) -> Fault {
    let end = find_line_end(first).unwrap_or(first.len());
    let server = ForeignServer::of(first);
    let received = progress.value(&first[..end]);
    let received =
        received.map_or_else(String::new, |line| format!(": received `{}`", spelling::shortened(&line)));
    let kind = server.map_or_else(String::new, |server| format!(", as from {}", server.name));
    let said = format!("the answer is not {protocol}{received}{kind}");
    progress.fault(Cause::Protocol, &said).with_advice(server.map(|server| server.hint))
}

impl Connection {
    /// A connection that serves for `reconnect_every`, or a little less.
    fn new(Dialed { stream, peer }: Dialed, reconnect_every: Duration) -> Self {
        let now = Instant::now();
        let expires = now + service(reconnect_every);
        let (kept, received, allowance) = (false, Vec::new(), 0);
        Self(Box::new(Wire { stream, peer, expires, resolved: now, kept, received, allowance }))
    }

    /// Sends a command. If the other side has closed the connection, the read of the answer finds that out: a
    /// server that turns a client away gives its reason before it closes, and that can still be read.
    pub(crate) async fn send(&mut self, command: &[u8]) -> Result<(), AnswerError> {
        self.send_for(command, ANSWER_LIMIT).await
    }

    /// The same, for an answer that may have `limit` bytes.
    pub(crate) async fn send_for(&mut self, command: &[u8], limit: usize) -> Result<(), AnswerError> {
        self.0.allowance = limit;
        let sent = async {
            self.0.stream.write_all(command).await?;
            self.0.stream.flush().await
        };
        match sent.await {
            Err(error) if !is_close(&error) => Err(AnswerError::Io(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes the next line of an answer, without its line end.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, AnswerError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.find_line_end(0, &mut searched) {
                return Ok(self.take_ended(end));
            }
            self.receive().await?;
        }
    }

    /// Takes the next `len` bytes of an answer and the line end behind them.
    pub(crate) async fn data(&mut self, len: usize) -> Result<Vec<u8>, AnswerError> {
        self.data_end(0, len).await?;
        Ok(self.take_ended(len))
    }

    /// The position of the line end behind `begin`, if it was received. The bytes before `searched` are not looked at again.
    pub(crate) fn find_line_end(&self, begin: usize, searched: &mut usize) -> Option<usize> {
        let received = self.0.received.get(*searched..)?;
        let end = find_line_end(received).map(|end| *searched + end);
        *searched = self.0.received.len().saturating_sub(1).max(begin);
        end
    }

    /// Waits for the `len` bytes at `begin` in the received bytes, and returns the end of the line end behind them.
    pub(crate) async fn data_end(&mut self, begin: usize, len: usize) -> Result<usize, AnswerError> {
        let end = begin.saturating_add(len);
        self.await_bytes(end.saturating_add(LINE_END.len())).await?;
        if self.0.received[end..].starts_with(LINE_END) {
            return Ok(end + LINE_END.len());
        }
        Err(AnswerError::Malformed("the answer's data is longer than its declared length"))
    }

    /// The bytes of an answer that were received and not taken yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.0.received
    }

    /// An error if more has come than the answers that were taken.
    pub(crate) fn expect_no_more(&self) -> Result<(), AnswerError> {
        if self.0.received.is_empty() { Ok(()) } else { Err(AnswerError::Malformed(MORE)) }
    }

    /// Drops the first `len` bytes that were received.
    pub(crate) fn consume(&mut self, len: usize) {
        self.0.received.drain(..len);
    }

    /// The next byte of an answer, which is not taken yet.
    pub(crate) async fn peek(&mut self) -> Result<u8, AnswerError> {
        loop {
            match self.0.received.first() {
                Some(&byte) => return Ok(byte),
                None => self.receive().await?,
            }
        }
    }

    /// Takes the next `len` bytes of an answer that has begun.
    pub(crate) async fn bytes(&mut self, len: usize) -> Result<Vec<u8>, AnswerError> {
        self.await_bytes(len).await?;
        Ok(self.0.received.drain(..len).collect())
    }

    /// Waits until the next `len` bytes of an answer that has begun were received.
    async fn await_bytes(&mut self, len: usize) -> Result<(), AnswerError> {
        if len > self.0.received.len() + self.0.allowance {
            return Err(AnswerError::Malformed(TOO_LONG));
        }
        while self.0.received.len() < len {
            self.receive().await.map_err(AnswerError::midway)?;
        }
        Ok(())
    }

    /// Takes the first `len` bytes that were received, and drops the line end behind them.
    pub(crate) fn take_ended(&mut self, len: usize) -> Vec<u8> {
        self.take_between(0, len)
    }

    /// Takes the received bytes from `begin` to `end`, and drops those before them and the line end behind them.
    pub(crate) fn take_between(&mut self, begin: usize, end: usize) -> Vec<u8> {
        let received = &mut self.0.received;
        let rest = received.split_off(end + LINE_END.len());
        let mut taken = std::mem::replace(received, rest);
        taken.truncate(end);
        taken.drain(..begin);
        taken
    }

    /// Waits for more bytes.
    pub(crate) async fn receive(&mut self) -> Result<(), AnswerError> {
        if self.0.allowance == 0 {
            return Err(AnswerError::Malformed(TOO_LONG));
        }
        let begun = !self.0.received.is_empty();
        let closed = match poll_fn(|cx| self.poll_receive(cx)).await {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(length) => {
                self.0.allowance -= length;
                return Ok(());
            }
            Err(error) if is_close(&error) => error,
            Err(error) => return Err(AnswerError::Io(error)),
        };
        Err(if begun { AnswerError::Malformed(CLOSED_MIDWAY) } else { AnswerError::Closed(closed) })
    }

    /// Reads into a buffer on the stack, so thousands of connections that wait for an answer hold no buffer.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [MaybeUninit::uninit(); PIECE];
        let most = self.0.allowance.min(bytes.len());
        let mut buffer = ReadBuf::uninit(&mut bytes[..most]);
        ready!(Pin::new(&mut self.0.stream).poll_read(cx, &mut buffer))?;
        self.0.received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// `true` if nothing has come since the last answer: neither a close nor unrequested bytes. If so, `waker` is
    /// woken when something comes, unless an answer is requested before.
    fn is_quiet(&mut self, waker: &Waker) -> bool {
        let (mut byte, stream) = ([0], &mut self.0.stream);
        let mut buffer = ReadBuf::new(&mut byte);
        let look = poll_fn(|_| {
            Poll::Ready(Pin::new(&mut *stream).poll_read(&mut Context::from_waker(waker), &mut buffer))
        });
        // If a task's budget is spent, tokio would report a closed connection as quiet.
        let looked = unconstrained(look).now_or_never();
        // A byte that was taken is kept for the next caller.
        self.0.received.extend_from_slice(buffer.filled());
        self.0.received.is_empty() && looked.is_none_or(|looked| looked.is_pending())
    }
}

const MORE: &str = "the server sent more data than was requested";
const TOO_LONG: &str = "the answer is longer than this command allows";
const CLOSED_MIDWAY: &str = "the server closed the connection in the middle of an answer";

/// The position of the first line end.
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(LINE_END[0], bytes).find(|&end| bytes[end..].starts_with(LINE_END))
}

/// `true` if the error means that the other side has closed the connection.
fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof
    )
}

/// The way to one node: the kept connection, and the target for a new one.
pub(crate) struct Link {
    target: DialTarget,
    dialer: Arc<Dialer>,
    kept: Mutex<Option<Connection>>,
    /// The connection that has served its time, held until its successor was answered.
    expired: Mutex<Option<Connection>>,
    /// `true` if the last kept connection was dropped as closed, or as one to an address that its host no longer has.
    lost: AtomicBool,
}

impl Link {
    pub(crate) fn new(target: DialTarget, dialer: &Arc<Dialer>) -> Self {
        Self {
            target,
            dialer: dialer.clone(),
            kept: Mutex::default(),
            expired: Mutex::default(),
            lost: AtomicBool::default(),
        }
    }

    /// The connection to begin a check with: the kept one, or else the one that `dial` makes.
    ///
    /// A connection that has served its time is held until the new one was answered: otherwise, on a server at its
    /// connection limit, the sidecar would take the place that it had just left and report up, and at the next dial
    /// down again. The new connection alone proves nothing: the server's operating system accepts it before the
    /// server does.
    pub(crate) async fn begin<D: Dialing>(
        &self,
        progress: &NodeProgress,
        dial: impl FnOnce() -> D,
    ) -> Result<Connection, Fault> {
        // To dial is rare and needs much more room than the rest, so it is not a part of every check's
        // future.
        let dial = || Box::pin(dial());
        if let Some(tls) = &self.target.tls {
            tls.record_dates(progress);
        }
        let Some(mut kept) = self.take() else { return dial().await };
        if !kept.is_quiet(Waker::noop()) {
            self.lost.store(true, Ordering::Relaxed);
            return dial().await;
        }
        let (settings, now) = (self.dialer.settings(), Instant::now());
        if now >= kept.0.expires {
            *self.expired.lock() = Some(kept);
            return dial().await;
        }
        if let Some(peer) = kept.0.peer
            && now - kept.0.resolved >= settings.dns_recheck
        {
            if !Box::pin(self.dialer.leads_to(&self.target, peer, progress)).await? {
                self.lost.store(true, Ordering::Relaxed);
                return dial().await;
            }
            kept.0.resolved = Instant::now();
        }
        kept.0.kept = true;
        Ok(kept)
    }

    /// The connection to go on with, after a check has begun: the kept one as it is, because a close in the
    /// meantime is a fault of this check. If an overlapping check has taken it, it is the one that `dial` makes.
    pub(crate) async fn resume<D: Dialing>(&self, dial: impl FnOnce() -> D) -> Result<Connection, Fault> {
        match self.take() {
            Some(kept) => Ok(kept),
            None => Box::pin(dial()).await,
        }
    }

    /// The kept connection as it is.
    pub(crate) fn take(&self) -> Option<Connection> {
        self.kept.lock().take()
    }

    /// `true` if nothing has come over the kept connection since its last answer, or if a check uses it, which then finds
    /// that out itself. If something comes, it is counted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.kept.lock().as_mut().is_none_or(|kept| kept.is_quiet(activity::waker()))
    }

    /// `true` if the last kept connection was dropped as closed or as one to an old address. This is reported once.
    pub(crate) fn was_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// The deadline of a check.
    pub(crate) fn timeout(&self) -> Duration {
        self.dialer.settings().timeout
    }

    /// Makes a new connection, which is not ready for commands yet.
    pub(crate) async fn dial(&self, progress: &NodeProgress) -> Result<Connection, Fault> {
        let dialed = self.dialer.dial(&self.target, progress).await;
        progress.step(|| {
            let tls = if self.target.tls.is_some() { " with TLS" } else { "" };
            let saw = match &dialed {
                Ok(Dialed { peer: Some(peer), .. }) => format!("one to {peer}"),
                Ok(Dialed { peer: None, .. }) => "one".to_owned(),
                Err(fault) => fault.to_string(),
            };
            let address = self.target.address.to_string();
            (
                format!("connect to {}{tls}", progress.redaction().host(&address)),
                "a connection".to_owned(),
                saw,
            )
        });
        dialed.map(|dialed| Connection::new(dialed, self.dialer.settings().reconnect_every))
    }

    /// Keeps a connection whose last answer was taken whole.
    pub(crate) fn keep(&self, mut connection: Connection) -> Result<(), AnswerError> {
        connection.expect_no_more()?;
        connection.0.received = Vec::new();
        *self.expired.lock() = None;
        let replaced = self.kept.lock().replace(connection);
        if replaced.is_some() {
            // It is an overlapping check's. A caller that relies on its quiet would hear nothing of the new one.
            activity::note();
        }
        Ok(())
    }
}

/// The time for which a connection serves: at random between four fifths of `reconnect_every` and all of it. Otherwise
/// connections that were opened together would always be replaced together.
fn service(reconnect_every: Duration) -> Duration {
    reconnect_every.mul_f64(1.0 - fastrand::f64() / 5.0)
}

/// A dial that is under way. Its result is a connection that is ready for commands.
pub(crate) trait Dialing: Future<Output = Result<Connection, Fault>> + Send {}

impl<F: Future<Output = Result<Connection, Fault>> + Send> Dialing for F {}

/// The error of a write: on a kept connection that was closed before any byte of the answer came, the check
/// may start over once.
pub(crate) fn set_error(connection: &Connection, error: &AnswerError, progress: &NodeProgress) -> SetError {
    match error {
        AnswerError::Closed(_) if connection.0.kept => SetError::KeptConnectionClosed,
        AnswerError::Closed(_)
        | AnswerError::Io(_)
        | AnswerError::Malformed(_)
        | AnswerError::Foreign(..) => SetError::Fault(error.fault(progress)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::config::{Address, Config};

    #[tokio::test]
    async fn a_quiet_connection_is_checked_again_when_another_replaces_it() {
        let dialer = Arc::new(Dialer::new(&Config::default(), Arc::default()));
        let target = dialer.target(&Address::Unix("/nonexistent".into()), None, None).unwrap();
        let link = Link::new(target, &dialer);
        let connection = || {
            let (stream, server) = duplex(64);
            let opened = Dialed { stream: Box::new(stream), peer: None };
            (Connection::new(opened, Duration::from_secs(5)), server)
        };
        let ((one, _server), (other, server)) = (connection(), connection());
        link.keep(one).unwrap();
        assert!(link.is_quiet());
        let known = activity::count();
        link.keep(other).unwrap();
        assert_ne!(activity::count(), known, "the other one is not known to be quiet");
        assert!(link.is_quiet());
        let known = activity::count();
        drop(server);
        assert_ne!(activity::count(), known, "it was closed");
        assert!(!link.is_quiet());
    }

    #[test]
    fn a_connection_is_used_for_at_most_the_promised_time_and_not_as_long_as_every_other() {
        let promised = Duration::from_secs(5);
        let served: Vec<_> = (0..500).map(|_| service(promised).as_secs_f64()).collect();
        assert!(served.iter().all(|served| (4.0..=5.0).contains(served)), "{served:?}");
        let sooner = served.iter().filter(|&&served| served < 4.5).count();
        // Half of them is expected. The probability of a deviation beyond this is below one in a million.
        assert!((190..=310).contains(&sooner), "{sooner}");
        assert_eq!(service(Duration::ZERO), Duration::ZERO, "each check dials");
    }
}
