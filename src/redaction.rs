//! [`Redaction`]: the filter for every text of a server that is shown.
//!
//! Servers quote their input, whole or cut ("unknown command 'AUTH', with args beginning with: ..."), and a proxy may
//! do so in a later answer to another command. So stars replace every run of five characters of a credential, and the
//! answer to a command that carries one is shown only as far as its sentence is known. Our own words do not pass
//! through here: stars in a sentence that the reader knows would reveal a part of the password.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod known;
mod runs;

use std::borrow::Cow;
use std::sync::Arc;

use redis::ServerError;
use secrecy::ExposeSecret;

use crate::config::{
    Address, Backend, Login, MASK, MemcachedServers, Password, PasswordSource, RedisServers, Secret, checks,
    is_quoted,
};

/// Hides the credentials of one alias in the texts of its servers. Nothing is computed before there is a text to show.
/// Its clones share one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redaction(Option<Arc<Hidden>>);

#[derive(Debug, Default)]
struct Hidden {
    credentials: Vec<Secret>,
    /// The sources of passwords that do not last.
    sources: Vec<Arc<PasswordSource>>,
    /// The hosts that the configuration names, which are not hidden.
    hosts: Vec<String>,
}

/// The user that every Redis has; its name is no secret.
const DEFAULT_USER: &str = "default";

/// The most bytes of a text that are read: far more than is shown of any.
const MOST_BYTES: usize = 2048;

/// The text in place of hidden words.
const WITHHELD: &str = "the error text is hidden, because it may contain credentials";

impl Redaction {
    /// For servers without credentials: nothing is hidden.
    #[must_use]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// For the servers of an alias, and of its views.
    #[must_use]
    pub(crate) fn of(backend: &Backend, checks: &[checks::CheckConfig]) -> Self {
        let mut hidden = Hidden::default();
        hidden.add(backend);
        let views = checks.iter().flat_map(checks::CheckConfig::views);
        views.for_each(|view| hidden.add(&view.backend));
        let is_empty = hidden.credentials.is_empty() && hidden.sources.is_empty();
        Self((!is_empty).then(|| Arc::new(hidden)))
    }

    /// For a text that may quote this secret alone.
    #[must_use]
    pub(crate) fn of_secret(secret: Secret) -> Self {
        Self(Some(Arc::new(Hidden { credentials: vec![secret], ..Hidden::default() })))
    }

    /// A server's text without the credentials. Control characters are left in it.
    #[must_use]
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redacted(text, 0, &[])
    }

    /// The same for bytes, with those that are not UTF-8 replaced.
    #[must_use]
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        let text = match self.0 {
            None => return String::from_utf8_lossy(bytes),
            Some(_) => String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]),
        };
        self.text(&text).into_owned().into()
    }

    /// The same for a host that a server names. A part that a credential shares with a configured host is no secret, so
    /// that a user `cache` does not garble `cache-2`.
    #[must_use]
    pub(crate) fn host<'a>(&self, host: &'a str) -> Cow<'a, str> {
        let hosts = self.0.as_deref().map(|hidden| hidden.hosts.as_slice());
        self.redacted(host, 0, hosts.unwrap_or_default())
    }

    /// The line of an error in words. If it redirects a client to another server, the host is shown as hosts are.
    #[must_use]
    pub(crate) fn line(&self, line: &str) -> String {
        if line.starts_with("MOVED ") || line.starts_with("ASK ") {
            return self.host(line).into_owned();
        }
        self.redacted(line, known::beginning(line).len(), &[]).into_owned()
    }

    /// The same for an answer to a command with credentials, or to one that follows before the connection is ready: a
    /// code, and a known sentence.
    #[must_use]
    pub(crate) fn greeting(&self, line: &str) -> String {
        if self.is_empty() {
            return line.to_owned();
        }
        known::sentence(line).unwrap_or_else(|| {
            let code = line.split(' ').next().filter(|code| known::is_code(code) && self.text(code) == *code);
            code.map_or_else(|| WITHHELD.to_owned(), |code| format!("{code} ({WITHHELD})"))
        })
    }

    /// The credentials.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().flat_map(|hidden| &hidden.credentials)
    }

    /// The sources of passwords that do not last.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Arc<PasswordSource>> {
        self.0.iter().flat_map(|hidden| &hidden.sources)
    }

    /// `true` if one of the credentials begins and ends with quotes.
    pub(crate) fn has_quotes(&self) -> bool {
        let credentials = self.0.iter().flat_map(|hidden| hidden.present());
        credentials.into_iter().any(|hidden| is_quoted(hidden.expose_secret()))
    }

    /// `true` if there are no credentials.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The text with each run of a credential replaced, except for runs that a text in `shown` has too. The first
    /// `known` bytes are a known sentence, and stay.
    fn redacted<'a>(&self, text: &'a str, known: usize, shown: &[String]) -> Cow<'a, str> {
        let Some(hidden) = &self.0 else { return text.into() };
        let mut end = text.len().min(MOST_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        let credentials = hidden.present();
        let credentials = credentials.iter().map(|hidden| hidden.expose_secret());
        let mut covered = runs::covered(text, credentials, shown);
        covered[..known.min(end)].fill(false);
        if !covered.contains(&true) {
            return text.into();
        }
        let mut redacted = String::with_capacity(end);
        let mut in_run = false;
        for (at, char) in text.char_indices() {
            let is_covered = covered[at..at + char.len_utf8()].contains(&true);
            match (is_covered, in_run) {
                (true, false) => redacted.push_str(MASK),
                (true, true) => {}
                (false, _) => redacted.push(char),
            }
            in_run = is_covered;
        }
        redacted.into()
    }
}

