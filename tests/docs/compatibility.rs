//! What `docs/compatibility.md` promises by name: commands, settings, endpoints, JSON keys, statuses, causes and metrics.
//!
//! `tests/docs/promised` has the names of all versions so far. `UPDATE=1 cargo test --test docs` adds new ones to it; none is ever taken out
//! without a breaking change.

use std::collections::BTreeSet;
use std::fs;

use cache_canary::cli::Cli;
use cache_canary::config::SCHEMA;
use cache_canary::http::metrics::Family;
use cache_canary::outcome::{Cause, Figure, Status};
use clap::CommandFactory as _;
use serde_json::Value;

use super::{path, read};

const PROMISED: &str = "tests/docs/promised";

/// Every promised name of this version.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut command = Cli::command();
    command.build();
    add_options(&command, &mut names);
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    add_properties("setting", "", &schema, &mut names);
    add_properties_of_each("setting", &schema["$defs"], &mut names);
    let endpoints: Value = serde_json::from_str(&read("src/http/openapi.json")).unwrap();
    add_properties_of_each("json", &endpoints["components"]["schemas"], &mut names);
    for (path, methods) in endpoints["paths"].as_object().unwrap() {
        for (method, answers) in methods.as_object().unwrap() {
            let codes = answers["responses"].as_object().into_iter().flatten();
            names.extend(codes.map(|(code, _)| format!("endpoint {method} {path} {code}")));
        }
    }
    let statuses = [Status::Up, Status::Degraded, Status::Down, Status::Skipped];
    names.extend(statuses.map(|status| format!("status {}", status.as_str())));
    names.extend(Cause::ALL.iter().map(|cause| format!("cause {cause}")));
    for family in Family::ALL {
        names.insert(format!("metric {} {:?} {}", family.name(), family.kind(), family.labels().join(",")));
    }
    for figure in Figure::ALL {
        names.insert(format!("metric {} alias,check,{}", figure.name(), figure.label()));
    }
    names
}

/// Adds a command with its options, and those below it.
fn add_options(command: &clap::Command, names: &mut BTreeSet<String>) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    names.insert(format!("command {name}"));
    let options = command.get_arguments().filter_map(clap::Arg::get_long);
    names.extend(options.map(|option| format!("command {name} --{option}")));
    command.get_subcommands().for_each(|below| add_options(below, names));
}

fn add_properties_of_each(kind: &str, schemas: &Value, names: &mut BTreeSet<String>) {
    for (name, schema) in schemas.as_object().unwrap() {
        add_properties(kind, name, schema, names);
    }
}

/// Adds the properties of a schema, and those within them. A reference is a schema of its own.
fn add_properties(kind: &str, place: &str, schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for (key, member) in members.iter().filter(|(key, _)| *key != "$defs") {
                if key != "properties" {
                    add_properties(kind, place, member, names);
                    continue;
                }
                for (name, property) in member.as_object().unwrap() {
                    let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    add_properties(kind, &place, property, names);
                    names.insert(format!("{kind} {place}"));
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|one| add_properties(kind, place, one, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The promised names that are gone.
fn broken<'a>(promised: &'a BTreeSet<String>, names: &'a BTreeSet<String>) -> Vec<&'a String> {
    promised.difference(names).collect()
}

#[test]
fn every_promised_name_is_still_there() {
    let promised: BTreeSet<_> = read(PROMISED).lines().map(str::to_owned).collect();
    let mut names = names();
    assert_eq!(broken(&promised, &names), [""; 0], "docs/compatibility.md: this would be a breaking change");
    if std::env::var_os("UPDATE").is_some() {
        let lines: Vec<_> = names.into_iter().map(|name| name + "\n").collect();
        fs::write(path(PROMISED), lines.concat()).unwrap();
        return;
    }
    assert_eq!(broken(&names, &promised), [""; 0], "UPDATE=1 cargo test --test docs adds them to {PROMISED}");
    for one in ["cause masked", "json Report.status", "setting cache.url", "endpoint get /health 503"] {
        assert!(names.remove(one), "{one}");
        assert_eq!(broken(&promised, &names), [one]);
        names.insert(one.to_owned());
    }
}
