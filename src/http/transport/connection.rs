//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tracing::{debug, warn};

use super::Answering;
use super::answer::AnswerBody;
use super::body::{self, Arrived};
use super::caller::Caller;
use super::foreign::{Foreign, INVALID};
use super::idle_timeout::{Exchange, IdleTimeout, Watched};
use super::listener::Accepted;
use super::paced::Paced;
use super::places::{ConnectionPlace, Places};
use super::preface::{Peeked, Version};
use super::refused_handshake::refused_handshake;
use super::writing::Turn;
use crate::app::Life;
use crate::http::access::WrongToken;
use crate::http::host::InvalidHost;
use crate::mutex::Mutex;
use crate::telemetry::CALLERS;

/// The most bytes of a request's head, and of the data read ahead of it.
const MAX_HEAD: usize = 16 * 1024;

/// The same in HTTP/2, where each connection may have many at once: as much as gRPC allows by default.
const MAX_HEAD_OF_MANY: u32 = 8 * 1024;

/// The most concurrent requests on a connection of HTTP/2.
const MAX_STREAMS: u32 = 32;

/// The most bytes of a body that a client may send ahead, per request: no request of ours has a longer one.
const WINDOW: u32 = 16 * 1024;

/// The same for all requests of a connection together: the least that there is (RFC 9113, section 6.9.2).
const CONNECTION_WINDOW: u32 = 65_535;

/// The most bytes of an answer that wait in the records of TLS. They count as taken by the client, and would be 64 KiB.
const MAX_RECORDS: usize = 8 * 1024;

/// The most bytes of an answer that wait for a client of HTTP/2, per request.
const MAX_UNSENT: usize = 64 * 1024;

/// The interval of pings to a client of HTTP/2, and the time in which it must answer one: a watcher whose machine is
/// gone would be kept for ever.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// The time in which an idle client of HTTP/2 may close its connection when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// The time after which a caller that leaves without a byte was not one that only connects: HAProxy's agent-check waits for a
/// line of the server for as long as its interval, 2 s unless configured.
const AGENT_WAITS: Duration = Duration::from_secs(1);

/// The name of a wrong token among what is logged once a minute.
const WRONG_TOKEN: &str = "a wrong bearer token";

/// The context in which a connection is served.
pub(super) struct ConnectionContext {
    /// The function that answers.
    pub(super) answering: Answering,
    /// The life of the server, which ends the connection.
    pub(super) life: watch::Receiver<Life>,
    /// TLS, if it is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// The connection's own place.
    pub(super) place: ConnectionPlace,
    /// The turns of concurrent requests, which are many more than there are connections.
    pub(super) turns: Arc<Semaphore>,
}

/// The error that ended a connection, if its client did not end it.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Http(hyper::Error),
}

impl ConnectionError {
    /// The reason, if one side has refused the other's TLS.
    fn refused_handshake(&self) -> Option<String> {
        match self {
            Self::Tls(error) => refused_handshake(error),
            _ => None,
        }
    }
}

/// The two directions of a connection. Boxed, since each further type would compile HTTP once more.
struct Opened {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// `true` if the listener requires TLS and the client began without it.
    lacks_tls: bool,
}

type ConnectionReader = Peeked<Watched<Box<dyn AsyncRead + Send + Unpin>>>;
type ConnectionWriter = Watched<Box<dyn AsyncWrite + Send + Unpin>>;

/// Answers the requests of one connection, until its client closes it or takes too long, its place is needed, or the
/// server stops.
pub(super) async fn serve(accepted: Accepted, context: ConnectionContext) {
    let caller = accepted.caller();
    let idle_timeout = context.place.idle_timeout.clone();
    tokio::select! {
        // Received data comes first, so that a busy machine does not blame its clients.
        biased;
        result = converse(accepted, context) => {
            if let Err(error) = result {
                if let (Some(why), Caller::Remote(address)) = (error.refused_handshake(), caller) {
                    warn!(target: CALLERS, "refused a connection of {address}: {why}");
                } else {
                    debug!(target: CALLERS, "connection of {caller:?}: {error}");
                }
            }
        }
        () = idle_timeout.exhausted() => {
            debug!(target: CALLERS, "connection of {caller:?}: closed, because the client was too slow");
        }
    }
}

