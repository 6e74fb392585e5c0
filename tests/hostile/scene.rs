//! [`Scene`]: a sidecar that is attacked, one that is not, and honest callers of both.

use std::env;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::ClientConfig;

use crate::honest::{Answers, Caller, Took};
use crate::network;
use crate::support::flood::{Flood, Habit, raise_limit_of_files};
use crate::support::{Authority, Redis, Sidecar, eventually, tls_client};

/// The time in which an honest probe is answered, whatever others do.
const PROMISED: Duration = Duration::from_millis(250);

/// The variable with the number of probes of each honest caller, for a release build on a quiet machine.
const PROBES: &str = "HOSTILE_PROBES";

/// The variable with a part of the names of the attacks that are made; without it, all are.
const ATTACKS: &str = "HOSTILE_ATTACKS";

/// The force of an attack, and the demands on the sidecar.
#[derive(Debug, Clone, Copy)]
struct Force {
    /// The number of probes of each honest caller.
    probes: usize,
    /// The shortest time that an attack lasts.
    at_least: Duration,
    /// The most connections that the sidecar takes (`limits.connections`). An attack has a quarter more.
    places: usize,
    /// The most connections that are opened in a second, if that does not depend on the machine.
    a_second: Option<usize>,
    /// The longest time of an answer.
    limit: Duration,
    /// `true` if the machine has other things to do. An answer may then take longer by the time without a processor, and by
    /// as much as the slowest of the sidecar that is not attacked.
    is_busy: bool,
}

impl Force {
    /// A debug build needs some twenty times as long as a release.
    const OF_TESTS: Self = Self {
        probes: 30,
        at_least: Duration::from_millis(500),
        places: 256,
        a_second: None,
        limit: Duration::from_secs(4),
        is_busy: true,
    };

    fn wanted() -> Self {
        match env::var(PROBES) {
            Err(_) => Self::OF_TESTS,
            Ok(probes) => Self {
                probes: probes.parse().expect("a number"),
                at_least: Duration::from_secs(5),
                places: 1024,
                a_second: Some(5000),
                limit: PROMISED,
                is_busy: false,
            },
        }
    }

    /// The settings of the sidecar. On a busy machine only the time of an answer counts, so that a check has enough.
    fn settings(self) -> String {
        let timeout = if self.is_busy { "timeout = \"10s\"\n" } else { "" };
        format!("listen = \"0.0.0.0:0\"\n{timeout}[limits]\nconnections = {}", self.places)
    }
}

/// The most memory that an attack takes, by the limits of `src/http/transport`: a full head and the buffers of HTTP/1
/// (16 KiB each, and 4 KiB for the rest) on each of 1,024 connections, or 30 KiB for each of 128 of HTTP/2 with the bodies
/// of their requests; and 8 MiB of answers that are not read.
const MOST_KIB: usize = 48 * 1024;

/// The number of requests by which the machine is measured.
const SEQUENTIAL: usize = 50;

/// The aliases that the sidecar checks.
const ALIASES: usize = 10;

/// The callers of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// One peer with more connections than there are places.
    OnePeer,
    /// Many peers, each with its share or more.
    ManyPeers,
    /// Peers without access.
    Excluded,
}

impl Crowd {
    /// The addresses of the peers, and the number of connections of each.
    fn size(self, places: usize) -> (Vec<Ipv4Addr>, usize) {
        let connections = places + places / 4;
        match self {
            Self::OnePeer => (network::hostile(1).1, connections),
            Self::ManyPeers => (network::hostile(20).1, connections / 20),
            Self::Excluded => (network::excluded(10), 50),
        }
    }
}

/// An attack, and its name in the summary.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) crowd: Crowd,
    pub(crate) habit: Habit,
}

pub(crate) struct Scene {
    _redis: Redis,
    sidecar: Sidecar,
    twin: Sidecar,
    /// The client of its TLS, if it speaks it.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    start: Footprint,
    force: Force,
    /// The most connections that an attack opens in a second: by default half as many as it answers one after the other.
    a_second: usize,
    _files: tempfile::TempDir,
}

/// The memory and the descriptors of a process.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    kib: usize,
    files: usize,
}

impl Footprint {
    fn of(sidecar: &Sidecar) -> Self {
        Self { kib: sidecar.resident_kib(), files: sidecar.open_files() }
    }

    fn max(self, other: Self) -> Self {
        Self { kib: self.kib.max(other.kib), files: self.files.max(other.files) }
    }
}

impl Scene {
    /// Sidecars that speak TLS if `has_tls`.
    pub(crate) fn start(has_tls: bool) -> Self {
        raise_limit_of_files();
        let force = Force::wanted();
        let (redis, files) = (Redis::start(&[]), tempfile::tempdir().expect("a directory"));
        let (mut tls, mut client) = (String::new(), None);
        if has_tls {
            let authority = Authority::new();
            let identity = authority.issue(&[tls_client::NAME]);
            for (name, pem) in [("cert", identity.certificate()), ("key", identity.key())] {
                let path = files.path().join(name);
                std::fs::write(&path, pem).expect("to write");
                let _ = writeln!(tls, "{name}_file = \"{}\"", path.display());
            }
            tls = format!("[tls]\n{tls}");
            client = Some(tls_client::client(&authority));
        }
        let allow = [network::honest().0, network::hostile(0).0, "127.0.0.1".to_owned()];
        let config =
            format!("{}\n[access]\nallow = {allow:?}\n{tls}{}", force.settings(), aliases(&redis, ALIASES));
        let [sidecar, twin] = [(); 2].map(|()| Sidecar::start_as_written(&config));
        let start = Footprint::of(&sidecar);
        let mut scene =
            Self { _redis: redis, sidecar, twin, tls: client, start, force, a_second: 0, _files: files };
        let ([loopback, _], began) = (scene.callers(), Instant::now());
        for path in ["/livez", "/metrics", "/health", "/", "/readyz"].repeat(SEQUENTIAL / 5) {
            loopback.read(path);
        }
        let millis = usize::try_from(began.elapsed().as_millis()).expect("a short time").max(1);
        scene.a_second = force.a_second.unwrap_or((SEQUENTIAL * 1000 / millis / 2).clamp(50, 2000));
        scene.start = Footprint::of(&scene.sidecar);
        scene
    }

