//! A sidecar that is itself short of time, or stands still: no cache is down for that.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Redis, Relay, Sidecar, alone};
use rustix::process::{Pid, Signal, kill_process};

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Takes three quarters of a sidecar's time from it, as a machine that has too much to do, until this is dropped.
struct Throttle {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Throttle {
    fn begin(sidecar: &Sidecar) -> Self {
        let (pid, ends) = (sidecar.pid(), Arc::new(AtomicBool::new(false)));
        let is_ending = ends.clone();
        let thread = thread::spawn(move || {
            while !is_ending.load(Ordering::Relaxed) {
                signal(pid, Signal::STOP);
                thread::sleep(Duration::from_millis(30));
                signal(pid, Signal::CONT);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn hundreds_of_caches_are_up_for_a_sidecar_that_has_a_quarter_of_its_time() {
    let _turn = alone();
    let redis = Redis::start(&["--maxclients", "9000", "--tcp-backlog", "4096"]);
    let sidecar = Sidecar::start(redis.aliases(300));
    let throttle = Throttle::begin(&sidecar);
    // The first dials. All take as long as they must.
    for _ in 0..3 {
        sidecar.expect_up();
    }
    redis.stop();
    let health = sidecar.health();
    assert_eq!((health.code, &health.body["status"]), (503, &"DOWN".into()));
    redis.cont();
    drop(throttle);
    sidecar.expect_up();
}

#[test]
fn a_response_that_arrived_while_the_sidecar_was_stopped_counts_and_the_check_goes_on() {
    let _turn = alone();
    let redis = Redis::start(&[]);
    // Stops the sidecar when its write passes, for longer than a check may take.
    let stops = Arc::new(AtomicU32::new(0));
    let sidecar_pid = stops.clone();
    let relay = Relay::start(redis.addr(), move |sent| {
        let pid = sidecar_pid.load(Ordering::SeqCst);
        if pid != 0 && sent.windows(3).any(|word| word == b"SET") {
            signal(pid, Signal::STOP);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(1200));
                signal(pid, Signal::CONT);
            });
        }
        true
    });
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"\n", relay.addr()));
    sidecar.expect_up();
    stops.store(sidecar.pid(), Ordering::SeqCst);
    sidecar.expect_up();
    // A response that did not arrive meanwhile is late as ever.
    redis.stop();
    sidecar.expect_down("timed_out");
    redis.cont();
    stops.store(0, Ordering::SeqCst);
    sidecar.expect_up();
}
