//! The accept loops, their limits, the drain and the stop.
//!
//! axum's own server has no limit on the time that a request's head may take nor on the number of
//! connections, and one client that sends half a request keeps it from stopping.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::rustls::ServerConfig;
use tracing::{info, warn};

use super::connection::{self, Door};
use super::listener::Acceptor;
use super::{metrics_router, router};
use crate::app::{App, Life};
use crate::checker::SetupError;
use crate::config::Config;

pub use super::listener::{BindError, Listener, Listeners};

/// What is asked of callers, and how long the stop may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections that are open at a time; the next waits in the system's queue until one closes. And as many
    /// requests of HTTP/2 are answered at a time: a connection of it brings many, and each costs memory.
    pub connections: usize,
    /// The same at the listeners of metrics. They have their own, so that a flood elsewhere cannot blind who alerts.
    pub metrics_connections: usize,
    /// The time in which a request's head must come in, from its first byte or from a new connection's
    /// beginning, TLS included.
    pub head: Duration,
    /// The time in which a connection's client must take an answer, and come back with another request.
    pub idle: Duration,
    /// The time that open requests get to finish when the server stops.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            metrics_connections: 64,
            head: Duration::from_secs(5),
            // Longer than the minute that probers and balancers keep a connection, so that they close first.
            idle: Duration::from_secs(75),
            stop: Duration::from_secs(10),
        }
    }
}

/// Serves what `config` says until `shutdown` ends and the open requests with it.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), SetupError> {
    let app = Arc::new(App::new(config)?);
    serve_app(app, listeners, Limits::default(), shutdown).await;
    Ok(())
}

/// Serves `app` until `shutdown` ends.
///
/// Then it drains for as long as is configured: `/readyz` says so, and everything else goes on. After that it stops:
/// nothing is accepted, connections without a request close, and those with one close after their answer, at the
/// latest when `limits.stop` is over.
pub async fn serve_app(
    app: Arc<App>,
    listeners: Listeners,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let scheme = if app.tls().is_some() { "https" } else { "http" };
    let Listeners { main, metrics } = listeners;
    for listener in &main {
        info!("listening on {}", listener.url_with(scheme));
    }
    for listener in &metrics {
        info!("metrics alone on {}", listener.url_with(scheme));
    }
    let tls = || app.tls();
    let life = || app.lead().subscribe();
    let metrics_limits = Limits { connections: limits.metrics_connections, ..limits };
    let serving = async {
        tokio::join!(
            live(&app, limits, shutdown),
            serve_router(router(app.clone()), life(), tls, main, limits),
            serve_router(metrics_router(app.clone()), life(), tls, metrics, metrics_limits),
        );
    };
    // Rounds never end by themselves.
    tokio::select! {
        () = serving => {}
        () = app.make_rounds() => {}
    }
    info!("stopped");
}

/// Leads the app through its life, until nothing is accepted any more.
async fn live(app: &App, limits: Limits, shutdown: impl Future<Output = ()>) {
    app.enter(Life::Ready);
    info!("ready");
    shutdown.await;
    app.enter(Life::Draining);
    let drain = app.setup().drain;
    if !drain.is_zero() {
        info!("draining; requests are taken for {drain:?} more, and /readyz says so");
        time::sleep(drain).await;
    }
    info!("stopping; open requests have {:?} to finish", limits.stop);
    app.enter(Life::Stopping);
}

/// Serves any router until `life` is at its stop and the open requests have finished. `tls` is asked for each
/// connection, since a certificate may be replaced.
pub async fn serve_router(
    router: Router,
    mut life: watch::Receiver<Life>,
    tls: impl Fn() -> Option<Arc<ServerConfig>>,
    listeners: Vec<Listener>,
    limits: Limits,
) {
    let mut acceptor = Acceptor::new(listeners);
    let turns = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let is_room = connections.len() < limits.connections;
        tokio::select! {
            biased;
            () = connection::stopping(&mut life) => break,
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept(), if is_room => {
                let (router, life, turns) = (router.clone(), life.clone(), turns.clone());
                let door = Door { router, life, tls: tls(), limits, turns };
                connections.spawn(connection::serve(accepted, door));
            }
        }
    }
    drop(acceptor);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if time::timeout(limits.stop, all_closed).await.is_err() {
        warn!("{} connections were still open after {:?}", connections.len(), limits.stop);
    }
}
