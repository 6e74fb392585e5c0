//! gRPC's health protocol, asked by the client that gRPC itself publishes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Authority, Redis, Sidecar, python};
use rustix::process::Signal;

/// Longer than anything takes, in seconds; a call that takes so long has failed.
const FOREVER: &str = "30";

fn main_at(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"", redis.addr())
}

/// The lines that the client prints for one call.
fn call(method: &str, target: &str, service: &str, options: &[&str]) -> Vec<String> {
    call_within(FOREVER, method, target, service, options)
}

fn call_within(seconds: &str, method: &str, target: &str, service: &str, options: &[&str]) -> Vec<String> {
    let arguments = [&[method, target, service, seconds], options].concat();
    let output = python("http/grpc/health.py", &arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn check(sidecar: &Sidecar, service: &str) -> String {
    call("check", sidecar.addr(), service, &[]).concat()
}

/// A client that watches, ended when it is dropped.
struct Watching {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(sidecar: &Sidecar, service: &str) -> Self {
        let mut command = python("http/grpc/health.py", &["watch", sidecar.addr(), service, FOREVER]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next status, or what the call ended with.
    fn next(&mut self) -> String {
        self.lines.next().expect("the client has ended").unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_grpc_check_agrees_with_health_for_all_and_for_an_alias_a_check_a_probe_and_a_group() {
    let mut redis = Redis::start(&[]);
    let groups = "[groups.web]\ninclude = [\"main\"]\n";
    let sidecar = Sidecar::start_with(groups, main_at(&redis));
    let of_caches = ["", "main", "main.round_trip", "readyz", "startupz", "group/web", "group/readiness"];
    for service in of_caches {
        assert_eq!(check(&sidecar, service), "SERVING", "{service}");
    }
    for service in ["nope", "main.queue", "group/nope", "group/", "livez/"] {
        assert_eq!(check(&sidecar, service), "NOT_FOUND", "{service}");
    }
    redis.kill();
    for service in of_caches.into_iter().filter(|&service| service != "startupz") {
        assert_eq!(check(&sidecar, service), "NOT_SERVING", "{service}");
    }
    // A cache that was up once has started, and the sidecar itself is alive.
    for service in ["startupz", "livez", "group/liveness"] {
        assert_eq!(check(&sidecar, service), "SERVING", "{service}");
    }
    redis.restart();
    assert_eq!(check(&sidecar, "main"), "SERVING");
}

#[test]
fn a_list_names_every_service_with_its_status() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("{}\n[caches.local]\nbackend = \"local-memory\"", main_at(&redis)));
    redis.kill();
    let expected = [
        "=NOT_SERVING",
        "group/liveness=SERVING",
        "group/readiness=NOT_SERVING",
        "group/startup=NOT_SERVING",
        "livez=SERVING",
        "local=SERVING",
        "main=NOT_SERVING",
        "main.round_trip=NOT_SERVING",
        "readyz=NOT_SERVING",
        "startupz=NOT_SERVING",
    ];
    assert_eq!(call("list", sidecar.addr(), "", &[]), expected);
    redis.restart();
    let up = call("list", sidecar.addr(), "", &[]);
    assert_eq!(up, expected.map(|line| line.replace("NOT_", "")));
}

#[test]
fn a_watch_reports_an_outage_and_its_end_within_a_round_without_other_requests() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("interval = \"1s\"", main_at(&redis));
    let mut watching = Watching::start(&sidecar, "main");
    assert_eq!(watching.next(), "SERVING");
    // A round, its deadline, and what a busy machine takes.
    let bound = Duration::from_secs(1 + 1 + 3);
    let began = Instant::now();
    redis.kill();
    assert_eq!(watching.next(), "NOT_SERVING");
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
    let began = Instant::now();
    redis.restart();
    assert_eq!(watching.next(), "SERVING");
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
}

#[test]
fn without_an_interval_rounds_are_made_for_a_watch() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    let mut watching = Watching::start(&sidecar, "");
    assert_eq!(watching.next(), "SERVING");
    redis.kill();
    assert_eq!(watching.next(), "NOT_SERVING");
}

#[test]
fn a_watch_of_an_unknown_service_stays_open() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    // It is its own client that gives up, after two seconds.
    let said = call_within("2", "watch", sidecar.addr(), "nope", &[]);
    assert_eq!(said, ["SERVICE_UNKNOWN", "DEADLINE_EXCEEDED"]);
}

#[test]
fn a_client_that_gives_up_is_not_waited_for_and_harms_no_other() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("timeout = \"20s\"", main_at(&redis));
    assert_eq!(check(&sidecar, "main"), "SERVING");
    redis.stop();
    let began = Instant::now();
    assert_eq!(call_within("0.3", "check", sidecar.addr(), "main", &[]), ["DEADLINE_EXCEEDED"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    redis.cont();
    assert_eq!(check(&sidecar, "main"), "SERVING");
}

#[test]
fn a_caller_without_access_gets_a_status_of_grpc() {
    let redis = Redis::start(&[]);
    let connections = || redis.info("total_connections_received").parse::<u32>().unwrap();
    let elsewhere = Sidecar::start_with("[access]\nallow = [\"192.0.2.0/24\"]", main_at(&redis));
    let before = connections();
    for method in ["check", "watch", "list"] {
        assert_eq!(call(method, elsewhere.addr(), "", &[]), ["PERMISSION_DENIED"], "{method}");
    }
    // Each look at the counter is a connection too.
    assert_eq!(connections(), before + 1, "the cache was asked");

    let with_token = Sidecar::start_with("[access]\ntoken = \"0123456789abcdef\"", main_at(&redis));
    let shown = |token: &str| call("check", with_token.addr(), "", &[&format!("token={token}")]);
    assert_eq!(shown("fedcba9876543210"), ["UNAUTHENTICATED"]);
    assert_eq!(shown("0123456789abcdef"), ["SERVING"]);
}

#[test]
fn a_name_that_is_too_long_is_refused_and_the_next_call_answered() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    // With what is around it, a name of so many bytes is as long as a message may be.
    assert_eq!(check(&sidecar, &"x".repeat(4093)), "NOT_FOUND");
    assert_eq!(check(&sidecar, &"x".repeat(4094)), "RESOURCE_EXHAUSTED");
    assert_eq!(check(&sidecar, &"x".repeat(100_000)), "RESOURCE_EXHAUSTED");
    assert_eq!(check(&sidecar, ""), "SERVING");
}

/// The code, the version of HTTP, and the body of what `curl` is answered.
fn curl(arguments: &[&str]) -> String {
    let common =
        ["--silent", "--show-error", "--max-time", FOREVER, "--write-out", "%{http_code} %{http_version} "];
    let output = Command::new("curl").args(common).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn http_1_and_http_2_and_grpc_are_answered_on_one_port_at_once() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    let mut watching = Watching::start(&sidecar, "");
    assert_eq!(watching.next(), "SERVING");
    let livez = format!("http://{}/livez", sidecar.addr());
    assert_eq!(curl(&["--http1.1", &livez]), "ok\n200 1.1 ");
    assert_eq!(curl(&["--http2-prior-knowledge", &livez]), "ok\n200 2 ");
    assert_eq!(check(&sidecar, ""), "SERVING");
}

#[test]
fn a_request_that_is_no_grpc_call_gets_a_status_of_http() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    let url = format!("http://{}/grpc.health.v1.Health/Check", sidecar.addr());
    let grpc = ["--header", "content-type: application/grpc"];
    let refused = |version: &str, arguments: &[&str]| curl(&[&[version, url.as_str()], arguments].concat());
    let http2 = "--http2-prior-knowledge";
    assert_eq!(refused("--http1.1", &[]), "gRPC calls require POST\n405 1.1 ");
    assert_eq!(refused(http2, &[]), "gRPC calls require POST\n405 2 ");
    let no_text = format!("{url}%ff");
    assert_eq!(curl(&[http2, &no_text]), "gRPC calls require POST\n405 2 ");
    let body = [&grpc[..], &["--data-binary", "x"]].concat();
    assert_eq!(refused("--http1.1", &body), "gRPC calls require HTTP/2\n505 1.1 ");
    assert_eq!(
        refused(http2, &["--data-binary", "x"]),
        "gRPC calls require the Content-Type application/grpc\n415 2 "
    );
}

