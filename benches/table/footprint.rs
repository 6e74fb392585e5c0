//! (d) Start, memory and size: with five caches, and with everything on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::Effort;
use super::limits;
use super::programs::{Endpoint, Five, Running, floor, kib, serve_floor, sidecar, static_sidecar};
use super::sample::{Pairs, median, millis};
use super::sheet::{Sheet, figure};
use super::support::{Authority, Port};

pub(crate) fn run(effort: Effort) -> Sheet {
    let mut sheet = Sheet::new("footprint", &["", "cache-canary", "floor"]);
    let five = Five::start();
    let everything = Everything::new(&five);
    let mut lives = [Lives::default(), Lives::default()];
    for _ in 0..effort.of(30) {
        let port = Port::reserve();
        let ours =
            Life::of(&Endpoint::Tcp(&port), || super::programs::serve(port.addr(), &five.environment()));
        let port = Port::reserve();
        let floor = Life::of(&Endpoint::Tcp(&port), || serve_floor(port.addr(), five.redis.addr()));
        lives[0].push(&ours, &floor);
        lives[1].push(&everything.live(), &floor);
    }
    for (what, lives) in ["five caches", "five caches and everything on"].into_iter().zip(lives) {
        let [start, floor] = lives.starts.samples().map(|sample| sample.median());
        let name = format!("start to first 200, ms; {what}");
        sheet.judged(&[name, figure(start), figure(floor)], start, limits::START_MS);
        for (place, (kind, limit)) in
            [("RSS", Some(limits::IDLE_RSS_MIB)), ("PSS", None)].into_iter().enumerate()
        {
            let name = format!("idle memory ({kind}), MiB; {what}");
            let [ours, floor] = lives.memory[place].each_ref().map(|all| median(all.clone()));
            let cells = [name, figure(ours), figure(floor)];
            match limit {
                Some(limit) => sheet.judged(&cells, ours, limit),
                None => sheet.row(&cells),
            }
        }
    }
    let size = |path: &Path| fs::metadata(path).unwrap().len() as f64 / 1e6;
    let binary = size(sidecar());
    sheet.judged(
        &["binary, MB".to_owned(), figure(binary), figure(size(floor()))],
        binary,
        limits::BINARY_MB,
    );
    let image = size(static_sidecar());
    sheet.row(&["image, MB: the static binary".to_owned(), figure(image), String::new()]);
    let script = size(&Path::new(env!("CARGO_MANIFEST_DIR")).join("healthcheck.sh"));
    let with_shell = busybox().map_or_else(
        || "busybox-static is not installed".to_owned(),
        |busybox| figure(image + script + size(Path::new(&busybox))),
    );
    sheet.row(&["image with a shell, MB: busybox and a script more".to_owned(), with_shell, String::new()]);
    sheet.note(
        "Everything on: TLS for callers, a unix socket, metrics at a listener of their own, and rounds every 10 s. An image \
         has no other layer than what is named.",
    );
    sheet
}

/// The measurements of one start.
pub(crate) struct Life {
    /// From the start of the process to its first 200, in milliseconds.
    pub(crate) start: f64,
    /// RSS and PSS, in MiB.
    pub(crate) memory: [f64; 2],
}

impl Life {
    pub(crate) fn of(endpoint: &Endpoint<'_>, start: impl FnOnce() -> Running) -> Self {
        let began = Instant::now();
        let program = start();
        endpoint.wait_until_up();
        let start = millis(began.elapsed());
        let pid = program.pid().to_string();
        Self { start, memory: ["Rss", "Pss"].map(|line| kib(&pid, "smaps_rollup", line) / 1024.0) }
    }
}

/// Some lives of ours and of the floor's, in turn.
#[derive(Default)]
struct Lives {
    starts: Pairs,
    /// RSS and PSS of each.
    memory: [[Vec<f64>; 2]; 2],
}

impl Lives {
    fn push(&mut self, ours: &Life, floor: &Life) {
        self.starts.push(vec![ours.start], vec![floor.start]);
        for (place, all) in self.memory.iter_mut().enumerate() {
            all[0].push(ours.memory[place]);
            all[1].push(floor.memory[place]);
        }
    }
}

/// A sidecar with all that can be turned on.
struct Everything {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Everything {
    fn new(five: &Five) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Authority::new().issue(&["localhost"]);
        let written = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let mut environment = five.environment();
        let certificate = written("certificate.pem", identity.certificate());
        let on = [
            ("CACHE_CANARY_TLS__CERT_FILE", certificate),
            ("CACHE_CANARY_TLS__KEY_FILE", written("key.pem", identity.key())),
            ("CACHE_CANARY_INTERVAL", "10s".to_owned()),
        ];
        environment.extend(on.map(|(name, value)| (name.to_owned(), value)));
        Self { dir, environment }
    }

    fn live(&self) -> Life {
        let [port, metrics] = [Port::reserve(), Port::reserve()];
        let socket = self.dir.path().join("sidecar.sock");
        Life::of(&Endpoint::Unix(&socket), || {
            let mut command = Command::new(sidecar());
            command.args(["serve", "--listen", &port.addr().to_string()]);
            command.arg("--listen").arg(format!("unix:{}", socket.display()));
            command.env("CACHE_CANARY_METRICS__LISTEN", metrics.addr().to_string());
            Running::start(command.envs(self.environment.iter().cloned()))
        })
    }
}

fn busybox() -> Option<String> {
    let paths = std::env::var("PATH").unwrap_or_default();
    let paths = paths.split(':').map(|dir| format!("{dir}/busybox"));
    paths.into_iter().find(|path| Path::new(path).exists())
}
