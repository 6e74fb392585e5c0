//! [`Writers`]: long texts are written a few at a time, so that many at once neither delay short ones nor are all in
//! memory before the first is counted. A verdict has no turn: its caller has a deadline, and callers share its text.

use std::sync::Arc;

use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::places::Places;

/// The number of entries from which a text is long.
const LONG: usize = 32;

/// The number that are written at a time.
const AT_A_TIME: usize = 4;

/// The turns in which long texts are written. Its clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    turns: Arc<Semaphore>,
    /// The places where unread texts are counted; none if requests come over no connection.
    places: Option<Arc<Places>>,
}

/// The turn of a long text, which is kept with the response until that is counted as unread.
#[derive(Debug, Clone)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is dropped")] Arc<OwnedSemaphorePermit>);

impl Writers {
    pub(crate) fn new(places: Option<Arc<Places>>) -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), places }
    }

    /// The response that `write` makes of a verdict on `entries` entries, after a moment if too much is unread.
    pub(crate) async fn write_verdict(&self, entries: usize, write: impl FnOnce() -> Response) -> Response {
        if entries >= LONG {
            self.room().await;
        }
        write()
    }

    /// The response that `write` makes of `entries` entries, when it is its turn.
    pub(crate) async fn write(&self, entries: usize, write: impl FnOnce() -> Response) -> Response {
        if entries < LONG {
            return write();
        }
        let turn = self.turns.clone().acquire_owned().await;
        self.room().await;
        let mut response = write();
        if let Ok(turn) = turn {
            response.extensions_mut().insert(Turn(Arc::new(turn)));
        }
        response
    }

    async fn room(&self) {
        if let Some(places) = &self.places {
            places.unread.room().await;
        }
    }
}
