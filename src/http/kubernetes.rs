//! Kubernetes' text: what its own components answer at `/livez` and `/readyz`, so that its people and tools
//! read it at sight (<https://kubernetes.io/docs/reference/using-api/health-checks/>).

use std::sync::Arc;

use super::Life;
use crate::outcome::{Cause, Outcome, Report, Status};

/// What `/livez` answers: whoever gets an answer at all knows that the sidecar lives.
#[must_use]
pub fn livez(verbose: bool) -> String {
    if verbose { "[+]ping ok\nlivez check passed\n".to_owned() } else { "ok\n".to_owned() }
}

/// What `/readyz` answers: `ok`, or with `verbose` a line a check. What failed is listed either way.
#[must_use]
pub fn readyz(report: &Report, verbose: bool) -> String {
    let failed = report.status() == Status::Down;
    if !verbose && !failed {
        return "ok\n".to_owned();
    }
    let listed = |outcome: &&Arc<Outcome>| verbose || outcome.status() == Status::Down;
    let mut lines: Vec<_> = report.outcomes.iter().filter(listed).map(|outcome| line(outcome)).collect();
    if verbose {
        let skipped = report.skipped.iter();
        lines
            .extend(skipped.map(|skipped| format!("[+]cache.{} skipped: {}", skipped.alias, skipped.reason)));
    }
    let trailer = if failed { "readyz check failed\n" } else { "readyz check passed\n" };
    lines.push(trailer.to_owned());
    lines.join("\n")
}

/// What `/readyz` answers when the sidecar itself is not ready.
#[must_use]
pub fn unready(life: Life) -> String {
    format!("[-]sidecar failed: {}\nreadyz check failed\n", life.name())
}

fn line(outcome: &Outcome) -> String {
    let name = outcome.name();
    match outcome.status() {
        Status::Up => format!("[+]{name} ok"),
        Status::Degraded => format!("[+]{name} ok: degraded"),
        Status::Skipped => format!("[+]{name} skipped"),
        Status::Down => {
            let cause = outcome.cause().map_or("down", Cause::name);
            format!("[-]{name} failed: {cause}")
        }
    }
}
