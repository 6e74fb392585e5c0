//! The page for a browser: for the person who is paged at night, on a phone.
//!
//! The overall status comes first, in words, color and shape; then the failed checks, with their causes; then the rest.
//! It loads nothing from anywhere, and needs no script: with one it is live (`http/events.rs`), without it is reloaded
//! every ten seconds.

mod drawing;
mod entry;
mod fault;
mod history;
mod nodes;
mod say;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tokio::time::Instant;

use crate::app::{App, Life, Setup};
use crate::catalog::Selection;
use crate::http::access::AccessLevel;
use crate::outcome::{Outcome, Report, Skipped, Status};
use crate::record::{Record, Transition};
use drawing::{GLYPHS, favicon, glyph};
use entry::PageEntry;
use fault::PageFault;
use nodes::left_out;
use say::list;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/live.js");

/// The rights of the page in a browser: only to show itself and to ask this server. The two hashes are those of the
/// style and the script; a test compares them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     script-src 'sha256-XvM0CShiRgjaE/dPimTm8aqRTD8uXQGmxFZn9hbsnXY='; \
     style-src 'sha256-RhUkqQO/dI5SA0v+3eBMLe5UReA44DnSBxXsP4hJXMI='; \
     img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The number of checks that are shown in full. The worst come first, so that a reader hardly ever needs more than
/// these; each is one to three kilobytes.
const IN_FULL: usize = 12;

/// The number of further checks that have a line.
const IN_SHORT: usize = 80;

/// The number of skipped aliases that have a line.
const SKIPPED: usize = 40;

/// The number of recent changes that are shown.
const CHANGES: usize = 10;

/// The number of dates of certificates and tokens that are shown.
const DATES: usize = 10;

/// The end of the page for a caller without access to details.
const HIDDEN: PreEscaped<&str> = PreEscaped(
    "<section><p class=\"quiet\">Addresses, server texts and past changes are hidden from you: they are shown to callers \
     in <code>access.details</code>.</p></section>",
);

/// The page of `report`, the report of `selection`, for a caller with access level `view`.
///
/// The report's outcomes are in the order of the selection's checks, as the checker makes them.
#[must_use]
pub fn body(
    setup: &Setup,
    report: &Report,
    selection: &Selection,
    view: AccessLevel,
    now: Instant,
) -> String {
    Page { setup, report, selection, view, now, notice: None }.document()
}

/// The response with the body `body`.
pub(crate) fn response(code: StatusCode, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (code, headers, body.into()).into_response()
}

/// The warning that comes before everything else: the sidecar is stopping, or is stuck.
pub(crate) fn notice(app: &App) -> Option<String> {
    match app.life() {
        Life::Starting | Life::Ready => app
            .overdue()
            .map(|overdue| format!("cache-canary is stuck, so the results below are outdated: {overdue}.")),
        Life::Draining | Life::Stopping => Some("This cache-canary is shutting down.".to_owned()),
    }
}

/// The data of a page.
pub(crate) struct Page<'a> {
    pub(crate) setup: &'a Setup,
    /// The report to show.
    pub(crate) report: &'a Report,
    /// The selection of the report.
    pub(crate) selection: &'a Selection,
    /// The access level of the reader.
    pub(crate) view: AccessLevel,
    pub(crate) now: Instant,
    /// The warning that comes first, if there is one.
    pub(crate) notice: Option<String>,
}

