//! The sidecar, the caches that stay up, and the caches that break.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Until;
use crate::figures::Moment;
use crate::support::{Authority, Memcached, Redis, Sidecar, eventually};

/// The aliases that are always configured.
pub(crate) const ALIASES: u64 = 5;

/// The time of a fault, and between two of them.
const A_WHILE: Duration = Duration::from_millis(300);

/// The time between two reloads.
const BETWEEN_RELOADS: Duration = Duration::from_millis(500);

/// The sidecar and the caches that stay up.
pub(crate) struct Scene {
    sidecar: Sidecar,
    redis: Redis,
    pair: [Memcached; 2],
    /// The part of the configuration that stays.
    config: String,
    /// The file of the authority that the sidecar trusts.
    _authority: tempfile::TempDir,
}

/// The caches that break.
pub(crate) struct Weather {
    redis: Redis,
    secure: Redis,
    memcached: Memcached,
    authority: Authority,
}

/// A fault, from its beginning to its end.
pub(crate) struct Fault {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

impl Scene {
    pub(crate) fn start() -> (Self, Weather) {
        let authority = Authority::new();
        let weather = Weather {
            redis: Redis::start(&[]),
            secure: Redis::start_tls(&authority.issue(&["127.0.0.1"]), None),
            memcached: Memcached::start(&[]),
            authority,
        };
        let (redis, pair) = (Redis::start(&[]), [(); 2].map(|()| Memcached::start(&[])));
        let files = tempfile::tempdir().unwrap();
        let trusted = files.path().join("authority.pem");
        fs::write(&trusted, weather.authority.certificate()).unwrap();
        // Every request is a check of its own, or shares one that began after it arrived; and each connection is
        // replaced many times over.
        let config = format!(
            "listen = \"127.0.0.1:0\"\nmax_age = \"0s\"\nreconnect_every = \"50ms\"\ninterval = \"1s\"\n\
             [groups.steady]\ninclude = [\"main\", \"pair\"]\n[groups.readiness]\ninclude = [\"main\", \"pair\"]\n\
             [caches.main]\nurl = \"redis://{}\"\n\
             [caches.pair]\nbackend = \"memcached\"\nservers = [\"{}\", \"{}\"]\n\
             [caches.redis]\nurl = \"redis://{}\"\n\
             [caches.secure]\nurl = \"rediss://{}\"\ntls.ca_file = \"{}\"\n\
             [caches.memcached]\nurl = \"memcached://{}\"\n",
            redis.addr(),
            pair[0].addr(),
            pair[1].addr(),
            weather.redis.addr(),
            weather.secure.addr(),
            trusted.display(),
            weather.memcached.addr(),
        );
        let sidecar = Sidecar::start_as_written(&config);
        sidecar.expect_up();
        (Self { sidecar, redis, pair, config, _authority: files }, weather)
    }

    pub(crate) fn addr(&self) -> &str {
        self.sidecar.addr()
    }

    /// Adds an alias and removes it, again and again; the number of reloads.
    pub(crate) fn reload(&self, until: Until) -> usize {
        let file = self.sidecar.config_file();
        let written = file.with_extension("new");
        let mut reloads = 0;
        while !until.is_reached() {
            let added = reloads % 2 == 0;
            let more = format!("[caches.more]\nurl = \"redis://{}/1\"\n", self.redis.addr());
            fs::write(&written, format!("{}{}", self.config, if added { &more } else { "" })).unwrap();
            fs::rename(&written, &file).unwrap();
            self.sidecar.signal(Signal::HUP);
            let expected = if added { 200 } else { 404 };
            eventually("the configuration is reloaded", || self.sidecar.get("/health/more").code == expected);
            reloads += 1;
            thread::sleep(BETWEEN_RELOADS);
        }
        reloads
    }

    /// The state by now, `after` the beginning.
    pub(crate) fn measure(&self, after: Duration) -> Moment {
        let (sidecar, redis) = (&self.sidecar, &self.redis);
        let tasks = fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap();
        let of_pair = |stat: &str| self.pair.each_ref().map(|server| server.stat(stat).parse().unwrap());
        let [first, second]: [f64; 2] = of_pair("curr_items");
        let [left, right]: [f64; 2] = of_pair("curr_connections");
        let checks = sidecar.raw("/metrics");
        let checks = checks.lines().filter(|line| line.starts_with("cache_checks_total{"));
        Moment {
            after,
            resident_mib: sidecar.resident_kib() as f64 / 1024.0,
            descriptors: sidecar.open_files() as f64,
            threads: tasks.count() as f64,
            keys: redis.command(&["DBSIZE"]).parse::<f64>().unwrap().max(first).max(second),
            connections: redis.info("connected_clients").parse::<f64>().unwrap().max(left).max(right),
            checks: checks.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum(),
        }
    }
}

impl Weather {
    /// Breaks one cache after the other, in every way in turn, and gives the faults.
    pub(crate) fn rage(&mut self, scene: &Scene, until: Until) -> Vec<Fault> {
        let mut faults = Vec::new();
        let ways: [fn(&mut Self, &Scene) -> Fault; 6] = [
            |all, scene| fault(scene, ("redis", "killed"), &mut all.redis, Redis::kill, Redis::restart),
            |all, scene| {
                let place = ("redis", "stopped");
                fault(scene, place, &mut all.redis, |redis| redis.stop(), |redis| redis.cont())
            },
            |all, scene| {
                let place = ("redis", "full");
                fault(scene, place, &mut all.redis, |redis| redis.fill(), |redis| redis.make_room())
            },
            |all, scene| {
                let place = ("memcached", "killed");
                fault(scene, place, &mut all.memcached, Memcached::kill, Memcached::restart)
            },
            |all, scene| {
                let place = ("memcached", "stopped");
                fault(scene, place, &mut all.memcached, |server| server.stop(), |server| server.cont())
            },
            |all, scene| {
                let identity = all.authority.issue(&["127.0.0.1"]);
                fault(scene, ("secure", "killed"), &mut all.secure, Redis::kill, |secure| {
                    secure.install(&identity);
                    secure.restart();
                })
            },
        ];
        for way in ways.iter().cycle() {
            if until.is_reached() {
                break;
            }
            faults.push(way(self, scene));
            thread::sleep(A_WHILE);
        }
        faults
    }
}

/// Breaks the cache of an alias for a while, in a way that has a name, and wants the very next request to see its fault, and
/// then its recovery.
fn fault<T>(
    scene: &Scene,
    (alias, broken): (&str, &str),
    cache: &mut T,
    break_it: fn(&mut T),
    repair: impl FnOnce(&mut T),
) -> Fault {
    let path = format!("/health/{alias}");
    break_it(cache);
    let began = Instant::now();
    let health = scene.sidecar.get(&path);
    assert_eq!(health.code, 503, "it is not seen that {alias} is {broken}: {:#}", health.body);
    thread::sleep(A_WHILE);
    repair(cache);
    let health = scene.sidecar.get(&path);
    assert_eq!(health.code, 200, "{alias} was {broken}, and is up again: {:#}", health.body);
    Fault { began, ended: Instant::now() }
}
