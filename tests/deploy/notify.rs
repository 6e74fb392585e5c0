//! The messages to a supervisor that starts the program as systemd does: a datagram socket in `NOTIFY_SOCKET`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{MAX_WAIT, Redis, Sidecar, eventually};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

/// The supervisor's end.
struct Supervisor {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(MAX_WAIT)).unwrap();
        Self { socket, dir }
    }

    /// Starts the program, which is to say within this time that it is well.
    fn start(&self, settings: &str, redis: &Redis, watchdog: Option<Duration>) -> Sidecar {
        let watchdog = watchdog.map_or(String::new(), |watchdog| watchdog.as_micros().to_string());
        let environment =
            [("NOTIFY_SOCKET", self.dir.path().join("notify")), ("WATCHDOG_USEC", PathBuf::from(watchdog))];
        Sidecar::launch(settings, cache(redis), &environment)
    }

    /// The next message, by its lines.
    fn message(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    /// The next message with this line; what comes before it is let go.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.message();
            if message.iter().any(|found| found == line) {
                return message;
            }
        }
    }

    /// How many messages are there now, which are let go.
    fn waiting(&self) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let waiting = std::iter::from_fn(|| self.socket.recv(&mut [0; 4096]).ok()).count();
        self.socket.set_nonblocking(false).unwrap();
        waiting
    }
}

fn cache(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n", redis.addr())
}

fn microseconds_now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn the_service_reports_that_it_is_ready_reloads_and_stops() {
    let (supervisor, redis) = (Supervisor::new(), Redis::start(&[]));
    let sidecar = supervisor.start("", &redis, None);
    assert_eq!(supervisor.message(), ["READY=1", "STATUS=ready, caches checked: 1"]);
    sidecar.expect_up();

    let before = microseconds_now();
    sidecar.configure("", cache(&redis) + &cache(&redis).replace("main", "other"));
    sidecar.signal(Signal::HUP);
    let reloading = supervisor.message();
    assert_eq!(reloading[0], "RELOADING=1");
    let at: i64 = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!((before..=microseconds_now()).contains(&at), "{before} {at}");
    assert_eq!(supervisor.message(), ["READY=1", "STATUS=ready, caches checked: 2"]);

    // Type=notify-reload waits for the end of a reload that fails, too.
    sidecar.configure("", "nonsense");
    sidecar.signal(Signal::HUP);
    assert_eq!(supervisor.message()[0], "RELOADING=1");
    let refused = "STATUS=ready, caches checked: 2; the last configuration reload failed";
    assert_eq!(supervisor.message(), ["READY=1", refused]);

    sidecar.signal(Signal::TERM);
    supervisor.wait_for("STOPPING=1");
}

#[test]
fn the_watchdog_is_notified_while_rounds_complete_and_not_while_the_service_is_stopped_or_stuck() {
    let (supervisor, redis) = (Supervisor::new(), Redis::start(&[]));
    let max_wait = Duration::from_millis(400);
    let sidecar = supervisor.start("interval = \"1s\"", &redis, Some(max_wait));
    supervisor.wait_for("READY=1");
    // Over several rounds, each within the time that the supervisor waits, give or take a busy machine.
    for _ in 0..12 {
        let began = Instant::now();
        supervisor.wait_for("WATCHDOG=1");
        assert!(began.elapsed() < max_wait + Duration::from_secs(2), "{:?}", began.elapsed());
    }

    sidecar.signal(Signal::STOP);
    redis.stop();
    eventually("it is stopped", || supervisor.waiting() == 0);
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(supervisor.waiting(), 0);

    // It goes on, and no round ends before the deadline of a check: until then it is not well.
    sidecar.signal(Signal::CONT);
    let began = Instant::now();
    let overdue = supervisor.message();
    assert!(overdue[0].starts_with("STATUS=no round has completed for "), "{overdue:?}");
    supervisor.wait_for("WATCHDOG=1");
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    redis.cont();
}

#[test]
fn without_a_watchdog_the_service_sends_nothing_in_between() {
    let (supervisor, redis) = (Supervisor::new(), Redis::start(&[]));
    let _sidecar = supervisor.start("interval = \"1s\"", &redis, None);
    supervisor.wait_for("READY=1");
    let written = || redis.info("cmdstat_set");
    eventually("some rounds", || {
        redis.command(&["INFO", "commandstats"]).contains("cmdstat_set:")
            && !written().starts_with("calls=1,")
    });
    assert_eq!(supervisor.waiting(), 0);
}

#[test]
fn a_supervisor_that_takes_no_messages_holds_up_no_answer_and_no_stop() {
    let (supervisor, redis) = (Supervisor::new(), Redis::start(&[]));
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"STATUS=another service", supervisor.dir.path().join("notify")).is_ok() {}

    let sidecar = supervisor.start("", &redis, Some(Duration::from_millis(400)));
    for _ in 0..10 {
        assert_eq!(sidecar.health_in_time().code, 200);
    }
    // A message waits for its place.
    supervisor.wait_for("READY=1");
    while sender.send_to(b"STATUS=another service", supervisor.dir.path().join("notify")).is_ok() {}
    let (mut sidecar, began) = (sidecar, Instant::now());
    sidecar.terminate();
    assert_eq!(sidecar.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
