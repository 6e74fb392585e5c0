//! A wall clock that is set back and forth, as by a machine that starts without one, or by a wrong time server. The machine's own
//! clock stays: a library in front of the system's moves that of the process.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::preload::library;
use crate::support::{Redis, alone, eventually};
use crate::{LIBRARY, PROGRAM, Surrounded, cache};

const YEAR: i64 = 365 * 24 * 3600;

/// The clock of a process.
struct Clock(tempfile::TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set_ahead(0);
        clock
    }

    /// Sets it to so many seconds after the real time.
    fn set_ahead(&self, seconds: i64) {
        let (draft, file) = (self.0.path().join("draft"), self.0.path().join("ahead"));
        fs::write(&draft, seconds.to_string()).unwrap();
        fs::rename(draft, file).unwrap();
    }

    fn start(&self, settings: &str, caches: &str) -> Surrounded {
        let mut command = Command::new(PROGRAM);
        command
            .env("LD_PRELOAD", library(LIBRARY, self.0.path()))
            .env("CLOCK_FILE", self.0.path().join("ahead"));
        Surrounded::start(command, settings, caches)
    }
}

/// The distance to a second after 1970, where machines without a clock begin.
fn to_1970() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    1 - i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn a_clock_that_is_set_takes_no_verdict_away_and_every_page_is_shown() {
    const PAGES: [&str; 6] = [
        "/",
        "/metrics",
        "/readyz",
        "/health?format=text",
        "/health?format=health-json",
        "/health?format=json",
    ];
    let _turn = alone();
    let (mut redis, clock) = (Redis::start(&[]), Clock::new());
    let caches = format!(
        "{}identity = true\n[caches.main.checks.queue]\nkeys = [\"jobs\"]\nage = {{ degraded = \"1h\" }}\n\
         [caches.main.checks.efficiency]\n",
        cache("main", &redis)
    );
    // A restart without its data is a finding of `identity`.
    redis.command(&["CONFIG", "SET", "save", "3600 1"]);
    let surrounded = clock.start("interval = \"1s\"", &caches);
    for ahead in [0, YEAR, -YEAR, 30, -30, to_1970(), 100 * YEAR, 0] {
        clock.set_ahead(ahead);
        surrounded.expect(200, "UP");
        redis.command(&["SAVE"]);
        redis.kill();
        surrounded.expect(503, "DOWN");
        for page in PAGES {
            let code = surrounded.sidecar.get(page).code;
            assert_eq!(code, if matches!(page, "/" | "/metrics") { 200 } else { 503 }, "{page} at {ahead} s");
        }
        redis.restart();
        surrounded.expect(200, "UP");
        for page in PAGES {
            assert_eq!(surrounded.sidecar.get(page).code, 200, "{page} at {ahead} s");
        }
    }
    // Rounds go on, by a clock that nobody sets.
    clock.set_ahead(-YEAR);
    let outages = surrounded.logged("main is DOWN");
    redis.kill();
    eventually("a round sees the outage", || surrounded.logged("main is DOWN") > outages);
    surrounded.expect_a_clean_end();
}

#[test]
fn the_clock_of_the_process_is_set() {
    let (redis, clock) = (Redis::start(&[]), Clock::new());
    clock.set_ahead(to_1970());
    let surrounded = clock.start("", &cache("main", &redis));
    eventually("the log has the time", || surrounded.logged("1970-01-01T00:00:") > 0);
    let said = surrounded.sidecar.raw("/health?format=text");
    assert!(said.contains("since 1970-01-01T00:0"), "{said}");
    assert!(surrounded.sidecar.health().took < Duration::from_secs(3));
}
