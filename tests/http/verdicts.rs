//! The router in process before real caches: the verdicts, their codes, and who sees what of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use cache_canary::app::{App, Life};
use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::http::access::Caller;
use cache_canary::http::router;
use cache_canary::outcome::Cause;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{closed_port, config};

/// A caller in none of the networks that see details.
const STRANGER: Caller = Caller::Remote(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const LOOPBACK: Caller = Caller::Remote(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// The router of a ready sidecar that makes a new check of the cache at `address` for each request.
fn ready(address: SocketAddr) -> Router {
    let mut config = config(address);
    config.max_age = Duration::ZERO;
    let app = Arc::new(App::new(&config).unwrap());
    app.enter(Life::Ready);
    router(app)
}

async fn get(router: &Router, path: &str, caller: Caller) -> (u16, String) {
    let request =
        Request::get(path).header(header::HOST, "localhost").extension(caller).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, without_age(std::str::from_utf8(&body).unwrap()))
}

/// The same body, whose age is another every time.
fn without_age(body: &str) -> String {
    let lines = body.split_inclusive('\n').filter(|line| !line.starts_with("checked "));
    let text: String = lines.collect();
    match text.split_once(",\"age_ms\":") {
        Some((before, rest)) => {
            let after = rest.find([',', '}']).unwrap();
            format!("{before}{}", &rest[after..])
        }
        None => text,
    }
}

#[tokio::test]
async fn health_is_200_while_the_cache_works_and_503_while_it_does_not() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let router = ready(cache.addr());
    let skipped =
        r#""skipped":{"default":"forwards to main","staticfiles":"lives in the application's memory"}"#;
    let up =
        format!("{{\"status\":\"UP\",\"checks\":{{\"cache.main\":\"UP\"}},\"errors\":{{}},{skipped}}}\n");
    let hint = Cause::Masked.hint();
    let errors = format!("{{\"cache.main\":\"masked: {hint}\"}}");
    let down = format!(
        "{{\"status\":\"DOWN\",\"checks\":{{\"cache.main\":\"DOWN\"}},\"errors\":{errors},{skipped}}}\n"
    );
    for path in ["/health", "/health/", "/healthz", "/healthz/"] {
        assert_eq!(get(&router, path, STRANGER).await, (200, up.clone()));
        cache.set_fault(InjectedFault::Masking).unwrap();
        assert_eq!(get(&router, path, STRANGER).await, (503, down.clone()));
        cache.repair().unwrap();
        assert_eq!(get(&router, path, STRANGER).await, (200, up.clone()));
    }
}

#[tokio::test]
async fn an_alias_that_forwards_answers_with_its_target_s_outcome() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let router = ready(cache.addr());
    let up = "{\"status\":\"UP\",\"checks\":{\"cache.main\":\"UP\"},\"errors\":{}";
    let expected = format!("{up},\"skipped\":{{\"default\":\"forwards to main\"}}}}\n");
    assert_eq!(get(&router, "/health/default", STRANGER).await, (200, expected));
    assert_eq!(get(&router, "/health/main", STRANGER).await, (200, format!("{up}}}\n")));

    let router = ready(closed_port());
    for path in ["/health/default", "/health/main"] {
        let (code, body) = get(&router, path, STRANGER).await;
        assert_eq!(code, 503, "{path}");
        assert!(body.starts_with(r#"{"status":"DOWN","checks":{"cache.main":"DOWN"}"#), "{path}: {body}");
    }
}

#[tokio::test]
async fn details_need_their_access_level() {
    let address = closed_port();
    let router = ready(address);
    for caller in [LOOPBACK, Caller::Local, Caller::Remote("::ffff:127.0.0.1".parse().unwrap())] {
        for path in ["/health", "/health/main", "/readyz?format=json"] {
            let (_, body) = get(&router, path, caller).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            let node = &body["details"]["cache.main"]["nodes"][0];
            assert_eq!(node["node"], address.to_string(), "{caller:?} {path}");
            assert_eq!(node["cause"], "refused", "{caller:?} {path}");
        }
    }
    let paths = [
        "/health",
        "/health/main",
        "/health?format=text",
        "/health?format=health-json",
        "/health?format=kubernetes&verbose",
        "/health/group/readiness?format=health-json",
        "/readyz",
        "/readyz?verbose",
        "/readyz?format=json",
    ];
    for path in paths {
        let (code, body) = get(&router, path, STRANGER).await;
        assert_eq!(code, 503, "{path}");
        assert!(body.contains("refused"), "{path}: {body}");
        for secret in ["127.0.0.1", "os error", "connect:", "details"] {
            assert!(!body.contains(secret), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn readyz_speaks_kubernetes_text() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let router = ready(cache.addr());
    let skipped = "[+]cache.default skipped: forwards to main\n\
                   [+]cache.staticfiles skipped: lives in the application's memory\n";
    assert_eq!(get(&router, "/readyz", LOOPBACK).await, (200, "ok\n".to_owned()));
    let expected = format!("[+]sidecar ok\n[+]cache.main ok\n{skipped}readyz check passed\n");
    assert_eq!(get(&router, "/readyz?verbose", LOOPBACK).await, (200, expected));

    cache.set_fault(InjectedFault::Masking).unwrap();
    let expected = "[-]cache.main failed: masked\nreadyz check failed\n".to_owned();
    assert_eq!(get(&router, "/readyz", LOOPBACK).await, (503, expected));
    let expected = format!("[+]sidecar ok\n[-]cache.main failed: masked\n{skipped}readyz check failed\n");
    assert_eq!(get(&router, "/readyz?verbose=1", LOOPBACK).await, (503, expected));
}

#[tokio::test]
async fn a_request_that_needs_no_verdict_asks_no_cache() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let mut config = config(cache.addr());
    config.access.allow = vec!["127.0.0.0/8".parse().unwrap()];
    let app = Arc::new(App::new(&config).unwrap());
    let router = router(app.clone());
    for life in [Life::Starting, Life::Draining] {
        app.enter(life);
        assert_eq!(get(&router, "/readyz", LOOPBACK).await.0, 503);
    }
    app.enter(Life::Ready);
    for (path, caller, code) in [
        ("/health", STRANGER, 403),
        ("/health/main", STRANGER, 403),
        ("/readyz", STRANGER, 403),
        ("/health/nope", LOOPBACK, 404),
        ("/nope", LOOPBACK, 404),
        ("/health?format=xml", LOOPBACK, 400),
        ("/health/staticfiles", LOOPBACK, 200),
        ("/livez", LOOPBACK, 200),
    ] {
        assert_eq!(get(&router, path, caller).await.0, code, "{path}");
    }
    assert_eq!(cache.accepted(), 0);
    assert_eq!(get(&router, "/health/main", LOOPBACK).await.0, 200);
    assert_eq!(cache.accepted(), 1);
}
