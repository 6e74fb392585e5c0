//! The table of one check, while it is read: its values, and limits.

use std::time::Duration;

use super::{Thresholds, Unit, presets};
use crate::config::Backend;
use crate::config::cache::reader::CacheReader;
use crate::config::keys;
use crate::config::place::{ConfigProblem, Place};
use crate::config::value::{Table, Value, ValueKind as Typed, nearest};
use crate::outcome::CheckKind;

/// The longest duration that a check may be told: a year.
pub(super) const LONGEST: Duration = Duration::from_hours(8766);

/// The table of one kind, while it is read.
pub(super) struct CheckTable<'a> {
    /// The place of the kind's name.
    pub(super) place: Place,
    pub(super) reading: &'a mut CacheReader,
    pub(super) kind: CheckKind,
    /// Its path below `checks`.
    pub(super) path: String,
    pub(super) table: &'a Table,
}

/// The side of a limit on which the bad values are.
#[derive(Clone, Copy)]
pub(super) enum Worse {
    More,
    Less,
}

impl<'a> CheckTable<'a> {
    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    /// The same, whose origin is remembered.
    pub(super) fn get(&mut self, key: &str) -> Option<&'a Value> {
        let value = self.value(key)?;
        self.came_from(key, &value.place);
        Some(value)
    }

    /// The value of a key, read by `read`.
    pub(super) fn said<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Result<T, ConfigProblem>,
    ) -> Result<Option<T>, ConfigProblem> {
        self.get(key).map(read).transpose()
    }

    /// Remembers the origin of a key's value.
    pub(super) fn came_from(&mut self, key: &str, place: &Place) {
        let path = format!("checks.{}.{key}", self.path);
        self.reading.came_from(&[path.as_str()], place);
    }

    /// The values of a preset. `keys` are those that it may fill, and `find` knows those of this kind. If the named
    /// preset is none of them, the error lists their `names`.
    pub(super) fn preset<T>(
        &mut self,
        keys: &[&str],
        names: &[&'static str],
        find: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigProblem> {
        let Some(value) = self.table.get("preset") else { return Ok(None) };
        let name = value.text()?;
        let Some(found) = find(name) else {
            let there_are = format!("presets of `{}` are {}", self.kind, names.join(", "));
            return Err(value.problem(match (presets::kind(name), nearest(name, names)) {
                (Some(other), _) => format!("this preset belongs to `{other}`; {there_are}"),
                (None, Some(nearest)) => format!("unknown preset; did you mean \"{nearest}\"?"),
                (None, None) => format!("unknown preset; {there_are}"),
            }));
        };
        for key in keys {
            self.came_from(key, &value.place);
        }
        Ok(Some(found))
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigProblem> {
        self.said(key, |value| {
            let text = value.text()?;
            if text.is_empty() {
                return Err(value.problem(format_args!("`{key}` is empty; set it, or remove it")));
            }
            Ok(text.to_owned())
        })
    }

    /// The name of one key, in which nothing is a pattern.
    pub(super) fn key_name(&mut self, key: &str) -> Result<Option<String>, ConfigProblem> {
        let name = self.text(key)?;
        match (self.value(key), &name) {
            (Some(value), Some(name)) if is_pattern(name) => Err(value.problem(format_args!(
                "`{key}` must name one key, but this is a pattern (`*`, `?` or `[...]`); write the name in full"
            ))),
            _ => Ok(name),
        }
    }

    /// The unit of a clock or a score. The message for another word ends in `or`.
    pub(super) fn unit(&mut self, or: &str) -> Result<Option<Unit>, ConfigProblem> {
        self.said("unit", |value| match value.text()? {
            "s" => Ok(Unit::Seconds),
            "ms" => Ok(Unit::Milliseconds),
            _ => Err(value.problem(format_args!(
                "`unit` must be \"s\" or \"ms\" (Unix time in seconds or milliseconds){or}"
            ))),
        })
    }

    /// Limits of something of which more is worse.
    pub(super) fn limits<T: Copy + PartialOrd>(
        &mut self,
        key: &str,
        read: impl Fn(&str, &Value) -> Result<T, ConfigProblem>,
    ) -> Result<Option<Thresholds<T>>, ConfigProblem> {
        self.said(key, |value| {
            let table = table_of_limits(key, value)?;
            table.only(keys::LIMITS_OF_CHECKS)?;
            limits(key, value, table, Worse::More, read)
        })
    }

    /// Limits of something that lasts, of which more is worse.
    pub(super) fn durations(&mut self, key: &str) -> Result<Option<Thresholds<Duration>>, ConfigProblem> {
        self.limits(key, duration)
    }
}

/// `true` if a name has what is special in a glob-style pattern (Redis' commands, KEYS). A key may be called so, but hardly
/// any is, and a check of a key that nobody writes finds it empty for ever.
pub(super) fn is_pattern(name: &str) -> bool {
    let bracketed = name.find('[').is_some_and(|open| name[open..].contains(']'));
    name.contains(['*', '?']) || bracketed
}

/// A problem at a place that is for Redis alone, if the cache is none.
pub(super) fn redis_alone(backend: &Backend, place: &Place, why: &str) -> Result<(), ConfigProblem> {
    match backend {
        Backend::Redis(_) => Ok(()),
        Backend::Memcached(_) | Backend::Unchecked(_) => Err(place.problem(why)),
    }
}

/// The table of limits that a key has for its value.
pub(super) fn table_of_limits<'a>(key: &str, value: &'a Value) -> Result<&'a Table, ConfigProblem> {
    match &value.kind {
        Typed::Table(table) => Ok(table),
        _ => Err(value.problem(match &value.place {
            Place::Variable(name) => {
                format!("this setting has two parts; set {name}__DEGRADED or {name}__DOWN")
            }
            Place::File(..) | Place::Flag(_) => {
                format!(
                    "`{key}` must be a table, {{ degraded = ..., down = ... }}, with one or both thresholds"
                )
            }
        })),
    }
}

