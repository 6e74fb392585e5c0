//! `cache-canary demo`, as a person meets it: by what it prints, and by its two addresses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A demo that runs, ended when it is dropped.
struct Demo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The output at the start.
    introduction: String,
}

/// The status code and the body of an answer.
struct Answer(u16, String);

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut child = demo(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut introduction = String::new();
        while !introduction.ends_with("ends the demo.\n\n") {
            let read = stdout.read_line(&mut introduction).unwrap();
            assert_ne!(read, 0, "it ended after: {introduction}");
        }
        Self { child, stdout, introduction }
    }

    fn on_free_ports() -> Self {
        Self::start(&["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
    }

    /// The command lines that it prints after `label`.
    fn commands(&self, label: &str) -> Vec<&str> {
        self.introduction.lines().filter_map(|line| line.strip_prefix(label)).map(str::trim).collect()
    }

    fn health(&self) -> Answer {
        carry_out(self.commands("Look:")[0])
    }

    /// The body of `/health`, and its code.
    fn report(&self) -> (u16, Value) {
        let Answer(code, body) = self.health();
        (code, serde_json::from_str(&body).unwrap())
    }

    /// Asks for a path of the switches' address.
    fn control(&self, method: &str, path: &str) -> Answer {
        let (url, _) = self.commands("Mend:")[0].split_once("/main/mend").unwrap();
        let (_, address) = url.split_once("http://").unwrap();
        request(method, address, path)
    }

    fn throw(&self, path: &str) -> String {
        let Answer(code, body) = self.control("POST", path);
        assert_eq!(code, 200, "{path}: {body}");
        body
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

/// Does what a printed command line says, as curl does.
fn carry_out(command: &str) -> Answer {
    let (method, url) = match command.split(' ').collect::<Vec<_>>()[..] {
        ["curl", "-i", url] => ("GET", url),
        ["curl", "-X", "POST", url] => ("POST", url),
        _ => panic!("not a command that is known here: {command}"),
    };
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    request(method, address, &format!("/{path}"))
}

fn request(method: &str, address: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer(head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_commands_that_it_prints_show_a_cache_going_down_and_coming_back() {
    let demo = Demo::on_free_ports();
    let (looks, breaks, repairs) = (demo.commands("Look:"), demo.commands("Break:"), demo.commands("Mend:"));

    let Answer(code, body) = carry_out(looks[0]);
    assert_eq!(code, 200, "{body}");
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["checks"], json!({ "cache.main": "UP", "cache.sessions": "UP" }));
    let skipped = report["skipped"].as_object().unwrap();
    assert_eq!(skipped.keys().collect::<Vec<_>>(), ["default", "staticfiles"]);

    let page = demo.commands("Watch:")[0].split_once("  ").unwrap().0;
    let page = || carry_out(&format!("curl -i {page}"));
    let Answer(code, body) = page();
    assert_eq!(code, 200);
    assert!(body.contains("<h1>All 2 are up</h1>"), "{body}");

    assert_eq!(carry_out(breaks[0]).0, 200);
    let Answer(code, body) = page();
    assert_eq!(code, 200, "the page is there although a cache is down");
    assert!(body.contains("<h1>main is down</h1>"), "{body}");
    let Answer(code, body) = carry_out(looks[1]);
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("masked"), "{body}");

    assert_eq!(carry_out(repairs[0]).0, 200);
    assert_eq!(carry_out(looks[0]).0, 200);
}

#[test]
fn each_switch_is_seen_with_its_cause_at_the_first_request_and_so_is_the_repair() {
    let demo = Demo::on_free_ports();
    let switches = [
        ("main", "main", "killed", "refused"),
        ("main", "main", "hung", "timed_out"),
        ("main", "main", "read-only", "read_only"),
        ("main", "main", "full", "out_of_memory"),
        ("main", "main", "masking", "masked"),
        ("sessions-1", "sessions", "killed", "refused"),
        ("sessions-1", "sessions", "hung", "timed_out"),
        ("sessions-1", "sessions", "full", "out_of_memory"),
        ("sessions-1", "sessions", "masking", "masked"),
        ("sessions-2", "sessions", "killed", "refused"),
        ("sessions-2", "sessions", "masking", "masked"),
        ("sessions", "sessions", "hung", "timed_out"),
    ];
    let healthy = demo.report();
    assert_eq!((healthy.0, &healthy.1["status"]), (200, &json!("UP")));
    for (name, alias, switch, cause) in switches {
        let said = demo.throw(&format!("/{name}/{switch}"));
        assert!(
            said.contains(&format!(": {switch}.")) && said.ends_with(&format!("(503, {cause})\n")),
            "{said}"
        );
        let began = Instant::now();
        let (code, report) = demo.report();
        assert!(began.elapsed() < Duration::from_secs(3), "{name} {switch} took {:?}", began.elapsed());
        assert_eq!(code, 503, "{name} {switch}: {report}");
        let errors = report["errors"].as_object().unwrap();
        assert_eq!(errors.len(), 1, "{name} {switch}: {report}");
        let error = errors[&format!("cache.{alias}")].as_str().unwrap();
        assert!(error.starts_with(cause), "{name} {switch}: {error}");

        let said = demo.throw(&format!("/{name}/mend"));
        assert!(said.contains(": healthy.") && said.ends_with("(200)\n"), "{said}");
        let (code, report) = demo.report();
        assert_eq!(code, 200, "after {name} {switch}: {report}");
    }
}

#[test]
fn each_switch_that_is_thrown_is_reported_on_stdout() {
    let mut demo = Demo::on_free_ports();
    for path in ["/main/masking", "/sessions-2/full", "/main/mend"] {
        let said = demo.throw(path);
        let mut line = String::new();
        demo.stdout.read_line(&mut line).unwrap();
        assert_eq!(line, said);
        assert!(line.contains(demo.commands("Look:")[0]), "{line}");
    }
}

#[test]
fn the_switches_are_listed_with_their_state() {
    let demo = Demo::on_free_ports();
    let Answer(code, before) = demo.control("GET", "/");
    assert_eq!(code, 200);
    demo.throw("/sessions-2/full");
    let Answer(_, after) = demo.control("GET", "/");
    assert_eq!(before.matches("healthy").count(), 3, "{before}");
    assert_eq!(after.matches("healthy").count(), 2, "{after}");
    assert!(after.contains("sessions-2  full "), "{after}");

    for path in ["/main/on-fire", "/nobody/killed", "/sessions/read-only", "/main", "/main/masking/now"] {
        let Answer(code, body) = demo.control("POST", path);
        assert_eq!(code, 404, "{path}: {body}");
        assert!(body.ends_with(&after), "{path}: {body}");
    }
    let Answer(code, body) = demo.control("GET", "/main/masking");
    assert_eq!(code, 405);
    assert!(body.ends_with(&after), "{body}");
    assert_eq!(demo.health().0, 503);
    demo.throw("/sessions-2/mend");
    assert_eq!(demo.health().0, 200);
}

#[test]
fn an_address_that_was_asked_for_and_is_taken_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let options = [("--listen", "--control"), ("--control", "--listen")];
    for (option, other) in options {
        let Output { status, stderr, .. } = demo(&[option, &address, other, "127.0.0.1:0"]).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains(option), "{stderr}");
    }
}

#[test]
fn free_ports_replace_default_addresses_that_are_taken_and_the_demo_prints_them() {
    // By this test, or already by another program.
    let _taken = [TcpListener::bind("127.0.0.1:8080"), TcpListener::bind("127.0.0.1:8081")];
    let demo = Demo::start(&[]);
    for taken in ["127.0.0.1:8080", "127.0.0.1:8081"] {
        assert!(demo.introduction.contains(&format!("{taken} is taken")), "{}", demo.introduction);
        assert!(!demo.introduction.contains(&format!("http://{taken}")), "{}", demo.introduction);
    }
    assert_eq!(demo.health().0, 200);
    demo.throw("/main/masking");
    assert_eq!(demo.health().0, 503);
}

#[test]
fn an_interrupt_or_a_termination_ends_the_demo_with_0() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::on_free_ports();
        assert_eq!(demo.health().0, 200);
        demo.throw("/main/hung");
        demo.signal(signal);
        assert_eq!(demo.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
