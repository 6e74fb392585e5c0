//! Access levels: every kind of caller, under every kind of rule, with every claim that it or its proxy makes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use cache_canary::app::{App, Life};
use cache_canary::config::{Access, Proxies};
use cache_canary::embedded::EmbeddedServer;
use cache_canary::http::access::Caller;
use cache_canary::http::{metrics_router, router};
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use tower::ServiceExt as _;

use crate::config;

/// The access level of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gets {
    /// 403 without a body.
    Nothing,
    /// 401, and how to show another token.
    Challenge,
    Verdicts,
    Details,
}

use Gets::{Challenge, Details, Nothing, Verdicts};

const TOKEN: &str = "0123456789abcdef";

fn networks(networks: &[&str]) -> Vec<IpNet> {
    networks.iter().map(|network| network.parse().unwrap()).collect()
}

/// Everyone gets verdicts, 10.1.0.0/16 the details. Addresses in 172.16.0.0/12 or `fd00::/8` are trusted proxies.
fn open() -> Access {
    Access {
        details: networks(&["10.1.0.0/16", "2001:db8:1::/48"]),
        trusted_proxies: Proxies { networks: networks(&["172.16.0.0/12", "fd00::/8"]), unix: false },
        ..Access::default()
    }
}

/// The same, for 10.0.0.0/8 alone.
fn closed() -> Access {
    Access { allow: networks(&["10.0.0.0/8"]), ..open() }
}

/// The same, and who comes over the unix socket is a trusted proxy too.
fn with_socket(access: Access) -> Access {
    Access { trusted_proxies: Proxies { unix: true, ..access.trusted_proxies }, ..access }
}

fn with_token(access: Access) -> Access {
    Access { token: Some(TOKEN.into()), ..access }
}

/// A sidecar with these rules, and its cache.
async fn sidecar(access: Access) -> (Arc<App>, EmbeddedServer) {
    let cache = EmbeddedServer::redis().await.unwrap();
    let config = cache_canary::config::Config { access, ..config(cache.addr()) };
    let app = Arc::new(App::new(&config).unwrap());
    app.enter(Life::Ready);
    (app, cache)
}

fn caller(text: &str) -> Option<Caller> {
    match text {
        "unix" => Some(Caller::Local),
        "nobody" => None,
        ip => Some(Caller::Remote(ip.parse().unwrap())),
    }
}

