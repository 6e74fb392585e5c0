//! The parts of pages that are made from the code.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use cache_canary::cli::Cli;
use cache_canary::config::SCHEMA;
use cache_canary::http::metrics::Family;
use cache_canary::outcome::{Cause, Figure};
use clap::CommandFactory as _;
use serde_json::Value;

use super::{path, read};

/// Compares these parts of a page, each between the comments `<!-- NAME -->` and `<!-- /NAME -->`, with the expected
/// text, or with `UPDATE=1` writes them.
fn compare(page: &str, parts: &[(String, String)]) {
    let written = read(page);
    let mut made = written.clone();
    for (name, text) in parts {
        let mark = format!("<!-- {name} -->\n");
        let begin = made.find(&mark).unwrap_or_else(|| panic!("{page} has no {mark}")) + mark.len();
        let end = begin + made[begin..].find(&format!("<!-- /{name} -->")).expect("the end of the part");
        made.replace_range(begin..end, text);
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(page), made).unwrap();
    } else {
        assert!(written == made, "{page} is not current: UPDATE=1 cargo test --test docs writes it");
    }
}

#[test]
fn the_table_of_metrics_matches_the_code() {
    let mut table = "\n| metric | labels | meaning |\n| --- | --- | --- |\n".to_owned();
    let of_figure = |figure: &Figure| {
        let of = Some(figure.label()).filter(|label| !label.is_empty());
        (figure.name(), ["alias", "check"].into_iter().chain(of).collect(), figure.help())
    };
    let of_family = |family: &Family| (family.name(), family.labels().to_vec(), family.help());
    for (name, labels, help) in Family::ALL.iter().map(of_family).chain(Figure::ALL.iter().map(of_figure)) {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {} | {help} |", labels.join(", ")).unwrap();
    }
    compare("docs/metrics.md", &[("metrics".to_owned(), table + "\n")]);
}

#[test]
fn every_cause_has_a_section_with_its_hint_a_command_and_reasons() {
    let hint = |cause: &Cause| (format!("hint: {cause}"), format!("\n> {}\n\n", cause.hint()));
    compare("docs/causes.md", &Cause::ALL.iter().map(hint).collect::<Vec<_>>());

    let page = read("docs/causes.md");
    let headed: Vec<_> = page.split("\n## ").skip(1).map(|section| section.lines().next().unwrap()).collect();
    let names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(headed, names, "the sections are the causes, in their order");
    for section in page.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap();
        assert!(section.contains("\nRun first: `"), "{name} has no command to run first");
        assert!(section.contains("\n- "), "{name} has no usual reasons");
    }
}

#[test]
fn the_page_of_commands_is_their_help() {
    let mut command = Cli::command();
    command.build();
    let mut text = String::new();
    add_help(&mut command, &mut text);
    compare("docs/cli.md", &[("help".to_owned(), text)]);
}

fn add_help(command: &mut clap::Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()).unwrap();
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        add_help(command, text);
    }
}

/// The sections of `docs/configuration.md`, and where the schema has their keys.
const SECTIONS: &[(&str, &str)] = &[
    ("general", ""),
    ("access", "/properties/access"),
    ("tls", "/properties/tls"),
    ("limits", "/properties/limits"),
    ("probes", "/properties/probes"),
    ("metrics", "/properties/metrics"),
    ("fleet", "/properties/fleet"),
    ("targets", "/$defs/targets"),
    ("shard", "/properties/shard"),
    ("groups.NAME", "/$defs/group"),
    ("caches.NAME", "/$defs/cache"),
    ("caches.NAME.auth.aws", "/$defs/aws"),
    ("caches.NAME.tls", "/$defs/tls"),
    ("caches.NAME.servers", "/$defs/servers"),
    ("caches.NAME.replicas", "/$defs/replicas"),
    ("caches.NAME.breaker", "/$defs/breaker"),
    ("caches.NAME.identity", "/$defs/identity"),
    ("caches.NAME.checks.visibility", "/$defs/visibility"),
    ("caches.NAME.checks.visibility.views", "/$defs/views"),
    ("caches.NAME.checks.queue", "/$defs/queue"),
    ("caches.NAME.checks.queue.keys", "/$defs/keys"),
    ("caches.NAME.checks.queue.skew", "/$defs/skew"),
    ("caches.NAME.checks.clock", "/$defs/clock"),
    ("caches.NAME.checks.efficiency", "/$defs/efficiency"),
    ("caches.NAME.checks.efficiency.ttl", "/$defs/ttl"),
];

