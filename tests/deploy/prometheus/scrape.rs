//! A real Prometheus scrapes a real sidecar.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use serde_json::Value;

use super::deployed;
use crate::support::{Authority, Endpoint, Identity, Memcached, Prometheus, Redis, Sidecar, eventually};

/// The value of the only series that a query comes to.
fn value(prometheus: &Prometheus, query: &str) -> Option<f64> {
    match prometheus.query(query).as_slice() {
        [(_, value)] => Some(*value),
        _ => None,
    }
}

#[test]
fn prometheus_sees_an_outage_begin_and_end() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let prometheus = Prometheus::of(sidecar.addr());
    let comes_to = |query: &str, expected: f64| {
        eventually(&format!("{query} is {expected}"), || value(&prometheus, query) == Some(expected));
    };
    comes_to("up", 1.0);
    comes_to("cache_up{alias=\"main\",check=\"round_trip\"}", 1.0);
    redis.kill();
    comes_to("cache_up{alias=\"main\",check=\"round_trip\"}", 0.0);
    comes_to("cache_status{alias=\"main\",check=\"round_trip\",status=\"down\"}", 1.0);
    eventually("the failures are counted by their cause", || {
        value(&prometheus, "cache_check_failures_total{cause=\"refused\"}").is_some_and(|times| times >= 1.0)
    });
    redis.restart();
    comes_to("cache_up{alias=\"main\",check=\"round_trip\"}", 1.0);

    assert_eq!(prometheus.target(), ("up".to_owned(), String::new()));
    // All the while it answered in time, and what it answered was taken.
    assert_eq!(value(&prometheus, "min_over_time(up[5m])"), Some(1.0));
    assert_eq!(value(&prometheus, "min_over_time(cache_up[5m])"), Some(0.0));
    // It knows the types, so what it was given was read as a whole.
    assert_eq!(prometheus.type_of("cache_check_duration_seconds"), "histogram");
}

