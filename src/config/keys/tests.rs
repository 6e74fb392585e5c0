//! That the rest of the code has the settings of the table, each as it stands there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::config::checks::Client;
use crate::config::{SCHEMA, ShardClient, Source, load};

/// The part before the settings.
const HEAD: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "cache-canary",
  "description": "The configuration of cache-canary. No setting is required, because all may come from the environment. Any text may contain ${NAME} or ${NAME:-default}.",
  "type": "object", "additionalProperties": false,
  "properties": {"#;

/// The types of values.
const TYPES: &str = r##"  "$defs": {
    "reference": { "type": "string", "description": "Text that contains ${NAME}, or in targets.cache {label}.", "pattern": "\\{" },
    "name": { "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
    "texts": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] },
    "duration": { "type": "string", "description": "Duration with its unit: 750ms, 5s, 1m 30s.", "pattern": "^ *[0-9]+ *[a-zA-Zµ]|^ *0 *$|\\$\\{" },
    "integer": { "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$|\\$\\{" }] },
    "number": { "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string", "pattern": "^[0-9.]+|\\$\\{" }] },
    "boolean": { "anyOf": [{ "type": "boolean" }, { "enum": ["true", "false"] }, { "$ref": "#/$defs/reference" }] },
    "durations": { "type": "object", "additionalProperties": false, "properties": { "degraded": { "$ref": "#/$defs/duration" }, "down": { "$ref": "#/$defs/duration" } } },
    "integers": { "type": "object", "additionalProperties": false, "properties": { "degraded": { "$ref": "#/$defs/integer" }, "down": { "$ref": "#/$defs/integer" } } },
    "numbers": { "type": "object", "additionalProperties": false, "properties": { "degraded": { "$ref": "#/$defs/number" }, "down": { "$ref": "#/$defs/number" } } }"##;

/// The line of one key, or the lines of one at the top that takes a table.
fn property(path: &str, key: &Key, indent: &str) -> String {
    let reference = |name: &str| format!("\"$ref\": \"#/$defs/{name}\"");
    let either = |one: String, other: &str| format!("\"anyOf\": [{{ {one} }}, {{ {} }}]", reference(other));
    let words = |words: &[&str]| format!("\"enum\": {}", Value::from(words)).replace(',', ", ");
    let takes = match key.takes {
        Text => "\"type\": \"string\"".to_owned(),
        Texts => reference("texts"),
        Integer => reference("integer"),
        Number => reference("number"),
        Boolean => reference("boolean"),
        Duration => reference("duration"),
        Durations => reference("durations"),
        Integers => reference("integers"),
        Numbers => reference("numbers"),
        Table if path.is_empty() => {
            let (doc, keys) = (Value::from(key.doc), table(key.name));
            let object = object(key.name, keys, indent);
            return format!("{indent}\"{}\": {{\n{indent}  \"description\": {doc},\n{object}", key.name);
        }
        Table => reference(key.name),
        Words(of) => either(words(of), "reference"),
        AllOrInteger => either(words(&["all"]), "integer"),
        BooleanOrTable => either(reference("boolean"), key.name),
        TextsOrTable if key.name == "replicas" => {
            let one = format!("{{ \"type\": \"string\" }}, {{ {} }}", reference("servers"));
            let list = format!("\"type\": \"array\", \"items\": {{ \"anyOf\": [{one}] }}");
            format!("\"anyOf\": [{{ \"type\": \"string\" }}, {{ {} }}, {{ {list} }}]", reference(key.name))
        }
        BooleanTextOrTable => {
            let text = "\"type\": \"string\"";
            format!("\"anyOf\": [{{ {} }}, {{ {text} }}, {{ {} }}]", reference("boolean"), reference(key.name))
        }
        TextsOrTable => either(reference("texts"), key.name),
        TextOrTable => either("\"type\": \"string\"".to_owned(), key.name),
        CacheTemplate => reference("cache"),
        TextsOrTables => {
            let table = if key.name == "replicas" { "servers" } else { key.name };
            let one = format!("{{ \"type\": \"string\" }}, {{ {} }}", reference(table));
            format!("\"anyOf\": [{one}, {{ \"type\": \"array\", \"items\": {{ \"anyOf\": [{one}] }} }}]")
        }
        Tables => {
            let of = if key.name == "queues" { key.name } else { key.name.trim_end_matches('s') };
            let (name, of) = (reference("name"), reference(of));
            format!("\"type\": \"object\", \"propertyNames\": {{ {name} }}, \"additionalProperties\": {{ {of} }}")
        }
    };
    let default = key.default.map(|default| format!(", \"default\": {default}")).unwrap_or_default();
    format!("{indent}\"{}\": {{ {takes}, \"description\": {}{default} }}", key.name, Value::from(key.doc))
}

