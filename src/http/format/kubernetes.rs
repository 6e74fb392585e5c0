//! Kubernetes' text: the format of its own components at `/livez` and `/readyz`, so that its users and tools can read
//! it (<https://kubernetes.io/docs/reference/using-api/health-checks/>).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::words;
use crate::app::Setup;
use crate::catalog::Selection;
use crate::http::exclusion::Exclusion;
use crate::outcome::{Cause, Outcome, Report, Status};

/// A probe in Kubernetes' format, beside its report of caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesProbe {
    /// Its name, such as `readyz`.
    pub name: &'static str,
    /// The sidecar itself, if the probe covers it.
    pub own: Option<Own>,
    /// The parts that the request excludes.
    pub exclusion: Exclusion,
}

/// The state of the sidecar itself, as a probe reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The name of the line in the probe.
    pub name: &'static str,
    /// The fault, if there is one.
    pub wrong: Option<String>,
}

impl KubernetesProbe {
    /// A probe that covers only caches.
    #[must_use]
    pub fn of_caches(name: &'static str) -> Self {
        Self { name, own: None, exclusion: Exclusion::default() }
    }

    /// A probe of `own` and of the requested selection without the parts in `excluded`. The remaining selection is
    /// returned with it.
    pub(crate) fn of<'a>(
        name: &'static str,
        own: Own,
        excluded: &BTreeSet<String>,
        setup: &Setup,
        asked: &'a Selection,
    ) -> (Self, Cow<'a, Selection>) {
        let (exclusion, selection) = Exclusion::of(excluded, own.name, setup, asked);
        (Self { name, own: Some(own), exclusion }, selection)
    }

    /// The name and the fault of the sidecar itself; `None` if it has no fault, or is excluded.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, &str)> {
        let own = self.own.as_ref().filter(|_| !self.exclusion.own)?;
        Some((own.name, own.wrong.as_deref()?))
    }

    /// The status of the sidecar and the caches together.
    #[must_use]
    pub fn status(&self, report: &Report) -> Status {
        if self.wrong().is_some() { Status::Down } else { report.status() }
    }

    fn own_line(&self) -> Option<String> {
        let name = self.own.as_ref()?.name;
        if self.exclusion.own {
            return Some(format!("[+]{name} excluded: ok"));
        }
        Some(match self.wrong() {
            None => format!("[+]{name} ok"),
            Some((_, wrong)) => format!("[-]{name} failed: {wrong}"),
        })
    }
}

/// The body of a probe such as `readyz`: `ok`, or with `verbose` a line per check and the age of the result at `now`.
/// Failed checks are listed in both cases.
#[must_use]
pub fn body(probe: &KubernetesProbe, report: &Report, verbose: bool, now: Instant) -> String {
    let failed = probe.status(report) == Status::Down;
    if !verbose && !failed {
        return "ok\n".to_owned();
    }
    let mut lines = Vec::new();
    if verbose || probe.wrong().is_some() {
        lines.extend(probe.own_line());
    }
    let listed = |outcome: &&Arc<Outcome>| verbose || outcome.status() == Status::Down;
    lines.extend(report.outcomes.iter().filter(listed).map(|outcome| line(outcome)));
    if verbose {
        lines.extend(probe.exclusion.listed.iter().map(|name| format!("[+]{name} excluded: ok")));
        let skipped = report.skipped.iter();
        lines
            .extend(skipped.map(|skipped| format!("[+]cache.{} skipped: {}", skipped.alias, skipped.reason)));
    }
    lines.extend(warning(&probe.exclusion.unmatched));
    if verbose {
        lines.extend(words::age(report, now));
    }
    lines.push(format!("{} check {}\n", probe.name, if failed { "failed" } else { "passed" }));
    lines.join("\n")
}

/// The warning in the words of Kubernetes' API server, so that a search for it finds a typing error in a manifest.
fn warning(unmatched: &[String]) -> Option<String> {
    if unmatched.is_empty() {
        return None;
    }
    // Quoted and escaped: they are the caller's text.
    let names: Vec<_> = unmatched.iter().map(|name| format!("{name:?}")).collect();
    let names = names.join(",");
    Some(format!("warn: some health checks cannot be excluded: no matches for {names}"))
}

fn line(outcome: &Outcome) -> String {
    let name = outcome.name();
    match outcome.status() {
        Status::Up => format!("[+]{name} ok"),
        Status::Degraded => format!("[+]{name} ok: {}", outcome.words()),
        Status::Skipped => format!("[+]{name} skipped"),
        Status::Down => {
            let cause = outcome.cause().map_or("down", Cause::name);
            format!("[-]{name} failed: {cause}")
        }
    }
}
