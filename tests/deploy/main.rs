//! The examples in `deploy/`: that they are right, and do what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod compose;
mod docker;
mod helm;
mod kubernetes;
mod migrating;
mod notify;
mod prometheus;
mod reviewboard;
mod systemd;

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

/// A file or folder in `deploy/`.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// A file in `deploy/`.
fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// The text with a part of it replaced, which must be there.
fn replaced(text: &str, part: &str, by: &str) -> String {
    assert!(text.contains(part), "no {part:?} in {text}");
    text.replace(part, by)
}
