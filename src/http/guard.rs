//! [`Guard`]: what every request passes on its way to an answer.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use tower::Service as _;

use super::AppState;
use super::access::{self, AccessLevel, Admitted, Caller, WrongToken, admit};
use super::grpc::Call;
use super::host::Host;
use super::refusal::Refusal;
use super::verdicts::Verdict;
use crate::app::Setup;
use crate::config::Access;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Admits callers, refuses requests without a valid host or with a body, and forbids caching of responses. It is no layer of axum's:
/// as one it would take 6,000 instructions more.
pub(super) struct Guard {
    pub(super) state: AppState,
    pub(super) router: Router,
    /// `true` if the verdicts are among the router's paths. By their plain paths, as they are polled, they are answered without the
    /// router, on the way through which nearly a third of `/livez` was spent.
    pub(super) has_verdicts: bool,
}

/// An answer that is decided, but not made yet.
enum Decided {
    Refused(Refusal),
    Verdict(Verdict, Arc<Setup>),
    Routed(Box<Request>),
}

/// The properties of a request on which the headers of its answer depend.
struct Asked {
    is_options: bool,
    /// `true` if the body is not read, so that no other request can follow it on its connection.
    is_last: bool,
    call: Option<Call>,
    wrong_token: Option<WrongToken>,
}

impl Guard {
    /// Decides on a request that came over a connection of `peer`, and makes its answer.
    pub(super) fn answer(
        self: &Arc<Self>,
        mut request: Box<Request>,
        peer: Option<Caller>,
    ) -> BoxFuture<'static, Response> {
        let has_body = !request.body().is_end_stream();
        let mut asked = Asked {
            is_options: *request.method() == Method::OPTIONS,
            is_last: has_body && request.version() < Version::HTTP_2,
            call: Call::of(&request),
            wrong_token: None,
        };
        with_slash(&mut request);
        let setup = self.state.app.setup();
        let decided = match self.judged(&setup.access, &request, peer) {
            Err(refusal) => {
                if matches!(refusal, Refusal::Token) {
                    asked.wrong_token = Some(WrongToken(access::client(&setup.access, &request, peer)));
                }
                Decided::Refused(refusal)
            }
            Ok(_)
                if has_body && matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) =>
            {
                Decided::Refused(Refusal::Body)
            }
            Ok(view) => match self.verdict(&request, view) {
                Some(Ok(verdict)) => Decided::Verdict(verdict, setup),
                Some(Err(refusal)) => Decided::Refused(refusal),
                None => {
                    request.extensions_mut().insert(Admitted { peer, view });
                    Decided::Routed(request)
                }
            },
        };
        Box::pin(self.clone().response(decided, asked))
    }

    async fn response(self: Arc<Self>, decided: Decided, asked: Asked) -> Response {
        let mut response = match decided {
            Decided::Refused(refusal) => refusal.into_response(),
            Decided::Verdict(verdict, setup) => verdict.response(&self.state, &setup).await,
            Decided::Routed(request) => {
                let Ok(response) = self.router.clone().call(*request).await;
                response
            }
        };
        let Asked { is_options, is_last, call, wrong_token } = asked;
        if is_options && !response.status().is_client_error() {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,OPTIONS"));
        }
        if let Some(call) = call {
            response = call.answer(response).await;
        }
        if let Some(wrong_token) = wrong_token {
            response.extensions_mut().insert(wrong_token);
        }
        write_headers(response.headers_mut(), is_last);
        response
    }

    /// The access level of the caller of `request`. A denied one is counted.
    fn judged(
        &self,
        access: &Access,
        request: &Request,
        peer: Option<Caller>,
    ) -> Result<AccessLevel, Refusal> {
        let host = Host::of(request)?;
        let admitted = admit(access, peer, &host, request.headers());
        Ok(admitted.inspect_err(|&denied| self.state.app.denials().count(denied))?)
    }

    /// The verdict at the plain path of `request`. The router answers HEAD, for which it removes the body.
    fn verdict(&self, request: &Request, view: AccessLevel) -> Option<Result<Verdict, Refusal>> {
        let is_polled = self.has_verdicts && matches!(*request.method(), Method::GET | Method::OPTIONS);
        is_polled.then(|| Verdict::of(request, view)).flatten()
    }
}

fn write_headers(headers: &mut HeaderMap, is_last: bool) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // Some texts repeat input of the caller, and none is a page because it looks like one.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if is_last {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Adds the slash that a target such as `health` lacks, as in HAProxy's `option httpchk GET health`: it is read as a host
/// otherwise, and its path as `/`, which is 200 during an outage.
fn with_slash(request: &mut Request) {
    let uri = request.uri();
    let is_path = request.version() < Version::HTTP_2 && uri.scheme().is_none();
    let target = uri.authority().filter(|_| is_path && *request.method() != Method::CONNECT);
    if let Some(Ok(uri)) = target.map(|target| Uri::try_from(format!("/{target}"))) {
        *request.uri_mut() = uri;
    }
}
