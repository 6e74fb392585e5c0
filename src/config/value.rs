//! The raw values, each with its place, before they are interpreted.
//!
//! Files, environment and flags are all brought into this one shape, so that each is read by the same words.
//! A value may be a secret, so nothing here has `Debug`, and no message repeats a value.

use std::fmt::Display;
use std::time::Duration;

use humantime::format_duration;

use super::keys::{self, Key};
use super::place::{ConfigProblem, Place};
use super::variable;

/// A value and its place.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) kind: ValueKind,
    pub(super) place: Place,
    /// `true` if the text stands in the file as it is, and did not come from `${NAME}`.
    pub(super) literal: bool,
}

/// The kinds of raw values.
#[derive(Clone)]
pub(super) enum ValueKind {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Table),
    /// JSON's `null`, which is Python's `None`.
    Null,
    /// Something that no setting wants, in words: `a date`.
    Other(&'static str),
}

/// Keys and values, in the order in which they were written.
#[derive(Clone, Default)]
pub(super) struct Table(pub(super) Vec<TableEntry>);

/// One key of a table.
#[derive(Clone)]
pub(super) struct TableEntry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Value,
}

impl Value {
    pub(super) fn new(kind: ValueKind, place: Place) -> Self {
        Self { kind, place, literal: true }
    }

    /// The kind of the value, in words.
    pub(super) fn noun(&self) -> &'static str {
        match &self.kind {
            ValueKind::Text(_) => "text",
            ValueKind::Integer(_) => "a number",
            ValueKind::Float(_) => "a number with a fraction",
            ValueKind::Boolean(_) => "true or false",
            ValueKind::List(_) => "a list",
            ValueKind::Table(_) => "a table",
            ValueKind::Null => "null",
            ValueKind::Other(noun) => noun,
        }
    }

    /// A problem with this value.
    pub(super) fn problem(&self, what: impl Display) -> ConfigProblem {
        self.place.problem(what)
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&str, ConfigProblem> {
        match &self.kind {
            ValueKind::Text(text) => Ok(text),
            _ => Err(self.problem(format_args!("expected text in quotes, found {}", self.noun()))),
        }
    }

    /// A text or a list of them, each with its place. The environment has no lists: there, commas separate.
    pub(super) fn texts(&self) -> Result<Vec<(&str, &Place)>, ConfigProblem> {
        match (&self.kind, &self.place) {
            (ValueKind::List(values), _) => {
                values.iter().map(|value| Ok((value.text()?, &value.place))).collect()
            }
            (ValueKind::Text(text), Place::Variable(_)) => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| (part, &self.place))
                .collect()),
            (ValueKind::Text(text), _) => Ok(vec![(text, &self.place)]),
            _ => Err(self.problem(format_args!("expected a list of texts, found {}", self.noun()))),
        }
    }

    /// The one of some words that this is; `noun` is what each stands for in the message.
    pub(super) fn word<T: Copy>(&self, noun: &str, words: &[(&'static str, T)]) -> Result<T, ConfigProblem> {
        let name = self.text()?;
        let found = words.iter().find_map(|(word, meaning)| (*word == name).then_some(*meaning));
        found.ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.problem(match nearest(name, &words) {
                Some(nearest) => format!("no {noun} is called that; did you mean \"{nearest}\"?"),
                None => format!("no {noun} is called that; there are {}", words.join(", ")),
            })
        })
    }

    /// A whole number that is not negative. Text will do, because the environment and `${NAME}` have nothing
    /// else.
    pub(super) fn number(&self) -> Result<u32, ConfigProblem> {
        let number = match &self.kind {
            ValueKind::Integer(number) => u32::try_from(*number).ok(),
            ValueKind::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.problem("expected a whole number, 0 or more"))
    }

    /// A whole number from `least` to `most`; `key` is what it is called in the message.
    pub(super) fn number_between(&self, key: &str, least: u32, most: u32) -> Result<u32, ConfigProblem> {
        let number = self.number().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            self.problem(format_args!("`{key}` must be a whole number from {least} to {most}"))
        })
    }

    /// A duration from `least` to `most`; `key` is what it is called in the message.
    pub(super) fn duration(
        &self,
        key: &str,
        least: Duration,
        most: Duration,
    ) -> Result<Duration, ConfigProblem> {
        let text = self.text().ok().map(humantime::parse_duration);
        let Some(Ok(duration)) = text else {
            return Err(self.problem("not a duration; write it with its unit, such as \"750ms\""));
        };
        if (least..=most).contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (format_duration(least), format_duration(most));
        Err(self.problem(format_args!("`{key}` must be from {least} to {most}")))
    }

    /// True or false, if it is one of them; the environment has them as text.
    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.kind {
            ValueKind::Boolean(boolean) => Some(*boolean),
            ValueKind::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A number, with a fraction or without, if it is one; the environment has them as text.
    pub(super) fn float(&self) -> Option<f64> {
        let float = match &self.kind {
            ValueKind::Float(float) => Some(*float),
            ValueKind::Integer(integer) => u32::try_from(*integer).ok().map(f64::from),
            ValueKind::Text(text) => text.parse().ok(),
            _ => None,
        };
        float.filter(|float| float.is_finite())
    }

    /// A table, taken apart.
    pub(super) fn into_table(self) -> Result<Table, ConfigProblem> {
        let noun = self.noun();
        match self.kind {
            ValueKind::Table(table) => Ok(table),
            _ => Err(self.place.problem(format_args!("expected a table of settings, found {noun}"))),
        }
    }
}