impl Page<'_> {
    /// The whole page.
    pub(crate) fn document(&self) -> String {
        let headline = self.headline();
        let refresh = html! { meta http-equiv="refresh" content="10"; };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (self.title()) }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href=(favicon(self.report.status()));
                    @if self.is_live() { noscript { (refresh) } } @else { (refresh) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    // These stay while the rest is replaced, so that a screen reader announces them.
                    p #said .unseen role="status" { (headline) }
                    p #lost role="alert" hidden {}
                    (GLYPHS)
                    (self.markup())
                    footer { (self.ways_on()) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string() + "\n"
    }

    /// The part of the page that changes.
    pub(crate) fn main(&self) -> String {
        self.markup().into_string()
    }

    fn markup(&self) -> Markup {
        let status = self.report.status();
        let entries = self.entries();
        let ages = self.ages(&entries);
        let mut full = PageFault::of(entries);
        let short = full.split_off(full.len().min(IN_FULL));
        let short: Vec<_> = short.into_iter().flat_map(|fault| fault.entries).collect();
        let (wrong, well): (Vec<_>, Vec<_>) = full.iter().partition(|fault| fault.status() > Status::Up);
        html! {
            main class=(status.word()) data-title=(self.title()) data-icon=(favicon(status))
                data-live[self.is_live()] {
                header {
                    div {
                        (glyph(status))
                        div {
                            h1 { (self.headline()) }
                            (ages)
                        }
                    }
                }
                @if let Some(notice) = &self.notice { p .notice { (notice) } }
                @if !wrong.is_empty() {
                    section { h2 { "Not up" } @for fault in &wrong { (fault.card()) } }
                }
                @if !well.is_empty() {
                    section { h2 { "Up" } @for fault in &well { (fault.card()) } }
                }
                @if !short.is_empty() { section { (rest(&short)) } }
                @if !self.report.skipped.is_empty() {
                    section { h2 { "Not checked" } (skipped(&self.report.skipped)) }
                }
                @match self.view {
                    AccessLevel::Details => { (self.expiries()) (self.changes()) }
                    AccessLevel::Verdicts => { (HIDDEN) }
                }
            }
        }
    }

    /// `true` if there is a feed of its content.
    fn is_live(&self) -> bool {
        *self.selection == self.setup.everything
    }

    /// The entries of the checks, the worst first.
    fn entries(&self) -> Vec<PageEntry<'_>> {
        let records = self.setup.checker.records(self.selection);
        let mut entries: Vec<_> = self
            .report
            .outcomes
            .iter()
            .zip(records)
            .map(|(outcome, record)| self.entry(outcome, record))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.status));
        entries
    }

    fn entry<'a>(&self, outcome: &'a Outcome, record: &Record) -> PageEntry<'a> {
        PageEntry {
            outcome,
            status: outcome.status(),
            // Another caller's check may have ended since: the page shows this report, and the duration of its status.
            since: record.since().filter(|since| since.status == outcome.status()),
            hour: record.hour(),
            is_unverified: self.setup.unverified.contains(&outcome.alias),
            view: self.view,
            now: self.now,
        }
    }

    /// The names of the checks with this status, in the configured order.
    fn names(&self, status: Status) -> Vec<String> {
        let so = self.report.outcomes.iter().filter(|outcome| outcome.status() == status);
        so.map(|outcome| outcome.entry()).collect()
    }

    /// The statuses, in a sentence without a full stop: `main and sessions are down, and 1 more is degraded`.
    fn headline(&self) -> String {
        let [down, degraded] = [Status::Down, Status::Degraded].map(|status| self.names(status));
        let all = self.report.outcomes.len();
        match (down.len(), degraded.len()) {
            (0, 0) if all == 0 => "Nothing is checked".to_owned(),
            (0, 0) if all == 1 => format!("{} is up", list(&self.names(Status::Up))),
            (0, 0) => format!("All {all} are up"),
            (0, _) => say::are(&degraded, "degraded"),
            (_, 0) => say::are(&down, "down"),
            (_, more) => format!("{}, and {} degraded", say::are(&down, "down"), say::more(more)),
        }
    }

    /// The title, for a tab that shows only a few letters.
    fn title(&self) -> String {
        let status = self.report.status();
        let wrong = match status {
            Status::Skipped | Status::Up => String::new(),
            Status::Degraded | Status::Down => format!(" {}", list(&self.names(status))),
        };
        let by = self.instance().map(|instance| format!(" {instance}")).unwrap_or_default();
        format!("{status}{wrong} · cache-canary{by}")
    }

    /// The name of this sidecar, for readers with access to details.
    fn instance(&self) -> Option<&str> {
        match self.view {
            AccessLevel::Details => Some(&self.setup.instance),
            AccessLevel::Verdicts => None,
        }
    }

    /// The start of the overall status, the age of the oldest result, and the sidecar.
    fn ages(&self, entries: &[PageEntry<'_>]) -> Markup {
        let status = self.report.status();
        let so = entries.iter().filter(|entry| entry.status == status).filter_map(|entry| entry.since);
        let since = match status {
            Status::Skipped => None,
            // Everything is up since the last of them is; the whole is not up since the first of them is not.
            Status::Up => so.max_by_key(|since| since.began),
            Status::Degraded | Status::Down => so.min_by_key(|since| since.began),
        };
        let oldest = entries.iter().map(|entry| entry.outcome).min_by_key(|outcome| outcome.began);
        html! {
            @if let Some(since) = since { p .since { (say::since(&since, self.now)) "." } }
            @if let Some(oldest) = oldest {
                p {
                    "Checked " (say::age(self.now, oldest.began)) " ago"
                    @if let Some(instance) = self.instance() { " by " code { (instance) } }
                    "."
                }
            }
        }
    }

    /// The dates at which certificates and tokens end, the nearest first.
    fn expiries(&self) -> Markup {
        let of_checks = self.report.outcomes.iter().flat_map(|outcome| {
            outcome.expiries().into_iter().map(|(node, date)| (Some(&outcome.alias), node, date))
        });
        let listener = self.setup.listener_expiry.iter().map(|date| (None, None, date));
        let mut dates: Vec<_> = of_checks.chain(listener).collect();
        dates.sort_by_key(|(.., date)| date.at);
        let now = SystemTime::now();
        html! {
            @if !dates.is_empty() {
                section {
                    h2 { "Certificates and tokens" }
                    ul .rows {
                        @for (alias, node, date) in dates.iter().take(DATES) {
                            li {
                                span {
                                    @if let Some(alias) = alias { code { (alias) } ": " }
                                    (date)
                                    @if let Some(node) = node { " of " (say::address(node)) }
                                    span .quiet { (date.when(now)) }
                                }
                            }
                        }
                        (left_out(dates.len().saturating_sub(DATES), "at /metrics"))
                    }
                }
            }
        }
    }

    fn changes(&self) -> Markup {
        let transitions = self.setup.checker.journal().transitions();
        let names: HashSet<_> = self.report.outcomes.iter().map(|outcome| outcome.entry()).collect();
        let transitions: Vec<_> =
            transitions.into_iter().filter(|change| names.contains(&change.entry)).take(CHANGES).collect();
        html! {
            @if !transitions.is_empty() {
                section {
                    h2 { "Last changes" }
                    ol .rows { @for transition in &transitions { (change(transition)) } }
                }
            }
        }
    }

    fn ways_on(&self) -> Markup {
        let mut ways = vec!["/health"];
        if !self.setup.metrics_elsewhere {
            ways.push("/metrics");
        }
        if let AccessLevel::Details = self.view {
            ways.push("/transitions");
        }
        html! {
            p .quiet {
                "cache-canary " (env!("CARGO_PKG_VERSION")) ". For programs: "
                @for (place, way) in ways.iter().enumerate() {
                    @if place > 0 { ", " }
                    a href=(way) { (way) }
                }
            }
        }
    }
}