#[test]
fn an_alert_fires_for_a_certificate_that_ends_in_a_day_until_it_is_renewed() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca_file = dir.path().join("ca.pem");
    fs::write(&ca_file, authority.certificate()).unwrap();
    let end = SystemTime::now() + Duration::from_hours(24);
    let mut redis = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let url = format!("rediss://localhost:{}", redis.port());
    let sidecar =
        Sidecar::start(format!("[caches.main]\nurl = \"{url}\"\ntls = {{ ca_file = {ca_file:?} }}"));
    let prometheus = Prometheus::with_rules(sidecar.addr(), &[&deployed("prometheus/alerts.yaml")]);
    let firing = || -> Vec<(String, String)> {
        let alerts = prometheus.query("ALERTS{alertstate=\"firing\",what!=\"\"}");
        let label = |labels: &Value, name: &str| labels[name].as_str().unwrap().to_owned();
        alerts.iter().map(|(labels, _)| (label(labels, "alertname"), label(labels, "what"))).collect()
    };
    let ends_in_years = "cache_expiry_timestamp_seconds{alias=\"main\"} - time() > 365 * 86400";
    eventually("the date is known", || prometheus.query(ends_in_years).len() == 1);
    assert_eq!(firing(), []);
    let mut renew = |identity: &Identity| {
        redis.kill();
        redis.install(identity);
        redis.restart();
    };
    renew(&authority.issue_until(&["localhost"], end));
    let critical = [("CacheExpiryCritical".to_owned(), "server_certificate".to_owned())];
    eventually("the alert fires", || firing() == critical);
    assert_eq!(sidecar.health().body["status"], "UP", "nobody asked for another status");
    renew(&authority.issue(&["localhost"]));
    eventually("the alert ends", || firing().is_empty());
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let asked = |accept: &str| {
        let output = Command::new("curl")
            .args(["--silent", "--include", "--header", &format!("Accept: {accept}")])
            .arg(format!("http://{}/metrics", sidecar.addr()))
            .output()
            .expect("curl; `tests/run` installs what the tests need");
        String::from_utf8(output.stdout).unwrap()
    };
    let classic = asked("*/*");
    assert!(classic.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{classic}");
    assert!(
        classic.contains("# TYPE cache_checks_total counter\n") && !classic.contains("# EOF"),
        "{classic}"
    );
    let openmetrics = asked("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(openmetrics.contains(content_type), "{openmetrics}");
    assert!(openmetrics.contains("# TYPE cache_checks counter\n"), "{openmetrics}");
    assert!(openmetrics.ends_with("\n# EOF\n"), "{openmetrics}");
}

/// The value of a series in a scrape of the test's own.
fn scraped(sidecar: &Sidecar, series: &str) -> f64 {
    let answer = sidecar.raw("/metrics");
    let value = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {answer}")).parse().unwrap()
}

#[test]
fn every_check_is_counted_with_its_result_its_time_and_its_connection() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    (0..3).for_each(|_| sidecar.expect_up());
    // The fourth check is that of the scrape; all came by on one connection.
    assert_eq!(
        scraped(&sidecar, "cache_checks_total{alias=\"main\",check=\"round_trip\",result=\"up\"}"),
        4.0
    );
    assert_eq!(scraped(&sidecar, "cache_connections_opened_total{alias=\"main\",check=\"round_trip\"}"), 1.0);
    assert_eq!(
        scraped(&sidecar, "cache_check_duration_seconds_count{alias=\"main\",check=\"round_trip\"}"),
        6.0
    );
    let last_up = scraped(&sidecar, "cache_last_up_timestamp_seconds{alias=\"main\",check=\"round_trip\"}");
    redis.kill();
    (0..2).for_each(|_| drop(sidecar.expect_down("refused")));
    assert_eq!(
        scraped(
            &sidecar,
            "cache_check_failures_total{alias=\"main\",check=\"round_trip\",cause=\"refused\"}"
        ),
        3.0
    );
    assert_eq!(
        scraped(&sidecar, "cache_checks_total{alias=\"main\",check=\"round_trip\",result=\"down\"}"),
        4.0
    );
    // Nothing that was refused is a connection, and a check that found that says nothing of when it was up.
    assert_eq!(scraped(&sidecar, "cache_connections_opened_total{alias=\"main\",check=\"round_trip\"}"), 1.0);
    assert_eq!(
        scraped(&sidecar, "cache_last_up_timestamp_seconds{alias=\"main\",check=\"round_trip\"}"),
        last_up
    );
    redis.restart();
    assert_eq!(scraped(&sidecar, "cache_connections_opened_total{alias=\"main\",check=\"round_trip\"}"), 2.0);
    assert!(
        scraped(&sidecar, "cache_last_up_timestamp_seconds{alias=\"main\",check=\"round_trip\"}") > last_up
    );
    assert_eq!(
        scraped(
            &sidecar,
            "cache_check_duration_seconds_bucket{le=\"+Inf\",alias=\"main\",check=\"round_trip\"}"
        ),
        scraped(&sidecar, "cache_check_duration_seconds_count{alias=\"main\",check=\"round_trip\"}") - 1.0,
        "the second scrape is one check more"
    );
}

#[test]
fn callers_that_share_a_check_are_counted() {
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://{}\"", redis.addr());
    let sidecar = Sidecar::start_with("max_age = \"1m\"", config);
    (0..5).for_each(|_| sidecar.expect_up());
    assert_eq!(
        scraped(&sidecar, "cache_checks_total{alias=\"main\",check=\"round_trip\",result=\"up\"}"),
        1.0
    );
    assert_eq!(scraped(&sidecar, "cache_checks_shared_total{alias=\"main\",check=\"round_trip\"}"), 6.0);
}

#[test]
fn every_connection_of_a_cluster_check_is_counted() {
    let redis = Redis::start_cluster();
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis+cluster://{}\"", redis.addr()));
    let accepted = || redis.info("total_connections_received").parse::<f64>().unwrap();
    let before = accepted();
    sidecar.expect_up();
    let opened = scraped(&sidecar, "cache_connections_opened_total{alias=\"main\",check=\"round_trip\"}");
    // One more is that of the question how many there were.
    assert_eq!(opened, accepted() - before - 1.0);
    assert!(opened >= 1.0);
}

