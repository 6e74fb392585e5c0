//! Programs for passwords that do all they can, beside a cache without one.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Redis, eventually};
use crate::{PROGRAM, PROMISED, SCHEDULING, Surrounded, cache};

/// The state of a process is that of proc(5), `/proc/pid/stat`.
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn a_program_that_floods_hangs_or_forks_takes_nothing_from_other_caches_and_ends() {
    let (mut redis, dir) = (Redis::start(&[]), tempfile::tempdir().unwrap());
    let pids = dir.path().join("pids");
    let program = |alias: &str, script: &str| {
        let command = format!("password_command = [\"/bin/sh\", \"-c\", \"{script}\"]");
        format!("[caches.{alias}]\nurl = \"redis://{}\"\n{command}\n", redis.addr())
    };
    let deaf = format!(
        "trap '' TERM HUP INT; echo $$ >{0}; for n in 1 2 3 4 5 6 7 8; do sleep 1000 & echo $! >>{0}; done; wait",
        pids.display()
    );
    let caches = [
        cache("main", &redis),
        program("floods-output", "yes made-up"),
        program("floods-errors", "yes made-up >&2"),
        program("forks", &deaf),
        "[groups.readiness]\ninclude = [\"main\"]\n".to_owned(),
    ];
    let surrounded = Surrounded::start(Command::new(PROGRAM), "reconnect_every = \"0s\"", &caches.concat());
    let sidecar = &surrounded.sidecar;
    let before = sidecar.own_kib();
    let said = |alias: &str| sidecar.raw(&format!("/health/{alias}?format=text"));
    assert!(said("floods-output").contains("password_command printed more than 64 KiB"));
    eventually("the flood of errors is ended", || {
        said("floods-errors").contains("password_command printed more than 1 MiB on standard error")
    });
    assert!(said("forks").contains("password_command gave no password within"));
    let ask = |code: u16| {
        let health = sidecar.get("/readyz");
        assert_eq!(health.code, code);
        assert!(health.took < PROMISED + SCHEDULING, "{:?}", health.took);
    };
    (0..100).for_each(|_| ask(200));
    redis.kill();
    ask(503);
    redis.restart();
    ask(200);
    let most = sidecar.own_kib();
    assert!(most < before + 4 * 1024, "{before} KiB, then {most} KiB");

    let pids = fs::read_to_string(pids).unwrap();
    let running = || pids.lines().filter(|pid| is_running(pid)).count();
    assert_eq!(running(), 9);
    // 30 s after its start.
    std::thread::sleep(Duration::from_secs(15));
    eventually("they are killed", || running() == 0);
    surrounded.expect_a_clean_end();
}
