//! The JSON Schema of the configuration file, for editors. It says which keys there are and what stands behind them;
//! what values mean together, [`load`](super::load) alone says.

/// The schema, in draft 2020-12.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::config::checks::Client;
    use crate::config::redis::{REPLICA_KEYS, RedisTopology};
    use crate::config::{
        BreakerConfig, Config, access, breaker, caches, checks, fleet, groups, listeners, settings, tls,
    };

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).unwrap()
    }

    /// The pointers to everything in a schema that lists keys.
    fn tables(value: &Value, pointer: &str, found: &mut BTreeSet<String>) {
        let parts: Vec<(String, &Value)> = match value {
            Value::Object(object) => object.iter().map(|(key, part)| (key.clone(), part)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(place, part)| (place.to_string(), part)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        if value["properties"].is_object() {
            assert_eq!(value["additionalProperties"], false, "{pointer} refuses what it does not know");
            found.insert(pointer.to_owned());
        }
        for (key, part) in parts {
            tables(part, &format!("{pointer}/{key}"), found);
        }
    }

    #[test]
    fn its_keys_are_those_that_are_read() {
        let mut known = vec![
            (String::new(), settings::KEYS),
            ("/properties/access".to_owned(), access::KEYS),
            ("/properties/tls".to_owned(), listeners::TLS_KEYS),
            ("/properties/limits".to_owned(), listeners::LIMITS_KEYS),
            ("/properties/probes".to_owned(), listeners::OWN_KEYS),
            ("/properties/metrics".to_owned(), listeners::OWN_KEYS),
            ("/properties/fleet".to_owned(), fleet::KEYS),
        ];
        let named = [
            ("group", groups::KEYS),
            ("cache", caches::KEYS),
            ("tls", tls::KEYS),
            ("replicas", REPLICA_KEYS),
            ("breaker", breaker::KEYS),
            ("checks", checks::KINDS),
            ("durations", checks::LIMITS),
            ("integers", checks::LIMITS),
            ("numbers", checks::LIMITS),
            ("skew", checks::SKEW),
            ("ttl", checks::TTL),
        ];
        let named = named.iter().chain(checks::KEYS_OF_KINDS);
        known.extend(named.map(|&(name, keys)| (format!("/$defs/{name}"), keys)));
        let schema = schema();
        for (pointer, keys) in &known {
            let listed = schema.pointer(pointer).unwrap()["properties"].as_object().unwrap();
            let listed: BTreeSet<_> = listed.keys().map(String::as_str).collect();
            assert_eq!(listed, keys.iter().copied().collect(), "at {pointer}");
        }
        let mut found = BTreeSet::new();
        tables(&schema, "", &mut found);
        assert_eq!(found, known.into_iter().map(|(pointer, _)| pointer).collect());
    }

    #[test]
    fn its_words_are_those_that_are_read() {
        let clients = Client::ALL.map(Client::name);
        for (table, key, words) in [
            ("cache", "backend", caches::BackendKind::NAMES),
            ("cache", "topology", RedisTopology::NAMES),
            ("visibility", "client", &clients),
            ("queue", "preset", checks::PRESETS_OF_QUEUES),
            ("clock", "preset", checks::PRESETS_OF_CLOCKS),
        ] {
            let listed = &schema()["$defs"][table]["properties"][key]["anyOf"][0]["enum"];
            assert_eq!(listed, &Value::from(words), "{table}.{key}");
        }
    }

    #[test]
    fn its_defaults_are_those_in_force() {
        let (schema, default) = (schema(), Config::default());
        for (key, duration) in [
            ("timeout", default.timeout),
            ("max_age", default.max_age),
            ("reconnect_every", default.reconnect_every),
            ("dns_recheck", default.dns_recheck),
            ("interval", default.interval.unwrap_or(Duration::ZERO)),
            ("drain", default.drain),
        ] {
            let written = schema["properties"][key]["default"].as_str().unwrap();
            assert_eq!(humantime::parse_duration(written), Ok(duration), "{key}");
        }
        let (keys, breaker) = (&schema["$defs"]["breaker"]["properties"], BreakerConfig::default());
        assert_eq!(keys["after"]["default"], breaker.after);
        let open_for = humantime::parse_duration(keys["for"]["default"].as_str().unwrap());
        assert_eq!(open_for, Ok(breaker.open_for));
        let lasts = schema["properties"]["fleet"]["properties"]["for"]["default"].as_str().unwrap();
        assert_eq!(humantime::parse_duration(lasts), Ok(fleet::FOR));
        let limits = &schema["properties"]["limits"]["properties"];
        assert_eq!(limits["connections"]["default"], default.limits.connections);
        assert_eq!(limits["unread_bytes"]["default"], default.limits.unread_bytes);
        assert_eq!(
            limits["unread_bytes_per_connection"]["default"],
            default.limits.unread_bytes_per_connection
        );
        assert_eq!(schema["properties"]["prefix"]["default"], default.prefix);
        let listen: Vec<_> = default.listen.iter().map(ToString::to_string).collect();
        assert_eq!(schema["properties"]["listen"]["default"], Value::from(listen));
    }
}
