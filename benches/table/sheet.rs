//! [`Sheet`]: the table of one group, as Markdown, for the terminal and for `docs/benchmarks.md`.

use std::fmt::Write as _;

use super::limits::Limit;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");

/// The table of one group.
pub(crate) struct Sheet {
    name: &'static str,
    text: String,
    /// The figures that do not keep their bounds.
    broken: Vec<String>,
}

impl Sheet {
    /// An empty one with these columns; a target, whether it is met, and a bound come after them.
    pub(crate) fn new(name: &'static str, columns: &[&str]) -> Self {
        let head = format!("| {} | target | met | bound |\n", columns.join(" | "));
        let rule = format!("|{}\n", " --- |".repeat(columns.len() + 3));
        Self { name, text: head + &rule, broken: Vec::new() }
    }

    /// A row without a limit.
    pub(crate) fn row(&mut self, cells: &[String]) {
        self.tell(cells);
        let _ = writeln!(self.text, "| {} | | | |", cells.join(" | "));
    }

    /// A row of which `value` is to keep `limit`.
    pub(crate) fn judged(&mut self, cells: &[String], value: f64, limit: Limit) {
        self.tell(cells);
        let met = if limit.target_is_met(value) { "yes" } else { "no" };
        let (target, bound) = (limit.target(), limit.bound());
        let _ = writeln!(self.text, "| {} | {target} | {met} | {bound} |", cells.join(" | "));
        if !limit.bound_holds(value) {
            self.broken.push(format!("{}: {} is {value:.3} and was to be {bound}", self.name, cells[0]));
        }
    }

    /// Says that it goes on: a whole run takes minutes.
    fn tell(&self, cells: &[String]) {
        eprintln!("{}: {}", self.name, cells.join("  "));
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, sentence: &str) {
        let _ = write!(self.text, "\n{sentence}\n");
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}

/// Writes a text into the page between the comments of this name.
pub(crate) fn write_into_page(name: &str, text: &str) {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let begin = format!("<!-- cost: {name} -->\n");
    let begin = page.find(&begin).expect("a place in the page") + begin.len();
    let end = begin + page[begin..].find(&format!("<!-- /cost: {name} -->")).expect("its end");
    std::fs::write(PAGE, format!("{}{text}{}", &page[..begin], &page[end..])).unwrap();
}

/// A figure with as many places as its size makes sense of.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