async fn converse(accepted: Accepted, context: ConnectionContext) -> Result<(), ConnectionError> {
    let ConnectionContext { answering, mut life, tls, turns, place } = context;
    let caller = accepted.caller();
    let requests = Requests {
        answering,
        caller,
        life: life.clone(),
        idle_timeout: place.idle_timeout.clone(),
        places: place.places.clone(),
        turns,
    };
    let idle_timeout = &place.idle_timeout;
    let is_https = tls.is_some() && matches!(accepted, Accepted::Tcp(..));
    let protocol = if is_https { "HTTPS" } else { "HTTP" };
    let opened = tokio::select! {
        // Received data comes first, so that a request from before the stop is not dropped.
        biased;
        opened = Box::pin(open(accepted, tls)) => opened?,
        () = stopping(&mut life) => return Ok(()),
    };
    let mut reader = Peeked::new(&[], Watched { half: opened.reader, idle_timeout: idle_timeout.clone() });
    let mut writer = Watched { half: opened.writer, idle_timeout: idle_timeout.clone() };
    let began = Instant::now();
    let mut is_first = true;
    let foreign = loop {
        let version = tokio::select! {
            biased;
            version = reader.version(MAX_HEAD) => version,
            () = idle_timeout.exhausted() => {
                if idle_timeout.is_late() {
                    break Foreign::Late { is_silent: reader.is_empty() };
                }
                return Ok(());
            }
            () = stopping(&mut life) => {
                if reader.is_empty() {
                    return Ok(());
                }
                // A request whose head has begun is answered.
                reader.version(MAX_HEAD).await
            }
        };
        if reader.is_empty() && is_first && began.elapsed() >= AGENT_WAITS {
            let foreign = Foreign::Late { is_silent: true };
            place.places.tell_foreign(caller, foreign.name(), &foreign.said(protocol));
        }
        // HAProxy's agent-check ends with a reset.
        let version = version.map_err(ConnectionError::Io)?;
        if reader.is_empty() {
            return Ok(());
        }
        is_first = false;
        match version {
            Version::Http1 if opened.lacks_tls => break Foreign::PlainHttp1,
            Version::Http2 if opened.lacks_tls => break Foreign::PlainHttp2,
            Version::Http1 => match Box::pin(converse_http1(reader, writer, &requests, &mut life)).await {
                Ok(Some(parked)) => (reader, writer) = parked,
                Ok(None) => return Ok(()),
                Err(error) => {
                    if let ConnectionError::Http(invalid) = &error
                        && invalid.is_parse()
                    {
                        let said = format!("sent {INVALID} ({invalid})");
                        place.places.tell_foreign(caller, INVALID, &said);
                    }
                    return Err(error);
                }
            },
            Version::Http2 if place.multiplex(caller) => {
                return Box::pin(converse_http2(reader, writer, requests, life)).await;
            }
            Version::Http2 => break Foreign::NoRoom,
            Version::Foreign(foreign) => break foreign,
        }
    };
    place.places.tell_foreign(caller, foreign.name(), &foreign.said(protocol));
    let first = reader.take_first();
    Box::pin(foreign.refuse(&first, protocol, reader, writer)).await;
    Ok(())
}

