//! Passwords that do not last: a program prints them, and servers get and lose them meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::checks::explained;
use crate::support::{Redis, Sidecar, eventually};

/// Every check dials.
const DIAL: &str = "reconnect_every = \"0s\"";

/// A program that prints the password, as a script of a shell that takes note of each run.
struct Vault(tempfile::TempDir);

impl Vault {
    fn new(script: &str) -> Self {
        let vault = Self(tempfile::tempdir().unwrap());
        vault.becomes(script);
        vault
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// From now on it does this. `$HERE` is the folder of its files.
    fn becomes(&self, script: &str) {
        let here = self.0.path().display();
        self.put("next", &format!("HERE={here}\necho run >>$HERE/runs\n{script}\n"));
        fs::rename(self.file("next"), self.file("script")).unwrap();
    }

    /// Writes a file in one step.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.file("draft"), text).unwrap();
        fs::rename(self.file("draft"), self.file(name)).unwrap();
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.file("runs")).unwrap_or_default().lines().count()
    }

    /// The settings that ask it.
    fn settings(&self) -> String {
        format!("password_command = [\"/bin/sh\", \"{}\"]", self.file("script").display())
    }

    fn cache(&self, redis: &Redis, more: &str) -> String {
        format!("[caches.main]\nurl = \"redis://canary@{}\"\n{}\n{more}", redis.addr(), self.settings())
    }
}

fn let_in(redis: &Redis, passwords: &[&str]) {
    let passwords: Vec<_> = passwords.iter().map(|password| format!(">{password}")).collect();
    redis.set_user("canary", &format!("on {} ~* +@all", passwords.join(" ")));
}

/// An `ExecCredential` with this token, which expires so much later than now.
fn exec_credential(token: &str, lasts: Duration) -> String {
    let expires = humantime::format_rfc3339(SystemTime::now() + lasts);
    format!(
        r#"echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
           "status": {{"token": "{token}", "expirationTimestamp": "{expires}"}}}}'"#
    )
}

#[test]
fn of_a_thousand_checks_under_a_password_that_changes_every_two_seconds_none_is_down() {
    const CHECKS: usize = 1000;
    const CHANGES: usize = 4;
    let redis = Redis::start(&[]);
    let vault = Vault::new("cat $HERE/password");
    let change = |from: &str, to: &str| {
        // As a rotation goes: both are let in, the program learns of the new one, and the old one is removed.
        redis.command(&["ACL", "SETUSER", "canary", &format!(">{to}")]);
        vault.put("password", to);
        thread::sleep(Duration::from_secs(1));
        redis.command(&["ACL", "SETUSER", "canary", &format!("<{from}")]);
        thread::sleep(Duration::from_secs(1));
    };
    let_in(&redis, &["password-0"]);
    vault.put("password", "password-0");
    let mut caches = vault.cache(&redis, "");
    caches.push_str(&vault.cache(&redis, "password_ttl = \"0s\"").replace("caches.main", "caches.anew"));
    let sidecar = Sidecar::start_with(DIAL, caches);
    sidecar.expect_up();
    let changes = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for change_number in 0..CHANGES {
                change(&format!("password-{change_number}"), &format!("password-{}", change_number + 1));
                changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut checks = 0;
        while checks < CHECKS || changes.load(Ordering::Relaxed) < CHANGES {
            sidecar.expect_up();
            checks += 1;
        }
    });
}

#[test]
fn one_run_serves_every_connection_of_an_alias() {
    let (redis, replica) = (Redis::start(&[]), Redis::start(&[]));
    let_in(&redis, &["sesame-one"]);
    let_in(&replica, &["sesame-one"]);
    replica.become_replica_of(&redis);
    let vault = Vault::new("sleep 0.1\necho sesame-one");
    let more = format!(
        "replicas = [\"{0}\"]\n[caches.main.checks.visibility]\nviews = [\"redis://{0}\"]\n\
         [caches.main.checks.queue]\nkeys = [\"jobs\"]",
        replica.addr()
    );
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, &more));
    sidecar.expect_up();
    sidecar.expect_up();
    assert_eq!(vault.runs(), 1);
}