#[test]
fn a_body_that_comes_late_takes_no_response_from_a_client_of_http_2() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    for (path, code) in [("health", 405), ("nothing", 404), ("grpc.health.v1.Health/Check", 415)] {
        let url = format!("http://{}/{path}", sidecar.addr());
        let mut curl = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", FOREVER, "--output", "/dev/null"])
            .args(["--http2-prior-knowledge", "--request", "POST", "--upload-file", "-"])
            .args(["--write-out", "%{http_code}", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The head has been sent by then, and a response could have come.
        std::thread::sleep(Duration::from_millis(200));
        curl.stdin.take().unwrap().write_all(b"x").unwrap();
        let output = curl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), code.to_string(), "{path}: {said}");
    }
}

#[test]
fn grpc_is_spoken_over_tls_and_with_a_client_certificate_if_one_is_required() {
    let redis = Redis::start(&[]);
    let (servers, clients) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (server, client) = (servers.issue(&["localhost"]), clients.issue(&["client"]));
    let ca = write("ca.pem", &servers.certificate());
    let tls = format!(
        "[tls]\ncert_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n",
        write("server.pem", server.certificate()),
        write("server.key", server.key()),
        write("clients.pem", &clients.certificate()),
    );
    let sidecar = Sidecar::start_with(&tls, main_at(&redis));
    let (_, port) = sidecar.addr().rsplit_once(':').unwrap();
    let target = format!("localhost:{port}");
    let (cert, key) = (write("client.pem", client.certificate()), write("client.key", client.key()));
    let files = [format!("ca={ca}"), format!("cert={cert}"), format!("key={key}")];
    let files = files.each_ref().map(String::as_str);
    assert_eq!(call("check", &target, "main", &files), ["SERVING"]);
    assert_eq!(call("check", &target, "main", &files[..1]), ["UNAVAILABLE"]);
}