impl Hidden {
    /// The credentials, with the passwords that the sources have given lately.
    fn present(&self) -> Vec<Cow<'_, Secret>> {
        let lasting = self.credentials.iter().map(Cow::Borrowed);
        lasting.chain(self.sources.iter().flat_map(|source| source.known()).map(Cow::Owned)).collect()
    }

    fn add(&mut self, backend: &Backend) {
        let mut hosts: Vec<&Address> = Vec::new();
        match backend {
            Backend::Redis(redis) => {
                self.add_login(&redis.login);
                match &redis.servers {
                    RedisServers::Standalone(address) => hosts.push(address),
                    RedisServers::Cluster { seeds, .. } => hosts.extend(seeds),
                    RedisServers::Sentinel { sentinels, login, .. } => {
                        self.add_login(login);
                        hosts.extend(sentinels);
                    }
                    RedisServers::Shards { shards, .. } => {
                        for shard in shards {
                            self.add_login(redis.way_to(shard).0);
                            hosts.push(&shard.address);
                        }
                    }
                }
                for replica in redis.named_replicas() {
                    hosts.push(&replica.address);
                    if let Some((login, _)) = replica.own.as_deref() {
                        self.add_login(login);
                    }
                }
            }
            Backend::Memcached(memcached) => {
                if let Some((username, password)) = &memcached.login {
                    self.credentials.extend([username.as_str().into(), password.clone()]);
                }
                for server in &memcached.servers {
                    match server {
                        MemcachedServers::One(address) | MemcachedServers::Endpoint(address) => {
                            hosts.push(address);
                        }
                        MemcachedServers::EveryAddress { host, .. } => self.hosts.push(host.clone()),
                    }
                }
            }
            Backend::Unchecked(_) => {}
        }
        self.hosts.extend(hosts.into_iter().map(ToString::to_string));
    }

    /// A user without a password is not sent.
    fn add_login(&mut self, Login { username, password, .. }: &Login) {
        let Some(password) = password else { return };
        match password {
            Password::Fixed(password) => self.credentials.push(password.clone()),
            Password::ShortLived(source) => self.sources.push(source.clone()),
        }
        let username = username.as_deref().filter(|name| *name != DEFAULT_USER);
        self.credentials.extend(username.map(Secret::from));
    }
}

/// The whole line of a Redis error, for parsing and not for display.
#[must_use]
pub(crate) fn line(error: &ServerError) -> String {
    error.details().map_or_else(|| error.code().to_owned(), |words| format!("{} {words}", error.code()))
}