/// Headers as lines: `x-forwarded-for: 10.0.0.1`.
fn headers(lines: &[&str]) -> HeaderMap {
    let header = |line: &&str| {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::try_from(name).unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(header) {
        headers.append(name, value);
    }
    headers
}

async fn gets(router: &Router, path: &str, caller: Option<Caller>, headers: HeaderMap) -> Gets {
    let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
    *request.headers_mut() = headers;
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let challenge = head.headers.get(header::WWW_AUTHENTICATE);
    assert_eq!(challenge.is_some(), head.status == StatusCode::UNAUTHORIZED, "{path}: {head:?}");
    match head.status {
        StatusCode::FORBIDDEN => {
            assert!(body.is_empty(), "{path}: {body:?}");
            Nothing
        }
        StatusCode::UNAUTHORIZED => {
            assert_eq!(challenge.unwrap(), "Bearer");
            Challenge
        }
        StatusCode::OK if String::from_utf8_lossy(&body).contains("127.0.0.1:") => Details,
        StatusCode::OK => Verdicts,
        code => panic!("{path}: {code} {body:?}"),
    }
}

/// The address of a caller, its headers, and its access level.
type Case = (&'static str, &'static [&'static str], Gets);

async fn matrix(access: Access, cases: &[Case]) {
    let (app, cache) = sidecar(access).await;
    let router = router(app);
    for &(asking, lines, expected) in cases {
        let before = cache.accepted();
        let got = gets(&router, "/health", caller(asking), headers(lines)).await;
        assert_eq!(got, expected, "{asking} {lines:?}");
        if matches!(expected, Nothing | Challenge) {
            assert_eq!(cache.accepted(), before, "{asking} {lines:?}: the cache was asked");
        }
    }
}

/// Claims of a caller that is no proxy.
const SPOOFED: &[&str] = &["x-forwarded-for: 10.1.0.1", "forwarded: for=10.1.0.1", "x-real-ip: 10.1.0.1"];

#[tokio::test]
async fn a_forwarded_header_counts_only_from_a_trusted_proxy() {
    let cases: &[Case] = &[
        ("10.1.0.1", &[], Details),
        ("::ffff:10.1.0.1", &[], Details),
        ("10.2.0.1", &[], Verdicts),
        ("10.2.0.1", SPOOFED, Verdicts),
        ("198.51.100.1", SPOOFED, Verdicts),
        ("unix", &[], Details),
        ("unix", &["x-forwarded-for: 198.51.100.1"], Details),
        ("nobody", SPOOFED, Nothing),
    ];
    matrix(open(), cases).await;
    let cases: &[Case] = &[
        ("10.1.0.1", &[], Details),
        ("10.2.0.1", SPOOFED, Verdicts),
        ("::ffff:10.2.0.1", SPOOFED, Verdicts),
        ("198.51.100.1", SPOOFED, Nothing),
        ("2001:db8:1::1", &[], Nothing),
        ("::10.1.0.1", &[], Nothing),
        ("unix", &[], Details),
        ("nobody", &[], Nothing),
    ];
    matrix(closed(), cases).await;
}

#[tokio::test]
async fn a_trusted_proxys_caller_is_the_last_address_that_is_no_trusted_proxys() {
    let cases: &[Case] = &[
        // A proxy that speaks of nobody asks for itself.
        ("172.16.0.1", &[], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1"], Details),
        ("::ffff:172.16.0.1", &["x-forwarded-for: 10.1.0.1"], Details),
        ("fd00::1", &["x-forwarded-for: ::ffff:10.1.0.1"], Details),
        ("172.16.0.1", &["x-forwarded-for: 10.2.0.1"], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 198.51.100.1"], Nothing),
        // The client's part stands before the proxy's part.
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1, 10.2.0.1"], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1,198.51.100.1"], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", "x-forwarded-for: 198.51.100.1"], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 198.51.100.1", "x-forwarded-for: 10.1.0.1"], Details),
        // Proxies in a row, one of which the client made up.
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1, 172.16.0.2, fd00::2"], Details),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1, 10.2.0.1, 172.16.0.2"], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 172.16.0.3, 172.16.0.2"], Nothing),
        // Ports and brackets.
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1:4711"], Details),
        ("172.16.0.1", &["x-forwarded-for: [::ffff:10.1.0.1]"], Details),
        ("172.16.0.1", &["x-forwarded-for:  [::ffff:10.1.0.1]:4711 "], Details),
    ];
    matrix(closed(), cases).await;
}

#[tokio::test]
async fn the_standard_header_is_read_the_same_way() {
    let cases: &[Case] = &[
        ("172.16.0.1", &["forwarded: for=10.1.0.1"], Details),
        ("172.16.0.1", &["forwarded: For=\"10.1.0.1:4711\";Proto=https;by=172.16.0.1"], Details),
        ("172.16.0.1", &["forwarded: proto=http ; for=\"[::ffff:10.1.0.1]:4711\""], Details),
        ("172.16.0.1", &["forwarded: for=10.1.0.1, for=10.2.0.1"], Verdicts),
        ("172.16.0.1", &["forwarded: for=10.1.0.1", "forwarded: for=198.51.100.1"], Nothing),
        ("172.16.0.1", &["forwarded: for=10.1.0.1;host=\"a, b; c\", for=172.16.0.9"], Details),
        // Headers without an address, or with a hidden one.
        ("172.16.0.1", &["forwarded: for=10.1.0.1, proto=https"], Nothing),
        ("172.16.0.1", &["forwarded: for=unknown"], Nothing),
        ("172.16.0.1", &["forwarded: for=_hidden"], Nothing),
        ("172.16.0.1", &["forwarded: for=10.1.0.1;for=10.1.0.2"], Nothing),
        ("172.16.0.1", &["forwarded: 10.1.0.1"], Nothing),
        ("172.16.0.1", &["forwarded: "], Nothing),
        // The client's quotation marks cannot hide what the proxy wrote behind them.
        ("172.16.0.1", &["forwarded: for=10.1.0.1;host=\"x, for=198.51.100.1"], Nothing),
        ("172.16.0.1", &["forwarded: for=10.1.0.1;host=\"x, for=\"198.51.100.1\""], Nothing),
        (
            "172.16.0.1",
            &["forwarded: for=10.1.0.1;host=\"x, for=\"198.51.100.1\";by=\"172.16.0.1\""],
            Nothing,
        ),
        ("172.16.0.1", &["forwarded: for=10.1.0.1;host=\"\\, for=\"198.51.100.1\""], Nothing),
        ("172.16.0.1", &["forwarded: for=\"10.1.0.1", "forwarded: for=198.51.100.1"], Nothing),
    ];
    matrix(closed(), cases).await;
}

#[tokio::test]
async fn of_two_forwarded_headers_the_one_that_allows_less_counts() {
    let cases: &[Case] = &[
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", "forwarded: for=10.1.0.2"], Details),
        ("172.16.0.1", &["x-forwarded-for: 10.2.0.1", "forwarded: for=10.1.0.1"], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", "forwarded: for=10.2.0.1"], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 198.51.100.1", "forwarded: for=10.1.0.1"], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", "forwarded: for=198.51.100.1"], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", "forwarded: for=_hidden"], Nothing),
    ];
    matrix(closed(), cases).await;
}

