//! `check --explain`: what each check did, command by command, with what it expected and what came back.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::process::Command;

use crate::support::{Memcached, PASSWORD, Redis, USER};

/// The output of `check --explain` about the cache at `url`.
fn explained(url: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    let output = command.args(["check", "--explain"]).env("CACHE_URL", url).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the steps: each command, and what was expected and seen.
fn steps(text: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = text.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].starts_with("    expected "));
    pairs.map(|pair| (pair[0].trim().to_owned(), pair[1].trim().to_owned())).collect()
}

#[test]
fn a_round_trip_is_explained_from_the_connection_to_the_read() {
    let redis = Redis::start(&["--requirepass", "sesame"]);
    let at = redis.addr();
    let text = explained(&format!("redis://:sesame@{at}/3"));
    assert!(!text.contains("sesame"), "{text}");
    let steps = steps(&text);
    let begin = |place: usize, command: &str, came: &str| {
        let (told, saw) = &steps[place];
        assert!(told.starts_with(&format!("{at}> {command}")), "{text}");
        assert!(saw.contains(came), "{text}");
    };
    begin(0, &format!("connect to {at}"), "expected a connection; saw one to 127.0.0.1");
    begin(1, "AUTH ***", "expected OK; saw OK");
    begin(2, "HELLO 2", "expected what the server is; saw 14 elements");
    begin(3, "SELECT 3", "expected OK; saw OK");
    begin(4, "SET djblets-canary:", "expected OK; saw OK");
    begin(5, "GET djblets-canary:", "saw cache-canary/1 ");
    assert_eq!(steps.len(), 6, "{text}");
    assert!(text.contains("\ncache.default: UP\n"), "{text}");
}

#[test]
fn a_fault_is_explained_at_its_step_and_in_the_words_of_the_server() {
    let redis = Redis::start(&[]);
    redis.fill();
    let text = explained(&format!("redis://{}/0", redis.addr()));
    let steps = steps(&text);
    assert!(steps[1].0.contains("> HELLO 2"), "{text}");
    assert!(steps[2].0.contains("> SET ") && steps[2].1.contains("saw OOM command not allowed"), "{text}");
    let (command, answer) = steps.last().unwrap();
    assert!(command.ends_with("> PING") && answer.ends_with("saw PONG"), "{text}");
    assert!(text.contains("\ncache.default: DOWN\n") && text.contains("  out_of_memory at "), "{text}");
}

#[test]
fn memcached_is_explained_in_the_commands_that_the_server_understands() {
    let memcached = Memcached::start(&[]);
    let text = explained(&format!("memcached://{}", memcached.addr()));
    let all = steps(&text);
    assert_eq!(all.len(), 4, "{text}");
    assert!(all[1].0.ends_with("> mn") && all[1].1.ends_with("; saw MN: it does"), "{text}");
    assert!(all[2].0.contains("> ms djblets-canary:") && all[2].1.ends_with("saw stored"), "{text}");
    assert!(all[3].0.contains("> mg djblets-canary:") && all[3].1.contains("saw cache-canary/1 "), "{text}");
    let binary = Memcached::start_with_sasl();
    let text = explained(&format!("memcached://{USER}:{PASSWORD}@{}", binary.addr()));
    assert!(text.contains("> SASL Auth PLAIN *** (binary)\n    expected success; saw success\n"), "{text}");
    assert!(text.contains("> Set djblets-canary:") && text.contains("> GetK djblets-canary:"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");

    let wrong = explained(&format!("memcached://{USER}:wrong-one@{}", binary.addr()));
    let (_, saw) = &steps(&wrong).into_iter().rfind(|(command, _)| command.contains("SASL Auth")).unwrap();
    assert!(saw.contains("saw auth in auth: status 0x0020") && !wrong.contains("wrong-one"), "{wrong}");
}

#[test]
fn a_login_in_text_and_the_version_that_is_asked_after_a_fault_are_explained() {
    let file = Memcached::start_with_auth_file();
    let text = explained(&format!("memcached://{USER}:{PASSWORD}@{}", file.addr()));
    let told: Vec<_> = steps(&text).into_iter().skip(1).take(3).collect();
    let [(first, refused), (login, stored), (again, meta)] = &told[..] else { panic!("{text}") };
    assert!(first.ends_with("> mn") && refused.ends_with("saw CLIENT_ERROR unauthenticated"), "{text}");
    assert!(
        login.ends_with("> set auth 0 -1, ***") && stored.ends_with("expected STORED; saw STORED"),
        "{text}"
    );
    assert!(again.ends_with("> mn") && meta.ends_with("saw MN: it does"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    let text = explained(&format!("memcached://{USER}:wrong-one@{}", file.addr()));
    assert!(text.contains("saw auth in auth: CLIENT_ERROR authentication failure"), "{text}");
    assert!(!text.contains("wrong-one"), "{text}");

    let full = Memcached::start(&["-M", "-m", "2"]);
    full.fill();
    let text = explained(&format!("memcached://{}", full.addr()));
    assert!(text.contains("out_of_memory at "), "{text}");
    let (command, answer) = steps(&text).pop().unwrap();
    assert!(command.ends_with("> version") && answer.contains("saw VERSION 1."), "{text}");
}
