//! `config schema` prints a schema that a published validator takes, and that holds for configurations as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::python::python;

/// The faults of each of these files against the schema that the program prints; none for a valid one.
fn wrong(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let folder = TempDir::new().expect("a temporary folder");
    let schema = folder.path().join("cache-canary.schema.json");
    let mut program = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
    let printed = program.args(["config", "schema"]).output().expect("the program runs");
    assert!(printed.status.success());
    fs::write(&schema, printed.stdout).expect("the schema is written");
    let paths = [&schema].into_iter().chain(files).map(|path| path.to_str().expect("UTF-8"));
    let output = python("config/schema.py", &paths.collect::<Vec<_>>()).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(|line| line.split_once('\t').expect("a path and what is wrong"));
    lines.map(|(path, wrong)| (PathBuf::from(path), wrong.to_owned())).collect()
}

/// The examples of the README and of `docs`, each in a file of its own.
fn examples(folder: &Path) -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    let entries = fs::read_dir("docs").expect("the pages").map(|entry| entry.expect("an entry of it").path());
    pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let mut examples = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        let name = page.file_stem().expect("a name").to_string_lossy().into_owned();
        for (number, rest) in text.split("```toml\n").skip(1).enumerate() {
            let path = folder.join(format!("{name}-{number}.toml"));
            let example = rest.split("```").next().unwrap_or_default();
            fs::write(&path, example).expect("an example is written");
            examples.push(path);
        }
    }
    assert!(examples.len() > 10, "the pages have examples");
    examples
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new("tests/config").join(folder)).expect("the folder of cases");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn refused(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    wrong(files).into_iter().filter(|(_, wrong)| !wrong.is_empty()).collect()
}

#[test]
fn every_valid_configuration_of_the_tests_and_the_pages_is_right_by_the_schema() {
    let folder = TempDir::new().expect("a temporary folder");
    let examples = examples(folder.path());
    let files = [examples, toml_files("valid")].concat();
    assert_eq!(wrong(&files).len(), files.len());
    assert_eq!(refused(&files), BTreeMap::new());
}

#[test]
fn unknown_keys_and_wrong_types_are_wrong_by_the_schema_too() {
    let is_the_schemas = |path: &PathBuf| {
        let message = fs::read_to_string(path.with_extension("txt")).expect("the message");
        let mut lines = message.lines().filter(|line| line.starts_with(&format!("{}:", path.display())));
        let faults = ["unknown key", "belongs here", "this is no duration"];
        // The value of a variable is not in the file.
        !path.with_extension("env").exists()
            && lines.any(|line| faults.iter().any(|fault| line.contains(fault)))
    };
    let files: Vec<_> = toml_files("invalid").into_iter().filter(is_the_schemas).collect();
    assert!(files.len() > 20, "there are some: {files:?}");
    let refused = refused(&files);
    let missed: Vec<_> = files.iter().filter(|path| !refused.contains_key(*path)).collect();
    assert!(missed.is_empty(), "the schema lets these through: {missed:?}");
}
