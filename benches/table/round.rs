//! (b) One round over many nodes beside the same bytes over as many raw streams; and rounds over dead ones.
//!
//! Both are processes of their own, so that neither has the memory that the other freed, and so that ten thousand
//! connections are within what a process may open; they make their rounds in turn, as they are told.

use std::io::{BufRead as _, stdin};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cache_canary::alias::Alias;
use cache_canary::checker::Checker;
use cache_canary::config::{CacheConfig, Config};
use cache_canary::outcome::Status;
use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Effort;
use super::limits;
use super::programs::{Part, kib};
use super::raw::{Script, config, runtime};
use super::sample::{Pairs, median, millis};
use super::sheet::{Sheet, figure};
use super::support::in_process::{memcached_at, redis_at};
use super::support::{Memcached, Port, Redis};

/// The names of the parts.
pub(crate) const NODES: &str = "nodes";
pub(crate) const STREAMS: &str = "streams";

const COLUMNS: [&str; 10] = [
    "nodes",
    "round, ms",
    "floor, ms",
    "floors",
    "CPU a node, us",
    "floor, us",
    "first round, which dials, ms",
    "floor, ms",
    "memory a node, kB",
    "floor, kB",
];

/// How many nodes there are, and how many pairs of rounds are made over them.
const SIZES: [(usize, usize); 5] = [(1, 2000), (10, 1000), (100, 300), (1000, 80), (10_000, 16)];

/// The deadline of a check, in milliseconds, where all nodes are up or refuse: what hangs hides nothing by it.
const PATIENT: &str = "120000";
/// And where they hang.
const DEADLINE: &str = "750";
const DEAD: usize = 10_000;

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("round", &COLUMNS);
    let servers = Servers::start();
    let one_each = servers.parts(2).map(|(_, first)| first.memory);
    for (nodes, rounds) in SIZES {
        let [(ours_part, ours), (floor_part, floor)] = servers.parts(nodes);
        let mut parts = [ours_part, floor_part];
        let (mut walls, mut cpu) = (Pairs::default(), Pairs::default());
        for _ in 0..effort.of(rounds) {
            let [ours, floor] = parts.each_mut().map(|part| {
                part.go();
                part.numbers::<2>()
            });
            walls.push(vec![ours[0]], vec![floor[0]]);
            cpu.push(vec![ours[1]], vec![floor[1]]);
        }
        // A few nodes are less than a page has room for.
        let memory =
            |first: &First, of_two| (nodes >= 100).then(|| (first.memory - of_two) / (nodes - 2) as f64);
        let memory = [memory(&ours, one_each[0]), memory(&floor, one_each[1])];
        let shown = memory.map(|memory| memory.map_or_else(String::new, figure));
        let ratio = walls.ratio();
        let [wall, wall_floor] = walls.samples().map(|sample| sample.median());
        let [cpu, cpu_floor] = cpu.samples().map(|sample| sample.median() * 1e3 / nodes as f64);
        let mut cells = vec![nodes.to_string(), figure(wall), figure(wall_floor), format!("{ratio:.3}")];
        cells.extend([figure(cpu), figure(cpu_floor), figure(ours.wall), figure(floor.wall)]);
        cells.extend(shown);
        if nodes < 10_000 {
            sheet.row(&cells);
            continue;
        }
        sheet.judged(&cells, ratio, limits::ROUND_OF_10_000);
        let mut again = vec!["memory a node".to_owned()];
        again.resize(COLUMNS.len(), String::new());
        again[8] = memory[0].map_or_else(String::new, figure);
        sheet.judged(&again, memory[0].unwrap_or(f64::NAN), limits::MEMORY_A_NODE_KB);
    }
    sheet.note("Three in four nodes are Redis servers, each an alias, and the others a ring of memcached's.");
    for sentence in dead() {
        sheet.note(&sentence);
    }
    sheet
}

/// A Redis and a memcached, that stand for as many as are named.
struct Servers {
    redis: Redis,
    memcached: Memcached,
    scripts: [tempfile::NamedTempFile; 2],
}

