//! The page, as a person meets it: in a real Chromium, before a real sidecar and a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::browser::Browser;
use crate::support::{Memcached, Redis, Sidecar, eventually, night};
use cache_canary::http::access::AccessLevel;
use cache_canary::http::page;
use cache_canary::outcome::{Cause, NodeOutcome, Role};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

/// The name of a pod's server in Kubernetes.
const POD: &str = "redis-master-0.redis-headless.my-namespace.svc.cluster.local:6379";

/// A sidecar that looks at these two every second.
fn sidecar_of_two(one: &Redis, other: &Redis) -> Sidecar {
    let cache = |alias, redis: &Redis| format!("[caches.{alias}]\nurl = \"redis://{}\"\n", redis.addr());
    Sidecar::start_with("interval = \"1s\"", cache("main", one) + &cache("other", other))
}

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

/// Waits until the content of an open page was replaced.
fn another_round(browser: &Browser) {
    browser.run("document.querySelector('main').dataset.seen = 1");
    eventually("another round", || {
        browser.run("return document.querySelector('main').dataset.seen").is_null()
    });
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
    let fault = ["refused", "The server refused the connection", "in connect: Connection refused"];
    for words in fault.into_iter().chain(["down in 1 min", "Affects main and main.queue", "last seen up"]) {
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
    another_round(&browser);
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
    // That it finds something where there is something: beside `main`, which the next news replaces.
    browser.run("document.querySelector('main').insertAdjacentHTML('afterend', '<img src=data:,>')");
    assert!(!browser.violations().is_empty());
    browser.run("document.querySelector('img').remove()");
    redis.command(&["RPUSH", "jobs", "1", "2", "3"]);
    examine("main.queue is degraded");
    redis.kill();
    examine("main and main.queue are down");
}

#[test]
fn the_page_fits_the_narrowest_phone_and_the_keyboard_reaches_all_of_it() {
    let (mut one, mut other) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = sidecar_of_two(&one, &other);
    one.kill();
    other.kill();
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
    for id in ["check-main", "check-other"] {
        browser.press("Tab");
        assert_eq!(browser.run(focused), id);
    }
    let open = "return document.getElementById('check-other').open";
    assert_eq!(browser.run(open), true);
    browser.press("Enter");
    assert_eq!(browser.run(open), false);
    another_round(&browser);
    assert_eq!(browser.run(open), false, "what the reader has closed stays so");
    assert_eq!(browser.run(focused), "check-other");
}

/// The page that would be at `/`, in a file: no sidecar is behind it.
fn written(body: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    std::fs::write(&file, body).unwrap();
    file
}

fn open(browser: &Browser, file: &tempfile::NamedTempFile) {
    browser.go(&format!("file://{}", file.path().display()));
    browser.run(
        "document.getElementById('lost').remove(); document.querySelector('main').classList.remove('old')",
    );
}

#[test]
fn a_word_and_a_port_stay_whole_beside_the_name_of_a_pod() {
    let app = night::app(&["main", "sessions"]);
    let mut report = night::pass(&app);
    let replica =
        NodeOutcome { role: Role::Replica, lag: Some(Duration::from_millis(3)), ..night::node(POD, None) };
    let nodes =
        [night::node(POD, Some(Cause::Refused)), replica, night::node("10.0.0.1:6379", Some(Cause::Auth))];
    Arc::make_mut(&mut report.outcomes[0]).nodes = nodes.into();
    Arc::make_mut(&mut report.outcomes[1]).nodes = vec![night::node(POD, Some(Cause::Refused)); 3];
    let setup = app.setup();
    let file = written(&page::body(&setup, &report, &setup.everything, AccessLevel::Details, Instant::now()));
    let browser = Browser::start();
    open(&browser, &file);
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true");
    // The text of each of these elements that is on more than one line.
    let torn = "return [...document.querySelectorAll('.whole, .word, .node .quiet, time')]\
        .filter((one) => one.getClientRects().length > 1).map((one) => one.innerText)";
    for width in [320, 390, 1280] {
        browser.look(width, "light");
        assert_eq!(browser.run(torn), json!([]), "{width}");
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), width);
        let ports = "return [...document.querySelectorAll('.whole')].filter((one) => one.innerText === 'local:6379').length";
        assert!(browser.run(ports).as_u64().unwrap() >= 4, "{}", browser.source());
    }
    assert!(browser.text("#check-main").contains(POD), "it can be copied as it is");
    // That the test sees it if a word is torn.
    browser.run(
        "const word = document.querySelector('.node .quiet'); word.style = 'white-space: normal; word-break: \
        break-all; width: 1em; display: inline'; word.parentElement.style = 'width: 1em; flex: none'",
    );
    assert_ne!(browser.run(torn), json!([]));
}

#[test]
fn a_row_of_equal_servers_stays_as_the_reader_has_left_it() {
    let mut servers = [Memcached::start(&[]), Memcached::start(&[]), Memcached::start(&[])];
    let addrs: Vec<_> = servers.iter().map(|server| format!("\"{}\"", server.addr())).collect();
    let caches = format!("[caches.main]\nservers = [{}]", addrs.join(", "));
    let sidecar = Sidecar::start_with("interval = \"1s\"", caches);
    let browser = Browser::start();
    browser.go(&page_of(&sidecar));
    let id = "nodes-main-server-up";
    browser.run("document.querySelector('#check-main > summary').click()");
    assert!(!browser.text("#check-main").contains(&servers[2].addr().to_string()));
    browser.run(&format!("document.querySelector('#{id} > summary').click()"));
    another_round(&browser);
    assert_eq!(browser.run(&format!("return document.getElementById('{id}').open")), true);
    assert!(browser.text("#check-main").contains(&servers[2].addr().to_string()));
    servers[0].kill();
    wait_for(&browser, "main is down");
    another_round(&browser);
    assert!(browser.text(&format!("#{id}")).contains("2 servers up"), "{}", browser.text("#check-main"));
    assert_eq!(browser.run(&format!("return document.getElementById('{id}').open")), true);
    assert!(browser.violations().is_empty(), "{:#?}", browser.violations());
}

/// The pictures of the README: `UPDATE=1 cargo test --test http browser` retakes them.
#[test]
fn the_pictures_of_the_readme_are_small_and_of_a_page_that_fits() {
    let app = night::app(&night::ALIASES);
    let report = night::pass(&app);
    let setup = app.setup();
    let file = written(&page::body(&setup, &report, &setup.everything, AccessLevel::Details, Instant::now()));
    let browser = Browser::start();
    for scheme in ["light", "dark"] {
        browser.look(390, scheme);
        open(&browser, &file);
        let picture = browser.screenshot();
        assert!((1..100_000).contains(&picture.len()), "{} bytes", picture.len());
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), 390);
        if std::env::var_os("UPDATE").is_some() {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
            std::fs::write(docs.join(format!("page-down-{scheme}.png")), picture).unwrap();
        }
    }
}
