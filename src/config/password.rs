//! [`Password`]: the password of a login at a Redis, or the source of passwords that do not last.
//!
//! All logins of an alias share one source, so the passwords that it has given are kept here: `redaction` hides them, and
//! `cache/redis/credentials.rs` renews them.

mod aws;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use super::Secret;
use super::cache::reader::CacheReader;
use super::place::ConfigProblem;
use super::value::{Table, unless};
use crate::alias::Alias;
use crate::mutex::Mutex;

pub use aws::{AwsAuth, AwsService};

/// The default of `password_ttl`: a third of the shortest usual life of a token, the 15 minutes of AWS. A password that a
/// server refuses is renewed sooner.
const TTL: Duration = Duration::from_mins(5);

/// The longest `password_ttl`.
const MAX_TTL: Duration = Duration::from_hours(24);

/// The number of passwords that are hidden in servers' texts: a connection may have logged in with an earlier one.
const REMEMBERED: usize = 4;

/// The password of a login at a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Password {
    /// This text.
    Fixed(Secret),
    /// A password that does not last.
    ShortLived(Arc<PasswordSource>),
}

/// A source of passwords that do not last.
pub struct PasswordSource {
    /// The alias whose logins it is for.
    pub(crate) alias: Alias,
    /// The way to a new password.
    pub(crate) minting: Minting,
    /// Held while a new password is made, so that one is made at a time.
    pub(crate) turn: Arc<Turn<()>>,
    recent: Mutex<Recent>,
}

/// The way to a new password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Minting {
    /// A program prints it.
    Command {
        /// The program and its arguments.
        command: Vec<Secret>,
        /// The time after which the program runs again, if it prints no expiry.
        ttl: Duration,
    },
    /// It is a token that is signed here, for a cache of AWS.
    Aws(Box<AwsAuth>),
}

impl Minting {
    /// The secret parts of a password. The rest of a token of AWS has words that servers use too, such as `connect`.
    fn secrets(&self, password: &Secret) -> Vec<Secret> {
        match self {
            Self::Command { .. } => vec![password.clone()],
            Self::Aws(_) => {
                let parts = password.expose_secret().split('&').filter_map(|part| {
                    let (name, secret) = part.split_once('=')?;
                    matches!(name, "X-Amz-Signature" | "X-Amz-Security-Token").then_some(secret)
                });
                parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned().into()).collect()
            }
        }
    }
}

/// The latest results.
#[derive(Debug, Default)]
struct Recent {
    /// The passwords that were made, the last one first.
    made: Vec<MadePassword>,
    /// `true` if a server has refused the first of them.
    is_refused: bool,
    /// The failure of the last attempt, and its start; none after a success.
    failure: Option<(Instant, MintFailure)>,
    /// The start of the present attempt, or of the last one.
    started: Option<Instant>,
}

/// A password that was made.
#[derive(Debug, Clone)]
pub(crate) struct MadePassword {
    pub(crate) secret: Secret,
    /// The time after which the next one is made.
    pub(crate) due: Instant,
    /// The time from which it is not used.
    pub(crate) expires: Option<SystemTime>,
    /// The time at which its making began.
    pub(crate) started: Instant,
}

/// The reason why no password was made.
#[derive(Debug, Clone)]
pub(crate) struct MintFailure {
    /// In words of our own.
    pub(crate) what: String,
    /// The first line of a program's errors, which may hold secrets.
    pub(crate) said: Option<Box<str>>,
    /// `true` if the sidecar itself lacks a resource.
    pub(crate) is_own: bool,
}

impl<T: Into<String>> From<T> for MintFailure {
    fn from(what: T) -> Self {
        Self { what: what.into(), said: None, is_own: false }
    }
}

impl MadePassword {
    fn is_usable(&self) -> bool {
        self.expires.is_none_or(|expires| SystemTime::now() < expires)
    }
}

impl Password {
    /// `true` unless it is an empty text.
    pub(crate) fn is_given(&self) -> bool {
        match self {
            Self::Fixed(secret) => super::cache::redis::is_given(Some(secret)),
            Self::ShortLived(_) => true,
        }
    }

    /// The login by AWS IAM, if it is one.
    pub(crate) fn aws(&self) -> Option<&AwsAuth> {
        let Self::ShortLived(source) = self else { return None };
        match &source.minting {
            Minting::Command { .. } => None,
            Minting::Aws(aws) => Some(aws),
        }
    }
}

impl PasswordSource {
    /// The source of an alias: the one that an earlier configuration has, so that a reload keeps its password.
    fn of(alias: Alias, minting: Minting) -> Arc<Self> {
        static KNOWN: Mutex<Vec<Weak<PasswordSource>>> = Mutex::new(Vec::new());
        let new = Self { alias, minting, turn: Arc::default(), recent: Mutex::default() };
        let mut known = KNOWN.lock();
        known.retain(|source| source.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|source| **source == new);
        same.unwrap_or_else(|| {
            let source = Arc::new(new);
            known.push(Arc::downgrade(&source));
            source
        })
    }

