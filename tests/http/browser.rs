//! The page, as a person meets it: in a real Chromium, before a real sidecar and a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use crate::support::browser::Browser;
use crate::support::{Redis, Sidecar, eventually, night};
use cache_canary::http::access::AccessLevel;
use cache_canary::http::page;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

/// A sidecar that looks at this Redis every second.
fn sidecar(redis: &Redis) -> Sidecar {
    let caches = format!(
        "[caches.main]\nurl = \"redis://{}/0\"\n[caches.main.checks.queue]\nkeys = [\"jobs\"]\nlength = {{ degraded = 2 }}\n\
         [caches.staticfiles]\nbackend = \"local-memory\"",
        redis.addr()
    );
    Sidecar::start_with("interval = \"1s\"", caches)
}

fn page_of(sidecar: &Sidecar) -> String {
    format!("http://{}/", sidecar.addr())
}

/// Waits until the page's headline is this.
fn wait_for(browser: &Browser, headline: &str) {
    eventually(headline, || browser.text("h1") == headline);
}

fn signal(sidecar: &Sidecar, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(sidecar.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn an_outage_appears_on_an_open_page_without_a_reload_and_so_does_its_end() {
    let mut redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    let browser = Browser::start();
    browser.go(&page_of(&sidecar));
    assert_eq!(browser.text("h1"), "All 2 are up");
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("UP "));
    // The state that a reload would not keep.
    browser.run("window.untouched = true; document.querySelector('#check-main\\\\.queue > summary').click()");
    let icon = browser.run("return document.querySelector('link[rel=icon]').href");

    redis.kill();
    wait_for(&browser, "main and main.queue are down");
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("DOWN main"));
    assert_eq!(browser.text("#said"), "main and main.queue are down");
    let told = browser.text("#check-main");
    for words in
        ["refused", "The server refused the connection", "in connect: Connection refused", "down in 1 min"]
    {
        assert!(told.contains(words), "no `{words}` in: {told}");
    }
    assert_ne!(browser.run("return document.querySelector('link[rel=icon]').href"), icon);

    redis.restart();
    wait_for(&browser, "All 2 are up");
    assert!(!browser.text("#check-main").contains("refused"));
    assert!(browser.text("main").contains("main is up"), "the change back is among the last changes");
    assert_eq!(browser.run("return window.untouched"), true);
    let open = "return [...document.querySelectorAll('details[open]')].map((one) => one.id)";
    assert_eq!(browser.run(open), json!(["check-main.queue"]), "only what the reader has opened stays so");
    assert_eq!(browser.run("return document.getElementById('lost').hidden"), true);

    let (loaded, home) = (browser.loaded(), page_of(&sidecar));
    assert!(loaded.contains(&format!("{home}events")), "{loaded:?}");
    let foreign: Vec<_> = loaded
        .iter()
        .filter(|url| !url.starts_with(&home) && !url.starts_with("data:image/svg+xml,"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(browser.console().is_empty(), "{:?}", browser.console());
}

#[test]
fn a_page_without_news_from_its_sidecar_shows_that_until_news_arrives() {
    let redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    let browser = Browser::start();
    browser.go(&page_of(&sidecar));
    browser.run("document.querySelector('main').dataset.seen = 1");
    eventually("an event", || browser.run("return document.querySelector('main').dataset.seen").is_null());
    assert_eq!(browser.text("#lost"), "");

    // It hangs, and the connection stands.
    signal(&sidecar, Signal::STOP);
    eventually("no news", || browser.text("#lost").starts_with("No news since "));
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("No news, was UP"));
    assert_eq!(browser.run("return document.querySelector('main').className"), "up old");
    signal(&sidecar, Signal::CONT);
    eventually("news", || browser.text("#lost").is_empty());
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("UP "));
    assert_eq!(browser.run("return document.querySelector('main').className"), "up");

    drop(sidecar);
    eventually("no news", || browser.text("#lost").contains("cannot be reached"));
}

#[test]
fn without_a_script_the_page_is_reloaded() {
    let mut redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    let browser = Browser::start();
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    browser.go(&page_of(&sidecar));
    assert!(browser.source().contains("<h1>All 2 are up</h1>"));
    redis.kill();
    eventually("another page", || browser.source().contains("<h1>main and main.queue are down</h1>"));
}

#[test]
fn axe_finds_no_accessibility_fault_in_any_state_in_light_or_dark_mode() {
    let mut redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    let browser = Browser::start();
    browser.go(&page_of(&sidecar));
    let examine = |headline: &str| {
        wait_for(&browser, headline);
        for scheme in ["light", "dark"] {
            browser.look(390, scheme);
            browser.run("for (const one of document.querySelectorAll('details')) one.open = true");
            assert!(browser.violations().is_empty(), "{headline}, {scheme}: {:#?}", browser.violations());
        }
    };
    examine("All 2 are up");
    // That it finds something where there is something.
    browser.run("document.querySelector('h1').insertAdjacentHTML('afterend', '<img src=data:,>')");
    assert!(!browser.violations().is_empty());
    redis.command(&["RPUSH", "jobs", "1", "2", "3"]);
    examine("main.queue is degraded");
    redis.kill();
    examine("main and main.queue are down");
}

#[test]
fn the_page_fits_the_narrowest_phone_and_the_keyboard_reaches_all_of_it() {
    let mut redis = Redis::start(&[]);
    let sidecar = sidecar(&redis);
    redis.kill();
    let browser = Browser::start();
    browser.look(320, "dark");
    browser.go(&page_of(&sidecar));
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 320);
    let background = "return getComputedStyle(document.body).backgroundColor";
    let dark = browser.run(background);
    browser.look(320, "light");
    assert_ne!(browser.run(background), dark);

    // The focused element keeps the focus while the page is replaced, so the steps can be taken one by one.
    let focused = "return document.activeElement.parentElement?.id";
    for id in ["check-main", "check-main.queue"] {
        browser.press("Tab");
        assert_eq!(browser.run(focused), id);
    }
    let open = "return document.getElementById('check-main.queue').open";
    assert_eq!(browser.run(open), true);
    browser.press("Enter");
    assert_eq!(browser.run(open), false);
    let mark = "document.querySelector('main').dataset.seen = 1";
    browser.run(mark);
    eventually("another round", || {
        browser.run("return document.querySelector('main').dataset.seen").is_null()
    });
    assert_eq!(browser.run(open), false, "what the reader has closed stays so");
    assert_eq!(browser.run(focused), "check-main.queue");
}

/// The pictures of the README: `UPDATE=1 cargo test --test http browser` retakes them.
#[test]
fn the_pictures_of_the_readme_are_small_and_of_a_page_that_fits() {
    let app = night::app(&night::ALIASES);
    let report = night::pass(&app);
    let setup = app.setup();
    let body = page::body(&setup, &report, &setup.everything, AccessLevel::Details, Instant::now());
    let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    std::fs::write(&file, body).unwrap();
    let browser = Browser::start();
    for scheme in ["light", "dark"] {
        browser.look(390, scheme);
        browser.go(&format!("file://{}", file.path().display()));
        // There is no sidecar behind it.
        browser.run("document.getElementById('lost').remove(); document.querySelector('main').classList.remove('old')");
        let picture = browser.screenshot();
        assert!((1..100_000).contains(&picture.len()), "{} bytes", picture.len());
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), 390);
        if std::env::var_os("UPDATE").is_some() {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
            std::fs::write(docs.join(format!("page-down-{scheme}.png")), picture).unwrap();
        }
    }
}
