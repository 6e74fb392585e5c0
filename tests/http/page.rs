//! The page and its feed without a browser: what is in them, for whom, and how much of it there may be.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use cache_canary::app::{App, Life};
use cache_canary::config::{Access, Config, Listen};
use cache_canary::http::access::{AccessLevel, Caller};
use cache_canary::http::server::{Listener, ServerLimits, serve_app};
use cache_canary::http::{page, router};
use cache_canary::outcome::{Cause, Fault, Phase};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{self, Instant};
use tower::ServiceExt as _;

use super::support::night;

/// The page of a night of these aliases.
fn body(aliases: &[&str], view: AccessLevel) -> String {
    let app = night::app(aliases);
    let report = night::pass(&app);
    let setup = app.setup();
    page::body(&setup, &report, &setup.everything, view, Instant::now())
}

/// A page without its tags: what a reader reads.
fn words(page: &str) -> String {
    let text: String =
        page.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    text.replace("&quot;", "\"")
}

/// Nodes: the address and the cause of each.
type Nodes<'a> = &'a [(&'a str, Option<Cause>)];

/// The page of these aliases, each with these nodes.
fn page_of(aliases: &[(&str, Nodes<'_>)], view: AccessLevel) -> String {
    let app = night::app(&aliases.iter().map(|(alias, _)| *alias).collect::<Vec<_>>());
    let mut report = night::pass(&app);
    for (outcome, (_, nodes)) in report.outcomes.iter_mut().zip(aliases) {
        let outcome = Arc::make_mut(outcome);
        outcome.extra = None;
        outcome.nodes = nodes.iter().map(|(node, cause)| night::node(node, *cause)).collect();
    }
    let setup = app.setup();
    page::body(&setup, &report, &setup.everything, view, Instant::now())
}

/// How many details of a page are checks with all that there is to say of them.
fn cards(body: &str) -> usize {
    body.matches("<details id=\"check-").count()
}

async fn get(app: &Arc<App>, uri: &str) -> Response {
    let mut request =
        Request::builder().uri(uri).header(header::HOST, "localhost").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Caller::Local);
    router(app.clone()).oneshot(request).await.unwrap()
}

/// The next piece of a feed; none when it has ended.
async fn next(feed: &mut Body) -> Option<String> {
    let frame = feed.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn faults_come_first_with_their_reason_and_start() {
    let body = body(&night::ALIASES, AccessLevel::Details);
    let place = |what: &str| body.find(what).unwrap_or_else(|| panic!("no `{what}` in: {body}"));
    let order = [
        "<h1>main is down, and 1 more is degraded</h1>",
        "id=\"check-main\"",
        "<strong>timed_out</strong> (1 of 2 nodes)",
        Cause::TimedOut.hint(),
        "down since <time",
        "main-1.<wbr>cache.<wbr><span class=\"whole\">internal:6379",
        "write 749\u{a0}ms, where it failed",
        "main-2.<wbr>cache.<wbr><span class=\"whole\">internal:6379",
        "id=\"check-pages\"",
        "93% of 4 GiB used (degraded at 90% or more)",
        "hit ratio",
        "id=\"check-sessions\"",
        "forwards to main",
        "Last changes",
    ];
    let places: Vec<_> = order.into_iter().map(place).collect();
    assert!(places.is_sorted(), "{places:?}");
    // Four minutes of it, one before, and the quarter of an hour in which nobody asked.
    assert!(body.contains("Last hour: down in 7 min, up in 39 min, no check in 14 min."), "{body}");
}

#[tokio::test]
async fn ten_caches_are_shown_in_full_and_a_thousand_only_as_far_as_a_phone_can_bear() {
    let ten = body(&night::ALIASES, AccessLevel::Details);
    assert!(ten.len() < 60_000, "{} bytes", ten.len());
    assert_eq!(cards(&ten), 10);

    let names: Vec<_> = (0..1000).map(|number| format!("cache-{number}")).collect();
    let thousand = body(&names.iter().map(String::as_str).collect::<Vec<_>>(), AccessLevel::Details);
    assert!(thousand.len() < 60_000, "{} bytes", thousand.len());
    assert_eq!(cards(&thousand), 12);
    assert!(thousand.contains("<h1>cache-0 is down, and 1 more is degraded</h1>"));
    assert!(thousand.contains("988 more, all up"));
    assert!(thousand.contains("908 more are not listed, 0 of them not up."));
}

#[tokio::test]
async fn a_caller_without_details_sees_only_statuses_causes_and_hints() {
    let [all, verdicts] =
        [AccessLevel::Details, AccessLevel::Verdicts].map(|view| body(&night::ALIASES, view));
    for secret in [
        "<wbr>cache.<wbr>",
        "<ul class=\"legend",
        "class=\"bar\"",
        "\u{a0}ms",
        "93%",
        "tls.verify",
        "Last changes",
        "/transitions",
    ] {
        assert!(all.contains(secret), "the test is of nothing: {secret}");
        assert!(!verdicts.contains(secret), "{secret} in: {verdicts}");
    }
    for told in
        ["main is down", "timed_out", Cause::TimedOut.hint(), "forwards to main", "Last hour: down in 7 min"]
    {
        assert!(verdicts.contains(told), "no `{told}` in: {verdicts}");
    }
}

#[tokio::test]
async fn a_reader_without_details_is_told_what_is_hidden_and_why() {
    let [all, verdicts] =
        [AccessLevel::Details, AccessLevel::Verdicts].map(|view| words(&body(&night::ALIASES, view)));
    let hidden = "Addresses, server texts and past changes are hidden from you: they are shown to callers in access.details.";
    assert!(verdicts.contains(hidden), "{verdicts}");
    assert!(!all.contains("hidden from you"), "{all}");
}

#[tokio::test]
async fn one_server_behind_several_aliases_is_one_fault_with_their_names_under_it() {
    const REDIS: Nodes<'_> = &[("redis-0.redis.prod.svc:6379", Some(Cause::Refused))];
    let other: Nodes<'_> = &[("redis-1.redis.prod.svc:6379", Some(Cause::Refused))];
    let up: Nodes<'_> = &[("redis-2.redis.prod.svc:6379", None)];
    let aliases = [("main", REDIS), ("pages", up), ("sessions", REDIS), ("carts", other), ("limits", REDIS)];
    let page = page_of(&aliases, AccessLevel::Details);
    let ids: Vec<_> =
        page.split("<details id=\"check-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids, ["main", "carts", "pages"]);
    let fault = page.split("<details id=\"check-").nth(1).unwrap();
    let fault = words(&format!("<{fault}"));
    assert!(
        fault.contains("redis-0.redis.prod.svc:6379down")
            && fault.contains("Affects main, sessions and limits"),
        "{fault}"
    );
    for (what, times) in
        [("refused in connect", 1), (Cause::Refused.hint(), 1), ("Last hour: ", 3), ("last seen up", 1)]
    {
        assert_eq!(fault.matches(what).count(), times, "{what} in {fault}");
    }
    // That two aliases have one server is an address, too.
    assert_eq!(cards(&page_of(&aliases, AccessLevel::Verdicts)), 5);

    // Of a thousand aliases of one server, a few are told in full.
    let names: Vec<_> = (0..1000).map(|number| format!("cache-{number}")).collect();
    let thousand =
        page_of(&names.iter().map(|name| (name.as_str(), REDIS)).collect::<Vec<_>>(), AccessLevel::Details);
    assert_eq!(cards(&thousand), 1);
    assert!(thousand.len() < 60_000, "{} bytes", thousand.len());
    assert!(words(&thousand).contains("cache-6, cache-7, ") && words(&thousand).contains(" and 954 more."));
}

#[tokio::test]
async fn equal_nodes_are_one_row_that_opens_and_others_are_rows_of_their_own() {
    let (refused, timed_out) = (Some(Cause::Refused), Some(Cause::TimedOut));
    let nodes: Nodes<'_> = &[
        ("mc-1:11211", None),
        ("mc-2:11211", refused),
        ("mc-3:11211", None),
        ("mc-4:11211", timed_out),
        ("mc-5:11211", refused),
        ("mc-6:11211", None),
    ];
    let page = page_of(&[("main", nodes)], AccessLevel::Details);
    let order = [
        "<details class=\"fold\" id=\"nodes-main-server-refused-connect\" open>",
        "<b>2 servers</b>",
        "mc-2:11211",
        "mc-5:11211",
        "<b>mc-4:11211</b>",
        "<details class=\"fold\" id=\"nodes-main-server-up\">",
        "<b>3 servers</b>",
        "mc-1:11211",
        "mc-6:11211",
    ];
    let places: Vec<_> =
        order.iter().map(|what| page.find(what).unwrap_or_else(|| panic!("no {what} in {page}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(page.matches("refused in connect").count(), 1, "what is true of all is said once");
}

#[tokio::test]
async fn the_last_hour_and_the_line_have_labels() {
    let body = words(&body(&["main"], AccessLevel::Details));
    for label in [
        "1 h agolast hournow",
        "The slowest check of each minute took 0.44\u{a0}ms to 750\u{a0}ms:750\u{a0}ms01 h agonow",
    ] {
        assert!(body.contains(label), "no `{label}` in {body}");
    }
}

#[tokio::test]
async fn an_alias_with_unverified_certificates_is_warned_of_and_no_other() {
    let body = body(&night::ALIASES, AccessLevel::Details);
    assert_eq!(body.matches("TLS certificates are not verified").count(), 1);
    let tokens = body.split("<details ").find(|card| card.starts_with("id=\"check-tokens\"")).unwrap();
    assert!(tokens.contains("TLS certificates are not verified"));
}

#[tokio::test]
async fn the_words_of_a_server_are_no_html() {
    let app = night::app(&["main"]);
    let mut report = night::pass(&app);
    let outcome = Arc::make_mut(&mut report.outcomes[0]);
    outcome.nodes[0].fault =
        Some(Fault::new(Cause::Protocol, Phase::Read, "<script>alert(1)</script>\r\n<b"));
    let setup = app.setup();
    let body = page::body(&setup, &report, &setup.everything, AccessLevel::Details, Instant::now());
    assert!(body.contains("protocol in read: &lt;script&gt;alert(1)&lt;/script&gt;"), "{body}");
    assert!(!body.contains("<script>alert"));
}

#[tokio::test]
async fn a_page_of_some_of_the_checks_is_reloaded_and_has_no_feed() {
    let app = night::app(&night::ALIASES);
    let report = night::pass(&app);
    let setup = app.setup();
    let some = setup.checker.catalog().named(["main"]).unwrap();
    let body = page::body(&setup, &report, &some, AccessLevel::Details, Instant::now());
    assert_eq!(cards(&body), 1);
    assert!(!body.contains("data-live"), "{body}");
    assert!(!body.contains("<noscript>") && body.contains("http-equiv=\"refresh\""), "{body}");
    let body = page::body(&setup, &report, &setup.everything, AccessLevel::Details, Instant::now());
    assert!(body.contains("data-live") && body.contains("<noscript><meta http-equiv=\"refresh\""), "{body}");
}

#[tokio::test]
async fn the_start_page_is_html_unless_another_format_is_named_and_allows_nothing_from_elsewhere() {
    let app = super::app();
    let answer = get(&app, "/").await;
    assert_eq!(answer.status(), StatusCode::OK, "the page is there although the cache is not");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    for part in ["default-src 'none'; script-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let json = get(&app, "/?format=json").await;
    assert_eq!(
        (json.status(), &json.headers()[header::CONTENT_TYPE]),
        (StatusCode::SERVICE_UNAVAILABLE, &"application/json".parse().unwrap())
    );
    assert_eq!(get(&app, "/?format=papyrus").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn the_feed_sends_the_known_state_then_changes_and_heartbeats_in_between() {
    let app = Arc::new(night::app(&night::ALIASES));
    night::pass(&app);
    let answer = get(&app, "/events").await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut feed = answer.into_body();
    let first = next(&mut feed).await.unwrap();
    assert!(first.starts_with("retry: 2000\n\nevent: page\ndata: <main class=\"down\" "), "{first}");
    assert!(first.ends_with("</main>\n\n"), "{first}");

    let (beat, began) = ("event: beat\ndata:\n\n", Instant::now());
    assert_eq!(next(&mut feed).await.unwrap(), beat);
    assert!(began.elapsed() >= Duration::from_secs(5));

    // A hundred checks end at once, and are told together; those that end after that soon enough, but not at once.
    night::pass(&app);
    assert!(next(&mut feed).await.unwrap().starts_with("event: page\n"));
    let told = Instant::now();
    night::pass(&app);
    assert!(next(&mut feed).await.unwrap().starts_with("event: page\n"));
    assert!(told.elapsed() >= Duration::from_millis(500), "{:?}", told.elapsed());
    assert_eq!(next(&mut feed).await.unwrap(), beat);

    app.enter(Life::Draining);
    assert!(next(&mut feed).await.unwrap().contains("This cache-canary is shutting down."));
    app.enter(Life::Stopping);
    assert_eq!(next(&mut feed).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_feed_follows_the_access_level_of_its_reader_and_shows_others_nothing() {
    let access = Access { allow: vec!["192.0.2.0/24".parse().unwrap()], ..Access::default() };
    let app = Arc::new(App::new(&Config { access, ..Config::default() }).unwrap());
    let ask = async |ip: &str| {
        let mut request =
            Request::builder().uri("/events").header(header::HOST, "localhost").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::Remote(ip.parse().unwrap()));
        router(app.clone()).oneshot(request).await.unwrap()
    };
    assert_eq!(ask("198.51.100.1").await.status(), StatusCode::FORBIDDEN);
    let mut feed = ask("192.0.2.1").await.into_body();
    let first = next(&mut feed).await.unwrap();
    assert!(first.contains("<h1>Nothing is checked</h1>") && !first.contains("Last changes"), "{first}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_feeds_is_limited_and_each_that_ends_makes_room() {
    let app = Arc::new(night::app(&["main"]));
    let router = router(app.clone());
    let ask = async || {
        let mut request =
            Request::builder().uri("/events").header(header::HOST, "localhost").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::Local);
        router.clone().oneshot(request).await.unwrap()
    };
    let mut feeds = Vec::new();
    for _ in 0..256 {
        feeds.push(ask().await);
        assert_eq!(feeds.last().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(ask().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    feeds.pop();
    assert_eq!(ask().await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_feed_stays_open_for_as_long_as_it_is_read_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // Every round of it, one every five seconds, is an event.
    let app = super::app();
    let listener = Listener::bind(&Listen::Unix(path.clone())).unwrap();
    let limits = ServerLimits::default();
    tokio::spawn(serve_app(app.clone(), listener.into(), limits, std::future::pending()));

    let mut reader = UnixStream::connect(&path).await.unwrap();
    reader.write_all(b"GET /events HTTP/1.1\r\nHost: canary\r\n\r\n").await.unwrap();
    let mut idler = UnixStream::connect(&path).await.unwrap();
    idler.write_all(b"GET /events HTTP/1.1\r\nHost: canary\r\n\r\n").await.unwrap();

    let mut buffer = vec![0; 1 << 16];
    let began = Instant::now();
    while began.elapsed() < limits.idle * 8 {
        assert_ne!(reader.read(&mut buffer).await.unwrap(), 0, "closed after {:?}", began.elapsed());
    }
    // The content of the system's buffers, and then the end.
    let mut stale = 0;
    let ended = time::timeout(limits.idle, async {
        loop {
            match idler.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => stale += read,
            }
        }
    });
    assert!(ended.await.is_ok(), "it is still open after {stale} bytes");
    assert!(stale > 0);
}
