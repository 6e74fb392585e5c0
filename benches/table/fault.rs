//! (f) The time from a fault to the first unhealthy answer, over many faults of each kind.
//!
//! A poller asks back to back. The floor is a poller too, that writes and reads the cache itself over a raw stream with
//! the same deadline, and meets the same faults in turn: nothing that asks the cache can know sooner.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cache_canary::embedded::{EmbeddedServer, InjectedFault as Lie};
use tokio::runtime::{Builder, Runtime};

use super::Effort;
use super::limits;
use super::load::ask;
use super::programs::{Endpoint, serve};
use super::raw::{MAX_WAIT, Script, Way, Wire, runtime};
use super::sample::{Sample, millis};
use super::sheet::{Sheet, figure};
use super::support::in_process::{memcached_at, redis_at};
use super::support::{Memcached, Port, Redis};

/// The deadline in this group: less than the product's, as each fault that hangs is waited for many hundreds of times.
const DEADLINE: Duration = Duration::from_millis(100);
const FAULTS: usize = 200;
/// Of which so many are made one after the other, before it is the floor's turn.
const A_TURN: usize = 20;

const COLUMNS: [&str; 8] = ["fault", "p50, ms", "p99", "max", "floor p50", "p99", "max", "false UP"];

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("fault", &COLUMNS);
    let none = Duration::ZERO;
    let redis = |what, break_it: fn(&mut Redis), repair: fn(&mut Redis)| Fault {
        what,
        max_age: none,
        break_it,
        repair,
    };
    let of_redis = [
        redis("Redis: killed", Redis::kill, Redis::restart),
        redis("Redis: stopped", |redis| redis.stop(), |redis| redis.cont()),
        redis(
            "Redis: writes paused",
            |redis| told(redis, "CLIENT PAUSE 60000 WRITE"),
            |redis| {
                told(redis, "CLIENT UNPAUSE");
            },
        ),
        redis(
            "Redis: read-only",
            |redis| told(redis, "REPLICAOF 127.0.0.1 1"),
            |redis| redis.become_primary(),
        ),
        redis("Redis: out of memory", |redis| redis.fill(), |redis| redis.make_room()),
        redis("Redis: no replicas", |redis| redis.want_a_replica(), |redis| redis.want_no_replicas()),
        redis(
            "Redis: SET forbidden",
            |redis| told(redis, "ACL SETUSER default -set"),
            |redis| {
                told(redis, "ACL SETUSER default +set");
            },
        ),
        redis(
            "Redis: password changed, callers cut off",
            |redis| {
                redis.require_password("another");
                redis.disconnect_clients();
            },
            |redis| redis.require_password(""),
        ),
        redis("Redis: held by a script", Redis::run_endless_script, Redis::kill_script),
        Fault {
            what: "Redis: killed, `max_age` 100 ms",
            max_age: MAX_AGE,
            break_it: Redis::kill,
            repair: Redis::restart,
        },
    ];
    for fault in of_redis {
        fault.measure(&mut sheet, effort, &Kind::redis());
    }
    let memcached = |what, break_it: fn(&mut Memcached), repair: fn(&mut Memcached)| Fault {
        what,
        max_age: none,
        break_it,
        repair,
    };
    let of_memcached = [
        memcached("memcached: killed", Memcached::kill, Memcached::restart),
        memcached("memcached: stopped", |memcached| memcached.stop(), |memcached| memcached.cont()),
        memcached("memcached: full", |memcached| memcached.fill(), |memcached| memcached.make_room()),
    ];
    for fault in of_memcached {
        fault.measure(&mut sheet, effort, &Kind::memcached());
    }
    let lying =
        |what, break_it: fn(&mut Liar)| Fault { what, max_age: none, break_it, repair: |liar| liar.repair() };
    let of_redis = [
        lying("Redis behind a breaker that masks", |liar| liar.lie(Lie::Masking)),
        lying("Redis: garbage", |liar| liar.lie(Lie::Garbage)),
        lying("Redis: half an answer and silence", |liar| liar.lie(Lie::HalfThenSilence)),
        lying("Redis: closes without an answer", |liar| liar.lie(Lie::ClosesWithoutAnswer)),
    ];
    for fault in of_redis {
        fault.measure(&mut sheet, effort, &Kind::lying_redis());
    }
    lying("memcached behind a breaker that masks", |liar| liar.lie(Lie::Masking)).measure(
        &mut sheet,
        effort,
        &Kind::lying_memcached(),
    );
    sheet.note(
        "From right before the fault is made to the end of the first unhealthy answer, so with the time that it takes to \
         make it. The deadline is 100 ms here, and `max_age` 0 but where it is named. A false UP is one to a request that \
         began when the fault was in force, and `max_age` later.",
    );
    sheet
}

/// The product's default.
const MAX_AGE: Duration = Duration::from_millis(100);

fn told(redis: &Redis, command: &str) {
    redis.command(&command.split(' ').collect::<Vec<_>>());
}

/// A way to break a server, and back.
struct Fault<S> {
    what: &'static str,
    max_age: Duration,
    break_it: fn(&mut S),
    repair: fn(&mut S),
}

/// A kind of server.
struct Kind<S> {
    server: fn() -> S,
    addr: fn(&S) -> SocketAddr,
    url: fn(SocketAddr) -> String,
    script: fn(SocketAddr) -> Script,
}

impl Kind<Redis> {
    fn redis() -> Self {
        Self {
            server: || Redis::start(&[]),
            addr: Redis::addr,
            url: |addr| format!("redis://{addr}"),
            script: |addr| Script::record(&runtime(), addr, "default", true, redis_at),
        }
    }
}

