//! The files of the packages: all are there, and the service is as closed as the unit in `deploy`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{output, path, read, text};

/// The names of the files that a list of assets takes, except those that a release makes in `target`.
fn sources(assets: &Value) -> BTreeSet<String> {
    let sources = assets.as_array().unwrap().iter().map(|asset| match asset {
        Value::Array(parts) => parts[0].as_str().unwrap(),
        asset => asset["source"].as_str().unwrap(),
    });
    sources.filter(|source| !source.starts_with("target/")).map(str::to_owned).collect()
}

/// Those of them that are not there.
fn missing(sources: &BTreeSet<String>) -> Vec<String> {
    let is_missing = |source: &&String| match source.split_once('*') {
        Some((folder, end)) => !fs::read_dir(path(folder)).is_ok_and(|mut entries| {
            entries.any(|entry| entry.unwrap().file_name().to_str().unwrap().ends_with(end))
        }),
        None => !path(source).is_file(),
    };
    sources.iter().filter(is_missing).cloned().collect()
}

#[test]
fn both_packages_have_the_same_files_and_all_are_there() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(path(""));
    let printed = output(&mut cargo);
    assert!(printed.status.success(), "{}", text(&printed));
    let manifest: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let metadata = &manifest["packages"][0]["metadata"];
    let deb = sources(&metadata["deb"]["assets"]);
    let rpm = sources(&metadata["generate-rpm"]["assets"]);
    assert!(deb.len() > 4, "{deb:?}");
    // cargo-deb adds the unit by itself.
    let unit = "release/package/cache-canary.service".to_owned();
    assert_eq!(deb.iter().chain([&unit]).collect::<BTreeSet<_>>(), rpm.iter().collect());
    assert_eq!(missing(&rpm), Vec::<String>::new());
    let unknown = BTreeSet::from(["deploy/man/*.7".to_owned(), "release/package/none".to_owned()]);
    assert_eq!(missing(&unknown).len(), 2);
}

/// The lines of a unit that mean something.
fn lines(unit: &str) -> BTreeSet<&str> {
    unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn the_service_of_the_packages_differs_from_the_unit_in_deploy_by_its_user_and_its_files() {
    let (packaged, example) =
        (read("release/package/cache-canary.service"), read("deploy/systemd/cache-canary.service"));
    let added: Vec<_> = lines(&packaged).difference(&lines(&example)).copied().collect();
    let arguments = "cache-canary serve -c /etc/cache-canary/cache-canary.toml";
    let start = format!("ExecStart=/usr/bin/{arguments}");
    assert_eq!(added, [start.as_str(), "Group=cache-canary", "User=cache-canary"]);
    let removed: Vec<_> = lines(&example).difference(&lines(&packaged)).copied().collect();
    let start = format!("ExecStart=/usr/local/bin/{arguments}");
    let credential = "LoadCredential=redis-password:/etc/cache-canary/redis-password";
    assert_eq!(removed, ["DynamicUser=yes", start.as_str(), credential]);
}

/// The commands of the README after an installation, of which one names a Redis.
#[test]
fn the_configuration_of_the_packages_is_valid_with_the_words_of_the_readme() {
    let readme = read("README.md");
    let command = readme
        .lines()
        .find(|line| line.ends_with(">>/etc/cache-canary/cache-canary.toml"))
        .expect("a command");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache-canary.toml");
    fs::copy(path("release/package/cache-canary.toml"), &file).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache-canary"));
        output(command.env_clear().args(["config", "check", "-c"]).arg(&file))
    };
    let without = check();
    assert_eq!(without.status.code(), Some(2), "{}", text(&without));
    assert!(text(&without).contains("no cache is configured"), "{}", text(&without));

    let command = command.replace("/etc/cache-canary/cache-canary.toml", file.to_str().unwrap());
    assert!(output(Command::new("sh").args(["-ec", &command])).status.success());
    let with = check();
    assert!(with.status.success(), "{}", text(&with));
}
