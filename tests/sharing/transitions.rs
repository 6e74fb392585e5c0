//! The log of the program: one line for each change of a cache's status or cause, and nothing for what stays.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use serde_json::Value;

use crate::support::{Memcached, Redis, Sidecar};

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
    let words = format!("WARN main is DOWN: refused at {} in connect; was UP for at least ", redis.addr());
    assert!(line.contains(&words), "{line}");
    assert!(line.contains(" entry=\"main\" from=\"UP\" to=\"DOWN\" cause=\"refused\" lasted_s="), "{line}");

    redis.restart();
    redis.require_password("a-very-secret-password");
    for _ in 0..5 {
        sidecar.expect_up();
    }
    let line = change(&sidecar, 2);
    assert!(
        line.contains("INFO main is UP; was DOWN for at least ") && line.contains(" (refused), last seen "),
        "{line}"
    );

    assert_eq!(changes(&sidecar, "other").len(), 0, "{}", sidecar.log());
    assert!(!sidecar.log().contains("a-very-secret-password"), "{}", sidecar.log());
}

#[test]
fn each_cause_of_an_outage_is_one_line_and_the_last_one_says_of_what_and_how_long() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(format!("[caches.main]\nurl = \"redis://{}\"", redis.addr()));
    let expect = |cause| (0..2).for_each(|_| _ = sidecar.expect_down(cause));
    sidecar.expect_up();
    redis.stop();
    expect("timed_out");
    redis.kill();
    expect("refused");
    redis.restart();
    // Nothing listens at port 1.
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    expect("read_only");
    redis.become_primary();
    sidecar.expect_up();
    sidecar.expect_up();

    change(&sidecar, 4);
    let lines = changes(&sidecar, "main");
    let at = redis.addr();
    let told = [
        ("WARN main is DOWN: timed_out at ", "; was UP, last seen ", "cause=\"timed_out\""),
        ("WARN main is DOWN: refused at ", " (timed_out), last seen ", "was_cause=\"timed_out\""),
        ("WARN main is DOWN: read_only at ", " (refused), last seen ", "was_cause=\"refused\""),
        (
            "INFO main is UP; was DOWN for at least ",
            ", read_only ",
            "from=\"DOWN\" to=\"UP\" was_cause=\"timed_out ",
        ),
    ];
    for (line, (start, end, fields)) in lines.iter().zip(told) {
        assert!(line.contains(start) && line.contains(end) && line.contains(fields), "{lines:#?}");
    }
    assert!(lines[1].contains(&format!("refused at {at} in connect; was DOWN for at least ")), "{lines:#?}");

    let told = sidecar.get("/transitions").body;
    let told = told.as_array().unwrap();
    let of_each = |key: &str| {
        told.iter().map(|change| change[key].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_each("cause"), ["", "read_only", "refused", "timed_out"]);
    assert_eq!(of_each("from"), ["DOWN", "DOWN", "DOWN", "UP"]);
    let causes = told[0]["from_causes"].as_array().unwrap();
    let causes: Vec<_> = causes.iter().map(|cause| cause["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["timed_out", "refused", "read_only"]);
    let parts: f64 = told[0]["from_causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["lasted_s"].as_f64().unwrap())
        .sum();
    // Each cause was seen twice, and between two causes nothing was.
    assert!(parts > 0.0 && parts < told[0]["lasted_s"].as_f64().unwrap(), "{told:#?}");
    let stamp = |key: &str| told[0][key].as_str().unwrap().to_owned();
    assert!(stamp("last_seen") < stamp("at"), "{told:#?}");
    // The last check that was up is named, and is before the first that was not.
    assert!(told[3]["last_seen"].as_str() < told[3]["at"].as_str(), "{told:#?}");
    assert_eq!(
        (&told[3]["from_first_check"], &told[2]["from_first_check"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    let text = sidecar.raw("/transitions?format=text");
    assert!(text.contains(&format!("  refused at {at} in connect\n")), "{text}");
}

#[test]
fn an_outage_that_moves_to_another_node_is_a_line_and_one_that_stays_is_none() {
    let (mut first, mut second) = (Memcached::start(&[]), Memcached::start(&[]));
    let servers = format!("servers = [\"{}\", \"{}\"]", first.addr(), second.addr());
    let sidecar = Sidecar::start(format!("[caches.main]\n{servers}"));
    sidecar.expect_up();
    second.stop();
    assert_eq!(sidecar.health().code, 503);
    assert!(change(&sidecar, 1).contains("main is DOWN: timed_out at "), "{}", sidecar.log());
    first.kill();
    for _ in 0..3 {
        assert_eq!(sidecar.health().code, 503);
    }
    let both = format!("main is DOWN: refused at {} in connect (and 1 more); was DOWN", first.addr());
    assert!(change(&sidecar, 2).contains(&both), "{}", sidecar.log());
    second.cont();
    assert_eq!(sidecar.health().code, 503);
    let alone = format!("main is DOWN: refused at {} in connect; was DOWN", first.addr());
    assert!(change(&sidecar, 3).contains(&alone), "{}", sidecar.log());
    // The same cause at the other node alone.
    second.kill();
    assert_eq!(sidecar.health().code, 503);
    assert!(change(&sidecar, 4).contains(&both), "{}", sidecar.log());
    first.restart();
    (0..3).for_each(|_| assert_eq!(sidecar.health().code, 503));
    let moved = format!("main is DOWN: refused at {} in connect; was DOWN", second.addr());
    assert!(change(&sidecar, 5).contains(&moved), "{}", sidecar.log());
    second.restart();
    sidecar.expect_up();
    assert!(change(&sidecar, 6).contains("main is UP; was DOWN for at least "), "{}", sidecar.log());
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
    sidecar.wait_for_log("main.queue is DOWN: too_long at key b:p; was UP, last seen ", 1);
    redis.command(&["DEL", "b:p"]);
    sidecar.expect_up();
    sidecar.wait_for_log("main.queue is UP; was DOWN (too_long), last seen ", 1);
    assert_eq!(changes(&sidecar, "main").len(), 0, "{}", sidecar.log());
}