#[test]
fn a_stop_is_reported_to_a_watch_and_then_ends_the_stream() {
    let redis = Redis::start(&[]);
    let mut sidecar = Sidecar::start_with("drain = \"2s\"", main_at(&redis));
    let mut watching = Watching::start(&sidecar, "main");
    assert_eq!(watching.next(), "SERVING");
    let began = Instant::now();
    sidecar.terminate();
    assert_eq!(watching.next(), "NOT_SERVING");
    assert_eq!(sidecar.get("/readyz").code, 503);
    assert_eq!(sidecar.get("/health").code, 200);
    assert_eq!(watching.next(), "UNAVAILABLE");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(sidecar.ended(), Some(0));
    // Long before open requests are given up.
    assert!(began.elapsed() < Duration::from_secs(2 + 8), "{:?}", began.elapsed());
}

#[test]
fn while_the_sidecar_drains_check_list_and_watch_agree_that_only_the_sidecar_itself_serves() {
    let redis = Redis::start(&[]);
    let groups = "drain = \"300s\"\n[groups.web]\ninclude = [\"main\"]\n";
    let sidecar = Sidecar::start_with(groups, main_at(&redis));
    let drained = ["", "main", "main.round_trip", "readyz", "group/web", "group/readiness"];
    let own = ["livez", "startupz", "group/liveness"];
    for service in drained.into_iter().chain(own) {
        assert_eq!(check(&sidecar, service), "SERVING", "{service}");
    }
    let mut watching = ["", "livez"].map(|service| Watching::start(&sidecar, service));
    for watching in &mut watching {
        assert_eq!(watching.next(), "SERVING");
    }
    sidecar.terminate();
    assert_eq!(watching[0].next(), "NOT_SERVING");
    for service in drained {
        assert_eq!(check(&sidecar, service), "NOT_SERVING", "{service}");
    }
    for service in own {
        assert_eq!(check(&sidecar, service), "SERVING", "{service}");
    }
    assert_eq!(check(&sidecar, "nope"), "NOT_FOUND");
    let list = call("list", sidecar.addr(), "", &[]);
    for line in ["=NOT_SERVING", "main=NOT_SERVING", "readyz=NOT_SERVING", "livez=SERVING"] {
        assert!(list.iter().any(|listed| listed == line), "{line}: {list:?}");
    }
    let mut late = Watching::start(&sidecar, "main");
    assert_eq!(late.next(), "NOT_SERVING");
}

