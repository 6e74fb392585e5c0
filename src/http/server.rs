//! The accept loop, its limits, and the stop.
//!
//! axum's own server has no limit on the time that a request's head may take nor on the number of
//! connections, and one client that sends half a request keeps it from stopping.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;
use tower::Service as _;
use tracing::{debug, info, warn};

use super::access::Caller;
use super::listener::{Accepted, Listeners};
use super::patience::{Patience, Watched};
use super::router;
use crate::app::{App, Life};
use crate::checker::SetupError;
use crate::config::Config;

pub use super::listener::{BindError, Listener};

/// The most bytes of a request's head, and of what is read ahead of it.
const MAX_HEAD: usize = 16 * 1024;

/// What is asked of callers, and how long the stop may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections that are open at a time; the next waits in the system's queue until one closes.
    pub connections: usize,
    /// The time in which a request's head must come in, from its first byte or from a new connection's
    /// beginning.
    pub head: Duration,
    /// The time in which a connection's client must take an answer, and come back with another request.
    pub idle: Duration,
    /// The time that open requests get to finish when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(5),
            // Longer than the minute that probers and balancers keep a connection, so that they close first.
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves what `config` says until `shutdown` ends and the open requests with it.
pub async fn serve(
    config: &Config,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), SetupError> {
    let app = Arc::new(App::new(config)?);
    serve_app(app, listeners, Limits::default(), shutdown).await;
    Ok(())
}

/// Serves `app` until `shutdown` ends. Then it is draining: nothing is accepted, connections without a
/// request close, and those with one close after their answer, at the latest when `limits.drain` is over.
pub async fn serve_app(
    app: Arc<App>,
    listeners: Vec<Listener>,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    for listener in &listeners {
        info!("listening on {}", listener.url());
    }
    let serving = serve_router(router(app.clone()), app.lead(), listeners, limits, shutdown);
    // Rounds never end by themselves.
    tokio::select! {
        () = serving => {}
        () = app.make_rounds() => {}
    }
}

/// The same for any router, whose `life` it leads.
pub(crate) async fn serve_router(
    router: Router,
    life: &watch::Sender<Life>,
    listeners: Vec<Listener>,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut listeners = Listeners::new(listeners);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    life.send_replace(Life::Ready);
    info!("ready");
    loop {
        let is_room = connections.len() < limits.connections;
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listeners.accept(), if is_room => {
                connections.spawn(connection(accepted, router.clone(), life.subscribe(), limits));
            }
        }
    }
    drop(listeners);
    life.send_replace(Life::Draining);
    info!("stopping; open requests have {:?} to finish", limits.drain);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if time::timeout(limits.drain, all_closed).await.is_err() {
        warn!("{} connections were still open after {:?}", connections.len(), limits.drain);
    }
    info!("stopped");
}

async fn connection(accepted: Accepted, router: Router, life: watch::Receiver<Life>, limits: Limits) {
    let caller = accepted.caller();
    match accepted {
        Accepted::Tcp(stream, _) => {
            // An answer is one small segment, and the next must not wait until it was acknowledged.
            if let Err(error) = stream.set_nodelay(true) {
                debug!("connection of {caller:?}: {error}");
            }
            let (reader, writer) = stream.into_split();
            converse(reader, writer, caller, router, life, limits).await;
        }
        Accepted::Unix(stream) => {
            let (reader, writer) = stream.into_split();
            converse(reader, writer, caller, router, life, limits).await;
        }
    }
}

/// Answers the requests of one connection, until its client closes it or takes too long, or the server
/// drains.
async fn converse(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    caller: Caller,
    router: Router,
    mut life: watch::Receiver<Life>,
    limits: Limits,
) {
    let patience = Arc::new(Patience::begin(limits.head, limits.idle));
    let service = service_fn(|mut request: Request<hyper::body::Incoming>| {
        patience.asked();
        request.extensions_mut().insert(caller);
        // An answer without end takes the client's measure itself.
        request.extensions_mut().insert(patience.clone());
        let answer = router.clone().call(request.map(Body::new));
        let patience = patience.clone();
        async move {
            let answer = answer.await;
            patience.answered();
            answer
        }
    });
    let io = tokio::io::join(Watched { reader, patience: patience.clone() }, writer);
    let mut http = http1::Builder::new();
    // A client that has closed its side after its request, as `nc` does, still waits for the answer.
    http.max_buf_size(MAX_HEAD).half_close(true);
    let mut conversation = pin!(http.serve_connection(TokioIo::new(io), service));
    let until_closed = async {
        let draining = life.wait_for(|life| *life == Life::Draining);
        tokio::select! {
            // First what has come in, so that no request is dropped that arrived before the stop.
            biased;
            result = conversation.as_mut() => return result,
            _ = draining => conversation.as_mut().graceful_shutdown(),
        }
        conversation.await
    };
    tokio::select! {
        // First what has come in, so that a busy machine does not blame its clients.
        biased;
        result = until_closed => {
            if let Err(error) = result {
                debug!("connection of {caller:?}: {error}");
            }
        }
        () = patience.exhausted() => debug!("connection of {caller:?}: closed, its client took too long"),
    }
}
