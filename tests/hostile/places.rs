//! Places and memory in detail: what an excluded peer gets, what answers that nobody reads cost, and what comes back. Each
//! test floods a sidecar of its own.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::aliases;
use crate::support::docker::{self, Container, Image};
use crate::support::flood::{Flood, Habit, connect_from, raise_limit_of_files};
use crate::support::{Port, Redis, Sidecar, alone, eventually};
use crate::{http1, http2};

/// The time in which an honest probe is answered, whatever others do, and what a machine with other things to do may add.
const PROMISED: Duration = Duration::from_millis(250);
const SCHEDULING: Duration = Duration::from_secs(2);

/// The most connections that a flood opens in a second.
const A_SECOND: usize = 2000;

/// The time for the checks of a hundred caches, with the scheduling of a busy machine.
const BUSY: &str = "timeout = \"2s\"";

/// So many addresses on loopback.
fn peers(count: u8) -> Vec<Ipv4Addr> {
    (1..=count).map(|host| Ipv4Addr::new(127, 0, 1, host)).collect()
}

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

/// So many connections, from five addresses, on each of which these bytes were sent.
fn callers(sidecar: &Sidecar, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let call = |number: usize| {
        let mut stream = connect_from(peers(5)[number % 5], addr(sidecar)).unwrap();
        // One that was closed meanwhile is what is wanted.
        let _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(call).collect()
}

/// The most memory that the sidecar has within this time.
fn most_kib(sidecar: &Sidecar, within: Duration) -> usize {
    let (mut most, began) = (0, Instant::now());
    while began.elapsed() < within {
        most = most.max(sidecar.resident_kib());
        thread::sleep(Duration::from_millis(10));
    }
    most
}

/// The value of a series of `/metrics`.
fn metric(sidecar: &Sidecar, series: &str) -> u64 {
    let text = sidecar.raw("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
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
    let flood = Flood::begin(addr(&sidecar), &peers(1), 500, A_SECOND, &Habit::new(http1::half_a_head));
    probe(&sidecar, 30);
    for stream in &mut honest {
        assert_eq!(asks_livez(stream), 200, "none is closed for the excluded");
    }
    drop(flood);
    let mut excluded = connect_from(Ipv4Addr::new(127, 0, 0, 200), addr(&sidecar)).unwrap();
    excluded.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(excluded).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
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
        let bytes = [http2::opening(window), http2::requests(path)].concat();
        let connections = callers(&sidecar, 200, &bytes);
        let worst = probe(&sidecar, 30);
        let most = most_kib(&sidecar, Duration::from_secs(2));
        println!("{path}: {before} KiB, then {most} KiB; the slowest probe took {worst:?}");
        assert!(most < before + MOST_KIB, "{path}: {before} KiB, then {most} KiB");
        drop(connections);
        let text = sidecar.raw("/metrics");
        assert!(text.contains("cache_up{alias=\"alias-99\",check=\"round_trip\"} 1\n"), "{text}");
    }
}

#[test]
fn requests_of_http2_that_do_not_end_do_not_fill_the_memory() {
    /// The limit on unread bytes, with the buffers of a hundred and thirty connections and what is read before a close.
    const MOST_KIB: usize = 24 * 1024;
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    probe(&sidecar, 30);
    let before = sidecar.resident_kib();
    let _connections = callers(&sidecar, 130, &http2::many_fields());
    let most = most_kib(&sidecar, Duration::from_secs(2));
    let worst = probe(&sidecar, 30);
    println!("{before} KiB, then {most} KiB; the slowest probe took {worst:?}");
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB");
    assert!(metric(&sidecar, "cache_canary_refused_total{reason=\"unread\"}") > 0, "some were closed");
}

#[test]
fn long_heads_while_a_cache_hangs_do_not_fill_the_memory() {
    /// Three requests on each of a thousand connections would take twice as much.
    const MOST_KIB: usize = 40 * 1024;
    let _turn = alone();
    raise_limit_of_files();
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    sidecar.expect_up();
    let before = sidecar.resident_kib();
    redis.stop();
    let mut connections = callers(&sidecar, 950, b"");
    let (mut most, head) = (0, [&http1::a_full_head(0)[..], &b"x: y\r\n".repeat(70), b"\r\n"].concat());
    for _ in 0..3 {
        for stream in &mut connections {
            // One that was closed meanwhile is what is wanted.
            let _ = stream.write_all(&head);
        }
        most = most.max(most_kib(&sidecar, Duration::from_millis(300)));
    }
    println!("{before} KiB, then {most} KiB");
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB");
    drop(connections);
    redis.cont();
    sidecar.expect_up();
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
    let _connections = callers(&sidecar, 900, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let worst = probe(&sidecar, 30);
    let most = sidecar.resident_kib();
    println!("{before} KiB, then {most} KiB; the slowest probe took {worst:?}");
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB");
}

#[test]
fn answers_that_nobody_reads_do_not_fill_the_systems_buffers() {
    let _turn = alone();
    let (redis, dir) = (Redis::start(&[]), tempfile::tempdir().unwrap());
    let socket = dir.path().join("canary.sock");
    let settings = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n{BUSY}\n", socket.display());
    let sidecar = Sidecar::start_as_written(&(settings + &aliases(&redis, 100)));
    let mut tcp = connect_from(Ipv4Addr::LOCALHOST, addr(&sidecar)).unwrap();
    tcp.write_all(&http1::pipeline_of_metrics(0)).unwrap();
    holds_little(|| bytes_to_send(addr(&sidecar), tcp.local_addr().unwrap()));
    let mut unix = UnixStream::connect(&socket).unwrap();
    unix.write_all(&http1::pipeline_of_metrics(0)).unwrap();
    holds_little(|| rustix::io::ioctl_fionread(&unix).unwrap());
}

/// Wants that a socket has some bytes waiting, and for a while not more than may be unsent, a piece that was written at that
/// bound, and what is on its way.
fn holds_little(waiting: impl Fn() -> u64) {
    const MOST: u64 = 128 * 1024;
    eventually("an answer waits", || waiting() > 0);
    for _ in 0..50 {
        let waiting = waiting();
        assert!(waiting <= MOST, "{waiting} bytes");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(waiting() > 0);
}

/// The bytes that the system holds for the other end of a connection of IPv4 (`tx_queue` in proc(5), `/proc/net/tcp`).
fn bytes_to_send(from: SocketAddr, to: SocketAddr) -> u64 {
    let ends = [from, to].map(|end| format!(":{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields[1].ends_with(&ends[0]) && fields[2].ends_with(&ends[1]);
        is_it.then(|| fields[4].split_once(':').unwrap().0.to_owned())
    });
    queue.map_or(0, |queue| u64::from_str_radix(&queue, 16).unwrap())
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
    for says in [http1::half_a_head, http1::one_request, http2::nothing] {
        drop(Flood::begin(port.addr(), &peers(5), 300, A_SECOND, &Habit::new(says)));
    }
    let mut stream = TcpStream::connect(port.addr()).unwrap();
    assert_eq!(asks_livez(&mut stream), 200);
    assert_eq!(container.inspect("{{.State.OOMKilled}} {{.State.Running}}").trim(), "false true");
}
