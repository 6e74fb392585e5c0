//! The TOML file, as [values](super::value) with their places, its `${NAME}` filled in.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::place::{ConfigProblem, FileFormat, Place, Text};
use super::secret;
use super::value::{Table, TableEntry, Value, ValueKind};

/// Reads the file. Problems with single values go to `problems`; an error is one with the whole file.
pub(super) fn read(
    path: &Path,
    environment: &Environment<'_>,
    problems: &mut Vec<ConfigProblem>,
) -> Result<Table, ConfigProblem> {
    let content = secret::read_file(path).map_err(|error| {
        let path = path.display();
        ConfigProblem::new(format_args!(
            "cannot read {path}: {error}; `-c FILE` or CACHE_CANARY_CONFIG=FILE names the config file"
        ))
    })?;
    let text = Arc::new(Text { path: path.to_path_buf(), content, format: FileFormat::Toml });
    let table = DeTable::parse(&text.content).map_err(|error| {
        // The error's own text would show the line, and a password in it.
        let span = error.span().unwrap_or_default();
        let message = error.message().trim_end().replace('\n', ", ");
        Place::File(text.clone(), span).problem(format_args!("this is no TOML: {message}"))
    })?;
    Ok(TomlReader { text: &text, environment, problems }.table(table.get_ref()))
}

struct TomlReader<'a> {
    text: &'a Arc<Text>,
    environment: &'a Environment<'a>,
    problems: &'a mut Vec<ConfigProblem>,
}

impl TomlReader<'_> {
    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        Place::File(self.text.clone(), spanned.span())
    }

    /// A table, its keys in the order of the file; the parser sorts them by name.
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| TableEntry {
            key: key.get_ref().to_string(),
            key_place: self.place(key),
            value: self.value(value),
        });
        Table(entries.collect())
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        let place = self.place(value);
        let kind = match value.get_ref() {
            DeValue::String(text) => match self.environment.expand(text) {
                Ok(expanded) => {
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
            DeValue::Array(values) => ValueKind::List(values.iter().map(|value| self.value(value)).collect()),
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(kind, place)
    }
}