/// One change.
fn change(transition: &Arc<Transition>) -> Markup {
    let Transition { at, entry, was, to, cause, place, .. } = &**transition;
    html! {
        li class=(to.word()) {
            (glyph(*to))
            span {
                code { (entry) } " is " (to.word())
                @if let Some(cause) = cause {
                    ": " (cause)
                    @if let Some(place) = place { " " (say::address(place)) }
                }
                span .quiet {
                    (say::moment(*at))
                    @match was {
                        Some(was) => { ", after " (say::past(was)) }
                        None => { ", at the first check after this sidecar started" }
                    }
                }
            }
        }
    }
}

/// The checks that have a line each.
fn rest(entries: &[PageEntry<'_>]) -> Markup {
    let (shown, left_out) = entries.split_at(entries.len().min(IN_SHORT));
    let wrong = |entries: &[PageEntry<'_>]| entries.iter().filter(|entry| entry.status > Status::Up).count();
    let up = entries.len() - wrong(entries);
    html! {
        // Failed checks are never hidden.
        details #rest open[up < entries.len()] {
            summary {
                div .name {
                    h3 {
                        (entries.len()) " more"
                        @if wrong(entries) > 0 { ", " (wrong(entries)) " of them not up" } @else { ", all up" }
                    }
                }
            }
            ul .rows { @for entry in shown { (entry.row()) } }
            @if !left_out.is_empty() {
                div .body {
                    p .quiet .more {
                        (say::more(left_out.len())) " not listed, " (wrong(left_out)) " of them not up. "
                        code { "/health/NAME" } " shows one of them, " code { "/health" } " shows all."
                    }
                }
            }
        }
    }
}

/// The skipped aliases, with the reasons.
fn skipped(skipped: &[Skipped]) -> Markup {
    let (shown, left_out) = skipped.split_at(skipped.len().min(SKIPPED));
    html! {
        ul .rows {
            @for Skipped { alias, reason } in shown {
                li .skipped { (glyph(Status::Skipped)) span { code { (alias) } " " (reason) } }
            }
        }
        @if !left_out.is_empty() { p .quiet .more { (say::more(left_out.len())) " not listed." } }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::digest::{SHA256, digest};

    use super::*;

    #[test]
    fn the_policy_names_the_script_and_the_style_by_their_hashes() {
        for (directive, source) in [("script-src", SCRIPT), ("style-src", STYLE)] {
            let hash = STANDARD.encode(digest(&SHA256, source.as_bytes()));
            let named = format!("{directive} 'sha256-{hash}';");
            assert!(CONTENT_SECURITY_POLICY.contains(&named), "it should say {named}");
        }
    }
}