/// The limits in a table, which `read` reads from the path of a key and its value.
pub(super) fn limits<T: Copy + PartialOrd>(
    key: &str,
    whole: &Value,
    table: &Table,
    worse: Worse,
    read: impl Fn(&str, &Value) -> Result<T, ConfigProblem>,
) -> Result<Thresholds<T>, ConfigProblem> {
    let limit = |name: &str| {
        table.get(name).map(|value| Ok((read(&format!("{key}.{name}"), value)?, value))).transpose()
    };
    let (degraded, down) = (limit("degraded")?, limit("down")?);
    let milder = |degraded: T, down: T| match worse {
        Worse::More => down < degraded,
        Worse::Less => down > degraded,
    };
    match (degraded, down) {
        (None, None) => Err(whole.problem(format_args!(
            "`{key}` has neither `degraded` nor `down`; set one of them, or remove it"
        ))),
        (Some((degraded, _)), Some((down, value))) if milder(degraded, down) => {
            let (worse, least) = match worse {
                Worse::More => ("higher", "at least"),
                Worse::Less => ("lower", "at most"),
            };
            Err(value.problem(format_args!(
                "a {worse} value is worse, so `{key}.down` must be {least} `{key}.degraded`"
            )))
        }
        _ => {
            Ok(Thresholds { degraded: degraded.map(|(limit, _)| limit), down: down.map(|(limit, _)| limit) })
        }
    }
}

/// A duration that is not nothing.
pub(super) fn duration(key: &str, value: &Value) -> Result<Duration, ConfigProblem> {
    value.duration(key, Duration::from_millis(1), LONGEST)
}

/// A whole number from 1.
pub(super) fn count(key: &str, value: &Value) -> Result<u32, ConfigProblem> {
    let number = value.number().ok().filter(|number| *number > 0);
    number.ok_or_else(|| value.problem(format_args!("`{key}` must be a whole number, 1 or more")))
}

/// A number above `least`, with a fraction or without.
pub(super) fn above(least: u32, key: &str, value: &Value) -> Result<f64, ConfigProblem> {
    let number = value.float().filter(|number| *number > f64::from(least) && *number <= 1e9);
    number.ok_or_else(|| {
        value.problem(format_args!("`{key}` must be a number above {least}, such as 10 or 2.5"))
    })
}

/// A part of a whole, above 0 and up to 1.
pub(super) fn ratio(key: &str, value: &Value) -> Result<f64, ConfigProblem> {
    let number = value.float().filter(|number| *number > 0.0 && *number <= 1.0);
    number.ok_or_else(|| {
        value.problem(format_args!("`{key}` must be a number above 0 and at most 1, such as 0.8"))
    })
}
