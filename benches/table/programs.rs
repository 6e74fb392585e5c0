//! The programs that are measured: how they are built, started and asked, and what they cost by the system's word.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::raw::{MAX_WAIT, Wire};
use super::support::{self, Memcached, Port, Redis};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// The sidecar as it is installed. The one that comes with a benchmark is linked with what the tests
/// want of its dependencies.
pub(crate) fn sidecar() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(TMP).join("sidecar");
        build(&target, &[]);
        target.join("release/cache-canary")
    })
}

/// The sidecar as the Dockerfile builds it.
pub(crate) fn static_sidecar() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let rustc = Command::new("rustc").arg("-vV").output().unwrap();
        let rustc = String::from_utf8(rustc.stdout).unwrap();
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let target = Path::new(TMP).join("static-sidecar");
        build(&target, &["--target", host]);
        target.join(host).join("release/cache-canary")
    })
}

/// The sidecar as it is installed, but with this configuration of cargo's, as the variant of this number.
pub(crate) fn variant(number: usize, config: &[&str]) -> PathBuf {
    let target = Path::new(TMP).join("variant");
    let args: Vec<_> = config.iter().flat_map(|one| ["--config", one]).collect();
    build(&target, &args);
    let kept = Path::new(TMP).join(format!("variant-{number}"));
    let _ = fs::remove_file(&kept);
    // The next one takes its place. Of a copy, the kernel would keep other pages in memory.
    fs::hard_link(target.join("release/cache-canary"), &kept).unwrap();
    kept
}

fn build(target: &Path, args: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--quiet", "--bin", "cache-canary", "--target-dir"]);
    cargo.arg(target).args(args).current_dir(ROOT).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if args.contains(&"--target") {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    assert!(cargo.status().unwrap().success(), "the sidecar does not build");
}

/// The floor by itself, as small as it gets without more than a stable compiler.
pub(crate) fn floor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let binary = Path::new(TMP).join("floor");
        let options = ["--edition=2024", "-Copt-level=s", "-Clto=fat", "-Cpanic=abort", "-Cstrip=symbols"];
        let source = Path::new(ROOT).join("benches/floor.rs");
        let made_at = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        if made_at(&binary) > made_at(&source) {
            return binary;
        }
        let compiled = Command::new("rustc").args(options).arg(source).arg("-o").arg(&binary).status();
        assert!(compiled.unwrap().success(), "the floor does not compile");
        binary
    })
}

/// A program that runs until this is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sidecar that listens there and has this environment; its name in canaries is as long as the floor's.
pub(crate) fn serve(listen: SocketAddr, environment: &[(String, String)]) -> Running {
    serve_by(sidecar(), listen, environment)
}

/// The same by this program.
pub(crate) fn serve_by(program: &Path, listen: SocketAddr, environment: &[(String, String)]) -> Running {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &listen.to_string()]).env("CACHE_CANARY_INSTANCE", "bench");
    Running::start(command.envs(environment.iter().cloned()))
}

/// The floor before this Redis.
pub(crate) fn serve_floor(listen: SocketAddr, redis: SocketAddr) -> Running {
    Running::start(Command::new(floor()).args([listen, redis].map(|address| address.to_string())))
}

/// This very program in a process of its own, that does a part of its work: told by lines, and answering with lines.
/// It ends with its input.
pub(crate) struct Part {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Part {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(super::PART).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, output }
    }

    /// Has it go on.
    pub(crate) fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// The numbers of the next line.
    pub(crate) fn numbers<const N: usize>(&mut self) -> [f64; N] {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("a part of the benchmark said {line:?}"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// A Redis and a pair of memcached servers, and the five caches that are made of them.
pub(crate) struct Five {
    pub(crate) redis: Redis,
    memcached: [Memcached; 2],
}

impl Five {
    pub(crate) fn start() -> Self {
        Self { redis: Redis::start(&[]), memcached: [(); 2].map(|()| Memcached::start(&[])) }
    }

    /// The Redis three times over, the pair, and a forwarding one, from the environment alone.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let url = format!("redis://{}", self.redis.addr());
        let pair = format!("memcached://{},{}", self.memcached[0].addr(), self.memcached[1].addr());
        let caches = [
            ("CACHE_URL", &*url),
            ("CACHE_URL_TWO", &url),
            ("CACHE_URL_THREE", &url),
            ("CACHE_URL_PAIR", &pair),
        ];
        let forwarding = [
            ("CACHE_CANARY_CACHES__FOURTH__BACKEND", "forwarding"),
            ("CACHE_CANARY_CACHES__FOURTH__LOCATION", "two"),
        ];
        caches
            .into_iter()
            .chain(forwarding)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// The address at which a program listens for HTTP that is not encrypted.
pub(crate) enum Endpoint<'a> {
    Tcp(&'a Port),
    Unix(&'a Path),
}

impl Endpoint<'_> {
    /// Asks until the answer is 200.
    pub(crate) fn wait_until_up(&self) {
        let began = Instant::now();
        while !self.is_up().unwrap_or(false) {
            assert!(began.elapsed() < MAX_WAIT, "it never answered 200");
            // On one core the server cannot start while this spins.
            std::thread::yield_now();
        }
    }

    fn is_up(&self) -> std::io::Result<bool> {
        let mut stream: Box<dyn Wire> = match self {
            Self::Tcp(port) => Box::new(TcpStream::connect(port.addr())?),
            Self::Unix(path) => Box::new(UnixStream::connect(path)?),
        };
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin)?;
        Ok(&begin == b"HTTP/1.1 200")
    }
}

/// The CPU time that a process has taken, in its own code and in the system's.
pub(crate) fn cpu(pid: u32) -> Duration {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // A thread may end meanwhile.
        let Ok(schedstat) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        nanos += schedstat.split(' ').next().unwrap().parse::<u64>().unwrap();
    }
    // The time of threads that have ended is known to `stat` alone, in hundredths of a second (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_the_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = behind_the_name.split_whitespace().collect();
    let ticks: u64 = fields[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_nanos(nanos).max(Duration::from_millis(10 * ticks))
}

/// A line of a file that `/proc` has of a process, in KiB.
pub(crate) fn kib(pid: &str, file: &str, line: &str) -> f64 {
    support::kib(pid, file, line) as f64
}
