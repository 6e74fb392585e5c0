//! (c) `/health` of the real program: shared by its callers, beside a handler that does nothing on the same server
//! loop; and with a check for each request, beside the smallest server that does the same.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use cache_canary::app::Life;
use cache_canary::config::Listen;
use cache_canary::http::server::{Listener, serve_plain};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Effort;
use super::limits;
use super::load::{Callers, Turn, ask};
use super::programs::{Endpoint, Part, cpu, serve, serve_floor};
use super::raw::runtime;
use super::sample::{Pairs, Sample, median};
use super::sheet::{Sheet, figure};
use super::support::{Haproxy, Port, Redis};

/// The name of the part that serves the trivial handler.
pub(crate) const TRIVIAL: &str = "trivial";

const COLUMNS: [&str; 7] = [
    "`/health`, one Redis",
    "requests a second",
    "floor",
    "of the floor",
    "p99, us",
    "floor, us",
    "checks that the cache saw",
];

/// The product's default.
const MAX_AGE: Duration = Duration::from_millis(100);

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("health", &COLUMNS);
    let runtime = runtime();
    for callers in [1, 32, 1000] {
        shared(&mut sheet, &runtime, callers, effort);
    }
    unshared(&mut sheet, &runtime, effort);
    sheet.note(
        "*Shared* rows have the default `max_age`; their floor is a handler that answers with the same bytes on the same server loop. \
         *Beside HAProxy*, the floor is its `http-request return` of the same bytes, while it checks the same Redis every 100 ms. \
         *A check each* rows have a `max_age` of 0; their floor is `benches/floor.rs`.",
    );
    sheet
}

/// A server whose callers take turns with another's.
struct Measured {
    callers: Callers,
    turns: Vec<Turn>,
}

impl Measured {
    fn new(runtime: &Runtime, server: SocketAddr, callers: usize) -> Self {
        let mut callers = Callers::connect(runtime, server, callers);
        // One-time work is no part of it.
        callers.ask(runtime, Duration::from_millis(100));
        Self { callers, turns: Vec::new() }
    }

    fn ask(&mut self, runtime: &Runtime, span: Duration) {
        let turn = self.callers.ask(runtime, span);
        self.turns.push(turn);
    }

    fn rates(&self) -> Vec<f64> {
        self.turns.iter().map(Turn::requests_a_second).collect()
    }

    fn p99(&self) -> f64 {
        Sample::new(self.turns.iter().flat_map(|turn| turn.latencies.iter().copied()).collect()).p99()
    }

    fn requests(&self) -> usize {
        self.turns.iter().map(|turn| turn.latencies.len()).sum()
    }
}

fn compared(ours: &Measured, floor: &Measured) -> (f64, [String; 5]) {
    let mut pairs = Pairs::default();
    for (ours, floor) in ours.rates().into_iter().zip(floor.rates()) {
        pairs.push(vec![ours], vec![floor]);
    }
    let ratio = pairs.ratio();
    let cells = [
        figure(median(ours.rates())),
        figure(median(floor.rates())),
        format!("{ratio:.3}"),
        figure(ours.p99()),
        figure(floor.p99()),
    ];
    (ratio, cells)
}

fn shared(sheet: &mut Sheet, runtime: &Runtime, callers: usize, effort: Effort) {
    let (redis, ports) = (Redis::start(&[]), [Port::reserve(), Port::reserve()]);
    let _sidecar = serve(ports[0].addr(), &one_redis(&redis));
    Endpoint::Tcp(&ports[0]).wait_until_up();
    let body = tempfile::NamedTempFile::new().unwrap();
    let (_, same) = ask(&mut TcpStream::connect(ports[0].addr()).unwrap());
    std::fs::write(body.path(), same).unwrap();
    let _trivial = Part::start(&[TRIVIAL, &ports[1].addr().to_string(), body.path().to_str().unwrap()]);
    Endpoint::Tcp(&ports[1]).wait_until_up();

    let haproxy = answering_by_itself(&redis, body.path());
    let servers = [ports[0].addr(), ports[1].addr(), haproxy.addr()];

    let [mut ours, mut floor, mut other] = servers.map(|server| Measured::new(runtime, server, callers));
    let (mut seen, mut allowed) = (0, 0.0);
    for _ in 0..effort.of(20) {
        let before = checks_seen(&redis);
        ours.ask(runtime, Duration::from_millis(500));
        seen += checks_seen(&redis) - before;
        // One for each time that it ran out, and one at the beginning.
        let took = ours.turns.last().map_or(Duration::ZERO, |turn| turn.took);
        allowed += (took.as_secs_f64() / MAX_AGE.as_secs_f64()).floor() + 1.0;
        floor.ask(runtime, Duration::from_millis(500));
        other.ask(runtime, Duration::from_millis(500));
    }
    let (ratio, cells) = compared(&ours, &floor);
    let what = format!("shared, {callers} at a time");
    let seen_cell = format!("{seen} for {} requests", ours.requests());
    let cells = [std::slice::from_ref(&what), &cells[..], &[seen_cell]].concat();
    sheet.judged(&cells, ratio, limits::COALESCED_THROUGHPUT);
    let (ratio, cells) = compared(&ours, &other);
    let cells = [&[format!("{what}: beside HAProxy")], &cells[..], &[String::new()]].concat();
    sheet.judged(&cells, ratio, limits::COALESCED_BESIDE_HAPROXY);
    let mut checks = vec![String::new(); COLUMNS.len()];
    checks[0] = format!("{what}: checks");
    checks[6] = format!("{seen}; {allowed} are one every `max_age`");
    sheet.judged(&checks, f64::from(seen) / allowed, limits::CHECKS_SEEN);
}

