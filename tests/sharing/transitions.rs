//! The log of the program: one line for each change of a cache's status, and nothing for what stays.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use crate::support::{Redis, Sidecar};

/// The lines that tell of a change of this entry.
fn changes(sidecar: &Sidecar, entry: &str) -> Vec<String> {
    sidecar.logged(&format!(" {entry} is "))
}

/// Waits until so many changes of `main` were told, and gives the last.
fn change(sidecar: &Sidecar, number: usize) -> String {
    sidecar.wait_for_log(" main is ", number);
    let changes = changes(sidecar, "main");
    assert_eq!(changes.len(), number, "{}", sidecar.log());
    changes[number - 1].clone()
}

#[test]
fn each_change_is_one_line_and_an_unchanged_status_is_none() {
    let mut redis = Redis::start(&[]);
    let other = Redis::start(&[]);
    redis.require_password("a-very-secret-password");
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://:a-very-secret-password@{}\"\n[caches.other]\nurl = \"redis://{}\"",
        redis.addr(),
        other.addr()
    ));
    for _ in 0..5 {
        sidecar.expect_up();
    }
    assert_eq!(changes(&sidecar, "main").len(), 0, "what is up when it is looked at first is no news");

    redis.kill();
    for _ in 0..5 {
        sidecar.expect_down("refused");
    }
    let line = change(&sidecar, 1);
    let words = format!("WARN main is DOWN: refused at {} in connect; was UP for ", redis.addr());
    assert!(line.contains(&words), "{line}");
    assert!(line.contains(" entry=\"main\" from=\"UP\" to=\"DOWN\" cause=\"refused\" lasted_s="), "{line}");

    redis.restart();
    redis.require_password("a-very-secret-password");
    for _ in 0..5 {
        sidecar.expect_up();
    }
    let line = change(&sidecar, 2);
    assert!(line.contains("INFO main is UP; was DOWN for "), "{line}");

    assert_eq!(changes(&sidecar, "other").len(), 0, "{}", sidecar.log());
    assert!(!sidecar.log().contains("a-very-secret-password"), "{}", sidecar.log());
}

#[test]
fn a_cause_that_gives_way_to_another_is_no_change() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    sidecar.expect_up();
    redis.fill();
    sidecar.expect_down("out_of_memory");
    redis.kill();
    sidecar.expect_down("refused");
    redis.restart();
    sidecar.expect_up();
    let last = change(&sidecar, 2);
    assert!(last.contains("main is UP"), "{last}");
    assert!(changes(&sidecar, "main")[0].contains("DOWN: out_of_memory at "), "{}", sidecar.log());
}

#[test]
fn a_cache_that_flaps_is_logged_each_time() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    sidecar.expect_up();
    for number in 1..=5 {
        redis.fill();
        sidecar.expect_down("out_of_memory");
        assert!(change(&sidecar, 2 * number - 1).contains("main is DOWN"));
        redis.make_room();
        sidecar.expect_up();
        assert!(change(&sidecar, 2 * number).contains("main is UP"));
    }
}

#[test]
fn the_words_of_a_server_are_not_in_the_log() {
    let redis = Redis::start(&[]);
    redis.set_user("default", "on nopass ~other:* +@all");
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let said = sidecar.expect_down("forbidden");
    assert!(said.contains("NOPERM"), "{said}");
    let line = change(&sidecar, 1);
    assert!(line.contains(&format!("main is DOWN: forbidden at {} in write", redis.addr())), "{line}");
    assert!(!line.contains("NOPERM"), "{line}");
    // Nor any character that would make two lines of one, or color a terminal.
    assert!(sidecar.log().chars().all(|char| char == '\n' || !char.is_control()), "{:?}", sidecar.log());
}

#[test]
fn another_kind_of_check_is_logged_with_its_name_and_finding() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!(
        "[caches.main]\nurl = \"redis://{}\"\n[caches.main.checks.queue]\nkeys = [\"b:p\"]\nlength.down = 2",
        redis.addr()
    ));
    sidecar.expect_up();
    redis.command(&["RPUSH", "b:p", "one", "two", "three"]);
    assert_eq!(sidecar.health().code, 503);
    sidecar.wait_for_log("main.queue is DOWN: too_long at key b:p; was UP for ", 1);
    redis.command(&["DEL", "b:p"]);
    sidecar.expect_up();
    sidecar.wait_for_log("main.queue is UP; was DOWN for ", 1);
    assert_eq!(changes(&sidecar, "main").len(), 0, "{}", sidecar.log());
}
