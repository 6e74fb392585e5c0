//! Names that a test gives to addresses, for the sidecar's process alone.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::preload::library;

/// Names that end in `.test`. A process with [`Self::environment`] looks them up here, by way of a library
/// that stands before the system's resolver; everything else in it is as ever.
#[derive(Debug)]
pub struct Names {
    dir: TempDir,
    given: Mutex<Vec<(String, Vec<String>)>>,
}

/// The suffix of the names that names.c looks up.
const KNOWN: &str = ".test";

impl Names {
    /// No names yet.
    pub fn new() -> Self {
        let dir = super::directory_of_everybody();
        library("tests/support/names.c", dir.path());
        let names = Self { dir, given: Mutex::default() };
        names.write();
        names
    }

    /// Gives a name these addresses, instead of those that it had; none is that there is no such name.
    pub fn give(&self, name: &str, addresses: &[&str]) {
        assert!(name.ends_with(KNOWN), "other names are looked up as ever");
        let mut given = self.given.lock().expect("no panic while it was held");
        given.retain(|(known, _)| known != name);
        given.push((name.to_owned(), addresses.iter().map(|&address| address.to_owned()).collect()));
        drop(given);
        self.write();
    }

    /// Gives many names this address. A lookup of one of them does not end until they are [`Self::answered`].
    pub fn hang(&self, names: impl IntoIterator<Item = String>, address: &str) {
        fs::write(self.hung(), "").expect("a file");
        let addresses = || vec!["hangs".to_owned(), address.to_owned()];
        let mut given = self.given.lock().expect("no panic while it was held");
        given.extend(names.into_iter().map(|name| (name, addresses())));
        drop(given);
        self.write();
    }

    /// Ends the lookups that hang, and answers those names from now on.
    pub fn answered(&self) {
        fs::remove_file(self.hung()).expect("they hang");
    }

    /// Gives a name this address, by a name server that can [`Self::lose`] packets.
    pub fn give_by_network(&self, name: &str, address: &str) {
        self.give(name, &["lost", address]);
    }

    /// Has the lookups that begin from now on lose a packet, for which the system waits 5 s, or no more.
    pub fn lose(&self, loses: bool) {
        let lost = self.dir.path().join("names.lost");
        if loses { fs::write(lost, "") } else { fs::remove_file(lost) }.expect("a file");
    }

    fn hung(&self) -> PathBuf {
        self.dir.path().join("names.hung")
    }

    /// The environment of a process.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.dir.path().join("names.so")), ("NAMES_FILE", self.dir.path().join("names"))]
    }

    fn write(&self) {
        let mut lines = String::new();
        for (name, addresses) in &*self.given.lock().expect("no panic while it was held") {
            for address in addresses {
                let _ = writeln!(lines, "{name} {address}");
            }
        }
        // A process that reads it meanwhile reads either the old one or the new one.
        let (new, file) = (self.dir.path().join("new"), self.dir.path().join("names"));
        fs::write(&new, lines).expect("a file");
        fs::rename(new, file).expect("to replace it");
    }
}
