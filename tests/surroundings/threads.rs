//! No thread and no process can be started, from the start on: caches with addresses are checked, everything else says what is
//! missing, and the log is written once there is a thread for it.

use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::support::{Names, Redis, Sidecar, alone, as_somebody, eventually};
use crate::{PROGRAM, Surrounded, cache};

/// The program as a user who may have so many threads and processes, and raise that later.
fn within(tasks: &str) -> Command {
    let mut command = as_somebody("prlimit");
    command.arg(format!("--nproc={tasks}:")).arg(PROGRAM);
    command
}

fn raise_limit(sidecar: &Sidecar) {
    let most = getrlimit(Resource::Nproc).maximum;
    let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    let mut prlimit = as_somebody("prlimit");
    prlimit.arg(format!("--pid={}", sidecar.pid())).arg(format!("--nproc={most}:"));
    assert!(prlimit.status().unwrap().success());
}

#[test]
fn without_a_thread_what_needs_none_is_checked_and_the_rest_recovers_with_the_log() {
    let _turn = alone();
    let names = Names::new();
    names.give("cache.test", &["127.0.0.1"]);
    let mut redis = Redis::start(&[]);
    let caches = format!(
        "{}[caches.by-name]\nurl = \"redis://cache.test:{}\"\n\
         [caches.by-command]\nurl = \"redis://{addr}\"\npassword_command = [\"/bin/false\"]\n\
         [caches.by-token]\nurl = \"redis://{addr}\"\nauth.aws = {{ cluster = \"made-up\", user = \"canary\", region = \"eu-west-1\" }}\n\
         [groups.readiness]\ninclude = [\"by-address\"]\n",
        cache("by-address", &redis),
        redis.port(),
        addr = redis.addr()
    );
    let mut command = within("0");
    command.envs(names.environment());
    // Nothing listens there, and a name must be looked up first.
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:1/credentials");
    let surrounded = Surrounded::start(command, "reconnect_every = \"0s\"\ndns_recheck = \"0s\"", &caches);
    let sidecar = &surrounded.sidecar;
    let readyz = || sidecar.get("/readyz").code;
    assert_eq!(readyz(), 200);
    redis.kill();
    assert_eq!(readyz(), 503);
    redis.restart();
    assert_eq!(readyz(), 200);
    let said = |alias: &str| sidecar.raw(&format!("/health/{alias}?format=text"));
    for alias in ["by-name", "by-command", "by-token"] {
        for _ in 0..2 {
            let said = said(alias);
            assert!(said.contains("503 ") && said.contains("raise"), "{said}");
            assert!(said.contains("the state of the cache is unknown"), "{said}");
        }
    }
    assert_eq!(sidecar.get("/livez").code, 200);
    assert_eq!(surrounded.log(), "", "no thread writes it");

    raise_limit(sidecar);
    assert!(said("by-name").contains("200 "), "{}", said("by-name"));
    assert!(said("by-command").contains("password_command ends with exit code 1"), "{}", said("by-command"));
    assert!(said("by-token").contains("cannot get credentials from localhost: Connection refused"));
    eventually("the log is written from its beginning", || {
        let log = surrounded.log();
        ["listening on http", "by-address is DOWN: refused", "by-name is UP"]
            .iter()
            .all(|words| log.contains(words))
    });
    surrounded.expect_a_clean_end();
}
