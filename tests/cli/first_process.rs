//! The sidecar as the first process of a container, here of a PID namespace. If none can be made, the test is skipped
//! and says so.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use crate::support::{Port, Redis, Sidecar, eventually};
use crate::{stderr, stdout};

const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

/// The children of a process, each with its state.
fn children(pid: &str) -> Vec<(String, char)> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let state = |child: &str| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    children.split_whitespace().filter_map(|child| Some((child.to_owned(), state(child)?))).collect()
}

#[test]
fn the_first_process_reaps_orphans_and_its_healthcheck_finds_the_listener() {
    let can = Command::new("unshare").args(NAMESPACE).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(
            io::stderr(),
            "skipped: the first process of a container, since there is no unshare --pid"
        );
        return;
    }
    let (redis, port) = (Redis::start(&["--requirepass", "sesame"]), Port::reserve());
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(env!("CARGO_BIN_EXE_cache-canary"));
    // A child of its own, which leaves an orphan, and whose exit code counts.
    let print = "(sleep 0.1 >/dev/null 2>&1 &); echo sesame";
    let caches = format!(
        "[caches.main]\nurl = \"redis://{}\"\npassword_command = [\"/bin/sh\", \"-c\", \"{print}\"]\n\
         password_ttl = \"0s\"",
        redis.addr()
    );
    let sidecar = Sidecar::start_by(command, &port, "reconnect_every = \"0s\"", caches);
    (0..20).for_each(|_| sidecar.expect_up());
    let (first, _) = children(&sidecar.pid().to_string()).pop().expect("the sidecar");
    let inside = |arguments: &[&str]| {
        let namespaces = ["--target", &first, "--pid", "--mount"];
        Command::new("nsenter").args(namespaces).args(arguments).output().unwrap()
    };

    // Two that end while their parent lives, and two that end later.
    let orphans = "(sh -c 'sleep 0.01' &); (sleep 0.05 &); (sleep 0.3 & sleep 0.3 &) ; sleep 0.1";
    let left = inside(&["sh", "-c", orphans]);
    assert!(left.status.success(), "{}", stderr(&left));
    eventually("no orphan is left", || children(&first).is_empty());
    sidecar.expect_up();

    // The environment does not say where it listens; the arguments of `serve` do.
    let asked = inside(&[env!("CARGO_BIN_EXE_cache-canary"), "healthcheck"]);
    assert_eq!(asked.status.code(), Some(0), "{}", stderr(&asked));
    assert!(stdout(&asked).contains("\"cache.main\":\"UP\""), "{}", stdout(&asked));
}
