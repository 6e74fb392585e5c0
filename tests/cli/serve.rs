//! `serve`: where it listens, and how it stops.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{cache_canary, clean, no_cache, run, stderr, stdout};

/// A server that runs in a process of its own; it is killed when this goes.
struct Serving {
    process: Child,
    stderr: BufReader<ChildStderr>,
    urls: Vec<String>,
    /// The log until it was ready.
    log: String,
}

impl Serving {
    /// Starts it and waits until it is ready.
    fn start(command: &mut Command) -> Self {
        let mut process = command.env("CACHE_URL", no_cache()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let mut serving = Self { process, stderr, urls: Vec::new(), log: String::new() };
        loop {
            let line = serving.log_line();
            serving.log.push_str(&line);
            if let Some((_, url)) = line.split_once("listening on ") {
                serving.urls.push(url.trim_end().to_owned());
            } else if line.ends_with(" ready\n") {
                return serving;
            }
        }
    }

    fn on_any_port() -> Self {
        Self::start(cache_canary().args(["serve", "--listen", "127.0.0.1:0"]))
    }

    fn address(&self) -> SocketAddr {
        self.urls[0].strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn log_line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended");
        line
    }

    fn wait_for_log(&mut self, words: &str) {
        while !self.log_line().contains(words) {}
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: a small system has no program of that name.
        let kill = format!("kill -s {name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit code, when it has ended by itself.
    fn wait(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The whole answer to `request`, after which the server closes.
fn answer(stream: &mut (impl std::io::Read + std::io::Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const ASK_LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn an_insecure_setting_is_a_warning_in_the_log_of_every_start() {
    let mut command = cache_canary();
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.env("CACHE_URL_OTHER", no_cache().replace("redis://", "rediss://"));
    command.env("CACHE_CANARY_CACHES__OTHER__TLS__VERIFY", "none");
    let serving = Serving::start(&mut command);
    let warning = serving.log.lines().find(|line| line.contains("WARN"));
    let words = "other: certificates are not verified (tls.verify = \"none\"): an attacker on the network can \
                 read the password and forge answers";
    assert!(warning.is_some_and(|line| line.ends_with(words)), "{}", serving.log);
}

#[test]
fn a_server_that_everyone_may_ask_from_other_hosts_says_what_they_see() {
    let start = |listen: &[&str], variables: &[(&str, &str)]| {
        let mut command = cache_canary();
        let listen = listen.iter().flat_map(|address| ["--listen", address]);
        command.arg("serve").args(listen).envs(variables.iter().copied());
        let log = Serving::start(&mut command).log.clone();
        log.lines()
            .filter_map(|line| Some(line.split_once("access.allow ")?.1.to_owned()))
            .collect::<Vec<_>>()
    };
    let sees = "sees the names of the caches, their statuses, causes and history, and the metrics; server addresses, durations and \
                texts are only for";
    assert_eq!(
        start(&["127.0.0.1:0", "0.0.0.0:0", "[::]:0"], &[]),
        [format!(
            "admits everyone: each caller that reaches 0.0.0.0:0, [::]:0 {sees} 127.0.0.0/8, ::1/128 (access.details)"
        )]
    );
    let token = ("CACHE_CANARY_ACCESS__TOKEN", "0123456789abcdef");
    let details = ("CACHE_CANARY_ACCESS__DETAILS", "10.0.0.0/8");
    assert_eq!(
        start(&["0.0.0.0:0"], &[token, details]),
        [format!(
            "admits everyone: each caller that reaches 0.0.0.0:0 {sees} 10.0.0.0/8, callers with access.token (access.details)"
        )]
    );
    assert_eq!(start(&["127.0.0.1:0", "[::1]:0"], &[]), [""; 0]);
    assert_eq!(start(&["0.0.0.0:0"], &[("CACHE_CANARY_ACCESS__ALLOW", "10.0.0.0/8")]), [""; 0]);
}

#[test]
fn a_signal_stops_the_server_when_the_open_requests_are_answered() {
    for signal in ["TERM", "INT"] {
        let mut serving = Serving::on_any_port();
        let mut open = TcpStream::connect(serving.address()).unwrap();
        open.write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
        // Answered after the half request was accepted, so that is open when the signal comes.
        let mut other = TcpStream::connect(serving.address()).unwrap();
        assert!(answer(&mut other, ASK_LIVEZ).starts_with("HTTP/1.1 200 OK\r\n"));

        serving.signal(signal);
        serving.wait_for_log("stopping");
        let rest = answer(&mut open, "Host: x\r\n\r\n");
        assert!(rest.starts_with("HTTP/1.1 503 "), "{rest}");
        assert!(rest.ends_with("[-]sidecar failed: stopping\nreadyz check failed\n"), "{rest}");
        assert_eq!(serving.wait(), Some(0), "{signal}");
    }
}

#[test]
fn readyz_reports_the_drain_while_all_else_is_answered_and_then_the_server_ends_in_time() {
    let mut command = cache_canary();
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("CACHE_CANARY_DRAIN", "1s");
    let mut serving = Serving::start(&mut command);
    // One that sends half a request and no more.
    let mut half = TcpStream::connect(serving.address()).unwrap();
    half.write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
    // One that has the page open, whose feed has no end of its own.
    let mut feed = TcpStream::connect(serving.address()).unwrap();
    feed.write_all(b"GET /events HTTP/1.1\r\nHost: canary\r\n\r\n").unwrap();
    assert_ne!(feed.read(&mut [0; 512]).unwrap(), 0);

    let began = Instant::now();
    serving.signal("TERM");
    serving.wait_for_log("draining");
    let mut probe = TcpStream::connect(serving.address()).unwrap();
    let unready = answer(&mut probe, &ASK_LIVEZ.replace("livez", "readyz"));
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    let mut other = TcpStream::connect(serving.address()).unwrap();
    assert!(answer(&mut other, ASK_LIVEZ).starts_with("HTTP/1.1 200 OK\r\n"));

    assert_eq!(serving.wait(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // The drain, what open requests get, and what a busy machine takes.
    assert!(began.elapsed() < Duration::from_secs(1 + 10 + 4), "{:?}", began.elapsed());
    let mut last = Vec::new();
    feed.read_to_end(&mut last).unwrap();
    assert!(last.ends_with(b"0\r\n\r\n"), "the feed was cut off: {}", String::from_utf8_lossy(&last));
}

#[test]
fn a_second_signal_stops_the_server_at_once() {
    let mut serving = Serving::on_any_port();
    let mut open = TcpStream::connect(serving.address()).unwrap();
    open.write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
    let mut other = TcpStream::connect(serving.address()).unwrap();
    assert!(answer(&mut other, ASK_LIVEZ).ends_with("\r\n\r\nok\n"));

    serving.signal("TERM");
    serving.wait_for_log("stopping");
    let began = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.wait(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for the open request");
}

#[test]
fn the_server_listens_on_each_address_and_logs_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let unix = format!("unix:{}", path.display());
    let serving =
        Serving::start(cache_canary().args(["serve", "--listen", "127.0.0.1:0", "--listen", unix.as_str()]));
    assert_eq!(serving.urls[1..], [unix.as_str()]);
    assert!(answer(&mut TcpStream::connect(serving.address()).unwrap(), ASK_LIVEZ).ends_with("ok\n"));
    assert!(answer(&mut UnixStream::connect(&path).unwrap(), ASK_LIVEZ).ends_with("ok\n"));
}

#[test]
fn an_address_in_use_exits_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output =
        cache_canary().args(["serve", "--listen", &address]).env("CACHE_URL", no_cache()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "error: cannot listen on {address} (stop the process that listens there, or choose another address with --listen): \
         Address already in use (os error 98)\n"
    );
    assert!(stderr(&output).ends_with(&expected), "{}", stderr(&output));
}

/// The last line of a server that cannot listen on this socket. It runs as a user without rights if it is told to.
fn refused(path: &Path, without_rights: bool) -> String {
    let unix = format!("unix:{}", path.display());
    let mut command = if without_rights && rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_cache-canary"));
        clean(&mut command);
        command
    } else {
        cache_canary()
    };
    let output = command.args(["serve", "--listen", &unix]).env("CACHE_URL", no_cache()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    let line = said.lines().last().unwrap();
    line.strip_prefix(&format!("error: cannot listen on {unix} (")).unwrap_or(line).to_owned()
}

#[test]
fn a_file_in_the_place_of_a_socket_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let (file, link, served, stale) = (place("file"), place("link"), place("served"), place("stale"));
    std::fs::write(&file, "keep").unwrap();
    std::fs::create_dir(place("directory")).unwrap();
    let _served = UnixListener::bind(&served).unwrap();
    let _datagrams = UnixDatagram::bind(place("datagrams")).unwrap();
    drop(UnixListener::bind(&stale).unwrap());
    std::os::unix::fs::symlink(&stale, &link).unwrap();

    let other = ", or choose another address with --listen): ";
    for (path, said) in [
        (file.clone(), format!("remove it{other}a file that is not a socket exists at this path")),
        (place("directory"), format!("remove it{other}a directory exists at this path")),
        (link.clone(), format!("remove it{other}a symbolic link exists at this path")),
        (
            served.clone(),
            format!("stop the process that listens there{other}Address already in use (os error 98)"),
        ),
        (
            place("datagrams"),
            format!("stop the process that listens there{other}Address already in use (os error 98)"),
        ),
        (place("no/such"), format!("create its directory{other}No such file or directory (os error 2)")),
        (file.join("x"), format!("create its directory{other}Not a directory (os error 20)")),
    ] {
        assert_eq!(refused(&path, false), said, "{}", path.display());
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep");
    assert!(place("directory").is_dir() && link.is_symlink() && stale.exists());
    UnixStream::connect(&served).unwrap();

    // A socket that nobody serves any more is replaced.
    let unix = format!("unix:{}", stale.display());
    let serving = Serving::start(cache_canary().args(["serve", "--listen", &unix]));
    assert_eq!(serving.urls, [unix]);
}

#[test]
fn a_socket_in_a_place_without_rights_is_not_reported_as_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let closed = directory.path().join("closed");
    drop(UnixListener::bind(&closed).unwrap());
    mode(&stale, 0o777);
    mode(&closed, 0o000);
    mode(directory.path(), 0o555);
    let said = "give this user the right to write there, or choose another address with --listen): \
                Permission denied (os error 13)";
    for path in [directory.path().join("new"), stale.clone(), closed.clone()] {
        assert_eq!(refused(&path, true), said, "{}", path.display());
    }
    assert!(stale.exists() && closed.exists());
    mode(directory.path(), 0o755);
}

#[test]
fn healthcheck_and_the_server_understand_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let unix = format!("unix:{}", path.display());
    let serving =
        Serving::start(cache_canary().args(["serve", "--listen", "127.0.0.1:0", "--listen", unix.as_str()]));
    let livez = run(&["healthcheck", "--url", &format!("{}/livez", serving.urls[0])]);
    assert_eq!((livez.status.code(), stdout(&livez).as_str()), (Some(0), "ok\n"));
    let unknown = run(&["healthcheck", "--url", &format!("{}/health/nope", serving.urls[0])]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stdout(&unknown).starts_with("no such alias; the configured ones are default"),
        "{}",
        stdout(&unknown)
    );
    let socket = run(&["healthcheck", "--socket", path.to_str().unwrap()]);
    assert!(stdout(&socket).starts_with("{\"status\":\""), "{}", stdout(&socket));
}