fn properties(path: &str, keys: &[Key], indent: &str) -> String {
    keys.iter().map(|key| property(path, key, indent)).collect::<Vec<_>>().join(",\n")
}

/// The rest of a table's schema, whose first line is there.
fn object(path: &str, keys: &[Key], indent: &str) -> String {
    let properties = properties(path, keys, &format!("{indent}    "));
    format!(
        "{indent}  \"type\": \"object\", \"additionalProperties\": false,\n{indent}  \"properties\": {{\n\
         {properties}\n{indent}  }}\n{indent}}}"
    )
}

fn table(path: &str) -> &'static [Key] {
    TABLES.iter().find(|(known, _)| *known == path).unwrap_or_else(|| panic!("`{path}` is in TABLES")).1
}

#[test]
fn the_schema_matches_the_table() {
    let mut text = format!("{HEAD}\n{}\n  }},\n{TYPES}", properties("", TOP, "    "));
    let shared = [".queues.*.", ".servers.tls", ".replicas.servers", ".views.servers"];
    let has_own = |path: &str| (path.contains('.') || path == "targets") && !shared.iter().any(|part| path.contains(part));
    for (path, keys) in TABLES.iter().filter(|(path, _)| has_own(path)) {
        let name = match *path {
            "groups.*" => "group",
            "caches.*" => "cache",
            "caches.*.checks.queue.queues.*" => "queues",
            path => path.rsplit('.').next().unwrap(),
        };
        let _ = write!(text, ",\n    \"{name}\": {{\n{}", object(path, keys, "    "));
    }
    text.push_str("\n  }\n}\n");
    if env::var_os("UPDATE").is_some() {
        fs::write("src/config/schema.json", &text).unwrap();
    }
    assert!(text == SCHEMA, "UPDATE=1 writes the schema anew");
}