impl Kind<Memcached> {
    fn memcached() -> Self {
        Self {
            server: || Memcached::start(&["-M", "-m", "2"]),
            addr: Memcached::addr,
            url: |addr| format!("memcached://{addr}"),
            script: |addr| Script::record(&runtime(), addr, "default", true, |addr| memcached_at(&[addr])),
        }
    }
}

impl Kind<Liar> {
    fn lying_redis() -> Self {
        Self::asked_as(&Kind::redis(), || Liar::start(EmbeddedServer::redis()))
    }

    fn lying_memcached() -> Self {
        Self::asked_as(&Kind::memcached(), || Liar::start(EmbeddedServer::memcached()))
    }

    fn asked_as<S>(real: &Kind<S>, server: fn() -> Liar) -> Self {
        Self { server, addr: |liar| liar.server.addr(), url: real.url, script: real.script }
    }
}

/// A server of the product's own, which can lie.
struct Liar {
    server: EmbeddedServer,
    _runtime: Runtime,
}

impl Liar {
    fn start(server: impl Future<Output = io::Result<EmbeddedServer>>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(server).unwrap();
        Self { server, _runtime: runtime }
    }

    fn lie(&self, lie: Lie) {
        self.server.set_fault(lie).unwrap();
    }

    fn repair(&self) {
        self.server.repair().unwrap();
    }
}

impl<S> Fault<S> {
    fn measure(&self, sheet: &mut Sheet, effort: Effort, kind: &Kind<S>) {
        let mut server = (kind.server)();
        let addr = (kind.addr)(&server);
        let port = Port::reserve();
        let environment = [
            ("CACHE_URL", (kind.url)(addr)),
            ("CACHE_CANARY_TIMEOUT", format!("{}ms", DEADLINE.as_millis())),
            ("CACHE_CANARY_MAX_AGE", format!("{}ms", self.max_age.as_millis())),
        ];
        let _sidecar = serve(port.addr(), &environment.map(|(name, value)| (name.to_owned(), value)));
        Endpoint::Tcp(&port).wait_until_up();
        let script = (kind.script)(addr);
        let [mut ours, mut floor] = [Vec::new(), Vec::new()];
        let mut false_ups = 0;
        // In turns, since two pollers at once would take from each other's time.
        for _ in 0..effort.of(FAULTS / A_TURN) {
            let poller = Poller::start(Caller::connect(port.addr()));
            for _ in 0..effort.of(A_TURN) {
                let (time, were_up) = self.happen(&mut server, &poller);
                ours.push(time);
                false_ups += were_up;
            }
            drop(poller);
            let poller = Poller::start(Bare { way: Way::Tcp(addr), script: script.clone(), stream: None });
            floor.extend((0..effort.of(A_TURN)).map(|_| self.happen(&mut server, &poller).0));
        }
        let mut cells = vec![self.what.to_owned()];
        for times in [ours, floor] {
            let times = Sample::new(times);
            cells.extend([times.median(), times.p99(), times.max()].map(figure));
        }
        cells.push(false_ups.to_string());
        sheet.judged(&cells, f64::from(false_ups), limits::FALSE_UP);
    }

    /// Makes the fault and repairs it: how many milliseconds it took until it was seen, and how many answers were false
    /// by then.
    fn happen(&self, server: &mut S, poller: &Poller) -> (f64, u32) {
        poller.wait_until_up();
        // Anywhere between two requests, and within one.
        thread::sleep(Duration::from_micros(fastrand::u64(..2000)));
        let begins = Instant::now();
        (self.break_it)(server);
        let in_force = Instant::now() + self.max_age;
        let mut false_ups = 0;
        let seen = loop {
            let Answer { began, ended, up } = poller.next();
            if !up && ended >= begins {
                break ended;
            }
            false_ups += u32::from(up && began >= in_force);
        };
        (self.repair)(server);
        (millis(seen - begins), false_ups)
    }
}

/// A source of the status of a cache.
trait Ask: Send + 'static {
    fn is_up(&mut self) -> bool;
}

/// A caller of the sidecar's, on one connection.
struct Caller(TcpStream);

impl Caller {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
        Self(stream)
    }
}

impl Ask for Caller {
    fn is_up(&mut self) -> bool {
        ask(&mut self.0).0
    }
}

/// A client of the cache itself.
struct Bare {
    way: Way,
    script: Script,
    stream: Option<Box<dyn Wire + Send>>,
}

impl Ask for Bare {
    fn is_up(&mut self) -> bool {
        let mut say = || {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => {
                    let mut stream = self.way.dial_for(DEADLINE)?;
                    self.script.prime(&mut *stream)?;
                    none.insert(stream)
                }
            };
            self.script.say(0, &mut **stream)
        };
        let is_up = say().is_ok();
        if !is_up {
            self.stream = None;
        }
        is_up
    }
}

/// A client that asks back to back until this is dropped.
struct Poller {
    answers: Receiver<Answer>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// When a question was asked and answered, and how.
struct Answer {
    began: Instant,
    ended: Instant,
    up: bool,
}

impl Poller {
    fn start(mut who: impl Ask) -> Self {
        let (sender, answers) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let is_ending = ends.clone();
        let thread = thread::spawn(move || {
            while !is_ending.load(Ordering::Relaxed) {
                let began = Instant::now();
                let up = who.is_up();
                let answer = Answer { began, ended: Instant::now(), up };
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Self { answers, ends, thread: Some(thread) }
    }

    fn next(&self) -> Answer {
        self.answers.recv_timeout(MAX_WAIT).expect("an answer")
    }

    /// Waits for a healthy answer to a question that was asked from now on.
    fn wait_until_up(&self) {
        let now = Instant::now();
        while !matches!(self.next(), Answer { began, up: true, .. } if began >= now) {
            assert!(now.elapsed() < MAX_WAIT, "it is not up again");
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
