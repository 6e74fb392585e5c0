//! `healthcheck.sh` with each tool that it can use, against a server that answers in every way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests panic as tests do"
)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Authority, https};

const UP: &str = "{\"status\":\"UP\"}\n";
/// The same, as a server with TLS gives it.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"status\":\"UP\"}\n";
const DOWN: &str = "{\"status\":\"DOWN\"}\n";

/// The limit that the tests of a server without an end give the script.
const LIMIT: Duration = Duration::from_secs(1);

/// A shell, and the only thing on its PATH that can ask a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Curl,
    Wget,
    /// Busybox's wget under the machine's own shell.
    BusyboxWget,
    /// Busybox's shell, with busybox's tools.
    Busybox,
    Binary,
}

impl Tool {
    const ALL: [Self; 5] = [Self::Curl, Self::Wget, Self::BusyboxWget, Self::Busybox, Self::Binary];

    /// Busybox's wget keeps the body of an error to itself.
    fn shows_the_body_of_an_error(self) -> bool {
        match self {
            Self::Curl | Self::Wget | Self::Binary => true,
            Self::BusyboxWget | Self::Busybox => false,
        }
    }
}

/// The result of the script.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// A directory that is the whole PATH.
struct Bin(TempDir);

impl Bin {
    /// A PATH with what every tool needs.
    fn new() -> Self {
        let bin = Self(tempfile::tempdir().unwrap());
        for tool in ["cat", "dd", "sleep"] {
            bin.link(tool, &installed(tool));
        }
        bin
    }

    /// A PATH for this tool.
    fn with(tool: Tool) -> Self {
        let bin = Self::new();
        match tool {
            Tool::Curl => bin.link("curl", &installed("curl")),
            Tool::Wget => bin.link("wget", &installed("wget")),
            Tool::BusyboxWget => bin.link("wget", &installed("busybox")),
            Tool::Busybox => bin.link("sh", &installed("busybox")),
            Tool::Binary => bin.link("cache-canary", Path::new(env!("CARGO_BIN_EXE_cache-canary"))),
        }
        bin
    }

    fn link(&self, name: &str, to: &Path) {
        symlink(to, self.0.path().join(name)).unwrap();
    }

    /// Runs the script with these arguments and variables, and nothing else of the environment.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let own_shell = self.0.path().join("sh");
        let shell = if own_shell.exists() { own_shell } else { installed("sh") };
        let began = Instant::now();
        let output = Command::new(shell)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/healthcheck.sh"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.0.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took: began.elapsed(),
        }
    }
}

/// The path of a program.
fn installed(program: &str) -> PathBuf {
    env::split_paths(&env::var_os("PATH").unwrap())
        .map(|dir| dir.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is not installed; `tests/run` installs what the tests need"))
}

/// How the stub answers.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Whole { status: &'static str, body: &'static str },
    Long { length: usize },
    RedirectTo(SocketAddr),
    Nothing,
    Trickle,
    Endless,
}

/// Serves every request in the same way, for as long as the tests run.
fn serve(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || respond(stream.unwrap(), answer));
        }
    });
    addr
}

/// Answers one request. A client that goes away ends an answer without end by an error, which is as it should
/// be.
fn respond(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let head: Vec<_> = BufReader::new(stream.try_clone()?)
        .lines()
        .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
        .collect();
    assert!(
        head.first().is_some_and(|line| line.as_ref().is_ok_and(|line| line.starts_with("GET /health ")))
    );

    match answer {
        Answer::Whole { status, body } => {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        }
        Answer::Long { length } => {
            let body = "x".repeat(length);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        }
        Answer::RedirectTo(addr) => {
            let location = url(addr);
            write!(stream, "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
        }
        Answer::Nothing => {
            thread::park();
            Ok(())
        }
        Answer::Trickle => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                thread::sleep(LIMIT / 10);
            }
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
    }
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/health")
}

/// Runs the script with this tool against a server that answers so.
fn check(tool: Tool, answer: Answer) -> Ran {
    Bin::with(tool).run(&[&url(serve(answer))], &[("HEALTHCHECK_TIMEOUT", &LIMIT.as_secs().to_string())])
}

const HEALTHY: Answer = Answer::Whole { status: "200 OK", body: UP };

#[test]
fn a_healthy_answer_is_printed_and_exits_0() {
    for tool in Tool::ALL {
        let ran = check(tool, HEALTHY);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), UP, ""), "{tool:?}");
    }
}

#[test]
fn an_unhealthy_answer_is_printed_and_exits_1() {
    for tool in Tool::ALL {
        let ran = check(tool, Answer::Whole { status: "503 Service Unavailable", body: DOWN });
        assert_eq!(ran.code, Some(1), "{tool:?}: {ran:?}");
        if tool.shows_the_body_of_an_error() {
            assert_eq!(ran.stdout, DOWN, "{tool:?}");
        } else {
            assert_eq!(ran.stdout, "", "{tool:?}");
            assert!(ran.stderr.contains("503 Service Unavailable"), "{tool:?}: {ran:?}");
        }
    }
}