impl Servers {
    fn start() -> Self {
        // Thousands dial at once, and whom the queue has no place for tries again after a second.
        let redis = Redis::start(&["--maxclients", "19000", "--tcp-backlog", "4096"]);
        let memcached = Memcached::start(&["-c", "19000", "-b", "4096"]);
        let runtime = runtime();
        let recorded = [
            Script::record(&runtime, redis.addr(), "redis-0001", true, redis_at),
            Script::record(&runtime, memcached.addr(), "main", true, |addr| memcached_at(&[addr])),
        ];
        let scripts = recorded.map(|script| {
            let file = tempfile::NamedTempFile::new().unwrap();
            script.write(file.path());
            file
        });
        Self { redis, memcached, scripts }
    }

    /// The checker and its floor over so many nodes, after their first rounds. Those are made one after the other, since
    /// both have one core.
    fn parts(&self, nodes: usize) -> [(Part, First); 2] {
        let of_memcached = nodes / 4;
        let of_memcached = if nodes == 2 { 1 } else { of_memcached };
        let numbers = [nodes - of_memcached, of_memcached].map(|number| number.to_string());
        let servers = [self.redis.addr(), self.memcached.addr()].map(|addr| addr.to_string());
        let [redis, memcached] = self.scripts.each_ref().map(|file| file.path().to_str().unwrap());
        let shared = [&*servers[0], &numbers[0], &servers[1], &numbers[1]];
        let begun = |args: &[&str]| {
            let mut part = Part::start(args);
            let first = First::of(&mut part);
            (part, first)
        };
        let checker = begun(&[&[NODES], &shared[..], &[PATIENT]].concat());
        let streams = begun(&[&[STREAMS], &shared[..], &[redis, memcached]].concat());
        [checker, streams]
    }
}

/// The report of a part about its beginning.
struct First {
    /// How long the first round took, in milliseconds.
    wall: f64,
    /// How much the process grew by the nodes and some rounds, in kB.
    memory: f64,
}

impl First {
    fn of(part: &mut Part) -> Self {
        let [wall, memory] = part.numbers();
        Self { wall, memory: memory * 1.024 }
    }
}

/// The lines about dead nodes.
fn dead() -> Vec<String> {
    let refusing = Port::reserve();
    let stopped = Redis::start(&[]);
    stopped.stop();
    let sentences = [("refuse", refusing.addr(), PATIENT), ("hang", stopped.addr(), DEADLINE)];
    sentences
        .into_iter()
        .map(|(what, server, limit)| {
            let server = server.to_string();
            let rounds = |part: &str| {
                let args = [part, &server, &DEAD.to_string(), &server, "0", limit, "dead"];
                let all: Vec<[f64; 3]> = (0..3)
                    .map(|_| {
                        let mut part = Part::start(&args);
                        let [wall, _] = part.numbers();
                        part.go();
                        let [second, _] = part.numbers();
                        part.go();
                        let [_, peak] = part.numbers();
                        [wall, second, peak]
                    })
                    .collect();
                [0, 1, 2].map(|place| figure(median(all.iter().map(|one| one[place]).collect())))
            };
            let ([wall, again, peak], [floor, floor_again, floor_peak]) = (rounds(NODES), rounds(STREAMS));
            format!(
                "{DEAD} nodes that all {what}: the first round takes {wall} ms and the next {again} ms, at most {peak} MB more \
                 than the program itself; raw streams take {floor} and {floor_again} ms, and {floor_peak} MB."
            )
        })
        .collect()
}

/// The task of a part: servers, how many times each, and the rest.
struct Task {
    servers: [SocketAddr; 2],
    nodes: [usize; 2],
    rest: Vec<String>,
}

impl Task {
    fn read(args: &[String]) -> Self {
        let [redis, redis_nodes, memcached, memcached_nodes, rest @ ..] = args else { panic!("{args:?}") };
        Self {
            servers: [redis, memcached].map(|addr| addr.parse().unwrap()),
            nodes: [redis_nodes, memcached_nodes].map(|number| number.parse().unwrap()),
            rest: rest.to_vec(),
        }
    }

    /// Whether the nodes are all dead, and not all up.
    fn is_dead(&self) -> bool {
        self.rest.last().is_some_and(|last| last == "dead")
    }

    /// How long a check may take.
    fn deadline(&self) -> Duration {
        Duration::from_millis(self.rest[0].parse().unwrap())
    }
}

