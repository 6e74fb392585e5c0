//! The product itself: `cache-canary serve` as a process, asked over HTTP.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Names, Port, kib};

/// The deadline that a check has unless a test says otherwise, the product's default.
const TIMEOUT: Duration = Duration::from_millis(750);

/// The default listen address, unless a test sets another.
const ANY_PORT: &str = "127.0.0.1:0";

/// The name of the file of its configuration.
const FILE: &str = "cache-canary.toml";

/// The most that a busy machine may add to a deadline.
const SCHEDULING: Duration = Duration::from_secs(2);

/// A running sidecar, ended when it is dropped.
#[derive(Debug)]
pub struct Sidecar {
    process: Child,
    addr: String,
    /// The log until it listened.
    logged: String,
    /// The log so far.
    log: Arc<Mutex<String>>,
    timeout: Duration,
    config: tempfile::TempDir,
}

/// An answer of the sidecar's.
#[derive(Debug)]
pub struct Health {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: Value,
    /// How long it took.
    pub took: Duration,
}

impl Sidecar {
    /// Starts a sidecar whose caches are these, in TOML, and waits until it listens.
    pub fn start(caches: impl Display) -> Self {
        Self::start_with("", caches)
    }

    /// The same, with other settings before the caches, such as `max_age = "0s"`.
    pub fn start_with(settings: &str, caches: impl Display) -> Self {
        Self::launch(settings, caches, &[])
    }

    /// The same, where these names have addresses.
    pub fn start_knowing(names: &Names, settings: &str, caches: impl Display) -> Self {
        Self::launch(settings, caches, &names.environment())
    }

    /// The same with this configuration and nothing else, in which it says itself where it listens, such as
    /// `127.0.0.1:0`.
    pub fn start_as_written(config: &str) -> Self {
        Self::serve(config, &[], TIMEOUT)
    }

    /// Starts it by this command, to which its arguments are added, at a port that was reserved for it. Its log
    /// goes where the command says, and no test reads it here.
    pub fn start_by(mut command: Command, port: &Port, settings: &str, caches: impl Display) -> Self {
        let dir = super::directory_of_everybody();
        let file = dir.path().join(FILE);
        let addr = port.addr().to_string();
        let config = written(settings, caches).replace(ANY_PORT, &addr);
        std::fs::write(&file, config).expect("to write");
        let process = command.args(["serve", "-c"]).arg(&file).spawn().expect("the sidecar");
        super::eventually("it listens", || TcpStream::connect(&addr).is_ok());
        let (logged, log) = (String::new(), Arc::default());
        Self { process, addr, logged, log, timeout: TIMEOUT, config: dir }
    }

    /// The same, with these variables in the environment.
    pub fn launch(settings: &str, caches: impl Display, environment: &[(&str, PathBuf)]) -> Self {
        let timeout = settings
            .lines()
            .find_map(|line| line.strip_prefix("timeout = \"")?.strip_suffix("ms\"")?.parse().ok())
            .map_or(TIMEOUT, Duration::from_millis);
        Self::serve(&written(settings, caches), environment, timeout)
    }

