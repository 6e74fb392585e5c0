//! `SECURITY.md`: each claim of its threat model names the tests that hold it.

use std::fs;
use std::path::Path;

use super::{path, read};

/// The sources of a folder and those below it, in one text.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|entry| match entry.extension() {
        _ if entry.is_dir() => sources(&entry),
        Some(extension) if extension == "rs" => fs::read_to_string(&entry).unwrap(),
        Some(_) | None => String::new(),
    });
    texts.collect()
}

/// The tests that a row names in its last column.
fn tests_of(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
    last.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_claim_of_the_threat_model_names_tests_that_there_are() {
    let tests = sources(&path("tests"));
    let is_there = |name: &&str| tests.contains(&format!("fn {name}("));
    let page = read("SECURITY.md");
    let (_, model) = page.split_once("| --- | --- | --- | --- |\n").unwrap();
    let rows: Vec<_> = model.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 20, "{}", rows.len());
    for row in rows {
        let named = tests_of(row);
        assert!(!named.is_empty(), "no test: {row}");
        assert!(named.iter().all(is_there), "a test that is not there: {row}");
    }
    assert_eq!(tests_of("| a | b | | `one`, `two` |"), ["one", "two"]);
    assert!(!is_there(&"a_test_that_nobody_has_written"));
}
