//! The properties of requests.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use http_body_util::BodyExt as _;
use mediatype::MediaType;
use tower::ServiceExt as _;

use super::access::{Caller, admit};
use super::host::Host;
use super::{accept, grpc, router, transport};
use crate::alias::Alias;
use crate::app::{App, Denied, Life};
use crate::cache::scripted::{Cut, within};
use crate::config::{Access, Backend, CacheConfig, Config, Proxies};
use crate::outcome::SkipReason;

const TOKEN: &str = "a-token-of-operators";

/// An address that is allowed, of a trusted proxy, and of a caller that is denied.
const ALLOWED: &str = "10.1.0.1";
const PROXY: &str = "10.2.0.1";
const DENIED: &str = "192.0.2.9";

/// Requests: the first bytes of a connection, the head, and the message of a call. The first byte of the input decides
/// where the others are cut, and the caller.
///
/// The version of HTTP is the same at any cut, and no byte is lost. No header of a caller adds to its access but the token,
/// whatever a proxy sends behind it. The order of ranges in `Accept` means nothing. Every request is answered, with
/// a documented code, and never stored. A call's message is read as it was written.
pub fn http(input: &[u8]) {
    let Some((&seed, request)) = input.split_first() else { return };
    transport::fuzzing::first_bytes(request, Cut::Random(seed));
    grpc::fuzzing::call(request);
    let Some(request) = Parsed::of(request) else { return };
    request.decide_access();
    request.decide_format();
    request.answer(seed);
}

/// A request as it was written: a line with method, target and version, and a line for each header.
struct Parsed {
    method: Method,
    target: Uri,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Parsed {
    fn of(request: &[u8]) -> Option<Self> {
        let end = request.windows(2).position(|window| window == b"\n\n").unwrap_or(request.len());
        let (head, body) = (&request[..end], request.get(end + 2..).unwrap_or_default());
        let mut lines = head.split(|&byte| byte == b'\n');
        let mut words = lines.next()?.split(|&byte| byte == b' ');
        let (method, target) = (Method::from_bytes(words.next()?).ok()?, words.next()?.try_into().ok()?);
        let version = match words.next()? {
            b"0" => Version::HTTP_10,
            b"2" => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        let header = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(header).take(100) {
            headers.append(name, value);
        }
        Some(Self { method, target, version, headers, body: body.to_vec() })
    }

    fn request(&self, caller: Option<Caller>) -> Request {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        request
    }

    fn decide_access(&self) {
        let access = access();
        let Ok(host) = Host::of(&self.request(None)) else { return };
        let mut headers = self.headers.clone();
        let admitted = |address, headers: &HeaderMap| admit(&access, Some(at(address)), &host, headers);
        assert_eq!(admitted(DENIED, &headers), Err(Denied::Caller));
        headers.remove(header::AUTHORIZATION);
        assert_eq!(admitted(ALLOWED, &headers), admitted(ALLOWED, &HeaderMap::new()), "nobody believes it");
        for (name, element) in
            [("x-forwarded-for", DENIED.to_owned()), ("forwarded", format!("for={DENIED}"))]
        {
            let line =
                headers.get_all(name).iter().next_back().map(HeaderValue::as_bytes).unwrap_or_default();
            let on_line = [line, b", ", element.as_bytes()].concat();
            for last in [element.into_bytes(), on_line] {
                let mut headers = headers.clone();
                headers
                    .extend(HeaderValue::from_bytes(&last).map(|last| (HeaderName::from_static(name), last)));
                assert_eq!(admitted(PROXY, &headers), Err(Denied::Caller), "{}", last.escape_ascii());
            }
        }
    }

    fn decide_format(&self) {
        let types = ["application/json", "application/health+json", "text/plain", "text/html"];
        let preferred = |headers: &HeaderMap| {
            let offered = types.iter().filter_map(|name| Some((*name, MediaType::parse(name).ok()?)));
            accept::preferred(headers, offered)
        };
        let lines: Vec<_> = self.headers.get_all(header::ACCEPT).iter().cloned().collect();
        let reversed = lines.into_iter().rev().map(|line| (header::ACCEPT, line)).collect();
        assert_eq!(preferred(&self.headers), preferred(&reversed));
    }

    fn answer(&self, seed: u8) {
        let caller = [
            Some(at("127.0.0.1")),
            Some(at(ALLOWED)),
            Some(at(PROXY)),
            Some(at(DENIED)),
            Some(Caller::Local),
            None,
        ][usize::from(seed) % 6];
        let answered = within(256, ROUTER.with(Router::clone).oneshot(self.request(caller)));
        let response = answered.expect("no cache is asked").unwrap_or_else(|never| match never {});
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let code = response.status();
        let is_known = matches!(code.as_u16(), 200 | 400 | 401 | 403 | 404 | 405 | 413 | 415 | 503 | 505);
        assert!(is_known, "{code}");
        if caller.is_none() || caller == Some(at(DENIED)) {
            // The code of a call is gRPC's.
            let status = response.headers().get("grpc-status");
            let is_refused = status.map_or(code != StatusCode::OK, |status| status != "0");
            assert!(is_refused, "{code} for a caller that is denied");
        }
        let body = within(256, response.into_body().collect());
        // A stream has no end.
        if let Some(Ok(body)) = body {
            let body = body.to_bytes();
            assert!(body.len() < 256 * 1024);
            assert!(!body.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
        }
    }
}

thread_local! {
    /// The router of a sidecar without any cache to ask.
    static ROUTER: Router = sidecar();
}

fn sidecar() -> Router {
    let alias = Alias::try_from("staticfiles").expect("letters");
    let caches = vec![CacheConfig::new(alias, Backend::Unchecked(SkipReason::LocalMemory))];
    let config = Config { instance: "test".to_owned(), access: access(), caches, ..Config::default() };
    let app = Arc::new(App::new(&config).expect("no files"));
    app.enter(Life::Ready);
    router(app)
}

fn access() -> Access {
    let network = |text: &str| text.parse().into_iter();
    Access {
        allow: ["127.0.0.0/8", "10.0.0.0/8"].into_iter().flat_map(network).collect(),
        details: network("127.0.0.0/8").collect(),
        hosts: Vec::new(),
        trusted_proxies: Proxies { networks: network("10.2.0.0/16").collect(), unix: true },
        token: Some(TOKEN.into()),
    }
}

fn at(address: &str) -> Caller {
    address.parse().map_or(Caller::Unknown, Caller::Remote)
}