#[test]
fn a_long_healthy_answer_is_cut_and_exits_0() {
    for tool in Tool::ALL {
        for length in [4096, 4097, 60_000] {
            let ran = check(tool, Answer::Long { length });
            assert_eq!(
                (ran.code, ran.stdout.len()),
                (Some(0), 4096),
                "{tool:?}, {length} bytes: {}",
                ran.stderr
            );
        }
    }
}

#[test]
fn a_server_that_refuses_exits_1_with_the_reason() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for tool in Tool::ALL {
        let ran = Bin::with(tool).run(&[&url(addr)], &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{tool:?}: {ran:?}");
        // "Connection refused", or curl's "Couldn't connect to server".
        let said = ran.stderr.to_lowercase();
        assert!(said.contains("refused") || said.contains("couldn't connect"), "{tool:?}: {ran:?}");
    }
}

#[test]
fn an_answer_that_does_not_end_exits_1_within_the_limit() {
    for answer in [Answer::Nothing, Answer::Trickle, Answer::Endless] {
        for tool in Tool::ALL {
            // The binary reads no more than it prints, so it never comes to know that there is no end.
            if tool == Tool::Binary && matches!(answer, Answer::Endless) {
                continue;
            }
            let ran = check(tool, answer);
            let what = format!("{tool:?}, {answer:?}: {:?} {} {:?}", ran.code, ran.stderr, ran.took);
            assert_eq!(ran.code, Some(1), "{what}");
            assert!(!ran.stderr.is_empty(), "{what}");
            assert!(ran.stdout.len() <= 4096, "{what}: {} bytes", ran.stdout.len());
            assert!(ran.took < LIMIT + Duration::from_secs(3), "{what}");
        }
    }
}

#[test]
fn a_redirect_is_not_the_server_that_was_asked() {
    let elsewhere = serve(HEALTHY);
    for tool in [Tool::Curl, Tool::Wget, Tool::Binary] {
        let ran = check(tool, Answer::RedirectTo(elsewhere));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{tool:?}: {ran:?}");
    }
}

#[test]
fn a_proxy_is_not_asked() {
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("http://{refuses}");
    for tool in Tool::ALL {
        let ran =
            Bin::with(tool).run(&[&url(serve(HEALTHY))], &[("http_proxy", &proxy), ("HTTP_PROXY", &proxy)]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), UP), "{tool:?}: {ran:?}");
    }
}

#[test]
fn an_untrusted_certificate_is_accepted_only_if_the_environment_allows_it() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"status\":\"UP\"}\n";
    let url =
        format!("https://{}/health", https::serve(&Authority::new().issue(&["localhost"]), None, ANSWER));
    for tool in [Tool::Curl, Tool::Wget, Tool::Binary] {
        let bin = Bin::with(tool);
        let refused = bin.run(&[&url], &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{tool:?}: {refused:?}");
        assert!(refused.stderr.contains("certificate"), "{tool:?}: {refused:?}");
        let taken = bin.run(&[&url], &[("HEALTHCHECK_INSECURE", "1")]);
        assert_eq!((taken.code, taken.stdout.as_str()), (Some(0), UP), "{tool:?}: {taken:?}");
    }
}

#[test]
fn https_is_not_for_busybox_which_leaves_it_to_the_binary() {
    let url =
        format!("https://{}/health", https::serve(&Authority::new().issue(&["localhost"]), None, ANSWER));
    for tool in [Tool::BusyboxWget, Tool::Busybox] {
        let bin = Bin::with(tool);
        let alone = bin.run(&[&url], &[("HEALTHCHECK_INSECURE", "1")]);
        assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""), "{tool:?}: {alone:?}");
        assert!(alone.stderr.contains("one of cache-canary, curl and GNU wget"), "{tool:?}: {alone:?}");
        bin.link("cache-canary", Path::new(env!("CARGO_BIN_EXE_cache-canary")));
        let both = bin.run(&[&url], &[("HEALTHCHECK_INSECURE", "1")]);
        assert_eq!((both.code, both.stdout.as_str()), (Some(0), UP), "{tool:?}: {both:?}");
    }
}

#[test]
fn no_process_is_left_behind() {
    for tool in Tool::ALL {
        for answer in [HEALTHY, Answer::Nothing] {
            let mark = format!("{tool:?}{answer:?}{}", std::process::id()).replace([' ', '"'], "");
            let variables = [("HEALTHCHECK_TIMEOUT", "1"), ("HEALTHCHECK_MARK", &mark)];
            Bin::with(tool).run(&[&url(serve(answer))], &variables);
            assert_eq!(processes_with(&mark), Vec::<PathBuf>::new(), "{tool:?}, {answer:?}");
        }
    }
}

/// The processes with this text in their environment.
fn processes_with(mark: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let has_mark = |environ: Vec<u8>| environ.windows(mark.len()).any(|window| window == mark.as_bytes());
    processes.filter(|path| fs::read(path.join("environ")).is_ok_and(has_mark)).collect()
}

