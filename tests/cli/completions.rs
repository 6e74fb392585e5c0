//! The completions, asked of the shells. `UPDATE=1 cargo test --test cli completions` regenerates the scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;

use cache_canary::cli::Cli;
use clap::CommandFactory as _;
use clap_complete::{Generator, Shell};

use crate::support::pages;

const SHELLS: [(&str, Shell, &str); 3] = [
    ("bash", Shell::Bash, "cache-canary.bash"),
    ("zsh", Shell::Zsh, "_cache-canary"),
    ("fish", Shell::Fish, "cache-canary.fish"),
];

/// The output of `completions` for this shell.
fn printed(shell: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_cache-canary")).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_scripts_in_the_binary_are_those_that_the_code_generates() {
    for (name, shell, file) in SHELLS {
        let mut command = Cli::command();
        command.set_bin_name("cache-canary");
        command.build();
        let mut script = Vec::new();
        shell.generate(&command, &mut script);
        assert_eq!(shell.file_name("cache-canary"), file);
        // If a program has a hyphen in its name, clap_complete 4.6 looks for its commands under other names than it
        // gives them (clap's issue 6421).
        let script = String::from_utf8(script).unwrap().replace("cache__subcmd__canary", "cache__canary");
        pages::compare(&format!("src/cli/completions/{file}"), &script);
        if std::env::var_os("UPDATE").is_none() {
            assert_eq!(printed(name), script);
        }
    }
}

/// The bash on the PATH completes the last of these words.
fn completed_by_bash(words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        source <("$0" completions bash)
        [[ $(complete -p cache-canary) =~ -F\ ([^ ]+) ]] || exit
        complete=${BASH_REMATCH[1]}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "$complete" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ASK, env!("CARGO_BIN_EXE_cache-canary")]).args(words);
    lines(&mut bash)
}

/// The fish on the PATH completes this line.
fn completed_by_fish(line: &str) -> Vec<String> {
    const ASK: &str = "source (echo $argv[1] | psub); complete -C $argv[2]";
    let mut fish = Command::new("fish");
    fish.args(["--no-config", "-c", ASK, &printed("fish"), line]);
    let described = lines(&mut fish);
    described.iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// The zsh on the PATH, with a terminal of its own, makes this line of what was typed, when Tab is pressed.
fn completed_by_zsh(typed: &str) -> String {
    const ASK: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PROMPT=; fpath=(${(q)1} \$fpath); autoload -U compinit; compinit -u -D; print rea''dy"
        zpty -r -m shell seen '*ready*'
        zpty -n -w shell $2$'\t'
        # The end of what was completed is a space, which zsh may write as a movement of the cursor.
        zpty -n -w shell $'\C-a print -r -- "<" \C-e ">"\n'
        zpty -r -m shell seen $'*\n*< cache-canary *>*'
        print -r -- $seen
    "#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("_cache-canary"), printed("zsh")).unwrap();
    let mut zsh = Command::new("zsh");
    zsh.args(["-f", "-c", ASK, "zsh"]).arg(directory.path()).arg(typed);
    let seen = lines(&mut zsh);
    let line = seen.iter().rev().find(|line| line.starts_with("< ") && line.trim_end().ends_with('>'));
    let line = line.unwrap_or_else(|| panic!("nothing was completed: {seen:#?}"));
    line.trim_end().trim_start_matches("< ").trim_end_matches('>').trim().to_owned()
}

fn lines(command: &mut Command) -> Vec<String> {
    let output = command
        .env("TERM", "dumb")
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `tests/run` installs what the tests need"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let commands = completed_by_bash(&["cache-canary", "c"]);
    assert_eq!(commands, ["check", "config", "completions"]);
    assert_eq!(completed_by_bash(&["cache-canary", "config", "sh"]), ["show"]);
    assert_eq!(completed_by_bash(&["cache-canary", "check", "--w"]), ["--watch"]);
    let formats = completed_by_bash(&["cache-canary", "check", "--format", ""]);
    assert_eq!(formats, ["table", "json", "nagios"]);
    let shells = completed_by_bash(&["cache-canary", "completions", ""]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(shells.iter().any(|known| known == shell), "{shells:?}");
    }
}

#[test]
fn fish_completes_commands_options_and_their_values() {
    assert_eq!(completed_by_fish("cache-canary c"), ["check", "completions", "config"]);
    assert_eq!(completed_by_fish("cache-canary check --w"), ["--watch"]);
    assert_eq!(completed_by_fish("cache-canary check --format "), ["json", "nagios", "table"]);
}

#[test]
fn zsh_completes_commands_options_and_their_values() {
    assert_eq!(completed_by_zsh("cache-canary che"), "cache-canary check");
    assert_eq!(completed_by_zsh("cache-canary check --w"), "cache-canary check --watch");
    assert_eq!(completed_by_zsh("cache-canary check --format n"), "cache-canary check --format nagios");
}
