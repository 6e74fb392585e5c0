//! The commands, as the binary runs them: help, exit codes, signals.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The binary, without what the environment of the tests may say of caches.
fn cache_canary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CACHE_") {
            command.env_remove(name);
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    cache_canary().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A URL of a cache that refuses connections: nothing listens on the port of tcpmux.
const NO_CACHE: &str = "redis://127.0.0.1:1/0";

#[test]
fn help_of_every_command_has_examples_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in
        ["Examples:", "Environment:", "serve", "check", "healthcheck", "CACHE_URL", "CACHE_CANARY_LOG"]
    {
        assert!(stdout(&help).contains(word), "{word}");
    }
    for command in ["serve", "check", "healthcheck"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        for word in ["Usage: cache-canary", "Examples:", "Exit codes: 0 "] {
            assert!(stdout(&help).contains(word), "{command}: {word}");
        }
    }
}

#[test]
fn the_version_is_the_package_s() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), concat!("cache-canary ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_exits_2_and_of_healthcheck_1() {
    for (arguments, code) in [
        (&[][..], 2),
        (&["serv"][..], 2),
        (&["serve", "--nope"][..], 2),
        (&["check", "--format", "xml"][..], 2),
        (&["healthcheck", "--nope"][..], 1),
        (&["healthcheck", "--timeout", "soon"][..], 1),
        (&["healthcheck", "--url", "http://127.0.0.1/", "--socket", "/x"][..], 1),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_ne!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_configuration_that_is_not_valid_exits_2() {
    for command in ["serve", "check"] {
        let output = run(&[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(stderr(&output).starts_with("error: "), "{command}: {}", stderr(&output));
        let output = cache_canary().arg(command).env("CACHE_URL", "nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let mut command =
            cache_canary().arg(command).env("CACHE_URL", NO_CACHE).env("CACHE_CANARY_LOG", "loud").output();
        let output = command.as_mut().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let expected = "error: CACHE_CANARY_LOG is `loud`, and must be error, warn, info or debug\n";
        assert_eq!(stderr(output), expected);
    }
}

#[test]
fn checking_an_alias_that_is_not_configured_exits_2_and_names_those_that_are() {
    let output = cache_canary().args(["check", "nope"]).env("CACHE_URL", NO_CACHE).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).starts_with("error: there is no cache `nope`; there are default"),
        "{}",
        stderr(&output)
    );
}

/// A server that runs in a process of its own; it is killed when this goes.
struct Serving {
    process: Child,
    stderr: BufReader<ChildStderr>,
    urls: Vec<String>,
}

impl Serving {
    /// Starts it and waits until it is ready.
    fn start(command: &mut Command) -> Self {
        let mut process = command.env("CACHE_URL", NO_CACHE).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let mut serving = Self { process, stderr, urls: Vec::new() };
        loop {
            let line = serving.log_line();
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
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
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
        assert!(rest.ends_with("[-]sidecar failed: draining\nreadyz check failed\n"), "{rest}");
        assert_eq!(serving.wait(), Some(0), "{signal}");
    }
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
        cache_canary().args(["serve", "--listen", &address]).env("CACHE_URL", NO_CACHE).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "error: cannot listen on {address} (stop what listens there, or choose another with --listen): \
         Address already in use (os error 98)\n"
    );
    assert!(stderr(&output).ends_with(&expected), "{}", stderr(&output));
}

#[test]
fn a_server_without_file_descriptors_says_so_once_and_recovers() {
    let mut command = Command::new("sh");
    clean(&mut command);
    let script = r#"ulimit -n 24; exec "$0" serve --listen 127.0.0.1:0"#;
    let mut serving = Serving::start(command.args(["-c", script, env!("CARGO_BIN_EXE_cache-canary")]));
    let address = serving.address();
    let mut crowd: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    serving.wait_for_log("cannot accept connections for now: Too many open files (os error 24)");
    crowd.clear();
    let mut next = TcpStream::connect(address).unwrap();
    assert!(answer(&mut next, ASK_LIVEZ).ends_with("ok\n"));
    serving.signal("TERM");
    // No more of it until the end.
    assert!(serving.log_line().contains("stopping"));
    assert_eq!(serving.wait(), Some(0));
}

/// A server that gives each caller these bytes, and sends what it was asked to the other end of the channel.
fn canned(listener: TcpListener, bytes: impl Into<Vec<u8>>) -> std::sync::mpsc::Receiver<String> {
    let bytes = bytes.into();
    let (asked, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            converse(&mut stream.unwrap(), &bytes, &asked);
        }
    });
    requests
}

fn converse(
    stream: &mut (impl std::io::Read + std::io::Write),
    bytes: &[u8],
    asked: &std::sync::mpsc::Sender<String>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the client closed early");
        request.extend_from_slice(&buffer[..count]);
    }
    let _ = asked.send(String::from_utf8(request).unwrap());
    // A client that has seen enough may close before the end.
    let _ = stream.write_all(bytes);
}

const UP: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nup\n";
const DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\ndown\n";

