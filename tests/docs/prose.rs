//! The rule for prose, as far as a machine can count it: CONTRIBUTING has all of it.

use cache_canary::cli::Cli;
use cache_canary::config::SCHEMA;
use cache_canary::http::metrics::Family;
use cache_canary::outcome::{Cause, Figure};
use clap::CommandFactory as _;
use serde_json::Value;

use super::{pages, read};

/// A sentence may not begin with one of these, unless it is a question: the clause would be its subject.
const BARE: [&str; 7] = ["Who", "Whoever", "Whom", "What", "Whatever", "Where", "Wherever"];

/// Words of our own for what the field has a word for, and British spellings.
const COINAGES: [&str; 27] = [
    "anew",
    "bethink",
    "betimes",
    "debounce",
    "debouncing",
    "mend",
    "mended",
    "mends",
    "spared",
    "spares",
    "somebody",
    "whoever",
    "whereof",
    "thereof",
    "look-up",
    "look-ups",
    "dialled",
    "behaviour",
    "colour",
    "grey",
    "licence",
    "acknowledgement",
    "catalogue",
    "favour",
    "neighbour",
    "cancelled",
    "labelled",
];

/// How many of a hundred sentences of the pages, and of the messages, may break the rule. Messages are the hints, the help of
/// metrics and commands, and the descriptions of settings.
const MOST: f64 = 1.0;

/// The sentences of a page: of its paragraphs, items and cells. Blocks, headings and generated parts are left out: these
/// are messages.
fn sentences(page: &str) -> Vec<String> {
    let (mut is_code, mut is_generated) = (false, false);
    let mut units = vec![String::new()];
    for line in page.lines() {
        let begins = line.trim_start();
        if begins.starts_with("<!-- ") {
            let name = begins.trim_start_matches("<!-- /").trim_start_matches("<!-- ");
            is_generated = !begins.starts_with("<!-- /") && page.contains(&format!("<!-- /{name}"));
            units.push(String::new());
        } else if is_generated {
            // A message.
        } else if begins.starts_with("```") {
            is_code = !is_code;
            units.push(String::new());
        } else if is_code || begins.is_empty() || ["#", "<img"].iter().any(|mark| begins.starts_with(mark)) {
            units.push(String::new());
        } else if begins.starts_with('|') {
            units.extend(begins.split('|').map(str::to_owned));
        } else {
            let item = begins.trim_start_matches(|char: char| char.is_ascii_digit());
            let item = ["- ", "> ", ". "].iter().find_map(|mark| item.strip_prefix(mark));
            if item.is_some() {
                units.push(String::new());
            }
            let unit = units.last_mut().unwrap();
            unit.push(' ');
            unit.push_str(item.unwrap_or(begins));
        }
    }
    units.iter().flat_map(|unit| in_unit(unit)).collect()
}

/// The sentences of a paragraph.
fn in_unit(unit: &str) -> Vec<String> {
    let without_code: String =
        unit.split('`').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "code" }).collect();
    let plain: String = without_code.chars().filter(|char| !['*', '_'].contains(char)).collect();
    let plain = plain.replace(".) ", ".). ").replace(": ", ".: ");
    let ends = plain.split_inclusive(['.', '!', '?']).collect::<Vec<_>>();
    let mut sentences = vec![String::new()];
    for (at, part) in ends.iter().enumerate() {
        sentences.last_mut().unwrap().push_str(part);
        // A point within a name, a number or an address ends no sentence.
        if ends.get(at + 1).is_some_and(|next| next.starts_with([' ', ':'])) {
            sentences.push(String::new());
        }
    }
    let trimmed =
        sentences.iter().map(|sentence| sentence.trim_start_matches([' ', ':', '(', '"', '\'']).trim());
    trimmed.filter(|sentence| sentence.contains(' ')).map(str::to_owned).collect()
}

