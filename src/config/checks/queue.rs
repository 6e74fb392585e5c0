//! `[caches.ALIAS.checks.queue]`: the queues that are to be drained, and their limits.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::presets::{self, QueuePreset};
use super::table::{self, CheckTable, Worse};
use super::{Keys, QueueConfig, QueueGroup, QueueState, Thresholds};
use crate::config::Backend;
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind, unless};

/// The most keys that are looked at in a round.
const MAX_KEYS: u64 = 10_000;

/// The settings that say how the keys of a preset are called.
const OF_PRESETS: [&str; 4] = ["names", "prefix", "separator", "priority_steps"];

const FAMILY: &str = "a range in a key must be in braces, from the lowest to the highest number, without leading zeros: \
                      \"b:p:{0..15}\"";

pub(super) fn read(mut section: CheckTable<'_>, backend: &Backend) -> Result<QueueConfig, ConfigProblem> {
    section.table.only(keys::QUEUE)?;
    table::redis_alone(
        backend,
        &section.place,
        "memcached has no lists, sorted sets, streams, sets or hashes; `queue` requires Redis",
    )?;
    let mut queue = QueueConfig::of(Vec::new());
    let more = section.value("queues").map(table_of).transpose()?.map_or(&[][..], |table| &table.0);
    if more.is_empty() || keys::QUEUES.iter().any(|key| section.value(key.name).is_some()) {
        queue.groups = groups(&mut section, None)?;
        queue.lock = lock(section.table);
    }
    for entry in more {
        let inner = table_of(&entry.value)?;
        inner.only(keys::QUEUES)?;
        let (place, path) = (entry.key_place.clone(), format!("{}.queues.{}", section.path, entry.key));
        let mut section =
            CheckTable { place, path, kind: section.kind, table: inner, reading: &mut *section.reading };
        queue.groups.extend(groups(&mut section, Some(&entry.key))?);
        queue.lock = queue.lock.or(lock(inner));
    }
    queue.lock = section.key_name("lock")?.or(queue.lock);
    if let Some(value) = section.get("lock_within") {
        unless(queue.lock.is_none(), value, "`lock_within` requires a lock; add `lock`, or remove it")?;
        queue.lock_within = table::duration("lock_within", value)?;
    }
    if let Some(keys) = section.said("witness", keys)? {
        queue.witness = keys.iter().flat_map(Keys::names).collect();
    }
    countable(&queue).map_err(|problem| section.place.problem(problem))?;
    Ok(queue)
}

/// The problem with queues that are too many, or that have the same name.
fn countable(queue: &QueueConfig) -> Result<(), String> {
    let many: u64 = queue.groups.iter().flat_map(|group| &group.keys).map(|(_, keys)| keys.many()).sum();
    if many > MAX_KEYS {
        return Err(format!("too many keys: {many} of at most {MAX_KEYS}"));
    }
    let mut seen = HashSet::new();
    let mut labels = queue.groups.iter().flat_map(QueueGroup::labels);
    let twice = labels.find(|label| !seen.insert(label.clone()));
    twice.map_or(Ok(()), |twice| Err(format!("two queues are called `{twice}`; list each queue once")))
}

/// The table that a value must be.
fn table_of(value: &Value) -> Result<&Table, ConfigProblem> {
    match &value.kind {
        ValueKind::Table(table) => Ok(table),
        _ => Err(value.problem("expected a table, such as jobs = { keys = [\"jobs\"] }")),
    }
}

/// The lock of a table's preset.
fn lock(table: &Table) -> Option<String> {
    let preset = presets::queue(table.get("preset")?.text().ok()?)?;
    preset.lock.map(str::to_owned)
}

/// The queues of a table, by its name in `queues`, with their limits.
fn groups(section: &mut CheckTable<'_>, name: Option<&str>) -> Result<Vec<QueueGroup>, ConfigProblem> {
    let preset = section.preset(&["lock"], keys::QUEUE_PRESETS, presets::queue)?;
    let written = section.value("keys");
    if let Some(value) = OF_PRESETS.iter().find_map(|key| section.value(key)) {
        let what = "this setting is for the keys of a preset; add `preset` without `keys`, or remove it";
        unless(preset.is_none() || written.is_some(), value, what)?;
    }
    let mut groups = match (written, preset) {
        (Some(value), preset) => {
            let group = preset.map_or_else(|| QueueGroup::each(Vec::new()), QueuePreset::group);
            let summed = matches!(value.kind, ValueKind::Table(_));
            let keys = if summed { by_state(value)? } else { QueueGroup::each(keys(value)?).keys };
            vec![QueueGroup { name: name.map(Arc::from), keys, summed, ..group }]
        }
        (None, Some(preset)) => of_preset(section, preset, name)?,
        (None, None) => {
            return Err(section.place.problem(
                "the keys of the queues are missing; add keys = [\"celery\"], or preset = \"celery\"",
            ));
        }
    };
    limits(section, &mut groups)?;
    without_idle_limits(&mut groups);
    for group in &groups {
        let path = group.name.as_ref().map_or_else(String::new, |name| format!(".queues.{name}"));
        for key in keys::QUEUES {
            let Some(value) = section.value(key.name).or(section.value("preset")) else { continue };
            let path = format!("checks.{}{path}.{}", section.kind, key.name);
            section.reading.came_from(&[path.as_str()], &value.place);
        }
    }
    Ok(groups)
}

