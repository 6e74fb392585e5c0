//! Callers who hold connections, or take no answers: an honest probe is answered in time meanwhile, and memory and places
//! come back. Each test floods a server of its own, one after the other.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::docker::{self, Container, Image};
use crate::support::flood::{Flood, Habit, connect_from, http2_opening, http2_request, raise_limit_of_files};
use crate::support::{Port, Redis, Sidecar, alone, eventually};

/// The time in which an honest probe is answered, whatever others do, and what a machine with other things to do may add.
const PROMISED: Duration = Duration::from_millis(250);
const SCHEDULING: Duration = Duration::from_secs(2);

/// The time for the checks of a hundred caches, with the scheduling of a busy machine.
const BUSY: &str = "timeout = \"2s\"";

fn addr(sidecar: &Sidecar) -> SocketAddr {
    sidecar.addr().parse().unwrap()
}

/// Asks so many times, and wants each answer in time; the longest that one took.
fn probe(sidecar: &Sidecar, times: usize) -> Duration {
    let ask = |number: usize| {
        let health = sidecar.get(["/livez", "/readyz", "/health"][number % 3]);
        assert_eq!(health.code, 200, "probe {number}: {:#}", health.body);
        assert!(health.took < PROMISED + SCHEDULING, "probe {number} took {:?}", health.took);
        health.took
    };
    (0..times).map(ask).max().unwrap()
}