/// The violation of the rule in a sentence.
fn fault(sentence: &str) -> Option<String> {
    let words = || {
        sentence.split(|char: char| !char.is_alphanumeric() && char != '-').filter(|word| !word.is_empty())
    };
    let first = words().next()?;
    if BARE.contains(&first) && !sentence.ends_with('?') {
        return Some(format!("begins with {first}"));
    }
    let coined = words().map(str::to_lowercase).find(|word| COINAGES.contains(&&**word))?;
    Some(format!("has the word {coined}"))
}

/// Fails if more of these sentences than `most` in a hundred break the rule.
fn judge(what: &str, sentences: &[(String, String)], most: f64) {
    let broken: Vec<_> = sentences
        .iter()
        .filter_map(|(place, sentence)| Some(format!("{place}: {}: {sentence}", fault(sentence)?)))
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let share = 100.0 * broken.len() as f64 / sentences.len() as f64;
    assert!(
        share <= most,
        "{share:.1} % of {} sentences in {what}, and at most {most} % may:\n{}",
        sentences.len(),
        broken.join("\n")
    );
}

#[test]
fn the_pages_are_written_by_the_rule() {
    let pages = pages().into_iter();
    let of_page = |page: String| {
        let sentences = sentences(&read(&page));
        sentences.into_iter().map(move |sentence| (page.clone(), sentence)).collect::<Vec<_>>()
    };
    let sentences: Vec<_> = pages.flat_map(of_page).collect();
    assert!(sentences.len() > 500, "{} sentences", sentences.len());
    judge("the pages", &sentences, MOST);
}

#[test]
fn the_messages_are_written_by_the_rule() {
    let hints = Cause::ALL.iter().map(|cause| (cause.name().to_owned(), cause.hint().to_owned()));
    let families = Family::ALL.iter().map(|family| (family.name().to_owned(), family.help().to_owned()));
    let figures = Figure::ALL.iter().map(|figure| (figure.name().to_owned(), figure.help().to_owned()));
    let mut messages: Vec<_> = hints.chain(families).chain(figures).collect();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    add_descriptions(&schema, "schema", &mut messages);
    let mut command = Cli::command();
    command.build();
    add_help(&command, &mut messages);
    let of_message = |(place, text): &(String, String)| {
        let paragraphs: Vec<_> =
            text.split("\n\n").flat_map(|text| in_unit(&text.replace('\n', " "))).collect();
        paragraphs.into_iter().map(|sentence| (place.clone(), sentence)).collect::<Vec<_>>()
    };
    judge("the messages", &messages.iter().flat_map(of_message).collect::<Vec<_>>(), MOST);
}

/// The descriptions of settings, which editors show.
fn add_descriptions(value: &Value, place: &str, messages: &mut Vec<(String, String)>) {
    let Some(object) = value.as_object() else { return };
    for (key, part) in object {
        match part.as_str() {
            Some(text) if key == "description" => messages.push((place.to_owned(), text.to_owned())),
            _ => add_descriptions(part, key, messages),
        }
    }
}

fn add_help(command: &clap::Command, messages: &mut Vec<(String, String)>) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let texts = [command.get_about(), command.get_long_about(), command.get_after_help()];
    let of_arguments = command.get_arguments().map(clap::Arg::get_help);
    let texts = texts.into_iter().chain(of_arguments).flatten();
    messages.extend(texts.map(|text| (name.to_owned(), text.to_string())));
    for command in command.get_subcommands() {
        add_help(command, messages);
    }
}

#[test]
fn a_clause_for_a_subject_and_a_coinage_are_counted() {
    let page = "<!-- a -->\nWhat is made.\n<!-- /a -->\n# What it is\n\nWho asks gets JSON. Is it up? What is it?\n\n- **Where it is:** look anew at `a.b`.\n";
    let faults: Vec<_> = sentences(page).iter().filter_map(|sentence| fault(sentence)).collect();
    assert_eq!(faults, ["begins with Who", "begins with Where", "has the word anew"]);
}
