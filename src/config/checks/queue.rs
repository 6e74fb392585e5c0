//! `[caches.ALIAS.checks.queue]`: the queues that are to be drained, and their limits.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::table::{self, CheckTable, Worse};
use super::{Keys, QueueConfig, presets};
use crate::config::Backend;
use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{Value, unless};

/// The most keys that are looked at in a round.
const MAX_KEYS: u64 = 10_000;

const FAMILY: &str = "a range in a key must be in braces, from the lowest to the highest number, without leading zeros: \
                      \"b:p:{0..15}\"";

pub(super) fn read(mut section: CheckTable<'_>, backend: &Backend) -> Result<QueueConfig, ConfigProblem> {
    section.table.only(keys::QUEUE)?;
    table::redis_alone(
        backend,
        &section.place,
        "memcached has no lists, sorted sets, streams or sets; `queue` requires Redis",
    )?;
    let filled_in = ["keys", "length", "age", "skew", "lock"];
    let preset = section.preset(&filled_in, keys::QUEUE_PRESETS, presets::queue)?;
    let keys = section.said("keys", keys)?;
    let mut queue = match (keys, preset) {
        (Some(keys), preset) => QueueConfig { keys, ..preset.unwrap_or_else(|| QueueConfig::of(Vec::new())) },
        (None, Some(preset)) => preset,
        (None, None) => {
            return Err(section.place.problem(
                "the keys of the queues are missing; add keys = [\"celery\"], or preset = \"celery\"",
            ));
        }
    };
    let length = section.limits("length", |key, value| table::count(key, value).map(u64::from))?;
    queue.length = length.unwrap_or(queue.length);
    queue.age = section.durations("age")?.unwrap_or(queue.age);
    queue.unit = section.unit()?.unwrap_or(queue.unit);
    if let Some(value) = section.get("skew") {
        let table = table::table_of_limits("skew", value)?;
        table.only(keys::QUEUE_SKEW)?;
        queue.skew =
            table::limits("skew", value, table, Worse::More, |key, value| table::above(1, key, value))?;
        if let Some(floor) = table.get("floor") {
            queue.skew_floor = u64::from(floor.number()?);
        }
    }
    queue.lock = section.key_name("lock")?.or(queue.lock);
    if let Some(value) = section.get("lock_within") {
        unless(queue.lock.is_none(), value, "`lock_within` requires a lock; add `lock`, or remove it")?;
        queue.lock_within = table::duration("lock_within", value)?;
    }
    Ok(queue)
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
