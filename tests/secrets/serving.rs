//! [`Serving`]: `serve` with a log level, one of the two forms of its log, and an environment of its own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Port, eventually};

/// The program under test, without the environment of the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
    command
}

/// Variables of an environment.
pub(crate) type Environment = Vec<(String, String)>;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Journal,
}

/// A running sidecar, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    child: Child,
    port: Port,
    folder: tempfile::TempDir,
}

impl Serving {
    /// Starts it with this configuration, whose listener is added, and waits until it listens.
    pub(crate) fn start(config: &str, level: &str, form: Form, environment: &Environment) -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let log = File::create(folder.path().join("log")).unwrap();
        let of_log = log.metadata().unwrap();
        let mut command = program();
        command.args(["serve", "-c"]).arg(folder.path().join("cache-canary.toml"));
        command.envs(environment.iter().cloned()).env("CACHE_CANARY_LOG", level);
        if form == Form::Journal {
            command.env("JOURNAL_STREAM", format!("{}:{}", of_log.dev(), of_log.ino()));
        }
        write(&folder, &port, config);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut serving = Self { child, port, folder };
        eventually("it listens", || {
            let ended = serving.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", serving.log());
            TcpStream::connect(serving.port.addr()).is_ok()
        });
        serving
    }

    pub(crate) fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output and error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap()).into_owned()
    }

    /// Rewrites its configuration and has it read again.
    pub(crate) fn reload(&self, config: &str) {
        write(&self.folder, &self.port, config);
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Stops it as a supervisor does, and returns its log.
    pub(crate) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    /// The answer to these bytes.
    pub(crate) fn ask(&self, request: &[u8]) -> Vec<u8> {
        ask(self.port.addr(), request)
    }

    /// The answer for a target, with these lines in the head.
    pub(crate) fn get(&self, target: &str, head: &str) -> Vec<u8> {
        let head = if head.to_ascii_lowercase().contains("host:") {
            head.to_owned()
        } else {
            format!("Host: localhost\r\n{head}")
        };
        self.ask(format!("GET {target} HTTP/1.1\r\n{head}Connection: close\r\n\r\n").as_bytes())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(folder: &tempfile::TempDir, port: &Port, config: &str) {
    let config = format!("listen = \"{}\"\n{config}", port.addr());
    fs::write(folder.path().join("cache-canary.toml"), config).unwrap();
}

/// The answer to these bytes, up to its end.
pub(crate) fn ask(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // It may have answered and closed before all was written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Runs a command that ends by itself.
pub(crate) fn run(arguments: &[&str], config: Option<&str>, environment: &Environment) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(arguments).envs(environment.iter().cloned());
    if let Some(config) = config {
        let file = folder.path().join("cache-canary.toml");
        fs::write(&file, config).unwrap();
        command.arg("-c").arg(file);
    }
    command.stdin(Stdio::null()).output().unwrap()
}
