//! `[caches.ALIAS]`: what was typed about one cache, turned into its [`Backend`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{self, BackendKind};
use super::place::{ConfigProblem, Origin, Place};
use super::value::{Table, Value, ValueKind as Typed, nearest};
use super::{Backend, Secret, address, secret};
use crate::alias::Alias;

/// The alias to which a forwarding cache forwards if nothing else is said: `DEFAULT_FORWARD_CACHE_ALIAS` of
/// `djblets.cache.forwarding_backend`.
const FORWARDED: &str = "forwarded_backend";

/// One cache while it is read, and what is found out about it besides its backend.
pub(super) struct CacheReader {
    pub(super) alias: Alias,
    /// Where it was named.
    pub(super) place: Place,
    /// The deadline of its checks.
    pub(super) timeout: Duration,
    /// Where its values came from, by the key that `config show` gives each.
    pub(super) origins: BTreeMap<String, Origin>,
    /// What an operator may want to know although nothing is wrong.
    pub(super) notes: Vec<String>,
    /// Where it says to which alias it forwards, if it says so.
    pub(super) forwards: Option<Place>,
    /// The files that were read for it, or are going to be.
    pub(super) files: Vec<PathBuf>,
}

/// An address, as it was written.
pub(super) struct WrittenAddress<'a> {
    pub(super) text: String,
    pub(super) value: &'a Value,
    /// Whether the text is in the file for everybody to read, and not elsewhere by `${NAME}` or `url_file`.
    literal: bool,
}

/// The kind that a `backend` names.
pub(super) fn backend_kind(value: &Value) -> Result<BackendKind, ConfigProblem> {
    let name = value.text()?;
    BackendKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names = BackendKind::ALL.map(BackendKind::name);
        value.problem(match nearest(name, &names) {
            Some(nearest) => format!("no backend is called that; did you mean \"{nearest}\"?"),
            None => format!("no backend is called that; there are {}", names.join(", ")),
        })
    })
}

impl CacheReader {
    pub(super) fn new(alias: Alias, place: Place, timeout: Duration) -> Self {
        Self {
            alias,
            place,
            timeout,
            origins: BTreeMap::new(),
            notes: Vec::new(),
            forwards: None,
            files: Vec::new(),
        }
    }

    /// A problem with the cache as a whole.
    pub(super) fn problem(&self, what: impl Display) -> ConfigProblem {
        self.place.problem(what)
    }

    /// Remembers where the values of these keys came from.
    pub(super) fn came_from(&mut self, keys: &[&str], place: &Place) {
        self.origins.extend(keys.iter().map(|key| ((*key).to_owned(), place.origin())));
    }

    /// Reads a cache whose keys are all known.
    pub(super) fn backend(&mut self, table: &Table) -> Result<Backend, ConfigProblem> {
        let server = self.server(table)?;
        let kind = self.kind(table, server.as_ref())?;
        if let Some(entry) = table.0.iter().find(|entry| kind.keys().all(|key| key != entry.key)) {
            return Err(entry.key_place.problem(foreign_key(kind, &entry.key)));
        }
        let place = table.get("backend").or(server.as_ref().map(|server| server.value));
        let place = place.map_or(&self.place, |value| &value.place).clone();
        self.came_from(&["backend"], &place);
        match (kind, server) {
            (BackendKind::LocalMemory, _) => Ok(Backend::LocalMemory),
            (BackendKind::Forwarding, _) => self.forwarding(table.get("location")),
            (BackendKind::Redis, Some(server)) => self.redis(table, &server),
            (BackendKind::Memcached, Some(server)) => self.memcached(table, &server),
            (BackendKind::Redis, None) => {
                Err(self.problem("no server is named; add url = \"redis://host:6379/0\""))
            }
            (BackendKind::Memcached, None) => {
                Err(self.problem("no server is named; add servers = [\"host:11211\"]"))
            }
        }
    }

