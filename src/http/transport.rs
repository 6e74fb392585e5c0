//! Connections, under any router: the accept loop, their places, the timeouts for clients, and the answers on them.
//!
//! axum's own server has no limit on the time that a request's head may take nor on the number of connections, and one
//! client that sends half a request keeps it from stopping.
//!
//! A connection has a place (`places`) from its acceptance (`listener`) to its end (`connection`). Its first bytes
//! tell the version of HTTP (`preface`) or another protocol (`foreign`), `body` reads the body of a request, `idle_timeout`
//! bounds each wait for its client, and `answer` hands the text out in pieces, which count as unread (`unread`) until
//! they are written to it. Requests of HTTP/2 count too, and `paced` stops reading while there are too many.

mod answer;
pub(super) mod body;
pub(super) mod caller;
mod connection;
mod foreign;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
pub(super) mod idle_timeout;
pub(super) mod limits;
pub(super) mod listener;
mod paced;
pub(super) mod places;
mod preface;
mod refused_handshake;
mod unread;
pub(super) mod writing;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time;
use tokio_rustls::rustls::ServerConfig;
use tracing::warn;

use crate::app::Life;
use caller::Caller;
use connection::ConnectionContext;
use listener::{Acceptor, Listener};
use places::Places;

/// The most connections that are accepted in a row. Between two rows everything else has its turn: a check needs several, and
/// each would last as long as the first steps, such as TLS handshakes, of all connections that were accepted together.
const IN_A_ROW: usize = 16;

/// The settings for a new connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting {
    /// TLS, if it is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// `true` if its peer is denied, so that it has a place only until it gets the refusal.
    pub(super) is_excluded: bool,
}

/// The function that answers a request over a connection of a caller: a guard, with a router behind it.
pub(super) type Answering =
    Arc<dyn Fn(Box<Request>, Option<Caller>) -> BoxFuture<'static, Response> + Send + Sync>;

/// Answers requests until `life` is at its stop and the open requests have finished. Each connection is greeted as it
/// comes, since the configuration may be reloaded.
pub(super) async fn serve(
    answering: Answering,
    mut life: watch::Receiver<Life>,
    greet: impl Fn(Caller) -> Greeting,
    listeners: Vec<Listener>,
    places: Arc<Places>,
) {
    let mut acceptor = Acceptor::new(listeners);
    let turns = Arc::new(Semaphore::new(places.limits().connections));
    let mut connections = JoinSet::new();
    let mut accepted_in_row = 0;
    loop {
        tokio::select! {
            biased;
            () = connection::stopping(&mut life) => break,
            Some(_) = connections.join_next() => {}
            // A connection that was closed to make room has its file until it ends, which is at its next turn.
            accepted = acceptor.accept(), if connections.len() <= places.limits().connections => {
                let Greeting { tls, is_excluded } = greet(accepted.caller());
                if let Some(place) = places.admit(accepted.caller(), is_excluded) {
                    let (answering, life, turns) = (answering.clone(), life.clone(), turns.clone());
                    connections.spawn(connection::serve(accepted, ConnectionContext { answering, life, tls, place, turns }));
                }
                accepted_in_row += 1;
                if accepted_in_row == IN_A_ROW {
                    accepted_in_row = 0;
                    yield_now().await;
                }
            }
        }
    }
    drop(acceptor);
    let stop = places.limits().stop;
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if time::timeout(stop, all_closed).await.is_err() {
        warn!("{} connections were still open after {stop:?}", connections.len());
    }
}
