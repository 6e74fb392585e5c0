//! The program's listeners with a router each, and their life: ready, drain, stop.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tower::ServiceExt as _;
use tracing::info;

use super::transport::places::Traffic;
use super::transport::{self, Answering, Greeting};
use super::{access, answering_beside};
use crate::app::{App, Life};
use crate::checker::SetupError;
use crate::config::Config;
use crate::heap::{self, ProgramPages};

pub use super::transport::limits::ServerLimits;
pub use super::transport::listener::{BindError, Listener, Listeners};

/// The time between the end of a connection and the release of its memory: soon, but once for all that end together.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);

/// The least time between two releases of the program's own pages: a request that takes them again needs a millisecond more.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// Serves `config` until `shutdown` ends and the open requests with it.
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
/// Then it drains for the configured time: `/readyz` reports it, and everything else goes on. After that it stops: it
/// accepts no connection, closes those without a request, and closes the others after their response, at the latest
/// when `limits.stop` is over.
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
        info!("serving only probes on {}", listener.url_with(scheme));
    }
    for listener in &metrics {
        info!("serving only metrics on {}", listener.url_with(scheme));
    }
    let program = ProgramPages::mapped();
    let own_limits = ServerLimits { connections: limits.own_connections, ..limits };
    let traffic = Traffic::new([limits, own_limits, own_limits]);
    let life = || app.lead().subscribe();
    let greet = |caller| {
        let setup = app.setup();
        Greeting { tls: setup.tls.clone(), is_excluded: access::excludes(&setup.access, caller) }
    };
    let [main_places, probe_places, metrics_places] = traffic.places();
    let [main_answering, probe_answering, metrics_answering] = answering_beside(&app, &traffic);
    let serving = async {
        tokio::join!(
            live(&app, limits, &program, shutdown),
            transport::serve(main_answering, life(), greet, main, main_places),
            transport::serve(probe_answering, life(), greet, probes, probe_places),
            transport::serve(metrics_answering, life(), greet, metrics, metrics_places),
        );
    };
    // Neither rounds nor this ever end by themselves.
    tokio::select! {
        () = serving => {}
        () = app.make_rounds() => {}
        () = give_memory_back(&traffic, &program) => {}
    }
    info!("stopped");
}

/// Gives memory back to the system after connections have ended: theirs, and the program's own pages, of which the next
/// requests take the half again.
async fn give_memory_back(traffic: &Traffic, program: &ProgramPages) {
    let mut forgotten = Instant::now();
    traffic.released().await;
    loop {
        time::sleep(GIVE_BACK_EVERY).await;
        heap::give_back();
        let mut next = pin!(traffic.released());
        if time::timeout_at(forgotten + FORGET_EVERY, &mut next).await.is_err() {
            program.forget();
            forgotten = Instant::now();
            next.await;
        }
    }
}

/// Leads the app through its life, until the server accepts nothing any more.
async fn live(app: &App, limits: ServerLimits, program: &ProgramPages, shutdown: impl Future<Output = ()>) {
    app.enter(Life::Ready);
    info!("ready");
    // The start alone has used a megabyte of it.
    program.forget();
    shutdown.await;
    app.enter(Life::Draining);
    let drain = app.setup().drain;
    if !drain.is_zero() {
        info!("draining: requests are accepted for {drain:?} more, /readyz answers 503");
        time::sleep(drain).await;
    }
    info!("stopping: open requests have {:?} to finish", limits.stop);
    app.enter(Life::Stopping);
}

/// Serves any router by the default limits until `life` is at its stop and the open requests have finished. It excludes
/// no caller, and speaks no TLS.
pub async fn serve_plain(router: Router, life: watch::Receiver<Life>, listener: Listener) {
    let traffic = Traffic::new([ServerLimits::default(); 3]);
    let [places, ..] = traffic.places();
    let answering: Answering = Arc::new(move |mut request, peer| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        Box::pin(router.clone().oneshot(*request).map(|Ok(response)| response))
    });
    transport::serve(answering, life, |_| Greeting::default(), vec![listener], places).await;
}
