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

/// What the guard tells the router about the caller of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    /// The other end of the connection, if there is one.
    pub(super) peer: Option<Caller>,
    pub(super) view: AccessLevel,
}

impl AccessLevel {
    /// The access level that the guard has set on `request`.
    pub(super) fn of(request: &Request) -> Self {
        request.extensions().get().map_or(Self::Verdicts, |admitted: &Admitted| admitted.view)
    }
}

/// The access level of a request for `host` with these headers, over a connection of `peer`. Without a `peer` it is
/// denied.
///
/// The token is checked only after the caller is allowed: it adds the details, never the permission.
pub(super) fn admit(
    access: &Access,
    peer: Option<Caller>,
    host: &Host,
    headers: &HeaderMap,
) -> Result<AccessLevel, Denied> {
    let peer = peer.ok_or(Denied::Caller)?;
    let callers = proxies::callers(&access.trusted_proxies, peer, headers);
    let views = callers.map(|caller| view(access, caller, host).ok_or(Denied::Caller));
    let least = views.reduce(|one, other| Ok(one?.min(other?))).unwrap_or(Err(Denied::Caller))?;
    let Some(token) = &access.token else { return Ok(least) };
    match token::shown(token, headers) {
        None => Ok(least),
        Some(true) => Ok(AccessLevel::Details),
        Some(false) => Err(Denied::Token),
    }
}

/// The client of `request` over a connection of `peer`, as far as it is known.
pub(super) fn client(access: &Access, request: &Request, peer: Option<Caller>) -> Caller {
    let peer = peer.unwrap_or(Caller::Unknown);
    proxies::callers(&access.trusted_proxies, peer, request.headers()).next().unwrap_or(peer)
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
            peer: request.extensions().get().and_then(|admitted: &Admitted| admitted.peer),
            host: Host::of(request).ok(),
            headers: request.headers().clone(),
        }
    }

    /// The current access level; `None` if the caller is denied by now.
    pub(super) fn view(&self, access: &Access) -> Option<AccessLevel> {
        admit(access, self.peer, self.host.as_ref()?, &self.headers).ok()
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::Proxies;

    fn networks<const N: usize>(networks: [&str; N]) -> Vec<ipnet::IpNet> {
        networks.map(|network| network.parse().unwrap()).into()
    }

    fn remote(ip: &str) -> Caller {
        Caller::Remote(ip.parse::<IpAddr>().unwrap())
    }

    fn named(host: &'static str) -> Host {
        Host::Named(host.parse().unwrap())
    }

    /// Everybody in `10.0.0.0/8` and on loopback is allowed, and details are for a part of them.
    fn closed() -> Access {
        Access {
            allow: networks(["10.0.0.0/8", "127.0.0.0/8"]),
            details: networks(["10.1.0.0/16", "127.0.0.0/8", "192.0.2.0/24"]),
            ..Access::default()
        }
    }

    #[test]
    fn details_are_for_callers_of_their_networks_unless_a_name_may_be_rebound_to_loopback() {
        for (ip, host, expected) in [
            ("10.1.0.1", named("evil.test"), Some(AccessLevel::Details)),
            ("10.2.0.1", named("localhost"), Some(AccessLevel::Verdicts)),
            ("127.0.0.1", named("localhost"), Some(AccessLevel::Details)),
            ("::ffff:127.0.0.1", Host::Unsaid, Some(AccessLevel::Details)),
            ("127.0.0.1", named("evil.test"), Some(AccessLevel::Verdicts)),
            ("192.0.2.1", named("localhost"), None),
        ] {
            assert_eq!(view(&closed(), remote(ip), &host), expected, "{ip} {host:?}");
        }
    }

    #[test]
    fn a_caller_without_an_address_is_allowed_only_if_every_address_of_both_families_is() {
        let level = |allow| {
            let access = Access { allow, ..Access::default() };
            view(&access, Caller::Unknown, &Host::Unsaid)
        };
        assert_eq!(level(networks(["0.0.0.0/0", "::/0"])), Some(AccessLevel::Verdicts));
        assert_eq!(level(networks(["::/0", "0.0.0.0/0"])), Some(AccessLevel::Verdicts));
        for part in [["0.0.0.0/0", "fd00::/8"], ["10.0.0.0/8", "::/0"], ["0.0.0.0/0", "127.0.0.0/8"]] {
            assert_eq!(level(networks(part)), None, "{part:?}");
        }
    }

    #[test]
    fn a_peer_is_excluded_if_it_is_denied_and_no_trusted_proxy() {
        let trusted_proxies = Proxies { networks: networks(["172.16.0.0/12"]), unix: false };
        let access = Access { trusted_proxies, ..closed() };
        assert!(excludes(&access, remote("192.0.2.1")));
        assert!(!excludes(&access, remote("10.2.0.1")), "it is allowed");
        assert!(!excludes(&access, remote("172.16.0.1")), "it may ask for another");
    }

    #[test]
    fn a_stream_is_viewed_with_the_access_of_its_sender_by_the_configuration_of_now() {
        let mut request = Request::default();
        request
            .extensions_mut()
            .insert(Admitted { peer: Some(remote("10.1.0.1")), view: AccessLevel::Details });
        request.headers_mut().insert("host", "cache.test".parse().unwrap());
        let subscriber = Subscriber::of(&request);
        assert_eq!(subscriber.view(&closed()), Some(AccessLevel::Details));
        let details = networks(["127.0.0.0/8"]);
        assert_eq!(subscriber.view(&Access { details, ..closed() }), Some(AccessLevel::Verdicts));
        let allow = networks(["127.0.0.0/8"]);
        assert_eq!(subscriber.view(&Access { allow, ..closed() }), None);
    }

    #[test]
    fn a_wrong_token_is_logged_with_its_client_if_a_proxy_passed_it_on() {
        let (client, proxy) = (remote("10.0.0.1"), remote("172.16.0.1"));
        let sent = "sent a bearer token that is not access.token";
        assert_eq!(WrongToken(client).said(client), sent);
        assert_eq!(WrongToken(Caller::Unknown).said(proxy), sent);
        let passed_on = "passed on a bearer token of 10.0.0.1 that is not access.token";
        assert_eq!(WrongToken(client).said(proxy), passed_on);
    }
}
