//! Streams that go on for as long as a client watches, the page's feed and gRPC's `Watch`, without a connection around
//! them: what they say of rounds that are stuck, to whom, and how many there may be.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, Version, header};
use axum::response::Response;
use cache_canary::app::App;
use cache_canary::config::{Access, Config};
use cache_canary::http::access::Caller;
use cache_canary::http::router;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::time::{self, timeout};
use tower::ServiceExt as _;

/// gRPC's messages, each with its flag and length.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

/// The request of a browser that shows the page.
fn feed() -> Request<Body> {
    Request::get("/events").header(header::HOST, "localhost").body(Body::empty()).unwrap()
}

/// A call that watches a service.
fn watch(service: &str) -> Request<Body> {
    let length = u8::try_from(service.len()).unwrap();
    let message = [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat();
    Request::post("/grpc.health.v1.Health/Watch")
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(message.into())
        .unwrap()
}

async fn ask(router: &Router, mut request: Request<Body>) -> Response {
    request.extensions_mut().insert(Caller::Remote("127.0.0.1".parse().unwrap()));
    router.clone().oneshot(request).await.unwrap()
}

/// The next piece of a stream; none when it has ended.
async fn next(stream: &mut Body) -> Option<Frame<Bytes>> {
    stream.frame().await.map(Result::unwrap)
}

async fn next_text(stream: &mut Body) -> Option<String> {
    let data = next(stream).await?.into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_watch_reports_stuck_rounds_although_these_bring_no_news() {
    let interval = Some(Duration::from_secs(10));
    // Nobody makes rounds: that is what a loop that is stuck looks like from outside.
    let app = Arc::new(App::new(&Config { interval, ..Config::default() }).unwrap());
    let mut feed = ask(&router(app.clone()), feed()).await.into_body();
    let mut livez = ask(&router(app.clone()), watch("livez")).await.into_body();
    assert!(!next_text(&mut feed).await.unwrap().contains("stuck"));
    assert_eq!(next(&mut livez).await.unwrap().into_data().unwrap(), SERVING);

    time::advance(Duration::from_secs(31)).await;
    let told = timeout(Duration::from_secs(10), next(&mut livez)).await.expect("no word").unwrap();
    assert_eq!(told.into_data().unwrap(), NOT_SERVING);
    let told = next_text(&mut feed).await.unwrap();
    assert!(told.contains("cache-canary is stuck"), "{told}");
    // Said once, and not at every beat.
    assert_eq!(next_text(&mut feed).await.unwrap(), "event: beat\ndata:\n\n");
}

fn config(allow: &str, details: &str) -> Config {
    let [allow, details] = [allow, details].map(|network| vec![network.parse().unwrap()]);
    Config { access: Access { allow, details, ..Access::default() }, ..super::config(super::closed_port()) }
}

#[tokio::test]
async fn a_lower_access_level_after_a_reload_counts_on_an_open_stream_too() {
    let (everyone, no_caller) = ("127.0.0.0/8", "192.0.2.0/24");
    let app = Arc::new(App::new(&config(everyone, everyone)).unwrap());
    let mut feed = ask(&router(app.clone()), feed()).await.into_body();
    let mut watch = ask(&router(app.clone()), watch("main")).await.into_body();
    assert!(next_text(&mut feed).await.unwrap().contains("in connect"));
    assert_eq!(next(&mut watch).await.unwrap().into_data().unwrap(), NOT_SERVING);

    app.renew(&config(everyone, no_caller)).unwrap();
    let less = next_text(&mut feed).await.unwrap();
    assert!(less.contains("main is down") && !less.contains("in connect"), "{less}");

    app.renew(&config(no_caller, no_caller)).unwrap();
    assert_eq!(next_text(&mut feed).await, None);
    let end = next(&mut watch).await.unwrap().into_trailers().unwrap();
    assert_eq!(end["grpc-status"], "7");
    assert!(next(&mut watch).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_number_of_watches_is_limited_and_each_that_ends_makes_room() {
    let router = router(super::app());
    let ask = async || ask(&router, watch("livez")).await;
    let mut watches = Vec::new();
    for _ in 0..256 {
        watches.push(ask().await);
        assert_eq!(watches.last().unwrap().headers().get("grpc-status"), None);
    }
    let refused = ask().await;
    assert_eq!(
        (refused.status(), &refused.headers()["grpc-status"]),
        (StatusCode::OK, &"8".parse().unwrap())
    );
    watches.pop();
    assert_eq!(ask().await.headers().get("grpc-status"), None);
}
