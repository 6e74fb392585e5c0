//! The switches over HTTP: `GET /` lists them, `POST /{name}/{switch}` throws one.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::switchboard::{NotThrown, Switchboard};
use crate::app::Life;
use crate::http::server::{Listener, serve_plain};

#[derive(Debug, Clone)]
struct Control {
    switchboard: Arc<Switchboard>,
    /// The channel for messages about thrown switches.
    thrown: UnboundedSender<String>,
}

/// Serves the switches for as long as it is polled, and sends a message to `thrown` for each that is thrown.
pub(super) async fn serve(
    listener: Listener,
    switchboard: Arc<Switchboard>,
    thrown: UnboundedSender<String>,
) {
    let router = Router::new()
        .route("/", get(list))
        .route("/{name}/{switch}", post(throw))
        .fallback(unknown)
        .method_not_allowed_fallback(not_posted)
        .with_state(Control { switchboard, thrown });
    let life = watch::Sender::new(Life::Ready);
    serve_plain(router, life.subscribe(), listener).await;
}

async fn list(State(control): State<Control>) -> String {
    format!("{}\n", control.switchboard.list())
}

async fn throw(State(control): State<Control>, Path((name, switch)): Path<(String, String)>) -> Response {
    match control.switchboard.throw(&name, &switch) {
        Ok(line) => {
            let answer = format!("{line}\n");
            // If the receiver is gone, the demo is ending.
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
    let text = format!("No such switch.\n\n{}\n", control.switchboard.list());
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn not_posted(State(control): State<Control>) -> Response {
    let text = format!("Use POST to set a switch.\n\n{}\n", control.switchboard.list());
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