#[test]
fn a_command_that_fails_is_down_with_its_exit_code_and_first_words_until_it_works() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("echo sesame-one");
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, "password_ttl = \"0s\""));
    sidecar.expect_up();
    vault.becomes("echo 'vault is sealed, not sesame-one' >&2; echo more >&2; exit 3");
    // The last good one is let in, so it is used.
    sidecar.expect_up();
    sidecar.expect_up();
    assert_eq!(
        sidecar.logged("password_command ends with exit code 3; the last password is used").len(),
        1,
        "{}",
        sidecar.log()
    );
    let_in(&redis, &["sesame-two"]);
    let words = sidecar.expect_down("auth");
    let expected = "auth password_command ends with exit code 3: vault is sealed, not ***";
    assert!(words.ends_with(expected), "{words}");
    assert!(sidecar.raw("/health?format=text").contains("No password could be had"));
    vault.becomes("echo sesame-two");
    sidecar.expect_up();
    sidecar.wait_for_log("password_command gives passwords again", 1);
}

#[test]
fn a_password_that_the_server_refuses_is_made_anew_once_a_check() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    for query in ["", "?protocol=3"] {
        let vault = Vault::new("cat $HERE/password");
        vault.put("password", "sesame-one");
        let cache = vault.cache(&redis, "").replace("\"\npassword", &format!("{query}\"\npassword"));
        let sidecar = Sidecar::start_with(DIAL, cache);
        sidecar.expect_up();
        let_in(&redis, &["sesame-two"]);
        let words = sidecar.expect_down("auth");
        assert!(words.contains("WRONGPASS"), "{words}");
        assert_eq!(vault.runs(), 2);
        sidecar.expect_down("auth");
        assert_eq!(vault.runs(), 3);
        vault.put("password", "sesame-two");
        sidecar.expect_up();
        sidecar.expect_up();
        assert_eq!(vault.runs(), 4);
        let_in(&redis, &["sesame-one"]);
    }
}

#[test]
fn a_credential_with_an_expiry_is_used_until_then_and_not_longer() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let lasts = Duration::from_secs(3);
    let vault = Vault::new(&exec_credential("sesame-one", lasts));
    let began = SystemTime::now();
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, ""));
    sidecar.expect_up();
    let date = &sidecar.health().body["details"]["cache.main"]["expiries"][0];
    assert_eq!((&date["what"], &date["name"]), (&"renewed_token".into(), &"password_command".into()));
    assert_eq!(vault.runs(), 1);
    vault.becomes("exit 7");
    let mut down = None;
    eventually("it is down", || {
        let health = sidecar.health();
        // Only a check that is over before the expiry must be up.
        assert!(health.code == 200 || began.elapsed().unwrap() >= lasts, "{:#}", health.body);
        down = (health.code != 200).then(|| health.fault_of("cache.main").unwrap());
        down.is_some()
    });
    let (cause, words) = down.unwrap();
    assert_eq!(cause, "auth");
    assert!(
        words.ends_with("password_command ends with exit code 7, without a word on standard error"),
        "{words}"
    );
    vault.becomes(&exec_credential("sesame-one", Duration::from_hours(1)));
    sidecar.expect_up();
    let runs = vault.runs();
    sidecar.expect_up();
    assert_eq!(vault.runs(), runs);
}

#[test]
fn a_command_that_outlives_the_deadline_goes_on_for_the_next_check() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("while [ ! -e $HERE/go ]; do sleep 0.02; done; echo sesame-one");
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, ""));
    for _ in 0..2 {
        let words = sidecar.expect_down("auth");
        let expected = "password_command gave no password within 375ms, and goes on for at most 30s";
        assert!(words.ends_with(expected), "{words}");
    }
    vault.put("go", "");
    eventually("the check after has it", || sidecar.health().code == 200);
    assert_eq!(vault.runs(), 1);
}

