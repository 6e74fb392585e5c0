//! [`Host`]: the host that a request asks for (RFC 9112, section 3.2; RFC 9113, section 8.3.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version, header};

/// The host that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// The request names none, which HTTP/1.0 allows. No browser does so.
    Unsaid,
    /// The request has a `Host` without a value, as for a target without an authority.
    Empty,
    /// A name or an address, perhaps with a port.
    Named(Authority),
    /// Something else, such as the name of a cluster of servers, which Envoy's health checks send unless told otherwise.
    Other,
}

/// The reason why the host of a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidHost {
    /// HTTP/1.1 without `Host`.
    Missing,
    /// More than one `Host`.
    Several,
    /// A `Host` that differs from the `:authority` of HTTP/2.
    Contradicted,
}

impl InvalidHost {
    /// The error text, in one line. The value is the caller's, so the line does not repeat it.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Missing => "HTTP/1.1 requests must have a Host header\n",
            Self::Several => "requests must not have more than one Host header\n",
            Self::Contradicted => "the Host header must equal :authority\n",
        }
    }
}

impl Host {
    /// The host that `request` asks for. The authority of its target counts before the `Host` header.
    pub(super) fn of(request: &Request) -> Result<Self, InvalidHost> {
        let version = request.version();
        let mut headers = request.headers().get_all(header::HOST).iter();
        let header = match (headers.next(), headers.next()) {
            (_, Some(_)) => return Err(InvalidHost::Several),
            (Some(value), None) => Self::in_header(value),
            (None, None) if version == Version::HTTP_11 => return Err(InvalidHost::Missing),
            (None, None) => Self::Unsaid,
        };
        let Some(target) = request.uri().authority() else { return Ok(header) };
        let target = Self::named(target.clone());
        // In HTTP/1 the header is to be ignored beside a target with an authority.
        if version >= Version::HTTP_2 && header != Self::Unsaid && header != target {
            return Err(InvalidHost::Contradicted);
        }
        Ok(target)
    }

    fn in_header(value: &HeaderValue) -> Self {
        if value.is_empty() {
            return Self::Empty;
        }
        Authority::try_from(value.as_bytes()).map_or(Self::Other, Self::named)
    }

    /// The parser of `Authority` also takes credentials, brackets around anything, and a port that is no number.
    fn named(authority: Authority) -> Self {
        let host = authority.host();
        let port = authority.as_str().strip_prefix(host);
        let is_valid = (is_address(host) || is_name(host)) && port.is_some_and(is_port);
        if is_valid { Self::Named(authority) } else { Self::Other }
    }

    /// `true` if the request may come from a web page whose own name was made to resolve to this machine (DNS
    /// rebinding). An attacker has no power over an address, over a name below `localhost` (RFC 6761, section 6.3), and
    /// over `ours`, the names that the operator has configured.
    pub(super) fn may_be_rebound(&self, ours: &[String]) -> bool {
        match self {
            Self::Unsaid => false,
            Self::Empty | Self::Other => true,
            Self::Named(authority) => {
                let host = authority.host();
                let name = host.strip_suffix('.').unwrap_or(host);
                let is_local =
                    name.rsplit('.').next().is_some_and(|top| top.eq_ignore_ascii_case("localhost"));
                let is_ours = || ours.iter().any(|our| our.eq_ignore_ascii_case(name));
                !(is_local || is_address(name) || is_ours())
            }
        }
    }
}

/// `true` for an IPv4 address, or an IPv6 address in brackets, perhaps with a zone (RFC 6874).
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(bare) => bare.split('%').next().is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok()),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// `true` for a registered name (RFC 3986, section 3.2.2).
fn is_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    !host.is_empty() && host.bytes().all(allowed)
}