#[test]
fn the_process_metrics_agree_with_the_system() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let resident = scraped(&sidecar, "process_resident_memory_bytes");
    let really = sidecar.resident_kib() as f64 * 1024.0;
    assert!((0.5..2.0).contains(&(resident / really)), "{resident} {really}");
    assert!(scraped(&sidecar, "process_virtual_memory_bytes") > resident);
    // The connection of this request, and that to the cache.
    let open = scraped(&sidecar, "process_open_fds");
    let now = sidecar.open_files() as f64;
    assert!((now - open).abs() <= 2.0, "{open} {now}");
    assert!(scraped(&sidecar, "process_max_fds") >= open);

    let spent = scraped(&sidecar, "process_cpu_seconds_total");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        sidecar.expect_up();
    }
    let spent = scraped(&sidecar, "process_cpu_seconds_total") - spent;
    assert!(spent > 0.0 && spent <= began.elapsed().as_secs_f64() * 2.0, "{spent}");
    let age = scraped(&sidecar, "cache_check_timestamp_seconds{alias=\"main\",check=\"round_trip\"}")
        - scraped(&sidecar, "process_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    assert_eq!(scraped(&sidecar, "cache_config_reload_success"), 1.0);
    let version = format!("version=\"{}\",revision=\"", env!("CARGO_PKG_VERSION"));
    assert!(sidecar.raw("/metrics").contains(&format!("cache_canary_build_info{{{version}")));
}

#[test]
fn a_node_that_is_no_part_of_an_alias_any_more_leaves_no_series() {
    let (one, two) = (Memcached::start(&[]), Memcached::start(&[]));
    let member = |server: &Memcached| format!("localhost|127.0.0.1|{}", server.addr().port());
    let endpoint = Endpoint::start(&[member(&one), member(&two)]);
    let config = format!(
        "[caches.main]\nbackend = \"memcached\"\nservers = [\"discover:{}\"]\nquorum = \"all\"",
        endpoint.addr()
    );
    let sidecar = Sidecar::start(config);
    let nodes = || -> Vec<String> {
        let answer = sidecar.raw("/metrics");
        answer.lines().filter(|line| line.starts_with("cache_node_up{")).map(str::to_owned).collect()
    };
    let of =
        |node: SocketAddr| format!("cache_node_up{{alias=\"main\",check=\"round_trip\",node=\"{node}\"}} 1");
    let found = nodes();
    assert!([&one, &two].iter().all(|server| found.contains(&of(server.addr()))), "{found:#?}");
    endpoint.name(&[member(&one)]);
    assert_eq!(nodes(), [of(one.addr()), of(endpoint.addr())]);
}

#[test]
fn a_reload_loses_no_count_and_a_refused_one_is_reported() {
    let redis = Redis::start(&[]);
    let cache = |alias: &str| format!("[caches.{alias}]\nurl = \"redis://{}\"\n", redis.addr());
    let sidecar = Sidecar::start(cache("main"));
    (0..3).for_each(|_| sidecar.expect_up());
    let checks =
        || scraped(&sidecar, "cache_checks_total{alias=\"main\",check=\"round_trip\",result=\"up\"}");
    let success = || scraped(&sidecar, "cache_config_reload_success");
    let taken_over = || scraped(&sidecar, "cache_config_last_reload_success_timestamp_seconds");
    assert_eq!((checks(), success()), (4.0, 1.0));
    let at_first = taken_over();

    sidecar.configure("", format!("{}{}", cache("main"), cache("other")));
    sidecar.signal(Signal::HUP);
    eventually("the other cache is checked", || {
        sidecar.raw("/metrics").contains("cache_up{alias=\"other\",check=\"round_trip\"} 1")
    });
    assert!(checks() > 5.0);
    assert_eq!(
        scraped(&sidecar, "cache_checks_total{alias=\"main\",check=\"round_trip\",result=\"down\"}"),
        0.0
    );
    assert!(taken_over() > at_first);

    let taken = taken_over();
    sidecar.configure("", "[caches.main]\nurl = \"nonsense\"");
    sidecar.signal(Signal::HUP);
    eventually("the reload is refused", || success() == 0.0);
    assert_eq!(taken_over(), taken, "what is in force is as old as it was");
    sidecar.configure("", cache("main"));
    sidecar.signal(Signal::HUP);
    eventually("the reload is in force", || success() == 1.0);
    assert!(!sidecar.raw("/metrics").contains("alias=\"other\""), "what is gone leaves no series");
}
