//! [`Exposition`]: the text of metrics, in either of its two formats.

use std::fmt::{Display, Write as _};

use super::family::{Family, Type};
use super::format::Format;
use crate::outcome::Figure;
use crate::record::Tally;

/// The labels of a series: names that are ours, and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The text of metrics as it grows.
pub(super) struct Exposition {
    text: String,
    format: Format,
}

/// What the series of one name have in common.
pub(super) struct Heading {
    name: &'static str,
    kind: Type,
    help: &'static str,
}

/// The series of one name, which stand together.
pub(super) struct Series<'a> {
    text: &'a mut String,
    format: Format,
    heading: Heading,
    is_begun: bool,
}

impl From<Family> for Heading {
    fn from(family: Family) -> Self {
        Self { name: family.name(), kind: family.kind(), help: family.help() }
    }
}

impl From<Figure> for Heading {
    fn from(figure: Figure) -> Self {
        let kind = if figure.is_counter() { Type::Counter } else { Type::Gauge };
        Self { name: figure.name(), kind, help: figure.help() }
    }
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// Begins the series of a name. One that gets none is not mentioned.
    pub(super) fn series(&mut self, of: impl Into<Heading>) -> Series<'_> {
        Series { text: &mut self.text, format: self.format, heading: of.into(), is_begun: false }
    }

    pub(super) fn finish(mut self) -> String {
        match self.format {
            Format::Text => {}
            Format::OpenMetrics => self.text.push_str("# EOF\n"),
        }
        self.text
    }
}

impl Series<'_> {
    /// Writes one series.
    pub(super) fn put(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, &value);
    }

    /// Writes how long the checks of a tally took.
    pub(super) fn put_durations(&mut self, alias: &str, tally: &Tally) {
        let labels = [("alias", alias)];
        let mut count = 0;
        for (bound, within) in tally.within() {
            // The same in both formats, as the bound is part of the series' identity: `1.0`, and not `1`.
            let bound = bound.map_or("+Inf".to_owned(), |bound| format!("{:?}", bound.as_secs_f64()));
            self.line("_bucket", &[labels[0], ("le", &bound)], &within);
            count = within;
        }
        self.line("_sum", &labels, &tally.time().as_secs_f64());
        self.line("_count", &labels, &count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: &dyn Display) {
        if !self.is_begun {
            self.is_begun = true;
            self.begin();
        }
        let text = &mut *self.text;
        text.push_str(self.heading.name);
        text.push_str(suffix);
        for (place, (label, of)) in labels.iter().enumerate() {
            text.push(if place == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            push_escaped(text, of);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        // A text takes all that is written to it.
        let _ = writeln!(text, " {value}");
    }

    fn begin(&mut self) {
        let Heading { name, kind, help } = self.heading;
        let word = match kind {
            Type::Gauge => "gauge",
            Type::Counter => "counter",
            Type::Histogram => "histogram",
            Type::Info => "info",
        };
        // OpenMetrics names what the series are made from, and the text format the series themselves.
        let (name, word) = match (self.format, kind) {
            (Format::OpenMetrics, Type::Counter) => (name.trim_end_matches("_total"), word),
            (Format::OpenMetrics, Type::Info) => (name.trim_end_matches("_info"), word),
            (Format::Text, Type::Info) => (name, "gauge"),
            (Format::OpenMetrics | Format::Text, Type::Gauge | Type::Histogram)
            | (Format::Text, Type::Counter) => (name, word),
        };
        // The help is ours, without anything that would have to be escaped.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {word}");
    }
}

/// What both formats escape in the value of a label.
fn push_escaped(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            char => text.push(char),
        }
    }
}
