//! Templates: texts that hold `{label}`, filled in for one target.
//!
//! `{{` and `}}` stand for braces, and braces around anything but a label for themselves, as in `b:p:{0..15}`.

use crate::config::place::ConfigProblem;
use crate::config::source::targets::Target;
use crate::config::value::{Table, TableEntry, Value, ValueKind as Typed};

const PROGRAM: &str = "labels cannot name a program or its arguments; use password_file";

/// A part of a template.
enum Part<'a> {
    Text(&'a str),
    Label { name: &'a str, default: Option<&'a str> },
}

/// The text of `template` for a target; `key` is its setting.
pub(super) fn fill(template: &Value, key: &str, target: &Target) -> Result<String, ConfigProblem> {
    let parts = parts(template.text()?);
    let is_whole = parts.len() == 1 && !key.ends_with("_file");
    let mut filled = String::new();
    for part in parts {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Label { name, default } => {
                let Some(value) = target.label(name).or(default) else {
                    return Err(template.problem(format_args!(
                        "the target has no label `{name}`; add it, or a default with {{{name}:-default}}"
                    )));
                };
                // A part could otherwise be the end of a host and the begin of a login, or lead out of a directory.
                if !is_whole && !may_be_a_part(value) {
                    return Err(template.problem(format_args!(
                        "the value of the label `{name}` may only have letters, digits, `_`, `-`, `.`, `:`, `[` or `]`, since it \
                         is a part of `{key}`"
                    )));
                }
                filled.push_str(value);
            }
        }
    }
    Ok(filled)
}

/// The same of every text in a table.
pub(super) fn fill_table(template: &Table, target: &Target) -> Result<Table, ConfigProblem> {
    let fill = |entry: &TableEntry| {
        let value = fill_value(&entry.value, &entry.key, target)?;
        Ok(TableEntry { key: entry.key.clone(), key_place: entry.key_place.clone(), value })
    };
    template.0.iter().map(fill).collect::<Result<_, _>>().map(Table)
}

fn fill_value(template: &Value, key: &str, target: &Target) -> Result<Value, ConfigProblem> {
    let kind = match &template.kind {
        Typed::Text(text) => {
            let filled = fill(template, key, target)?;
            let literal = template.literal && filled == *text;
            return Ok(Value { kind: Typed::Text(filled), place: template.place.clone(), literal });
        }
        Typed::List(values) => {
            Typed::List(values.iter().map(|value| fill_value(value, key, target)).collect::<Result<_, _>>()?)
        }
        Typed::Table(table) => Typed::Table(fill_table(table, target)?),
        other => other.clone(),
    };
    Ok(Value { kind, place: template.place.clone(), literal: template.literal })
}

/// A problem if a label would choose a program that runs.
pub(super) fn check(template: &Table) -> Result<(), ConfigProblem> {
    let Some(value) = template.get("password_command") else { return Ok(()) };
    let has_label = |text: &str| parts(text).iter().any(|part| matches!(part, Part::Label { .. }));
    let texts = value.texts()?;
    match texts.iter().find(|(text, _)| has_label(text)) {
        Some((_, place)) => Err(place.problem(PROGRAM)),
        None => Ok(()),
    }
}

/// `true` if a value can neither end the part of a text that it is in nor lead to another directory.
fn may_be_a_part(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:[]".contains(&byte);
    value.bytes().all(is_plain) && !(value.contains('.') && value.bytes().all(|byte| byte == b'.'))
}

/// The parts of a template.
fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut text = 0;
    let mut at = 0;
    while let Some(found) = template[at..].find(['{', '}']) {
        let brace = at + found;
        let rest = &template[brace..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            parts.push(Part::Text(&template[text..=brace]));
            (text, at) = (brace + 2, brace + 2);
        } else if let Some((part, length)) = label(rest) {
            if text < brace {
                parts.push(Part::Text(&template[text..brace]));
            }
            parts.push(part);
            (text, at) = (brace + length, brace + length);
        } else {
            at = brace + 1;
        }
    }
    if text < template.len() {
        parts.push(Part::Text(&template[text..]));
    }
    parts
}

/// The label at the beginning of a text, and its length with the braces.
fn label(text: &str) -> Option<(Part<'_>, usize)> {
    let (reference, _) = text.strip_prefix('{')?.split_once('}')?;
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    // "Data model" in Prometheus' documentation.
    let is_name = !name.starts_with(|char: char| char.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((Part::Label { name, default }, reference.len() + 2))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::rc::Rc;

    use super::*;
    use crate::config::place::{Place, Text};

    fn place() -> Place {
        Place::File(Text::new(Path::new("f"), String::new()), 0..0)
    }

    fn filled(key: &str, template: &str) -> Result<String, String> {
        let labels = [("team", "a"), ("bad", "x@evil/"), ("up", ".."), ("env", "${HOME}"), ("empty", "")];
        let labels: BTreeMap<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let target = Target { address: "host:6379".to_owned(), place: place(), labels: Rc::new(labels) };
        let template = Value::new(Typed::Text(template.to_owned()), place());
        fill(&template, key, &target).map_err(|problem| problem.what)
    }

    #[test]
    fn labels_are_filled_in_and_other_braces_stay() {
        for (template, text) in [
            ("redis://{__address__}/0", "redis://host:6379/0"),
            ("{team}-{team}", "a-a"),
            ("b:p:{0..15}", "b:p:{0..15}"),
            ("{{team}} {team}", "{team} a"),
            ("{", "{"),
            ("}{", "}{"),
            ("{}{team}{", "{}a{"),
            ("{none:-all}{empty}", "all"),
            ("é{team}é", "éaé"),
            ("{bad}", "x@evil/"),
            ("{env}", "${HOME}"),
            ("", ""),
        ] {
            assert_eq!(filled("url", template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_label_is_no_part_of_a_text_if_it_could_end_it() {
        for template in ["redis://{bad}", "redis://{env}:6379", "/run/{up}/password"] {
            assert!(
                filled("url", template).unwrap_err().contains("since it is a part of `url`"),
                "{template}"
            );
        }
        assert!(filled("password_file", "{bad}").unwrap_err().contains("a part of `password_file`"));
        assert!(filled("url", "{none}").unwrap_err().starts_with("the target has no label `none`"));
    }
}
