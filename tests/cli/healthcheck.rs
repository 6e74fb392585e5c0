//! `healthcheck`: whom it asks, what it prints, and how it exits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::{cache_canary, run, stderr, stdout};

/// A server that gives each caller these bytes, and sends what it was asked to the other end of the channel.
fn canned(listener: TcpListener, bytes: impl Into<Vec<u8>>) -> Receiver<String> {
    let bytes = bytes.into();
    let (asked, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            converse(&mut stream.unwrap(), &bytes, &asked);
        }
    });
    requests
}

fn converse(stream: &mut (impl Read + Write), bytes: &[u8], asked: &Sender<String>) {
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
fn healthcheck_prints_the_reason_if_there_is_no_answer() {
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
fn healthcheck_speaks_http_and_https_alone_and_shows_no_password() {
    let output = run(&["healthcheck", "--url", "ftp://me:s3cret@127.0.0.1/health"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: --url has the scheme ftp; use http or https, as in \
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
fn healthcheck_asks_the_address_of_the_environment() {
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
    let expected = "error: CACHE_CANARY_LISTEN: not an address to listen on; write \"[::]:8080\", \"127.0.0.1:8080\" or \
                    \"unix:/run/cache-canary.sock\"\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn healthcheck_asks_the_listener_of_the_configuration_whatever_else_is_wrong_there() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, address) = local_listener();
    let requests = canned(listener, UP);
    let (other, other_address) = local_listener();
    let other_requests = canned(other, DOWN);
    let port = address.port();
    let file = directory.path().join("canary.toml");
    let file = file.to_str().unwrap();
    let broken = "[caches.main]\nurl = \"redis://:${NOT_SET}@nowhere\"\npassword_file = \"/nowhere\"\nno = 1";
    let asked = |listen: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        std::fs::write(file, format!("{listen}\n{broken}")).unwrap();
        let variables = variables.iter().copied();
        let output = cache_canary().arg("healthcheck").args(arguments).envs(variables).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{listen} {arguments:?}: {}", stderr(&output));
        assert!(requests.recv().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    };
    let by_file = ("CACHE_CANARY_CONFIG", file);
    for host in ["127.0.0.1", "0.0.0.0", "[::]"] {
        let listen = format!("listen = \"{host}:{port}\"");
        asked(&listen, &["-c", file], &[]);
        asked(&listen, &[], &[by_file]);
    }
    // The port of the file is a variable's, and one variable stands above the file.
    asked("listen = [\"127.0.0.1:${PORT}\"]", &[], &[by_file, ("PORT", &port.to_string())]);
    asked("listen = \"127.0.0.1:1\"", &[], &[by_file, ("CACHE_CANARY_LISTEN", &address.to_string())]);
    // The listener for probes has places of its own.
    let probes = format!("listen = \"{other_address}\"\nprobes.listen = \"{address}\"");
    asked(&probes, &[], &[by_file]);
    asked("", &[], &[by_file, ("CACHE_CANARY_PROBES__LISTEN", &address.to_string())]);
    // A file that is named on the command line is meant.
    let url = format!("http://{other_address}/");
    asked(&format!("listen = \"{address}\""), &["-c", file], &[("CACHE_CANARY_URL", &url)]);
    assert!(other_requests.try_recv().is_err());

    std::fs::write(file, "listen = \"127.0.0.1:0\"").unwrap();
    let any_port = run(&["healthcheck", "-c", file]);
    assert_eq!(any_port.status.code(), Some(1));
    assert!(stderr(&any_port).contains("port 0"), "{}", stderr(&any_port));
    let nowhere = run(&["healthcheck", "-c", "/nowhere/canary.toml"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("/nowhere/canary.toml"), "{}", stderr(&nowhere));
}

#[test]
fn an_empty_variable_is_to_healthcheck_as_to_the_server_one_that_is_not_set() {
    let (listener, address) = local_listener();
    let requests = canned(listener, UP);
    let listen = address.to_string();
    let mut command = cache_canary();
    command.args(["healthcheck"]).env("CACHE_CANARY_URL", "").env("CACHE_CANARY_LISTEN", &listen);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(requests.recv().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    // With or without a listener, the default address is the one that is asked.
    let output = cache_canary().arg("healthcheck").env("CACHE_CANARY_LISTEN", "").output().unwrap();
    assert!(!stderr(&output).contains("CACHE_CANARY_LISTEN"), "{}", stderr(&output));
}

#[test]
fn healthcheck_asks_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("canary.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (asked, requests) = channel();
    thread::spawn(move || {
        for (stream, bytes) in listener.incoming().zip([UP, DOWN, UP, UP]) {
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
    // Callers over TCP need a certificate, and this one has none.
    let file = directory.path().join("canary.toml");
    let tls = "tls.cert_file = \"/nowhere\"\ntls.key_file = \"/nowhere\"\ntls.client_ca_file = \"/nowhere\"";
    std::fs::write(&file, format!("listen = [\"127.0.0.1:1\", \"unix:{path}\"]\n{tls}")).unwrap();
    let configured = run(&["healthcheck", "-c", file.to_str().unwrap()]);
    assert_eq!(configured.status.code(), Some(0), "{}", stderr(&configured));
    for _ in 0..4 {
        assert!(requests.recv().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    }

    let missing = run(&["healthcheck", "--socket", directory.path().join("nobody.sock").to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("nobody.sock (is the server running?): "), "{}", stderr(&missing));
}
