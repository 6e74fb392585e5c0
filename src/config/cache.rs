//! `[caches]`: every cache, each turned from its raw values into its [`Backend`].

mod breaker;
mod chains;
pub(super) mod expiry;
pub(super) mod memcached;
pub(super) mod named;
pub(super) mod reader;
pub(super) mod redis;
mod required;
pub(super) mod shards;
pub(super) mod slow;
pub(super) mod tls;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::checks::CheckConfig;
use super::keys::{self, BackendKind};
use super::place::{ConfigProblem, Place};
use super::reader::ConfigReader;
use super::shard::Shard;
use super::targets::{self, TargetCache, Targets};
use super::value::{Table, TableEntry, Value, ValueKind, is_quoted, one_of};
use super::{Backend, CacheConfig, TargetList, address, checks, source, text_file};
use crate::alias::Alias;
use crate::outcome::{CheckKind, SkipReason};
use reader::{CacheReader, WrittenAddress, backend_kind};

/// The caches that were read.
pub(super) struct Caches {
    /// Those of this shard; all of them if there are no shards.
    pub(super) own: Vec<CacheConfig>,
    pub(super) elsewhere: Vec<Elsewhere>,
    /// The list that some of them come from.
    pub(super) targets: Option<TargetList>,
}

/// A cache of another shard, as far as it is kept.
pub(super) struct Elsewhere {
    pub(super) alias: Alias,
    pub(super) kinds: Vec<CheckKind>,
    pub(super) shard: u32,
}

/// The caches while they are read.
struct Found<'a> {
    shard: Option<&'a Shard>,
    /// Those of this shard, and those that may forward to one of them.
    kept: Vec<(CacheReader, CacheConfig)>,
    elsewhere: Vec<Elsewhere>,
    /// The notes on targets so far.
    target_notes: usize,
    target_problems: Vec<ConfigProblem>,
}

/// The caches of the file, then those of the environment, then those that only Django's setting or Sentry's names, then
/// those of targets.
pub(super) fn read(reader: &mut ConfigReader, targets: Option<Targets>, shard: Option<&Shard>) -> Caches {
    let written = reader.take_table("caches");
    let django = entries(reader, "django_caches");
    let sentry = sentry(reader, &django);
    let overridden: HashSet<_> = written.0.iter().map(|entry| entry.key.clone()).collect();
    // No target may have the alias of another cache.
    let targets = targets.map(|targets| {
        let sources = [("sentry_redis", &sentry), ("django_caches", &django), ("[caches]", &written)];
        let names = |(setting, table): (_, &Table)| -> Vec<_> {
            table.0.iter().map(|entry| (entry.key.clone(), setting)).collect()
        };
        (targets, sources.into_iter().flat_map(names).collect())
    });
    let (kept, elsewhere, target_problems) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = Found { shard, kept, elsewhere, target_notes: 0, target_problems };
    for TableEntry { key, key_place, value } in written.0 {
        let Some(mut reading) = begun(reader, &key, key_place) else { continue };
        let ValueKind::Table(mut table) = value.kind else {
            reader.problems.push(no_table(&key, &value.place));
            continue;
        };
        let unknown: Vec<_> = table.unknown(keys::CACHE).collect();
        if !unknown.is_empty() {
            reader.problems.extend(unknown);
            continue;
        }
        let besides = table.take_all(BESIDES);
        let backend = match (django.get(&key), sentry.get(&key)) {
            (Some(entry), _) => source::django::backend(&mut reading, entry, &table),
            (None, Some(entry)) => source::sentry::backend(&mut reading, entry, &table),
            (None, None) => backend(&mut reading, &table),
        };
        keep(reader, &mut found, reading, backend, besides);
    }
    let django = django.0.into_iter().map(|entry| (entry, source::django::backend as ReadEntry));
    let sentry = sentry.0.into_iter().map(|entry| (entry, source::sentry::backend as ReadEntry));
    for (TableEntry { key, key_place, value }, read) in django.chain(sentry) {
        if overridden.contains(&key) {
            continue;
        }
        let Some(mut reading) = begun(reader, &key, key_place) else { continue };
        let backend = read(&mut reading, &value, &Table::default());
        keep(reader, &mut found, reading, backend, Table::default());
    }
    let targets = targets.and_then(|(targets, taken)| {
        targets.each_cache(reader, &taken, |reader, TargetCache { alias, place, mut table }| {
            let Some(mut reading) = begun(reader, &alias, place) else { return };
            reading.is_target = true;
            let besides = table.take_all(BESIDES);
            let backend = backend(&mut reading, &table);
            keep(reader, &mut found, reading, backend, besides);
        })
    });
    found.tell(reader);
    // A cache that could not be read is not missing.
    if reader.problems.is_empty() {
        reader.problems.extend(chains::check(&found.kept, &found.elsewhere));
        reader.problems.extend(same_names(&found));
    }
    let Found { kept, mut elsewhere, .. } = found;
    let mut own: Vec<_> = kept.into_iter().map(|(_, cache)| cache).collect();
    if reader.problems.is_empty() {
        chains::follow(&mut own);
    }
    if let Some(shard) = shard {
        // A forwarding cache is where its target is.
        let place = |cache: &CacheConfig| match &cache.backend {
            Backend::Unchecked(_) => shard.of(cache.forwarding().map_or(&cache.alias, |to| &to.end)),
            Backend::Redis(_) | Backend::Memcached(_) => shard.index,
        };
        let others = own.extract_if(.., |cache| place(cache) != shard.index);
        elsewhere.extend(others.map(|other| {
            let shard = place(&other);
            Elsewhere { alias: other.alias, kinds: Vec::new(), shard }
        }));
    }
    Caches { own, elsewhere, targets }
}

