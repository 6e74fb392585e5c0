//! [`load`]: flags, environment, file and defaults, made into one [`Config`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::caches::CacheReader;
use super::environment::Environment;
use super::error::ConfigError;
use super::fingerprint::CertificateFiles;
use super::place::{ConfigProblem, Origin, Place};
use super::value::{Table, TableEntry, Value, ValueKind};
use super::{Backend, CacheConfig, Config, chains, django, file, groups, keys};
use crate::alias::Alias;
use crate::outcome;

/// What a configuration is made from. What is said first here wins: flags, environment, file; then defaults.
///
/// It may hold secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct Source {
    /// The path of the TOML file, if a flag names one; otherwise the environment may, in
    /// `CACHE_CANARY_CONFIG`.
    pub file: Option<PathBuf>,
    /// The addresses that flags give to listen at, if any.
    pub listen: Vec<String>,
    /// The environment's variables, by name.
    pub environment: BTreeMap<String, String>,
}

/// A valid configuration, and what a person may want to know of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The path of the TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// What is not wrong, but worth a look: one sentence each.
    pub notes: Vec<String>,
    origins: HashMap<String, Origin>,
    files: Vec<PathBuf>,
}

impl Source {
    /// What this process was told: these flags, and its environment.
    #[must_use]
    pub(crate) fn from_process(file: Option<PathBuf>, listen: Vec<String>) -> Self {
        // A value that is no text is read as far as it is, so that it is refused where it matters.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        Self { file, listen, environment: std::env::vars_os().filter_map(text).collect() }
    }
}

impl Loaded {
    /// Where a value came from, by its path: `timeout`, `access.allow`, `caches.main.url`.
    #[must_use]
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// Every file that it was made from, so that a change of one can be noticed: the TOML file, Django's setting,
    /// secrets and certificates. Each is there once.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// Makes a configuration, or says everything that is wrong with it.
pub fn load(source: &Source) -> Result<Loaded, ConfigError> {
    let environment = Environment(&source.environment);
    let file = source.file.clone().or_else(|| environment.get("CACHE_CANARY_CONFIG").map(PathBuf::from));
    let mut problems = Vec::new();
    let mut table = match &file {
        Some(path) => file::read(path, &environment, &mut problems)?,
        None => Table::default(),
    };
    environment.merge_into(&mut table, &mut problems);
    // What could not be filled in would be found wrong once more.
    if !problems.is_empty() {
        return Err(ConfigError::new(problems));
    }
    let mut reader = ConfigReader {
        table,
        problems,
        origins: HashMap::new(),
        timeout: Duration::ZERO,
        notes: Vec::new(),
        files: file.iter().cloned().collect(),
        certificates: CertificateFiles::default(),
    };
    reader.problems.extend(reader.table.unknown(keys::TOP));
    let config = reader.config(&source.listen, &environment);
    if reader.problems.is_empty() {
        reader.problems.extend(nothing(&config, file.as_deref()));
    }
    let ConfigReader { problems, origins, notes, mut files, .. } = reader;
    files.sort();
    files.dedup();
    if problems.is_empty() {
        Ok(Loaded { config, file, notes, origins, files })
    } else {
        Err(ConfigError::new(problems))
    }
}

/// What was typed, while its meaning is found out.
pub(super) struct ConfigReader {
    pub(super) table: Table,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) origins: HashMap<String, Origin>,
    /// The deadline of a check, once it is known.
    pub(super) timeout: Duration,
    pub(super) notes: Vec<String>,
    /// What the configuration is made from besides the environment.
    pub(super) files: Vec<PathBuf>,
    certificates: CertificateFiles,
}

impl ConfigReader {
    /// The caches of the file, then those of the environment, then those that only Django's setting names.
    pub(super) fn caches(&mut self) -> Vec<CacheConfig> {
        let written = self.take_table("caches");
        let django = self.django();
        let overridden: Vec<_> = written.0.iter().map(|entry| entry.key.clone()).collect();
        let mut found: Vec<(CacheReader, CacheConfig)> = Vec::new();
        for TableEntry { key, key_place, value } in written.0 {
            let Some(mut reading) = self.reading(&key, key_place) else { continue };
            let ValueKind::Table(mut table) = value.kind else {
                self.problems.push(no_table(&key, &value.place));
                continue;
            };
            let unknown: Vec<_> = table.unknown(keys::CACHE).collect();
            if !unknown.is_empty() {
                self.problems.extend(unknown);
                continue;
            }
            let besides = Besides { checks: table.take("checks"), breaker: table.take("breaker") };
            // An entry that says no more than what its backend is tells what Django's entry is, and one that only adds
            // to it leaves all else to that.
            let backend = match (django.get(&key), table.0.as_slice(), table.get("backend")) {
                (Some(entry), [_], Some(told)) => django::backend(&mut reading, entry, Some(told)),
                (Some(entry), [], None) if besides.are_some() => django::backend(&mut reading, entry, None),
                _ => reading.backend(&table),
            };
            self.keep(&mut found, reading, backend, besides);
        }
        for TableEntry { key, key_place, value } in django.0 {
            if overridden.contains(&key) {
                continue;
            }
            let Some(mut reading) = self.reading(&key, key_place) else { continue };
            let backend = django::backend(&mut reading, &value, None);
            self.keep(&mut found, reading, backend, Besides::default());
        }
        // A cache that could not be read is not missing.
        if self.problems.is_empty() {
            self.problems.extend(chains::check(&found));
            self.problems.extend(same_names(&found));
        }
        found.into_iter().map(|(_, cache)| cache).collect()
    }

