//! The scripts of a release: strict, documented, and found well by shellcheck. The cheap ones are run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::{output, path, read, text};

/// The scripts that may be called by name.
fn scripts() -> Vec<String> {
    let mut scripts = Vec::new();
    for folder in ["release", ".ci"] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let entry = entry.unwrap();
            let file = entry.metadata().unwrap();
            if file.is_file() && file.permissions().mode() & 0o111 != 0 {
                scripts.push(format!("{folder}/{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    scripts
}

fn shellcheck(files: &[PathBuf]) -> String {
    text(&output(Command::new("shellcheck").args(files)))
}

fn run(script: &str, arguments: &[&str]) -> Output {
    output(Command::new(path(script)).args(arguments))
}

#[test]
fn shellcheck_finds_nothing_wrong_with_the_scripts() {
    let mut files: Vec<_> = scripts().iter().map(|script| path(script)).collect();
    files.extend(["postinst", "postrm"].map(|script| path("release/package/debian").join(script)));
    assert_eq!(shellcheck(&files), "");

    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong");
    fs::write(&wrong, "#!/bin/sh\nrm -rf $1/*\n").unwrap();
    let found = shellcheck(&[wrong]);
    assert!(found.contains("SC2086"), "{found}");
}

#[test]
fn each_script_is_strict_and_explains_itself() {
    for script in scripts() {
        let text = read(&script);
        let (first, rest) = text.split_once('\n').unwrap();
        let strict = match first {
            "#!/usr/bin/env bash" => "\nset -euo pipefail\n",
            "#!/bin/sh" => "\nset -eu\n",
            other => panic!("{script} begins with {other}"),
        };
        assert!(text.contains(strict), "{script} is not strict");
        assert!(rest.starts_with("# "), "{script} does not say what it does");
    }
    for script in scripts().iter().filter(|script| script.starts_with("release/")) {
        let help = run(script, &["--help"]);
        let said = text(&help);
        assert!(
            help.status.success() && said.contains(script.trim_start_matches("release/")),
            "{script}: {said}"
        );
    }
}

#[test]
fn the_way_to_a_release_fits_on_a_screen() {
    let lines = read("RELEASING.md").lines().count();
    assert!(lines <= 40, "RELEASING.md has {lines} lines, and at most 40 are allowed");
}

#[test]
fn the_notes_of_a_release_are_its_section_of_the_changelog() {
    let notes = run("release/notes", &[]);
    let said = String::from_utf8(notes.stdout).unwrap();
    assert!(notes.status.success(), "{}", String::from_utf8_lossy(&notes.stderr));
    assert!(said.lines().count() > 3 && !said.contains("\n## "), "{said}");
    assert!(read("CHANGELOG.md").contains(said.trim()), "{said}");

    let unknown = run("release/notes", &["0.0.9"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(text(&unknown), "release/notes: CHANGELOG.md has no section '## 0.0.9'\n");
}

#[test]
fn a_tag_must_be_the_version_of_the_changelog_and_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    let right = run("release/version", &[&format!("v{version}")]);
    assert!(right.status.success(), "{}", text(&right));
    assert_eq!(text(&right), format!("{version}\n"));

    let wrong = run("release/version", &["v9.9.9"]);
    assert_eq!(wrong.status.code(), Some(1));
    let expected = format!(
        "release/version: the tag is v9.9.9, and Cargo.toml has {version}; the tag should be v{version}\n"
    );
    assert_eq!(text(&wrong), expected);
}