/// Tables without a section: the ways to log in, the kinds of check, `degraded` with `down`, and more queues, whose
/// settings are those of `queue`.
const WITHOUT_SECTION: [&str; 6] = [
    "/$defs/auth",
    "/$defs/checks",
    "/$defs/durations",
    "/$defs/integers",
    "/$defs/numbers",
    "/$defs/queues",
];

#[test]
fn the_settings_are_those_of_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (mut parts, mut documented) = (Vec::new(), BTreeSet::from(WITHOUT_SECTION.map(str::to_owned)));
    for (section, pointer) in SECTIONS {
        let table = schema.pointer(pointer).unwrap();
        let prefix =
            section.rsplit_once('.').filter(|(_, last)| ["keys", "skew", "ttl", "views"].contains(last));
        let prefix = prefix.map_or(String::new(), |(_, last)| format!("{last}."));
        parts.push((format!("settings: {section}"), settings(table, section, &prefix)));
        documented.insert((*pointer).to_owned());
    }
    let mut tables = BTreeSet::new();
    find_tables(&schema, "", &mut tables);
    assert_eq!(tables, documented, "each table of the schema has a section");
    compare("docs/configuration.md", &parts);
}

#[test]
fn every_preset_of_queues_has_a_row_with_its_version() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let presets = schema.pointer("/$defs/queue/properties/preset/anyOf/0/enum").unwrap();
    let checks = fs::read_to_string("docs/checks.md").unwrap();
    let documented = checks.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let documented: BTreeSet<_> = documented.map(|(name, _)| name).collect();
    for preset in presets.as_array().unwrap() {
        assert!(documented.contains(preset.as_str().unwrap()), "{preset} is not in the table of presets");
    }
}

/// The pointers to everything in a schema that lists keys.
fn find_tables(value: &Value, pointer: &str, found: &mut BTreeSet<String>) {
    let Some(object) = value.as_object() else { return };
    if value["properties"].is_object() {
        found.insert(pointer.to_owned());
    }
    for (key, part) in object {
        find_tables(part, &format!("{pointer}/{key}"), found);
    }
}

/// The keys of a table with type, default and description; tables that have a section of their own are left out. The
/// variables of caches are long, and follow from the others.
fn settings(table: &Value, section: &str, prefix: &str) -> String {
    let variable = |key: &str| match section {
        "general" => format!("CACHE_CANARY_{key}").to_uppercase(),
        section => format!("CACHE_CANARY_{}__{key}", section.replace('.', "__")).to_uppercase(),
    };
    let has_variables = !section.starts_with("caches.");
    let (head, rule) = if has_variables { (" variable |", " --- |") } else { ("", "") };
    let mut text =
        format!("\n| setting |{head} type | default | meaning |\n| --- |{rule} --- | --- | --- |\n");
    for (key, value) in table["properties"].as_object().unwrap() {
        if value["properties"].is_object() || value["additionalProperties"].is_object() {
            continue;
        }
        let variable = if has_variables { format!(" `{}` |", variable(key)) } else { String::new() };
        let default = value.get("default").map(|default| format!("`{default}`")).unwrap_or_default();
        let meaning = value["description"].as_str().unwrap_or_default().replace('|', "\\|");
        writeln!(text, "| `{prefix}{key}` |{variable} {} | {default} | {meaning} |", kind(value)).unwrap();
    }
    text + "\n"
}

/// The type of a value, in words.
fn kind(value: &Value) -> String {
    if let Some(words) = value["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
        return words.join(", ");
    }
    if let Some(kinds) = value["anyOf"].as_array() {
        let is_reference = |kind: &&Value| kind["$ref"] == "#/$defs/reference";
        let kinds: Vec<_> = kinds.iter().filter(|kind| !is_reference(kind)).map(kind_of).collect();
        return kinds.join(" or ");
    }
    kind_of(value)
}

fn kind_of(value: &Value) -> String {
    let name = value["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    match name {
        Some("texts") => "text or list".to_owned(),
        Some(name @ ("duration" | "integer" | "number" | "boolean")) => name.to_owned(),
        Some("unit") => "`s`, `ms`".to_owned(),
        Some("durations") => "limits: durations".to_owned(),
        Some("integers") => "limits: integers".to_owned(),
        Some("numbers") => "limits: numbers".to_owned(),
        Some(_) => "table".to_owned(),
        None if value["enum"].is_array() => kind(value),
        None if value["type"] == "string" => "text".to_owned(),
        None if value["type"] == "array" => "list".to_owned(),
        None => panic!("a type without words: {value}"),
    }
}
