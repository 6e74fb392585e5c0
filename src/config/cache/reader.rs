//! [`CacheReader`]: one cache while it is read, and what Django's setting and `[caches.ALIAS]` have in common.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::alias::Alias;
use crate::config::checks::Client;
use crate::config::keys::{self, BackendKind};
use crate::config::place::{ConfigProblem, Origin, Place};
use crate::config::value::{Table, Value, is_quoted, one_of, unless};
use crate::config::{Backend, Secret, text_file};
use crate::outcome::{Forwarding, SkipReason};

/// The alias to which a forwarding cache forwards if nothing else is said: `DEFAULT_FORWARD_CACHE_ALIAS` of
/// `djblets.cache.forwarding_backend`.
const FORWARDED: &str = "forwarded_backend";

/// The most canaries that are written to a server in a round.
pub(in crate::config) const MAX_SPRAY: u32 = 1024;

/// One cache while it is read, and what is found out about it besides its backend.
pub(in crate::config) struct CacheReader {
    pub(in crate::config) alias: Alias,
    /// The place of its name.
    pub(in crate::config) place: Place,
    /// The deadline of its checks.
    pub(in crate::config) timeout: Duration,
    /// The origins of its values, by the key that `config show` gives each.
    pub(in crate::config) origins: BTreeMap<String, Origin>,
    /// Notes to the operator although nothing is wrong.
    pub(in crate::config) notes: Vec<String>,
    /// The place that names the alias to which it forwards, if one does.
    pub(in crate::config) forwards: Option<Place>,
    /// The files that were read for it, or are going to be.
    pub(in crate::config) files: Vec<PathBuf>,
    /// The application's client of memcached, if Django's setting tells it, and the place that does.
    pub(in crate::config) client: Option<(Client, Place)>,
    /// `true` if a user needs no password, since the users are only listed.
    pub(in crate::config) users_alone: bool,
    /// `true` if it is skipped where Django's setting gives it a backend that is not known.
    pub(in crate::config) skips_unknown: bool,
    /// The problem for which it is skipped, if it is.
    pub(in crate::config) unknown: Option<ConfigProblem>,
    /// `true` if it is that of a target, one of many that are alike.
    pub(in crate::config) is_target: bool,
}

/// An address, as it was written.
pub(in crate::config) struct WrittenAddress<'a> {
    pub(in crate::config) text: String,
    pub(in crate::config) value: &'a Value,
    /// `true` if the text is in the file for every reader of it, and not elsewhere by `${NAME}` or `url_file`.
    pub(in crate::config) literal: bool,
}

impl CacheReader {
    pub(in crate::config) fn new(alias: Alias, place: Place, timeout: Duration) -> Self {
        Self {
            alias,
            place,
            timeout,
            origins: BTreeMap::new(),
            notes: Vec::new(),
            forwards: None,
            files: Vec::new(),
            client: None,
            users_alone: false,
            skips_unknown: true,
            unknown: None,
            is_target: false,
        }
    }

    /// A problem with the cache as a whole.
    pub(in crate::config) fn problem(&self, what: impl Display) -> ConfigProblem {
        self.place.problem(what)
    }

    /// Skips the cache for a part that is not known, or returns the problem that it is.
    pub(in crate::config) fn unknown(
        &mut self,
        what: &'static str,
        problem: ConfigProblem,
    ) -> Result<Backend, ConfigProblem> {
        if !self.skips_unknown {
            return Err(problem);
        }
        self.notes.push(format!("{}: not checked: {}", self.alias, problem.what));
        self.unknown = Some(problem.about(&self.alias));
        Ok(Backend::Unchecked(SkipReason::Unknown { what }))
    }

    /// Remembers where the values of these keys came from.
    pub(in crate::config) fn came_from(&mut self, keys: &[&str], place: &Place) {
        self.origins.extend(keys.iter().map(|key| ((*key).to_owned(), place.origin())));
    }

    /// The value of a key, read by `read`, if it is there; its origin is remembered.
    pub(in crate::config) fn said<T>(
        &mut self,
        table: &Table,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, ConfigProblem>,
    ) -> Result<Option<T>, ConfigProblem> {
        let Some(value) = table.get(key) else { return Ok(None) };
        self.came_from(&[key], &value.place);
        read(value).map(Some)
    }

