//! (a) A check of one node beside the same bytes over a raw blocking stream.

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use cache_canary::checker::Checker;
use cache_canary::config::{Address, Backend, MemcachedConfig as Ring, MemcachedServers};
use cache_canary::config::{RedisConfig as Single, RedisServers, Tls};
use tokio::runtime::Runtime;

use super::limits;
use super::raw::{Script, Way, Wire, check, config, runtime};
use super::sample::{Pairs, micros, timed};
use super::sheet::{Sheet, figure};
use super::support::in_process::{memcached_at, redis_at};
use super::support::{Authority, Memcached, Redis};
use super::{Effort, PART};

/// The name of the part that instructions are counted of.
pub(crate) const INSTRUCTIONS: &str = "instructions";

const COLUMNS: [&str; 6] = ["a check, us", "p50", "p99", "floor p50", "floor p99", "floors"];

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("check", &COLUMNS);
    let bench = Bench::start();
    let targets = targets(&bench);
    for (kept, connection) in [(true, "kept"), (false, "new")] {
        for target in &targets {
            let script = bench.script(target, kept);
            let pairs = pairs(&bench.runtime, target, &script, kept, effort);
            let ratio = pairs.ratio();
            let cells = cells(format!("{}, {connection} connection", target.name), pairs, ratio);
            if kept {
                sheet.judged(&cells, ratio, limits::CHECK_KEPT);
            } else {
                sheet.row(&cells);
            }
        }
    }
    let script = bench.script(&targets[0], true);
    let itself = floor_beside_itself(&targets[0].way, &script, effort);
    let ratio = itself.ratio();
    sheet.row(&cells("the floor beside itself".to_owned(), itself, ratio));
    sheet.note(&bytes(&bench, &script));
    sheet.note(&instructions(&bench, effort));
    sheet
}

fn cells(what: String, pairs: Pairs, ratio: f64) -> [String; 6] {
    let [ours, floor] = pairs.samples();
    let [ours, floor] = [ours, floor].map(|sample| [figure(sample.median()), figure(sample.p99())]);
    let ([p50, p99], [floor_p50, floor_p99]) = (ours, floor);
    [what, p50, p99, floor_p50, floor_p99, format!("{ratio:.3}")]
}

/// The recorder of a check's bytes, and the authority of the servers that speak TLS.
struct Bench {
    runtime: Runtime,
    redis: Redis,
    memcached: Memcached,
    authority: Authority,
    authority_file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
        let authority_file = dir.path().join("authority.pem");
        std::fs::write(&authority_file, authority.certificate()).unwrap();
        let (redis, memcached) = (Redis::start(&[]), Memcached::start(&[]));
        Self { runtime: runtime(), redis, memcached, authority, authority_file, _dir: dir }
    }

    /// The bytes of a check of this target, whose keys are as long.
    fn script(&self, target: &Target, kept: bool) -> Script {
        let alias = format!("main{}", "x".repeat(target.longer));
        let record = |server, backend: fn(SocketAddr) -> Backend| {
            Script::record(&self.runtime, server, &alias, kept, backend)
        };
        match target.backend {
            Backend::Redis(_) => record(self.redis.addr(), redis_at),
            _ => record(self.memcached.addr(), |addr| memcached_at(&[addr])),
        }
    }
}

/// A server and two ways to it, the checker's and the floor's.
struct Target {
    name: &'static str,
    backend: Backend,
    way: Way,
    /// How many bytes its name has more than `127.0.0.1:12345`, which the floor's bytes are recorded at.
    longer: usize,
    /// Ends with this.
    _server: Box<dyn Any>,
}

fn targets(bench: &Bench) -> Vec<Target> {
    let identity = bench.authority.issue(&["127.0.0.1"]);
    let tcp = |addr: SocketAddr| Address::Tcp { host: addr.ip().to_string(), port: addr.port() };
    let tls = |addr| Way::tls(addr, &bench.authority.certificate());
    let tls_of = |way: &Way| match way {
        Way::Tls(..) => Some(Tls { ca_file: Some(bench.authority_file.clone()), ..Tls::default() }),
        Way::Tcp(_) | Way::Unix(_) => None,
    };
    let longer = |address: &Address| address.to_string().len().saturating_sub("127.0.0.1:12345".len());
    let redis = |name, address: Address, way: Way, server: Redis| Target {
        name,
        longer: longer(&address),
        backend: Backend::Redis(Single {
            tls: tls_of(&way),
            ..Single::at(RedisServers::Standalone(address))
        }),
        way,
        _server: Box::new(server),
    };
    let memcached = |name, address: Address, way: Way, server: Memcached| Target {
        name,
        longer: longer(&address),
        backend: Backend::Memcached(Ring { tls: tls_of(&way), ..Ring::at([MemcachedServers::One(address)]) }),
        way,
        _server: Box::new(server),
    };
    let (plain, socket, encrypted) =
        (Redis::start(&[]), Redis::start(&[]), Redis::start_tls(&identity, None));
    let redis = [
        redis("Redis, TCP", tcp(plain.addr()), Way::Tcp(plain.addr()), plain),
        redis("Redis, unix socket", Address::Unix(socket.socket()), Way::Unix(socket.socket()), socket),
        redis("Redis, TLS", tcp(encrypted.addr()), tls(encrypted.addr()), encrypted),
    ];
    let (plain, socket, encrypted) =
        (Memcached::start(&[]), Memcached::start_on_socket(), Memcached::start_tls(&identity, None));
    let path = socket.socket().to_owned();
    let memcached = [
        memcached("memcached, TCP", tcp(plain.addr()), Way::Tcp(plain.addr()), plain),
        memcached("memcached, unix socket", Address::Unix(path.clone()), Way::Unix(path), socket),
        memcached("memcached, TLS", tcp(encrypted.addr()), tls(encrypted.addr()), encrypted),
    ];
    redis.into_iter().chain(memcached).collect()
}

