//! [`ConfigReader`]: the file's table while it is read, and the findings on the way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fingerprint::CertificateFiles;
use super::keys::Key;
use super::place::{ConfigProblem, Origin};
use super::targets::FetchedTargets;
use super::value::{Table, Value};

/// The raw values, while they are interpreted.
pub(super) struct ConfigReader {
    pub(super) table: Table,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) origins: HashMap<String, Origin>,
    /// The deadline of a check, once it is known.
    pub(super) timeout: Duration,
    /// The time above which a round trip is degraded, where a cache has none of its own.
    pub(super) slow: Option<Duration>,
    pub(super) notes: Vec<String>,
    /// The files that the configuration is made from.
    pub(super) files: Vec<PathBuf>,
    pub(super) certificates: CertificateFiles,
    /// `true` if a user needs no password, since the users are only listed.
    pub(super) users_alone: bool,
    /// `true` if a cache of Django's setting is skipped where its backend is not known.
    pub(super) skips_unknown: bool,
    /// The list of targets, if it was fetched.
    pub(super) fetched: Option<FetchedTargets>,
}

/// A table of settings, while it is read.
pub(super) struct Section {
    /// The prefix of its values' names: `access`, `groups.liveness`.
    pub(super) name: Cow<'static, str>,
    pub(super) table: Table,
}

impl ConfigReader {
    pub(super) fn new(table: Table, file: Option<&Path>) -> Self {
        Self {
            table,
            problems: Vec::new(),
            origins: HashMap::new(),
            timeout: Duration::ZERO,
            slow: None,
            notes: Vec::new(),
            files: file.map(Path::to_path_buf).into_iter().collect(),
            certificates: CertificateFiles::default(),
            users_alone: false,
            skips_unknown: true,
            fetched: None,
        }
    }

    /// The value of a key at the top, or its default; and in case of a problem too, since that is reported.
    pub(super) fn setting<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, ConfigProblem>,
    ) -> T {
        let Some(value) = self.table.get(key) else { return default };
        self.origins.insert(key.to_owned(), value.place.origin());
        let read = read(value);
        self.told(read).unwrap_or(default)
    }

    /// The table of this name at the top, which then has no key that is not known; an empty one if there is none.
    pub(super) fn section(&mut self, name: &'static str, keys: &[Key]) -> Section {
        let table = self.table.take(name).map(Value::into_table);
        let table = table.and_then(|table| self.told(table)).unwrap_or_default();
        self.problems.extend(table.unknown(keys));
        Section { name: Cow::Borrowed(name), table }
    }

    /// The value of a section's key, if it is there and right.
    pub(super) fn said<T>(
        &mut self,
        section: &Section,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, ConfigProblem>,
    ) -> Option<T> {
        let value = section.table.get(key)?;
        self.origins.insert(format!("{}.{key}", section.name), value.place.origin());
        self.told(read(value))
    }

    /// The value that was read, unless there is a problem with it, which is reported.
    pub(super) fn told<T>(&mut self, read: Result<T, ConfigProblem>) -> Option<T> {
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    pub(super) fn take_table(&mut self, key: &str) -> Table {
        let Some(value) = self.table.take(key) else { return Table::default() };
        self.told(value.into_table()).unwrap_or_default()
    }
}
