//! The addresses of other servers that a server announces.

use redis::Value;

use crate::config::Address;

/// The longest host that is dialed, which is the longest name in DNS (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// The address of a host and a port; `None` if they cannot be dialed.
pub(super) fn tcp(host: &str, port: u16) -> Option<Address> {
    let is_host = (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
    (is_host && port != 0).then(|| Address::Tcp { host: host.to_owned(), port })
}

/// The address of a host and a port that are values of an answer.
pub(super) fn address(host: &Value, port: &Value) -> Option<Address> {
    let port = match port {
        Value::Int(port) => u16::try_from(*port).ok()?,
        port => text(port)?.parse().ok()?,
    };
    tcp(text(host)?, port)
}

/// The text of a string of any kind.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for host in ["10.0.0.1", "::1", "redis-0.redis"] {
            let tcp = Some(Address::Tcp { host: host.to_owned(), port: 6379 });
            assert_eq!(address(&bulk(host), &bulk("6379")), tcp);
            assert_eq!(address(&bulk(host), &Value::Int(6379)), tcp);
        }
    }

    #[test]
    fn a_text_that_cannot_be_dialed_is_no_address() {
        for host in ["", "a b", "a\n", "h\u{e9}", &"a".repeat(254)] {
            assert_eq!(address(&bulk(host), &bulk("6379")), None, "{host:?}");
        }
        for port in [bulk("0"), bulk("65536"), bulk("-1"), bulk(""), Value::Int(-1), Value::Nil] {
            assert_eq!(address(&bulk("cache"), &port), None, "{port:?}");
        }
        assert_eq!(address(&Value::Nil, &bulk("6379")), None);
    }
}