#[test]
fn a_call_is_refused_in_the_words_of_grpc_on_every_path_and_one_for_browsers_too() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    let head = |version: &str, content_type: &str, path: &str| {
        let content_type = format!("content-type: {content_type}");
        let url = format!("http://{}{path}", sidecar.addr());
        let head = [
            "--dump-header",
            "-",
            "--output",
            "/dev/null",
            "--header",
            &content_type,
            "--data-binary",
            "x",
            &url,
        ];
        curl(&[&[version], &head[..]].concat()).to_lowercase()
    };
    let http2 = "--http2-prior-knowledge";
    for (version, content_type, path, status) in [
        (http2, "application/grpc", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 12),
        (http2, "application/grpc", "/health", 12),
        (http2, "application/grpc", "/grpc.health.v1.Health/Nope", 12),
        (http2, "application/grpc", "/grpc.health.v1.Health/Check", 3),
        (http2, "application/grpc+json", "/grpc.health.v1.Health/Check", 12),
        (http2, "application/grpc-web+proto", "/grpc.health.v1.Health/Check", 12),
        ("--http1.1", "application/grpc-web-text", "/grpc.health.v1.Health/Check", 12),
    ] {
        let head = head(version, content_type, path);
        let answered_in = content_type.strip_suffix("+json").unwrap_or(content_type);
        assert!(head.contains(" 200 "), "{path} {content_type}: {head}");
        assert!(head.contains(&format!("content-type: {answered_in}")), "{path} {content_type}: {head}");
        assert!(head.contains(&format!("grpc-status: {status}\r\n")), "{path} {content_type}: {head}");
        assert!(head.contains("grpc-message: "), "{path} {content_type}: {head}");
    }
    let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
    let call =
        "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nContent-Type: application/grpc-web-text\r\n\r\n";
    stream.write_all(call.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let refused = std::io::read_to_string(stream).unwrap();
    assert!(refused.contains("grpc-status: 13\r\n"), "{refused}");
    sidecar.wait_for_log("was refused: ", 1);
}

#[test]
fn a_watch_does_not_take_a_cache_that_was_never_checked_for_one_that_is_up() {
    let (mut down, other, slow) = (Redis::start(&[]), Redis::start(&[]), Redis::start(&[]));
    let settings = "timeout = \"20s\"\ninterval = \"20s\"";
    let others = format!("[caches.other]\nurl = \"redis://{}\"\n", other.addr());
    let sidecar = Sidecar::start_with(settings, format!("{others}{}", main_at(&down)));
    down.kill();
    let mut watching = Watching::start(&sidecar, "");
    assert_eq!(watching.next(), "NOT_SERVING");

    // The cache that is down makes room for one without a verdict yet, and another one is checked meanwhile.
    slow.stop();
    sidecar.configure(settings, format!("{others}[caches.slow]\nurl = \"redis://{}\"", slow.addr()));
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log("is in force", 1);
    let told = std::thread::spawn(move || watching.next());
    assert_eq!(check(&sidecar, "other"), "SERVING");
    // Many times as long as what ends together is waited for.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!told.is_finished(), "it was told {:?}", told.join());
    slow.cont();
    assert_eq!(told.join().unwrap(), "SERVING");
}