fn local_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn healthcheck_exits_0_for_2xx_and_1_for_anything_else_and_prints_the_body() {
    for (bytes, code, body) in [
        (UP, 0, "up\n"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0, ""),
        ("HTTP/1.0 200 OK\r\n\r\nold\n", 0, "old\n"),
        (DOWN, 1, "down\n"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 3\r\n\r\ngo\n", 1, "go\n"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n", 1, "no\n"),
    ] {
        let (listener, address) = local_listener();
        let requests = canned(listener, bytes);
        let output = run(&["healthcheck", "--url", &format!("http://{address}/health/main?format=text")]);
        assert_eq!(output.status.code(), Some(code), "{bytes}");
        assert_eq!(stdout(&output), body);
        assert_eq!(stderr(&output), "");
        let request = requests.recv().unwrap();
        assert!(request.starts_with("GET /health/main?format=text HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    }
}

#[test]
fn healthcheck_says_why_when_there_is_no_answer_to_print() {
    let (listener, address) = local_listener();
    drop(listener);
    let url = format!("http://{address}/health");
    let refused = run(&["healthcheck", "--url", &url]);
    assert_eq!(refused.status.code(), Some(1));
    let expected = format!(
        "error: cannot connect to {url} (is the server running?): Connection refused (os error 111)\n"
    );
    assert_eq!(stderr(&refused), expected);

    let (listener, address) = local_listener();
    canned(listener, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://{address}/health");
    let forbidden = run(&["healthcheck", "--url", &url]);
    assert_eq!(forbidden.status.code(), Some(1));
    assert_eq!(stderr(&forbidden), format!("error: {url} answered 403 Forbidden\n"));

    let (listener, address) = local_listener();
    canned(listener, "+PONG\r\n");
    let url = format!("http://{address}/health");
    let nonsense = run(&["healthcheck", "--url", &url]);
    assert_eq!(nonsense.status.code(), Some(1));
    assert!(
        stderr(&nonsense).starts_with(&format!("error: no answer from {url}: ")),
        "{}",
        stderr(&nonsense)
    );
}

#[test]
fn healthcheck_gives_up_after_its_time_limit() {
    let (listener, address) = local_listener();
    let url = format!("http://{address}/health");
    let output = run(&["healthcheck", "--url", &url, "--timeout", "200ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), format!("error: no answer from {url} within 200ms\n"));
    drop(listener);
}

#[test]
fn healthcheck_prints_no_more_than_4096_bytes_however_many_come() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (listener, address) = local_listener();
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(bytes.len() + 1_000_000, b'x');
        canned(listener, bytes);
        let output = run(&["healthcheck", "--url", &format!("http://{address}/")]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, vec![b'x'; 4096]);
    }
}

#[test]
fn healthcheck_speaks_no_https_and_shows_no_password() {
    let output = run(&["healthcheck", "--url", "https://me:s3cret@127.0.0.1/health"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: --url has the scheme https, and only http is spoken here, as in \
                    http://127.0.0.1:8080/health\n";
    assert_eq!(stderr(&output), expected);

    let output = run(&["healthcheck", "--url", "me:s3cret@127.0.0.1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!stderr(&output).contains("s3cret"), "{}", stderr(&output));

    let (listener, address) = local_listener();
    canned(listener, "HTTP/1.1 403 Forbidden\r\n\r\n");
    let output = run(&["healthcheck", "--url", &format!("http://me:s3cret@{address}/")]);
    assert_eq!(stderr(&output), format!("error: http://{address}/ answered 403 Forbidden\n"));
}

#[test]
fn healthcheck_asks_where_the_environment_says() {
    let (listener, address) = local_listener();
    let requests = canned(listener, UP);
    let port = address.port();
    let url = format!("http://127.0.0.1:{port}/health/main");
    for (name, value, path) in [
        ("CACHE_CANARY_URL", url.as_str(), "/health/main"),
        ("CACHE_CANARY_LISTEN", &format!("127.0.0.1:{port}"), "/health"),
        ("CACHE_CANARY_LISTEN", &format!("0.0.0.0:{port}"), "/health"),
        ("CACHE_CANARY_LISTEN", &format!("[::]:{port}"), "/health"),
        ("CACHE_CANARY_LISTEN", &format!("[::]:{port}, unix:/nowhere"), "/health"),
    ] {
        let output = cache_canary().arg("healthcheck").env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}={value}: {}", stderr(&output));
        assert!(requests.recv().unwrap().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{name}={value}");
    }
    let output = cache_canary().arg("healthcheck").env("CACHE_CANARY_LISTEN", "8080").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: CACHE_CANARY_LISTEN is `8080`, and must be an address such as 127.0.0.1:8080 or \
                    unix:/run/cache-canary.sock\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn healthcheck_asks_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (asked, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for (stream, bytes) in listener.incoming().zip([UP, DOWN, UP]) {
            converse(&mut stream.unwrap(), bytes.as_bytes(), &asked);
        }
    });
    let path = path.to_str().unwrap();
    let up = run(&["healthcheck", "--socket", path]);
    assert_eq!((up.status.code(), stdout(&up).as_str()), (Some(0), "up\n"));
    let down = run(&["healthcheck", "--socket", path]);
    assert_eq!((down.status.code(), stdout(&down).as_str()), (Some(1), "down\n"));
    let variable =
        cache_canary().arg("healthcheck").env("CACHE_CANARY_LISTEN", format!("unix:{path}")).output();
    assert_eq!(variable.unwrap().status.code(), Some(0));
    for _ in 0..3 {
        assert!(requests.recv().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    }

    let nobody = run(&["healthcheck", "--socket", directory.path().join("nobody.sock").to_str().unwrap()]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("nobody.sock (is the server running?): "), "{}", stderr(&nobody));
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
    assert!(stdout(&unknown).starts_with("no such alias; there are default"), "{}", stdout(&unknown));
    let socket = run(&["healthcheck", "--socket", path.to_str().unwrap()]);
    assert!(stdout(&socket).starts_with("{\"status\":\""), "{}", stdout(&socket));
}
