//! Servers that quote what they were given for credentials: no representation shows five characters of that in a row,
//! whichever command the server quotes them in answer to, and however it spells or cuts them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the message"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Liar, Memcached, Redis, Sidecar, eventually};

const USER: &str = "uXq7-Kd9mWz2";
const PASSWORD: &str = "pV4_kT8%r\"Hn3!Zs6";

/// Both as they stand in a URL.
const LOGIN: &str = "uXq7-Kd9mWz2:pV4_kT8%25r%22Hn3!Zs6";

/// The fewest characters in a row that are not to be shown.
const RUN: usize = 5;

/// Wants a text to show nothing of the credentials, as they are or in hex or base64.
fn hides(what: &str, text: &str) {
    let lowered = text.to_lowercase();
    for credential in [USER, PASSWORD] {
        for run in credential.as_bytes().windows(RUN) {
            let plain = std::str::from_utf8(run).unwrap().to_lowercase();
            assert!(!lowered.contains(&plain), "{what} shows {plain}: {text}");
            let hex = hex(run, "");
            assert!(!lowered.contains(&hex), "{what} shows {hex}: {text}");
        }
        // Without the digits at either end, to which what stands beside contributes.
        for before in 0..3 {
            let all = [&b"\0\0"[..before], credential.as_bytes()].concat();
            let digits = base64(&all);
            let digits = &digits.as_bytes()[2..digits.len() - 4];
            for run in digits.windows(8) {
                let run = std::str::from_utf8(run).unwrap();
                assert!(!text.contains(run), "{what} shows {run}: {text}");
            }
        }
    }
}

fn hex(bytes: &[u8], before: &str) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{before}{byte:02x}").unwrap();
        text
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// The ways in which a server may quote the credentials, in one line.
fn quotations() -> Vec<String> {
    let mut said = vec![
        format!("unknown command 'AUTH', with args beginning with: '{USER}' '{PASSWORD}' "),
        format!("unknown command `AUTH`, with args beginning with: `{USER}`, `{PASSWORD}`, "),
        format!("{PASSWORD} of {USER} is no password"),
        format!("wrong: {}", PASSWORD.to_uppercase()),
        format!("wrong: {}", PASSWORD.to_lowercase()),
        format!("wrong: \"{}\"", PASSWORD.replace('"', "\\\"")),
        format!("wrong: {}", hex(PASSWORD.as_bytes(), "\\x")),
        format!("wrong: {}", hex(PASSWORD.as_bytes(), "%")),
        format!("wrong: {}", hex(PASSWORD.as_bytes(), "")),
        format!("wrong: {LOGIN}"),
        format!("wrong: {}", base64(PASSWORD.as_bytes())),
        format!("wrong: {}", base64(format!("\0{USER}\0{PASSWORD}").as_bytes())),
        format!("wrong: {}", base64(format!("{USER}:{PASSWORD}").as_bytes())),
        format!("wrong: '{}' '{}'", &PASSWORD[..6], &PASSWORD[6..]),
    ];
    for at in (RUN..PASSWORD.len()).step_by(3) {
        said.push(format!("wrong: '{}...", &PASSWORD[..at]));
        said.push(format!("wrong: ...{}'", &PASSWORD[PASSWORD.len() - at..]));
    }
    // The lengths at which texts are cut.
    for before in [100, 112, 118, 228, 234, 239] {
        said.push(format!("{}{PASSWORD}", "-".repeat(before)));
    }
    said
}

/// A line as an answer of each type of Redis' protocol.
fn answers(line: &str) -> Vec<Vec<u8>> {
    let len = line.len();
    let all = [
        format!("-ERR {line}\r\n"),
        format!("-{line}\r\n"),
        format!("+{line}\r\n"),
        format!("${len}\r\n{line}\r\n"),
        format!("*2\r\n${len}\r\n{line}\r\n:6379\r\n"),
        format!("={}\r\ntxt:{line}\r\n", len + 4),
        format!("*1\r\n-ERR {line}\r\n"),
    ];
    all.map(String::into_bytes).into()
}

/// A sidecar that checks each time on a new connection, and logs all that it can.
fn sidecar(caches: &str) -> Sidecar {
    serving("reconnect_every = \"0s\"", caches)
}

/// The same, which waits for no liar that is silent.
fn impatient(caches: &str) -> Sidecar {
    serving("reconnect_every = \"0s\"\ntimeout = \"200ms\"", caches)
}

fn serving(settings: &str, caches: &str) -> Sidecar {
    Sidecar::launch(settings, caches, &[("CACHE_CANARY_LOG", PathBuf::from("debug"))])
}

