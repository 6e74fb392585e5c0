//! Whether each pattern of `build.ld` finds code in a release: `cargo bench --bench layout`.
//!
//! Code that is renamed, or that the compiler has made a part of other code, leaves a pattern behind that does nothing.

#![allow(clippy::unwrap_used, reason = "a benchmark")]
#![allow(clippy::print_stdout, reason = "a benchmark, for a terminal")]

use std::process::{Command, ExitCode};

const SCRIPT: &str = include_str!("../build.ld");

/// The beginning of the name of a function's section; the name of the function follows.
const SECTION: &str = ".text.";

/// Not a function's name but the compiler's word for all that it takes for unlikely.
const UNLIKELY: &str = "unlikely.*";

fn main() -> ExitCode {
    let nm = Command::new("nm").arg(env!("CARGO_BIN_EXE_cache-canary")).output().unwrap();
    let symbols = String::from_utf8(nm.stdout).unwrap();
    let functions: Vec<_> = symbols.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert!(!functions.is_empty(), "the program has no symbols: see profile.bench in Cargo.toml");
    let patterns = SCRIPT.split([' ', '(', ')', '\n']).filter_map(|word| word.strip_prefix(SECTION));
    let patterns: Vec<_> = patterns.filter(|pattern| pattern.contains('*') && *pattern != UNLIKELY).collect();
    let found = |pattern: &str| functions.iter().any(|function| matches(pattern, function));
    let idle: Vec<_> = patterns.iter().filter(|pattern| !found(pattern)).collect();
    println!("{} patterns, {} of them without a function", patterns.len(), idle.len());
    for pattern in &idle {
        println!("  {SECTION}{pattern}");
    }
    assert!(!matches("*no_such_function*", functions[0]), "a pattern may find nothing");
    if idle.is_empty() && !patterns.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `true` if `name` is of this pattern, in which a star stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.is_empty()
}
