//! The TOML file, as [values](crate::config::value) with their places, its `${NAME}` filled in.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::place::{ConfigProblem, Place, Text};
use crate::config::source::environment::Environment;
use crate::config::value::{Table, TableEntry, Value, ValueKind, is_plain_key};
use crate::config::{keys, text_file};

/// Reads the file. Problems with single values go to `problems`; an error is one with the whole file.
pub(in crate::config) fn read(
    path: &Path,
    environment: &Environment<'_>,
    problems: &mut Vec<ConfigProblem>,
) -> Result<Table, ConfigProblem> {
    let content = text_file::read(path).map_err(|error| {
        let path = path.display();
        ConfigProblem::new(format_args!(
            "cannot read {path}: {error}; `-c FILE` or CACHE_CANARY_CONFIG=FILE names the config file"
        ))
    })?;
    let text = Text::new(path, content);
    let table = DeTable::parse(&text.content).map_err(|error| {
        // The error's own text would show the line, and a password in it.
        let span = error.span().unwrap_or_default();
        let message = error.message().trim_end().replace('\n', ", ");
        let key = key_before(&text.content, span.start);
        let key = key.map(|key| format!(", at the key `{key}`")).unwrap_or_default();
        Place::File(text.clone(), span).problem(format_args!("invalid TOML{key}: {message}"))
    })?;
    let mut hidden = Vec::new();
    hide(table.get_ref(), &mut Vec::new(), &mut hidden);
    let _ = text.hidden.set(hidden);
    let mut reader = TomlReader { text: &text, environment, problems, path: Vec::new() };
    Ok(reader.table(table.get_ref()))
}

/// The setting whose line this byte of a broken file is in, if that line begins with a setting's name.
fn key_before(content: &str, byte: usize) -> Option<&'static str> {
    let before = &content[..content.floor_char_boundary(byte)];
    // The key of a string of several lines is where it begins.
    let open = ["\"\"\"", "'''"].into_iter().find(|quotes| before.matches(quotes).count() % 2 == 1);
    let before = open.and_then(|quotes| before.rsplit_once(quotes)).map_or(before, |(before, _)| before);
    let line = before.rsplit('\n').next()?;
    let (key, _) = line.split_once('=')?;
    keys::known(key.rsplit('.').next()?.trim())
}

/// Finds the parts of a table that no error may show: values that may be secrets, and keys that are no plain words,
/// since they may be values that slipped out of their quotes.
fn hide<'a>(table: &'a DeTable<'_>, path: &mut Vec<&'a str>, hidden: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        path.push(key.get_ref());
        if !is_plain_key(key.get_ref()) {
            hidden.push(key.span());
        }
        hide_value(value, path, hidden);
        path.pop();
    }
}

/// The same for a value. The span of an array of tables, `[[name]]`, is that of its first header.
fn hide_value<'a>(value: &'a Spanned<DeValue<'_>>, path: &mut Vec<&'a str>, hidden: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => return hide(table, path, hidden),
        DeValue::Array(values) => {
            for value in values.iter().filter(|value| matches!(value.get_ref(), DeValue::Table(_))) {
                hide_value(value, path, hidden);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
    if !(keys::may_show(path) && is_plain(value.get_ref())) {
        hidden.push(value.span());
    }
}

/// `true` if nothing in a value looks like a credential that was given to the wrong key.
fn is_plain(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => !text.contains(['@', '=', '#']) && !text.contains("://"),
        DeValue::Array(values) => values.iter().all(|value| is_plain(value.get_ref())),
        DeValue::Table(_) => false,
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => true,
    }
}

struct TomlReader<'a> {
    text: &'a Arc<Text>,
    environment: &'a Environment<'a>,
    problems: &'a mut Vec<ConfigProblem>,
    /// The keys above the present value.
    path: Vec<String>,
}

impl TomlReader<'_> {
    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        Place::File(self.text.clone(), spanned.span())
    }

    /// A table, its keys in the order of the file; the parser sorts them by name.
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            self.path.push(key.get_ref().to_string());
            let value = self.value(key.get_ref(), value);
            self.path.pop();
            TableEntry { key: key.get_ref().to_string(), key_place: self.place(key), value }
        });
        Table(entries.collect())
    }

    /// `true` if the present value is a template, in which the braces of a variable's value are no label.
    fn is_template(&self) -> bool {
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        matches!(path[..], ["targets", "cache", ..] | ["targets", "alias"])
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Value {
        let place = self.place(value);
        let kind = match value.get_ref() {
            DeValue::String(text) => match self.environment.expand(text, self.is_template()) {
                Ok(expanded) => {
                    self.environment.withhold_logins(key, text);
                    return Value { literal: expanded == *text, kind: ValueKind::Text(expanded), place };
                }
                Err(error) => {
                    self.problems.push(place.problem(error));
                    ValueKind::Other("nothing")
                }
            },
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(ValueKind::Other("a number so large"), ValueKind::Integer),
            DeValue::Float(float) => {
                float.as_str().parse().map_or(ValueKind::Other("such a number"), ValueKind::Float)
            }
            DeValue::Boolean(boolean) => ValueKind::Boolean(*boolean),
            DeValue::Datetime(_) => ValueKind::Other("a date"),
            DeValue::Array(values) => {
                ValueKind::List(values.iter().map(|value| self.value(key, value)).collect())
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(kind, place)
    }
}