/// Reads the unit and the limits, which are those of all these queues.
fn limits(section: &mut CheckTable<'_>, groups: &mut [QueueGroup]) -> Result<(), ConfigProblem> {
    let unit = match section.value("unit").map(Value::text) {
        Some(Ok("none")) => Some(None),
        _ => section.unit(", or \"none\" if a score is a priority")?.map(Some),
    };
    let mut counts = |key| section.limits(key, |key, value| table::count(key, value).map(u64::from));
    let [length, taken, scheduled, failed, lost] =
        [counts("length")?, counts("taken")?, counts("scheduled")?, counts("failed")?, counts("lost")?];
    let age = section.durations("age")?;
    let timeout = section.said("visibility_timeout", |value| table::duration("visibility_timeout", value))?;
    let skew = section.get("skew").map(skew).transpose()?;
    for group in &mut *groups {
        group.unit = unit.unwrap_or(group.unit);
        group.length = length.unwrap_or(group.length);
        group.age = age.unwrap_or(group.age);
        group.taken = taken.unwrap_or(group.taken);
        group.scheduled = scheduled.unwrap_or(group.scheduled);
        group.failed = failed.unwrap_or(group.failed);
        group.lost = lost.unwrap_or(group.lost);
        group.visibility_timeout = timeout.or(group.visibility_timeout);
        (group.skew, group.skew_floor) = skew.unwrap_or((group.skew, group.skew_floor));
    }
    let requires = |key: &str, is_there: &dyn Fn(&QueueGroup) -> bool, what: &str| {
        let missing = section.value(key).filter(|_| !groups.iter().any(is_there));
        missing
            .map_or(Ok(()), |value| Err(value.problem(format_args!("`{key}` requires {what}, or remove it"))))
    };
    requires(
        "lost",
        &|group| group.visibility_timeout.is_some(),
        "a time from which on an entry is lost; add `visibility_timeout`",
    )?;
    requires("skew", &|group| !group.summed, "queues of one key each; write `keys` as a list")?;
    for state in [QueueState::Scheduled, QueueState::Failed] {
        let what = format!("keys with such entries; add `keys.{}`", state.name());
        requires(state.name(), &|group| group.of(state).next().is_some(), &what)?;
    }
    Ok(())
}

/// Removes the limits of a preset for states that a queue of it does not have.
fn without_idle_limits(groups: &mut [QueueGroup]) {
    let takes = |group: &QueueGroup| group.of(QueueState::Taken).next().is_some();
    let some_take = groups.iter().any(takes);
    for group in groups {
        if group.keys.iter().all(|(state, _)| matches!(state, QueueState::Taken | QueueState::Failed)) {
            (group.length, group.age) = (Thresholds::default(), Thresholds::default());
        }
        if some_take && !takes(group) {
            (group.lost, group.visibility_timeout) = (Thresholds::default(), None);
        }
    }
}

/// The limits of a proportion, and its floor.
fn skew(value: &Value) -> Result<(Thresholds<f64>, u64), ConfigProblem> {
    let table = table::table_of_limits("skew", value)?;
    table.only(keys::QUEUE_SKEW)?;
    let limits = table::limits("skew", value, table, Worse::More, |key, value| table::above(1, key, value))?;
    let floor = table.get("floor").map(Value::number).transpose()?;
    Ok((limits, floor.map_or(QueueGroup::SKEW_FLOOR, u64::from)))
}

