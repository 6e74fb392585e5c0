//! [`AnswerBody`]: the body of an answer, in pieces that count as taken once they are written to the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody as _};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use super::idle_timeout::{Exchange, IdleTimeout};
use super::places::Places;
use super::unread::HeldText;

/// The most bytes of a text that are handed on at a time.
const PIECE: usize = 16 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct AnswerBody {
    source: BodySource,
    exchange: Exchange,
    places: Arc<Places>,
}

#[derive(Debug)]
enum BodySource {
    /// The rest of a text. On a connection of HTTP/1 a short one is not counted: it has one at a time.
    Text { rest: Bytes, held: Option<Arc<HeldText>> },
    /// A stream without a known end, or an answer with trailers. Its first frame may be here already.
    Stream { first: Option<Frame<Bytes>>, body: Body },
}

/// A part of an answer on its way to the client. It is dropped after it is written.
struct Piece {
    bytes: Bytes,
    idle_timeout: Arc<IdleTimeout>,
    _held: Arc<HeldText>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.idle_timeout.took(self.bytes.len());
    }
}

impl AnswerBody {
    /// The body `body`, in answer to `exchange`.
    pub(super) fn new(mut body: Body, exchange: Exchange, places: &Arc<Places>) -> Self {
        let places = places.clone();
        if body.size_hint().exact().is_none() {
            return Self { source: BodySource::Stream { first: None, body }, exchange, places };
        }
        // A body of known length is in memory, so its frame is there now. One that is not is a stream.
        let first = body.frame().now_or_never().flatten().and_then(Result::ok);
        if !body.is_end_stream() {
            return Self { source: BodySource::Stream { first, body }, exchange, places };
        }
        let text = first.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        let is_counted = text.len() > PIECE || exchange.idle_timeout().is_multiplexed();
        let held = is_counted.then(|| {
            exchange.idle_timeout().wait_for(text.len());
            Arc::new(places.hold(&text))
        });
        Self { source: BodySource::Text { rest: text, held }, exchange, places }
    }

    fn piece(&self, bytes: Bytes, held: &Arc<HeldText>) -> Frame<Bytes> {
        let idle_timeout = self.exchange.idle_timeout().clone();
        Frame::data(Bytes::from_owner(Piece { bytes, idle_timeout, _held: held.clone() }))
    }

    /// The next frame of a stream.
    fn stream_frame(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) => {
                self.exchange.idle_timeout().wait_for(data.len());
                let held = Arc::new(self.places.hold(&data));
                self.piece(data, &held)
            }
            Err(trailers) => trailers,
        }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match &mut self.source {
            BodySource::Text { rest, .. } if rest.is_empty() => None,
            BodySource::Text { rest, held: None } => Some(Frame::data(std::mem::take(rest))),
            BodySource::Text { rest, held: Some(held) } => {
                let (bytes, held) = (rest.split_to(rest.len().min(PIECE)), held.clone());
                Some(self.piece(bytes, &held))
            }
            // A body that fails has ended: clients get no error as data.
            BodySource::Stream { first, body } => {
                let frame = match first.take() {
                    Some(first) => Some(first),
                    None => ready!(Pin::new(body).poll_frame(cx)).and_then(Result::ok),
                };
                frame.map(|frame| self.stream_frame(frame))
            }
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            BodySource::Text { rest, .. } => rest.is_empty(),
            BodySource::Stream { first, body } => first.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Text { rest, .. } => SizeHint::with_exact(rest.len() as u64),
            BodySource::Stream { first: None, body } => body.size_hint(),
            BodySource::Stream { first: Some(_), .. } => SizeHint::default(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let BodySource::Text { rest, held: Some(_) } = &self.source {
            self.exchange.idle_timeout().give_up(rest.len());
        }
    }
}
