//! A root that is only to be read, with everything in it.

use std::fs;
use std::process::Command;

use crate::support::namespace::none_can_be_made;
use crate::support::{Redis, alone};
use crate::{PROGRAM, Surrounded, cache, skipped};

/// A program in a mount namespace in which nothing can be written.
fn read_only() -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -o remount,bind,ro /; exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-ec", script, PROGRAM]);
    command
}

#[test]
fn a_root_that_is_only_to_be_read_is_enough_except_for_a_unix_socket() {
    if let Some(reason) = none_can_be_made(&["--mount"]) {
        return skipped("a root that is only to be read", &reason);
    }
    let _turn = alone();
    let mut redis = Redis::start(&[]);
    let surrounded = Surrounded::start(read_only(), "", &cache("main", &redis));
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", surrounded.sidecar.pid())).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.contains(" ro,"), "{root}");
    surrounded.expect_an_outage_to_be_seen(&mut redis);
    surrounded.expect_a_clean_end();

    let output = read_only()
        .args(["serve", "--listen", "unix:/cache-canary-test.sock"])
        .env("CACHE_URL", "redis://127.0.0.1:1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "error: cannot listen on unix:/cache-canary-test.sock (mount a volume there that can be written, or choose \
                    another address with --listen): Read-only file system (os error 30)";
    assert_eq!((output.status.code(), said.lines().last()), (Some(1), Some(expected)));
}