#[tokio::test]
async fn a_caller_with_an_unreadable_address_gets_verdicts_only_if_every_caller_does() {
    let garbage: [&[&str]; 9] = [
        &["x-forwarded-for: "],
        &["x-forwarded-for: unknown"],
        &["x-forwarded-for: 10.1.0.1, "],
        &["x-forwarded-for: 10.1.0.1, localhost"],
        &["x-forwarded-for: 10.1.0"],
        &["x-forwarded-for: 10.1.0.01"],
        &["x-forwarded-for: 10.1.0.1, [10.1.0.1]"],
        &["x-forwarded-for: 10.1.0.1:"],
        &["x-forwarded-for: 10.1.0.1, \u{e9}"],
    ];
    let half = Access { allow: networks(&["0.0.0.0/0"]), ..open() };
    for (access, expected) in [(open(), Verdicts), (closed(), Nothing), (half, Nothing)] {
        for lines in garbage {
            matrix(access.clone(), &[("172.16.0.1", lines, expected)]).await;
        }
    }
}

#[tokio::test]
async fn a_proxy_on_the_unix_socket_is_believed_if_it_is_trusted() {
    let cases: &[Case] = &[
        ("unix", &[], Details),
        ("unix", &["x-forwarded-for: 10.1.0.1"], Details),
        ("unix", &["x-forwarded-for: 10.2.0.1"], Verdicts),
        ("unix", &["x-forwarded-for: 198.51.100.1"], Nothing),
        ("unix", &["x-forwarded-for: 10.1.0.1, 198.51.100.1"], Nothing),
        ("unix", &["x-forwarded-for: unix"], Nothing),
    ];
    matrix(with_socket(closed()), cases).await;
}

#[tokio::test]
async fn a_token_adds_the_details_for_a_caller_with_access_and_a_wrong_one_is_challenged() {
    const RIGHT: &str = "authorization: Bearer 0123456789abcdef";
    let cases: &[Case] = &[
        ("10.2.0.1", &[], Verdicts),
        ("10.2.0.1", &[RIGHT], Details),
        ("10.2.0.1", &["authorization: bEARER   0123456789abcdef"], Details),
        ("172.16.0.1", &["x-forwarded-for: 10.2.0.1", RIGHT], Details),
        ("10.2.0.1", &["authorization: Bearer 0123456789abcdeF"], Challenge),
        ("10.2.0.1", &["authorization: Bearer 0123456789abcde"], Challenge),
        ("10.2.0.1", &["authorization: Bearer 0123456789abcdef0"], Challenge),
        ("10.2.0.1", &["authorization: Bearer"], Challenge),
        ("10.2.0.1", &[RIGHT, "authorization: Bearer wrong"], Challenge),
        ("10.1.0.1", &["authorization: Bearer wrong"], Challenge),
        ("unix", &["authorization: Bearer wrong"], Challenge),
        // Another scheme is for another server.
        ("10.2.0.1", &["authorization: Basic MDEyMzQ1Njc4OWFiY2RlZg=="], Verdicts),
        ("10.2.0.1", &["authorization: Bearer0123456789abcdef"], Verdicts),
        ("10.1.0.1", &["authorization: Basic x"], Details),
        // It lets nobody in.
        ("198.51.100.1", &[RIGHT], Nothing),
        ("198.51.100.1", &["authorization: Bearer wrong"], Nothing),
        ("172.16.0.1", &["x-forwarded-for: 198.51.100.1", RIGHT], Nothing),
        ("172.16.0.1", &["x-forwarded-for: garbage", RIGHT], Nothing),
        ("nobody", &[RIGHT], Nothing),
    ];
    matrix(with_token(closed()), cases).await;
    // If every caller has access, one with the token gets details.
    let cases: &[Case] = &[("172.16.0.1", &["x-forwarded-for: garbage", RIGHT], Details)];
    matrix(with_token(open()), cases).await;
    // Without a configured token, no token is wrong.
    matrix(closed(), &[("10.2.0.1", &[RIGHT], Verdicts)]).await;
}

