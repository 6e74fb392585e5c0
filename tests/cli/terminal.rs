//! `check` on a terminal: its width, and its colors.

use std::process::Command;

use cache_canary::embedded::{EmbeddedServer, InjectedFault};
use cache_canary::outcome::Cause;

use crate::support::{Pty, pty};
use crate::{cache_canary, no_cache};

fn check(url: &str) -> Command {
    let mut command = cache_canary();
    command.arg("check").env("CACHE_URL", url);
    command
}

/// The words of a text, however it is broken into lines.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_a_table_that_fits_with_the_whole_hint() {
    let cache = EmbeddedServer::redis().await.unwrap();
    cache.set_fault(InjectedFault::Masking).unwrap();
    for columns in [80, 50] {
        let mut pty = Pty::start(&check(&format!("redis://{}/0", cache.addr())), columns, 30);
        assert_eq!(pty.wait(), Some(1));
        let bytes = pty.bytes();
        let screen = pty.screen();
        assert!(screen.starts_with("ALIAS    STATUS  "), "{screen}");
        assert!(words(&screen).contains(Cause::Masked.hint()), "{screen}");
        assert!(screen.contains("\nDOWN  1 down; checked "), "{screen}");
        assert!(bytes.contains("\u{1b}[31mDOWN"), "{bytes}");
        // On a wider terminal one sees where lines really end.
        let lines = pty::shown(&bytes, 1000, 30);
        let longest = lines.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(columns.into()), "{lines}");
    }
}

#[test]
fn color_is_optional_and_a_dumb_terminal_gets_plain_lines() {
    let plain = |name, value| {
        let mut pty = Pty::start(check(&no_cache()).env(name, value), 80, 30);
        assert_eq!(pty.wait(), Some(1));
        assert!(!pty.bytes().contains('\u{1b}'), "{:?}", pty.bytes());
        pty.bytes()
    };
    assert!(plain("NO_COLOR", "1").starts_with("ALIAS "));
    assert!(plain("TERM", "dumb").starts_with("default  DOWN "));
}