/// The part that checks nodes.
pub(crate) fn check_nodes(args: &[String]) {
    let task = Task::read(args);
    let [redis, memcached] = task.servers;
    let [redis_nodes, memcached_nodes] = task.nodes;
    let wanted = if task.is_dead() { Status::Down } else { Status::Up };
    let made = || {
        let mut all = Config { caches: Vec::new(), ..config(redis_at(redis), true) };
        all.timeout = task.deadline();
        for number in 0..redis_nodes {
            let alias = Alias::try_from(format!("redis-{number:04}").as_str()).unwrap();
            all.caches.push(CacheConfig::new(alias, redis_at(redis)));
        }
        if memcached_nodes > 0 {
            let ring = memcached_at(&vec![memcached; memcached_nodes]);
            all.caches.push(CacheConfig::new(Alias::try_from("main").unwrap(), ring));
        }
        Checker::new(&all).unwrap()
    };
    rounds(made, task.is_dead(), &async |checker: &mut Checker, _| {
        let report = checker.check(&checker.catalog().all(), tokio::time::Instant::now()).await;
        let cause = report.outcomes.iter().find_map(|outcome| outcome.cause());
        assert_eq!(report.status(), wanted, "the first cause is {cause:?}");
    });
}

/// The part that says the same over raw streams.
pub(crate) fn use_streams(args: &[String]) {
    let task = Task::read(args);
    if task.is_dead() {
        let (server, limit) = (task.servers[0], task.deadline());
        let made = || vec![server; task.nodes[0]];
        return rounds(made, true, &async |servers: &mut Vec<SocketAddr>, _| {
            let all = servers.iter().map(|server| timeout(limit, fails(*server)));
            join_all(all).await;
        });
    }
    let scripts = [&task.rest[0], &task.rest[1]].map(|file| Script::read(file));
    let made = || -> Vec<Stream> {
        let stream = |place: usize| std::iter::repeat_n((place, task.servers[place]), task.nodes[place]);
        (0..2).flat_map(stream).map(|(place, server)| (place, server, None)).collect()
    };
    rounds(made, false, &async |streams: &mut Vec<Stream>, number| {
        let all = streams.iter_mut().map(|(place, server, stream)| {
            let script = &scripts[*place];
            async move {
                if stream.is_none() {
                    let dialed = TcpStream::connect(*server).await.unwrap();
                    dialed.set_nodelay(true).unwrap();
                    *stream = Some(dialed);
                }
                script.say_async(number, stream.as_mut().unwrap()).await.unwrap();
            }
        });
        join_all(all).await;
    });
}

/// Which script is said to which server, once there is a connection.
type Stream = (usize, SocketAddr, Option<TcpStream>);

/// A connection to a dead server, and a wait for an answer that never comes.
async fn fails(server: SocketAddr) {
    use tokio::io::AsyncReadExt as _;
    if let Ok(mut stream) = TcpStream::connect(server).await {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "it was to be dead");
    }
}

/// Makes what is to be used, and a first round; says how long that took and how much the process grew. Then makes a
/// round for every line that it is told, and says how long that and its CPU took, in milliseconds. With `peak` it says
/// in the CPU's place by how many MB the process was ever larger than at first.
fn rounds<T>(made: impl FnOnce() -> T, peak: bool, round: &impl AsyncFn(&mut T, usize)) {
    let runtime = runtime();
    let (before, resident) = (anonymous(), kib("self", "status", "VmRSS"));
    let mut made = made();
    let wall = runtime.block_on(async {
        let began = Instant::now();
        round(&mut made, 0).await;
        let wall = millis(began.elapsed());
        if !peak {
            for number in 1..3 {
                round(&mut made, number).await;
            }
        }
        wall
    });
    println!("{wall} {}", anonymous() - before);
    for number in 3.. {
        if stdin().lock().read_line(&mut String::new()).unwrap() == 0 {
            return;
        }
        let (wall, cpu) = runtime.block_on(async {
            let (began, cpu) = (Instant::now(), cpu());
            round(&mut made, number).await;
            (millis(began.elapsed()), self::cpu() - cpu)
        });
        let more = (kib("self", "status", "VmHWM") - resident) * 1.024 / 1e3;
        println!("{wall} {}", if peak { more } else { cpu });
    }
}

/// The memory that is the process' own, in KiB: what else is resident is the program, of which each node needs the
/// same.
fn anonymous() -> f64 {
    kib("self", "status", "RssAnon")
}

/// The CPU time of this process, in milliseconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
