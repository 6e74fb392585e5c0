//! The kubelet, as far as it asks containers how they are.
//!
//! Its requests, its rule for a success, and its thresholds are those of Kubernetes
//! (`pkg/probe/http` and `pkg/kubelet/prober/worker.go`). Only its time is another: it passes when a test says
//! so.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a verdict may be shared for, so that each probe has one of its own, as it would with seconds in
/// between.
const BETWEEN_PROBES: Duration = Duration::from_millis(120);

/// The kubelet beside one container.
#[derive(Debug)]
pub struct Kubelet {
    startup: Option<Probe>,
    liveness: Option<Probe>,
    readiness: Option<Probe>,
    addr: SocketAddr,
    /// How many seconds have passed for it.
    now: u64,
    restarts: usize,
}

/// One of a container's probes, and what its answers have come to.
#[derive(Debug)]
struct Probe {
    path: String,
    period: u64,
    timeout: Duration,
    /// How many in a row it takes to be a success.
    successes: usize,
    /// How many in a row it takes to be a failure.
    failures: usize,
    /// The result so far.
    passes: bool,
    /// The last answer, and how many in a row were like it.
    run: (bool, usize),
    said: String,
}

impl Kubelet {
    /// Watches a container as its manifest says, at this address in place of the pod's.
    pub fn watch(container: &Value, addr: SocketAddr) -> Self {
        let probe = |name: &str, at_first| Probe::read(&container[name], at_first);
        Self {
            startup: probe("startupProbe", false),
            liveness: probe("livenessProbe", true),
            readiness: probe("readinessProbe", false),
            addr,
            now: 0,
            restarts: 0,
        }
    }

    /// Lets seconds pass. Each probe is asked when it is its time; but until the container has started, only the
    /// startup probe.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let due = |probe: &&mut Probe| self.now.is_multiple_of(probe.period);
            let probes = if self.startup.as_ref().is_none_or(|probe| probe.passes) {
                [self.liveness.as_mut(), self.readiness.as_mut()]
            } else {
                [self.startup.as_mut(), None]
            };
            for probe in probes.into_iter().flatten().filter(due) {
                probe.ask(self.addr);
                thread::sleep(BETWEEN_PROBES);
            }
            if self.startup.as_ref().is_some_and(Probe::has_failed)
                || self.liveness.as_ref().is_some_and(Probe::has_failed)
            {
                self.restart();
            }
        }
    }

    /// Whether the container counts as started, so that those after it in the pod are started.
    pub fn started(&self) -> bool {
        self.startup.as_ref().is_none_or(|probe| probe.passes)
    }

    /// Whether the container is ready, and so its pod.
    pub fn ready(&self) -> bool {
        self.started() && self.readiness.as_ref().is_none_or(|probe| probe.passes)
    }

    /// How often it would have restarted the container.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// The last answer to the readiness probe: a code, or the reason why there was none.
    pub fn readiness(&self) -> &str {
        self.readiness.as_ref().map_or("", |probe| &probe.said)
    }

    /// A new container, of which nothing is known.
    fn restart(&mut self) {
        self.restarts += 1;
        for (probe, at_first) in
            [(&mut self.startup, false), (&mut self.liveness, true), (&mut self.readiness, false)]
        {
            if let Some(probe) = probe {
                (probe.passes, probe.run) = (at_first, (at_first, 0));
            }
        }
    }
}

impl Probe {
    /// Reads one as it is written, with Kubernetes' defaults.
    fn read(written: &Value, at_first: bool) -> Option<Self> {
        if written.is_null() {
            return None;
        }
        let number = |key: &str, default| written[key].as_u64().unwrap_or(default);
        let count = |key: &str, default| usize::try_from(number(key, default)).expect("a small number");
        Some(Self {
            path: written["httpGet"]["path"].as_str().expect("a probe over HTTP with a path").to_owned(),
            period: number("periodSeconds", 10),
            timeout: Duration::from_secs(number("timeoutSeconds", 1)),
            successes: count("successThreshold", 1),
            failures: count("failureThreshold", 3),
            passes: at_first,
            run: (at_first, 0),
            said: String::new(),
        })
    }

    /// Asks once, and counts what comes back.
    fn ask(&mut self, addr: SocketAddr) {
        let code = code(addr, &self.path, self.timeout);
        let success = matches!(code, Ok(200..400));
        self.said = code.map_or_else(|error| error.to_string(), |code| code.to_string());
        self.run = if self.run.0 == success { (success, self.run.1 + 1) } else { (success, 1) };
        let needed = if success { self.successes } else { self.failures };
        if self.run.1 >= needed {
            self.passes = success;
        }
    }

    /// Whether it has come to a failure, and not only not yet to a success.
    fn has_failed(&self) -> bool {
        !self.passes && !self.run.0 && self.run.1 >= self.failures
    }
}

/// The code of the answer, which must be there as a whole within the timeout.
fn code(addr: SocketAddr, path: &str, timeout: Duration) -> io::Result<u16> {
    let until = Instant::now() + timeout;
    let left = || match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&addr, left()?)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: kube-probe/1.30\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| io::Error::other(format!("no answer of HTTP: {answer:?}")))
}
