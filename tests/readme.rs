//! What the README says and the code knows must be the same. `UPDATE=1 cargo test --test readme` writes it
//! anew.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fmt::Write as _;

use cache_canary::outcome::Cause;

#[test]
fn the_table_of_causes_is_the_codes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let begin = readme.find("<!-- causes").and_then(|at| Some(at + readme[at..].find('\n')? + 1)).unwrap();
    let end = readme.find("<!-- /causes -->").unwrap();
    let mut table = "| cause | where to look |\n| --- | --- |\n".to_owned();
    for cause in Cause::ALL {
        writeln!(table, "| `{}` | {} |", cause.name(), cause.hint()).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
    } else {
        assert_eq!(readme[begin..end], table);
    }
}
