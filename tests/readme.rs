//! What the README says and the code knows must be the same. `UPDATE=1 cargo test --test readme` writes it
//! anew.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fmt::Write as _;

use cache_canary::http::metrics::Family;
use cache_canary::outcome::{Cause, Figure};

#[test]
fn the_tables_of_causes_and_metrics_are_the_codes() {
    let mut causes = "| cause | where to look |\n| --- | --- |\n".to_owned();
    for cause in Cause::ALL {
        writeln!(causes, "| `{}` | {} |", cause.name(), cause.hint()).unwrap();
    }
    let mut metrics = "| metric | labels | what it is |\n| --- | --- | --- |\n".to_owned();
    let of_figure = |figure: &Figure| {
        let of = Some(figure.label()).filter(|label| !label.is_empty());
        (figure.name(), ["alias", "check"].into_iter().chain(of).collect(), figure.help())
    };
    let of_family = |family: &Family| (family.name(), family.labels().to_vec(), family.help());
    for (name, labels, help) in Family::ALL.iter().map(of_family).chain(Figure::ALL.iter().map(of_figure)) {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(metrics, "| `{name}` | {} | {help} |", labels.join(", ")).unwrap();
    }
    // In one test, since each writes the whole page.
    for (name, table) in [("causes", causes), ("metrics", metrics)] {
        compare(name, &table);
    }
}

/// Compares the part of the README between two comments with what it should be, or writes it anew.
fn compare(name: &str, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let begin = readme.find(&format!("<!-- {name}")).and_then(|at| Some(at + readme[at..].find('\n')? + 1));
    let (begin, end) = (begin.unwrap(), readme.find(&format!("<!-- /{name} -->")).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
    } else {
        assert_eq!(readme[begin..end], *table);
    }
}
