//! The manual pages are what the code says. `UPDATE=1 cargo test --test cli man` rewrites them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use cache_canary::cli::Cli;
use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::support::pages;

const DIRECTORY: &str = "deploy/man";

/// The sections that are made of what stands below the options in `--help`, in the order that manual pages have.
const ORDER: [&str; 5] = ["EXIT STATUS", "ENVIRONMENT", "FILES", "SIGNALS", "EXAMPLES"];

#[test]
fn each_command_has_a_page_with_the_text_of_its_help() {
    let pages = all_pages();
    for (name, page) in &pages {
        pages::compare(&format!("{DIRECTORY}/{name}"), page);
    }
    let mut written: Vec<_> = fs::read_dir(format!("{}/{DIRECTORY}", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    let mut made: Vec<_> = pages.into_iter().map(|(name, _)| name).collect();
    made.sort();
    assert_eq!(written, made);
}

#[test]
fn groff_finds_no_fault_in_a_page() {
    for (name, page) in all_pages() {
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, page).unwrap();
        let groff =
            Command::new("groff").args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&groff.stderr), "", "{name}");
        assert!(groff.status.success(), "{name}");
        let text = String::from_utf8_lossy(&groff.stdout).into_owned();
        for word in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.contains(word), "{name} has no {word}:\n{text}");
        }
    }
}

/// Every page with its file's name.
fn all_pages() -> Vec<(String, String)> {
    let mut command = Cli::command().subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND");
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, None, &mut pages);
    pages
}

fn add_pages(command: &clap::Command, parent: Option<&str>, pages: &mut Vec<(String, String)>) {
    let man = Man::new(command.clone()).date(env!("CARGO_PKG_VERSION")).source("cache-canary");
    let man = man.manual("User Commands");
    pages.push((man.get_filename(), page(&man, command, parent)));
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        add_pages(command, Some(&name), pages);
    }
}

fn page(man: &Man, command: &clap::Command, parent: Option<&str>) -> String {
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    // Commands are copied from here: no hyphen may come into them, nor any space.
    Roff::new().control("nh", []).control("ad", ["l"]).to_writer(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();

    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let sections = sections(&help);
    let of = |name: &'static str| sections.iter().filter(move |section| section.name == name);
    let mut more = Roff::new();
    for section in of("DESCRIPTION") {
        more.control("PP", []);
        section.write(&mut more);
    }
    more.to_writer(&mut page).unwrap();

    man.render_options_section(&mut page).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }

    let mut more = Roff::new();
    if of("EXIT STATUS").next().is_none() {
        // A part of a command that has its own page has the same codes.
        more.control("SH", ["EXIT STATUS"]).text([roman(
            "0 if it did what it was told, 2 if the arguments or the configuration are not valid.",
        )]);
    }
    for name in ORDER {
        for (place, section) in of(name).enumerate() {
            if place == 0 {
                more.control("SH", [name]);
            } else {
                more.control("PP", []);
            }
            section.write(&mut more);
        }
    }
    more.control("SH", ["SEE ALSO"]);
    let others: Vec<_> = match parent {
        Some(parent) => vec![parent.to_owned()],
        None => {
            command.get_subcommands().map(|command| format!("cache-canary-{}", command.get_name())).collect()
        }
    };
    for (place, other) in others.iter().enumerate() {
        let comma = if place + 1 < others.len() { "(1)," } else { "(1)" };
        more.text([bold(other), roman(comma)]);
    }
    more.to_writer(&mut page).unwrap();
    once(&String::from_utf8(page).unwrap())
}

/// The page with what each of its parts defines first defined once.
fn once(page: &str) -> String {
    let (definitions, _) = page.split_once(".TH ").unwrap();
    format!("{definitions}{}", page.replace(definitions, ""))
}

/// A paragraph of the help below the options, and the section where it belongs.
struct Section {
    name: String,
    lines: Vec<String>,
}

impl Section {
    fn write(&self, roff: &mut Roff) {
        let listed = self.lines.iter().all(|line| line.starts_with("  "));
        for line in self.lines.iter().map(|line| line.trim()) {
            if !listed || self.name == "FILES" || self.name == "SIGNALS" {
                roff.text([roman(line)]);
            } else if let Some((term, text)) = line.split_once("  ") {
                roff.control("TP", []).text([bold(term)]).text([roman(text.trim())]);
            } else {
                roff.control("TP", []).text([bold(line)]);
            }
        }
    }
}

/// The paragraphs of what stands below the options. One without a head of its own goes on with the section before; what
/// stands before the first head describes the command.
fn sections(help: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let mut lines: Vec<_> = paragraph.lines().map(str::to_owned).collect();
        let first = lines[0].clone();
        let before = sections.last().map_or("DESCRIPTION", |section| &section.name);
        let name = if let Some(codes) = first.strip_prefix("Exit codes: ") {
            codes.clone_into(&mut lines[0]);
            "EXIT STATUS".to_owned()
        } else if let Some(head) = first.strip_suffix(':').filter(|_| lines.len() > 1) {
            lines.remove(0);
            head.to_uppercase()
        } else if first.starts_with("SIGTERM") {
            "SIGNALS".to_owned()
        } else {
            before.to_owned()
        };
        assert!(name == "DESCRIPTION" || ORDER.contains(&&*name), "{name} has no place in ORDER");
        sections.push(Section { name, lines });
    }
    sections
}
