//! Rounds that nobody asked for, with real servers and the real program.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::{Redis, Sidecar, eventually};

/// How many canaries were written to a server.
fn written(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

fn cache(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"\n", redis.addr())
}

#[test]
fn an_interval_has_the_cache_checked_when_nobody_asks_and_none_leaves_it_alone() {
    let (asked, left_alone) = (Redis::start(&[]), Redis::start(&[]));
    let with = Sidecar::start_with("interval = \"1s\"", cache(&asked));
    let without = Sidecar::start(cache(&left_alone));
    eventually("three rounds", || written(&asked) >= 3);
    assert_eq!(written(&left_alone), 0);
    // An outage is told of although nobody asks.
    asked.fill();
    with.wait_for_log("main is DOWN: out_of_memory", 1);
    asked.make_room();
    with.wait_for_log("main is UP; was DOWN for ", 1);
    // The interval may change, and end.
    without.configure("interval = \"1s\"", cache(&left_alone));
    with.configure("", cache(&asked));
    without.signal(Signal::HUP);
    with.signal(Signal::HUP);
    with.wait_for_log("is in force", 1);
    let before = written(&asked);
    eventually("three rounds", || written(&left_alone) >= 3);
    // One may have been under way.
    assert!(written(&asked) <= before + 1);
}

#[test]
fn a_request_is_answered_by_a_check_of_its_own_and_not_from_the_last_round() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("interval = \"1h\"", cache(&redis));
    eventually("the first round", || written(&redis) == 1);
    sidecar.expect_up();
    assert_eq!(written(&redis), 2);
    redis.fill();
    sidecar.expect_down("out_of_memory");
}

#[test]
fn a_program_that_was_stopped_is_not_alive_until_a_round_has_ended_again() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("interval = \"1s\"", cache(&redis));
    // Between two rounds, so that none is under way when it stops.
    let before = written(&redis);
    eventually("another round", || written(&redis) > before + 1);
    thread::sleep(Duration::from_millis(200));
    assert!(sidecar.raw("/livez").ends_with("\r\n\r\nok\n"));
    sidecar.signal(Signal::STOP);
    // The next round takes as long as a check may.
    redis.stop();
    thread::sleep(Duration::from_millis(3500));
    let mut asked_meanwhile = TcpStream::connect(sidecar.addr()).unwrap();
    asked_meanwhile.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    sidecar.signal(Signal::CONT);
    let mut answer = String::new();
    asked_meanwhile.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("[-]rounds failed: no round has ended for "), "{answer}");
    // A cache that is down is no reason to restart the sidecar: what counts is that rounds end.
    eventually("it is alive", || sidecar.raw("/livez").starts_with("HTTP/1.1 200 "));
    sidecar.expect_down("timed_out");
    redis.cont();
    sidecar.expect_up();
}
