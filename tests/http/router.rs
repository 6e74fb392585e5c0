//! The router in process: paths, methods, headers, formats, and who may ask.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use cache_canary::app::{App, Life};
use cache_canary::http::access::Caller;
use cache_canary::http::router;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::{app, closed_port, config};

/// An answer: its code, the headers that matter, and its body.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u16,
    content_type: String,
    body: String,
}

fn local(method: Method, path: &str) -> Request<Body> {
    request(method, path, Some(Caller::Remote("127.0.0.1".parse().unwrap())))
}

fn request(method: Method, path: &str, caller: Option<Caller>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let mut request = request.body(Body::empty()).unwrap();
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    request
}

/// The answer of the router. Every answer forbids that it is kept, and every body ends in a newline.
async fn answer(router: &Router, request: Request<Body>) -> Answer {
    let asked = format!("{request:?}");
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{asked}");
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.is_empty() || body.ends_with('\n'), "{asked}: {body:?}");
    Answer { code, content_type, body }
}

fn ready() -> Router {
    let app = app();
    app.enter(Life::Ready);
    router(app)
}

const SKIPPED: &str = concat!(
    r#"{"status":"SKIPPED","checks":{},"errors":{},"#,
    r#""skipped":{"staticfiles":"lives in the application's memory"},"instance":"test"}"#,
    "\n"
);