    /// What says where the server is.
    fn server<'a>(&mut self, table: &'a Table) -> Result<Option<WrittenAddress<'a>>, ConfigProblem> {
        let Some((key, value)) = one_of(table, keys::alternatives(keys::CACHE, "url"))? else {
            return Ok(None);
        };
        let (text, literal) = match key {
            "url_file" => (secret::named_in(value, &mut self.files)?, false),
            "servers" | "location" if matches!(value.kind, Typed::List(_)) => (String::new(), false),
            _ => (value.text()?.to_owned(), value.literal),
        };
        if matches!(key, "url" | "url_file") && !address::is_url(&text) {
            return Err(value.problem(address::NO_SCHEME));
        }
        Ok(Some(WrittenAddress { text, value, literal }))
    }

    fn kind(&self, table: &Table, server: Option<&WrittenAddress<'_>>) -> Result<BackendKind, ConfigProblem> {
        if let Some(backend) = table.get("backend") {
            return backend_kind(backend);
        }
        match server {
            Some(server) if address::is_memcached_url(&server.text) => Ok(BackendKind::Memcached),
            Some(server) if address::is_url(&server.text) => Ok(BackendKind::Redis),
            Some(_) if table.get("servers").is_some() => Ok(BackendKind::Memcached),
            Some(_) => Err(self.problem(
                "a location alone does not say what is there; add backend = \"redis\", \"memcached\" or \
                 \"forwarding\"",
            )),
            None => Err(self.problem(
                "nothing says where it is; add url = \"redis://host:6379/0\" or \
                 \"memcached://host:11211\", or a backend",
            )),
        }
    }

    /// Adds the user and the password that keys give to those of the URL, which may not name them as well.
    pub(super) fn credentials(
        &mut self,
        table: &Table,
        server: &WrittenAddress<'_>,
        username: &mut Option<String>,
        password: &mut Option<Secret>,
    ) -> Result<(), ConfigProblem> {
        if password.is_some() && server.literal {
            self.note_password(server.value, "its password", "password_file or ${NAME}");
        }
        if let Some(value) = table.get("username") {
            unless(username.is_some(), value, "the URL names a user as well; keep one of the two")?;
            *username = Some(value.text()?.to_owned());
            self.came_from(&["username"], &value.place);
        }
        if let Some((key, value)) = one_of(table, keys::alternatives(keys::CACHE, "password"))? {
            unless(password.is_some(), value, "the URL holds a password as well; keep one of the two")?;
            *password = Some(self.password(key, value)?);
            self.came_from(&["password"], &value.place);
        }
        Ok(())
    }

    /// A password, from a key or from the file that the key names.
    pub(super) fn password(&mut self, key: &str, value: &Value) -> Result<Secret, ConfigProblem> {
        if key.ends_with("_file") {
            return Ok(Secret::from(secret::named_in(value, &mut self.files)?));
        }
        let password = value.text()?;
        unless(password.is_empty(), value, "the password is empty; if there is none, leave this out")?;
        if value.literal {
            self.note_password(value, "its password", "password_file or ${NAME}");
        }
        Ok(Secret::from(password))
    }

    /// Takes note that a password is there for every reader of the file, and what would keep it out.
    pub(super) fn note_password(&mut self, value: &Value, whose: &str, instead: &str) {
        if let Origin::File { path, line } = value.place.origin() {
            self.notes.push(format!(
                "{}: {whose} stands in {}:{line}; {instead} would keep it out of the file",
                self.alias,
                path.display()
            ));
        }
    }

    /// Takes note that the password goes to a view without TLS, and to the cache itself with it.
    pub(super) fn note_plain(&mut self, view: &str) {
        self.notes.push(format!(
            "{}: its password goes to the view {view} without TLS; begin its URL with rediss:// or \
             memcacheds://, or give it a user of its own",
            self.alias
        ));
    }

    /// A cache that forwards to the alias that `location` names.
    pub(super) fn forwarding(&mut self, location: Option<&Value>) -> Result<Backend, ConfigProblem> {
        let Some(value) = location else {
            let to = Alias::try_from(FORWARDED).map_err(|error| self.place.problem(error))?;
            return Ok(Backend::Forwarding { to });
        };
        let to = Alias::try_from(value.text()?).map_err(|error| value.problem(error))?;
        self.came_from(&["location"], &value.place);
        self.forwards = Some(value.place.clone());
        Ok(Backend::Forwarding { to })
    }
}

fn foreign_key(kind: BackendKind, key: &str) -> String {
    let keys: Vec<_> = kind.keys().collect();
    format!("`{key}` is no key of a {} cache; its keys are {}", kind.name(), keys.join(", "))
}

/// The one of these keys that is there, if any.
pub(super) fn one_of<'a>(
    table: &'a Table,
    keys: impl Iterator<Item = &'static str>,
) -> Result<Option<(&'static str, &'a Value)>, ConfigProblem> {
    let mut found = keys.filter_map(|key| Some((key, table.get(key)?)));
    let first = found.next();
    if let (Some((first, _)), Some((second, value))) = (first, found.next()) {
        return Err(
            value.problem(format_args!("`{second}` and `{first}` exclude each other; keep one of the two"))
        );
    }
    Ok(first)
}

/// A problem with the value where something is wrong.
pub(super) fn unless(wrong: bool, value: &Value, what: impl Display) -> Result<(), ConfigProblem> {
    if wrong { Err(value.problem(what)) } else { Ok(()) }
}