/// The value of a series of `/metrics`.
fn metric(sidecar: &Sidecar, series: &str) -> u64 {
    let text = sidecar.raw("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

fn refused(sidecar: &Sidecar) -> u64 {
    let reasons = ["slow_head", "idle", "unread", "share", "full"];
    reasons
        .map(|reason| metric(sidecar, &format!("cache_canary_refused_total{{reason=\"{reason}\"}}")))
        .iter()
        .sum()
}

#[test]
fn five_peers_with_thousands_of_connections_shut_no_honest_probe_out() {
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    for habit in Habit::ALL {
        let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
        sidecar.expect_up();
        assert_eq!(refused(&sidecar), 0);
        let mut kept = TcpStream::connect(addr(&sidecar)).unwrap();
        assert_eq!(asks_livez(&mut kept), 200);
        let flood = Flood::begin(addr(&sidecar), 5, 1000, habit);
        let worst = probe(&sidecar, 100);
        println!(
            "{habit:?}: {} connections were tried, the slowest of 100 probes took {worst:?}",
            flood.tried()
        );
        // Of a peer with less than its share nothing is closed.
        assert_eq!(asks_livez(&mut kept), 200, "{habit:?}");
        assert!(refused(&sidecar) > 0, "{habit:?}");
        drop(flood);
        let lines = sidecar.logged("to make room").len();
        assert!((1..=2).contains(&lines), "{habit:?}: {lines} lines in a minute");
    }
}

/// Asks on a connection that is kept; the status code.
fn asks_livez(stream: &mut TcpStream) -> u16 {
    use std::io::Read as _;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\nok\n") {
        let mut bytes = [0; 512];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "closed after {answer:?}");
        answer += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_peer_without_access_holds_no_places_and_gets_403() {
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    let settings = "[access]\nallow = [\"127.0.0.1\"]\n[limits]\nconnections = 64";
    let sidecar = Sidecar::start_with(settings, format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let mut honest: Vec<_> = (0..40).map(|_| TcpStream::connect(addr(&sidecar)).unwrap()).collect();
    for stream in &mut honest {
        assert_eq!(asks_livez(stream), 200);
    }
    let flood = Flood::begin(addr(&sidecar), 1, 500, Habit::HalfHead);
    probe(&sidecar, 30);
    for stream in &mut honest {
        assert_eq!(asks_livez(stream), 200, "none is closed for the excluded");
    }
    drop(flood);
    let mut excluded = connect_from(200, addr(&sidecar)).unwrap();
    excluded.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(excluded).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

/// So many aliases, all of one Redis.
fn aliases(redis: &Redis, count: usize) -> String {
    (0..count).fold(String::new(), |mut caches, number| {
        let _ = writeln!(caches, "[caches.alias-{number}]\nurl = \"redis://{}\"", redis.addr());
        caches
    })
}

#[test]
fn answers_that_no_client_reads_do_not_fill_the_memory() {
    /// The most bytes that wait by default, with the cost of a hundred connections of HTTP/2 and thousands of requests.
    const MOST_KIB: usize = 48 * 1024;
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    for (path, window) in [("/metrics", 0), ("/health", 100), ("/?format=health-json", 0), ("/", 20_000)] {
        let sidecar = Sidecar::start_with(BUSY, aliases(&redis, 100));
        sidecar.expect_up();
        let before = sidecar.resident_kib();
        let connections: Vec<_> = (0..200)
            .map(|number| {
                let mut stream = connect_from(10 + number % 5, addr(&sidecar)).unwrap();
                let requests = (0..32).flat_map(|request| http2_request(2 * request + 1, path));
                let bytes: Vec<_> = http2_opening(window).into_iter().chain(requests).collect();
                // One that was closed meanwhile is what is wanted.
                let _ = stream.write_all(&bytes);
                stream
            })
            .collect();
        let worst = probe(&sidecar, 30);
        let (mut most, began) = (0, Instant::now());
        while began.elapsed() < Duration::from_secs(2) {
            most = most.max(sidecar.resident_kib());
            thread::sleep(Duration::from_millis(20));
        }
        println!("{path}: {before} KiB, then {most} KiB; the slowest probe took {worst:?}");
        assert!(most < before + MOST_KIB, "{path}: {before} KiB, then {most} KiB");
        drop(connections);
        let text = sidecar.raw("/metrics");
        assert!(text.contains("cache_up{alias=\"alias-99\",check=\"round_trip\"} 1\n"), "{text}");
    }
}

#[test]
fn answers_of_http1_that_no_client_reads_do_not_fill_the_memory() {
    const MOST_KIB: usize = 48 * 1024;
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with(BUSY, aliases(&redis, 100));
    sidecar.expect_up();
    let before = sidecar.resident_kib();
    let _connections: Vec<_> = (0..900)
        .map(|number| {
            let mut stream = connect_from(u8::try_from(10 + number % 5).unwrap(), addr(&sidecar)).unwrap();
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream
        })
        .collect();
    let worst = probe(&sidecar, 30);
    let most = sidecar.resident_kib();
    println!("{before} KiB, then {most} KiB; the slowest probe took {worst:?}");
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB");
}

#[test]
fn memory_that_callers_took_is_given_back() {
    /// The most memory of nine hundred idle connections.
    const MOST_KIB: usize = 6 * 1024;
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    probe(&sidecar, 30);
    let before = sidecar.resident_kib();
    let mut kept: Vec<_> = (0..900).map(|_| TcpStream::connect(addr(&sidecar)).unwrap()).collect();
    for stream in &mut kept {
        assert_eq!(asks_livez(stream), 200);
    }
    thread::sleep(Duration::from_secs(1));
    let most = sidecar.resident_kib();
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB with 900 connections");
    assert_eq!(metric(&sidecar, "cache_canary_connections{state=\"idle\"}"), 900);
    // Bytes that were read ahead are there when a connection is used again.
    for stream in &mut kept {
        assert_eq!(asks_livez(stream), 200);
    }
    drop(kept);
    eventually("the memory is given back", || sidecar.resident_kib() * 10 <= before * 12);
}

#[test]
fn the_memory_that_deploy_allows_is_enough_under_a_flood() {
    if !docker::answers("a flood within the limits of deploy/") {
        return;
    }
    let _turn = alone();
    raise_limit_of_files();
    for (file, written) in [
        ("deploy/kubernetes/sidecar/deployment.yaml", "limits: { memory: 64Mi }"),
        ("deploy/kubernetes/central/deployment.yaml", "limits: { memory: 64Mi }"),
        ("deploy/systemd/cache-canary.service", "MemoryMax=64M"),
        ("deploy/compose.yaml", "mem_limit: 64m"),
    ] {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(written), "{file} allows something else than {written}");
    }
    let (redis, image, port) = (Redis::start(&[]), Image::of_stage("minimal"), Port::reserve());
    let listen = format!("CACHE_CANARY_LISTEN={}", port.addr());
    let cache = format!("CACHE_URL=redis://{}/0", redis.addr());
    let limits = ["--network", "host", "--memory", "64m", "--memory-swap", "64m", "--ulimit", "nofile=8192"];
    let container = Container::run(
        image.name(),
        &[&limits[..], &["--env", &listen, "--env", &cache, image.name()]].concat(),
    );
    eventually("it listens", || TcpStream::connect(port.addr()).is_ok());
    for habit in [Habit::HalfHead, Habit::Kept, Habit::Http2] {
        drop(Flood::begin(port.addr(), 5, 300, habit));
    }
    let mut stream = TcpStream::connect(port.addr()).unwrap();
    assert_eq!(asks_livez(&mut stream), 200);
    assert_eq!(container.inspect("{{.State.OOMKilled}} {{.State.Running}}").trim(), "false true");
}
