//! Host names that a test gives and takes.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use tempfile::NamedTempFile;

/// A hosts file of the test's own, which a sidecar has in the place of `/etc/hosts`.
#[derive(Debug)]
pub struct Hosts(NamedTempFile);

impl Hosts {
    /// A file with these names: `[("cache.test", "127.0.0.1")]`.
    pub fn new<A: Display>(names: &[(&str, A)]) -> Self {
        let hosts = Self(NamedTempFile::new().expect("a file"));
        hosts.set(names);
        hosts
    }

    /// Has these names and no others from now on.
    pub fn set<A: Display>(&self, names: &[(&str, A)]) {
        let lines: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        // In its place, and not by another file of its name: a mount is of the file.
        fs::write(self.path(), lines).expect("to write");
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}