    /// The entries of Django's `CACHES`, if there is a file of them.
    fn django(&mut self) -> Table {
        let Some(value) = self.table.get("django_caches") else { return Table::default() };
        self.origins.insert("django_caches".to_owned(), value.place.origin());
        let read = value.text().and_then(|path| {
            let path = value.place.resolve(path);
            let table = django::read(&path, &value.place);
            self.files.push(path);
            table
        });
        self.told(read).unwrap_or_default()
    }

    pub(super) fn take_table(&mut self, key: &str) -> Table {
        let Some(value) = self.table.take(key) else { return Table::default() };
        self.told(value.into_table()).unwrap_or_default()
    }

    fn reading(&mut self, alias: &str, place: Place) -> Option<CacheReader> {
        match Alias::try_from(alias) {
            Ok(alias) => Some(CacheReader::new(alias, place, self.timeout)),
            Err(error) => {
                self.problems.push(place.problem(error));
                None
            }
        }
    }

    /// Takes over what was found out about one cache.
    fn keep(
        &mut self,
        found: &mut Vec<(CacheReader, CacheConfig)>,
        mut reading: CacheReader,
        backend: Result<Backend, ConfigProblem>,
        besides: Besides,
    ) {
        let cache = backend.and_then(|backend| {
            let Besides { checks, breaker } = besides;
            let checks = checks.map(|checks| reading.checks(checks, &backend)).transpose()?;
            let breaker = breaker.map(|breaker| reading.breaker(breaker, &backend)).transpose()?;
            reading.files.extend(backend.certificate_files().cloned());
            let certificates = self.certificates.contents(backend.certificate_files());
            let (alias, checks) = (reading.alias.clone(), checks.unwrap_or_default());
            Ok(CacheConfig { alias, backend, checks, breaker, certificates })
        });
        match cache {
            Ok(cache) => {
                self.notes.append(&mut reading.notes);
                self.files.append(&mut reading.files);
                for (key, origin) in std::mem::take(&mut reading.origins) {
                    self.origins.insert(format!("caches.{}.{key}", reading.alias), origin);
                }
                found.push((reading, cache));
            }
            Err(problem) => self.problems.push(problem.about(&reading.alias)),
        }
    }
}

/// What is said of a cache besides what it is.
#[derive(Default)]
struct Besides {
    checks: Option<Value>,
    breaker: Option<Value>,
}

impl Besides {
    fn are_some(&self) -> bool {
        self.checks.is_some() || self.breaker.is_some()
    }
}

fn no_table(alias: &str, place: &Place) -> ConfigProblem {
    place.problem(match place {
        Place::Variable(name) => format!("this is the name of a cache; did you mean {name}__URL?"),
        Place::File(..) | Place::Flag(_) => {
            format!("a cache is a table; write [caches.{alias}] and url = \"...\" under it")
        }
    })
}

/// A problem for each cache that is called what a check of another is called in every answer.
fn same_names(caches: &[(CacheReader, CacheConfig)]) -> Vec<ConfigProblem> {
    let names: HashMap<String, (&Alias, outcome::CheckKind)> = caches
        .iter()
        .flat_map(|(_, cache)| groups::checks(cache))
        .map(|(alias, kind)| (format!("{alias}.{kind}"), (alias, kind)))
        .collect();
    let same = |(reading, _): &(CacheReader, CacheConfig)| {
        let (alias, kind) = names.get(reading.alias.as_str())?;
        Some(reading.problem(format_args!(
            "`{}` is what the check `{kind}` of the cache `{alias}` is called; give this cache another name",
            reading.alias
        )))
    };
    caches.iter().filter_map(same).collect()
}

/// A problem if no cache is configured at all. One in which every cache is skipped is found where they are
/// read.
fn nothing(config: &Config, file: Option<&Path>) -> Option<ConfigProblem> {
    const FILE: &str =
        "no cache is configured; add one, as in\n\n[caches.default]\nurl = \"redis://host:6379/0\"";
    const NO_FILE: &str = "no cache is configured; give a config file with `-c FILE` or \
                           CACHE_CANARY_CONFIG=FILE, or name a cache in the environment, as in \
                           CACHE_URL=redis://host:6379/0";
    config.caches.is_empty().then(|| match file {
        Some(path) => ConfigProblem::new(format_args!("{}: {FILE}", path.display())),
        None => ConfigProblem::new(NO_FILE),
    })
}
