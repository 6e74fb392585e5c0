//! The memory of the sidecar: no core file, and no access by other processes of its user. Run by root, the sidecar and these processes run as
//! another user, as in a container.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use super::serving::{ask, program};
use super::support::{Port, Redis, eventually};

/// A user without rights.
const NOBODY: u32 = 65534;

/// A folder of the user's own, with the program, which may stand where this user may not go.
struct Home(TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(home.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // Another process copies it: a file that this one writes could not be run while a test beside it starts a program.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_cache-canary")).arg(home.path()).status();
        assert!(copied.unwrap().success());
        fs::write(home.path().join("cache-canary.toml"), config).unwrap();
        if getuid().is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command of the user in this folder, behind `before`, which runs as the user of the tests.
    fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let id = NOBODY.to_string();
        // The change of the user clears the signal that `unshare --kill-child` has set.
        let user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "KILL", "--"];
        let user = if getuid().is_root() { &user[..] } else { &[] };
        let words = [before, user, arguments].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .envs(program().get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, before: &[&str], arguments: &[&str]) -> Output {
        self.command(before, arguments).output().unwrap()
    }
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// A sidecar at this port.
    fn serve(command: Command, port: &Port) -> Self {
        let running = Self::start(command);
        eventually("it listens", || std::net::TcpStream::connect(port.addr()).is_ok());
        running
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(port: &Port, redis: &Redis) -> String {
    format!("listen = \"{}\"\n[caches.main]\nurl = \"redis://{}\"", port.addr(), redis.addr())
}

/// `true` if it is up; its metrics have figures of its own process.
fn is_up(port: &Port) -> bool {
    let answer = ask(port.addr(), b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    for metric in ["process_open_fds ", "process_resident_memory_bytes ", "process_cpu_seconds_total "] {
        let value = answer.lines().find_map(|line| line.strip_prefix(metric)?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{metric}: {answer}");
    }
    answer.contains("200 OK")
}

#[test]
fn no_process_of_the_same_user_can_read_the_memory_or_the_environment() {
    let (port, redis) = (Port::reserve(), Redis::start(&[]));
    let home = Home::new(&config(&port, &redis));
    let serve = home.command(&[], &["./cache-canary", "serve", "-c", "cache-canary.toml"]);
    let serving = Running::serve(serve, &port);
    let other = Running::start(home.command(&[], &["sleep", "60"]));
    eventually("the other process runs", || {
        fs::read_to_string(other.proc("comm")).is_ok_and(|name| name == "sleep\n")
    });
    for file in ["environ", "maps", "mem", "auxv"] {
        let read = |process: &Running| {
            let script = format!("exec 3<{}", process.proc(file));
            home.run(&[], &["sh", "-c", &script]).status.success()
        };
        assert!(read(&other), "{file} of a process that is not protected can be opened");
        assert!(!read(&serving), "{file} of the sidecar can be opened");
    }
    // The metrics of the process itself need no rights.
    assert!(is_up(&port));
}

#[test]
fn an_aborted_sidecar_leaves_no_core_file_whatever_the_limit_was() {
    let (port, redis) = (Port::reserve(), Redis::start(&[]));
    let home = Home::new(&config(&port, &redis));
    let unlimited = |command: &str| {
        let script = format!("ulimit -c unlimited && exec {command}");
        home.command(&[], &["sh", "-c", &script])
    };
    let mut other = Running::start(unlimited("sleep 60"));
    let mut serving = Running::serve(unlimited("./cache-canary serve -c cache-canary.toml"), &port);
    eventually("the other process runs", || {
        fs::read_to_string(other.proc("comm")).is_ok_and(|name| name == "sleep\n")
    });
    let limits = |process: &Running| {
        let limits = fs::read_to_string(process.proc("limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((limits(&other).as_str(), limits(&serving).as_str()), ("unlimited unlimited", "0 0"));
    let abort = |process: &mut Running| {
        kill_process(Pid::from_child(&process.0), Signal::ABORT).unwrap();
        let status = process.0.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
        let files = fs::read_dir(home.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("core"));
        (status.core_dumped(), files.count())
    };
    assert_eq!(abort(&mut serving), (false, 0));
    // The same fault of another process has a core file, unless the machine forbids them all.
    let (has_core, _) = abort(&mut other);
    if !has_core {
        let _ = writeln!(io::stderr(), "not shown: this machine writes no core file of any process");
    }
}

#[test]
fn the_first_process_of_a_container_of_another_user_is_asked_and_found_by_its_healthcheck() {
    const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !getuid().is_root()
        || !Command::new(NAMESPACE[0]).args(&NAMESPACE[1..]).arg("true").status().unwrap().success()
    {
        let _ = writeln!(io::stderr(), "skipped: no PID namespace can be made");
        return;
    }
    let (port, redis) = (Port::reserve(), Redis::start(&[]));
    let home = Home::new(&config(&port, &redis));
    let serve = ["./cache-canary", "serve", "-c", "cache-canary.toml"];
    let serving = Running::serve(home.command(&NAMESPACE, &serve), &port);
    assert!(is_up(&port));
    let first = fs::read_to_string(serving.proc(&format!("task/{}/children", serving.0.id()))).unwrap();
    let directory = format!("--wd={}", home.path().display());
    let inside = ["nsenter", "--target", first.trim(), "--pid", "--mount", &directory];
    // The path of the configuration is relative, and only root may see the directory of the first process.
    let found = home.run(&inside, &["readlink", "/proc/1/cwd"]);
    assert!(!found.status.success(), "{found:?}");
    let asked = home.run(&inside, &["./cache-canary", "healthcheck"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}

#[test]
fn a_root_of_a_user_namespace_is_served_as_any_other_user() {
    let (port, redis) = (Port::reserve(), Redis::start(&[]));
    let home = Home::new(&config(&port, &redis));
    let namespace =
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !home.run(&[], &[&namespace[..], &["true"]].concat()).status.success() {
        let _ = writeln!(io::stderr(), "skipped: no user namespace can be made");
        return;
    }
    let serve = [&namespace[..], &["./cache-canary", "serve", "-c", "cache-canary.toml"]].concat();
    let _serving = Running::serve(home.command(&[], &serve), &port);
    assert!(is_up(&port));
}
