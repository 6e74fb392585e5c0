//! Few open files: callers do not take those of the checks, and a sidecar that has none left says so and waits for some.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::flood::{Flood, Habit, Says, raise_limit_of_files};
use crate::support::{Names, Redis, Sidecar, alone, eventually};
use crate::{PROGRAM, PROMISED, SCHEDULING, Surrounded, cache};

/// Far fewer than the connections that callers may have by default.
const FILES: usize = 64;

/// No more than a sidecar has open from its start on, so that a new one has no number below the limit.
const FEWEST: usize = 5;

/// Every check dials, which takes a file.
const DIAL: &str = "reconnect_every = \"0s\"\ndns_recheck = \"0s\"";

/// The connections that strangers open in a second.
const A_SECOND: usize = 600;

/// The first bytes of a client of HTTP/2: the preface, and empty settings (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// These bytes in the first step of a connection, and nothing later.
fn first(step: u32, bytes: &[u8]) -> Vec<u8> {
    if step == 0 { bytes.to_vec() } else { Vec::new() }
}

fn addr(sidecar: &Sidecar) -> SocketAddr {
    sidecar.addr().parse().unwrap()
}

/// The program with a limit of open files that it cannot raise.
fn within(files: usize) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={files}")).arg(PROGRAM);
    command
}

#[test]
fn connections_of_strangers_are_not_the_files_that_a_check_lacks() {
    let _turn = alone();
    raise_limit_of_files();
    let strangers = [10, 11, 12].map(|host| Ipv4Addr::new(127, 0, 0, host));
    let habits: [(&str, Says); 3] = [
        ("silent", |_| Vec::new()),
        ("kept", |step| first(step, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        ("HTTP/2", |step| first(step, HTTP2)),
    ];
    for (habit, says) in habits {
        let mut redis = Redis::start(&[]);
        let surrounded = Surrounded::start(within(FILES), DIAL, &cache("main", &redis));
        surrounded.expect(200, "UP");
        let flood = Flood::begin(addr(&surrounded.sidecar), &strangers, 100, A_SECOND, &Habit::new(says));
        let worst = (0..30).map(|_| surrounded.sidecar.get("/readyz"));
        let worst = worst.inspect(|health| assert_eq!(health.code, 200)).map(|health| health.took).max();
        surrounded.expect_an_outage_to_be_seen(&mut redis);
        println!(
            "{habit}: {} connections were tried, {} of {FILES} files are open, the slowest probe took {worst:?}",
            flood.tried(),
            surrounded.sidecar.open_files()
        );
        assert!(worst < Some(PROMISED + SCHEDULING), "{worst:?}");
        assert_eq!(surrounded.logged("Too many open files"), 0, "{}", surrounded.log());
        drop(flood);
        surrounded.expect_a_clean_end();
    }
}

/// A connection that is kept, for which no file is needed any more.
struct Kept(TcpStream);

impl Kept {
    fn connect(sidecar: &Sidecar) -> Self {
        let mut kept = Self(TcpStream::connect(addr(sidecar)).unwrap());
        kept.0.set_read_timeout(Some(PROMISED + SCHEDULING)).unwrap();
        assert!(kept.ask("/livez").starts_with("HTTP/1.1 200 "));
        kept
    }

    fn ask(&mut self, path: &str) -> String {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !is_whole(&answer) {
            let mut bytes = [0; 4096];
            let read = self.0.read(&mut bytes).unwrap();
            assert!(read > 0, "closed after {answer:?}");
            answer += std::str::from_utf8(&bytes[..read]).unwrap();
        }
        answer
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() == length.parse::<usize>().unwrap())
}

/// The time for which a process has run or has waited for a processor. One that spins does nothing else, however busy the
/// machine is.
fn runnable_time(pid: u32) -> Duration {
    // "Schedstats" of the kernel's documentation: nanoseconds on a processor, then those in its queue.
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    stat.split(' ').take(2).map(|time| Duration::from_nanos(time.parse().unwrap())).sum()
}

fn limit_files(sidecar: &Sidecar, files: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--pid={}", sidecar.pid())).arg(format!("--nofile={files}:"));
    assert!(prlimit.status().unwrap().success());
}

#[test]
fn a_sidecar_without_a_free_descriptor_says_so_does_not_spin_and_recovers() {
    const WATCHED: Duration = Duration::from_secs(2);
    let _turn = alone();
    let names = Names::new();
    names.give("cache.test", &["127.0.0.1"]);
    let redis = Redis::start(&[]);
    let caches = format!(
        "{}[caches.by-name]\nurl = \"redis://cache.test:{}\"\n\
         [caches.by-command]\nurl = \"redis://{}\"\npassword_command = [\"/bin/true\"]\n",
        cache("by-address", &redis),
        redis.port(),
        redis.addr()
    );
    let mut command = Command::new(PROGRAM);
    command.envs(names.environment());
    let surrounded = Surrounded::start(command, DIAL, &caches);
    let sidecar = &surrounded.sidecar;
    let mut kept = Kept::connect(sidecar);
    for times in 1..=2 {
        let up = |alias: &str| sidecar.get(&format!("/health/{alias}")).code;
        assert_eq!((up("by-address"), up("by-name")), (200, 200));
        limit_files(sidecar, FEWEST);
        let before = runnable_time(sidecar.pid());
        // It is taken by the system, and served once there is a file for it.
        let mut waiting = TcpStream::connect(addr(sidecar)).unwrap();
        write!(waiting, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        for alias in ["by-address", "by-name", "by-command"] {
            let answer = kept.ask(&format!("/health/{alias}?format=text"));
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(
                answer.contains("cache-canary, not the cache, is at its limit of open files"),
                "{answer}"
            );
            assert!(answer.contains("the state of the cache is unknown"), "{answer}");
        }
        assert!(kept.ask("/livez").starts_with("HTTP/1.1 200 "));
        sidecar.signal(Signal::HUP);
        thread::sleep(WATCHED);
        let used = runnable_time(sidecar.pid()).checked_sub(before).unwrap();
        println!("runnable for {used:?} of {WATCHED:?} without a free descriptor");
        assert!(used < WATCHED * 3 / 4, "it spins: runnable for {used:?} of {WATCHED:?}");
        eventually("the reload is refused", || {
            surrounded.logged("configuration reload failed, the previous configuration stays") == times
        });
        limit_files(sidecar, 1024);
        waiting.set_read_timeout(Some(PROMISED + SCHEDULING)).unwrap();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
    surrounded.expect(503, "DOWN");
    // Once in a minute.
    assert_eq!(surrounded.logged("cannot accept connections for now: Too many open files"), 1);
    let began = Instant::now();
    sidecar.configure("listen_is_unknown = 1", "");
    eventually("a later change is read", || surrounded.logged("listen_is_unknown") > 0);
    println!("a change was read after {:?}", began.elapsed());
    surrounded.expect_a_clean_end();
}
