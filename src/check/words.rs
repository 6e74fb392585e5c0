//! The words of findings and steps for figures and limits.

use std::fmt::Display;

use crate::config::checks::Thresholds;
use crate::outcome::Status;
pub(super) use crate::span::fine as time;

/// A multiple: `12.5`.
pub(super) fn times(times: f64) -> String {
    format!("{}", (times * 10.0).round() / 10.0)
}

/// A part of a whole, in percent.
pub(super) fn percent(ratio: f64) -> String {
    format!("{}%", (ratio * 1000.0).round() / 10.0)
}

/// The limit that was reached, with its status: `down at 5m or more`.
pub(super) fn from(status: Status, limit: impl Display) -> String {
    format!("{} at {limit} or more", status.word())
}

/// The limit that a figure has fallen below, with its status: `degraded below 80%`.
pub(super) fn below(status: Status, limit: impl Display) -> String {
    format!("{} below {limit}", status.word())
}

/// The healthy range by these limits, as a step expects it: `less than 2m (degraded) and 5m (down)`, with the words
/// `than` first; `None` if there is no limit.
pub(super) fn expected<T: Copy>(
    than: &str,
    limits: &Thresholds<T>,
    say: impl Fn(T) -> String,
) -> Option<String> {
    let limits = [(Status::Degraded, limits.degraded), (Status::Down, limits.down)];
    let limits =
        limits.into_iter().filter_map(|(status, limit)| Some(format!("{} ({})", say(limit?), status.word())));
    let limits = limits.collect::<Vec<_>>().join(" and ");
    (!limits.is_empty()).then(|| format!("{than} {limits}"))
}

/// The first of some names, and the number of the others: `part-3, part-77 and 5 more`.
pub(super) fn names<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    /// The most names that are listed.
    const NAMED: usize = 5;
    let mut names = names.into_iter();
    let first: Vec<_> = names.by_ref().take(NAMED).map(|name| name.to_string()).collect();
    let first = first.join(", ");
    match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_names_are_printed() {
        assert_eq!(names([1, 2]), "1, 2");
        assert_eq!(names(1..=8), "1, 2, 3, 4, 5 and 3 more");
    }
}
