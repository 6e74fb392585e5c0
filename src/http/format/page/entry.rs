//! One check of one alias, in full or as a line.

use std::sync::Arc;

use maud::{Markup, html};
use tokio::time::Instant;

use super::super::words;
use super::drawing::{glyph, phases};
use super::history;
use super::say;
use crate::http::access::AccessLevel;
use crate::outcome::{Cause, Fault, Finding, Measure, NodeOutcome, Outcome, Reused, Role, Status};
use crate::record::{Hour, Since};

/// The most nodes that are shown; a cluster may have a thousand.
const NODES: usize = 8;

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
                    (self.outcome.entry()) " is " (self.status.word())
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
                        span .word { (self.status.word()) }
                    }
                    (history::strip(&self.hour, self.now))
                }
                div .body {
                    @for cause in self.causes() { (self.why(cause)) }
                    @if let (true, Some(shortfall)) = (self.status > Status::Up, self.outcome.shortfall()) {
                        p .why { (shortfall) "." }
                    }
                    (self.ages())
                    @if let AccessLevel::Details = self.view { (self.details()) }
                    (self.hour())
                }
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
            @if self.is_unverified {
                p .warning {
                    "TLS certificates are not verified (" code { "tls.verify = \"none\"" }
                    "): an attacker on the network path can read the password and forge answers."
                }
            }
            (findings(outcome.findings()))
            (nodes(&outcome.nodes))
            (figures(outcome.measures()))
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

/// The number of items that a list leaves out.
fn left_out(number: usize, what: &str) -> Markup {
    html! { @if number > 0 { li .quiet { (say::more(number)) " " (what) "." } } }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            ul .found {
                @for Finding { status, cause, about, said } in findings.iter().take(FINDINGS) {
                    li {
                        div class={ "node " (status.word()) } { (glyph(*status)) b { (about) } }
                        p { (cause) ": " (said) "." }
                    }
                }
                (left_out(findings.len().saturating_sub(FINDINGS), "not listed"))
            }
        }
    }
}

/// The nodes, the faulty ones first.
fn nodes(nodes: &[NodeOutcome]) -> Markup {
    let mut sorted: Vec<_> = nodes.iter().collect();
    sorted.sort_by_key(|node| node.fault.is_none());
    let (shown, rest) = sorted.split_at(sorted.len().min(NODES));
    let faulty = rest.iter().filter(|node| node.fault.is_some()).count();
    html! {
        ul .nodes {
            @for node in shown { (self::node(node)) }
            (left_out(faulty, "at fault"))
            (left_out(rest.len() - faulty, "up"))
        }
    }
}

fn node(node: &NodeOutcome) -> Markup {
    let status = node.status();
    html! {
        li {
            div class={ "node " (status.word()) } {
                (glyph(status))
                b { (node.node) }
                span .quiet {
                    @match node.role {
                        Role::Server => {},
                        role @ (Role::Replica | Role::Sentinel | Role::Endpoint) => { (role.name()) " " },
                    }
                    (status.word())
                    @if let Some(lag) = node.lag { ", behind by " (say::took(lag)) }
                }
            }
            @if let Some(Fault { cause, phase, said, .. }) = &node.fault {
                p { (cause) " in " (phase) @if !said.is_empty() { ": " (said) } }
            }
            (phases(node))
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