/// Wants these answers of the sidecar's to hide the credentials.
fn expect_hidden(sidecar: &Sidecar, paths: &[&str], what: &str) {
    for path in paths {
        hides(&format!("{path} for {what}"), &sidecar.raw(path));
    }
}

/// The representations of a fault's words, each in its own way.
const WAYS: [&str; 3] = ["/health", "/health?format=text", "/health?format=html"];

/// Wants every way to ask, and the log, to hide the credentials.
fn expect_hidden_everywhere(sidecar: &Sidecar, what: &str) {
    expect_hidden(sidecar, &WAYS, what);
    let others = ["/health?format=health-json", "/health?format=kubernetes", "/readyz?verbose"];
    expect_hidden(sidecar, &others, what);
    expect_hidden(sidecar, &["/transitions", "/metrics", "/"], what);
    let program = || Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    for arguments in [
        &["check"][..],
        &["check", "--explain"],
        &["check", "--format", "json"],
        &["check", "--format", "nagios"],
    ] {
        let output = program().args(arguments).arg("-c").arg(sidecar.config_file()).output().unwrap();
        for text in [output.stdout, output.stderr] {
            hides(&format!("{arguments:?} for {what}"), &String::from_utf8_lossy(&text));
        }
    }
    let url = format!("http://{}/health?format=text", sidecar.addr());
    let output = program().args(["healthcheck", "--url", &url]).output().unwrap();
    hides(&format!("healthcheck for {what}"), &String::from_utf8_lossy(&output.stdout));
    let mut stream = TcpStream::connect(sidecar.addr()).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: canary\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    let mut first = String::new();
    while !first.contains("data:") {
        assert!(events.read_line(&mut first).unwrap() > 0, "{first}");
    }
    hides(&format!("/events for {what}"), &first);
    hides(&format!("the log for {what}"), &sidecar.log());
}

/// Has the liar tell each of these, and wants every one to be hidden.
fn expect_each_hidden(sidecar: &Sidecar, liars: &[&Liar], lies: impl IntoIterator<Item = Vec<u8>>) {
    for (number, lie) in lies.into_iter().enumerate() {
        for liar in liars {
            liar.lie(Some(&lie));
        }
        let what = String::from_utf8_lossy(&lie).into_owned();
        if number % 25 == 0 {
            expect_hidden_everywhere(sidecar, &what);
        } else {
            expect_hidden(sidecar, &WAYS[..=number % 3], &what);
        }
    }
    for liar in liars {
        liar.lie(None);
    }
}

fn every_answer() -> impl Iterator<Item = Vec<u8>> {
    quotations().into_iter().flat_map(|line| answers(&line))
}

#[test]
fn a_redis_that_does_not_know_a_command_quotes_no_credential_in_any_output() {
    for (gone, query) in [("AUTH", ""), ("HELLO", "?protocol=3"), ("SELECT", "/2"), ("SET", ""), ("GET", "")]
    {
        let redis = Redis::start(&["--rename-command", gone, ""]);
        redis.set_user(USER, &format!("on >{PASSWORD} ~* +@all"));
        let sidecar = sidecar(&format!("[caches.main]\nurl = \"redis://{LOGIN}@{}{query}\"", redis.addr()));
        let words = sidecar.expect_down("forbidden");
        assert!(words.contains("ERR unknown command"), "{words}");
        expect_hidden_everywhere(&sidecar, gone);
    }
}

#[test]
fn the_known_words_of_a_server_are_shown_and_its_cause_is_right() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&format!("[caches.main]\nurl = \"redis://{LOGIN}@{}/2\"", redis.addr()));
    let words = sidecar.expect_down("auth");
    assert!(words.ends_with("WRONGPASS invalid username-password pair or user is disabled."), "{words}");
    redis.set_user(USER, &format!("on >{PASSWORD} ~* +set +get"));
    let words = sidecar.expect_down("forbidden");
    let expected = "auth NOPERM this user has no permissions to run the 'select' command";
    assert!(words.contains(expected), "{words}");
    redis.set_user(USER, &format!("on >{PASSWORD} ~* +select +get"));
    let words = sidecar.expect_down("forbidden");
    assert!(words.contains("write NOPERM this user has no permissions to run the 'set' command"), "{words}");
    redis.set_user(USER, &format!("on >{PASSWORD} ~* +select +get +set"));
    sidecar.expect_up();
    expect_hidden_everywhere(&sidecar, "a healthy cache");
}

