//! The unit: systemd knows each of its lines, thinks it well shut in, and the program takes what it is started
//! with.

use std::fs;
use std::process::{Command, Output};

use crate::{path, read, replaced};

const UNIT: &str = "systemd/cache-canary.service";

/// The path of the program in the unit.
const INSTALLED: &str = "/usr/local/bin/cache-canary";

const PROGRAM: &str = env!("CARGO_BIN_EXE_cache-canary");

/// The output of `systemd-analyze verify` for a unit, which is empty if all is well.
fn verified(unit: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache-canary.service");
    fs::write(&file, replaced(unit, INSTALLED, PROGRAM)).unwrap();
    // The manual's pages are installed with the program.
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(file).output();
    let output = output.expect("systemd-analyze; `tests/run` installs what the tests need");
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of the unit that begin so, without that.
fn lines<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)).collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    assert_eq!(verified(&read(UNIT)), "");
}

#[test]
fn a_misspelt_line_of_the_unit_would_be_found() {
    let said = verified(&replaced(&read(UNIT), "ProtectHome=", "ProtectHomes="));
    assert!(said.contains("ProtectHomes"), "{said}");
}

#[test]
fn systemd_rates_the_unit_as_hardly_exposed() {
    // In tenths: out of 100, of which 0 is not exposed at all.
    let security = |threshold: &str| -> Output {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", "--threshold", threshold]);
        command.arg(path(UNIT)).output().unwrap()
    };
    let rated = security("12");
    assert!(rated.status.success(), "{}", text(&rated.stdout));
    assert!(!security("1").status.success(), "every unit passes");
}

#[test]
fn the_program_accepts_the_arguments_of_the_unit() {
    let unit = read(UNIT);
    let start = lines(&unit, "ExecStart=")[0];
    assert_eq!(start, format!("{INSTALLED} serve -c /etc/cache-canary/cache-canary.toml"));

    // As `LoadCredential` does.
    let credentials = tempfile::tempdir().unwrap();
    let (name, _) = lines(&unit, "LoadCredential=")[0].split_once(':').unwrap();
    fs::write(credentials.path().join(name), "correct-horse\n").unwrap();
    let mut check = Command::new(PROGRAM);
    check.args(["config", "check", "-c"]).arg(path("systemd/cache-canary.toml"));
    let checked = check.env("CREDENTIALS_DIRECTORY", credentials.path()).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));

    let missing = check.env("CREDENTIALS_DIRECTORY", "/nowhere").output().unwrap();
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stdout));
}