fn plain(code: u16, body: &str) -> Answer {
    Answer { code, content_type: "text/plain; charset=utf-8".to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn an_alias_that_is_skipped_is_200_with_the_reason() {
    let expected =
        Answer { code: 200, content_type: "application/json".to_owned(), body: SKIPPED.to_owned() };
    assert_eq!(answer(&ready(), local(Method::GET, "/health/staticfiles")).await, expected);
}

#[tokio::test]
async fn an_alias_may_be_percent_encoded() {
    let answer = answer(&ready(), local(Method::GET, "/health/static%66iles")).await;
    assert_eq!((answer.code, answer.body.as_str()), (200, SKIPPED));
}

#[tokio::test]
async fn an_alias_that_is_not_configured_is_404_and_names_those_that_are() {
    for path in ["/health/nope", "/health/MAIN", "/health/%FF", "/health/main%2Fx", "/health/main%20"] {
        let expected = plain(404, "no such alias; the configured ones are default, main, staticfiles\n");
        assert_eq!(answer(&ready(), local(Method::GET, path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_there_is_404_and_names_those_that_are() {
    for path in ["/page", "/Health", "/healthzz", "/health/main/x", "/livez/x"] {
        let expected = plain(
            404,
            "no such path; the paths are /health, /health/{alias}, /health/group/{name}, /livez, /readyz, /startupz, /metrics, /transitions, /openapi.json, /events and the page at /\n",
        );
        assert_eq!(answer(&ready(), local(Method::GET, path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn slashes_at_the_end_of_a_path_and_doubled_ones_count_for_nothing() {
    let router = ready();
    for (path, exact) in [
        ("/health/staticfiles/", "/health/staticfiles"),
        ("//health//staticfiles", "/health/staticfiles"),
        ("/health/group/liveness/", "/health/group/liveness"),
        ("/livez/", "/livez"),
        ("/livez/?verbose", "/livez?verbose"),
        ("//livez", "/livez"),
        ("/readyz//?exclude=main", "/readyz?exclude=main"),
        ("/startupz/?format=xml", "/startupz?format=xml"),
        ("/transitions/", "/transitions"),
        ("/openapi.json/", "/openapi.json"),
        ("/health/nope/", "/health/nope"),
        ("/health/static%66iles/", "/health/staticfiles"),
        ("/nope/", "/nope"),
    ] {
        let expected = answer(&router, local(Method::GET, exact)).await;
        assert_eq!(answer(&router, local(Method::GET, path)).await, expected, "{path}");
    }
    for path in ["/health/", "//health", "/healthz/", "/metrics/", "//"] {
        let response = router.clone().oneshot(local(Method::HEAD, path)).await.unwrap();
        assert_ne!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn options_has_the_code_of_the_verdict_and_names_the_methods() {
    let (ready, starting) = (ready(), router(app()));
    for (router, path, same, code) in [
        (&ready, "/health/staticfiles", "/health/staticfiles", 200),
        (&ready, "/health/main", "/health/main", 503),
        (&ready, "/health", "/health", 503),
        (&ready, "/healthz/", "/health", 503),
        // What HAProxy asks if it is not told a path; the page at `/` is 200 whatever is down.
        (&ready, "/", "/health", 503),
        (&ready, "*", "/health", 503),
        (&ready, "/livez", "/livez", 200),
        (&ready, "/health/group/liveness", "/health/group/liveness", 200),
        (&starting, "/readyz", "/readyz", 503),
        (&ready, "/health/nope", "/health/nope", 404),
    ] {
        let response = router.clone().oneshot(local(Method::OPTIONS, path)).await.unwrap();
        assert_eq!(response.status().as_u16(), code, "{path}");
        let allow = response.headers().get(header::ALLOW).map(|value| value.to_str().unwrap());
        assert_eq!(allow, (code != 404).then_some("GET,HEAD,OPTIONS"), "{path}");
        let get = router.clone().oneshot(local(Method::GET, same)).await.unwrap();
        assert_eq!(get.status(), response.status(), "{path}");
        assert_eq!(
            get.headers().get(header::CONTENT_TYPE),
            response.headers().get(header::CONTENT_TYPE),
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let router = ready();
    for path in [
        "/health/staticfiles",
        "/health/staticfiles?format=html",
        "/livez",
        "/transitions",
        "/openapi.json",
        "/nope",
        "/health/nope",
    ] {
        let get = router.clone().oneshot(local(Method::GET, path)).await.unwrap();
        let head = router.clone().oneshot(local(Method::HEAD, path)).await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        let mut expected = get.headers().clone();
        let body = get.into_body().collect().await.unwrap().to_bytes();
        // The answer at a plain path gets it from the connection.
        expected.insert(header::CONTENT_LENGTH, body.len().into());
        assert_eq!(*head.headers(), expected, "{path}");
        assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_405_with_the_list_of_the_allowed_ones() {
    let router = ready();
    let verdicts = ["/health", "/healthz", "/health/main", "/livez", "/readyz", "/startupz", "/"];
    let others = ["/metrics", "/transitions", "/openapi.json", "/events"];
    let verdicts = verdicts.map(|path| (path, "GET,HEAD,OPTIONS", &[][..]));
    let others = others.map(|path| (path, "GET,HEAD", &[Method::OPTIONS][..]));
    for (path, allow, more) in verdicts.into_iter().chain(others) {
        let methods = [Method::POST, Method::PUT, Method::DELETE, Method::TRACE, Method::PATCH];
        for method in methods.iter().chain(more) {
            let response = router.clone().oneshot(local(method.clone(), path)).await.unwrap();
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()[header::ALLOW], allow, "{method} {path}");
            let expected =
                plain(405, "this method is not allowed here; the header Allow names those that are\n");
            assert_eq!(answer(&router, local(method.clone(), path)).await, expected);
        }
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_413_and_closes_the_connection() {
    let mut with_body = local(Method::GET, "/health/staticfiles");
    *with_body.body_mut() = Body::from("x");
    let response = ready().oneshot(with_body).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()[header::CONNECTION], "close");

    let without = ready().oneshot(local(Method::GET, "/health/staticfiles")).await.unwrap();
    assert_eq!(without.status(), StatusCode::OK);
    assert_eq!(without.headers().get(header::CONNECTION), None);
}

#[tokio::test]
async fn the_format_is_chosen_by_name_and_else_by_accept() {
    let router = ready();
    let json = "application/json";
    let text = "text/plain; charset=utf-8";
    for (query, accept, expected) in [
        ("", "", json),
        ("", "*/*", json),
        ("", "text/html", "text/html; charset=utf-8"),
        ("", "text/html, application/json;q=0.9", "text/html; charset=utf-8"),
        ("", "application/health+json", "application/health+json"),
        ("", "image/png", json),
        ("", "*/*;q=0", json),
        ("", "text/plain", text),
        ("", "text/plain; charset=utf-8", text),
        ("", "application/json, text/plain", json),
        ("", "image/png, text/plain;q=0.5, application/json;q=0.4", text),
        ("?format=text", "application/json", text),
        ("?format=json", "text/plain", json),
        ("?format=health-json", "text/plain", "application/health+json"),
        ("?format=health%2Bjson", "", "application/health+json"),
        ("?format=health+json", "", "application/health+json"),
        ("?format=html", "", "text/html; charset=utf-8"),
        ("?format=kubernetes", "application/json", text),
        ("?other=1&format=text", "", text),
        ("?other=1", "", json),
    ] {
        let mut request = local(Method::GET, &format!("/health/staticfiles{query}"));
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(answer(&router, request).await.content_type, expected, "{query} {accept}");
    }
    let text = answer(&router, local(Method::GET, "/health/staticfiles?format=text")).await;
    assert_eq!(text, plain(200, "SKIPPED\nstaticfiles  SKIPPED  lives in the application's memory\n"));
}

#[tokio::test]
async fn only_a_browser_that_navigates_gets_html_for_an_accept_with_a_wildcard() {
    let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
                  application/signed-exchange;v=b3;q=0.7";
    let safari = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let java = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    let (mode, upgrade) = ("sec-fetch-mode", "upgrade-insecure-requests");
    let (html, json, text) = ("text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8");
    let router = ready();
    for (accept, other, expected) in [
        // Chromium and Firefox to loopback or https, and all browsers to other addresses.
        (chrome, Some((mode, "navigate")), html),
        (chrome, Some((upgrade, "1")), html),
        (safari, Some((upgrade, "1")), html),
        ("*/*", Some((mode, "cors")), json),
        (chrome, Some((mode, "no-cors")), json),
        ("application/json, text/plain, */*", Some((mode, "cors")), json),
        ("*/*", Some((mode, "navigate")), json),
        // Uptime Kuma 1 and 2 send what a Chrome of their time sent, and nothing else of it.
        (chrome, None, json),
        (safari, None, json),
        // HttpURLConnection of Java, also with the default of 21.
        (java, None, json),
        ("text/html, image/gif, image/jpeg, */*; q=0.2", None, json),
        // axios and jQuery.
        ("application/json, text/plain, */*", None, json),
        ("application/json, text/javascript, */*; q=0.01", None, json),
        ("text/html, */*", None, json),
        ("text/html;q=0.9, */*;q=1", None, json),
        // w3m: HTML, else any text.
        ("text/html, text/*;q=0.5, image/*, application/*", None, json),
        ("text/html, text/plain;q=0.9, */*;q=0.1", None, text),
    ] {
        let mut request = local(Method::GET, "/health/staticfiles");
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        if let Some((name, value)) = other {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(answer(&router, request).await.content_type, expected, "{accept} {other:?}");
    }
}

#[tokio::test]
async fn a_response_has_vary_if_accept_chose_it_and_only_then() {
    let router = ready();
    for (path, varies) in [
        ("/health/staticfiles", true),
        ("/health/staticfiles?format=json", false),
        ("/transitions", true),
        ("/transitions?format=text", false),
        ("/livez", false),
        ("/livez?format=json", false),
        ("/openapi.json", false),
    ] {
        let response = router.clone().oneshot(local(Method::GET, path)).await.unwrap();
        let vary = response.headers().get(header::VARY).map(|value| value.to_str().unwrap());
        assert_eq!(vary, varies.then_some("Accept, Sec-Fetch-Mode, Upgrade-Insecure-Requests"), "{path}");
    }
}

#[tokio::test]
async fn a_list_comes_in_its_own_formats_alone() {
    let router = ready();
    for (query, accept, expected) in [
        ("", "text/html, */*;q=0.1", "application/json"),
        ("", "text/plain", "text/plain; charset=utf-8"),
        ("?format=text", "", "text/plain; charset=utf-8"),
    ] {
        let mut request = local(Method::GET, &format!("/transitions{query}"));
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(answer(&router, request).await.content_type, expected, "{query} {accept}");
    }
    let refused = answer(&router, local(Method::GET, "/transitions?format=html")).await;
    assert_eq!(refused, plain(400, "no such format; the formats are json, text\n"));
}

#[tokio::test]
async fn a_format_that_is_not_known_is_400_and_names_those_that_are() {
    for path in [
        "/health?format=xml",
        "/health?format=",
        "/healthz?format=JSON",
        "/health/main?format=yaml",
        "/readyz?format=x",
    ] {
        let expected =
            plain(400, "no such format; the formats are json, health-json, text, html, kubernetes\n");
        assert_eq!(answer(&ready(), local(Method::GET, path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn livez_is_ok_in_every_part_of_life() {
    for life in [Life::Starting, Life::Ready, Life::Draining] {
        let app = app();
        app.enter(life);
        let router = router(app);
        assert_eq!(answer(&router, local(Method::GET, "/livez")).await, plain(200, "ok\n"));
        let verbose = answer(&router, local(Method::GET, "/livez?verbose")).await;
        assert_eq!(verbose, plain(200, "[+]ping ok\nlivez check passed\n"));
    }
}

#[tokio::test]
async fn readyz_is_503_while_starting_and_while_draining() {
    for (life, name) in [(Life::Starting, "starting"), (Life::Draining, "draining")] {
        let app = app();
        app.enter(life);
        let router = router(app);
        let expected = plain(503, &format!("[-]sidecar failed: {name}\nreadyz check failed\n"));
        assert_eq!(answer(&router, local(Method::GET, "/readyz")).await, expected);
        let without = answer(&router, local(Method::GET, "/readyz?exclude=sidecar&exclude=main")).await;
        assert_eq!(without, plain(200, "ok\n"), "{name} was what is wrong");
        let health = answer(&router, local(Method::GET, "/readyz?format=health-json")).await;
        assert_eq!((health.code, &*health.content_type), (503, "application/health+json"));
        let json = answer(&router, local(Method::GET, "/readyz?format=json")).await;
        assert_eq!(json.code, 503);
        assert_eq!(
            json.body,
            format!("{{\"status\":\"DOWN\",\"checks\":{{}},\"errors\":{{\"sidecar\":\"{name}\"}}}}\n")
        );
    }
}

/// A router whose `allow` is 10.0.0.0/8 and whose `details` is 10.1.0.0/16.
fn guarded() -> Router {
    let mut config = config(closed_port());
    config.access.allow = vec!["10.0.0.0/8".parse().unwrap()];
    config.access.details = vec!["10.1.0.0/16".parse().unwrap()];
    let app = Arc::new(App::new(&config).unwrap());
    app.enter(Life::Ready);
    router(app)
}

#[tokio::test]
async fn a_caller_without_access_gets_403_without_a_body_on_every_path() {
    let router = guarded();
    let strangers = ["127.0.0.1", "11.0.0.1", "::1", "::ffff:11.0.0.1", "::10.0.0.1"];
    let strangers = strangers.map(|ip| Some(Caller::Remote(ip.parse().unwrap())));
    for caller in strangers.into_iter().chain([None]) {
        for path in ["/health", "/health/main", "/readyz", "/livez", "/metrics", "/nope"] {
            let mut request = request(Method::GET, path, caller);
            // A caller's claim about itself counts for nothing.
            request.headers_mut().insert("x-forwarded-for", "10.1.0.1".parse().unwrap());
            request.headers_mut().insert("forwarded", "for=10.1.0.1".parse().unwrap());
            let expected = Answer { code: 403, content_type: String::new(), body: String::new() };
            assert_eq!(answer(&router, request).await, expected, "{caller:?} {path}");
        }
    }
}

#[tokio::test]
async fn an_ipv4_address_mapped_into_ipv6_is_that_ipv4_address() {
    let router = guarded();
    for ip in ["10.0.0.1", "::ffff:10.0.0.1"] {
        let caller = Caller::Remote(ip.parse().unwrap());
        assert_eq!(answer(&router, request(Method::GET, "/livez", Some(caller))).await.code, 200, "{ip}");
    }
    assert_eq!(answer(&router, request(Method::GET, "/livez", Some(Caller::Local))).await.code, 200);
}
