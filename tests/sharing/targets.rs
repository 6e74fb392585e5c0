//! Caches from a list in Prometheus' format: a file that changes, and a server that is asked.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Authority, Redis, Sidecar, eventually, https, run};
use rustix::process::Signal;
use serde_json::{Value, json};

const IN_FORCE: &str = "the new configuration is in force";

/// A group with one target and an alias.
fn group(redis: &Redis, alias: &str) -> Value {
    json!({ "targets": [redis.addr()], "labels": { "alias": alias } })
}

fn list(groups: &[Value]) -> String {
    Value::from(groups).to_string()
}

/// Replaces a file as programs do that write lists: another one is renamed to it.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, file).unwrap();
}

fn shown(sidecar: &Sidecar) -> BTreeSet<String> {
    sidecar.health().body["checks"].as_object().unwrap().keys().cloned().collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("cache.{name}")).collect()
}

fn metric(sidecar: &Sidecar, name: &str) -> String {
    let text = sidecar.raw("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_default().to_owned()
}

/// A server of a list, as Prometheus' `http_sd` wants one.
#[derive(Clone)]
struct Server {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
    /// The heads of the requests so far.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One that asks to be asked every second.
    fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/targets?kind=redis", listener.local_addr().unwrap());
        let server =
            Self { url, answer: Arc::new(Mutex::new((200, body.to_owned()))), asked: Arc::default() };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                serving.asked.lock().unwrap().push(head.join("\n"));
                let (code, body) = serving.answer.lock().unwrap().clone();
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {code} Any\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                     X-Prometheus-Refresh-Interval-Seconds: 1\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        server
    }

    fn answer(&self, code: u16, body: &str) {
        *self.answer.lock().unwrap() = (code, body.to_owned());
    }
}