/// Reads an entry of another program's setting, below a table of the file.
type ReadEntry = fn(&mut CacheReader, &Value, &Table) -> Result<Backend, ConfigProblem>;

/// The clusters of Sentry's `redis.clusters`, none of which may have the name of a cache of Django's.
fn sentry(reader: &mut ConfigReader, django: &Table) -> Table {
    let entries = entries(reader, "sentry_redis");
    let clusters = reader.told(source::sentry::clusters(entries)).unwrap_or_default();
    if let Some(entry) = clusters.0.iter().find(|entry| django.get(&entry.key).is_some()) {
        let what = "django_caches has a cache of this name; rename one of the two";
        reader.problems.push(entry.key_place.problem(what));
    }
    clusters
}

/// The entries of the file that a setting names, if there is one.
fn entries(reader: &mut ConfigReader, setting: &str) -> Table {
    let Some(value) = reader.table.get(setting) else { return Table::default() };
    reader.origins.insert(setting.to_owned(), value.place.origin());
    let read = value.text().and_then(|path| {
        if path == source::django::STANDARD_INPUT {
            return source::django::read(setting, Path::new(path), &value.place, &mut reader.notes);
        }
        let path = value.place.resolve(path);
        let table = source::django::read(setting, &path, &value.place, &mut reader.notes);
        reader.files.push(path);
        table
    });
    reader.told(read).unwrap_or_default()
}

fn begun(reader: &mut ConfigReader, alias: &str, place: Place) -> Option<CacheReader> {
    match Alias::try_from(alias) {
        Ok(alias) => {
            let (users_alone, skips_unknown) = (reader.users_alone, reader.skips_unknown);
            Some(CacheReader { users_alone, skips_unknown, ..CacheReader::new(alias, place, reader.timeout) })
        }
        Err(error) => {
            reader.problems.push(place.problem(error));
            None
        }
    }
}

/// The keys that are read once the backend is known, whatever named it.
const BESIDES: &[&str] = &["checks", "identity", "use", "breaker", "required", "slow", "expires_within"];