    /// The expiry of the present password, if it is known.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.recent.lock().made.first()?.expires
    }

    /// The setting that asks for it.
    pub(crate) fn setting(&self) -> &'static str {
        match self.minting {
            Minting::Command { .. } => "password_command",
            Minting::Aws(_) => "auth.aws",
        }
    }

    /// The last password, if it is neither refused nor expired.
    pub(crate) fn usable(&self) -> Option<MadePassword> {
        let recent = self.recent.lock();
        let last = recent.made.first().filter(|last| !recent.is_refused && last.is_usable());
        last.cloned()
    }

    /// The same, if it need not be renewed for a dial that began at `began`.
    pub(crate) fn present(&self, began: Instant) -> Option<MadePassword> {
        self.usable().filter(|last| Instant::now() < last.due || began <= last.started)
    }

    /// The failure of the last attempt, if that began at `since` or later.
    pub(crate) fn failure(&self, since: Option<Instant>) -> Option<MintFailure> {
        let recent = self.recent.lock();
        let (_, failure) = recent.failure.as_ref().filter(|(started, _)| Some(*started) >= since)?;
        Some(failure.clone())
    }

    /// The start of the present attempt, or of the last one.
    pub(crate) fn started(&self) -> Option<Instant> {
        self.recent.lock().started
    }

    /// Takes note that an attempt begins.
    pub(crate) fn begin(&self) -> Instant {
        let now = Instant::now();
        self.recent.lock().started = Some(now);
        now
    }

    /// Takes note of a new password.
    pub(crate) fn made(&self, password: MadePassword) {
        let mut recent = self.recent.lock();
        // The same password again pushes out no earlier one.
        recent.made.retain(|earlier| earlier.secret != password.secret);
        recent.made.insert(0, password);
        recent.made.truncate(REMEMBERED);
        recent.is_refused = false;
        if recent.failure.take().is_some() {
            tracing::info!(alias = %self.alias, "{} gives passwords again", self.setting());
        }
    }

    /// Takes note of a failure. Only the first is logged, without the words of others.
    pub(crate) fn failed(&self, started: Instant, failure: MintFailure) {
        let what = failure.what.clone();
        let earlier = self.recent.lock().failure.replace((started, failure));
        if earlier.is_none() && self.usable().is_some() {
            let setting = self.setting();
            tracing::warn!(alias = %self.alias, "{setting} {what}; the last password is used until it expires or is refused");
        }
    }

    /// Takes note that a server has refused a password. `true` if another one may be had for a dial that began at `began`.
    pub(crate) fn refused(&self, secret: &Secret, began: Instant) -> bool {
        let mut recent = self.recent.lock();
        let Some(started) =
            recent.made.first().filter(|last| last.secret == *secret).map(|last| last.started)
        else {
            return true;
        };
        recent.is_refused = true;
        started < began
    }

    /// The passwords that a server may quote.
    pub(crate) fn known(&self) -> Vec<Secret> {
        self.recent.lock().made.iter().flat_map(|made| self.minting.secrets(&made.secret)).collect()
    }
}

/// Without the passwords: the text tells configurations apart, see `checker/fleet.rs`.
impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.minting.fmt(f)
    }
}

/// Two sources are the same if they make passwords in the same way.
impl PartialEq for PasswordSource {
    fn eq(&self, other: &Self) -> bool {
        (&self.alias, &self.minting) == (&other.alias, &other.minting)
    }
}

impl Eq for PasswordSource {}

impl Hash for PasswordSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.alias, &self.minting).hash(state);
    }
}

/// The source of the passwords of a cache, if it has one.
pub(super) fn read(reading: &mut CacheReader, table: &Table) -> Result<Option<Password>, ConfigProblem> {
    let command = reading.said(table, "password_command", |value| {
        const FORM: &str = "`password_command` must be a list that begins with the absolute path of a program, such as \
                            [\"/usr/bin/vault\", \"read\"]; no shell reads it, and PATH is not searched";
        let words = value.texts()?;
        let is_path = words.first().is_some_and(|(program, _)| program.starts_with('/'));
        let is_line = matches!(words[..], [(line, _)] if line.contains(' '));
        unless(!is_path || is_line, value, FORM)?;
        Ok(words.into_iter().map(|(word, _)| Secret::from(word)).collect())
    })?;
    let ttl = reading.said(table, "password_ttl", |value| {
        unless(command.is_none(), value, "this setting requires `password_command`; add it, or remove this")?;
        value.duration("password_ttl", Duration::ZERO, MAX_TTL)
    })?;
    let aws = reading.said(table, "auth", aws::read)?.map(|aws| Minting::Aws(Box::new(aws)));
    let minting = command.map(|command| Minting::Command { command, ttl: ttl.unwrap_or(TTL) }).or(aws);
    let source = minting.map(|minting| PasswordSource::of(reading.alias.clone(), minting));
    Ok(source.map(Password::ShortLived))
}
