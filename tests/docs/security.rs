//! `SECURITY.md`: each claim of its threat model names the tests that hold it.

use super::{files_in, read};

/// The tests that a row names in its last column.
fn tests_of(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
    last.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_claim_of_the_threat_model_names_tests_that_there_are() {
    let tests: String = files_in("tests", "rs").iter().map(|file| read(file)).collect();
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