/// Answers requests of HTTP/1 until the connection ends, or is idle: then it is given back without its buffers, which
/// were 17 kB.
async fn converse_http1(
    reader: ConnectionReader,
    writer: ConnectionWriter,
    requests: &Requests,
    life: &mut watch::Receiver<Life>,
) -> Result<Option<(ConnectionReader, ConnectionWriter)>, ConnectionError> {
    let mut http = http1::Builder::new();
    // A client that has closed its side after its request, as `nc` does, still waits for the answer.
    http.max_buf_size(MAX_HEAD).half_close(true);
    let service = service_fn(|request| requests.answer(requests.arrive(request)));
    let Requests { idle_timeout, places, .. } = requests;
    let reader = Paced::new(reader, idle_timeout, &places.unread);
    let mut conversation = http.serve_connection(TokioIo::new(tokio::io::join(reader, writer)), service);
    idle_timeout.set_buffers(true);
    let until_parked = poll_fn(|cx| match Pin::new(&mut conversation).poll(cx) {
        Poll::Ready(closed) => Poll::Ready(Some(closed)),
        Poll::Pending if idle_timeout.is_parkable(|| places.is_crowded()) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let closed = tokio::select! {
        // Received data comes first, so that a request from before the stop is not dropped.
        biased;
        closed = until_parked => closed,
        () = stopping(life) => {
            Pin::new(&mut conversation).graceful_shutdown();
            Some((&mut conversation).await)
        }
    };
    if let Some(closed) = closed {
        return closed.map(|()| None).map_err(ConnectionError::Http);
    }
    idle_timeout.set_buffers(false);
    places.release();
    let http1::Parts { io, read_buf, .. } = conversation.into_parts();
    let (reader, writer) = io.into_inner().into_inner();
    Ok(Some((Peeked::new(&read_buf, reader.into_reader().into_reader()), writer)))
}

async fn converse_http2(
    reader: ConnectionReader,
    writer: ConnectionWriter,
    requests: Requests,
    life: watch::Receiver<Life>,
) -> Result<(), ConnectionError> {
    let mut http = http2::Builder::new(Streams::default());
    http.timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_OF_MANY)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_UNSENT);
    let requests = Arc::new(requests);
    let service = service_fn(|request| {
        let arrival = requests.arrive(request);
        let requests = requests.clone();
        async move { requests.answer(arrival).await }
    });
    let reader = Paced::new(reader, &requests.idle_timeout, &requests.places.unread);
    let conversation = pin!(http.serve_connection(TokioIo::new(tokio::io::join(reader, writer)), service));
    let left = left_alone(life.clone(), &requests.idle_timeout);
    tokio::select! {
        biased;
        closed = until_closed(conversation, life, http2::Connection::graceful_shutdown) => closed.map_err(ConnectionError::Http),
        () = left => Ok(()),
    }
}

/// The tasks of a connection of HTTP/2, one for each request. They end with the connection: one that waits for the rest of a
/// body does not see that, and would be kept for as long as it may wait.
#[derive(Debug, Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async {
            task.await;
        });
    }
}

/// The service behind the requests of one connection.
struct Requests {
    answering: Answering,
    caller: Caller,
    life: watch::Receiver<Life>,
    idle_timeout: Arc<IdleTimeout>,
    places: Arc<Places>,
    turns: Arc<Semaphore>,
}

/// A request whose head is read.
struct Arrival {
    /// The request without its body. It is boxed, since it is passed on several times.
    request: Box<Request<Body>>,
    /// Its body, if that may have a byte.
    body: Option<Incoming>,
    exchange: Exchange,
    arrived: Arrived,
}

impl Requests {
    /// Notes that a request's head is read.
    fn arrive(&self, request: Request<Incoming>) -> Arrival {
        let exchange = self.idle_timeout.ask();
        let arrived = Arrived::new(&request, &self.idle_timeout, &self.places);
        let (head, body) = request.into_parts();
        let body = (!body.is_end_stream()).then_some(body);
        Arrival { request: Box::new(Request::from_parts(head, Body::empty())), body, exchange, arrived }
    }