#[test]
fn a_process_that_a_command_leaves_behind_takes_nothing_from_its_password() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("sleep 3 &\necho sesame-one");
    let sidecar = Sidecar::start_with("timeout = \"2s\"", vault.cache(&redis, ""));
    sidecar.expect_up();
    assert_eq!(vault.runs(), 1);
    // Its words on standard error are no fault, however many.
    let vault = Vault::new("head -c 200000 /dev/zero >&2\necho sesame-one");
    Sidecar::start_with("timeout = \"2s\"", vault.cache(&redis, "")).expect_up();
}

#[test]
fn a_reload_keeps_the_last_password() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("echo sesame-one");
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, ""));
    sidecar.expect_up();
    vault.becomes("echo sealed >&2; exit 4");
    sidecar.configure(DIAL, vault.cache(&redis, "slow = \"700ms\""));
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log("the new configuration is in force", 1);
    sidecar.expect_up();
    assert_eq!(vault.runs(), 1);
}

#[test]
fn a_command_ends_with_the_sidecar_and_so_do_its_children() {
    let redis = Redis::start(&[]);
    let vault = Vault::new("echo $$ >$HERE/pids\nsleep 1000 &\necho $! >>$HERE/pids\nwait");
    let mut sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, ""));
    sidecar.expect_down("auth");
    let pids = fs::read_to_string(vault.file("pids")).unwrap();
    let running = || {
        let state = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat"));
        let is_running = |stat: String| !stat.contains(") Z");
        pids.lines().filter(|pid| state(pid).is_ok_and(is_running)).count()
    };
    assert_eq!((pids.lines().count(), running()), (2, 2));
    sidecar.terminate();
    sidecar.ended();
    eventually("they have ended", || running() == 0);
}

#[test]
fn output_that_is_no_password_is_described_and_not_shown() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("echo sesame-one");
    let sidecar = Sidecar::start_with(DIAL, vault.cache(&redis, ""));
    sidecar.expect_up();
    let expired = exec_credential("sesame-two", Duration::ZERO);
    for (script, expected) in [
        ("printf 'sesame-two\\nsesame-three\\n'", "printed several lines; print the password alone"),
        ("true", "printed no password"),
        ("printf 'sesame\\377'", "printed bytes that are not UTF-8"),
        ("yes sesame-two", "printed more than 64 KiB"),
        ("head -c 200000 /dev/zero | tr '\\0' x >&2; exit 7", "ends with exit code 7: xxx"),
        ("echo '{\"kind\": \"ExecCredential\"'", "printed JSON that cannot be read"),
        ("printf 'sesame\\001two'", "printed a control character"),
        ("head -c 20000 /dev/zero | tr '\\0' s", "printed a password of more than 16 KiB"),
        ("echo '{\"token\": \"sesame-two\"}'", "printed JSON that is no ExecCredential"),
        ("echo '{\"kind\": \"ExecCredential\", \"status\": {}}'", "without status.token"),
        (&expired, "gave a password that expired at "),
        ("echo sesame-two; echo + echo sesame-two >&2; exit 1", "ends with exit code 1: + echo ***"),
        ("kill -9 $$", "ends with signal: 9 (SIGKILL), without a word on standard error"),
    ] {
        vault.becomes(script);
        // It is refused, and so is run anew.
        let_in(&redis, &["sesame-new"]);
        let words = sidecar.expect_down("auth");
        assert!(
            words.contains(&format!("password_command {expected}")) || words.contains(expected),
            "{words}"
        );
        assert!(!words.contains("sesam"), "{words}");
        vault.becomes("echo sesame-one");
        let_in(&redis, &["sesame-one"]);
        sidecar.expect_up();
    }
    assert!(!sidecar.log().contains("sesam"), "{}", sidecar.log());
}

#[tokio::test]
async fn an_explanation_names_the_command_and_not_what_it_printed() {
    let redis = Redis::start(&[]);
    let_in(&redis, &["sesame-one"]);
    let vault = Vault::new("echo sesame-one");
    let steps = explained(&vault.cache(&redis, "")).await;
    assert_eq!(steps[0], "password_command | a password | one");
    assert_eq!(steps[1], "AUTH *** | OK | OK");
}
