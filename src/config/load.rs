//! [`load`]: flags, environment, file and defaults, made into one [`Config`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::place::{ConfigProblem, Origin, Place};
use super::reader::ConfigReader;
use super::source::environment::{Environment, QUOTED};
use super::source::{file, platform};
use super::value::Table;
use super::{
    Config, FetchedTargets, HttpTargets, Listen, TargetSource, is_quoted, keys, listeners, settings, targets,
};

/// The sources of a configuration. The first to name a value wins: flags, environment, file; then defaults.
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

/// A valid configuration, and the notes on it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration in force.
    pub config: Config,
    /// The path of the TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// Notes on settings that are not wrong, but worth a look: one sentence each.
    pub notes: Vec<String>,
    origins: HashMap<String, Origin>,
    files: Vec<PathBuf>,
}

impl Source {
    /// The sources of this process: these flags, and its environment.
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
    /// The origin of a value, by its path: `timeout`, `access.allow`, `caches.main.url`.
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

/// A configuration as it was written. Its file is read once, since it may be a pipe.
#[derive(Clone)]
pub(crate) struct Draft<'a> {
    source: &'a Source,
    file: Option<PathBuf>,
    table: Table,
    problems: Vec<ConfigProblem>,
    notes: Vec<String>,
}

/// Makes a configuration, or returns everything that is wrong with it. A list of targets that a server has is missing in it.
pub fn load(source: &Source) -> Result<Loaded, ConfigError> {
    Draft::read(source)?.load(None)
}

impl<'a> Draft<'a> {
    /// Reads the file, if there is one, and the environment.
    pub(crate) fn read(source: &'a Source) -> Result<Self, ConfigError> {
        let environment = Environment(&source.environment);
        let mut problems = Vec::new();
        let (file, mut table) = raw(source, &environment, &mut problems)?;
        environment.merge_into(&mut table, &mut problems);
        let notes = match file {
            Some(_) => Vec::new(),
            None => platform::merge_into(&environment, &mut table, &mut problems),
        };
        Ok(Self { source, file, table, problems, notes })
    }

    /// The server that has the list of targets, if one has it. Problems are left to [`Self::load`].
    pub(crate) fn http_targets(&self) -> Option<HttpTargets> {
        let targets = self.table.0.iter().filter(|entry| entry.key == "targets").cloned();
        let mut reader = ConfigReader::new(Table(targets.collect()), self.file.as_deref());
        match targets::read(&mut reader)?.source() {
            TargetSource::Http(http) if reader.problems.is_empty() => Some(http.clone()),
            TargetSource::Http(_) | TargetSource::File(_) => None,
        }
    }

    /// Makes the configuration, with the list of targets if it was fetched.
    pub(crate) fn load(self, fetched: Option<FetchedTargets>) -> Result<Loaded, ConfigError> {
        self.load_with(fetched, false)
    }

    /// The same for a list of the users, which may be made before they have passwords.
    pub(crate) fn load_for_users(self, fetched: Option<FetchedTargets>) -> Result<Loaded, ConfigError> {
        self.load_with(fetched, true)
    }

    fn load_with(self, fetched: Option<FetchedTargets>, users_alone: bool) -> Result<Loaded, ConfigError> {
        let Self { source, file, table, problems, notes } = self;
        // A value that could not be filled in would be found wrong once more.
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        let mut reader =
            ConfigReader { notes, users_alone, fetched, ..ConfigReader::new(table, file.as_deref()) };
        reader.problems.extend(reader.table.unknown(keys::TOP));
        let host_name = Environment(&source.environment).host_name();
        let config = settings::read(&mut reader, &source.listen, &host_name);
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
}

/// The listeners of a configuration, as far as a caller on the same machine needs them.
pub(crate) struct OwnListeners {
    /// The listeners for everything.
    pub(crate) main: Vec<Listen>,
    /// The listeners for probes alone.
    pub(crate) probes: Vec<Listen>,
    /// The sidecar's own certificate, if TCP is with TLS.
    pub(crate) cert_file: Option<PathBuf>,
    /// `true` if callers need a certificate.
    pub(crate) wants_certificate: bool,
}

/// Reads the listeners alone: a server that runs may be asked whatever has become of its other settings and secrets.
pub(crate) fn load_listeners(source: &Source) -> Result<OwnListeners, ConfigError> {
    let environment = Environment(&source.environment);
    let (file, mut table) = raw(source, &environment, &mut Vec::new())?;
    environment.merge_into(&mut table, &mut Vec::new());
    let mut reader = ConfigReader::new(table, file.as_deref());
    let main = listeners::main(&mut reader, &source.listen, Config::default().listen);
    let probes = listeners::probes(&mut reader, &main).listen;
    let tls = reader.take_table("tls");
    let path = |key| Some(PathBuf::from(tls.get(key)?.text().ok()?));
    let (cert_file, wants_certificate) = (path("cert_file"), path("client_ca_file").is_some());
    if reader.problems.is_empty() {
        Ok(OwnListeners { main, probes, cert_file, wants_certificate })
    } else {
        Err(ConfigError::new(reader.problems))
    }
}

/// The path of the TOML file, if there is one, and what it says.
fn raw(
    source: &Source,
    environment: &Environment<'_>,
    problems: &mut Vec<ConfigProblem>,
) -> Result<(Option<PathBuf>, Table), ConfigError> {
    const VARIABLE: &str = "CACHE_CANARY_CONFIG";
    let variable = environment.get(VARIABLE).filter(|_| source.file.is_none());
    if variable.is_some_and(is_quoted) {
        return Err(Place::Variable(VARIABLE.into()).problem(QUOTED).into());
    }
    let file = source.file.clone().or_else(|| variable.map(PathBuf::from));
    let table = match &file {
        Some(path) => file::read(path, environment, problems)?,
        None => Table::default(),
    };
    Ok((file, table))
}

/// A problem if no cache is configured at all. A configuration in which every cache is skipped is refused at the
/// reading of the caches.
fn nothing(config: &Config, file: Option<&Path>) -> Option<ConfigProblem> {
    const FILE: &str =
        "no cache is configured; add one, as in\n\n[caches.default]\nurl = \"redis://host:6379/0\"";
    const NO_FILE: &str = "no cache is configured; use a config file with `-c FILE` or \
                           CACHE_CANARY_CONFIG=FILE, or set a cache in the environment, as in \
                           CACHE_URL=redis://host:6379/0";
    const EMPTY_LIST: &str = "the list of targets is empty, and no other cache is configured";
    // Another shard may have all of them.
    let is_empty = config.shard.as_ref().map_or(config.caches.is_empty(), |shard| shard.configured == 0);
    is_empty.then(|| match (&config.targets, file) {
        (Some(list), _) => ConfigProblem::new(format_args!("{}: {EMPTY_LIST}", list.source)),
        (None, Some(path)) => ConfigProblem::new(format_args!("{}: {FILE}", path.display())),
        (None, None) => ConfigProblem::new(NO_FILE),
    })
}
