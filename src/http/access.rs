//! `Caller`: who is asking; `View`: what they may see.

use std::net::IpAddr;

use axum::extract::Request;

use crate::config::Access;

/// Who is asking, from the connection alone: headers that say so are anybody's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Over TCP, from this address.
    Remote(IpAddr),
    /// Over a unix socket, whose file's permissions let them in.
    Local,
}

/// What a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Statuses and causes.
    Verdicts,
    /// Also addresses, phases and the words of servers.
    Details,
}

impl View {
    /// What the router's guard found that the caller of `request` may see.
    pub(super) fn of(request: &Request) -> Self {
        request.extensions().get().copied().unwrap_or(Self::Verdicts)
    }
}

/// What `caller` may see, or `None` for one who gets no answer, such as one of whom nothing is known.
#[must_use]
pub fn view(access: &Access, caller: Option<&Caller>) -> Option<View> {
    let ip = match caller? {
        Caller::Local => return Some(View::Details),
        // An IPv4 caller of a socket that takes both families has an IPv4-mapped address.
        Caller::Remote(ip) => ip.to_canonical(),
    };
    let among = |networks: &[ipnet::IpNet]| networks.iter().any(|network| network.contains(&ip));
    if !among(&access.allow) {
        None
    } else if among(&access.details) {
        Some(View::Details)
    } else {
        Some(View::Verdicts)
    }
}
