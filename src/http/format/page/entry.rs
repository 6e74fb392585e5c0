//! One check of one alias, in full or as a line.

use std::sync::Arc;

use maud::{Markup, html};
use tokio::time::Instant;

use super::super::words;
use super::drawing::glyph;
use super::history;
use super::nodes::{Nodes, left_out};
use super::say;
use crate::http::access::AccessLevel;
use crate::outcome::{Cause, Finding, Measure, Outcome, Reused, Status};
use crate::record::{Hour, Since};

/// The most findings that are shown.
const FINDINGS: usize = 8;

/// The most figures that are shown.
const FIGURES: usize = 16;

/// A check, as the page shows it.
pub(super) struct PageEntry<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) status: Status,
    /// The start of its status.
    pub(super) since: Option<Since>,
    pub(super) hour: Arc<Hour>,
    /// `true` if certificates of its servers are not verified.
    pub(super) is_unverified: bool,
    pub(super) view: AccessLevel,
    pub(super) now: Instant,
}

impl PageEntry<'_> {
    /// The check as a line.
    pub(super) fn row(&self) -> Markup {
        html! {
            li class=(self.status.word()) {
                (glyph(self.status))
                span {
                    (self.outcome.entry()) " is " (self.outcome.words())
                    @if let Some(cause) = self.outcome.cause() { ": " (cause) }
                }
            }
        }
    }

    /// The check in full. It is open if it is not up.
    pub(super) fn card(&self) -> Markup {
        let name = self.outcome.entry();
        html! {
            details #{ "check-" (name) } class=(self.status.word()) open[self.status > Status::Up] {
                summary {
                    div .name {
                        (glyph(self.status))
                        h3 { (name) }
                        @if let (Status::Up, AccessLevel::Details) = (self.status, self.view) {
                            span .quiet { (say::took(self.outcome.elapsed)) }
                        }
                        span .word { (self.outcome.words()) }
                    }
                    (history::strip(&self.hour, self.now))
                }
                div .body {
                    (self.reasons())
                    (self.shortfall())
                    (self.ages())
                    @if let AccessLevel::Details = self.view { (self.details()) }
                    (self.hour())
                }
            }
        }
    }

    /// Each cause with its hint.
    pub(super) fn reasons(&self) -> Markup {
        html! { @for cause in self.causes() { (self.why(cause)) } }
    }

    fn shortfall(&self) -> Markup {
        html! {
            @if let (true, Some(shortfall)) = (self.status > Status::Up, self.outcome.shortfall()) {
                p .why { (shortfall) "." }
            }
        }
    }

    /// One of several checks that have the same fault: everything but the fault.
    pub(super) fn victim(&self) -> Markup {
        html! {
            li {
                div .node class=(self.status.word()) {
                    (glyph(self.status))
                    div { b { (self.outcome.entry()) } " " span .word { (self.outcome.words()) } }
                }
                (self.shortfall())
                (self.ages())
                (self.warning())
                (history::strip(&self.hour, self.now))
                p .quiet { (history::words(&self.hour, self.now)) }
            }
        }
    }

    /// The causes, if it is not up.
    fn causes(&self) -> Vec<Cause> {
        if self.outcome.cause().is_some() { words::causes(self.outcome) } else { Vec::new() }
    }

    fn why(&self, cause: Cause) -> Markup {
        html! {
            p .why {
                strong { (cause) }
                @if let Some(counts) = words::counts(self.outcome, cause) { " (" (counts) ")" }
                ". " (words::hint(self.outcome, cause))
            }
        }
    }

    fn ages(&self) -> Markup {
        let outcome = self.outcome;
        html! {
            p .quiet .since {
                @if let Some(since) = self.since {
                    (self.status.word()) " " (say::since(&since, self.now)) ". "
                }
                "Checked " (say::age(self.now, outcome.began)) " ago"
                @if let AccessLevel::Details = self.view {
                    @match outcome.reused() {
                        Some(Reused { from, .. }) => { " by " (from) },
                        None => { " in " (say::took(outcome.elapsed)) },
                    }
                }
                "."
            }
        }
    }

    fn details(&self) -> Markup {
        let outcome = self.outcome;
        html! {
            (self.warning())
            (findings(outcome.findings()))
            (Nodes::of(outcome).markup())
            (figures(outcome.measures()))
        }
    }

    fn warning(&self) -> Markup {
        html! {
            @if self.is_unverified {
                p .warning {
                    "TLS certificates are not verified (" code { "tls.verify = \"none\"" }
                    "): an attacker on the network path can read the password and forge answers."
                }
            }
        }
    }

    fn hour(&self) -> Markup {
        html! {
            div .hour {
                @if let AccessLevel::Details = self.view { (history::latency(&self.hour, self.now)) }
                p .quiet { (history::words(&self.hour, self.now)) }
            }
        }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            ul .found {
                @for Finding { status, cause, about, said } in findings.iter().take(FINDINGS) {
                    li {
                        div class={ "node " (status.word()) } { (glyph(*status)) div { b { (say::address(about)) } } }
                        p { (cause) ": " (said) "." }
                    }
                }
                (left_out(findings.len().saturating_sub(FINDINGS), "not listed"))
            }
        }
    }
}

fn figures(measures: &[Measure]) -> Markup {
    html! {
        @if !measures.is_empty() {
            dl .figures {
                @for Measure { figure, of, value } in measures.iter().take(FIGURES) {
                    dt title=(figure.help()) { (say::name(*figure)) @if let Some(of) = of { " " code { (of) } } }
                    dd { (say::value(*figure, *value)) }
                }
            }
            @if measures.len() > FIGURES {
                p .quiet { (say::more(measures.len() - FIGURES)) " at /metrics." }
            }
        }
    }
}