#[tokio::test]
async fn on_loopback_the_name_that_is_asked_for_decides_too_and_elsewhere_it_does_not() {
    const EVIL: &str = "host: evil.test";
    let access = Access {
        details: networks(&["127.0.0.0/8", "::1/128", "10.1.0.0/16"]),
        hosts: vec!["canary.internal".to_owned()],
        ..with_token(open())
    };
    let cases: &[Case] = &[
        ("127.0.0.1", &[EVIL], Verdicts),
        ("127.9.9.9", &["host: evil.test:8080"], Verdicts),
        ("::1", &[EVIL], Verdicts),
        ("::ffff:127.0.0.1", &[EVIL], Verdicts),
        ("127.0.0.1", &["host: "], Verdicts),
        ("127.0.0.1", &["host: localhost:8080"], Details),
        ("::1", &["host: LOCALHOST"], Details),
        ("127.0.0.1", &["host: canary.internal:8080"], Details),
        ("127.0.0.1", &["host: 10.0.0.5:8080"], Details),
        ("127.0.0.1", &["host: [::1]:8080"], Details),
        // If the network is named, its callers are not browsers on this machine.
        ("10.1.0.1", &[EVIL], Details),
        ("unix", &[EVIL], Details),
        // Behind a proxy its client decides, and the name that the proxy passes on.
        ("172.16.0.1", &["x-forwarded-for: 127.0.0.1", EVIL], Verdicts),
        ("172.16.0.1", &["x-forwarded-for: 127.0.0.1", "host: canary.internal"], Details),
        ("172.16.0.1", &["x-forwarded-for: 10.1.0.1", EVIL], Details),
        ("127.0.0.1", &["x-forwarded-for: 10.1.0.1", EVIL], Verdicts),
        // A page does not know the token.
        ("127.0.0.1", &[EVIL, "authorization: Bearer 0123456789abcdef"], Details),
        ("127.0.0.1", &[EVIL, "authorization: Bearer wrong"], Challenge),
    ];
    matrix(access, cases).await;
}

#[tokio::test]
async fn the_rules_are_the_same_on_every_path_and_on_the_listeners_of_metrics() {
    let (app, cache) = sidecar(with_token(closed())).await;
    let everything = router(app.clone());
    let paths =
        ["/health", "/healthz", "/health/main", "/health/group/readiness", "/livez", "/readyz", "/startupz"];
    let paths_of_main = paths.map(|path| (&everything, path)).into_iter();
    let metrics = metrics_router(app);
    for (router, path) in
        paths_of_main.chain([(&everything, "/metrics"), (&everything, "/nope"), (&metrics, "/metrics")])
    {
        let through_proxy = headers(&["x-forwarded-for: 10.1.0.1, 198.51.100.1"]);
        assert_eq!(gets(router, path, caller("172.16.0.1"), through_proxy).await, Nothing, "{path}");
        assert_eq!(gets(router, path, caller("198.51.100.1"), headers(SPOOFED)).await, Nothing, "{path}");
        let wrong = headers(&["authorization: Bearer wrong"]);
        assert_eq!(gets(router, path, caller("10.1.0.1"), wrong).await, Challenge, "{path}");
    }
    assert_eq!(cache.accepted(), 0, "the cache was asked");
    for router in [&everything, &metrics] {
        assert_eq!(gets(router, "/metrics", caller("10.1.0.1"), HeaderMap::new()).await, Details);
        assert_eq!(gets(router, "/metrics", caller("10.2.0.1"), HeaderMap::new()).await, Verdicts);
    }
}