/// Takes over the findings about one cache.
fn keep(
    reader: &mut ConfigReader,
    found: &mut Found<'_>,
    mut reading: CacheReader,
    backend: Result<Backend, ConfigProblem>,
    mut besides: Table,
) {
    let cache = backend.and_then(|backend| {
        let policy = checks::policy::read(&mut reading, besides.get("use"), besides.get("checks"), &backend)?;
        let mut take = |key| besides.take(key);
        let checks = take("checks").map(|value| checks::read::read(&mut reading, value, &backend));
        // The policy comes before the others, as `use` is before their tables.
        let mut checks: Vec<_> = policy.into_iter().chain(checks.transpose()?.unwrap_or_default()).collect();
        let identity = take("identity").map(|value| checks::identity::read(&mut reading, &value, &backend));
        checks.extend(identity.transpose()?.flatten().map(CheckConfig::Identity));
        let breaker =
            take("breaker").map(|value| breaker::read(&mut reading, value, &backend)).transpose()?;
        let required = take("required").map(|value| required::read(&mut reading, &value, &backend));
        let required = required.transpose()?.unwrap_or(true);
        let slow = take("slow").map(|value| slow::read_own(&mut reading, &value, &backend));
        let slow = slow.transpose()?.unwrap_or(reader.slow);
        let expires_within = take("expires_within").map(|value| expiry::read(&mut reading, &value, &backend));
        let expires_within = expires_within.transpose()?;
        let views = checks.iter().flat_map(checks::CheckConfig::views).map(|view| &view.backend);
        let backends: Vec<_> = std::iter::once(&backend).chain(views).collect();
        tls::note_names(&mut reading, &backend);
        let files = || backends.iter().flat_map(|backend| backend.certificate_files());
        reading.files.extend(files().cloned());
        let certificates = reader.certificates.contents(files());
        let alias = reading.alias.clone();
        Ok(CacheConfig { alias, backend, checks, breaker, required, slow, expires_within, certificates })
    });
    match cache {
        Ok(cache) => {
            if let Some(shard) = found.elsewhere(&cache) {
                let kinds = cache.kinds().collect();
                found.elsewhere.push(Elsewhere { alias: cache.alias, kinds, shard });
                return;
            }
            // Several servers of a cache may be worth the same note.
            let mut seen = HashSet::new();
            reading.notes.retain(|note| seen.insert(note.clone()));
            found.note(reader, &mut reading);
            reader.files.append(&mut reading.files);
            for (key, origin) in std::mem::take(&mut reading.origins) {
                reader.origins.insert(format!("caches.{}.{key}", reading.alias), origin);
            }
            found.kept.push((reading, cache));
        }
        Err(problem) if reading.is_target => {
            found
                .target_problems
                .push(problem.at_target(&format!("cache `{}`", reading.alias), &reading.place));
        }
        Err(problem) => reader.problems.push(problem.about(&reading.alias)),
    }
}

/// Reads a cache whose keys are all known.
pub(super) fn backend(reading: &mut CacheReader, table: &Table) -> Result<Backend, ConfigProblem> {
    let server = server(reading, table)?;
    let kind = kind(reading, table, server.as_ref())?;
    if let Some(entry) = table.0.iter().find(|entry| kind.keys().all(|key| key != entry.key)) {
        return Err(entry.key_place.problem(foreign_key(kind, &entry.key)));
    }
    let place = table.get("backend").or(server.as_ref().map(|server| server.value));
    let place = place.map_or(&reading.place, |value| &value.place).clone();
    reading.came_from(&["backend"], &place);
    match (kind, server) {
        (BackendKind::LocalMemory, _) => Ok(Backend::Unchecked(SkipReason::LocalMemory)),
        (BackendKind::Forwarding, _) => reader::forwarding(reading, table.get("location")),
        (BackendKind::Redis, Some(server)) => redis::read(reading, table, &server),
        (BackendKind::Memcached, Some(server)) => memcached::read(reading, table, &server),
        (BackendKind::Redis, None) => {
            Err(reading.problem("no server is given; add url = \"redis://host:6379/0\""))
        }
        (BackendKind::Memcached, None) => {
            Err(reading.problem("no server is given; add servers = [\"host:11211\"]"))
        }
    }
}

/// The value that names the server.
fn server<'a>(
    reading: &mut CacheReader,
    table: &'a Table,
) -> Result<Option<WrittenAddress<'a>>, ConfigProblem> {
    let Some((key, value)) = one_of(table, keys::alternatives(keys::CACHE, "url"))? else {
        return Ok(None);
    };
    let (text, literal) = match key {
        "url_file" => (text_file::secret(value, &mut reading.files)?, false),
        "servers" | "location" if matches!(value.kind, ValueKind::List(_)) => (String::new(), false),
        "servers" if matches!(value.kind, ValueKind::Table(_)) => (String::new(), false),
        _ => (value.text()?.to_owned(), value.literal),
    };
    if is_quoted(&text) {
        return Err(
            value.problem("the address begins and ends with quotes, which are part of it; remove them")
        );
    }
    if matches!(key, "url" | "url_file") && !address::is_url(&text) {
        return Err(value.problem(address::NO_SCHEME));
    }
    Ok(Some(WrittenAddress { text, value, literal }))
}

/// The kind of cache that an address alone implies, if there is one that does.
pub(super) fn kind_of_address(table: &Table) -> Option<BackendKind> {
    let text =
        |key: &str| table.get(key).and_then(|value| value.text().ok()).filter(|text| address::is_url(text));
    match text("url").or_else(|| text("location")) {
        Some(url) if address::is_memcached_url(url) => Some(BackendKind::Memcached),
        Some(_) => Some(BackendKind::Redis),
        None => table.get("servers").map(|_| kind_of_servers(table)),
    }
}

