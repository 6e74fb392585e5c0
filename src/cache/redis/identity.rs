//! [`Identity`]: what a server says that it is. Without I/O.

use redis::{ServerError, Value};

use crate::outcome::Cause;

/// What a server says that it is. Without an answer, nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) mode: Option<Mode>,
    /// `true` for Envoy's Redis proxy, of which all clients share the database: its SELECT is sent on the upstream
    /// connections of everybody (seen in Envoy 1.40).
    pub(super) shares_database: bool,
}

/// The mode of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Standalone,
    Cluster,
    Sentinel,
}

/// The name in HELLO's answer of Envoy's Redis proxy (`command_splitter_impl.cc`).
const ENVOY: &[u8] = b"envoy-redis-proxy";

/// The number of slots of a cluster ("Redis cluster specification", Key distribution model).
const SLOTS: u64 = 16_384;

impl Identity {
    /// Reads the answer to HELLO.
    pub(super) fn of_hello(answer: &Value) -> Self {
        let value = |name| value_of(answer, name).and_then(bytes);
        Self { mode: value("mode").and_then(Mode::parse), shares_database: value("server") == Some(ENVOY) }
    }

    /// Reads the answer to `INFO server` of a server that does not know HELLO. Only the word of a server from before
    /// HELLO (Redis 6) counts: a later one that does not know it is a proxy, and may tell of a server behind it.
    pub(super) fn of_info(answer: &Value) -> Self {
        let text = bytes(answer).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let version =
            field(text, "redis_version").and_then(|version| version.split('.').next()?.parse().ok());
        let mode = field(text, "redis_mode").and_then(|mode| Mode::parse(mode.as_bytes()));
        Self { mode: mode.filter(|_| version.is_some_and(|major: u32| major < 6)), shares_database: false }
    }
}

impl Mode {
    fn parse(mode: &[u8]) -> Option<Self> {
        match mode {
            b"standalone" => Some(Self::Standalone),
            b"cluster" => Some(Self::Cluster),
            b"sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }
}

/// The reason why a node of a cluster does not store every key, by its answer to `CLUSTER INFO`.
pub(super) fn refusal_in_cluster(answer: &Value) -> Option<(Cause, String)> {
    let text = std::str::from_utf8(bytes(answer)?).ok()?;
    let number = |name| field(text, name).and_then(|number| number.parse::<u64>().ok());
    let primaries = number("cluster_size")?;
    if primaries > 1 {
        let said = format!(
            "the server is a node of a cluster of {primaries} primaries, and holds only some of the keys"
        );
        return Some((Cause::Redirected, said));
    }
    // A cluster that does not serve refuses the canary itself.
    let serves = field(text, "cluster_state") == Some("ok");
    let missing = SLOTS.saturating_sub(number("cluster_slots_assigned")?);
    (serves && missing > 0).then(|| (Cause::ClusterDown, format!("{missing} of {SLOTS} slots have no owner")))
}

/// Hash tags in slots near the middle of each sixteenth of a cluster's ("Redis cluster specification", Hash tags).
pub(super) const TAGS: [&str; 16] = [
    "18", "455", "333", "223", "553", "443", "95", "663", "265", "375", "908", "155", "985", "895", "405",
    "515",
];

/// The error of a cluster's node for the key of a slot that it does not serve, or that no node serves. ASK is none: the
/// slot is about to leave, and perhaps the first one.
pub(super) fn refusal_of_slot(answer: &Value) -> Option<&ServerError> {
    let Value::ServerError(error) = answer else { return None };
    matches!(error.code(), "MOVED" | "CLUSTERDOWN").then_some(error)
}

/// The value under a name in an answer that is a map, which RESP2 writes as a list of names and values (Redis' protocol
/// specification, RESP3, Map type).
pub(crate) fn value_of<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    let is_named = |key: &Value| bytes(key) == Some(name.as_bytes());
    match answer {
        Value::Map(entries) => entries.iter().find(|(key, _)| is_named(key)).map(|(_, value)| value),
        Value::Array(elements) => {
            elements.chunks_exact(2).find(|pair| is_named(&pair[0])).map(|pair| &pair[1])
        }
        _ => None,
    }
}

/// The value of a field in a text of lines such as `name:value`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn hello(entries: &[(&str, &str)]) -> [Value; 2] {
        let pairs = entries.iter().map(|(key, value)| (bulk(key), bulk(value)));
        let list = pairs
            .clone()
            .flat_map(|(key, value)| [key, value])
            .chain([bulk("modules"), Value::Array(vec![])]);
        [Value::Array(list.collect()), Value::Map(pairs.collect())]
    }

    #[test]
    fn a_server_is_what_it_says_in_either_version_of_the_protocol() {
        for (server, mode, expected, shares_database) in [
            ("redis", "standalone", Some(Mode::Standalone), false),
            ("valkey", "cluster", Some(Mode::Cluster), false),
            ("redis", "sentinel", Some(Mode::Sentinel), false),
            ("envoy-redis-proxy", "standalone", Some(Mode::Standalone), true),
            ("another", "of its own", None, false),
        ] {
            for answer in hello(&[("server", server), ("version", "9"), ("mode", mode)]) {
                assert_eq!(Identity::of_hello(&answer), Identity { mode: expected, shares_database });
            }
        }
        for nonsense in [Value::Okay, Value::Nil, Value::Array(vec![bulk("mode")]), bulk("mode")] {
            assert_eq!(Identity::of_hello(&nonsense), Identity::default());
        }
    }

    #[test]
    fn only_a_server_that_is_older_than_hello_is_taken_at_its_word_in_info() {
        let mode = |text| Identity::of_info(&bulk(text)).mode;
        assert_eq!(mode("# Server\r\nredis_version:5.0.14\r\nredis_mode:cluster\r\n"), Some(Mode::Cluster));
        assert_eq!(mode("redis_version:7.0.15\r\nredis_mode:cluster\r\n"), None);
        assert_eq!(mode("redis_mode:cluster\r\n"), None);
        assert_eq!(Identity::of_info(&Value::Nil), Identity::default());
    }

    #[test]
    fn tags_are_of_slots_all_over_a_cluster() {
        let crc = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
        let sixteenth = |tag: &&str| u64::from(crc.checksum(tag.as_bytes())) % SLOTS * 16 / SLOTS;
        let reached: Vec<_> = TAGS.iter().map(sixteenth).collect();
        assert_eq!(reached, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn a_node_that_owns_every_slot_stores_every_key() {
        let refusal = |state: &str, assigned: u32, size: u32| {
            let text = format!(
                "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_size:{size}\r\n"
            );
            refusal_in_cluster(&bulk(&text)).map(|(cause, _)| cause)
        };
        assert_eq!(refusal("ok", 16_384, 1), None);
        assert_eq!(refusal("ok", 16_384, 3), Some(Cause::Redirected));
        assert_eq!(refusal("fail", 16_384, 2), Some(Cause::Redirected));
        assert_eq!(refusal("ok", 16_000, 1), Some(Cause::ClusterDown));
        assert_eq!(refusal("fail", 0, 0), None, "the canary is refused");
        assert_eq!(refusal_in_cluster(&bulk("cluster_state:ok\r\n")), None);
        assert_eq!(refusal_in_cluster(&Value::Nil), None);
    }
}
