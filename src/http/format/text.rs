//! A line an alias, for a person with curl.

use tokio::time::Instant;

use super::{Background, words};
use crate::http::access::AccessLevel;
use crate::outcome::{Report, Status};

/// The overall status, then a line an alias, aligned, and the age of the result at `now`:
///
/// ```text
/// DOWN
/// main      DOWN     masked: The write was acknowledged, but the value cannot be read back: ...
/// sessions  UP
/// default   SKIPPED  forwards to main
/// checked 0.9 ms ago
/// ```
#[must_use]
pub fn body(report: &Report, view: AccessLevel, now: Instant) -> String {
    body_before(report, &Background::default(), view, now)
}

/// The same before a `background`: the start of each status:
///
/// ```text
/// DOWN
/// main      DOWN     since 2026-11-22T10:51:00Z, last seen up 2026-11-22T10:50:52Z; masked: at cache:6379 in read. ...
/// sessions  UP       at least since 2026-11-22T09:12:33Z, the first check after this sidecar started
/// checked 0.9 ms ago
/// ```
#[must_use]
pub fn body_before(report: &Report, background: &Background<'_>, view: AccessLevel, now: Instant) -> String {
    let checked = report.outcomes.iter().enumerate().map(|(place, outcome)| {
        let since = background.since(place, outcome).map(|since| words::since(&since));
        let note = words::error(outcome, view).or_else(|| words::reused(outcome, view));
        let notes: Vec<_> = since.into_iter().chain(note).collect();
        (outcome.entry(), outcome.status(), notes.join("; "))
    });
    let skipped = report
        .skipped
        .iter()
        .map(|skipped| (skipped.alias.to_string(), Status::Skipped, skipped.reason.to_string()));
    let rows: Vec<_> = checked.chain(skipped).collect();

    let aliases = rows.iter().map(|(alias, ..)| alias.len()).max().unwrap_or(0);
    let statuses = rows.iter().map(|(_, status, _)| status.as_str().len()).max().unwrap_or(0);
    let mut body = format!("{}\n", report.status());
    for (alias, status, note) in rows {
        let line = format!("{alias:aliases$}  {status:statuses$}  {note}");
        body.push_str(line.trim_end());
        body.push('\n');
    }
    body.extend(words::age(report, now).map(|age| format!("{age}\n")));
    body
}
