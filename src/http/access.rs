//! [`AccessLevel`]: the details that a caller may see; `Subscriber`: the caller of a stream.

use axum::extract::Request;
use axum::http::HeaderMap;

pub use super::transport::caller::Caller;

use super::host::Host;
use super::{proxies, token};
use crate::app::Denied;
use crate::config::Access;

/// The amount of information that a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Statuses and causes.
    Verdicts,
    /// Also addresses, phases and the words of servers.
    Details,
}

/// A request with a wrong token, for the log of its connection: the client that sent it, by a trusted proxy's word or its own.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct WrongToken(pub(super) Caller);

impl WrongToken {
    /// The words for the log about `peer`, at the other end of the connection.
    pub(in crate::http) fn said(self, peer: Caller) -> String {
        match self.0 {
            Caller::Remote(client) if self.0 != peer => {
                format!("passed on a bearer token of {client} that is not access.token")
            }
            Caller::Remote(_) | Caller::Local | Caller::Unknown => {
                "sent a bearer token that is not access.token".to_owned()
            }
        }
    }
}

impl AccessLevel {
    /// The access level that the router's guard has set on `request`.
    pub(super) fn of(request: &Request) -> Self {
        request.extensions().get().copied().unwrap_or(Self::Verdicts)
    }
}

/// The access level of a request for `host` with these headers, over a connection of `peer`. Without a `peer` it is
/// denied.
///
/// The token is checked only after the caller is allowed: it adds the details, never the permission.
pub(super) fn admit(
    access: &Access,
    peer: Option<&Caller>,
    host: &Host,
    headers: &HeaderMap,
) -> Result<AccessLevel, Denied> {
    let &peer = peer.ok_or(Denied::Caller)?;
    let callers = proxies::callers(&access.trusted_proxies, peer, headers);
    let views: Option<Vec<_>> = callers.into_iter().map(|caller| view(access, caller, host)).collect();
    let least = views.and_then(|views| views.into_iter().min()).ok_or(Denied::Caller)?;
    let Some(token) = &access.token else { return Ok(least) };
    match token::shown(token, headers) {
        None => Ok(least),
        Some(true) => Ok(AccessLevel::Details),
        Some(false) => Err(Denied::Token),
    }
}

/// The client of `request`, as far as it is known.
pub(super) fn client(access: &Access, request: &Request) -> Caller {
    let peer = request.extensions().get().copied().unwrap_or(Caller::Unknown);
    let callers = proxies::callers(&access.trusted_proxies, peer, request.headers());
    callers.first().copied().unwrap_or(peer)
}

/// `true` if `peer` is denied both for itself and, as a trusted proxy, for another.
pub(super) fn excludes(access: &Access, peer: Caller) -> bool {
    !proxies::is_trusted(&access.trusted_proxies, peer) && view(access, peer, &Host::Unsaid).is_none()
}

/// The caller of a stream. The configuration may be reloaded meanwhile, so the access level is computed each time.
#[derive(Debug)]
pub(super) struct Subscriber {
    peer: Option<Caller>,
    host: Option<Host>,
    headers: HeaderMap,
}

impl Subscriber {
    /// The sender of `request`.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            peer: request.extensions().get().copied(),
            host: Host::of(request).ok(),
            headers: request.headers().clone(),
        }
    }

    /// The current access level; `None` if the caller is denied by now.
    pub(super) fn view(&self, access: &Access) -> Option<AccessLevel> {
        admit(access, self.peer.as_ref(), self.host.as_ref()?, &self.headers).ok()
    }
}

/// The access level of a `caller` that asks for `host`; `None` if it is denied.
fn view(access: &Access, caller: Caller, host: &Host) -> Option<AccessLevel> {
    let ip = match caller {
        Caller::Local => return Some(AccessLevel::Details),
        Caller::Unknown => return allows_everyone(access).then_some(AccessLevel::Verdicts),
        // An IPv4 caller of a dual-stack socket has an IPv4-mapped address.
        Caller::Remote(ip) => ip.to_canonical(),
    };
    let among = |networks: &[ipnet::IpNet]| networks.iter().any(|network| network.contains(&ip));
    if !among(&access.allow) {
        None
    } else if among(&access.details) && !(ip.is_loopback() && host.may_be_rebound(&access.hosts)) {
        Some(AccessLevel::Details)
    } else {
        Some(AccessLevel::Verdicts)
    }
}

/// `true` if every address is allowed.
fn allows_everyone(access: &Access) -> bool {
    let whole = |is_ipv4: bool| {
        let mut networks = access.allow.iter();
        networks.any(|network| network.prefix_len() == 0 && network.addr().is_ipv4() == is_ipv4)
    };
    whole(true) && whole(false)
}