    fn serve(config: &str, environment: &[(&str, PathBuf)], timeout: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        std::fs::write(&file, config).expect("to write");
        let mut process = Command::new(program())
            .args(["serve", "-c"])
            .arg(&file)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the sidecar");
        let mut log = BufReader::new(process.stderr.take().expect("stderr"));
        let (mut logged, mut line) = (String::new(), String::new());
        let addr = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the sidecar ended:\n{logged}");
            logged.push_str(&line);
            let url = line.split_once("listening on http").and_then(|(_, url)| url.split_once("://"));
            if let Some((_, addr)) = url {
                break addr.trim().to_owned();
            }
        };
        let log_so_far = Arc::new(Mutex::new(logged.clone()));
        let rest = log_so_far.clone();
        // Read to the end, or the pipe fills, which would stop it.
        thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|length| length > 0) {
                rest.lock().expect("the log").push_str(&line);
                line.clear();
            }
        });
        Self { process, addr, logged, log: log_so_far, timeout, config: dir }
    }

    /// Rewrites its configuration, as an editor does that overwrites the file.
    pub fn configure(&self, settings: &str, caches: impl Display) {
        std::fs::write(self.config_file(), written(settings, caches)).expect("to write");
    }

    /// The file of its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.config.path().join(FILE)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The lines of its log that hold these words.
    pub fn logged(&self, words: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// Waits until so many lines of its log hold these words.
    pub fn wait_for_log(&self, words: &str, times: usize) {
        super::eventually(&format!("{words:?} is logged {times} times"), || {
            self.logged(words).len() >= times
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("to send a signal");
    }

    /// Its address: host and port.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The log until it listened.
    pub fn logged_at_start(&self) -> &str {
        &self.logged
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop, as Kubernetes does.
    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("SIGTERM");
    }

    /// Waits until it has ended: its exit code, if it ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        self.process.wait().expect("its end").code()
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its files").count()
    }

    /// How much memory it has to itself or shares, in KiB.
    pub fn resident_kib(&self) -> usize {
        self.status_kib("VmRSS")
    }

    /// How much of it is its own, in KiB: not the pages of its code, which the system brings and takes.
    pub fn own_kib(&self) -> usize {
        self.status_kib("RssAnon")
    }

    fn status_kib(&self, key: &str) -> usize {
        kib(&self.pid().to_string(), "status", key)
    }

    /// Asks `/health`.
    pub fn health(&self) -> Health {
        self.get("/health")
    }

    /// The same, and wants the answer within the deadline.
    pub fn health_in_time(&self) -> Health {
        let health = self.health();
        assert!(health.took < self.timeout + SCHEDULING, "answered after {:?}", health.took);
        health
    }

    /// The answer for a path, as it stands.
    pub fn raw(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).expect("the sidecar");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("to ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Health {
        let began = Instant::now();
        let answer = self.raw(path);
        let took = began.elapsed();
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        Health { code, body: serde_json::from_str(body).unwrap_or(Value::Null), took }
    }

    /// Asks once, and wants everything to be up.
    pub fn expect_up(&self) {
        let health = self.health();
        assert_eq!((health.code, &health.body["status"]), (200, &"UP".into()), "{:#}", health.body);
    }

    /// Asks once, and wants the first alias in trouble to be down with this cause, within the deadline. The
    /// answer's words for it are returned: cause, node, phase, and what was said.
    pub fn expect_down(&self, cause: &str) -> String {
        self.expect(503, "DOWN", cause)
    }

    /// The same, and wants it to be degraded.
    pub fn expect_degraded(&self, cause: &str) -> String {
        self.expect(200, "DEGRADED", cause)
    }

    fn expect(&self, code: u16, status: &str, cause: &str) -> String {
        let health = self.health_in_time();
        assert_eq!((health.code, &health.body["status"]), (code, &status.into()), "{:#}", health.body);
        let (found, words) = health.fault();
        assert_eq!(found, cause, "{:#}", health.body);
        words
    }
}

/// The binary: the one that `TEST_BINARY` names, such as `target/release/cache-canary`, or the one that was built for the tests.
fn program() -> PathBuf {
    std::env::var_os("TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_cache-canary").into(), PathBuf::from)
}

/// A configuration with these settings and caches.
fn written(settings: &str, caches: impl Display) -> String {
    // A test's requests follow each other faster than any prober's: none may have the verdict of the one before.
    let max_age = if settings.contains("max_age") { "" } else { "max_age = \"0s\"" };
    format!("listen = \"{ANY_PORT}\"\n{max_age}\n{settings}\n{caches}\n")
}

impl Health {
    /// The nodes of the alias `main`: role, name and cause, which is empty for one that is up.
    pub fn nodes(&self) -> Vec<(String, String, String)> {
        self.nodes_of("cache.main")
    }

    /// The same of a check such as `cache.main.queue`.
    pub fn nodes_of(&self, check: &str) -> Vec<(String, String, String)> {
        let nodes = self.body["details"][check]["nodes"].as_array().expect("nodes");
        nodes.iter().map(|node| (text(&node["role"]), text(&node["node"]), text(&node["cause"]))).collect()
    }

    /// The first node's fault: its cause, and `NODE PHASE SAID`.
    fn fault(&self) -> (String, String) {
        let checks = self.body["details"].as_object().expect("details");
        first_fault(checks.values()).expect("a faulty node")
    }

    /// The same of a check such as `cache.main.queue`; none where no node of its is at fault.
    pub fn fault_of(&self, check: &str) -> Option<(String, String)> {
        first_fault([&self.body["details"][check]])
    }
}

fn first_fault<'a>(checks: impl IntoIterator<Item = &'a Value>) -> Option<(String, String)> {
    let mut nodes = checks.into_iter().flat_map(|check| check["nodes"].as_array().expect("nodes"));
    let node = nodes.find(|node| !node["cause"].is_null())?;
    let words = ["node", "phase", "said"].map(|key| text(&node[key])).join(" ");
    Some((text(&node["cause"]), words))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