    /// The answer to one request, which waits for its turn in HTTP/2.
    async fn answer(&self, arrival: Arrival) -> Result<Response<AnswerBody>, Infallible> {
        let Arrival { mut request, body, exchange, mut arrived } = arrival;
        if let Some(body) = body {
            *request.body_mut() = body::taken(&request, body).await;
        }
        arrived.complete();
        let is_multiplexed = self.idle_timeout.is_multiplexed();
        // The turn ends with the making of the answer, not with its transfer: a stream would keep others waiting.
        let _turn = if is_multiplexed { self.turns.acquire().await.ok() } else { None };
        let answer = if self.places.is_overdrawn(&self.idle_timeout) {
            self.places.refuse_answer(self.caller);
            let refusal = "read the earlier responses on this connection first\n";
            (StatusCode::SERVICE_UNAVAILABLE, refusal).into_response()
        } else {
            (self.answering)(request, Some(self.caller)).await
        };
        let (mut head, body) = answer.into_parts();
        if let Some(invalid) = head.extensions.remove::<InvalidHost>() {
            let said = invalid.said();
            self.places.tell_foreign(self.caller, said, &format!("was refused: {}", said.trim_end()));
        }
        if let Some(wrong) = head.extensions.remove::<WrongToken>() {
            self.places.tell_foreign(self.caller, WRONG_TOKEN, &wrong.said(self.caller));
        }
        let body = AnswerBody::new(body, exchange, &self.places);
        // The text is counted by now, so the next long one may be written.
        head.extensions.remove::<Turn>();
        // A conversation that began after the stop has missed its notice.
        if !is_multiplexed && *self.life.borrow() == Life::Stopping {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(Response::from_parts(head, body))
    }
}

/// The two directions of a connection, after the TLS handshake if there is one.
async fn open(accepted: Accepted, tls: Option<Arc<ServerConfig>>) -> Result<Opened, ConnectionError> {
    match accepted {
        Accepted::Tcp(stream, _) => {
            // An answer is one small segment, and the next must not wait for its acknowledgment.
            stream.set_nodelay(true).map_err(ConnectionError::Io)?;
            let lacks_tls = tls.is_some() && !begins_tls(&stream).await.map_err(ConnectionError::Io)?;
            let Some(tls) = tls.filter(|_| !lacks_tls) else {
                let (reader, writer) = stream.into_split();
                return Ok(Opened { reader: Box::new(reader), writer: Box::new(writer), lacks_tls });
            };
            let handshake = TlsAcceptor::from(tls)
                .accept_with(stream, |connection| connection.set_buffer_limit(Some(MAX_RECORDS)));
            let stream = Box::pin(handshake).await.map_err(ConnectionError::Tls)?;
            let (reader, writer) = tokio::io::split(stream);
            Ok(Opened { reader: Box::new(reader), writer: Box::new(writer), lacks_tls })
        }
        Accepted::Unix(stream) => {
            let (reader, writer) = stream.into_split();
            Ok(Opened { reader: Box::new(reader), writer: Box::new(writer), lacks_tls: false })
        }
    }
}

/// `true` if the client begins a TLS handshake (RFC 8446, section 5.1), or closes.
async fn begins_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 0 || first[0] == 22)
}

/// The end of a conversation; if the server stops, `finish` is called first.
async fn until_closed<C: Future>(
    mut conversation: Pin<&mut C>,
    mut life: watch::Receiver<Life>,
    finish: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    tokio::select! {
        // Received data comes first, so that a request from before the stop is not dropped.
        biased;
        result = conversation.as_mut() => return result,
        () = stopping(&mut life) => finish(conversation.as_mut()),
    }
    conversation.await
}

/// Ends once the server stops and no request is open. A client of HTTP/2 is asked to close the connection first; one
/// that is gone would keep the server for as long as an open request may.
async fn left_alone(mut life: watch::Receiver<Life>, idle_timeout: &IdleTimeout) {
    stopping(&mut life).await;
    loop {
        time::sleep(FAREWELL).await;
        if idle_timeout.has_none_open() {
            return;
        }
    }
}

/// Ends when the server stops.
pub(super) async fn stopping(life: &mut watch::Receiver<Life>) {
    // If the sender is gone, the server has stopped.
    let _ = life.wait_for(|life| *life == Life::Stopping).await;
}
