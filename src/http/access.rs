//! [`AccessLevel`]: the details that a caller may see; `Subscriber`: a caller that goes on listening.

use axum::extract::Request;
use axum::http::HeaderMap;

pub use super::transport::caller::Caller;

use super::host::Host;
use super::{proxies, token};
use crate::config::Access;

/// The amount of information that a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Statuses and causes.
    Verdicts,
    /// Also addresses, phases and the words of servers.
    Details,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// The caller is not among those who may ask.
    Caller,
    /// The caller may ask, and shows a token that is not the configured one.
    Token,
}

impl AccessLevel {
    /// What the router's guard found that the caller of `request` may see.
    pub(super) fn of(request: &Request) -> Self {
        request.extensions().get().copied().unwrap_or(Self::Verdicts)
    }
}

/// What a request for `host` with these headers may see that came over a connection of `peer`; one of whom nothing is
/// known may see nothing.
///
/// A token is looked at only once the caller is among those who may ask: it adds the details, never the permission.
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

/// Whether `peer` may ask nothing, neither for itself nor, as a trusted proxy, for another.
pub(super) fn excludes(access: &Access, peer: Caller) -> bool {
    !proxies::is_trusted(&access.trusted_proxies, peer) && view(access, peer, &Host::Unsaid).is_none()
}

/// Somebody who is told again and again, for as long as they listen. The configuration may be read anew meanwhile, so
/// what they may see is asked each time.
#[derive(Debug)]
pub(super) struct Subscriber {
    peer: Option<Caller>,
    host: Option<Host>,
    headers: HeaderMap,
}

impl Subscriber {
    /// Who has sent `request`.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            peer: request.extensions().get().copied(),
            host: Host::of(request).ok(),
            headers: request.headers().clone(),
        }
    }

    /// What they may see by now, if anything.
    pub(super) fn view(&self, access: &Access) -> Option<AccessLevel> {
        admit(access, self.peer.as_ref(), self.host.as_ref()?, &self.headers).ok()
    }
}

/// The view of a `caller` that asks for `host`, or `None` for one that gets no answer.
fn view(access: &Access, caller: Caller, host: &Host) -> Option<AccessLevel> {
    let ip = match caller {
        Caller::Local => return Some(AccessLevel::Details),
        Caller::Unknown => return allows_everyone(access).then_some(AccessLevel::Verdicts),
        // An IPv4 caller of a socket that takes both families has an IPv4-mapped address.
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

/// Whether it does not matter who asks.
fn allows_everyone(access: &Access) -> bool {
    let whole = |is_ipv4: bool| {
        let mut networks = access.allow.iter();
        networks.any(|network| network.prefix_len() == 0 && network.addr().is_ipv4() == is_ipv4)
    };
    whole(true) && whole(false)
}
