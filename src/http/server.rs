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

use super::access;
use super::caller::Caller;
use super::connection::{self, ConnectionContext};
use super::listener::Acceptor;
use super::places::{Places, Traffic};
use super::routers_beside;
use crate::app::{App, Life};
use crate::checker::SetupError;
use crate::config::Config;
use crate::heap;

pub use super::limits::ServerLimits;
pub use super::listener::{BindError, Listener, Listeners};

/// How long after a connection has ended memory is given back: soon, but once for all that end together.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);

/// Serves what `config` says until `shutdown` ends and the open requests with it.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), SetupError> {
    let app = Arc::new(App::new(config)?);
    serve_app(app, listeners, ServerLimits::of(config), shutdown).await;
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
    limits: ServerLimits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let scheme = if app.tls().is_some() { "https" } else { "http" };
    let Listeners { main, probes, metrics } = listeners;
    for listener in &main {
        info!("listening on {}", listener.url_with(scheme));
    }
    for listener in &probes {
        info!("probes alone on {}", listener.url_with(scheme));
    }
    for listener in &metrics {
        info!("metrics alone on {}", listener.url_with(scheme));
    }
    let own_limits = ServerLimits { connections: limits.own_connections, ..limits };
    let traffic = Traffic::new([limits, own_limits, own_limits]);
    let life = || app.lead().subscribe();
    let greet = |caller| {
        let setup = app.setup();
        Greeting { tls: setup.tls.clone(), is_excluded: access::excludes(&setup.access, caller) }
    };
    let [main_places, probe_places, metrics_places] = traffic.places();
    let [main_router, probe_router, metrics_router] = routers_beside(&app, &traffic);
    let serving = async {
        tokio::join!(
            live(&app, limits, shutdown),
            serve_router(main_router, life(), greet, main, main_places),
            serve_router(probe_router, life(), greet, probes, probe_places),
            serve_router(metrics_router, life(), greet, metrics, metrics_places),
        );
    };
    // Neither rounds nor this ever end by themselves.
    tokio::select! {
        () = serving => {}
        () = app.make_rounds() => {}
        () = give_memory_back(&traffic) => {}
    }
    info!("stopped");
}

/// Gives what connections leave behind back to the system, again and again.
async fn give_memory_back(traffic: &Traffic) {
    loop {
        traffic.released().await;
        time::sleep(GIVE_BACK_EVERY).await;
        heap::give_back();
    }
}

/// Leads the app through its life, until nothing is accepted any more.
async fn live(app: &App, limits: ServerLimits, shutdown: impl Future<Output = ()>) {
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

/// How a connection is greeted.
#[derive(Debug, Clone, Default)]
struct Greeting {
    /// How TLS is spoken, if it is.
    tls: Option<Arc<ServerConfig>>,
    /// Whether its peer may ask nothing, so that it has a place only until it is told so.
    is_excluded: bool,
}

/// Serves any router by the default limits until `life` is at its stop and the open requests have finished. No caller is
/// excluded, and no TLS is spoken.
pub async fn serve_plain(router: Router, life: watch::Receiver<Life>, listener: Listener) {
    let traffic = Traffic::new([ServerLimits::default(); 3]);
    let [places, ..] = traffic.places();
    serve_router(router, life, |_| Greeting::default(), vec![listener], places).await;
}

/// Serves any router until `life` is at its stop and the open requests have finished. Each connection is greeted as it
/// comes, since the configuration may be read anew.
async fn serve_router(
    router: Router,
    mut life: watch::Receiver<Life>,
    greet: impl Fn(Caller) -> Greeting,
    listeners: Vec<Listener>,
    places: Arc<Places>,
) {
    let mut acceptor = Acceptor::new(listeners);
    let turns = Arc::new(Semaphore::new(places.limits().connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = connection::stopping(&mut life) => break,
            Some(_) = connections.join_next() => {}
            accepted = acceptor.accept() => {
                let Greeting { tls, is_excluded } = greet(accepted.caller());
                if let Some(place) = places.admit(accepted.caller(), is_excluded) {
                    let (router, life, turns) = (router.clone(), life.clone(), turns.clone());
                    connections.spawn(connection::serve(accepted, ConnectionContext { router, life, tls, place, turns }));
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