/// The queues of a preset: those by the names that are given or the library's own, and the keys that they share.
fn of_preset(
    section: &CheckTable<'_>,
    preset: &QueuePreset,
    name: Option<&str>,
) -> Result<Vec<QueueGroup>, ConfigProblem> {
    let text = |key, default| section.value(key).map_or(Ok(default), Value::text);
    let texts = |key, default: &[&'static str]| match section.value(key) {
        Some(value) => Ok(value.texts()?.into_iter().map(|(text, _)| text.to_owned()).collect()),
        None => Ok(default.iter().copied().map(str::to_owned).collect::<Vec<_>>()),
    };
    let (prefix, separator) = (text("prefix", preset.prefix)?, text("separator", "\x06\x16")?);
    let (names, steps) = (texts("names", preset.names)?, texts("priority_steps", &["0", "3", "6", "9"])?);
    let place =
        section.value("names").or(section.value("preset")).map_or(&section.place, |value| &value.place);
    if names.is_empty() {
        return Err(place.problem("the names of the queues are missing; add names = [\"mail\"]"));
    }
    let group = |name: Option<&str>, queue: &str, templates: &[(QueueState, &str)]| {
        let mut keys = Vec::new();
        for (state, template) in templates {
            let steps = if template.contains("{step}") { steps.as_slice() } else { &[String::new()] };
            // kombu's queue of priority 0 has no suffix.
            for step in steps.iter().filter(|step| *step != "0") {
                let key = template.replace("{step}", &format!("{separator}{step}")).replace("{name}", queue);
                let key = family(&format!("{prefix}{key}")).map_err(|error| place.problem(error))?;
                keys.push((*state, key));
            }
        }
        Ok(QueueGroup { name: name.map(Arc::from), keys, summed: preset.summed, ..preset.group() })
    };
    let each = names.iter().map(|queue| {
        let queue =
            if preset.plain_names { queue.replace(|char| !is_plain(char), "") } else { queue.clone() };
        group(if preset.summed { Some(&queue) } else { name }, &queue, preset.each)
    });
    let (shared, templates) = preset.shared;
    let shared = (!templates.is_empty()).then(|| group(Some(shared), "", templates));
    each.chain(shared).collect()
}

/// `true` for a character that huey keeps in a name.
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// The keys of one queue, by state.
fn by_state(value: &Value) -> Result<Vec<(QueueState, Keys)>, ConfigProblem> {
    let table = table_of(value)?;
    table.only(keys::QUEUE_KEYS)?;
    let mut found = Vec::new();
    for state in QueueState::ALL {
        let keys = table.get(state.name()).map(keys).transpose()?.unwrap_or_default();
        found.extend(keys.into_iter().map(|keys| (state, keys)));
    }
    unless(found.is_empty(), value, "the keys of the queue are missing; add waiting = [\"jobs\"]")?;
    Ok(found)
}

/// The keys, none of which may be there twice.
fn keys(value: &Value) -> Result<Vec<Keys>, ConfigProblem> {
    let texts = value.texts()?;
    unless(
        texts.is_empty(),
        value,
        "the list of keys is empty; write \"celery\", or \"b:p:{0..15}\" for sixteen keys",
    )?;
    let families: Vec<_> = texts
        .into_iter()
        .map(|(text, place)| Ok((family(text).map_err(|error| place.problem(error))?, place)))
        .collect::<Result<_, ConfigProblem>>()?;
    let many: u64 = families.iter().map(|(keys, _)| keys.many()).sum();
    unless(many > MAX_KEYS, value, format_args!("too many keys: {many} of at most {MAX_KEYS}"))?;
    let mut seen = HashSet::new();
    for (keys, place) in &families {
        if let Some(twice) = keys.names().find(|name| !seen.insert(name.clone())) {
            return Err(place.problem(format_args!("`{twice}` is listed twice; list each key once")));
        }
    }
    Ok(families.into_iter().map(|(keys, _)| keys).collect())
}

/// A key, or a family of them with their numbers in braces. Other braces, such as those of a hash tag, are a part of
/// the key.
fn family(text: &str) -> Result<Keys, &'static str> {
    if text.is_empty() {
        return Err("a key is empty; remove it");
    }
    if table::is_pattern(text) {
        return Err(
            "a key must be a name, but this is a pattern (`*`, `?` or `[...]`); list each key, or write a numbered \
                    family such as \"b:p:{0..15}\"",
        );
    }
    let mut found = None;
    for (open, _) in text.match_indices('{') {
        let Some((inner, after)) = text[open + 1..].split_once('}') else { break };
        let Some((least, greatest)) = inner.split_once("..") else { continue };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(least) || !digits(greatest) {
            continue;
        }
        if found.is_some() {
            return Err("only one {a..b} range is allowed in a key; split this into one entry per range");
        }
        let numbers = numbers(least, greatest).ok_or(FAMILY)?;
        found =
            Some(Keys { before: text[..open].to_owned(), numbers: Some(numbers), after: after.to_owned() });
    }
    let one = || Keys { before: text.to_owned(), numbers: None, after: String::new() };
    Ok(found.unwrap_or_else(one))
}

fn numbers(least: &str, greatest: &str) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| text.parse().ok().filter(|number: &u32| number.to_string() == text);
    let (least, greatest) = (number(least)?, number(greatest)?);
    (least <= greatest).then_some(least..=greatest)
}
