//! Kubernetes' text: what its own components answer at `/livez` and `/readyz`, so that its people and tools
//! read it at sight (<https://kubernetes.io/docs/reference/using-api/health-checks/>).

use std::sync::Arc;

use crate::outcome::{Cause, Outcome, Report, Status};

/// What a probe looks at beside caches: the sidecar itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// What is looked at.
    pub name: &'static str,
    /// What is wrong with it, if anything.
    pub wrong: Option<String>,
}

impl Own {
    fn line(&self) -> String {
        match &self.wrong {
            None => format!("[+]{} ok", self.name),
            Some(wrong) => format!("[-]{} failed: {wrong}", self.name),
        }
    }
}

/// What a probe such as `readyz` answers: `ok`, or with `verbose` a line a check. What failed is listed either way.
#[must_use]
pub fn body(probe: &str, own: &Own, report: &Report, verbose: bool) -> String {
    let failed = own.wrong.is_some() || report.status() == Status::Down;
    if !verbose && !failed {
        return "ok\n".to_owned();
    }
    let listed = |outcome: &&Arc<Outcome>| verbose || outcome.status() == Status::Down;
    let own = (verbose || own.wrong.is_some()).then(|| own.line());
    let mut lines: Vec<_> = own.into_iter().collect();
    lines.extend(report.outcomes.iter().filter(listed).map(|outcome| line(outcome)));
    if verbose {
        let skipped = report.skipped.iter();
        lines
            .extend(skipped.map(|skipped| format!("[+]cache.{} skipped: {}", skipped.alias, skipped.reason)));
    }
    lines.push(format!("{probe} check {}\n", if failed { "failed" } else { "passed" }));
    lines.join("\n")
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
