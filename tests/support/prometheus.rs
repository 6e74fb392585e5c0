//! A real Prometheus that scrapes every second.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use url::form_urlencoded;

use super::MAX_WAIT;
use super::net::Port;
use super::process::Process;

/// A Prometheus that scrapes every second.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    port: Port,
}

impl Prometheus {
    /// Starts one that scrapes what listens at `target`, as the job `cache-canary`, and waits until it answers.
    pub fn of(target: &str) -> Self {
        Self::with_rules(target, &[])
    }

    /// The same with these files of rules, which it evaluates every second.
    pub fn with_rules(target: &str, rules: &[&Path]) -> Self {
        let (port, dir) = (Port::reserve(), tempfile::tempdir().expect("a directory"));
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: {rules:?}\nscrape_configs:\n  \
             - job_name: cache-canary\n    static_configs:\n      - targets: [\"{target}\"]\n"
        );
        fs::write(dir.path().join("prometheus.yaml"), config).expect("to write");
        let listen = format!("--web.listen-address={}", port.addr());
        let args = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", &listen].map(str::to_owned);
        let mut process = Process::spawn("prometheus", &args, dir);
        process.wait_until(|| get(&port, "/-/ready").is_some_and(|(code, _)| code == 200));
        Self { _process: process, port }
    }

    /// The current result of a query: each series' labels with its value.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let result = self.ask("/api/v1/query", &[("query", query)]);
        let series = result["result"].as_array().expect("a vector").iter();
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        series.filter_map(|series| Some((series["metric"].clone(), value(series)?))).collect()
    }

    /// The values that a query had, a step of a second apart, in this time until now; of all its series together.
    pub fn query_range(&self, query: &str, time: Duration) -> Vec<f64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        let [start, end] = [now.saturating_sub(time), now].map(|at| at.as_secs_f64().to_string());
        let range = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
        let result = self.ask("/api/v1/query_range", &range);
        let series = result["result"].as_array().expect("a matrix").iter();
        let values = series.flat_map(|series| series["values"].as_array().expect("values"));
        values.filter_map(|value| value[1].as_str()?.parse().ok()).collect()
    }

    /// The state of the scraped target in Prometheus: its health, and the last error.
    pub fn target(&self) -> (String, String) {
        let targets = self.ask("/api/v1/targets", &[]);
        let word = |key: &str| targets["activeTargets"][0][key].as_str().unwrap_or_default().to_owned();
        (word("health"), word("lastError"))
    }

    /// The type that it knows a metric to have, from what it scraped.
    pub fn type_of(&self, metric: &str) -> String {
        let known = self.ask("/api/v1/metadata", &[("metric", metric)]);
        known[metric][0]["type"].as_str().unwrap_or_default().to_owned()
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let (code, body) = get(&self.port, &format!("{path}?{query}")).expect("Prometheus");
        assert_eq!(code, 200, "{parameters:?}: {body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["data"].clone()
    }
}

/// The answer for a path, if a server is there.
fn get(port: &Port, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(port.addr()).ok()?;
    stream.set_read_timeout(Some(MAX_WAIT)).ok()?;
    // With HTTP 1.0 the answer comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