/// The kind of a list of servers: a topology is Redis', and so are URLs.
fn kind_of_servers(table: &Table) -> BackendKind {
    let servers = table.get("servers").and_then(|servers| named::written(servers, keys::SHARD).ok());
    let redis = |text: &str| address::is_url(text) && !address::is_memcached_url(text);
    if table.get("topology").is_some() || servers.into_iter().flatten().any(|server| redis(server.text)) {
        return BackendKind::Redis;
    }
    BackendKind::Memcached
}

fn kind(
    reading: &CacheReader,
    table: &Table,
    server: Option<&WrittenAddress<'_>>,
) -> Result<BackendKind, ConfigProblem> {
    if let Some(backend) = table.get("backend") {
        return backend_kind(backend);
    }
    match server {
        Some(server) if address::is_memcached_url(&server.text) => Ok(BackendKind::Memcached),
        Some(server) if address::is_url(&server.text) => Ok(BackendKind::Redis),
        Some(_) if table.get("servers").is_some() => Ok(kind_of_servers(table)),
        Some(_) => Err(reading.problem(
            "a location needs a backend; add backend = \"redis\", \"memcached\" or \
             \"forwarding\"",
        )),
        None => Err(reading.problem(
            "no server is given; add url = \"redis://host:6379/0\" or \
             \"memcached://host:11211\", or a backend",
        )),
    }
}

fn foreign_key(kind: BackendKind, key: &str) -> String {
    if kind == BackendKind::Memcached && matches!(key, "password_command" | "password_ttl" | "auth") {
        return "memcached has no short-lived passwords; use `password_file`, which is read again if it changes"
            .to_owned();
    }
    let keys: Vec<_> = kind.keys().collect();
    format!("a {} cache has no key `{key}`; its keys are {}", kind.name(), keys.join(", "))
}

fn no_table(alias: &str, place: &Place) -> ConfigProblem {
    place.problem(match place {
        Place::Variable(name) => format!("this is the name of a cache; did you mean {name}__URL?"),
        Place::File(..) | Place::Flag(_) => {
            format!("a cache must be a table; write [caches.{alias}] and url = \"...\" under it")
        }
    })
}

/// The most notes on targets; what is worth one is worth it for all of them.
const MOST_NOTES: usize = 10;

impl Found<'_> {
    /// Takes over the notes on a cache, and the first ones on targets.
    fn note(&mut self, reader: &mut ConfigReader, reading: &mut CacheReader) {
        if reading.is_target {
            let left = MOST_NOTES.saturating_sub(self.target_notes);
            self.target_notes += reading.notes.len();
            reading.notes.truncate(left);
        }
        reader.notes.append(&mut reading.notes);
    }

    /// Reports what was found about targets.
    fn tell(&mut self, reader: &mut ConfigReader) {
        let more = self.target_notes.saturating_sub(MOST_NOTES);
        reader.notes.extend((more > 0).then(|| format!("targets: {more} more notes such as these")));
        reader.problems.extend(targets::first(std::mem::take(&mut self.target_problems)));
    }

    /// The other shard that checks a cache. One that is not checked itself may be where its target is.
    fn elsewhere(&self, cache: &CacheConfig) -> Option<u32> {
        let own = self.shard.filter(|_| !matches!(cache.backend, Backend::Unchecked(_)))?;
        Some(own.of(&cache.alias)).filter(|shard| *shard != own.index)
    }
}

/// A problem for each cache whose name is that of another's check in every answer.
fn same_names(found: &Found<'_>) -> Vec<ConfigProblem> {
    let may_be_a_check = |alias: &Alias| {
        let end = alias.as_str().rsplit_once('.').map(|(_, end)| end);
        end.is_some_and(|end| CheckKind::ALL.iter().any(|kind| kind.name() == end))
    };
    if !found.kept.iter().any(|(reading, _)| may_be_a_check(&reading.alias)) {
        return Vec::new();
    }
    let kept = found.kept.iter().flat_map(|(_, cache)| cache.kinds().map(|kind| (&cache.alias, kind)));
    let others =
        found.elsewhere.iter().flat_map(|other| other.kinds.iter().map(|kind| (&other.alias, *kind)));
    let names: HashMap<String, (&Alias, CheckKind)> =
        kept.chain(others).map(|(alias, kind)| (format!("{alias}.{kind}"), (alias, kind))).collect();
    let same = |(reading, _): &(CacheReader, CacheConfig)| {
        let (alias, kind) = names.get(reading.alias.as_str())?;
        Some(reading.problem(format_args!(
            "`{}` is the name of the check `{kind}` of the cache `{alias}`; rename this cache",
            reading.alias
        )))
    };
    found.kept.iter().filter_map(same).collect()
}
