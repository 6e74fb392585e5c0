//! `acl`: the users that it prints are enough for the checks, and nothing in them is too much.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::{Redis, Sidecar};

const PASSWORD: &str = "s3cret";

/// Every check dials anew, since SELECT is asked of new connections alone.
const DIAL: &str = "reconnect_every = \"0s\"";

fn acl(config: &str, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache-canary.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CACHE_") {
            command.env_remove(name);
        }
    }
    command.arg("acl").args(arguments).arg("-c").arg(file).output().unwrap()
}

/// What is printed for a valid configuration.
fn printed(config: &str) -> String {
    let output = acl(config, &[]);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

/// The words of each command in what was printed, as redis-cli takes them apart.
fn commands(text: &str) -> Vec<Vec<String>> {
    text.lines().filter(|line| !line.starts_with('#')).map(words).collect()
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => words.last_mut().unwrap().extend(chars.next()),
            ' ' if !quoted => words.push(String::new()),
            char => words.last_mut().unwrap().push(char),
        }
    }
    words
}

/// The user of a printed command, and its rules with the password among them.
fn user(command: &[String]) -> (&str, Vec<&str>) {
    let [acl, setuser, name, on, rules @ ..] = command else { panic!("no command: {command:?}") };
    assert_eq!((acl.as_str(), setuser.as_str(), on.as_str()), ("ACL", "SETUSER", "on"));
    (name, ["on", ">s3cret"].into_iter().chain(rules.iter().map(String::as_str)).collect())
}

/// Has the user of a printed command, without the rules that are named.
fn apply(redis: &Redis, command: &[String], without: &[&str]) {
    let (name, mut rules) = user(command);
    let before = rules.len();
    rules.retain(|rule| !without.contains(rule));
    assert_eq!(rules.len() + without.len(), before, "{rules:?} were to have {without:?}");
    redis.set_user(name, &rules.join(" "));
}

#[test]
fn the_printed_user_is_enough_for_a_server_and_with_a_right_less_it_is_not() {
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}/1\"", redis.addr());
    let text = printed(&config);
    let [command] = &commands(&text)[..] else { panic!("not one command: {text}") };
    apply(&redis, command, &[]);
    let sidecar = Sidecar::start_with(DIAL, &config);
    sidecar.expect_up();
    for right in ["+set", "+get", "+select", "~djblets-canary:*"] {
        apply(&redis, command, &[right]);
        sidecar.expect_down("forbidden");
        apply(&redis, command, &[]);
        sidecar.expect_up();
    }
    // It is asked only where something is wrong already.
    apply(&redis, command, &["+ping"]);
    sidecar.expect_up();
    assert_eq!(command.iter().filter(|word| word.starts_with('+')).count(), 4, "{command:?}");
}

#[test]
fn the_printed_user_is_enough_over_resp3() {
    let redis = Redis::start(&[]);
    let config = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}?protocol=3\"", redis.addr());
    apply(&redis, &commands(&printed(&config))[0], &[]);
    Sidecar::start(&config).expect_up();
}

#[test]
fn a_prefix_with_the_characters_of_a_pattern_stands_for_itself_alone() {
    let redis = Redis::start(&[]);
    for (prefix, other) in [("a*[b]?\\", "axb?\\"), ("a\"b'*", "a\"b'x")] {
        let caches = format!("[caches.main]\nurl = \"redis://canary:{PASSWORD}@{}\"", redis.addr());
        let prefix_line = format!("prefix = '''{prefix}'''");
        apply(&redis, &commands(&printed(&format!("{prefix_line}\n{caches}")))[0], &[]);
        Sidecar::start_with(&prefix_line, &caches).expect_up();
        let may_read = |key: &str| redis.command(&["ACL", "DRYRUN", "canary", "GET", key]);
        assert_eq!(may_read(&format!("{prefix}canary:x")), "OK");
        assert_ne!(may_read(&format!("{other}canary:x")), "OK", "{prefix}");
    }
}

#[test]
fn aliases_of_one_server_and_user_have_one_line_with_the_rights_of_all() {
    let text = printed(
        "[caches.one]\nurl = \"redis://canary:s3cret@cache/2\"\nreplicas = [\"replica\"]\n\
         [caches.two]\nurl = \"redis://canary:s3cret@CACHE\"\nreplicas = \"discover\"\n\
         [caches.three]\nurl = \"redis://another:s3cret@cache\"",
    );
    let expected = "\
# A user that is new needs a password: add >PASSWORD behind `on`.
# one, two: on cache:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +get +ping +role +select +set
# one, two: on replica:6379, each replica of cache:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +get +select
# three: on cache:6379
ACL SETUSER another on resetkeys ~djblets-canary:* resetchannels -@all +get +ping +set
";
    assert_eq!(text, expected);
}

#[test]
fn clusters_and_sentinels_have_the_rights_to_be_asked() {
    let text = printed(
        "[caches.cluster]\nurl = \"redis+cluster://canary:s3cret@a,b\"\n\
         [caches.watched]\nurl = \"redis+sentinel://canary:s3cret@s1,s2/mymaster/1\"\n\
         sentinel_username = \"watcher\"\nsentinel_password = \"s3cret\"",
    );
    let expected = "\
# A user that is new needs a password: add >PASSWORD behind `on`.
# cluster: on every node of the cluster at a:6379, b:6379
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +asking +cluster|info +cluster|slots +get \
                    +ping +set
# watched: on every server of mymaster, since each may become the primary
ACL SETUSER canary on resetkeys ~djblets-canary:* resetchannels -@all +get +ping +role +select +set
# watched: on the Sentinels at s1:26379, s2:26379
ACL SETUSER watcher on resetkeys resetchannels -@all +sentinel|get-master-addr-by-name
";
    assert_eq!(text, expected);
}

#[test]
fn without_a_user_one_is_named_and_what_to_say_to_log_in_as_it() {
    let text = printed("[caches.main]\nurl = \"redis://:s3cret@cache\"");
    let comment =
        "# main: on cache:6379; to log in as it, say username = \"cache-canary\" and its password\n";
    assert!(text.contains(comment), "{text}");
    assert!(text.contains("\nACL SETUSER cache-canary on "), "{text}");
}

#[test]
fn memcached_alone_has_nothing_to_allow() {
    let text = printed("[caches.main]\nservers = [\"mc-1\"]\n[caches.other]\nservers = [\"mc-2\"]");
    assert_eq!(text, "# main, other: nothing to allow, in memcached a user may do everything\n");
}

#[test]
fn some_aliases_are_printed_and_one_that_is_not_there_is_named() {
    let config = "[caches.one]\nurl = \"redis://one\"\n[caches.two]\nurl = \"redis://two\"\n\
                  [caches.default]\nbackend = \"forwarding\"\nlocation = \"two\"";
    let text = String::from_utf8(acl(config, &["default"]).stdout).unwrap();
    assert!(text.contains("# two: on two:6379") && !text.contains("one:6379"), "{text}");
    let output = acl(config, &["three"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "error: there is no cache `three`; there are one, two, default\n");
    assert_eq!(acl("nonsense", &[]).status.code(), Some(2));
}
