//! The page's live feed, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `event: page` has the part of the page that changes, whenever a check has ended; `event: beat` is empty, and comes
//! after a while without any other event. A comment would keep the connection open as well, but the page's script
//! cannot see one, and needs the silence to tell that an old result is old.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use futures_util::FutureExt as _;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{self, Instant};

use super::AppState;
use super::access::Subscriber;
use super::format::page::{self, Page};
use super::refusal::Refusal;
use crate::app::{App, Life, Watcher};

/// The most feeds at a time. Each is a connection, and pages that were left open must not take them all from the
/// probes.
const FEEDS: usize = 256;

/// The time without any other event after which a beat is sent. The script gives up after three.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// The least time between two states that one client is sent.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// The checks of one round end one after the other: those that end within this time are sent together.
const TOGETHER: Duration = Duration::from_millis(50);

/// The first line: the milliseconds that a browser waits before it reconnects.
const RETRY: &str = "retry: 2000\n\n";

const BEAT: &str = "event: beat\ndata:\n\n";

/// The route of the feed.
pub(super) fn route() -> MethodRouter<AppState> {
    let places = Arc::new(Semaphore::new(FEEDS));
    get(async move |State(app): State<Arc<App>>, request: Request| {
        let Ok(place) = places.try_acquire_owned() else { return Refusal::Feeds.into_response() };
        let feed = Feed {
            watcher: app.watch(),
            app,
            reader: Subscriber::of(&request),
            sent: None,
            has_notice: false,
            _place: place,
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            // Without it, nginx would buffer events until its buffer is full.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        (headers, Body::from_stream(stream::unfold(feed, Feed::next))).into_response()
    })
}

/// The feed of one client. The next state is made only after the client has taken the last: a slow one gets fewer
/// states, and always the latest.
struct Feed {
    app: Arc<App>,
    watcher: Watcher,
    reader: Subscriber,
    /// The time at which a state was last sent.
    sent: Option<Instant>,
    /// `true` if that state had a notice.
    has_notice: bool,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; none if the sidecar stops, or the caller is denied by now.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let event = match self.sent {
            None => RETRY.to_owned() + &self.page().await?,
            Some(sent) => tokio::select! {
                () = self.watcher.news() => {
                    time::sleep_until((sent + AT_MOST_EVERY).max(Instant::now() + TOGETHER)).await;
                    // Checks that ended meanwhile are sent with it.
                    let _ = self.watcher.news().now_or_never();
                    self.page().await?
                }
                // If rounds are stuck, no news of it arrives.
                () = time::sleep(BEAT_EVERY) => if page::notice(&self.app).is_some() == self.has_notice {
                    BEAT.to_owned()
                } else {
                    self.page().await?
                },
            },
        };
        if self.app.life() == Life::Stopping {
            return None;
        }
        Some((Ok(event.into()), self))
    }

    /// The state, as an event. A cache is asked only if it was never checked.
    async fn page(&mut self) -> Option<String> {
        let setup = self.app.setup();
        let view = self.reader.view(&setup.access)?;
        let report = match self.app.latest(&setup) {
            Some(report) => Arc::new(report),
            None => setup.checker.check(&setup.everything, Instant::now()).await,
        };
        let now = Instant::now();
        self.sent = Some(now);
        let selection = &setup.everything;
        let notice = page::notice(&self.app);
        self.has_notice = notice.is_some();
        Some(event(&Page { setup: &setup, report: &report, selection, view, now, notice }.main()))
    }
}

/// An event with one data line for each line of the text.
fn event(text: &str) -> String {
    let lines = text.lines().map(|line| format!("data: {line}\n"));
    format!("event: page\n{}\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_lines_is_one_event() {
        assert_eq!(event("<main>\n</main>"), "event: page\ndata: <main>\ndata: </main>\n\n");
    }
}
