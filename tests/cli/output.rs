//! Standard output: a command whose output is lost fails, and one whose reader went away does not.

use std::fs::File;
use std::io;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::thread;

use cache_canary::embedded::{EmbeddedServer, InjectedFault};

use crate::{cache_canary, stderr};

/// A way to lose what is written, and what the system says of it.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// A device that is full.
    Full,
    /// A file that was opened to be read.
    ReadOnly,
}

impl Lost {
    const ALL: [Self; 2] = [Self::Full, Self::ReadOnly];

    fn stdout(self) -> Stdio {
        match self {
            Self::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            Self::ReadOnly => File::open("/dev/null").unwrap().into(),
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Full => "error: cannot write to standard output: No space left on device (os error 28)\n",
            Self::ReadOnly => "error: cannot write to standard output: Bad file descriptor (os error 9)\n",
        }
    }
}

/// A pipe whose reader is gone.
fn unread() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn kept() -> Stdio {
    Stdio::piped()
}

/// The commands that print and need no cache.
const PRINTING: [&[&str]; 11] = [
    &["--help"],
    &["--version"],
    &["check", "--help"],
    &["healthcheck", "--help"],
    &["config", "schema"],
    &["config", "check"],
    &["config", "show"],
    &["acl"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["completions", "fish"],
];

/// Runs the program beside a cache at `url`, with this for its standard output.
fn run(arguments: &[&str], url: &str, stdout: Stdio) -> Output {
    let mut command = cache_canary();
    command.args(arguments).env("CACHE_URL", url).stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// The same, beside the runtime that serves the cache.
async fn run_beside(cache: &EmbeddedServer, arguments: &'static [&'static str], stdout: Stdio) -> Output {
    let url = format!("redis://{}/0", cache.addr());
    tokio::task::spawn_blocking(move || run(arguments, &url, stdout)).await.unwrap()
}

/// The exit code, and what was said on standard error.
fn end(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), stderr(output))
}

#[test]
fn a_command_whose_output_is_lost_exits_1_with_the_reason() {
    for arguments in PRINTING {
        let healthy = run(arguments, "redis://cache", kept());
        assert_eq!(end(&healthy), (Some(0), String::new()), "{arguments:?}");
        assert!(!healthy.stdout.is_empty(), "{arguments:?}");
        for lost in Lost::ALL {
            let output = run(arguments, "redis://cache", lost.stdout());
            assert_eq!(end(&output), (Some(1), lost.said().to_owned()), "{arguments:?} {lost:?}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_fails_no_command() {
    for arguments in PRINTING {
        let output = run(arguments, "redis://cache", unread());
        assert_eq!(end(&output), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn output_that_is_lost_after_a_part_was_written_is_an_error_all_the_same() {
    // A file may grow to 8 blocks, which are less than the schema. The signal of that limit would kill the program.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" config schema >\"$1\"";
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_cache-canary")]).arg(file.path());
        shell.output().unwrap()
    };
    let cut = run(script);
    let said = "error: cannot write to standard output: File too large (os error 27)\n";
    assert_eq!(end(&cut), (Some(1), said.to_owned()));
    let written = file.path().metadata().unwrap().len();
    assert!(written > 0, "nothing was written");
    let whole = run("exec \"$0\" config schema >\"$1\"");
    assert_eq!(end(&whole), (Some(0), String::new()));
    assert!(file.path().metadata().unwrap().len() > written);
}

#[test]
fn output_that_is_thrown_away_on_purpose_is_not_lost() {
    let opened = |read: bool| File::options().read(read).write(true).open("/dev/null").unwrap();
    // Python's DEVNULL and Node's `ignore` are opened to be read and written, a shell's redirection to be written.
    for read in [false, true] {
        for arguments in PRINTING {
            let output = run(arguments, "redis://cache", opened(read).into());
            assert_eq!(end(&output), (Some(0), String::new()), "{arguments:?}");
        }
    }
}

/// Each way in which `check` prints, and the exit codes of a cache that is up, one that is down, and a verdict that is
/// lost.
const CHECKS: [(&[&str], [i32; 3]); 4] = [
    (&["check"], [0, 1, 1]),
    (&["check", "--format", "json"], [0, 1, 1]),
    (&["check", "--explain"], [0, 1, 1]),
    (&["check", "--format", "nagios"], [0, 2, 3]),
];

#[tokio::test]
async fn a_verdict_that_was_not_printed_is_no_success() {
    let cache = EmbeddedServer::redis().await.unwrap();
    for is_up in [true, false] {
        cache.set_fault(if is_up { InjectedFault::Healthy } else { InjectedFault::Masking }).unwrap();
        for (arguments, [up, down, untold]) in CHECKS {
            let told = if is_up { up } else { down };
            for read in [kept(), unread()] {
                let output = run_beside(&cache, arguments, read).await;
                assert_eq!(end(&output), (Some(told), String::new()), "{arguments:?} {is_up}");
            }
            for lost in Lost::ALL {
                let output = run_beside(&cache, arguments, lost.stdout()).await;
                let expected = (Some(untold), lost.said().to_owned());
                assert_eq!(end(&output), expected, "{arguments:?} {is_up} {lost:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_output_is_lost_and_when_its_reader_goes_away() {
    let cache = EmbeddedServer::redis().await.unwrap();
    let watches: [&[&str]; 2] = [&["check", "--watch"], &["check", "--watch", "--format", "json"]];
    for arguments in watches {
        let output = run_beside(&cache, arguments, unread()).await;
        assert_eq!(end(&output), (Some(0), String::new()), "{arguments:?}");
        for lost in Lost::ALL {
            let output = run_beside(&cache, arguments, lost.stdout()).await;
            assert_eq!(end(&output), (Some(1), lost.said().to_owned()), "{arguments:?} {lost:?}");
        }
    }
}

#[test]
fn a_monitoring_system_gets_unknown_if_the_fault_cannot_be_printed() {
    for lost in Lost::ALL {
        for arguments in [&["check", "--format=nagios", "nope"][..], &["check", "--format=nagios", "--nope"]]
        {
            let output = run(arguments, "redis://cache", lost.stdout());
            assert_eq!(end(&output), (Some(3), lost.said().to_owned()), "{arguments:?} {lost:?}");
        }
    }
}

#[test]
fn a_healthcheck_that_cannot_print_its_answer_is_no_success() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nup\n").unwrap();
        }
    });
    let ask = |stdout| end(&run(&["healthcheck", "--url", &url], "redis://cache", stdout));
    assert_eq!(ask(kept()), (Some(0), String::new()));
    assert_eq!(ask(unread()), (Some(0), String::new()));
    for lost in Lost::ALL {
        assert_eq!(ask(lost.stdout()), (Some(1), lost.said().to_owned()), "{lost:?}");
    }
}

#[test]
fn a_demo_that_cannot_print_its_commands_ends() {
    let demo = ["demo", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    assert_eq!(end(&run(&demo, "redis://cache", unread())), (Some(0), String::new()));
    for lost in Lost::ALL {
        let output = run(&demo, "redis://cache", lost.stdout());
        assert_eq!(end(&output), (Some(1), lost.said().to_owned()), "{lost:?}");
    }
}
