//! HAProxy as a caller: its checks by HTTP, and those that are not HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::{Port, Redis, Sidecar, eventually};

/// An HAProxy that answers 200 while one server of a backend with these lines is in service, and 503 otherwise.
struct Balancer {
    process: Child,
    port: Port,
    _config: tempfile::TempDir,
}

impl Balancer {
    fn start(sidecar: &Sidecar, lines: &str, server: &str) -> Self {
        let (port, config) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = config.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
             frontend asked\n bind {}\n http-request return status 200 if {{ nbsrv(shop) gt 0 }}\n \
             http-request return status 503\n\
             backend shop\n{lines} server one {} {server}\n",
            port.addr(),
            sidecar.addr(),
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        let process = command.args(["-db", "-q", "-f"]).arg(&file).stderr(Stdio::null()).spawn().unwrap();
        Self { process, port, _config: config }
    }

    fn becomes(&self, code: &str) {
        eventually(&format!("HAProxy answers {code}"), || {
            let Ok(mut stream) = TcpStream::connect(self.port.addr()) else { return false };
            let mut answer = String::new();
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.split(' ').nth(1) == Some(code)
        });
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_is_out_of_service_while_its_cache_is_down_by_each_check_of_http() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let checks = [
        "option httpchk",
        "option httpchk /readyz/",
        "option httpchk HEAD /health/main",
        "option httpchk GET /healthz",
        // Without a slash it is no host.
        "option httpchk GET health",
        "option httpchk readyz",
    ];
    let server = "check inter 200ms fall 1 rise 1";
    let balancers = checks.map(|check| Balancer::start(&sidecar, &format!(" {check}\n"), server));
    for code in ["200", "503", "200"] {
        if code == "503" {
            redis.kill();
        }
        for balancer in &balancers {
            balancer.becomes(code);
        }
        if code == "503" {
            redis.restart();
        }
    }
    assert_eq!(sidecar.logged("a connection from"), Vec::<String>::new());
}

#[test]
fn a_server_stays_in_service_while_a_cache_is_down_that_is_not_required() {
    let (mut main, mut pages) = (Redis::start(&[]), Redis::start(&[]));
    let (required, optional) = (main.addr(), pages.addr());
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://{required}\"\n[caches.pages]\nurl = \"redis://{optional}\"\nrequired = false"
    ));
    let paths = ["/readyz", "/health"];
    let balancers = paths.map(|path| {
        let check = format!(" option httpchk GET {path}\n");
        Balancer::start(&sidecar, &check, "check inter 200ms fall 1 rise 1")
    });
    for balancer in &balancers {
        balancer.becomes("200");
    }
    pages.kill();
    assert_eq!(
        sidecar.expect_degraded("refused"),
        format!("{optional} connect Connection refused (os error 111)")
    );
    main.kill();
    for balancer in &balancers {
        balancer.becomes("503");
    }
    main.restart();
    // The server is back in service by checks that were made while the other cache was down.
    for balancer in &balancers {
        balancer.becomes("200");
    }
    pages.restart();
    sidecar.expect_up();
}

#[test]
fn a_request_that_is_refused_for_its_form_is_named_in_the_log_once() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let fields = "a: b\r\n".repeat(101);
    for (request, code, logged) in [
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), "400", "HTTP/1.1 requests must have a Host header"),
        (
            "GET livez/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "400",
            "sent a request that is not valid HTTP (invalid URI)",
        ),
        (
            format!("GET /livez HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
            "431",
            "sent a request that is not valid HTTP (invalid URI)",
        ),
    ] {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}{answer}");
        }
        sidecar.wait_for_log(logged, 1);
    }
    // Of one kind there is one line a minute.
    assert_eq!(sidecar.logged("a connection from").len(), 2, "{}", sidecar.log());
    sidecar.expect_up();
    assert_eq!(sidecar.logged("a connection from").len(), 2, "{}", sidecar.log());
}

#[test]
fn a_check_that_is_not_http_is_named_in_the_log_once() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let proxied = Balancer::start(&sidecar, " option httpchk\n", "check check-send-proxy inter 200ms");
    proxied.becomes("503");
    let (_, port) = sidecar.addr().rsplit_once(':').unwrap();
    let agent = format!("agent-check agent-port {port} agent-inter 2s");
    let _waiting = Balancer::start(&sidecar, "", &agent);
    sidecar.wait_for_log(
        "sent nothing in time: a caller that waits for the server to begin, such as HAProxy's agent-check",
        1,
    );
    // It has asked again since.
    assert_eq!(sidecar.logged("sent the PROXY protocol, version 1, but this address serves HTTP").len(), 1);
    sidecar.expect_up();
}
