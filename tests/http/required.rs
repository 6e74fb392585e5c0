//! `required = false`: a cache that the application works without is degraded in every representation where another is
//! down, and says so.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::process::{Command, Output};

use crate::support::{Redis, Sidecar, python, run};

const REMARK: &str = "down, not required";

/// `main` is required, `pages` is not and has another check, and `default` forwards to `pages`.
fn caches(main: &Redis, pages: &Redis) -> String {
    format!(
        "[groups.front]\ninclude = [\"pages\"]\n\
         [caches.main]\nurl = \"redis://{}\"\n\
         [caches.pages]\nurl = \"redis://{}\"\nrequired = false\n\
         checks.queue = {{ keys = [\"q\"], length = {{ down = 2 }} }}\n\
         [caches.default]\nbackend = \"forwarding\"\nlocation = \"pages\"\n",
        main.addr(),
        pages.addr(),
    )
}

const PATHS: [&str; 6] =
    ["/health", "/health/pages", "/health/default", "/health/group/front", "/readyz", "/readyz?verbose"];

fn expect_codes(sidecar: &Sidecar, expected: u16) {
    for path in PATHS {
        assert_eq!(sidecar.get(path).code, expected, "{path}");
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn healthcheck(sidecar: &Sidecar) -> bool {
    let url = format!("http://{}/health", sidecar.addr());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    command.args(["healthcheck", "--url", &url]).output().unwrap().status.success()
}

fn grpc(sidecar: &Sidecar, service: &str) -> String {
    let output = python("http/grpc/health.py", &["check", sidecar.addr(), service, "30"]).output().unwrap();
    text(&output).trim().to_owned()
}

#[test]
fn a_cache_that_is_not_required_is_degraded_everywhere_and_says_so() {
    let (main, mut pages) = (Redis::start(&[]), Redis::start(&[]));
    let config = caches(&main, &pages);
    let sidecar = Sidecar::start(&config);
    sidecar.expect_up();
    expect_codes(&sidecar, 200);
    let metrics = sidecar.raw("/metrics");
    assert!(metrics.contains("cache_down_not_required{alias=\"pages\",check=\"round_trip\"} 0"), "{metrics}");
    assert!(!metrics.contains("cache_down_not_required{alias=\"main\""), "{metrics}");

    pages.kill();
    let health = sidecar.health_in_time();
    assert_eq!((health.code, &health.body["status"]), (200, &"DEGRADED".into()), "{:#}", health.body);
    for check in ["cache.pages", "cache.pages.queue"] {
        let error = health.body["errors"][check].as_str().unwrap();
        assert!(error.starts_with(&format!("{REMARK} | refused: at ")), "{error}");
        assert_eq!(health.body["details"][check]["required"], false, "{:#}", health.body);
        assert_eq!(health.body["details"][check]["nodes"][0]["status"], "DOWN", "{:#}", health.body);
    }
    assert!(health.body["details"]["cache.main"]["required"].is_null(), "{:#}", health.body);
    expect_codes(&sidecar, 200);
    let draft = sidecar.get("/health?format=health-json").body;
    assert_eq!(draft["status"], "warn", "{draft:#}");
    assert!(draft["output"].as_str().unwrap().contains("cache.pages is DEGRADED (down, not required)"));
    assert_eq!(draft["checks"]["pages:roundTrip"][0]["required"], false, "{draft:#}");
    for (path, expected) in [
        ("/readyz?verbose", "[+]cache.pages ok: down, not required\n"),
        ("/health?format=text", "; down, not required | refused: at "),
        ("/?format=html", "<span class=\"word\">down, not required</span>"),
        ("/transitions?format=text", "in connect (down, not required)"),
        ("/metrics", "cache_up{alias=\"pages\",check=\"round_trip\"} 1\n"),
        ("/metrics", "cache_status{alias=\"pages\",check=\"round_trip\",status=\"degraded\"} 1\n"),
        ("/metrics", "cache_down_not_required{alias=\"pages\",check=\"queue\"} 1\n"),
    ] {
        let answer = sidecar.raw(path);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(expected), "{path}: {answer}");
    }
    let node = format!("cache_node_up{{alias=\"pages\",check=\"round_trip\",node=\"{}\"}} 0\n", pages.addr());
    assert!(sidecar.raw("/metrics").contains(&node));
    assert!(sidecar.log().contains("pages is DEGRADED: refused at "), "{}", sidecar.log());
    for service in ["", "pages", "default", "readyz", "group/front"] {
        assert_eq!(grpc(&sidecar, service), "SERVING", "{service}");
    }
    assert!(healthcheck(&sidecar));

    let nagios = run(&["check", "--format", "nagios"], &config);
    assert_eq!(nagios.status.code(), Some(1));
    let line = text(&nagios);
    assert!(line.starts_with("CACHE WARNING - pages down, not required: refused at "), "{line}");
    assert!(line.contains("\npages DEGRADED (down, not required) at least since "), "{line}");
    let table = run(&["check"], &config);
    assert_eq!(table.status.code(), Some(0));
    assert!(text(&table).contains("  down, not required\n"), "{}", text(&table));
    assert_eq!(run(&["check", "--strict"], &config).status.code(), Some(1));

    pages.restart();
    sidecar.expect_up();
}

#[test]
fn no_check_of_a_cache_that_is_not_required_is_down_and_a_required_one_still_is() {
    let (mut main, pages) = (Redis::start(&[]), Redis::start(&[]));
    let sidecar = Sidecar::start(caches(&main, &pages));
    sidecar.expect_up();
    pages.command(&["RPUSH", "q", "1", "2"]);
    let health = sidecar.health_in_time();
    assert_eq!((health.code, &health.body["checks"]["cache.pages.queue"]), (200, &"DEGRADED".into()));
    let error = health.body["errors"]["cache.pages.queue"].as_str().unwrap();
    assert!(error.starts_with(&format!("{REMARK} | too_long: ")), "{error}");
    assert_eq!(health.body["checks"]["cache.pages"], "UP");
    pages.command(&["DEL", "q"]);
    sidecar.expect_up();

    main.kill();
    sidecar.expect_down("refused");
    assert_eq!((sidecar.get("/readyz").code, sidecar.get("/health/pages").code), (503, 200));
    main.restart();
    sidecar.expect_up();
}