    fn callers(&self) -> [Caller; 2] {
        let caller = |source, host| {
            let addr = (host, port(&self.sidecar)).into();
            Caller { pid: self.sidecar.pid(), source, addr, tls: self.tls.clone() }
        };
        [caller(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST), caller(network::honest().1, network::host())]
    }

    /// Makes these attacks at once, and asks honestly meanwhile.
    pub(crate) fn meets(&self, name: &str, attacks: &[Attack]) {
        if env::var(ATTACKS).is_ok_and(|part| !name.contains(&part)) {
            return;
        }
        let force = self.force;
        let addr = SocketAddr::from((network::host(), port(&self.sidecar)));
        let floods: Vec<_> = attacks
            .iter()
            .map(|attack| {
                let (sources, each) = attack.crowd.size(self.force.places);
                Flood::begin(
                    addr,
                    &sources,
                    each / attacks.len(),
                    self.a_second / attacks.len(),
                    &attack.habit,
                )
            })
            .collect();
        let is_over = AtomicBool::new(false);
        let (answers, worst) = thread::scope(|scope| {
            let worst = scope.spawn(|| {
                let mut worst = self.start;
                while !is_over.load(Ordering::Relaxed) {
                    worst = worst.max(Footprint::of(&self.sidecar));
                    thread::sleep(Duration::from_millis(20));
                }
                worst
            });
            let probe = |caller: Caller| {
                let twin = (SocketAddr::new(caller.addr.ip(), port(&self.twin)), self.twin.pid());
                scope.spawn(move || {
                    caller.probe(twin, force.probes, force.at_least).expect("a first connection")
                })
            };
            let answers = self.callers().map(probe).map(|thread| thread.join().expect("it does not panic"));
            is_over.store(true, Ordering::Relaxed);
            (answers, worst.join().expect("it does not panic"))
        });
        let open = self.open_connections();
        let connections: usize = floods.iter().map(Flood::tried).sum();
        drop(floods);
        eventually("the connections are closed", || self.sidecar.open_files() <= self.start.files + 4);
        if !force.is_busy {
            self.gives_memory_back();
        }
        let most = worst.files.saturating_sub(self.start.files).max(1);
        let asked: usize = answers.iter().map(|[own, _]| own.took.len() + own.unanswered.len()).sum();
        let unanswered: Vec<_> = answers.iter().flat_map(|[own, _]| &own.unanswered).collect();
        let slowest = |place: usize, of: fn(Took) -> Duration| {
            answers.iter().map(|both: &[Answers; 2]| both[place].slowest(of)).max().unwrap_or_default()
        };
        let all = |took: Took| took.all;
        println!(
            "hostile: {name}: honest probes {asked} unanswered {}, slowest {} ms ({} with a processor, {} without attack), connections \
             {connections}, {most} at once, bytes a connection {}, RSS {}/{}/{} KiB",
            unanswered.len(),
            slowest(0, all).as_millis(),
            slowest(0, Took::own).as_millis(),
            slowest(1, all).as_millis(),
            (worst.kib.saturating_sub(self.start.kib) * 1024) / most,
            self.start.kib,
            worst.kib,
            self.sidecar.resident_kib(),
        );
        assert!(unanswered.is_empty(), "{name}: {unanswered:?}");
        assert!(open <= force.places, "{name}: {open} connections are open");
        let (slowest, limit) = if force.is_busy {
            (slowest(0, Took::own), force.limit + slowest(1, all))
        } else {
            (slowest(0, all), force.limit)
        };
        assert!(slowest < limit, "{name}: an answer took {slowest:?}");
        assert!(worst.kib < self.start.kib + MOST_KIB, "{name}: {} KiB", worst.kib);
    }

    /// The number of connections that the sidecar counts in `/metrics`.
    fn open_connections(&self) -> usize {
        let [loopback, _] = self.callers();
        let text = loopback.read("/metrics");
        let counts = text.lines().filter_map(|line| {
            let (_, count) = line.strip_prefix("cache_canary_connections{")?.split_once(' ')?;
            count.parse::<usize>().ok()
        });
        counts.sum()
    }

    /// Waits until the memory that callers took is given back.
    pub(crate) fn gives_memory_back(&self) {
        eventually("the memory is given back", || self.sidecar.resident_kib() * 10 <= self.start.kib * 12);
    }
}

fn port(sidecar: &Sidecar) -> u16 {
    let addr: SocketAddr = sidecar.addr().parse().expect("an address");
    addr.port()
}

/// So many aliases, all of one Redis.
pub(crate) fn aliases(redis: &Redis, count: usize) -> String {
    (0..count).fold(String::new(), |mut caches, number| {
        let _ = writeln!(caches, "[caches.alias-{number}]\nurl = \"redis://{}\"", redis.addr());
        caches
    })
}