#[test]
fn every_table_that_a_key_takes_is_there() {
    let mut named = BTreeSet::from([String::new()]);
    for (path, keys) in TABLES {
        for key in *keys {
            let path = [path, key.name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
            match key.takes {
                // It has the same tables as `replicas.servers`.
                _ if path == "caches.*.servers.replicas" => false,
                Table | BooleanOrTable | BooleanTextOrTable | TextOrTable | TextsOrTable | TextsOrTables => {
                    named.insert(path)
                }
                Tables => named.insert(format!("{path}.*")),
                _ => false,
            };
            assert!(key.same_as.is_none_or(|same| keys.iter().any(|key| key.name == same)), "{}", key.name);
        }
    }
    assert_eq!(TABLES.iter().map(|(path, _)| (*path).to_owned()).collect::<BTreeSet<_>>(), named);
}

/// The text that a setting needs beside it to be looked at, by the beginning of its path.
const CONTEXTS: &[(&str, &str)] = &[
    ("tls.", "tls.cert_file = 'c'\ntls.key_file = 'k'"),
    ("fleet.", "fleet.via = 'main'"),
    ("targets.http", ""),
    ("targets.every", "targets.http = 'https://h'"),
    ("targets.token_file", "targets.http = 'https://h'"),
    ("targets.ca_file", "targets.http = 'https://h'"),
    ("targets.cache", "targets.file = '/nonexistent/targets.json'"),
    ("targets.", "targets.file = '/nonexistent/targets.json'"),
    ("shard.index", "caches.main.url = 'redis://h'\nshard.of = 5"),
    ("shard.of", "caches.main.url = 'redis://h'\nshard.index = 0"),
    ("caches.main.backend", ""),
    ("caches.main.url", ""),
    ("caches.main.location", ""),
    ("caches.main.servers.", "caches.main.topology = 'shards'\ncaches.main.servers.url = 'h'"),
    ("caches.main.servers", ""),
    ("caches.main.tls.", "caches.main.url = 'rediss://h'"),
    ("caches.main.quorum", "caches.main.servers = ['h']"),
    ("caches.main.client", "caches.main.topology = 'shards'\ncaches.main.servers = ['h']"),
    ("caches.main.announce", "caches.main.url = 'redis+cluster://h'"),
    ("caches.main.consensus", "caches.main.url = 'redis+cluster://h'"),
    ("caches.main.sentinel_", "caches.main.url = 'redis+sentinel://h/m'\ncaches.main.sentinel_password = 'p'"),
    ("caches.main.password_ttl", "caches.main.url = 'redis://h'\ncaches.main.password_command = '/p'"),
    (
        "caches.main.auth.aws.",
        "caches.main.url = 'redis://h'\ncaches.main.auth.aws.cluster = 'c'\ncaches.main.auth.aws.user = 'u'",
    ),
    ("caches.main.replica_within", "caches.main.url = 'redis://h'\ncaches.main.replicas = 'discover'"),
    (
        "caches.main.replicas.servers.",
        "caches.main.url = 'redis://h'\ncaches.main.replicas.servers.url = 'r'",
    ),
    ("caches.main.replicas.", "caches.main.url = 'redis://h'\ncaches.main.replicas.servers = 'r'"),
    (
        "caches.main.checks.visibility.views.servers.",
        "caches.main.topology = 'shards'\ncaches.main.servers = ['h']\ncaches.main.client = 'rb'\n\
         caches.main.checks.visibility.views.servers.url = 'v'",
    ),
    (
        "caches.main.checks.visibility.views.",
        "caches.main.topology = 'shards'\ncaches.main.servers = ['h']\ncaches.main.client = 'rb'\n\
         caches.main.checks.visibility.views.servers = ['v']",
    ),
    ("caches.main.checks.visibility.", "caches.main.url = 'redis://h'\ncaches.main.checks.visibility.views = 'redis://v'"),
    (
        "caches.main.checks.queue.queues.main.skew.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.queue.queues.main.keys = 'k'\n\
         caches.main.checks.queue.queues.main.skew.degraded = 2",
    ),
    ("caches.main.checks.queue.queues.main.keys.", "caches.main.url = 'redis://h'"),
    (
        "caches.main.checks.queue.queues.main.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.queue.queues.main.preset = 'celery'",
    ),
    ("caches.main.checks.queue.keys.", "caches.main.url = 'redis://h'"),
    (
        "caches.main.checks.queue.skew.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.queue.keys = 'k'\ncaches.main.checks.queue.skew.degraded = 2",
    ),
    (
        "caches.main.checks.queue.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.queue.preset = 'celery'\ncaches.main.checks.queue.lock = 'l'",
    ),
    (
        "caches.main.checks.clock.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.clock.partitions = 'k'\ncaches.main.checks.clock.expected = 2",
    ),
    (
        "caches.main.checks.efficiency.ttl.",
        "caches.main.url = 'redis://h'\ncaches.main.checks.efficiency.ttl.pattern = '*'\n\
         caches.main.checks.efficiency.ttl.max = '1s'",
    ),
    ("", "caches.main.url = 'redis://h'"),
];

/// Every key but those of named tables, with its path in a file.
fn settings() -> impl Iterator<Item = (String, &'static Key)> {
    let of = |(table, keys): &(&str, &'static [Key])| {
        let table = table.replace('*', "main");
        let path = move |name: &str| if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
        keys.iter().filter(|key| key.takes != Tables).map(move |key| (path(key.name), key))
    };
    TABLES.iter().flat_map(of)
}

/// The error for a file in which this stands at a path, on its last line, and the number of that line.
fn problems(path: &str, value: &str) -> (String, usize) {
    let (_, context) = CONTEXTS.iter().find(|(prefix, _)| path.starts_with(prefix)).unwrap();
    let begins = format!("{path} =");
    let mut lines: Vec<_> = context.lines().filter(|line| !line.starts_with(&begins)).collect();
    let line = format!("{path} = {value}");
    lines.push(&line);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("canary.toml");
    fs::write(&file, lines.join("\n")).unwrap();
    let error = load(&Source { file: Some(file), ..Source::default() }).err().map(|error| error.to_string());
    let error = error.unwrap_or_default().replace(folder.path().to_str().unwrap(), "");
    // The excerpt shows the value, which is another each time.
    (error.lines().filter(|line| !line.contains('|')).collect::<Vec<_>>().join("\n"), lines.len())
}

#[test]
fn every_setting_of_the_table_is_read() {
    for (path, _) in settings() {
        // No setting takes a date.
        let (error, line) = problems(&path, "1979-05-27");
        let is_read = error.contains(&format!("canary.toml:{line}:")) && !error.contains("unknown key");
        assert!(is_read, "no reader reads `{path}`: {error}");
    }
}

#[test]
fn every_word_of_the_table_is_read() {
    for (path, key) in settings() {
        let Words(words) = key.takes else { continue };
        let (refusal, _) = problems(&path, "'xyzzy'");
        assert_ne!(refusal, "", "`{path}` takes any word");
        for word in words {
            assert_ne!(problems(&path, &format!("'{word}'")).0, refusal, "`{path}` does not take \"{word}\"");
        }
    }
}

/// A configuration with this line in the table at `path`, and with what the key needs to be allowed there.
fn with_line(path: &str, name: &str, line: &str) -> String {
    let main = |line: &str, url: &str| format!("[caches.main]\nurl = \"{url}\"\n{line}");
    let redis = main("", "redis://cache");
    match (path, name) {
        ("", _) => format!("{line}\n{redis}"),
        ("fleet", _) => format!("{redis}\n[fleet]\nvia = \"main\"\n{line}"),
        ("limits" | "probes" | "metrics", _) => format!("{redis}\n[{path}]\n{line}"),
        ("caches.*", "quorum") => format!("[caches.main]\nservers = [\"cache\"]\n{line}"),
        ("caches.*", "announce" | "consensus") => main(line, "redis+cluster://cache"),
        ("caches.*", "password_ttl") => main(&format!("password_command = \"/p\"\n{line}"), "redis://cache"),
        ("caches.*", "replica_within") => main(&format!("replicas = [\"other\"]\n{line}"), "redis://cache"),
        ("caches.*", _) => main(line, "redis://cache"),
        ("caches.*.servers.tls", _) => {
            let shards = "topology = \"shards\"\nservers = [{ url = \"rediss://h\", tls = {";
            format!("[caches.main]\n{shards} {line} }} }}]")
        }
        ("caches.*.replicas.servers.tls", _) => {
            main(&format!("replicas = [{{ url = \"rediss://r\", tls = {{ {line} }} }}]"), "redis://h")
        }
        ("caches.*.checks.visibility.views.servers.tls", _) => {
            let view = format!("{{ servers = [{{ url = \"rediss://v\", tls = {{ {line} }} }}] }}");
            let shards = "topology = \"shards\"\nservers = [\"h\"]\nclient = \"rb\"";
            format!("[caches.main]\n{shards}\nchecks.visibility.views = {view}")
        }
        ("caches.*.tls", _) => main(&format!("[caches.main.tls]\n{line}"), "rediss://cache"),
        _ => {
            let needs = match path {
                "caches.*.breaker" | "caches.*.identity" => "",
                "caches.*.auth.aws" => "cluster = \"c\"\nuser = \"u\"",
                "caches.*.replicas" => "servers = [\"other\"]",
                "caches.*.checks.visibility" => "views = [\"memcached://cache\"]",
                "caches.*.checks.queue" => "keys = [\"jobs\"]\nlock = \"lock\"",
                "caches.*.checks.queue.queues.*" => "keys = [\"jobs\"]",
                "caches.*.checks.queue.skew" | "caches.*.checks.queue.queues.*.skew" => "degraded = 10",
                "caches.*.checks.clock" => "partitions = \"clocks\"",
                "caches.*.checks.efficiency.ttl" => "pattern = \"s:*\"\nmax = \"1m\"",
                _ => panic!("`{path}` has keys with a default: say what they need"),
            };
            let beside = match path {
                "caches.*.checks.queue.skew" => "checks.queue.keys = [\"jobs:{0..3}\"]",
                "caches.*.checks.queue.queues.*.skew" => "checks.queue.queues.main.keys = [\"jobs:{0..3}\"]",
                _ => "",
            };
            let url = if path == "caches.*.checks.visibility" { "memcached://cache" } else { "redis://cache" };
            let table = path.replace('*', "main");
            main(&format!("{beside}\n[{table}]\n{needs}\n{line}"), url)
        }
    }
}

#[test]
fn the_defaults_are_those_in_force() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("canary.toml");
    let loaded = |text: String| {
        fs::write(&file, &text).unwrap();
        let loaded = load(&Source { file: Some(file.clone()), ..Source::default() });
        format!("{:?}", loaded.unwrap_or_else(|error| panic!("{text}\n{error}")).config)
    };
    for (path, keys) in TABLES {
        for Key { name, default, .. } in keys.iter().filter(|key| key.default.is_some()) {
            let written = loaded(with_line(path, name, &format!("{name} = {}", default.unwrap())));
            assert_eq!(written, loaded(with_line(path, name, "")), "{path}.{name}");
        }
    }
}

#[test]
fn a_value_that_is_not_the_default_is_another_configuration() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("canary.toml");
    let loaded = |line: &str| {
        fs::write(&file, with_line("", "timeout", line)).unwrap();
        let loaded = load(&Source { file: Some(file.clone()), ..Source::default() });
        format!("{:?}", loaded.map_err(|error| error.to_string()).unwrap().config)
    };
    assert_ne!(loaded("timeout = \"751ms\""), loaded(""));
}

#[test]
fn every_client_is_in_the_table() {
    assert_eq!(Client::ALL.map(Client::name), CLIENTS);
    assert_eq!(ShardClient::ALL.map(ShardClient::name), SHARD_CLIENTS);
}
