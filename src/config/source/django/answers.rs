//! [`Answers`]: an entry of Django's setting in the words of `[caches.ALIAS]`, below that table of the config file.

use super::options::Options;
use crate::config::address;
use crate::config::cache::reader::CacheReader;
use crate::config::keys::{self, RedisTopology};
use crate::config::place::Place;
use crate::config::text_file;
use crate::config::value::{Table, TableEntry, Value, ValueKind as Typed, one_of};

/// The answers of an entry to those keys that the config file leaves open.
pub(in crate::config::source) struct Answers<'a> {
    over: &'a Table,
    table: Table,
    tls: Table,
}

impl<'a> Answers<'a> {
    pub(in crate::config::source) fn below(over: &'a Table) -> Self {
        Self { over, table: Table::default(), tls: Table::default() }
    }

    /// More answers below the same table, of another server.
    pub(super) fn beside(&self) -> Self {
        Self::below(self.over)
    }

    /// `true` if the config file does not answer this key itself; `tls.ca_file` is a key of the table `tls`.
    pub(super) fn is_open(&self, key: &str) -> bool {
        let Some(part) = key.strip_prefix("tls.") else {
            return !self.over.0.iter().any(|entry| keys::say_the_same(&entry.key, key));
        };
        // A certificate and its key come from one place.
        let same: &[&str] = if part == "verify" || part == "ca_file" || part == "server_name" {
            &[part]
        } else {
            &["cert_file", "key_file"]
        };
        match self.over.get("tls").map(|value| &value.kind) {
            None => true,
            Some(Typed::Table(table)) => same.iter().all(|key| table.get(key).is_none()),
            Some(_) => false,
        }
    }

    /// Answers a key, unless the config file does.
    pub(in crate::config::source) fn put(&mut self, key: &str, kind: Typed, place: &Place) {
        if !self.is_open(key) {
            return;
        }
        let (table, key) = match key.strip_prefix("tls.") {
            Some(part) => (&mut self.tls, part),
            None => (&mut self.table, key),
        };
        // A text in Django's setting is not for every reader of the config file.
        let value = Value { kind, place: place.clone(), literal: false };
        table.0.push(TableEntry { key: key.to_owned(), key_place: place.clone(), value });
    }

    /// The answer to a key, as text.
    pub(super) fn text_of(&self, key: &str) -> Option<String> {
        match &self.table.get(key)?.kind {
            Typed::Text(text) => Some(text.clone()),
            Typed::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The keys that the config file's own address answers, if it has one: its scheme, its user and so on.
    pub(super) fn own_address(&self, reading: &mut CacheReader) -> Option<Vec<&'static str>> {
        let (key, value) = one_of(self.over, keys::alternatives(keys::CACHE, "url")).ok()??;
        let text = match key {
            "url_file" => text_file::secret(value, &mut reading.files).ok(),
            _ => value.text().ok().map(str::to_owned),
        };
        // An address that is wrong is refused when the whole is read.
        let text = text.unwrap_or_default();
        let topology = address::topology(&text).ok().flatten().unwrap_or(RedisTopology::Standalone);
        let url = address::redis_location(&text, topology).ok();
        Some(url.map(|url| url.says()).unwrap_or_default())
    }

    /// Takes note of the options that are ignored or not read, unless the config file answers in their place.
    pub(super) fn note(&self, reading: &mut CacheReader, options: &Options<'_>) {
        let notes = options.notes(&reading.alias).into_iter();
        let open = notes.filter(|(key, _)| key.is_empty() || self.is_open(key));
        let notes: Vec<_> = open.map(|(_, note)| format!("{}: {note}", reading.alias)).collect();
        reading.notes.extend(notes);
    }

    /// A server with these TLS settings of its own, below those of the config file.
    pub(in crate::config::source) fn server(self, url: String, place: &Place) -> Value {
        let mut table = self.laid_under();
        let tls = table.take("tls").map_or_else(|| Typed::Table(Table::default()), |value| value.kind);
        let entry = |key: &str, kind| {
            let value = Value { kind, place: place.clone(), literal: false };
            TableEntry { key: key.to_owned(), key_place: place.clone(), value }
        };
        let table = Table(vec![entry("url", Typed::Text(url)), entry("tls", tls)]);
        Value { kind: Typed::Table(table), place: place.clone(), literal: false }
    }

    /// `true` if servers may have TLS settings of their own: the config file has no plain yes or no for all of them.
    pub(in crate::config::source) fn has_room_for_tls(&self) -> bool {
        !matches!(self.over.get("tls"), Some(Value { kind: Typed::Text(_) | Typed::Boolean(_), .. }))
    }

    /// The table of the config file, over these answers.
    pub(in crate::config::source) fn laid_under(self) -> Table {
        let Self { over, table, tls } = self;
        let mut laid = over.clone();
        laid.0.extend(table.0);
        let Some(first) = tls.0.first() else { return laid };
        let place = first.key_place.clone();
        match laid.0.iter_mut().find(|entry| entry.key == "tls") {
            None => {
                let value = Value::new(Typed::Table(tls), place.clone());
                laid.0.push(TableEntry { key: "tls".to_owned(), key_place: place, value });
            }
            Some(TableEntry { value: Value { kind: Typed::Table(own), .. }, .. }) => own.0.extend(tls.0),
            // A plain yes or no is the config file's last word.
            Some(_) => {}
        }
        laid
    }
}