    /// Adds the user and the password that keys give to those of the URL, which may not name them as well.
    pub(in crate::config) fn credentials(
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
            unless(username.is_some(), value, "the URL has a user as well; keep one of the two")?;
            *username = Some(value.text()?.to_owned());
            self.came_from(&["username"], &value.place);
        }
        if let Some((key, value)) = one_of(table, keys::alternatives(keys::CACHE, "password"))? {
            unless(password.is_some(), value, "the URL has a password as well; keep one of the two")?;
            // A password that does not last is read by `config::password`.
            if !matches!(key, "password_command" | "auth") {
                *password = Some(self.password(key, value)?);
                self.came_from(&["password"], &value.place);
            }
        }
        if let Some(password) = password {
            self.note_unusual(password.expose_secret());
        }
        Ok(())
    }

    /// Takes note of a password that is hardly meant as it is: a reference that nothing has expanded, or several lines.
    fn note_unusual(&mut self, password: &str) {
        let unusual = if password.trim_end().contains('\n') {
            "has several lines, which are all sent; keep the password alone in its file"
        } else if password.starts_with("$(") && password.ends_with(')') {
            "is a reference in the form $(NAME), which is sent as it is; Kubernetes expands it only if the variable NAME \
             is defined before it in `env` of the same container"
        } else {
            return;
        };
        self.notes.push(format!("{}: its password {unusual}", self.alias));
    }

    /// A password, from a key or from the file that the key names.
    pub(in crate::config) fn password(&mut self, key: &str, value: &Value) -> Result<Secret, ConfigProblem> {
        if key.ends_with("_file") {
            let password = text_file::secret(value, &mut self.files)?;
            self.note_quotes(&password);
            return Ok(Secret::from(password));
        }
        let password = value.text()?;
        unless(
            password.is_empty(),
            value,
            "the password is empty; set it, or remove this if the server has none",
        )?;
        if value.literal {
            self.note_password(value, "its password", "password_file or ${NAME}");
        }
        self.note_quotes(password);
        Ok(Secret::from(password))
    }

    /// Takes note of quotes around a password, which come from a file that a shell was meant to read.
    fn note_quotes(&mut self, password: &str) {
        if is_quoted(password) {
            self.notes.push(format!(
                "{}: its password begins and ends with quotes, which are sent as part of it; remove them where the \
                 password is set, if they are not",
                self.alias
            ));
        }
    }

    /// Takes note that a password is there for every reader of the file, and what would keep it out.
    pub(in crate::config) fn note_password(&mut self, value: &Value, whose: &str, instead: &str) {
        if let Origin::File { path, line } = value.place.origin() {
            self.notes.push(format!(
                "{}: {whose} is in {}:{line}; use {instead} to keep it out of the file",
                self.alias,
                path.display()
            ));
        }
    }

    /// Takes note that the password goes to a view without TLS, and to the cache itself with it.
    pub(in crate::config) fn note_plain(&mut self, view: &str) {
        self.notes.push(format!(
            "{}: its password is sent to the view {view} without TLS; begin its URL with rediss:// or \
             memcacheds://, or give it a user of its own",
            self.alias
        ));
    }

    /// The number of canaries written to each server.
    pub(in crate::config) fn spray(&mut self, table: &Table) -> Result<usize, ConfigProblem> {
        let spray = self.said(table, "spray", |value| value.number_between("spray", 1, MAX_SPRAY))?;
        Ok(spray.unwrap_or(1) as usize)
    }
}

/// The kind that a `backend` names.
pub(in crate::config) fn backend_kind(value: &Value) -> Result<BackendKind, ConfigProblem> {
    value.word("backend", &BackendKind::ALL.map(|kind| (kind.name(), kind)))
}

/// A cache that forwards to the alias that `location` names.
pub(in crate::config) fn forwarding(
    reading: &mut CacheReader,
    location: Option<&Value>,
) -> Result<Backend, ConfigProblem> {
    let Some(value) = location else {
        let to = Alias::try_from(FORWARDED).map_err(|error| reading.place.problem(error))?;
        return Ok(Backend::forwarding_to(to));
    };
    let to = Alias::try_from(value.text()?).map_err(|error| value.problem(error))?;
    reading.came_from(&["location"], &value.place);
    reading.forwards = Some(value.place.clone());
    Ok(Backend::forwarding_to(to))
}

/// The reason why `key` means nothing for a cache that is not checked: it `lacks` something.
pub(in crate::config) fn refusal(reason: &SkipReason, lacks: &str, key: &str) -> String {
    let what = match reason {
        SkipReason::Forwards(Forwarding { to, .. }) => {
            return format!("a forwarding cache {lacks}; set {key} in [caches.{to}], its target");
        }
        SkipReason::LocalMemory => "in the application's memory",
        SkipReason::NoServer { kind } => &format!("that is {kind}"),
        SkipReason::Unknown { what } => &format!("of an unknown {what}"),
    };
    format!("a cache {what} {lacks}; move this to a Redis or memcached cache, or remove it")
}