#[test]
fn the_url_is_the_argument_else_the_variable_else_the_default() {
    let bin = Bin::new();
    let curl = bin.0.path().join("curl");
    fs::write(&curl, "#!/bin/sh\nfor last; do :; done\necho \"$last\"\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    let asked = |arguments: &[&str], variables: &[(&str, &str)]| bin.run(arguments, variables).stdout;

    let variable = ("CACHE_CANARY_URL", "http://variable/health");
    assert_eq!(asked(&["http://argument/health"], &[variable]), "http://argument/health\n");
    assert_eq!(asked(&[], &[variable]), "http://variable/health\n");
    assert_eq!(asked(&[], &[("CACHE_CANARY_URL", "")]), "http://127.0.0.1:8080/health\n");
    assert_eq!(asked(&[], &[]), "http://127.0.0.1:8080/health\n");
    for (listen, url) in [
        ("0.0.0.0:9090", "http://127.0.0.1:9090/health\n"),
        ("[::]:9090,127.0.0.1:1", "http://127.0.0.1:9090/health\n"),
        ("10.1.2.3:9090", "http://10.1.2.3:9090/health\n"),
        ("unix:/run/canary.sock", "http://localhost/health\n"),
        (" 10.1.2.3:9090 , 127.0.0.1:1\n", "http://10.1.2.3:9090/health\n"),
        ("\t0.0.0.0:9090\r\n", "http://127.0.0.1:9090/health\n"),
        ("unix:/run/my cache/canary.sock\n", "http://localhost/health\n"),
        (" \n", "http://127.0.0.1:8080/health\n"),
    ] {
        assert_eq!(asked(&[], &[("CACHE_CANARY_LISTEN", listen)]), url);
    }
    let (main, probes) = (("CACHE_CANARY_LISTEN", "[::]:1"), ("CACHE_CANARY_PROBES__LISTEN", "[::]:9091"));
    assert_eq!(asked(&[], &[main, probes]), "http://127.0.0.1:9091/health\n");
    assert_eq!(asked(&[], &[("CACHE_CANARY_URL", " http://variable/health\n")]), "http://variable/health\n");
    assert_eq!(asked(&[], &[main, ("CACHE_CANARY_PROBES__LISTEN", " \n")]), "http://127.0.0.1:1/health\n");
    for quoted in ["\"http://variable/health\"", "'http://variable/health'"] {
        let ran = bin.run(&[], &[("CACHE_CANARY_URL", quoted)]);
        assert!(ran.code == Some(1) && ran.stderr.contains("the URL begins with a quote"), "{ran:?}");
    }
    let https = [("CACHE_CANARY_TLS__CERT_FILE", "/cert.pem")];
    assert_eq!(asked(&[], &https), "https://127.0.0.1:8080/health\n");
}

#[test]
fn the_program_is_preferred_and_finds_the_listener_of_the_configuration() {
    let address = serve(Answer::Whole { status: "503 Service Unavailable", body: DOWN });
    let bin = Bin::with(Tool::Busybox);
    bin.link("cache-canary", Path::new(env!("CARGO_BIN_EXE_cache-canary")));
    let file = bin.0.path().join("canary.toml");
    fs::write(&file, format!("listen = \"{address}\"")).unwrap();
    let file = file.to_str().unwrap();
    // Which cache is down is in the body, which busybox' wget keeps to itself.
    let url = url(address);
    for (arguments, variables) in [
        (&["-c", file][..], &[][..]),
        (&[], &[("CACHE_CANARY_CONFIG", file)]),
        (&[], &[("CACHE_CANARY_URL", url.as_str())]),
        (&[url.as_str()], &[]),
    ] {
        let ran = bin.run(arguments, variables);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), DOWN), "{arguments:?} {variables:?}: {ran:?}");
    }
}

#[test]
fn an_impossible_request_exits_1_with_the_reason() {
    let bin = Bin::new();
    let said = |arguments: &[&str], variables: &[(&str, &str)]| {
        let ran = bin.run(arguments, variables);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}: {ran:?}");
        ran.stderr
    };

    let not_a_url = "healthcheck.sh: the URL must begin with http:// or https://\n";
    assert_eq!(said(&["--help"], &[]), not_a_url);
    assert_eq!(
        said(&["http://one", "http://two"], &[]),
        "healthcheck.sh: takes one URL or -c FILE, and was given 2 arguments\n"
    );
    let no_limit = "healthcheck.sh: HEALTHCHECK_TIMEOUT must be from 1 to 99 seconds, and is 0\n";
    assert_eq!(said(&[], &[("HEALTHCHECK_TIMEOUT", "0")]), no_limit);
    let neither = "healthcheck.sh: HEALTHCHECK_INSECURE must be 1 or unset, and is yes\n";
    assert_eq!(said(&[], &[("HEALTHCHECK_INSECURE", "yes")]), neither);
    let no_program = "healthcheck.sh: needs cache-canary to read a configuration, and does not find it\n";
    assert_eq!(said(&["-c", "canary.toml"], &[]), no_program);
    let no_tool = "healthcheck.sh: needs one of cache-canary, curl and wget, and finds none of them\n";
    assert_eq!(said(&[], &[]), no_tool);
}
