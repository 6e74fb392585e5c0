//! The documentation: the parts that are made from the code, every example, every link, and the prose.
//! `UPDATE=1 cargo test --test docs` writes the generated parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod blocks;
mod compatibility;
mod generated;
mod links;
mod prose;
mod security;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The files with this ending in a folder and the folders below it, in order.
fn files_in(folder: &str, ending: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(files_in(&name, ending));
        } else if entry.path().extension().is_some_and(|extension| extension == ending) {
            files.push(name);
        }
    }
    files.sort();
    files
}

/// Every page of the documentation, except the changelog.
fn pages() -> Vec<String> {
    let top =
        ["README.md", "CONTRIBUTING.md", "RELEASING.md", "ARCHITECTURE.md", "SECURITY.md"].map(str::to_owned);
    [top.to_vec(), files_in("docs", "md"), files_in("deploy", "md")].concat()
}

#[test]
fn the_readme_and_the_map_of_the_code_are_short() {
    for (page, most) in [("README.md", 200), ("ARCHITECTURE.md", 120)] {
        let lines = read(page).lines().count();
        assert!(lines <= most, "{page} has {lines} lines, and at most {most} are allowed");
    }
}
