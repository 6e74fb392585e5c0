//! The switches over HTTP: `GET /` lists them, `POST /{name}/{switch}` throws one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tower::Service as _;

use super::switchboard::{NotThrown, Switchboard};

/// How long a connection may last: a switch is one short request.
const LIFE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Control {
    switchboard: Arc<Switchboard>,
    /// Where what is thrown is told.
    thrown: UnboundedSender<String>,
}

/// Serves the switches, and tells `thrown` of each that is thrown.
pub(super) async fn serve(
    listener: TcpListener,
    switchboard: Arc<Switchboard>,
    thrown: UnboundedSender<String>,
) -> Infallible {
    let router = Router::new()
        .route("/", get(list))
        .route("/{name}/{switch}", post(throw))
        .fallback(unknown)
        .method_not_allowed_fallback(not_posted)
        .with_state(Control { switchboard, thrown });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = router.clone();
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    router.clone().call(request.map(Body::new))
                });
                let connection =
                    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
                connections.spawn(tokio::time::timeout(LIFE, connection));
            }
            // Such as too many open files, which would be said again at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn list(State(control): State<Control>) -> String {
    format!("{}\n", control.switchboard.list())
}

async fn throw(State(control): State<Control>, Path((name, switch)): Path<(String, String)>) -> Response {
    match control.switchboard.throw(&name, &switch) {
        Ok(line) => {
            let answer = format!("{line}\n");
            // Where nobody prints it any more, the demo is ending.
            let _ = control.thrown.send(line);
            answer.into_response()
        }
        Err(NotThrown::Unknown(_)) => unknown(State(control)).await,
        Err(error @ NotThrown::Io(_)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn unknown(State(control): State<Control>) -> Response {
    let text = format!("There is no such switch.\n\n{}\n", control.switchboard.list());
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn not_posted(State(control): State<Control>) -> Response {
    let text = format!("A switch is thrown by POST.\n\n{}\n", control.switchboard.list());
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