/// A HAProxy that answers with the bytes in this file as long as the Redis answers its checks.
fn answering_by_itself(redis: &Redis, body: &Path) -> Haproxy {
    let settings = format!(
        "option redis-check\n http-request return status 200 content-type application/json file {} if {{ nbsrv gt 0 }}",
        body.display()
    );
    Haproxy::forwarding(&format!("{} check inter 100ms", redis.addr()), &settings)
}

fn unshared(sheet: &mut Sheet, runtime: &Runtime, effort: Effort) {
    let (redis, ports) = (Redis::start(&[]), [Port::reserve(), Port::reserve()]);
    let mut environment = one_redis(&redis);
    environment.extend([("CACHE_CANARY_MAX_AGE", "0s"), ("CACHE_CANARY_RECONNECT_EVERY", "1h")].map(owned));
    let programs = [serve(ports[0].addr(), &environment), serve_floor(ports[1].addr(), redis.addr())];
    // The floor serves one caller at a time, so no connection to it is kept open.
    for port in &ports {
        Endpoint::Tcp(port).wait_until_up();
    }
    let mut both = ports.each_ref().map(|port| Measured::new(runtime, port.addr(), 1));
    let before = checks_seen(&redis);
    let mut cpu_seconds = Pairs::default();
    for _ in 0..effort.of(20) {
        let spent = [0, 1].map(|place| {
            let before = cpu(programs[place].pid()).as_secs_f64();
            both[place].ask(runtime, Duration::from_millis(500));
            let spent = cpu(programs[place].pid()).as_secs_f64() - before;
            let requests = both[place].turns.last().map_or(0, |turn| turn.latencies.len());
            spent * 1e3 / requests as f64
        });
        cpu_seconds.push(vec![spent[0]], vec![spent[1]]);
    }
    let seen = checks_seen(&redis) - before;
    let (ratio, cells) = compared(&both[0], &both[1]);
    let requests: usize = both.iter().map(Measured::requests).sum();
    assert_eq!(seen as usize, requests, "each request was to be a check of its own");
    let what = "a check each, 1 at a time".to_owned();
    let cells = [&[what], &cells[..], &[format!("{seen} for {requests} requests of both")]].concat();
    sheet.judged(&cells, ratio, limits::UNCOALESCED_THROUGHPUT);
    let ratio = cpu_seconds.ratio();
    let [ours, floor] = cpu_seconds.samples().map(|sample| figure(sample.median()));
    let what = "the same: CPU seconds a thousand requests, in floors".to_owned();
    let mut cells = vec![what, ours, floor, format!("{ratio:.3}")];
    cells.resize(COLUMNS.len(), String::new());
    sheet.judged(&cells, ratio, limits::UNCOALESCED_CPU);
}

pub(crate) fn one_redis(redis: &Redis) -> Vec<(String, String)> {
    vec![("CACHE_URL".to_owned(), format!("redis://{}", redis.addr()))]
}

pub(crate) fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// How many canaries were written to this Redis.
fn checks_seen(redis: &Redis) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let set = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    set.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// The part that serves a handler that does nothing, on the product's own server loop.
pub(crate) fn serve_trivial(args: &[String]) {
    let [listen, body] = args else { panic!("{args:?}") };
    let (listen, body) = (Listen::Tcp(listen.parse().unwrap()), std::fs::read(body).unwrap());
    let body: &'static [u8] = body.leak();
    // It ends with its input.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    runtime().block_on(async {
        let router =
            Router::new().route("/health", get(async move || ([(CONTENT_TYPE, "application/json")], body)));
        let (_life, life) = watch::channel(Life::Ready);
        let listener = Listener::bind(&listen).unwrap();
        serve_plain(router, life, listener).await;
    });
}
