//! `check --watch`: on a terminal, and piped on.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cache_canary;
use crate::support::{MAX_WAIT, Pty, eventually};

fn watch(cache: &EmbeddedServer) -> Command {
    watch_every("100ms", cache)
}

fn watch_every(every: &str, cache: &EmbeddedServer) -> Command {
    let mut command = cache_canary();
    command.args(["check", "--watch", "--every", every]);
    command.env("CACHE_URL", format!("redis://{}/0", cache.addr()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_table_keeps_its_place_and_follows_the_cache() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let mut pty = Pty::start(&watch(&cache), 80, 24);
    pty.wait_for(&["Checking every 100ms, last at 20", "SINCE UTC", "default  UP ", "UP  1 up; checked "]);
    assert!(pty.is_alternate() && !pty.has_cursor());
    cache.set_fault(InjectedFault::Masking).unwrap();
    pty.wait_for(&["default  DOWN ", " masked at ", "DOWN  1 down; checked "]);
    // Nothing of the round before is left between the lines of this one.
    assert_eq!(pty.screen().matches("default ").count(), 1, "{}", pty.screen());
    cache.set_fault(InjectedFault::Healthy).unwrap();
    pty.wait_for(&["default  UP ", "UP  1 up; checked "]);
    eventually("the reasons of the outage are gone", || !pty.screen().contains("masked"));

    cache.set_fault(InjectedFault::Masking).unwrap();
    pty.wait_for(&["default  DOWN "]);
    pty.type_in("\u{3}");
    assert_eq!(pty.wait(), Some(1));
    assert!(!pty.is_alternate() && pty.has_cursor());
    // The last table stays.
    assert!(pty.screen().contains("DOWN  1 down; checked "), "{}", pty.screen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_is_made_narrower_has_a_table_that_fits_and_sigterm_gives_it_back() {
    let cache = EmbeddedServer::redis().await.unwrap();
    cache.set_fault(InjectedFault::Masking).unwrap();
    // So that only the new size can be the reason for a redraw.
    let mut pty = Pty::start(&watch_every("1h", &cache), 120, 30);
    pty.wait_for(&["WHY", "masked at "]);
    pty.resize(50, 30);
    // The reasons stand below the cells now.
    eventually("a narrow table", || {
        !pty.screen().contains("WHY") && pty.screen().contains("\n    masked at ")
    });
    pty.terminate();
    assert_eq!(pty.wait(), Some(1));
    assert!(!pty.is_alternate() && pty.has_cursor());
}

/// A watch whose output is piped on; it is killed when this goes.
struct Piped {
    process: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Piped {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines: Some(lines) }
    }

    fn line(&mut self) -> String {
        self.lines.as_mut().unwrap().next().unwrap().unwrap()
    }

    fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn piped_on_each_change_is_a_line_and_nothing_else_is() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let mut command = watch(&cache);
    let mut piped = Piped::start(command.env("CACHE_CANARY_CACHES__PAGES__BACKEND", "local-memory"));
    let first = piped.line();
    assert!(first.starts_with("20") && first.ends_with("Z  default  UP"), "{first}");
    let skipped = piped.line();
    assert!(skipped.ends_with("Z  pages  SKIPPED  lives in the application's memory"), "{skipped}");
    cache.set_fault(InjectedFault::Masking).unwrap();
    let down = piped.line();
    assert!(down.contains("Z  default  DOWN  was UP"), "{down}");
    assert!(down.contains(&format!("; masked at {} in read", cache.addr())), "{down}");
    cache.set_fault(InjectedFault::Healthy).unwrap();
    let up = piped.line();
    assert!(up.contains("Z  default  UP  was DOWN"), "{up}");
    assert_eq!(piped.interrupt(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_a_line_a_round_and_no_round_is_printed_twice() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let mut piped = Piped::start(watch(&cache).args(["--format", "json"]));
    let rounds = [(); 3].map(|()| serde_json::from_str::<Value>(&piped.line()).unwrap());
    let began = rounds.each_ref().map(|round| &round["details"]["cache.default"]["began_at"]);
    assert!(rounds.iter().all(|round| round["status"] == "UP"), "{rounds:#?}");
    assert!(began[0] != began[1] && began[1] != began[2], "{began:?}");
    cache.set_fault(InjectedFault::Masking).unwrap();
    let rounds = (0..).map(|_| serde_json::from_str::<Value>(&piped.line()).unwrap());
    assert!(rounds.take(100).any(|round| round["status"] == "DOWN"));
    assert_eq!(piped.interrupt(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_when_its_reader_goes_away() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let mut piped = Piped::start(watch(&cache).args(["--format", "json"]));
    piped.line();
    drop(piped.lines.take());
    let mut status = None;
    eventually(&format!("its end within {MAX_WAIT:?}"), || {
        status = piped.process.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}