/// `true` for an empty text, or a colon with or without a port behind it.
fn is_port(text: &str) -> bool {
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.is_empty() || is_number(port))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn host(value: &str) -> Host {
        Host::in_header(&HeaderValue::from_bytes(value.as_bytes()).unwrap())
    }

    #[test]
    fn a_name_or_an_address_with_a_port_or_without_is_a_host_and_nothing_else_is() {
        for valid in [
            "a",
            "a.b-c_d.e.",
            "A:80",
            "a:",
            "a:0",
            "a:65535",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "[fe80::1%25eth0]",
            "1.2.3",
            "a,b",
            "xn--bcher-kva.example",
        ] {
            assert!(matches!(host(valid), Host::Named(_)), "{valid}");
        }
        for other in [
            "a b",
            "a/b",
            "http://a",
            "a:b",
            "a:+1",
            "a:-1",
            "a:65536",
            "a:1:2",
            ":80",
            ":",
            "::1",
            "[::1",
            "::1]",
            "[a]",
            "[]",
            "[::1]80",
            "a[::1]",
            "[::1]a:80",
            "[::1]:b",
            "user@a",
            "a@a",
            "@",
            "a@",
            "a?",
            "a#",
            "a%41",
            "<a>",
            "b\u{fc}cher",
            "a\\b",
            "\"a\"",
            "a|b",
            "a, b",
        ] {
            assert_eq!(host(other), Host::Other, "{other}");
        }
        assert_eq!(host(""), Host::Empty);
    }

    #[test]
    fn only_a_name_in_the_hands_of_others_may_be_rebound() {
        let ours = ["canary.internal".to_owned()];
        for safe in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "canary.localhost",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "10.0.0.5:8080",
            "[2001:db8::1]",
            "canary.internal",
            "CANARY.internal.:8080",
        ] {
            assert!(!host(safe).may_be_rebound(&ours), "{safe}");
        }
        for other in [
            "evil.test",
            "localhost.evil.test",
            "evillocalhost",
            "127.0.0.1.evil.test",
            "canary.internal.evil.test",
            "a.canary.internal",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "localhost..",
            "evil.test@localhost",
            "",
        ] {
            assert!(host(other).may_be_rebound(&ours), "{other}");
        }
        assert!(host("canary.internal").may_be_rebound(&[]));
        assert!(!Host::Unsaid.may_be_rebound(&[]));
    }

    #[test]
    fn each_version_has_its_own_rule_for_the_number_of_hosts_and_the_one_that_counts() {
        use InvalidHost::{Contradicted, Missing, Several};
        use Version as V;
        let named = |name: &'static str| Ok(Host::Named(Authority::from_static(name)));
        for (version, target, hosts, expected) in [
            (V::HTTP_10, "/", &[][..], Ok(Host::Unsaid)),
            (V::HTTP_11, "/", &[], Err(Missing)),
            (V::HTTP_2, "/", &[], Ok(Host::Unsaid)),
            (V::HTTP_10, "/", &["a", "a"], Err(Several)),
            (V::HTTP_11, "/", &["a", "a"], Err(Several)),
            (V::HTTP_2, "/", &["a", "a"], Err(Several)),
            (V::HTTP_11, "/", &["a:1"], named("a:1")),
            (V::HTTP_2, "/", &["a:1"], named("a:1")),
            (V::HTTP_10, "http://t/", &[], named("t")),
            (V::HTTP_11, "http://t/", &[], Err(Missing)),
            (V::HTTP_11, "http://t/", &["a", "t"], Err(Several)),
            (V::HTTP_11, "http://t/", &["a b"], named("t")),
            (V::HTTP_11, "http://t/", &["a"], named("t")),
            (V::HTTP_11, "http://u@t/", &["t"], Ok(Host::Other)),
            (V::HTTP_11, "/", &["outbound|8080||canary.svc"], Ok(Host::Other)),
            (V::HTTP_2, "http://t/", &[], named("t")),
            (V::HTTP_2, "http://t/", &["T"], named("t")),
            (V::HTTP_2, "http://t/", &["a"], Err(Contradicted)),
            (V::HTTP_2, "http://t/", &[""], Err(Contradicted)),
        ] {
            let mut request = Request::builder().version(version).uri(target);
            for &host in hosts {
                request = request.header(header::HOST, host);
            }
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(Host::of(&request), expected, "{version:?} {target} {hosts:?}");
        }
    }
}