#[test]
fn a_file_of_targets_is_read_again_when_it_changes_and_a_bad_one_is_refused() {
    let (mut one, two) = (Redis::start(&[]), Redis::start(&[]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    fs::write(&file, list(&[group(&one, "one")])).unwrap();
    let sidecar = Sidecar::start(format!("[targets]\nfile = \"{}\"\n", file.display()));
    sidecar.expect_up();
    assert_eq!(shown(&sidecar), names(&["one"]));
    assert_eq!(metric(&sidecar, "cache_targets"), "1");
    assert_eq!(metric(&sidecar, "cache_targets_refresh_success"), "", "nothing is fetched");

    replace(&file, &list(&[group(&one, "one"), group(&two, "two")]));
    sidecar.wait_for_log(IN_FORCE, 1);
    assert!(sidecar.log().contains("checks kept: 1; rebuilt: two\n"), "{}", sidecar.log());
    assert_eq!(shown(&sidecar), names(&["one", "two"]));
    assert_eq!(metric(&sidecar, "cache_targets"), "2");
    one.kill();
    sidecar.expect_down("refused");
    one.restart();
    sidecar.expect_up();

    let bad = json!({ "targets": ["redis://user:sesame@host:port"], "labels": { "alias": "bad" } });
    replace(&file, &list(&[bad, group(&two, "two")]));
    sidecar.wait_for_log("cache `bad` of this target: ", 1);
    assert!(!sidecar.log().contains("sesame"), "{}", sidecar.log());
    assert_eq!(shown(&sidecar), names(&["one", "two"]));
    assert_eq!(metric(&sidecar, "cache_config_reload_success"), "0");

    replace(&file, &list(&[group(&two, "two")]));
    sidecar.wait_for_log(IN_FORCE, 2);
    assert_eq!(shown(&sidecar), names(&["two"]));
    assert_eq!(metric(&sidecar, "cache_config_reload_success"), "1");
}

#[test]
fn a_server_of_targets_is_asked_again_and_its_last_good_list_stays_in_force() {
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    let server = Server::start(&list(&[group(&one, "one")]));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "sesame-sesame-sesame\n").unwrap();
    let settings = format!("[targets]\nhttp = \"{}\"\ntoken_file = \"{}\"\n", server.url, token.display());
    let sidecar = Sidecar::start(settings);
    sidecar.expect_up();
    assert_eq!(shown(&sidecar), names(&["one"]));
    let head = server.asked.lock().unwrap()[0].to_lowercase();
    for line in [
        "get /targets?kind=redis http/1.1",
        "accept: application/json",
        "authorization: bearer sesame-sesame-sesame",
        "x-prometheus-refresh-interval-seconds: 60",
    ] {
        assert!(head.lines().any(|one| one == line), "{line}: {head}");
    }

    server.answer(200, &list(&[group(&one, "one"), group(&two, "two")]));
    sidecar.wait_for_log("checks kept: 1; rebuilt: two", 1);
    assert_eq!(shown(&sidecar), names(&["one", "two"]));
    assert_eq!(metric(&sidecar, "cache_targets_refresh_success"), "1");

    let both = names(&["one", "two"]);
    for (code, body, said) in [
        (500, "", "the answer is 500 Internal Server Error, where 200 is needed"),
        (200, "<html>", "this is no JSON"),
        (200, "[{\"targets\": [\"sesame@x:y\"]}]", "of this target: "),
    ] {
        server.answer(code, body);
        sidecar.wait_for_log(said, 1);
        assert_eq!(metric(&sidecar, "cache_targets_refresh_success"), "0");
        assert_eq!(metric(&sidecar, "cache_config_reload_success"), "1", "the configuration is valid");
        assert_eq!(shown(&sidecar), both);
        let so_far = server.asked.lock().unwrap().len();
        eventually("it is asked again", || server.asked.lock().unwrap().len() >= so_far + 2);
        assert_eq!(sidecar.logged(said).len(), 1, "it is logged once");
    }
    // A reload for another reason goes by the last good list.
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log(IN_FORCE, 2);
    assert_eq!(shown(&sidecar), both);

    server.answer(200, &list(&[group(&two, "two")]));
    sidecar.wait_for_log("the targets are refreshed again", 1);
    eventually("the new list is in force", || shown(&sidecar) == names(&["two"]));
    assert_eq!(metric(&sidecar, "cache_targets_refresh_success"), "1");
    assert!(!sidecar.log().contains("sesame"), "{}", sidecar.log());
    assert!(!sidecar.log().contains("kind=redis"), "the query may be a secret: {}", sidecar.log());
}

/// The server asks to be asked every second, and files are looked at every two.
#[test]
fn a_list_that_is_always_due_puts_off_no_file_and_repeats_no_message() {
    const SO_LONG: Duration = Duration::from_secs(5);
    let redis = Redis::start(&["--requirepass", "sesame-sesame"]);
    let server = Server::start(&list(&[group(&redis, "main")]));
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "wrong").unwrap();
    let settings = format!(
        "[targets]\nhttp = \"{}\"\n[targets.cache]\npassword_file = \"{}\"\n",
        server.url,
        password.display()
    );
    let sidecar = Sidecar::start(&settings);
    sidecar.expect_down("auth");
    replace(&password, "sesame-sesame");
    eventually("the new password is used", || sidecar.health().code == 200);

    let file = sidecar.config_file();
    let valid = fs::read_to_string(&file).unwrap();
    for (invalid, said) in [
        ("listen = [".to_owned(), "reload failed"),
        (valid.replace("http = ", "file = \"no-such-list\" # "), "no-such-list"),
    ] {
        let before = sidecar.logged(said).len();
        let asked = server.asked.lock().unwrap().len();
        replace(&file, &invalid);
        eventually("it is refused", || metric(&sidecar, "cache_config_reload_success") == "0");
        thread::sleep(SO_LONG);
        let told = sidecar.logged(said).len() - before;
        assert!((1..=2).contains(&told), "{told} times: {}", sidecar.log());
        replace(&file, &valid);
        eventually("it is accepted", || metric(&sidecar, "cache_config_reload_success") == "1");
        eventually("the list is fetched again", || server.asked.lock().unwrap().len() > asked + 1);
        sidecar.expect_up();
    }
}

#[test]
fn a_list_over_tls_is_believed_by_the_given_authority_alone() {
    let redis = Redis::start(&[]);
    let authority = Authority::new();
    let body = list(&[group(&redis, "main")]);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let addr = https::serve(&authority.issue(&["localhost"]), None, answer.leak().as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.certificate()).unwrap();
    let settings = format!("[targets]\nhttp = \"https://localhost:{}\"\n", addr.port());
    Sidecar::start(format!("{settings}ca_file = \"{}\"\n", ca.display())).expect_up();

    let output = run(&["config", "check"], &settings);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the TLS handshake failed"), "{said}");
}