fn pairs(runtime: &Runtime, target: &Target, script: &Script, kept: bool, effort: Effort) -> Pairs {
    let checker = Checker::new(&config(target.backend.clone(), kept)).unwrap();
    runtime.block_on(check(&checker));
    let mut stream = target.way.dial().unwrap();
    script.prime(&mut *stream).unwrap();
    let (turns, checks) = if kept { (effort.of(120), 50) } else { (effort.of(60), 20) };
    let mut pairs = Pairs::default();
    for _ in 0..turns {
        // Within the runtime, as a server's checks are: to enter and leave it is no part of one.
        let ours = runtime.block_on(async {
            let mut times = Vec::with_capacity(checks);
            for _ in 0..checks {
                let began = Instant::now();
                check(&checker).await;
                times.push(micros(began.elapsed()));
            }
            times
        });
        let floor = if kept {
            says(script, checks, &mut *stream)
        } else {
            // The old connection is closed by the new one's coming, as the checker's is.
            let mut on_a_new_connection =
                |number| timed(|| stream = said_on_a_new_connection(script, number, &target.way)).0;
            (0..checks).map(&mut on_a_new_connection).collect()
        };
        pairs.push(ours, floor);
    }
    pairs
}

fn said_on_a_new_connection(script: &Script, number: usize, way: &Way) -> Box<dyn Wire + Send> {
    let mut stream = way.dial().unwrap();
    script.say(number, &mut *stream).unwrap();
    stream
}

/// How long each of so many raw checks takes.
fn says(script: &Script, checks: usize, stream: &mut dyn Wire) -> Vec<f64> {
    (0..checks).map(|number| timed(|| script.say(number, stream).unwrap()).0).collect()
}

/// The ratio of two equal things here: how far a ratio can be from the truth.
fn floor_beside_itself(way: &Way, script: &Script, effort: Effort) -> Pairs {
    let mut streams = [way.dial().unwrap(), way.dial().unwrap()];
    let mut pairs = Pairs::default();
    for _ in 0..effort.of(120) {
        let [one, other] = streams.each_mut().map(|stream| says(script, 50, &mut **stream));
        pairs.push(one, other);
    }
    pairs
}

/// Says, by the server's own count, that both sides send the same.
fn bytes(bench: &Bench, script: &Script) -> String {
    const CHECKS: usize = 1000;
    let (redis, runtime) = (&bench.redis, &bench.runtime);
    let checker = Checker::new(&config(redis_at(redis.addr()), true)).unwrap();
    runtime.block_on(check(&checker));
    let received = || redis.info("total_net_input_bytes").parse::<f64>().unwrap();
    let before = received();
    for _ in 0..CHECKS {
        runtime.block_on(check(&checker));
    }
    // To ask for the count has a hundred bytes too, once.
    let (ours, floor) = ((received() - before) / CHECKS as f64, script.bytes() as f64);
    assert!((ours / floor - 1.0).abs() < 0.05, "a check sends {ours} bytes, and its floor {floor}");
    format!("By Redis' own count a check sends {ours:.0} bytes; its floor sends {floor}.")
}

/// Instructions of the program's own, by callgrind: what a thousand checks take more than none.
fn instructions(bench: &Bench, effort: Effort) -> String {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return "Instructions are not counted: there is no valgrind.".to_owned();
    }
    let script = Script::record(&bench.runtime, bench.redis.addr(), "main", true, redis_at);
    let file = bench.authority_file.with_file_name("script.json");
    script.write(&file);
    let checks = effort.of(1000);
    let counted = |what: &str, times: usize| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(std::env::current_exe().unwrap()).args([PART, INSTRUCTIONS, what]);
        let args = [bench.redis.addr().to_string(), file.display().to_string(), times.to_string()];
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let count = said.lines().find_map(|line| line.split_once("Collected : "));
        count.unwrap_or_else(|| panic!("callgrind counted nothing: {said}")).1.trim().parse::<f64>().unwrap()
    };
    let [ours, tokio, blocking] = ["checker", "tokio", "blocking"].map(|what| {
        let first = 100;
        (counted(what, first + checks) - counted(what, first)) / checks as f64
    });
    format!(
        "Instructions outside the kernel (callgrind), Redis, TCP, kept connection: {ours:.0} a check; {tokio:.0} for its \
         bytes over a stream of tokio's, {blocking:.0} over a blocking one."
    )
}

/// The part that instructions are counted of: so many checks of one kind.
pub(crate) fn count_instructions(args: &[String]) {
    let [what, redis, script, times] = args else { panic!("{args:?}") };
    let (redis, times) = (redis.parse::<SocketAddr>().unwrap(), times.parse::<usize>().unwrap());
    let script = Script::read(script);
    let runtime = runtime();
    match what.as_str() {
        "checker" => {
            let checker = Checker::new(&config(redis_at(redis), true)).unwrap();
            runtime.block_on(async {
                for _ in 0..times {
                    check(&checker).await;
                }
            });
        }
        "tokio" => runtime.block_on(async {
            let mut stream = tokio::net::TcpStream::connect(redis).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for number in 0..times {
                script.say_async(number, &mut stream).await.unwrap();
            }
        }),
        _ => {
            let mut stream = Way::Tcp(redis).dial().unwrap();
            for number in 0..times {
                script.say(number, &mut *stream).unwrap();
            }
        }
    }
}