#[test]
fn no_answer_of_a_redis_shows_its_credentials() {
    let at_auth = Liar::redis(&["AUTH"], &[]);
    let at_hello = Liar::redis(&["HELLO"], &[]);
    let at_select = Liar::redis(&["SELECT"], &[]);
    let at_set = Liar::redis(&["SET"], &[]);
    let at_get = Liar::redis(&["GET", "PING"], &[]);
    let mut caches = String::new();
    let liars = [&at_auth, &at_hello, &at_select, &at_set, &at_get];
    for (liar, query) in liars.iter().zip(["", "?protocol=3", "/2", "", ""]) {
        let port = liar.addr.port();
        writeln!(caches, "[caches.at{port}]\nurl = \"redis://{LOGIN}@{}{query}\"", liar.addr).unwrap();
    }
    let sidecar = impatient(&caches);
    eventually("it is up without a lie", || sidecar.health().code == 200);
    expect_each_hidden(&sidecar, &liars, every_answer());
    eventually("it is up without a lie", || sidecar.health().code == 200);
}

#[test]
fn no_answer_of_a_redis_shows_a_password_that_a_command_printed_now_or_before() {
    let at_get = Liar::redis(&["GET", "PING"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let sidecar = impatient(&format!(
        "[caches.main]\nurl = \"redis://{USER}@{}\"\npassword_command = [\"/bin/cat\", \"{}\"]\n\
         password_ttl = \"0s\"",
        at_get.addr,
        password.display()
    ));
    eventually("it is up without a lie", || sidecar.health().code == 200);
    expect_each_hidden(&sidecar, &[&at_get], every_answer());
    std::fs::write(&password, "another-word").unwrap();
    eventually("it is up without a lie", || sidecar.health().code == 200);
    at_get.lie(every_answer().next().as_deref());
    expect_hidden(&sidecar, &WAYS, "a password of before");
}

#[test]
fn no_answer_about_other_servers_shows_credentials() {
    let at_sentinel = Liar::redis(&["SENTINEL"], &[]);
    let at_role = Liar::redis(&["ROLE"], &[("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")]);
    let at_cluster = Liar::redis(&["CLUSTER"], &[]);
    let at_slots = Liar::redis(&["CLUSTER SLOTS"], &[("CLUSTER INFO", "+cluster_state:ok\r\n")]);
    let caches = format!(
        "[caches.sentinel]\nurl = \"redis+sentinel://{LOGIN}@{}/mymaster\"\n\
         sentinel_username = '{USER}'\nsentinel_password = '{PASSWORD}'\n\
         [caches.replicas]\nurl = \"redis://{LOGIN}@{}\"\nreplicas = \"discover\"\n\
         [caches.cluster]\nurl = \"redis+cluster://{LOGIN}@{}\"\n\
         [caches.slots]\nurl = \"redis+cluster://{LOGIN}@{}\"\n",
        at_sentinel.addr, at_role.addr, at_cluster.addr, at_slots.addr
    );
    let sidecar = impatient(&caches);
    let liars = [&at_sentinel, &at_role, &at_cluster, &at_slots];
    let hosts = [String::new(), USER.to_owned(), PASSWORD[..9].to_owned(), PASSWORD.to_owned()];
    let hosts = hosts.iter().flat_map(|host| {
        let bulk = format!("${}\r\n{host}\r\n", host.len());
        [
            format!("*2\r\n{bulk}$4\r\n6379\r\n"),
            format!("*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n{bulk}$4\r\n6379\r\n$1\r\n0\r\n"),
            format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{bulk}:6379\r\n"),
            format!("*2\r\n{bulk}{bulk}"),
            format!("*3\r\n{bulk}:0\r\n*0\r\n"),
        ]
    });
    let lies = hosts.map(String::into_bytes).chain(every_answer().step_by(7));
    expect_each_hidden(&sidecar, &liars, lies);
}

#[test]
fn no_finding_and_no_figure_shows_credentials() {
    let looked_at = Liar::redis(
        &[
            "TYPE",
            "LLEN",
            "XINFO",
            "XLEN",
            "XRANGE",
            "XPENDING",
            "ZCARD",
            "ZRANGE",
            "GET clock",
            "INFO",
            "SCAN",
            "PTTL",
        ],
        &[],
    );
    let caches = format!(
        "[caches.main]\nurl = \"redis://{LOGIN}@{}\"\n\
         [caches.main.checks.queue]\nkeys = [\"jobs\"]\nlength.down = 1\n\
         [caches.main.checks.clock]\npartitions = \"clocks\"\nglobal = \"clock\"\n\
         [caches.main.checks.efficiency]\nttl = {{ pattern = \"*\", max = \"1s\" }}\n\
         [caches.main.checks.visibility]\nviews = [\"redis://{LOGIN}@{}\"]\n",
        looked_at.addr, looked_at.addr
    );
    let sidecar = impatient(&caches);
    let names = [PASSWORD, USER, &PASSWORD[3..10]].into_iter().flat_map(|name| {
        let bulk = format!("${}\r\n{name}\r\n", name.len());
        [
            format!("*2\r\n{bulk}$1\r\n5\r\n"),
            format!("*2\r\n$1\r\n0\r\n*1\r\n{bulk}"),
            format!("*1\r\n*8\r\n$4\r\nname\r\n{bulk}$7\r\npending\r\n:5\r\n$17\r\nlast-delivered-id\r\n$3\r\n0-1\r\n$3\r\nlag\r\n:5\r\n"),
            format!("+{name}\r\n"),
        ]
    });
    let lies = names.map(String::into_bytes).chain(every_answer().step_by(7));
    expect_each_hidden(&sidecar, &[&looked_at], lies);
}

#[test]
fn a_canary_of_another_instance_shows_no_credentials() {
    let liar = Liar::redis(&["GET"], &[]);
    let sidecar = sidecar(&format!("[caches.main]\nurl = \"redis://{LOGIN}@{}\"", liar.addr));
    sidecar.expect_up();
    // As another sidecar would write it.
    let other = Redis::start(&[]);
    let writer = Sidecar::start_with(
        "instance = \"other\"",
        format!("[caches.main]\nurl = \"redis://{}\"", other.addr()),
    );
    writer.expect_up();
    let keys = other.command(&["KEYS", "*"]);
    let value = other.command(&["GET", keys.lines().next().unwrap()]);
    let quoting = value.replace("other", &PASSWORD.replace(['"', '%'], "-")[..8]);
    liar.lie(Some(format!("${}\r\n{quoting}\r\n", quoting.len()).as_bytes()));
    sidecar.expect_down("foreign");
    expect_hidden_everywhere(&sidecar, &quoting);
}

#[test]
fn no_answer_of_a_memcached_shows_its_credentials() {
    let at_auth = Liar::memcached(&["set auth"]);
    let at_set = Liar::memcached(&["ms", "set djblets", "replace"]);
    let at_get = Liar::memcached(&["mg", "version"]);
    let (at_sasl, at_store) = (Liar::binary(0x21), Liar::binary(0x01));
    let text = [&at_auth, &at_set, &at_get];
    let mut caches = String::new();
    for liar in text.into_iter().chain([&at_sasl, &at_store]) {
        let (addr, port) = (liar.addr, liar.addr.port());
        writeln!(caches, "[caches.at{port}]\nurl = \"memcached://{LOGIN}@{addr}\"").unwrap();
    }
    let sidecar = impatient(&caches);
    let said = || quotations().into_iter();
    let lines = said().flat_map(|line| {
        ["CLIENT_ERROR ", "SERVER_ERROR ", "ERROR ", "VALUE ", "VA 5 k", ""]
            .map(|code| format!("{code}{line}\r\n"))
    });
    expect_each_hidden(&sidecar, &text, lines.map(String::into_bytes));
    expect_each_hidden(&sidecar, &[&at_sasl, &at_store], said().map(String::into_bytes));
    let memcached = Memcached::start_with_auth_file();
    let at = |login: &str| {
        self::sidecar(&format!("[caches.main]\nurl = \"memcached://{login}@{}\"", memcached.addr()))
    };
    at("canary:correct-horse").expect_up();
    let refused = at(LOGIN);
    let words = refused.expect_down("auth");
    assert!(words.ends_with("auth CLIENT_ERROR authentication failure"), "{words}");
    expect_hidden_everywhere(&refused, "a wrong password");
}

#[test]
fn the_log_about_a_store_shows_no_credentials() {
    let store = Liar::redis(&["SET", "GET", "PTTL", "DEL"], &[]);
    let redis = Redis::start(&[]);
    let caches = format!(
        "[fleet]\nvia = \"store\"\n[caches.main]\nurl = \"redis://{}\"\n[caches.store]\nurl = \"redis://{LOGIN}@{}\"",
        redis.addr(),
        store.addr
    );
    let sidecar = sidecar(&caches);
    sidecar.expect_up();
    sidecar.expect_up();
    store.lie(Some(format!("-ERR odd '{PASSWORD}'\r\n").as_bytes()));
    sidecar.health();
    sidecar.wait_for_log("verdicts are not shared", 1);
    expect_hidden_everywhere(&sidecar, "a store");
}