impl Table {
    /// The value of a key, if it has one.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let entry = self.0.iter().find(|entry| entry.key == key)?;
        Some(&entry.value).filter(|value| !matches!(value.kind, ValueKind::Null))
    }

    /// The value of a key, which leaves the table.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let position = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(position).value)
    }

    /// Takes these keys out, as a table of their own.
    pub(super) fn take_all(&mut self, keys: &[&str]) -> Self {
        let is_taken = |entry: &TableEntry| keys.contains(&entry.key.as_str());
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(is_taken);
        self.0 = left;
        Self(taken)
    }

    /// `true` if a key is there to say that it has no value.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.0.iter().any(|entry| entry.key == key && matches!(entry.value.kind, ValueKind::Null))
    }

    /// A problem for each key that is not one of the `known`, with the nearest of them.
    pub(super) fn unknown(&self, known: &[Key]) -> impl Iterator<Item = ConfigProblem> {
        let unknown = self.0.iter().filter(|entry| known.iter().all(|key| key.name != entry.key));
        unknown.map(|entry| entry.unknown(known))
    }

    /// A problem if some key is not one of the `known`.
    pub(super) fn only(&self, known: &[Key]) -> Result<(), ConfigProblem> {
        self.unknown(known).next().map_or(Ok(()), Err)
    }
}

impl TableEntry {
    /// A problem with a key that is none of the `known`.
    pub(super) fn unknown(&self, known: &[Key]) -> ConfigProblem {
        if let Some(Key { name: now, .. }) = known.iter().find(|key| key.was == Some(&*self.key)) {
            let was = &self.key;
            return self.key_place.problem(match &self.key_place {
                Place::Variable(name) => {
                    format!("this setting was renamed to {}", variable::renamed(name, was, now))
                }
                Place::File(..) | Place::Flag(_) => format!("`{was}` was renamed to `{now}`: write [{now}]"),
            });
        }
        let known = keys::names(known);
        if let Place::Variable(name) = &self.key_place {
            let nearest = nearest(&self.key, &[&known, variable::also_known(name)].concat());
            return self.key_place.problem(match nearest {
                Some(nearest) => {
                    let meant = variable::renamed(name, &self.key, nearest);
                    format!("unknown setting; did you mean {meant}?")
                }
                None => {
                    format!("unknown setting; known here are {}", known.join(", ").to_uppercase())
                }
            });
        }
        let nearest = nearest(&self.key, &known);
        let key = if is_plain_key(&self.key) { format!(" `{}`", self.key) } else { String::new() };
        self.key_place.problem(match nearest {
            Some(nearest) => format!("unknown key{key}; did you mean `{nearest}`?"),
            None => format!("unknown key{key}; known here are {}", known.join(", ")),
        })
    }
}

/// The one of these keys that is there, if any.
pub(super) fn one_of(
    table: &Table,
    keys: impl Iterator<Item = &'static str>,
) -> Result<Option<(&'static str, &Value)>, ConfigProblem> {
    let mut found = keys.filter_map(|key| Some((key, table.get(key)?)));
    let first = found.next();
    if let (Some((first, _)), Some((second, value))) = (first, found.next()) {
        return Err(
            value.problem(format_args!("`{second}` cannot be combined with `{first}`; keep one of the two"))
        );
    }
    Ok(first)
}

/// A problem with the value where something is wrong.
pub(super) fn unless(wrong: bool, value: &Value, what: impl Display) -> Result<(), ConfigProblem> {
    if wrong { Err(value.problem(what)) } else { Ok(()) }
}

/// `true` if a text stands in quotes, which only a shell would have dropped.
pub(crate) fn is_quoted(text: &str) -> bool {
    let within = |quote: char| text.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    within('"') || within('\'')
}

/// `true` if a key is a word or an alias. Any other may be a value that slipped out of its quotes.
pub(super) fn is_plain_key(key: &str) -> bool {
    key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&word, &known.to_lowercase());
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    (distance(nearest) <= nearest.len().div_ceil(3)).then_some(nearest)
}
