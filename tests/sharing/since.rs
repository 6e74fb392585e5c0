//! Since when a status is what it is, which sidecar says so, and no more of it than checks saw.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use serde_json::Value;

use crate::support::{Redis, Sidecar};

fn main_at(redis: &Redis) -> String {
    format!("[caches.main]\nurl = \"redis://{}\"", redis.addr())
}

/// The details of `main`.
fn details(sidecar: &Sidecar) -> Value {
    sidecar.health().body["details"]["cache.main"].clone()
}

/// A time to the second, as texts have it.
fn second(time: &Value) -> String {
    time.as_str().unwrap()[..19].to_owned() + "Z"
}

/// The line of `main` in `?format=text`.
fn line(sidecar: &Sidecar) -> String {
    let text = sidecar.raw("/health?format=text");
    text.lines().find(|line| line.starts_with("main ")).unwrap().to_owned()
}

#[test]
fn a_status_has_its_first_check_and_the_last_one_with_another_status() {
    let mut redis = Redis::start(&[]);
    let sidecar = Sidecar::start(main_at(&redis));
    sidecar.expect_up();
    let up = details(&sidecar);
    redis.kill();
    let first = details(&sidecar);
    assert_eq!((&first["since"], &first["last_up"]), (&first["began_at"], &up["began_at"]));
    assert_eq!(first["since_first_check"], false);
    let later = details(&sidecar);
    assert_eq!((&later["since"], &later["last_up"]), (&first["since"], &first["last_up"]));
    let seen =
        format!("since {}, last seen up {}; refused: at ", second(&first["since"]), second(&up["began_at"]));
    let line_down = line(&sidecar);
    assert!(line_down.starts_with(&format!("main  DOWN  {seen}")), "{line_down}");
    let page = sidecar.raw("/");
    assert!(page.contains(", last seen up <time"), "{page}");

    redis.restart();
    sidecar.expect_up();
    let up = details(&sidecar);
    assert_eq!((&up["last_up"], &up["since_first_check"]), (&Value::Null, &Value::Bool(false)));
    assert!(line(&sidecar).contains(", last seen down "), "{}", line(&sidecar));
}

#[test]
fn a_status_that_the_first_check_found_may_be_older_and_that_is_said() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let sidecar = Sidecar::start(main_at(&redis));
    sidecar.expect_down("refused");
    let down = details(&sidecar);
    assert_eq!((&down["since_first_check"], &down["last_up"]), (&Value::Bool(true), &Value::Null));
    let least =
        format!("at least since {}, the first check after this sidecar started", second(&down["since"]));
    assert!(line(&sidecar).contains(&least), "{}", line(&sidecar));
    sidecar.wait_for_log(&format!("main is DOWN: refused at {} in connect; {least}", redis.addr()), 1);
    assert!(sidecar.raw("/").contains("at least since <time"));
    let told = sidecar.raw("/transitions?format=text");
    assert!(told.contains("? -> DOWN  first check  refused at "), "{told}");
    redis.restart();
    sidecar.expect_up();
    sidecar.wait_for_log("main is UP; was DOWN for at least ", 1);
}

#[test]
fn a_sidecar_names_itself_to_those_who_may_see_details() {
    let redis = Redis::start(&[]);
    let sidecar = Sidecar::start_with("instance = \"web-1\"", main_at(&redis));
    assert_eq!(sidecar.health().body["instance"], "web-1");
    let page = sidecar.raw("/");
    assert!(
        page.contains(" \u{b7} cache-canary web-1</title>") && page.contains("<code>web-1</code>"),
        "{page}"
    );

    let settings = "instance = \"web-1\"\n[access]\ndetails = [\"192.0.2.0/24\"]\n";
    let sidecar = Sidecar::start_with(settings, main_at(&redis));
    for path in ["/health", "/"] {
        let answer = sidecar.raw(path);
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("web-1"), "{path}: {answer}");
    }
    assert!(sidecar.raw("/").contains("hidden from you"));
}
