//! The dashboard: what Grafana would trip over, and its every query asked of a real Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::deployed;
use crate::support::{Memcached, Prometheus, Redis, Sidecar, eventually};

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(deployed("grafana/cache-canary.json")).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The title and the text of every query, as it stands.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = list(dashboard, "panels").iter();
    let queries = panels.flat_map(|panel| {
        list(panel, "targets").iter().map(|target| (panel["title"].clone(), target["expr"].clone()))
    });
    queries.map(|(title, query)| (text(&title), text(&query))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A query as Grafana sends it when everything is selected, with a scrape a second.
fn filled_in(query: &str) -> String {
    [
        ("$__rate_interval", "4s"),
        ("$__range", "60s"),
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$alias", ".+"),
        ("$check", ".+"),
    ]
    .iter()
    .fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value))
}

/// Every panel's place: columns and rows, from and until.
fn place(panel: &Value) -> [u64; 4] {
    let number = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
    [number("x"), number("x") + number("w"), number("y"), number("y") + number("h")]
}

#[test]
fn the_dashboard_can_be_imported_anywhere_and_no_panel_lies_over_another() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "cache-canary");
    assert_eq!(dashboard["id"], Value::Null, "Grafana gives it one");
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len());
    for (number, panel) in panels.iter().enumerate() {
        assert!(!text(&panel["title"]).is_empty());
        let [left, right, top, bottom] = place(panel);
        assert!(left < right && right <= 24 && top < bottom, "{}", panel["title"]);
        for other in &panels[number + 1..] {
            let [their_left, their_right, their_top, their_bottom] = place(other);
            let apart =
                right <= their_left || their_right <= left || bottom <= their_top || their_bottom <= top;
            assert!(apart, "{} and {}", panel["title"], other["title"]);
        }
        if panel["type"] != "row" {
            let targets = list(panel, "targets");
            let asked = targets.iter().chain([panel]).map(|what| text(&what["datasource"]["uid"]));
            assert!(asked.into_iter().all(|uid| uid == "${datasource}"), "{}", panel["title"]);
            let refs: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(refs.len(), targets.len(), "{}", panel["title"]);
        }
    }
}

/// A primary with a queue, clocks, a lock, and entries with and without a time to live.
fn fill(redis: &Redis) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ago = |seconds: u64| (now - seconds).to_string();
    for (member, seconds) in [("a", 30), ("b", 20), ("c", 10)] {
        redis.command(&["ZADD", "jobs", &ago(seconds), member]);
    }
    redis.command(&["SET", "jobs:lock", "worker-1"]);
    for (partition, seconds) in [("part-0", 60), ("part-1", 90)] {
        redis.command(&["ZADD", "clocks", &ago(seconds), partition]);
    }
    redis.command(&["SET", "global", &ago(90)]);
    redis.command(&["SET", "page:1", "1"]);
    redis.command(&["SET", "page:2", "1", "EX", "30"]);
}

/// Everything that can be checked of these servers, without a threshold that is exceeded.
fn everything(redis: &Redis, replica: &Redis, memcached: &Memcached) -> String {
    let (primary, replica, sessions) = (redis.addr(), replica.addr(), memcached.addr());
    format!(
        r#"
        [caches.main]
        url = "redis://{primary}"
        [caches.main.checks.visibility]
        views = ["redis://{replica}"]
        write_within = "250ms"
        delete_within = "250ms"
        [caches.main.checks.queue]
        keys = ["jobs"]
        lock = "jobs:lock"
        age = {{ degraded = "1h" }}
        [caches.main.checks.clock]
        partitions = "clocks"
        global = "global"
        unit = "s"
        [caches.main.checks.efficiency]
        ttl = {{ pattern = "page:*", max = "60s", sample = 100 }}
        [caches.sessions]
        servers = ["{sessions}"]
        "#
    )
}

#[test]
fn every_query_comes_to_something_when_there_was_an_outage() {
    let redis = Redis::start(&["--maxmemory", "100mb"]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &redis.port().to_string()]);
    replica.catch_up_with(&redis);
    let mut memcached = Memcached::start(&[]);
    fill(&redis);
    let sidecar = Sidecar::start(everything(&redis, &replica, &memcached));
    let prometheus = Prometheus::of(sidecar.addr());

    let sessions_are = |expected: f64| {
        let is = || prometheus.query("cache_up{alias=\"sessions\"}").iter().any(|(_, is)| *is == expected);
        eventually(&format!("sessions are {expected}"), is);
    };
    sessions_are(1.0);
    memcached.kill();
    sessions_are(0.0);
    // A rate is that of two scrapes.
    eventually("two scrapes have met the outage", || {
        prometheus.query("increase(cache_check_failures_total[10s]) > 0").len() == 1
    });
    memcached.restart();
    sessions_are(1.0);
    let mut client = redis.client();
    (0..200).for_each(|_| drop(client.ask(&["GET", "page:1"])));

    let dashboard = dashboard();
    for variable in list(&dashboard["templating"], "list") {
        let definition = variable["definition"].as_str().unwrap_or_default();
        let Some(of) = definition.strip_prefix("label_values(") else {
            assert_eq!(variable["type"], "datasource");
            continue;
        };
        let (series, label) = of.trim_end_matches(')').rsplit_once(", ").unwrap();
        let found = prometheus.query(&filled_in(series));
        assert!(
            !found.is_empty() && found.iter().all(|(labels, _)| labels[label].is_string()),
            "{definition}"
        );
    }
    let queries = queries(&dashboard);
    assert!(queries.len() > 30, "{queries:?}");
    for (title, query) in &queries {
        assert!(query.contains("=~\"$job\"") && query.contains("=~\"$instance\""), "{title}: {query}");
        let query = filled_in(query);
        assert!(!query.contains('$'), "{title}: {query}");
        eventually(&format!("{title}: {query} comes to something"), || {
            prometheus.query_range(&query, Duration::from_mins(1)).iter().any(|value| value.is_finite())
        });
    }
    let values = |title: &str| {
        let (_, query) = queries.iter().find(|(of, _)| of == title).unwrap();
        prometheus.query_range(&filled_in(query), Duration::from_mins(1))
    };
    let seen: BTreeSet<_> = values("Status").iter().map(f64::to_string).collect();
    // The entry without a time to live is found; up, degraded and down all are there.
    assert_eq!(seen, ["0", "1", "2"].map(str::to_owned).into());
    assert!(values("Failures by cause").iter().any(|value| *value > 0.0));
}