/// The raw text of a server, for parsing and not for display.
#[must_use]
pub(crate) fn raw(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "Jq8-Vw3%kX\"n5Tz";

    fn redaction(user: &str, password: &str) -> Redaction {
        let credentials = vec![password.into(), user.into()];
        Redaction(Some(Arc::new(Hidden {
            credentials,
            hosts: vec!["redis-0.redis:6379".to_owned()],
            ..Hidden::default()
        })))
    }

    fn shows(text: &str) -> bool {
        PASSWORD.as_bytes().windows(5).any(|run| text.contains(std::str::from_utf8(run).unwrap()))
    }

    /// The password with each byte written by `write`.
    fn spelled(write: impl Fn(u8) -> String) -> String {
        PASSWORD.bytes().map(write).collect::<Vec<_>>().concat()
    }

    #[test]
    fn five_characters_of_a_credential_in_a_row_are_hidden_at_any_cut() {
        let redaction = redaction("app", PASSWORD);
        for from in 0..PASSWORD.len() {
            for to in from..=PASSWORD.len() {
                let piece = &PASSWORD[from..to];
                let redacted = redaction.line(&format!("ERR odd '{piece}' here"));
                let expected = if piece.len() < 5 { piece } else { MASK };
                assert_eq!(redacted, format!("ERR odd '{expected}' here"));
            }
        }
    }

    #[test]
    fn a_credential_is_known_in_every_usual_spelling() {
        let redaction = redaction("app", PASSWORD);
        for spelled in [
            PASSWORD.to_lowercase(),
            PASSWORD.to_uppercase(),
            "Jq8-Vw3%kX\\\"n5Tz".to_owned(),
            spelled(|byte| format!("\\x{byte:02x}")),
            spelled(|byte| format!("%{byte:02X}")),
            spelled(|byte| format!("{byte:02x}")),
            spelled(|byte| format!("{} ", char::from(byte))),
            "Jq8-V' 'w3%kX\"' 'n5Tz".to_owned(),
            // Base64 of SASL's `\0app\0` and the password, and of the password with one and two bytes before it.
            "AGFwcABKcTgtVnczJWtYIm41VHo=".to_owned(),
            "OkpxOC1WdzMla1gibjVUeg==".to_owned(),
            "Ojo6SnE4LVZ3MyVrWCJuNVR6".to_owned(),
            "SnE4LVZ3MyVrWCJuNVR6".to_owned(),
        ] {
            let redacted = redaction.line(&format!("ERR odd <{spelled}>"));
            assert!(redacted.starts_with("ERR odd <") && redacted.contains(MASK), "{spelled}: {redacted}");
            assert!(redacted.len() < "ERR odd <>".len() + 12, "{spelled}: {redacted}");
        }
    }

    #[test]
    fn a_text_is_masked_before_it_is_cut() {
        let redaction = redaction("app", PASSWORD);
        for before in 2000..2060 {
            let text = format!("{}{PASSWORD}", "x ".repeat(before / 2));
            assert!(!shows(&redaction.text(&text)), "{before}");
        }
        let cut_within_a_character = "\u{e9}".repeat(2000);
        assert!(cut_within_a_character.starts_with(&*redaction.text(&cut_within_a_character)));
    }

    #[test]
    fn a_short_credential_is_hidden_if_it_is_a_word() {
        let redaction = redaction("app", "ab");
        assert_eq!(redaction.text("with args 'ab'"), "with args '***'");
        assert_eq!(redaction.text("with args AB"), "with args ***");
        assert_eq!(redaction.text("user app:ab is not able"), "user ***:*** is not able");
        assert_eq!(redaction.text("the table is not applied"), "the table is not applied");
    }

    #[test]
    fn a_greeting_shows_known_sentences_and_codes_alone() {
        let redaction = redaction("canary", PASSWORD);
        let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(redaction.greeting(wrong), wrong);
        let unknown = format!("ERR unknown command 'AUTH', with args beginning with: 'canary' '{PASSWORD}' ");
        assert_eq!(
            redaction.greeting(&unknown),
            "ERR unknown command (the rest is hidden, because it may contain credentials)"
        );
        let may_not = "NOPERM User canary has no permissions to run the 'select' command";
        assert_eq!(redaction.greeting(may_not), may_not.replace("canary", MASK));
        assert_eq!(redaction.greeting("OOPS Jq8-V"), format!("OOPS ({WITHHELD})"));
        assert_eq!(redaction.greeting("Jq8-Vw3 is wrong"), WITHHELD);
        let upper = self::redaction("canary", "SECRETWORD");
        assert_eq!(upper.greeting("SECRETWORD is wrong"), WITHHELD);
        assert_eq!(Redaction::none().greeting("OOPS what"), "OOPS what");
    }

    #[test]
    fn a_known_sentence_is_no_secret_for_any_password() {
        let redaction = redaction("command", "password");
        let wrong = "ERR invalid password";
        assert_eq!((redaction.greeting(wrong), redaction.line(wrong)), (wrong.to_owned(), wrong.to_owned()));
        assert_eq!(redaction.line("ERR unknown command 'password'"), "ERR unknown command '***'");
        assert_eq!(redaction.line("ERR odd password"), "ERR odd ***");
    }

    #[test]
    fn a_host_may_share_characters_with_a_credential_as_a_configured_host_does() {
        let redaction = redaction("redis", "redis-secret");
        assert_eq!(redaction.host("redis-2.redis:6379"), "redis-2.redis:6379");
        assert_eq!(redaction.host("redis-secret:6379"), "r***:6379");
        assert_eq!(redaction.line("MOVED 5 redis-2.redis:6379"), "MOVED 5 redis-2.redis:6379");
        assert_eq!(redaction.text("user redis"), "user ***");
    }

    #[test]
    fn without_credentials_every_text_is_shown_as_it_is() {
        let text = "ERR unknown command 'AUTH'";
        assert_eq!(
            (Redaction::none().line(text), Redaction::none().bytes(&[0xff])),
            (text.into(), "\u{fffd}".into())
        );
    }
}
